"""The one dose card of a response: a warning to a person, never a change and never a criterion (decisions 5)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import msgspec

from cds_service.cds_hooks import card_details as details
from cds_service.cds_hooks.answers import GRANTED, OrderAnswer, Situation
from cds_service.cds_hooks.card_details import distinct
from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.cards import Card, card_uuid, cut_summary, orders_in
from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.markdown import markdown_text, plain_text
from cds_service.cds_hooks.options import OFF_GUIDELINE
from cds_service.cds_hooks.order_words import exceeding
from cds_service.domain.authorization import allows
from cds_service.domain.determination import DoseResult, Verdict
from cds_service.domain.order import Order

# No warning where the guideline is not the one that applies, or nothing is said of the order at all.
_SILENT = frozenset({Situation.OUTSIDE, Situation.OUTSIDE_SAID, Situation.INACTIVE, Situation.REDIRECT})


class Acknowledger(msgspec.Struct, frozen=True):
    """Who could have acknowledged a dose for whom. ``key`` is a secret: stored keys tell nothing of the patient."""

    key: bytes
    client: str
    patient_id: str
    user_id: str


def dose_card(
    texts: CardTexts,
    answers: Sequence[OrderAnswer],
    orders: Mapping[str, Order],
    drafts: Mapping[str, Draft],
    who: Acknowledger,
) -> Card | None:
    """One card for every dose or concentration above the table or suspected of a unit error; None without any."""
    concerned = [(each, found) for each in answers if (found := _to_show(each))]
    if not concerned:
        return None
    results = distinct([found for _, found in concerned])
    critical = any(result.unit_error for result in results)
    rule = "dose-unit-error" if critical else "dose-exceeds"
    summary = cut_summary(_summary(results, critical=critical))
    names = tuple(each.order for each, _ in concerned)
    return Card(
        uuid=card_uuid([drafts[name].raw for name in names if name in drafts], rule, summary),
        rule=rule,
        topic=OFF_GUIDELINE,
        indicator="critical" if critical else "warning",
        summary=summary,
        detail="\n".join(_detail(texts, results, names, orders, critical=critical)),
        orders=names,
        partial=len(names) < orders_in(orders),
        overridable=True,
        quiet_key="" if critical else quiet_key(who, results, [orders[name] for name in names if name in orders]),
    )


def _to_show(said: OrderAnswer) -> list[DoseResult]:
    """Results of one order that call for a warning; a suspected unit error always does (quiet rule)."""
    if said.determination is None or said.situation in _SILENT:
        return []
    return [
        each for each in said.determination.dose if each.unit_error or (exceeding(each) and not _granted(said, each))
    ]


def _granted(said: OrderAnswer, result: DoseResult) -> bool:
    """In force: nothing is said again. Pending: only where the request names a daily amount that covers this one."""
    if said.situation in GRANTED:
        return True
    found = said.authorization
    return found is not None and result.ingredient in found.max_daily and allows(found, result.ingredient, result.daily)


def _summary(results: Sequence[DoseResult], *, critical: bool) -> str:
    if critical:
        suspect = next(result for result in results if result.unit_error)
        lines = exceeding(suspect)
        text = plain_text(lines[0] if lines else suspect.ingredient, 110)
        return f"Check the unit: {text}"
    lines = [line for result in results for line in exceeding(result)]
    text = plain_text(lines[0], 120)
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return text[:1].upper() + text[1:] + more


def _detail(
    texts: CardTexts,
    results: Sequence[DoseResult],
    names: Sequence[str],
    orders: Mapping[str, Order],
    *,
    critical: bool,
) -> list[str]:
    lead = (
        "**To do:** check the unit and the decimal point. A value so far above the table may be mg where mcg was "
        "meant, or ten times too much."
        if critical
        else f"**To do:** check {_what(results)}. The table is informational; the order can be signed as it is."
    )
    named = [markdown_text(orders[name].text or name, 100) for name in names if name in orders]
    lines = [lead, *(["", f"{'Order' if len(named) == 1 else 'Orders'}: {'; '.join(named)}"] if named else [])]
    return [*lines, *details.dose_lines(texts, results), *details.closing_lines(texts, dose=True)]


def _what(results: Sequence[DoseResult]) -> str:
    daily = any(result.daily_verdict is Verdict.EXCEEDS for result in results)
    strength = any(result.concentration_verdict is Verdict.EXCEEDS for result in results)
    return "the dose and the concentration" if daily and strength else "the concentration" if strength else "the dose"


def quiet_key(who: Acknowledger, results: Sequence[DoseResult], orders: Sequence[Order]) -> str:
    """Keyed digest of prescriber, patient, drug set, route, dose class and verdict; hex.

    Dose class: the quarter of the limit in which the value lies, so that a further rise is shown again.
    """
    drugs = sorted({part.name or part.text for order in orders if order.solution for part in order.solution.drugs()})
    routes = sorted({order.route.value for order in orders if order.route})
    classes = sorted(f"{result.ingredient}:{_quarter(result)}" for result in results)
    text = "\0".join([who.client, who.patient_id, who.user_id, *drugs, "", *routes, "", *classes])
    return hashlib.blake2b(text.encode(), key=who.key[:64], digest_size=16).hexdigest()


def _quarter(result: DoseResult) -> str:
    pairs = ((result.daily, result.daily_limit), (result.concentration, result.concentration_limit))
    verdicts = f"{result.daily_verdict.value},{result.concentration_verdict.value}"
    return ",".join([verdicts, *(str(math.ceil(value / top * 4)) if value and top else "-" for value, top in pairs)])

"""At most one coverage card and one dose card per response (decisions 5; cds-hooks-crd B.6, B.8).

A card says in its summary what to do, names no patient, identifier or diagnosis there, and carries no suggestion:
no dose is ever changed by us. ``build_cards`` makes them, ``shown_cards`` leaves out what was asked or acknowledged.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.options import COVERAGE_INFO, OFF_GUIDELINE, Options
from cds_service.domain.order import Order, OrderKind

_CARD_SPACE = uuid.UUID("5b0b2f0e-6a3c-5d0c-9a53-6f1f0f1d7c11")
_TOPIC_SYSTEM = {
    "2.0": "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp",
    "2.2": "http://terminology.hl7.org/CodeSystem/cdshooks-card-type",
}
_TOPIC_DISPLAY = {COVERAGE_INFO: "Coverage Information", OFF_GUIDELINE: "Off Guideline"}
SUMMARY_LIMIT = 139  # "fewer than 140 characters", counted in code points
OVERRIDE_REASONS = (
    ("dose-verified", "Dose verified"),
    ("chronic-stable-regimen", "Chronic stable regimen"),
    ("table-not-applicable", "Table not applicable"),
    ("data-error", "Data error"),
    ("other", "Other"),
)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One card in domain form. ``rule`` is a word of a closed list, for counting feedback."""

    uuid: str
    rule: str
    topic: str
    indicator: str  # info | warning | critical
    summary: str
    detail: str
    orders: tuple[str, ...]  # the orders it speaks of, "Type/id"
    partial: bool = False  # other orders of the call are not concerned
    smart: str = ""  # what the link to the app offers; "": no link
    overridable: bool = False
    quiet_key: str = ""  # "": never silenced
    linked: bool = True  # False: instructions, with nothing of ours to open (cds-hooks-crd 165)


def card_uuid(content: Sequence[bytes], rule: str, summary: str) -> str:
    """Follows from the drafts' text, rule and summary: a repeat of a draft gets the same card."""
    digest = hashlib.sha256(b"\0".join([*content, rule.encode(), summary.encode()])).hexdigest()
    return str(uuid.uuid5(_CARD_SPACE, digest))


def cut_summary(text: str, ending: str = "") -> str:
    """At most 139 code points, cut at a word where one is near; a short ``ending`` is never cut."""
    limit = SUMMARY_LIMIT - len(ending)
    if len(text) <= limit:
        return text + ending
    head = text[: limit - 1]
    at = head.rfind(" ")
    return (head[:at] if at > limit - 30 else head).rstrip() + "\N{HORIZONTAL ELLIPSIS}" + ending


def orders_in(orders: Mapping[str, Order]) -> int:
    """How many resources of the call are orders; a Medication that travels with them is none."""
    return sum(order.kind is not OrderKind.OTHER for order in orders.values())


def shown_cards(
    cards: Sequence[Card], options: Options, acknowledged: frozenset[str] = frozenset()
) -> tuple[Card, ...]:
    """What the client wants to see, the most urgent first, without what this prescriber acknowledged.

    ``acknowledged``: those ``quiet_key`` values that were overridden with a reason within the payer's quiet days.
    """
    wanted = {COVERAGE_INFO: options.coverage_info, OFF_GUIDELINE: options.off_guideline}
    silenced = acknowledged - {""}
    kept = [card for card in cards if wanted[card.topic] and card.quiet_key not in silenced]
    kept.sort(key=lambda card: ("critical", "warning", "info").index(card.indicator))
    return tuple(kept[: options.max_cards])


def quiet_keys(cards: Sequence[Card]) -> tuple[str, ...]:
    """The keys to look up before ``shown_cards``."""
    return tuple(card.quiet_key for card in cards if card.quiet_key)


def render_card(card: Card, texts: CardTexts, version: str, app_context: str | None = None) -> dict[str, Any]:
    """The card as JSON values, its topic in the system of the CRD version (125-127).

    ``app_context``: where the SMART app begins; without one the card has no SMART link, and the app works without.
    """
    rendered: dict[str, Any] = {
        "uuid": card.uuid,
        "summary": card.summary,
        "indicator": card.indicator,
        "detail": card.detail,
        "source": {"label": texts.label, "url": texts.policy_url, "topic": _topic(card.topic, version)},
    }
    if card.linked:
        rendered["links"] = _links(card, texts, app_context)
    if card.overridable:
        rendered["overrideReasons"] = [
            {"system": texts.reasons_system, "code": code, "display": display} for code, display in OVERRIDE_REASONS
        ]
    if card.partial:
        concerned = [{"reference": order} for order in card.orders]
        rendered["extension"] = {"davinci-crd.associated-resource": concerned}
    return rendered


def _topic(code: str, version: str) -> Mapping[str, str]:
    return {"system": _TOPIC_SYSTEM[version], "code": code, "display": _TOPIC_DISPLAY[code]}


def _links(card: Card, texts: CardTexts, app_context: str | None) -> list[dict[str, str]]:
    links = []
    if card.smart and texts.smart_app_url and app_context:
        form = {"label": card.smart, "url": texts.smart_app_url, "type": "smart"}
        links.append(form | {"appContext": app_context})
    return [*links, {"label": f"Guideline {texts.guideline}", "url": texts.policy_url, "type": "absolute"}]

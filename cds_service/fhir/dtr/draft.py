"""The payer's own start of an answer: a QuestionnaireResponse with what is known of this order (PS-14, PS-15).

Every answer says that it came automatically, and what it rests on. What a chart shows of facts that the policy data
marks as sensitive is never filled in, nor anything on which an answer and the chart disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.documentation import DocumentedOrder, Remembered
from cds_service.domain.record import Evidence
from cds_service.fhir import form_urls as urls
from cds_service.fhir.questionnaire import canonical, coding, decimal
from cds_service.policy.form import DETAILS, Form, Item
from cds_service.policy.model import Guideline

Resource = dict[str, Any]

CONTEXT_EXTENSION = f"{urls.OURS}/documentation-context"
_AUTO = {"2.0.1": "auto", "2.2": "auto-server"}
_USES = ("withpa", "retain-doc")
_MOST_EVIDENCE = 20
_PERSONS_OWN = frozenset({"audit", "review"})


class DraftFor(msgspec.Struct, frozen=True, kw_only=True):
    """What a draft is about, beside the form. References are written as they were sent."""

    subject: Mapping[str, Any]
    coverages: tuple[Mapping[str, Any], ...]
    orders: tuple[Mapping[str, Any], ...]
    documented: DocumentedOrder | None = None
    assertion: str = ""
    at: datetime


def draft_response(guideline: Guideline, form: Form, about: DraftFor, version: str, *, adaptive: bool) -> Resource:
    """The draft; the adaptive form's has no items yet."""
    profile = urls.ADAPTIVE_RESPONSE_PROFILE[version] if adaptive else urls.RESPONSE_PROFILE
    response: Resource = {
        "resourceType": "QuestionnaireResponse",
        "meta": {"profile": [profile]},
        "extension": _links(about, version),
        "questionnaire": canonical(guideline, adaptive=adaptive),
        "status": "in-progress",
        "subject": dict(about.subject),
        "authored": about.at.isoformat(timespec="seconds"),
    }
    items = [] if adaptive else _items(guideline, form.items, about.documented, version)
    if not items and not adaptive and version == "2.0.1":  # whose profile wants an item, with an answer or without
        items = [{"linkId": group.name, "text": group.text} for group in form.items[:1]]
    return response | ({"item": items} if items else {})


def known_answers(guideline: Guideline, documented: DocumentedOrder) -> Mapping[str, Remembered]:
    """The facts that may be filled in: those that are settled. Nobody attests, or gives a reason, in advance."""
    facts = {
        name: fact
        for name, fact in guideline.facts.items()
        if name not in documented.missing and not _PERSONS_OWN.intersection(fact.feeds)
    }
    return {
        name: held
        for name, held in documented.facts.items()
        if name in facts
        and (held.answered or not facts[name].sensitive)
        and not held.conflict
        and (held.value or (held.at_least is not None and facts[name].kind == "decimal"))
    }


def _links(about: DraftFor, version: str) -> list[Resource]:
    if version == "2.0.1":
        found = [{"url": urls.QR_CONTEXT, "valueReference": dict(one)} for one in (*about.coverages, *about.orders)]
    else:
        found = [{"url": urls.QR_COVERAGE, "valueReference": dict(one)} for one in about.coverages]
        found += [{"url": urls.QR_CONTEXT, "valueReference": dict(one)} for one in about.orders]
    system = urls.INTENDED_USES[version]
    found += [
        {"url": urls.INTENDED_USE, "valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}
        for code in _USES
    ]
    if about.assertion:
        found.append({"url": CONTEXT_EXTENSION, "valueString": about.assertion})
    return found


def _items(
    guideline: Guideline, items: Sequence[Item], documented: DocumentedOrder | None, version: str
) -> list[Resource]:
    if documented is None:
        return []
    known = known_answers(guideline, documented)
    found = []
    for group in items:
        inside = [
            {"linkId": item.name, "text": item.text, "answer": answers}
            for item in group.items
            if (answers := _answers(guideline, item, known, documented.details, version))
        ]
        if inside:
            found.append({"linkId": group.name, "text": group.text, "item": inside})
    return found


def _answers(
    guideline: Guideline, item: Item, known: Mapping[str, Remembered], details: Sequence[str], version: str
) -> list[Resource]:
    if item.name == DETAILS:
        texts = {one.code: one.text for one in item.options}
        return [
            {"valueCoding": coding(guideline, code, texts[code]), "extension": [_origin(version)]}
            for code in details
            if code in texts
        ]
    held = known.get(item.name)
    value = _value(guideline, item, held) if held else None
    if held is None or value is None:
        return []
    evidence = held.evidence or _beside(guideline, item, known)
    return [{"extension": [_origin(version), *_evidence(evidence)], **value}]


def _beside(guideline: Guideline, item: Item, known: Mapping[str, Remembered]) -> tuple[Evidence, ...]:
    """What the chart shows beside other facts of the same criterion: a resource that tells several is named once."""
    for name, held in known.items():
        if held.evidence and not held.answered and set(guideline.facts[name].feeds) & set(item.serves):
            return held.evidence
    return ()


def _value(guideline: Guideline, item: Item, held: Remembered) -> Resource | None:
    if item.kind in {"choice", "open_choice"}:
        texts = {one.code: one.text for one in item.options}
        return {"valueCoding": coding(guideline, held.value, texts[held.value])} if held.value in texts else None
    if item.kind == "decimal":
        amount = Fraction(held.value) if held.value else held.at_least
        return None if amount is None else {"valueDecimal": decimal(amount if held.value else _floor(amount))}
    if item.kind == "date":
        return {"valueDate": held.value}
    return {"valueString": held.value}


def _floor(value: Fraction) -> Fraction:
    """What the chart proves at least, to one decimal and never more than it proves."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return Fraction(exact.quantize(Decimal("0.1"), ROUND_FLOOR))


def _origin(version: str) -> Resource:
    return {
        "url": urls.INFORMATION_ORIGIN,
        "extension": [{"url": "source", "valueCode": _AUTO[version]}],
    }


def _evidence(evidence: Sequence[Evidence]) -> list[Resource]:
    found = []
    for each in evidence[:_MOST_EVIDENCE]:
        parts: list[Resource] = [{"url": "source", "valueString": each.source}]
        if each.date:
            parts.append({"url": "date", "valueString": each.date})
        parts.append({"url": "shows", "valueString": each.shows})
        found.append({"url": urls.EVIDENCE, "extension": parts})
    return found

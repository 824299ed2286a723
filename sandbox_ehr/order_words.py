"""Orders and dates in the words of a chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from sandbox_ehr.fhir_json import Resource

_PERIODS = {"d": "day", "h": "hour", "wk": "week"}


def name_of(resource: Resource) -> str:
    """What is ordered, taken or noted."""
    reference = resource.get("medicationReference")
    if isinstance(reference, dict):
        return str(reference.get("display") or "Medication")
    for element in ("medicationCodeableConcept", "code", "codeCodeableConcept", "type"):
        concept = resource.get(element)
        if isinstance(concept, dict):
            coding: dict[str, Any] = next(iter(concept.get("coding", [])), {})
            text = concept.get("text") or coding.get("display")
            code = coding.get("code")
            return str(f"{code} {text}" if text and element == "codeCodeableConcept" else text or code or "")
    return str(resource.get("resourceType", ""))


def code_of(resource: Resource) -> str:
    """The first code of a condition, device or order; "" where there is text alone."""
    for element in ("code", "codeCodeableConcept", "type"):
        for coding in (resource.get(element) or {}).get("coding", []):
            return str(coding.get("code", ""))
    return ""


def dosage_of(resource: Resource) -> str:
    """How it is given, in one line."""
    instructions = resource.get("dosageInstruction", [])
    parts = [words for words in (_instruction(one) for one in instructions) if words]
    route = next((_text(one.get("route")) for one in instructions if one.get("route")), "")
    return ", ".join([*([route.lower()] if route else []), *parts])


def unit_words(unit: str) -> str:
    """A UCUM unit as prescribers write it: micrograms are "mcg", never a sign that can be taken for "mg"."""
    return f"mc{unit[1:]}" if unit.startswith("ug") else unit


def day_words(value: str) -> str:
    """A FHIR date or instant as "3 Nov 2026"; what is not a day is left as it is."""
    try:
        day = date.fromisoformat(value[:10])
    except ValueError:
        return value
    return f"{day.day} {day:%b %Y}"


def age(born: str, as_of: date) -> int:
    """Whole years."""
    birth = date.fromisoformat(born)
    return as_of.year - birth.year - ((as_of.month, as_of.day) < (birth.month, birth.day))


def _instruction(one: Mapping[str, Any]) -> str:
    if one.get("text"):
        return str(one["text"])
    amounts = " ".join(_amounts(one.get("doseAndRate", [])))
    repeat = one.get("timing", {}).get("repeat", {})
    if repeat.get("count") == 1:
        when = "once"
    elif repeat.get("duration"):
        when = f"for {repeat['duration']} h a day"
    elif repeat.get("frequency"):
        when = f"{repeat['frequency']} times a {_PERIODS.get(repeat.get('periodUnit'), 'day')}"
    else:
        when = ""
    wanted = f"patient bolus {amounts}, up to {when}" if when else f"patient bolus {amounts}"
    return wanted if one.get("asNeededBoolean") else f"{amounts} {when}".strip()


def _amounts(rates: list[dict[str, Any]]) -> Iterator[str]:
    for rate in rates:
        for quantity in (rate.get("rateQuantity"), rate.get("doseQuantity")):
            if quantity:
                yield f"{quantity.get('value')} {unit_words(quantity.get('unit', ''))}".strip()


def _text(concept: Any) -> str:
    if not isinstance(concept, dict):
        return ""
    coding: dict[str, Any] = next(iter(concept.get("coding", [])), {})
    return str(concept.get("text") or coding.get("display") or coding.get("code") or "")

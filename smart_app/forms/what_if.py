"""What another rate or concentration would amount to, held against the payer's table. Nothing is written anywhere.

The numbers are put into a copy of the order, which then goes the way of every order: the same codecs read it and the
same arithmetic judges it as in the payer's own answer, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.determination import DoseAssessment
from cds_service.domain.dosing import assess
from cds_service.domain.order import Order
from cds_service.domain.quantity import decimal_text
from cds_service.fhir.concepts import dicts
from cds_service.fhir.orders import read_order
from cds_service.fhir.systems import RXNORM, UCUM
from smart_app.dtr.dose_limits import Limits

Resource = dict[str, Any]
Resolve = Callable[[Any, Any], Mapping[str, Any] | None]

RATE_UNITS = ("mL/d", "mL/h", "mg/d", "ug/d", "ug/h", "mg/h")
STRENGTH_UNITS = ("mg/mL", "ug/mL")
_INTRATHECAL = {"coding": [{"system": "http://snomed.info/sct", "code": "72607000"}], "text": "Intrathecal route"}
_MOST_DIGITS = 12


class Strength(msgspec.Struct, frozen=True):
    """One drug of the solution as typed: ``value`` is the text of the field."""

    name: str
    value: str
    unit: str = "mg/mL"


class Trial(msgspec.Struct, frozen=True):
    """What a person tries out: texts of the fields, so that they are shown back as typed."""

    rate: str = ""
    rate_unit: str = "mL/d"
    strengths: tuple[Strength, ...] = ()


class Tried(msgspec.Struct, frozen=True):
    """The result. ``problems``: field name -> what is wrong with it; then there is no assessment."""

    trial: Trial
    assessment: DoseAssessment | None = None
    problems: Mapping[str, str] = {}


def start(order: Mapping[str, Any] | None, resolve: Resolve, limits: Limits) -> Trial:
    """The fields as the order says them now; without a readable order one empty drug of the table."""
    read = None if order is None else _read(order, resolve, limits)
    if read is None or read.solution is None or not read.solution.drugs():
        first = next(iter(limits.table.rows), "")
        return Trial(strengths=(Strength(first, ""),))
    named = [part for part in read.solution.drugs() if part.name is not None]
    strengths = tuple(
        Strength(part.name or "", "" if part.concentration is None else decimal_text(part.concentration))
        for part in named
    )
    rate, unit = _rate_of(order or {})
    return Trial(rate, unit, strengths)


def assessment_of(order: Mapping[str, Any], resolve: Resolve, limits: Limits) -> DoseAssessment:
    """The order as it is, held against the table."""
    return assess(_read(order, resolve, limits), (), limits.table)


def attempt(order: Mapping[str, Any] | None, trial: Trial, limits: Limits) -> Tried:
    """What ``trial`` amounts to. Boluses and maxima of ``order`` stay as they are; only rate and strengths change."""
    problems = _problems(trial, limits)
    if problems:
        return Tried(trial, None, problems)
    changed = _changed(order or {}, trial, limits)
    read = _read(changed, _contained_only, limits)
    return Tried(trial, assess(read, (), limits.table))


def _read(order: Mapping[str, Any], resolve: Resolve, limits: Limits) -> Order:
    source = f"{order.get('resourceType')}/{order.get('id', '')}"
    return read_order(order, resolve, limits.vocabulary, draft=True, source=source)


def _problems(trial: Trial, limits: Limits) -> dict[str, str]:
    found: dict[str, str] = {}
    if _number(trial.rate) is None:
        found["rate"] = _SAY_NUMBER
    if trial.rate_unit not in RATE_UNITS:
        found["rate_unit"] = f"Choose one of {', '.join(RATE_UNITS)}."
    if trial.rate_unit.startswith(("mg", "ug")) and len({each.name for each in trial.strengths}) > 1:
        found["rate_unit"] = "A mixture has a rate in mL: mg would not say of which drug."
    for place, strength in enumerate(trial.strengths):
        if _number(strength.value) is None:
            found[f"strength-{place}"] = _SAY_NUMBER
        if strength.name not in limits.table.rows or strength.unit not in STRENGTH_UNITS:
            found[f"strength-{place}"] = "Choose a drug of the table and mg/mL or ug/mL."
    return found


_SAY_NUMBER = "Enter a number above 0, such as 0.5."


def _number(text: str) -> Decimal | None:
    text = text.strip()
    if not text or len(text) > _MOST_DIGITS or not text.replace(".", "", 1).isdecimal() or not text.isascii():
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value > 0 else None


def _changed(order: Mapping[str, Any], trial: Trial, limits: Limits) -> Resource:
    """A copy of the order with another solution and rate."""
    codes = {known.name: (code.system, code.code) for code, known in limits.vocabulary.ingredients.items()}
    codes |= {known.name: (RXNORM, known.rxcui) for known in limits.vocabulary.ingredients.values() if known.rxcui}
    ingredients = [
        {
            "itemCodeableConcept": {
                "coding": [{"system": codes[one.name][0], "code": codes[one.name][1]}],
                "text": one.name,
            },
            "isActive": True,
            "strength": {
                "numerator": _quantity(one.value, one.unit.partition("/")[0]),
                "denominator": _quantity("1", "mL"),
            },
        }
        for one in trial.strengths
    ]
    kept = {key: value for key, value in order.items() if key not in {"medicationCodeableConcept", "contained"}}
    return {
        "status": "draft",
        "intent": "order",
        "id": "what-if",
        **kept,
        "resourceType": "MedicationRequest",
        "contained": [{"resourceType": "Medication", "id": "solution", "ingredient": ingredients}],
        "medicationReference": {"reference": "#solution"},
        "dosageInstruction": _dosages(order, trial),
    }


def _dosages(order: Mapping[str, Any], trial: Trial) -> list[Resource]:
    rate = {"rateQuantity": _quantity(trial.rate, trial.rate_unit)}
    stated = [dict(each) for each in dicts(order.get("dosageInstruction"))]
    rated = [each for each in stated if _has_rate(each)]
    others = [each for each in stated if not _has_rate(each)]
    route = next((each["route"] for each in (*rated, *others) if "route" in each), _INTRATHECAL)
    basal: Resource = {"route": route, "doseAndRate": [rate]}
    return [basal, *(each for each in others if each.get("asNeededBoolean") or "asNeededCodeableConcept" in each)]


def _has_rate(dosage: Mapping[str, Any]) -> bool:
    return any(key.startswith("rate") for entry in dicts(dosage.get("doseAndRate")) for key in entry)


def _rate_of(order: Mapping[str, Any]) -> tuple[str, str]:
    """The first stated rate, in one of the units that are offered."""
    for dosage in dicts(order.get("dosageInstruction")):
        for entry in dicts(dosage.get("doseAndRate")):
            quantity = entry.get("rateQuantity")
            if isinstance(quantity, Mapping) and quantity.get("code") in RATE_UNITS:
                value = quantity.get("value")
                if isinstance(value, int | Decimal):
                    return decimal_text(Fraction(value)), str(quantity["code"])
    return "", RATE_UNITS[0]


def _quantity(value: str, unit: str) -> Resource:
    return {"value": Decimal(value.strip()), "unit": unit, "system": UCUM, "code": unit}


def _contained_only(reference: Any, container: Any) -> Mapping[str, Any] | None:
    text = reference.get("reference") if isinstance(reference, Mapping) else reference
    held = container.get("contained") if isinstance(container, Mapping) else None
    return next((one for one in dicts(held) if text == f"#{one.get('id')}"), None)

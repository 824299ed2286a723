"""From the order form to FHIR R4 draft orders, and from a draft to the order that is signed."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from sandbox_ehr.codes import COMPANIONS, CPT, ICD10CM, INGREDIENTS, ROUTES, RXNORM, SNOMED, concept, quantity
from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.formulary import FORMULARY
from sandbox_ehr.order_form import OTHER_CODE, OrderForm, number
from sandbox_ehr.order_words import unit_words

ACTIVE = "active"
DRAFT_SYSTEM = "urn:sandbox-ehr:draft"


class Situation(msgspec.Struct, frozen=True):
    """Whom and where an order is for, as the EHR knows it."""

    patient: str
    practitioner: str
    encounter: str  # id, or ""
    coverage: str  # id, or ""
    now: datetime


def build(form: OrderForm, situation: Situation, ids: tuple[str, ...]) -> tuple[Resource, ...]:
    """The draft orders of a checked form: the drug, then the services and devices ordered beside it.

    ``ids``: one id for the drug and one per companion.
    """
    drug = _drug_order(form, situation, ids[0])
    others = [_companion(code, form, situation, ident) for code, ident in zip(form.companions, ids[1:], strict=True)]
    return (drug, *others)


def signed(draft: Resource, ident: str, replaced: dict[str, str], now: datetime) -> Resource:
    """The order as it is filed: a new id, active, everything else as drafted. ``replaced``: draft reference -> new.

    The draft's id stays as an identifier: who was told of the draft finds the order.
    """
    order: Resource = {
        **draft,
        "id": ident,
        "identifier": [*draft.get("identifier", []), {"system": DRAFT_SYSTEM, "value": draft["id"]}],
        "status": ACTIVE,
        "authoredOn": now.isoformat(timespec="seconds"),
    }
    return {name: _renamed(value, replaced) for name, value in order.items()}


def bundle(drafts: tuple[Resource, ...], base: str) -> Resource:
    """``context.draftOrders``."""
    entries = [{"fullUrl": f"{base}/{draft['resourceType']}/{draft['id']}", "resource": draft} for draft in drafts]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _renamed(value: Any, replaced: dict[str, str]) -> Any:
    if isinstance(value, dict):
        if value.get("reference") in replaced:
            return {**value, "reference": replaced[value["reference"]]}
        return {name: _renamed(item, replaced) for name, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, replaced) for item in value]
    return value


def _common(kind: str, situation: Situation, ident: str, form: OrderForm) -> Resource:
    order: Resource = {
        "resourceType": kind,
        "id": ident,
        "status": "draft",
        "intent": "order",
        "subject": {"reference": f"Patient/{situation.patient}"},
        "authoredOn": situation.now.isoformat(timespec="seconds"),
        "requester": {"reference": f"Practitioner/{situation.practitioner}"},
    }
    if situation.encounter:
        order["encounter"] = {"reference": f"Encounter/{situation.encounter}"}
    if situation.coverage:
        order["insurance"] = [{"reference": f"Coverage/{situation.coverage}"}]
    if form.reason == OTHER_CODE:
        order["reasonCode"] = [concept(ICD10CM, form.reason_code.upper())]
    elif form.reason:
        order["reasonReference"] = [{"reference": f"Condition/{form.reason}"}]
    return order


def _drug_order(form: OrderForm, situation: Situation, ident: str) -> Resource:
    item = FORMULARY[form.drug]
    order = _common("MedicationRequest", situation, ident, form)
    if item.solution:
        order["contained"] = [_solution(form)]
        order["medicationReference"] = {"reference": "#solution", "display": solution_name(form)}
    else:
        order["medicationCodeableConcept"] = concept(RXNORM, item.rxcui, item.name)
    order["dosageInstruction"] = _dosage(form)
    dispense: dict[str, Any] = {}
    if form.volume:
        dispense["quantity"] = quantity(number(form.volume), "mL")
    if form.start:
        dispense["validityPeriod"] = {"start": form.start}
    if dispense:
        order["dispenseRequest"] = dispense
    if form.replaces:
        order["priorPrescription"] = {"reference": f"MedicationRequest/{form.replaces}"}
    return order


def _solution(form: OrderForm) -> Resource:
    rows = []
    for row in form.ingredients:
        part: dict[str, Any] = {
            "itemCodeableConcept": concept(RXNORM, INGREDIENTS[row.drug], row.drug),
            "isActive": True,
        }
        if row.amount:
            part["strength"] = _strength(number(row.amount), row.unit)
        rows.append(part)
    medication: Resource = {"resourceType": "Medication", "id": "solution", "code": {"text": solution_name(form)}}
    if form.volume:
        medication["amount"] = {"numerator": quantity(number(form.volume), "mL"), "denominator": quantity(1, "1")}
    medication["ingredient"] = rows
    return medication


def _strength(value: Decimal | None, unit: str) -> dict[str, Any]:
    if unit == "%":  # grams in 100 mL
        return {"numerator": quantity(value, "g"), "denominator": quantity(100, "mL")}
    return {"numerator": quantity(value, unit.removesuffix("/mL")), "denominator": quantity(1, "mL")}


def solution_name(form: OrderForm) -> str:
    """What a person calls the mixture."""
    parts = [f"{row.drug} {row.amount} {unit_words(row.unit)}" if row.amount else row.drug for row in form.ingredients]
    return " + ".join(parts)


def _dosage(form: OrderForm) -> list[dict[str, Any]]:
    basal: list[dict[str, Any]]
    if form.delivery == "flex":
        basal = [
            {
                "timing": {"repeat": {**_daily(1), "duration": number(part.hours), "durationUnit": "h"}},
                **_rate(part.rate, part.unit),
            }
            for part in form.segments
        ]
    elif form.delivery == "dose":
        repeat: dict[str, Any] = {"count": 1} if form.once else _daily(int(form.times or "1"))
        basal = [
            {"timing": {"repeat": repeat}, "doseAndRate": [{"doseQuantity": _quantity(form.dose, form.dose_unit)}]}
        ]
    else:
        basal = [_rate(form.rate, form.rate_unit)]
    if form.bolus:
        basal.append(_bolus(form))
    route = {"route": concept(SNOMED, *ROUTES[form.route])} if form.route else {}
    start = {"boundsPeriod": {"start": form.start}} if form.start else {}
    return [_instruction(part, route, start) for part in basal]


def _instruction(part: dict[str, Any], route: dict[str, Any], start: dict[str, Any]) -> dict[str, Any]:
    timing = {"timing": {"repeat": {**start, **part.get("timing", {}).get("repeat", {})}}} if start else {}
    return {"sequence": 1, **part, **timing, **route}


def _bolus(form: OrderForm) -> dict[str, Any]:
    bolus: dict[str, Any] = {
        "asNeededBoolean": True,
        "doseAndRate": [{"doseQuantity": _quantity(form.bolus, form.bolus_unit)}],
    }
    if form.bolus_max:
        bolus["timing"] = {"repeat": _daily(int(form.bolus_max))}
    if form.lockout:
        bolus["patientInstruction"] = f"At least {form.lockout} minutes between doses"
    return bolus


def _daily(times: int) -> dict[str, Any]:
    return {"frequency": times, "period": 1, "periodUnit": "d"}


def _rate(value: str, unit: str) -> dict[str, Any]:
    return {"doseAndRate": [{"rateQuantity": _quantity(value, unit)}]}


def _quantity(value: str, unit: str) -> dict[str, Any]:
    return quantity(number(value), unit)


def _companion(code: str, form: OrderForm, situation: Situation, ident: str) -> Resource:
    kind, system, words = COMPANIONS[code]
    order = _common(kind, situation, ident, form)
    what = {**concept(system, code), "text": f"CPT {code}"} if system == CPT else concept(system, code, words)
    order["codeCodeableConcept" if kind == "DeviceRequest" else "code"] = what
    return order

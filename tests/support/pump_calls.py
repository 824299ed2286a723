"""Order-sign calls for an intrathecal pump, as an EHR sends them. The patient is made up."""

from __future__ import annotations

import copy
from typing import Any

from cds_service.cds_hooks.prefetch import WANTED
from tests.support.hook_calls import RXNORM, bundle

UCUM = "http://unitsofmeasure.org"
SNOMED = "http://snomed.info/sct"
PATIENT = {"reference": "Patient/pat-1"}
QUESTIONNAIRE = "https://cds.example.org/fhir/Questionnaire/09-J1000-31|2016-02-15"
YES = ("severe_chronic_intractable_pain", "life_expectancy_ge_3_months", "implant_contraindications_eliminated")


def morphine(daily: str = "0.6", ident: str = "draft-1", **changes: Any) -> dict[str, Any]:
    """Compounded morphine 20 mg/mL by pump; ``daily`` in mL/d, so 0.6 gives 12 mg/d."""
    solution = {
        "resourceType": "Medication",
        "id": "solution",
        "ingredient": [
            {
                "itemCodeableConcept": {"coding": [{"system": RXNORM, "code": "7052"}]},
                "isActive": True,
                "strength": {
                    "numerator": {"value": 20, "system": UCUM, "code": "mg"},
                    "denominator": {"value": 1, "system": UCUM, "code": "mL"},
                },
            }
        ],
    }
    return {
        "resourceType": "MedicationRequest",
        "id": ident,
        "contained": [solution],
        "status": "draft",
        "intent": "order",
        "medicationReference": {"reference": "#solution"},
        "subject": PATIENT,
        "authoredOn": "2026-03-02",
        "requester": {"reference": "Practitioner/pr-1"},
        "dosageInstruction": [
            {
                "route": {"coding": [{"system": SNOMED, "code": "72607000"}]},
                "doseAndRate": [{"rateQuantity": {"value": float(daily), "system": UCUM, "code": "mL/d"}}],
            }
        ],
    } | changes


def tablets() -> dict[str, Any]:
    """Oral morphine: none of the guideline's business."""
    oral = {"route": {"coding": [{"system": SNOMED, "code": "26643006"}]}, "text": "1 tablet twice a day"}
    return {
        "resourceType": "MedicationRequest",
        "id": "tablets",
        "status": "draft",
        "intent": "order",
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "7052"}]},
        "subject": PATIENT,
        "dosageInstruction": [oral],
    }


def coverage(ident: str = "cov-1", payor: str = "Florida Blue", **changes: Any) -> dict[str, Any]:
    """A Coverage in force."""
    return {
        "resourceType": "Coverage",
        "id": ident,
        "status": "active",
        "subscriberId": f"member-of-{ident}",
        "beneficiary": PATIENT,
        "period": {"start": "2026-01-01", "end": "2026-12-31"},
        "payor": [{"display": payor}],
    } | changes


def answers(*, trial: bool = True, **changed: str) -> dict[str, Any]:
    """A completed form for a preliminary trial, everything answered so that the section is met."""
    codes = dict.fromkeys(YES, "yes") | {"noninvasive_trial_outcome": "intolerance"}
    codes |= {"request_type": "trial"} if trial else {}
    items = [{"linkId": name, "answer": [{"valueCoding": {"code": code}}]} for name, code in (codes | changed).items()]
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "qr-1",
        "questionnaire": QUESTIONNAIRE,
        "status": "completed",
        "subject": PATIENT,
        "author": {"reference": "Practitioner/pr-1"},
        "authored": "2026-02-20",
        "item": [*items, {"linkId": "attestation_date", "answer": [{"valueDate": "2026-02-20"}]}],
    }


def pump_call(*orders: dict[str, Any], instance: int = 1, **prefetch: Any) -> dict[str, Any]:
    """An order-sign call; ``prefetch`` adds or replaces keys, every other published key was empty."""
    sent: dict[str, Any] = dict.fromkeys(WANTED) | {
        "patient": {"resourceType": "Patient", "id": "pat-1"},
        "encounter": {"resourceType": "Encounter", "id": "enc-1", "subject": PATIENT, "class": {"code": "AMB"}},
        "coverage": bundle(coverage()),
    }
    return copy.deepcopy(
        {
            "hook": "order-sign",
            "hookInstance": f"00000000-0000-4000-8000-{instance:012d}",
            "context": {
                "userId": "Practitioner/pr-1",
                "patientId": "pat-1",
                "encounterId": "enc-1",
                "draftOrders": bundle(*(orders or (morphine(),))),
            },
            "prefetch": sent | prefetch,
        }
    )


def information(response: dict[str, Any], index: int = -1) -> dict[str, list[Any]]:
    """Values of the coverage-information on one returned order, by part."""
    found: dict[str, list[Any]] = {}
    for part in response["systemActions"][index]["resource"]["extension"][-1]["extension"]:
        value = next((part[key] for key in part if key.startswith("value")), part.get("extension"))
        found.setdefault(part["url"], []).append(value)
    return found

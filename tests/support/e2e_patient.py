"""One made-up patient's chart for calls through the whole stack: dated, complete, and ready to submit for a trial."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

AS_OF = "2026-03-02"
PATIENT = "pat-e2e"
MEMBER = "M-E2E-1"
DRAFT = "MedicationRequest/draft-e2e"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
QUESTIONNAIRE = "https://cds.example.org/fhir/Questionnaire/09-J1000-31|2016-02-15"
ANSWERS = "https://cds.example.org/fhir/CodeSystem/coverage-answers"
SUBJECT = {"reference": f"Patient/{PATIENT}"}

# Key of the published prefetch -> resource type (written apart from the code under test).
KEYS: Mapping[str, str] = {
    "patient": "Patient",
    "encounter": "Encounter",
    "coverage": "Coverage",
    "conditions": "Condition",
    "medications": "MedicationRequest",
    "medicationStatements": "MedicationStatement",
    "medicationDispenses": "MedicationDispense",
    "medicationAdministrations": "MedicationAdministration",
    "observations": "Observation",
    "procedures": "Procedure",
    "devices": "Device",
    "deviceUseStatements": "DeviceUseStatement",
    "allergies": "AllergyIntolerance",
    "questionnaireResponses": "QuestionnaireResponse",
    "serviceRequests": "ServiceRequest",
    "deviceRequests": "DeviceRequest",
}
TRIAL: Mapping[str, str] = {
    "request_type": "trial",
    "severe_chronic_intractable_pain": "yes",
    "life_expectancy_ge_3_months": "yes",
    "noninvasive_trial_outcome": "intolerance",
    "implant_contraindications_eliminated": "yes",
}
RATIONALE = {"clinical_rationale_reason": "verified_chronic_regimen"}

Chart = dict[str, list[dict[str, Any]]]
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def medication(mg_per_ml: str = "2", drug: str = "7052", **changes: Any) -> dict[str, Any]:
    """A compounded solution of one ingredient (morphine)."""
    return {
        "resourceType": "Medication",
        "id": "med",
        "ingredient": [
            {
                "itemCodeableConcept": {"coding": [{"system": RXNORM, "code": drug}]},
                "strength": {"numerator": ucum(mg_per_ml, "mg"), "denominator": ucum("1", "mL")},
            }
        ],
        **changes,
    }


def ucum(value: str, unit: str) -> dict[str, Any]:
    """A quantity; its number keeps the digits of ``value``."""
    return {"value": Decimal(value), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def order(rate: str = "0.5", mg_per_ml: str = "2", **changes: Any) -> dict[str, Any]:
    """An intrathecal morphine infusion of 1 mg/d; ``changes`` replace elements."""
    return {
        "resourceType": "MedicationRequest",
        "id": "draft-e2e",
        "status": "draft",
        "intent": "order",
        "contained": [medication(mg_per_ml)],
        "medicationReference": {"reference": "#med"},
        "subject": SUBJECT,
        "encounter": {"reference": "Encounter/enc-e2e"},
        "authoredOn": f"{AS_OF}T10:00:00Z",
        "reasonCode": [{"coding": [{"system": ICD10, "code": "G89.28"}]}],
        "dosageInstruction": [dosage(rate)],
        **changes,
    }


def dosage(rate: str = "0.5", route: str = "72607000") -> dict[str, Any]:
    """A continuous rate in mL/d, by the intrathecal route unless told otherwise."""
    return {
        "route": {"coding": [{"system": SNOMED, "code": route}]},
        "doseAndRate": [{"rateQuantity": ucum(rate, "mL/d")}],
    }


def coverage(ident: str = "cov-e2e", payer: str = "Florida Blue", **changes: Any) -> dict[str, Any]:
    """Membership in force."""
    return {
        "resourceType": "Coverage",
        "id": ident,
        "status": "active",
        "subscriberId": MEMBER,
        "beneficiary": SUBJECT,
        "period": {"start": "2026-01-01", "end": "2026-12-31"},
        "payor": [{"display": payer}],
        **changes,
    }


def of_program(text: str) -> dict[str, Any]:
    """Membership whose type names a line of business."""
    return coverage(type={"text": text})


def answered(answers: Mapping[str, str] = TRIAL, ident: str = "qr-e2e", **changes: Any) -> dict[str, Any]:
    """The completed form, dated ten days ago; a value of "" leaves an item out."""
    items = [
        {"linkId": name, "answer": [{"valueCoding": {"system": ANSWERS, "code": code}}]}
        for name, code in answers.items()
        if code
    ]
    return {
        "resourceType": "QuestionnaireResponse",
        "id": ident,
        "questionnaire": QUESTIONNAIRE,
        "status": "completed",
        "subject": SUBJECT,
        "authored": "2026-02-20T09:00:00Z",
        "author": {"reference": "Practitioner/pr-e2e"},
        "item": items,
        **changes,
    }


def encounter(place: str = "AMB") -> dict[str, Any]:
    """The visit in which the order is written."""
    return {
        "resourceType": "Encounter",
        "id": "enc-e2e",
        "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": place},
        "subject": SUBJECT,
    }


def condition(code: str = "G89.28", ident: str = "cond-e2e", **changes: Any) -> dict[str, Any]:
    """An active, confirmed problem."""
    status = "http://terminology.hl7.org/CodeSystem/condition-"
    return {
        "resourceType": "Condition",
        "id": ident,
        "clinicalStatus": {"coding": [{"system": f"{status}clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{status}ver-status", "code": "confirmed"}]},
        "code": {"coding": [{"system": ICD10, "code": code}]},
        "subject": SUBJECT,
        "recordedDate": "2025-06-01",
        **changes,
    }


def service_request(code: str = "62350", ident: str = "sr-e2e", **changes: Any) -> dict[str, Any]:
    """An order for a catheter, or for the CPT code given."""
    return {
        "resourceType": "ServiceRequest",
        "id": ident,
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": code}]},
        "subject": SUBJECT,
        **changes,
    }


def chart(answers: Mapping[str, str] = TRIAL, **changes: Any) -> Chart:
    """Resources by prefetch key, every key present; ``changes`` replace keys. For this chart a trial is ready."""
    usual: Chart = {key: [] for key in KEYS}
    usual |= {
        "patient": [{"resourceType": "Patient", "id": PATIENT, "name": [{"family": "Example", "given": ["Ezra"]}]}],
        "encounter": [encounter()],
        "coverage": [coverage()],
        "conditions": [condition()],
        "questionnaireResponses": [answered(answers)],
    }
    return copy.deepcopy({**usual, **changes})


def searchset(*resources: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """A whole result of a search."""
    entries = [{"resource": resource, "search": {"mode": "match"}} for resource in resources]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries, **members}


def prefetch(held: Chart) -> dict[str, Any]:
    """The chart as an EHR sends it: Patient and Encounter bare, the rest as searchsets."""
    single = {"patient", "encounter"}
    return {
        key: (resources[0] if resources else None) if key in single else searchset(*resources)
        for key, resources in held.items()
    }


def call(*drafts: Mapping[str, Any], held: Chart | None = None, **changes: Any) -> dict[str, Any]:
    """An order-sign body with its own hookInstance; ``changes`` replace members, None takes one away."""
    body: dict[str, Any] = {
        "hook": "order-sign",
        "hookInstance": str(uuid.uuid4()),
        "context": {
            "userId": "Practitioner/pr-e2e",
            "patientId": PATIENT,
            "encounterId": "enc-e2e",
            "draftOrders": {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{"resource": copy.deepcopy(each)} for each in drafts or (order(),)],
            },
        },
        "prefetch": prefetch(chart() if held is None else held),
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def encode(body: object) -> bytes:
    """JSON text; numbers are written as they were spelled."""
    return _ENCODER.encode(body)


def no_nulls_nor_empties(value: Any, path: str = "") -> list[str]:
    """Where an answer of ours holds null, or an empty array or object other than ``cards`` (cds-hooks-crd 45)."""
    found = []
    if value is None or (value in ([], {}, "") and path != ".cards"):
        found.append(path)
    for name, each in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        found += no_nulls_nor_empties(each, f"{path}.{name}")
    return found

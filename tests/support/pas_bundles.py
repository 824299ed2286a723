"""PAS request Bundles of made-up people: ten entries, complete or with something left out."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

PAS = "http://hl7.org/fhir/us/davinci-pas"
EXT = f"{PAS}/StructureDefinition/extension-"
X12 = "https://codesystem.x12.org/005010/"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
CPT = "http://www.ama-assn.org/go/cpt"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
NPI = "http://hl7.org/fhir/sid/us-npi"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
MEMBER_TYPE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MB"}]}
CANONICAL = "https://cds.example.org/fhir/Questionnaire/09-J1000-31|2016-02-15"
BASE = "https://ehr.example.org/fhir/"
DAY = "2026-03-02"

COMPLETE: dict[str, Any] = {
    "request_type": "trial",
    "severe_chronic_intractable_pain": "yes",
    "pain_origin": "non_malignant",
    "life_expectancy_ge_3_months": "yes",
    "noninvasive_trial_outcome": "failure",
    "noninvasive_trial_weeks": 12,
    "systemic_opioid_included": "yes",
    "systemic_opioid_fixed_schedule": "yes",
    "systemic_opioid_adequate_dose": "yes",
    "implant_contraindications_eliminated": "yes",
    "compounded": "no",
    "preservative_free_confirmed": "yes",
    "attestation_name": "Dr. Ada Field",
}
TRIAL_DONE: dict[str, Any] = {
    "intraspinal_trial_done": "yes",
    "intraspinal_trial_drug_class": "opioid",
    "intraspinal_trial_tolerated": "yes",
    "intraspinal_trial_pain_relief_acceptable": "yes",
    "intraspinal_trial_function_improved": "yes",
}


def concept(system: str, code: str, **more: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}], **more}


def answers(values: Mapping[str, Any], *, authored: str = DAY, status: str = "completed") -> dict[str, Any]:
    """A QuestionnaireResponse; ``attestation_date`` is the day on which it was authored."""
    items = []
    for name, value in {**values, "attestation_date": authored}.items():
        if value is None:
            continue
        if name in {"attestation_name", "clinical_rationale_text"}:
            answer = {"valueString": value}
        elif name in {"attestation_date", "intraspinal_trial_date"}:
            answer = {"valueDate": value}
        elif isinstance(value, str):
            answer = {
                "valueCoding": {"system": "https://cds.example.org/fhir/CodeSystem/coverage-answers", "code": value}
            }
        else:
            answer = {"valueDecimal": value}
        items.append({"linkId": name, "answer": [answer]})
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "qr-1",
        "questionnaire": CANONICAL,
        "status": status,
        "subject": {"reference": "Patient/pat-1"},
        "authored": f"{authored}T09:00:00Z",
        "author": {"reference": "Practitioner/prac-1"},
        "item": items,
    }


def morphine(daily_ml: str = "0.5", mg_per_ml: int = 10, **changes: Any) -> dict[str, Any]:
    """An intrathecal morphine order: a commercial 10 or 25 mg/mL, so many mL a day."""
    product = {10: "1731998", 25: "1731522"}[mg_per_ml]
    order: dict[str, Any] = {
        "resourceType": "MedicationRequest",
        "id": "order-1",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": concept(RXNORM, product, text=f"morphine {mg_per_ml} mg/mL"),
        "subject": {"reference": "Patient/pat-1"},
        "authoredOn": DAY,
        "requester": {"reference": "Practitioner/prac-1"},
        "reasonCode": [concept(ICD10, "G89.28")],
        "dosageInstruction": [
            {
                "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                "route": concept(SNOMED, "72607000"),
                "doseAndRate": [{"rateQuantity": {"value": Number(daily_ml), "system": UCUM, "code": "mL/d"}}],
            }
        ],
    }
    return order | changes


def service_request(ident: str, code: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An active order of a procedure by its code."""
    order = {
        "resourceType": "ServiceRequest",
        "id": ident,
        "status": "active",
        "intent": "order",
        "code": code,
        "subject": {"reference": "Patient/pat-1"},
    }
    return order | changes


class Number(str):
    """A JSON number with its digits."""

    __slots__ = ()


def item(
    sequence: int = 1,
    *,
    code: str = "J2274",
    system: str = HCPCS,
    order: str | None = "MedicationRequest/order-1",
    certification: str = "I",
    **changes: Any,
) -> dict[str, Any]:
    """One Claim item."""
    extensions: list[dict[str, Any]] = [
        {"url": f"{EXT}serviceItemRequestType", "valueCodeableConcept": concept(f"{X12}1525", "HS")},
        {"url": f"{EXT}certificationType", "valueCodeableConcept": concept(f"{X12}1322", certification)},
    ]
    if order is not None:
        extensions.append({"url": f"{EXT}requestedService", "valueReference": {"reference": order}})
    extensions += changes.pop("extension", [])
    return {
        "extension": extensions,
        "sequence": sequence,
        "diagnosisSequence": [1],
        "category": concept(f"{X12}1365", "1"),
        "productOrService": concept(system, code),
        "locationCodeableConcept": concept(
            "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set", "11"
        ),
        **changes,
    }


def request(
    *,
    number: int = 1,
    values: Mapping[str, Any] | None = None,
    order: Mapping[str, Any] | None = None,
    items: Sequence[Mapping[str, Any]] | None = None,
    more: Sequence[Mapping[str, Any]] = (),
    claim: Mapping[str, Any] | None = None,
    identifier: str | None = None,
    authored: str = DAY,
    coverage: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A request of ten entries; ``number`` makes identifier, patient and member of its own."""
    patient = {
        "resourceType": "Patient",
        "id": "pat-1",
        "identifier": [{"type": MEMBER_TYPE, "system": "https://payer.example.org/members", "value": f"M{number:07d}"}],
        "name": [{"family": f"Person{number}", "given": ["Test"]}],
        "gender": "female",
        "birthDate": "1961-04-07",
    }
    held = {
        "resourceType": "Coverage",
        "id": "cov-1",
        "identifier": [{"type": MEMBER_TYPE, "system": "https://payer.example.org/members", "value": f"M{number:07d}"}],
        "status": "active",
        "beneficiary": {"reference": "Patient/pat-1"},
        "relationship": concept(f"{X12}1069", "18"),
        "period": {"start": "2025-01-01", "end": "2027-12-31"},
        "payor": [{"reference": "Organization/payer-1"}],
        **(coverage or {}),
    }
    entries: list[Mapping[str, Any]] = [
        {
            "resourceType": "Claim",
            "id": "claim-1",
            "identifier": [{"system": "https://clinic.example.org/claims", "value": f"C{number:07d}"}],
            "status": "active",
            "type": concept("http://terminology.hl7.org/CodeSystem/claim-type", "professional"),
            "use": "preauthorization",
            "patient": {"reference": "Patient/pat-1"},
            "created": f"{DAY}T10:00:00Z",
            "insurer": {"reference": "Organization/payer-1"},
            "provider": {"reference": "Organization/clinic-1"},
            "priority": concept("http://terminology.hl7.org/CodeSystem/processpriority", "normal"),
            "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": concept(ICD10, "G89.28")}],
            "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/cov-1"}}],
            "supportingInfo": [
                {
                    "extension": [
                        {
                            "url": f"{EXT}documentInformation",
                            "extension": [
                                {"url": "reportTypeCode", "valueCodeableConcept": concept(f"{X12}755", "15")}
                            ],
                        }
                    ],
                    "sequence": 1,
                    "category": concept(f"{PAS}/CodeSystem/PASTempCodes", "additionalInformation"),
                    "valueReference": {"reference": "QuestionnaireResponse/qr-1"},
                }
            ],
            "item": list(items) if items is not None else [item()],
            **(claim or {}),
        },
        patient,
        held,
        {"resourceType": "Organization", "id": "payer-1", "name": "Florida Blue"},
        {
            "resourceType": "Organization",
            "id": "clinic-1",
            "identifier": [{"system": NPI, "value": "1000000004"}],
            "name": "Spine Clinic",
        },
        {
            "resourceType": "Practitioner",
            "id": "prac-1",
            "identifier": [{"system": NPI, "value": "1000000012"}],
            "name": [{"family": "Field", "given": ["Ada"]}],
        },
        order if order is not None else morphine(),
        answers(COMPLETE if values is None else values, authored=authored),
        {
            "resourceType": "Condition",
            "id": "cond-1",
            "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
            "code": concept(ICD10, "G89.28"),
            "subject": {"reference": "Patient/pat-1"},
        },
        {
            "resourceType": "MedicationStatement",
            "id": "opioid-1",
            "status": "completed",
            "medicationCodeableConcept": concept(RXNORM, "7804", text="oxycodone"),
            "subject": {"reference": "Patient/pat-1"},
            "effectivePeriod": {"start": "2025-06-01", "end": "2025-12-01"},
        },
        *more,
    ]
    return {
        "resourceType": "Bundle",
        "id": f"bundle-{number}",
        "identifier": {"system": "https://clinic.example.org/transactions", "value": identifier or f"B{number:07d}"},
        "type": "collection",
        "timestamp": f"{DAY}T10:00:00Z",
        "entry": [{"fullUrl": f"{BASE}{each['resourceType']}/{each['id']}", "resource": each} for each in entries],
    }


def update_of(bundle: Mapping[str, Any], *, identifier: str, claim: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An update of a request: a new Claim first, related to the earlier one, which comes along."""
    changed = copy.deepcopy(dict(bundle))
    changed["identifier"] = changed["identifier"] | {"value": identifier}
    earlier = changed["entry"][0]
    new = copy.deepcopy(earlier)
    new["resource"] |= {
        "id": "claim-2",
        "identifier": [{"system": "https://clinic.example.org/claims", "value": f"{identifier}-U"}],
    }
    new["resource"]["related"] = [
        {
            "claim": {"reference": "Claim/claim-1"},
            "relationship": concept("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "prior"),
        }
    ]
    new["resource"] |= claim or {}
    new["fullUrl"] = f"{BASE}Claim/claim-2"
    changed["entry"] = [new, *changed["entry"][1:], earlier]
    return changed


def encoded(bundle: Mapping[str, Any]) -> bytes:
    """The bytes; numbers keep their digits."""

    def plain(value: Any) -> Any:
        if isinstance(value, Number):
            return float(value) if "." in value else int(value)
        if isinstance(value, Mapping):
            return {key: plain(each) for key, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list | tuple) else value

    return json.dumps(plain(bundle)).encode()

"""Short ways to write FHIR for tests; every patient is synthetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cds_service.fhir.chart import Chart, build_chart
from cds_service.ports import Fetched

PATIENT = "p1"
SERVER = "https://ehr.example.org/fhir"
SUBJECT = {"reference": "Patient/p1"}
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"

WANTED = {
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


def concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    coding = {"system": system, "code": code}
    return {"coding": [{**coding, "display": display} if display else coding]}


def searchset(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    entries = [
        {"fullUrl": f"{SERVER}/{resource.get('resourceType')}/{resource.get('id')}", "resource": resource}
        for resource in resources
    ]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries, **more}


def condition(ident: str = "c1", **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": ident,
        "subject": SUBJECT,
        "code": concept(ICD, "G89.4", "Chronic pain syndrome"),
        **elements,
    }


def order(ident: str = "d1", **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": ident,
        "status": "draft",
        "intent": "order",
        "subject": SUBJECT,
        "medicationCodeableConcept": concept(RXNORM, "7052", "morphine"),
        **elements,
    }


def chart_of(
    *stored: dict[str, Any],
    drafts: Sequence[dict[str, Any]] = (),
    prefetch: Mapping[str, Any] | None = None,
    fetched: Mapping[str, Fetched] | None = None,
    server: str | None = SERVER,
) -> Chart:
    """A chart of stored resources, each under the key of its type; what ``prefetch`` says is added."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    keys = {kind: key for key, kind in WANTED.items()}
    for resource in stored:
        by_kind.setdefault(keys.get(resource["resourceType"], "medications"), []).append(resource)
    sent = {key: searchset(*resources) for key, resources in by_kind.items()}
    return build_chart(
        patient_id=PATIENT,
        fhir_server=server,
        drafts=[(draft, "") for draft in drafts],
        prefetch={**sent, **(prefetch or {})},
        fetched=fetched or {},
        wanted=WANTED,
    )

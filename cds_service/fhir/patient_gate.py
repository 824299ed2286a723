"""Whose a resource is, and whether it was ever true: asked of every resource before any rule sees it.

Rows 65-71 of the reliability spec: a reference matches relative, absolute on the EHR's own host, or versioned; another
host's patient is another patient; a subject given only by name or number is nobody we know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cds_service.fhir.concepts import codings, word
from cds_service.fhir.references import normal

OTHER_PATIENT, PATIENT_UNKNOWN = "other_patient", "patient_unknown"
MALFORMED, ENTERED_IN_ERROR, REFUTED = "malformed", "entered_in_error", "refuted"

# Types that speak of no patient (reliability 1.2).
_WITHOUT_PATIENT = frozenset({
    "Medication", "Organization", "Practitioner", "PractitionerRole", "Location", "Questionnaire", "Substance",
    "HealthcareService", "Endpoint", "InsurancePlan", "ValueSet", "CodeSystem", "Library", "PlanDefinition",
    "ActivityDefinition",
})  # fmt: skip
_ELEMENTS = {"Coverage": "beneficiary", "Device": "patient", "AllergyIntolerance": "patient"}
_JUDGED = frozenset({"Condition", "AllergyIntolerance"})  # they carry verificationStatus
_ERRONEOUS = {"entered-in-error": ENTERED_IN_ERROR, "refuted": REFUTED}


class PatientGate:
    """Lets through what is about one patient. ``index`` finds a subject that is another entry of the same call."""

    def __init__(self, patient_id: str, host: str | None, index: Mapping[str, dict[str, Any]]) -> None:
        """``host`` is the EHR's, see ``references.host_of``."""
        self._patient_id = patient_id
        self._patient = f"Patient/{patient_id}"
        self._host = host
        self._index = index

    def refusal(self, kind: str, resource: Mapping[str, Any]) -> str:
        """``""`` for this patient's or nobody's, else ``other_patient`` or ``patient_unknown``."""
        if kind in _WITHOUT_PATIENT:
            return ""
        if kind == "Patient":
            return "" if resource.get("id") == self._patient_id else OTHER_PATIENT
        reference = _subject(kind, resource)
        text = reference.get("reference") if type(reference) is dict else None
        return "" if text == self._patient else self._compare(text)

    def _compare(self, text: Any) -> str:
        name = normal(text, self._host)
        if name == self._patient:
            return ""
        if text is None or (name is not None and name.startswith("#")):
            return PATIENT_UNKNOWN
        if name is None or not name.startswith("urn:"):
            return OTHER_PATIENT
        entry = self._index.get(name)
        if entry is None:
            return PATIENT_UNKNOWN
        here = entry.get("resourceType") == "Patient" and entry.get("id") == self._patient_id
        return "" if here else OTHER_PATIENT


def names_somebody(kind: str, resource: Mapping[str, Any]) -> bool:
    """The subject is more than a display: an identifier, or a reference that leads nowhere (row 71)."""
    subject = _subject(kind, resource)
    return type(subject) is dict and bool(subject.get("identifier") or subject.get("reference"))


def has_subject(kind: str, resource: Mapping[str, Any]) -> bool:
    """Whether anybody is named at all, in whatever way."""
    return bool(_subject(kind, resource))


def error(kind: str, resource: Mapping[str, Any]) -> str:
    """``entered_in_error`` or ``refuted`` for what never counts (guideline analysis 1.2), else ``""``."""
    if resource.get("status") == "entered-in-error":
        return ENTERED_IN_ERROR
    if kind in _JUDGED:
        for coding in codings(resource.get("verificationStatus")):
            why = _ERRONEOUS.get(word(coding.get("code")))
            if why:
                return why
    return ""


def _subject(kind: str, resource: Mapping[str, Any]) -> Any:
    element = _ELEMENTS.get(kind)
    return resource.get(element) if element else resource.get("subject", resource.get("patient"))

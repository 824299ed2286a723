"""How resources are called on a page: orders, drafts, coverages, evidence. For people, not for rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cds_service.fhir.concepts import dicts, label, word
from smart_app.people import name_in

Resource = Mapping[str, Any]

_REMARK = re.compile(r"\{[^}]*\}")  # UCUM: a remark like {score}, no part of the unit
_KINDS = {
    "MedicationRequest": "Prescription",
    "ServiceRequest": "Order",
    "DeviceRequest": "Device order",
    "MedicationStatement": "Medication list",
    "MedicationDispense": "Dispensed medication",
    "MedicationAdministration": "Given medication",
    "Observation": "Observation",
    "Condition": "Problem",
    "Procedure": "Procedure",
    "AllergyIntolerance": "Allergy or intolerance",
    "Encounter": "Visit",
    "Patient": "Patient record",
    "Practitioner": "Clinician",
    "PractitionerRole": "Clinician",
    "Organization": "Organization",
    "RelatedPerson": "Related person",
    "Coverage": "Coverage",
    "QuestionnaireResponse": "Answered form",
}
_NAMES = ("code", "medicationCodeableConcept", "codeCodeableConcept", "vaccineCode", "type")
_WHEN = (
    "effectiveDateTime",
    "authoredOn",
    "onsetDateTime",
    "performedDateTime",
    "recordedDate",
    "authored",
    "issued",
    "date",
)
_WHO = ("requester", "recorder", "asserter", "author", "informationSource")
_MANY_WHO = ("performer", "participant")


def kind_words(reference: str) -> str:
    """``Prescription`` for ``MedicationRequest/x``; the type itself where we have no word for it."""
    kind = reference.partition("/")[0]
    return _KINDS.get(kind, kind or "Source")


def title_of(resource: Resource, held: Mapping[str, Resource] | None = None) -> str:
    """What it is about. ``held``: medications that stand on their own in the chart, by the reference to them."""
    for name in _NAMES:
        value = resource.get(name)
        found = label(value[0] if isinstance(value, list) and value else value)
        if found:
            return found
    medicine = resource.get("medicationReference")
    if isinstance(medicine, Mapping):
        inside = next(
            (one for one in dicts(resource.get("contained")) if f"#{one.get('id')}" == medicine.get("reference")), {}
        )
        alone = (held or {}).get(word(medicine.get("reference")), {})
        return word(medicine.get("display")) or label(inside.get("code")) or label(alone.get("code")) or "a medication"
    return kind_words(word(resource.get("resourceType")))


def name_of(resource: Resource) -> str:
    """A person's or an organization's name; "" where there is none."""
    name = resource.get("name")
    return name if isinstance(name, str) else name_in(dict(resource))


def when(resource: Resource) -> str:
    """The day it is of, as ``YYYY-MM-DD``; "" where nothing says it."""
    for name in _WHEN:
        if word(resource.get(name)):
            return word(resource[name])[:10]
    for name in ("effectivePeriod", "performedPeriod", "period"):
        span = resource.get(name)
        if isinstance(span, Mapping) and word(span.get("start")):
            return word(span["start"])[:10]
    return ""


def who(resource: Resource) -> str:
    """By whom, in the EHR's own words; "" where it does not say."""
    found = [resource.get(name) for name in _WHO]
    for name in _MANY_WHO:
        found += [each.get("actor", each) for each in dicts(resource.get(name))]
    for reference in found:
        if isinstance(reference, Mapping) and (word(reference.get("display")) or word(reference.get("reference"))):
            return word(reference.get("display")) or word(reference.get("reference"))
    return ""


def what(resource: Resource) -> list[tuple[str, str]]:
    """What a person wants to see of it: name and value, in order."""
    rows = [("What", title_of(resource)), ("Status", word(resource.get("status")))]
    rows += [("Value", _value(resource)), ("When", when(resource)), ("By", who(resource))]
    rows += [("Instruction", word(each.get("text"))) for each in dicts(resource.get("dosageInstruction"))]
    rows += [("Note", word(each.get("text"))) for each in dicts(resource.get("note"))]
    return [(name, value) for name, value in rows if value]


def _value(resource: Resource) -> str:
    quantity = resource.get("valueQuantity")
    if isinstance(quantity, Mapping):
        unit = _REMARK.sub("", word(quantity.get("unit")) or word(quantity.get("code")))
        return f"{quantity.get('value', '')} {unit}".strip()
    for name in ("valueString", "valueInteger", "valueDateTime", "valueBoolean"):
        if name in resource:
            return str(resource[name])
    return label(resource.get("valueCodeableConcept"))

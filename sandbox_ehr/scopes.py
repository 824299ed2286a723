"""SMART scopes: what an access token lets its bearer do."""

from __future__ import annotations

import re

_SCOPE = re.compile(r"patient/(?P<type>\*|[A-Z][A-Za-z]+)\.(?P<rights>read|write|\*|c?r?u?d?s?)$")

# What the sandbox lends a CDS service for one hook call: the types that a determination reads.
LENT_TYPES = (
    "Patient", "Coverage", "Encounter", "Condition", "MedicationRequest", "MedicationStatement",
    "MedicationDispense", "MedicationAdministration", "Medication", "Observation", "Procedure", "Device",
    "DeviceUseStatement", "AllergyIntolerance", "QuestionnaireResponse", "ServiceRequest", "DeviceRequest",
    "Practitioner", "Organization",
)  # fmt: skip
LENT = " ".join(f"patient/{kind}.rs" for kind in LENT_TYPES)


def permits(scopes: str, resource_type: str, right: str) -> bool:
    """Whether any scope grants ``right`` ("r" read, "s" search) on ``resource_type``; SMART v2 and v1 forms.

    A scope narrowed by a query ("patient/Observation.rs?category=...") grants nothing here: it is not enforced, so
    it must not widen.
    """
    return any(_grants(scope, resource_type, right) for scope in scopes.split())


def _grants(scope: str, resource_type: str, right: str) -> bool:
    match = _SCOPE.match(scope)
    if match is None or match["type"] not in {"*", resource_type}:
        return False
    return right in {"read": "rs", "write": "cud", "*": "cruds"}.get(match["rights"], match["rights"])

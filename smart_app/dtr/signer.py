"""Who may sign a form: the prescriber, as far as the EHR lets us see it.

A nurse or pharmacist fills the form and hands it over. Where the EHR says nothing of a person's role, somebody with an
NPI may sign: the payer sees by whom it was signed, and judges that for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cds_service.fhir.concepts import codings, dicts, word
from cds_service.fhir.references import normal

_ROLES = "http://terminology.hl7.org/CodeSystem/practitioner-role"
_DEGREES = "http://terminology.hl7.org/CodeSystem/v2-0360"
_TAXONOMY = "http://nucc.org/provider-taxonomy"
_NPI = "http://hl7.org/fhir/sid/us-npi"

# Codes that say yes or no by themselves; others say nothing.
_PRESCRIBER = {_ROLES: {"doctor"}, _DEGREES: {"MD", "DO", "NP", "PA", "CNS", "ANP", "FNP", "CNP", "DPM"}}
_OTHER_STAFF = {
    _ROLES: {"nurse", "pharmacist", "researcher", "teacher", "ict"},
    _DEGREES: {"RN", "LPN", "RPH", "PHARMD", "MA", "CMA", "MT"},
}
# NUCC provider taxonomy: 207-208 physicians, 363A physician assistants, 363L nurse practitioners, 163W nurses, ...
_PRESCRIBER_FAMILIES = ("207", "208", "204", "363A", "363L", "364S", "367500000X")
_OTHER_FAMILIES = ("163W", "164", "1835", "183", "374", "376")


def may_sign(
    user: str, practitioner: Mapping[str, Any] | None, roles: Iterable[Any], requesters: Iterable[str]
) -> bool:
    """Whether the signed-in ``user`` ("Practitioner/x") may sign.

    Args:
        user: who is signed in.
        practitioner: their Practitioner, None when the EHR did not show it.
        roles: their PractitionerRole resources.
        requesters: who ordered, as references.
    """
    if user.partition("/")[0] not in {"Practitioner", "PractitionerRole"}:
        return False
    if user in {normal(name, None) for name in requesters}:
        return True
    concepts = [
        concept for role in dicts(list(roles)) for concept in (*dicts(role.get("code")), *dicts(role.get("specialty")))
    ]
    held = practitioner or {}
    concepts += [each["code"] for each in dicts(held.get("qualification")) if isinstance(each.get("code"), dict)]
    said = {_says(coding) for concept in concepts for coding in codings(concept)} - {None}
    if said:
        return True in said
    return any(each.get("system") == _NPI and word(each.get("value")) for each in dicts(held.get("identifier")))


def role_of(roles: Iterable[Any], practitioner: Mapping[str, Any] | None) -> dict[str, Any]:
    """The role that goes beside the person's answers (AP-29): of the PractitionerRole, else the qualification."""
    for role in dicts(list(roles)):
        for concept in dicts(role.get("code")):
            return concept
    for each in dicts((practitioner or {}).get("qualification")):
        if isinstance(each.get("code"), dict):
            return dict(each["code"])
    return {}


def _says(coding: Mapping[str, Any]) -> bool | None:
    system, code = word(coding.get("system")), word(coding.get("code"))
    if system == _TAXONOMY:
        return True if code.startswith(_PRESCRIBER_FAMILIES) else False if code.startswith(_OTHER_FAMILIES) else None
    if code.upper() in _PRESCRIBER.get(system, ()) or code in _PRESCRIBER.get(system, ()):
        return True
    return False if code.upper() in _OTHER_STAFF.get(system, ()) or code in _OTHER_STAFF.get(system, ()) else None

"""The launch context beside the tokens: patient, encounter, fhirContext and the rest (SM-23, SM-38, SM-39)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.errors import CdsServiceError
from cds_service.fhir import json as fhir_json
from cds_service.fhir.references import host_of, normal
from smart_app.errors import Trouble
from smart_app.registry import EhrProfile
from smart_app.sessions import ContextItem

MOST_ITEMS = 50
LONGEST_APP_CONTEXT = 10_000
_ID = re.compile(r"[A-Za-z0-9_~\-][A-Za-z0-9_~.\-]{0,511}")


def text_of(members: Mapping[str, Any], name: str, longest: int = 2_048) -> str:
    """A text member, "" where it is absent, no text or longer than anything sensible."""
    value = members.get(name)
    return value if isinstance(value, str) and len(value) <= longest else ""


def id_of(members: Mapping[str, Any], name: str, kind: str) -> str:
    """A logical id; ``Type/id`` is taken as the id. Raises Trouble ``token_unusable`` for anything else."""
    value = text_of(members, name).removeprefix(f"{kind}/")
    if value and not _ID.fullmatch(value):
        raise Trouble("token_unusable", f"token_{name}_no_id", details=(f"Its {name} is no FHIR id.",))
    return value


def app_context(members: Mapping[str, Any]) -> str:
    """The text that came with the card's link; EHRs put it in ``appContext``, some as an object."""
    value = members.get("appContext")
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return text_of(members, "appContext", LONGEST_APP_CONTEXT)


def read_fhir_context(value: Any, ehr: EhrProfile) -> tuple[ContextItem, ...]:
    """The usable items, in order.

    Patient and Encounter come from their own members: an item of these types without a role of its own is left out,
    as is a reference to another server, which the app would not follow anyway (SM-39, SM-41).
    """
    if not isinstance(value, list):
        return ()
    items = (_item(each, host_of(ehr.iss)) for each in value[:MOST_ITEMS] if isinstance(each, dict))
    return tuple(each for each in items if each is not None)


def _item(given: Mapping[str, Any], host: str | None) -> ContextItem | None:
    reference = normal(given.get("reference"), host) or ""
    if reference.startswith(("http:", "https:", "#", "urn:")):
        reference = ""
    role = text_of(given, "role")
    kind = text_of(given, "type") or reference.partition("/")[0]
    if kind in {"Patient", "Encounter"} and role in {"", "launch"}:
        return None
    identifier = given.get("identifier")
    canonical = text_of(given, "canonical")
    if not (reference or canonical or isinstance(identifier, dict)):
        return None
    return ContextItem(reference, canonical, identifier if isinstance(identifier, dict) else None, kind, role)


def refuse_other_patient(text: str, patient: str) -> None:
    """Row 103: an appContext that names a patient must name this one. Raises Trouble ``patient_mismatch``."""
    try:
        value = fhir_json.parse(text.encode(), max_bytes=LONGEST_APP_CONTEXT * 4)
    except (CdsServiceError, UnicodeEncodeError):
        return  # a query string or something of the payer's own: the payer binds its handle to the patient itself
    named = value.get("patient") or value.get("patientId") if isinstance(value, dict) else None
    if isinstance(named, str) and named.removeprefix("Patient/") != patient:
        raise Trouble("patient_mismatch", "app_context_names_another_patient")

"""What a determination reads of the chart: published as prefetch, and asked for where it was not sent (A.5, B.9).

Only root-level tokens, so that every 2.0 client can resolve them (cds-hooks-crd 35, 177). One key per resource type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from cds_service.cds_hooks.request import HookRequest
from cds_service.domain.record import Code

_PATIENT = "{{context.patientId}}"
_ENCOUNTER = "{{context.encounterId}}"

# key -> (resource type, template). Coverage is not limited to active ones: an ended one is an answer, not an error.
_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "patient": ("Patient", f"Patient/{_PATIENT}"),
    "encounter": ("Encounter", f"Encounter/{_ENCOUNTER}"),
    **{
        key: (kind, f"{kind}?patient={_PATIENT}")
        for key, kind in (
            ("coverage", "Coverage"),
            ("conditions", "Condition"),
            ("medications", "MedicationRequest"),
            ("medicationStatements", "MedicationStatement"),
            ("medicationDispenses", "MedicationDispense"),
            ("medicationAdministrations", "MedicationAdministration"),
            ("observations", "Observation"),
            ("procedures", "Procedure"),
            ("devices", "Device"),
            ("deviceUseStatements", "DeviceUseStatement"),
            ("allergies", "AllergyIntolerance"),
            ("questionnaireResponses", "QuestionnaireResponse"),
            ("serviceRequests", "ServiceRequest"),
            ("deviceRequests", "DeviceRequest"),
        )
    },
}
_KEY = re.compile(r"[A-Za-z][A-Za-z_-]{0,61}[0-9]{0,2}")  # a longer number might be somebody's
_MOST_OTHERS = 16
WANTED: Mapping[str, str] = {key: kind for key, (kind, _) in _TEMPLATES.items()}


class Outstanding(msgspec.Struct, frozen=True):
    """``queries``: key -> read or search to ask the EHR. ``denied``: keys that the token's scopes cannot cover."""

    queries: Mapping[str, str]
    denied: frozenset[str]


def templates(observation_codes: Iterable[Code] = ()) -> Mapping[str, str]:
    """Prefetch templates by key; Observations are narrowed to ``observation_codes`` where there are any."""
    published = {key: template for key, (_, template) in _TEMPLATES.items()}
    codes = sorted(set(observation_codes))
    if codes:
        published["observations"] += "&code=" + ",".join(f"{code.system}|{code.code}" for code in codes)
    return published


def sent_keys(request: HookRequest) -> tuple[str, ...]:
    """Names of the prefetch keys that were sent, null ones included: what ``check-client`` tells of a site.

    Names of ours, and a few others that look like names: what else a client writes there may be anything, PHI too.
    """
    sent = request.prefetch.keys()
    if sent <= WANTED.keys():
        return tuple(sent)
    ours = tuple(key for key in WANTED if key in sent)
    others = sorted(key for key in sent if key not in WANTED and _KEY.fullmatch(key))
    return ours + tuple(others[:_MOST_OTHERS])


def by_own_key(request: HookRequest, aliases: Mapping[str, str]) -> Mapping[str, object]:
    """The prefetch under our keys: the site's own names are translated, our names win (cds-hooks-crd 41)."""
    if not aliases:
        return request.prefetch
    ours = {aliases.get(key, key): value for key, value in request.prefetch.items()}
    ours.update((key, value) for key, value in request.prefetch.items() if key in WANTED)
    return ours


def outstanding(
    request: HookRequest,
    published: Mapping[str, str],
    *,
    aliases: Mapping[str, str] | None = None,
    open_fhir: bool = False,
) -> Outstanding:
    """What prefetch did not hold and the EHR may be asked for (cds-hooks-crd 22, 37, 38).

    ``published`` is the result of ``templates``. A key sent as null, or with an OperationOutcome, is not asked again.
    Without fhirServer, or without a token where the EHR wants one, nothing can be asked.
    """
    sent = by_own_key(request, aliases or {})
    absent = [key for key in published if key not in sent]
    lent = request.authorization
    if not absent or request.fhir_server is None or (lent is None and not open_fhir):
        return Outstanding({}, frozenset())
    readable = readable_types(lent.scope) if lent else None
    queries: dict[str, str] = {}
    denied = []
    for key in absent:
        if key == "encounter" and request.encounter_id is None:
            continue
        if readable is not None and "*" not in readable and WANTED[key] not in readable:
            denied.append(key)
            continue
        query = published[key].replace(_PATIENT, request.patient_id)
        queries[key] = query.replace(_ENCOUNTER, request.encounter_id or "")
    return Outstanding(queries, frozenset(denied))


_RESOURCE_SCOPE = re.compile(r"(?:patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|c?r?u?d?s?)(?:\?\S*)?")
_OTHER_SCOPES = frozenset(
    {"launch", "launch/patient", "launch/encounter", "openid", "fhirUser", "profile", "email"}
    | {"offline_access", "online_access"}
)


def readable_types(scope: str) -> frozenset[str] | None:
    """Resource types ("*" for all) that SMART v1 or v2 scopes let us read and search.

    None when any part is not a SMART scope: then we ask, and take 403 for an answer (design: security defaults).
    """
    types = set()
    parts = scope.split()
    for part in parts:
        match = _RESOURCE_SCOPE.fullmatch(part)
        if match is None or not match[2]:
            if part in _OTHER_SCOPES:
                continue
            return None
        rights = match[2]
        if rights in {"read", "*"} or (rights != "write" and "r" in rights and "s" in rights):
            types.add(match[1])
    return frozenset(types) if parts else None

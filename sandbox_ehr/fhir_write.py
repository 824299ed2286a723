"""Writing through the FHIR API: create and update of a few types, each version kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, current_app, request

from sandbox_ehr.fhir_api import NotKept, access_for, answer, blueprint, fhir_base, reaches, readable, with_version
from sandbox_ehr.fhir_json import Resource, loads
from sandbox_ehr.parts import the_instant, the_store
from sandbox_ehr.search import matches, patient_of
from sandbox_ehr.store import Conflict, version_of
from sandbox_ehr.tokens import AccessRefused

# What an app may leave in the chart. Orders are signed on the order page, and nowhere else.
WRITABLE = frozenset({"QuestionnaireResponse", "ClaimResponse", "Task", "DocumentReference"})
LARGEST_RESOURCE = 2_000_000  # bytes
_STATUS = {
    "QuestionnaireResponse": {"in-progress", "completed", "amended", "entered-in-error", "stopped"},
    "ClaimResponse": {"active", "cancelled", "draft", "entered-in-error"},
    "Task": {
        "draft", "requested", "received", "accepted", "rejected", "ready", "cancelled", "in-progress", "on-hold",
        "failed", "completed", "entered-in-error",
    },
    "DocumentReference": {"current", "superseded", "entered-in-error"},
}  # fmt: skip
_NEEDED = {
    "QuestionnaireResponse": ("questionnaire",),
    "ClaimResponse": ("type", "use", "created", "insurer", "outcome"),
    "Task": ("intent",),
    "DocumentReference": ("content",),
}
_IF_MATCH = re.compile(r'(?:W/)?"([0-9]{1,9})"')
_TYPES = frozenset({"application/fhir+json", "application/json"})


@blueprint.before_request
def _room_for_resources() -> None:
    request.max_content_length = LARGEST_RESOURCE


@blueprint.post("/<resource_type>")
def create(resource_type: str) -> Response:
    """Keep a new resource of the token's patient: 201 with Location and ETag.

    With If-None-Exist only what the chart does not hold yet: 200 where it does, 412 where it does more than once.
    """
    _writable(resource_type)
    access = access_for(resource_type, "c")
    condition = parse_qsl(request.headers.get("If-None-Exist", ""), keep_blank_values=True)
    body = _body(resource_type)
    if not reaches(access, resource_type, "c", patient_of(body)):
        raise AccessRefused(403, "insufficient_scope", "The token is bound to another patient.")
    made = _stamped({**body, "id": _new_id()}, 1)
    kept = the_store().create(made, (lambda held: matches(resource_type, held, condition)) if condition else _nothing)
    if len(kept) > 1:
        raise NotKept(412, "multiple-matches", "The chart holds more than one such resource.")
    one, address = kept[0], f"{fhir_base()}/{resource_type}/{kept[0]['id']}"
    return with_version(one, 201 if one is made else 200, {"Location": f"{address}/_history/{version_of(one)}"})


def _nothing(_held: list[Resource]) -> list[Resource]:
    return []


@blueprint.put("/<resource_type>/<ident>")
def update(resource_type: str, ident: str) -> Response:
    """Keep the next version; ``If-Match`` must name the one that was read: 428 without, 412 where it is another."""
    _writable(resource_type)
    held = readable(resource_type, ident, "u")
    body = _body(resource_type)
    if body.get("id") != ident:
        raise NotKept(400, "invalid", "The resource's id is not the one of the address.")
    if patient_of(body) != patient_of(held):
        raise NotKept(422, "business-rule", "A resource stays with its patient.")
    expected = _expected(request.headers.get("If-Match"))
    made = _stamped(body, expected + 1)
    try:
        the_store().update(made, expected)
    except Conflict:
        raise NotKept(412, "conflict", "The resource was changed by somebody else: read it again.") from None
    return with_version(made)


@blueprint.delete("/<resource_type>/<ident>")
def delete(resource_type: str, ident: str) -> Response:  # noqa: ARG001 - the address names them
    """Nothing is deleted from a chart."""
    access_for(resource_type, "d")
    raise NotKept(405, "not-supported", "Nothing is deleted from a chart; set its status to entered-in-error.")


@blueprint.get("/<resource_type>/<ident>/_history/<int:version>")
def vread(resource_type: str, ident: str, version: int) -> Response:
    """One version of a resource that may be read."""
    readable(resource_type, ident)
    found = next((one for one in the_store().versions(resource_type, ident) if version_of(one) == version), None)
    if found is None:
        raise NotKept(404, "not-found", "There is no such version.")
    return with_version(found)


@blueprint.get("/<resource_type>/<ident>/_history")
def history(resource_type: str, ident: str) -> Response:
    """Every version of a resource that may be read, newest first."""
    readable(resource_type, ident)
    versions = the_store().versions(resource_type, ident)
    entries = [
        {
            "fullUrl": f"{fhir_base()}/{resource_type}/{ident}",
            "resource": one,
            "request": {
                "method": "POST" if version_of(one) == 1 else "PUT",
                "url": resource_type if version_of(one) == 1 else f"{resource_type}/{ident}",
            },
            "response": {"status": "201" if version_of(one) == 1 else "200", "etag": f'W/"{version_of(one)}"'},
        }
        for one in versions
    ]
    return answer({"resourceType": "Bundle", "type": "history", "total": len(entries), "entry": entries})


def _writable(resource_type: str) -> None:
    if resource_type not in WRITABLE:
        raise NotKept(405, "not-supported", f"Only these types are written here: {', '.join(sorted(WRITABLE))}.")


def _body(resource_type: str) -> Resource:
    if request.mimetype not in _TYPES:
        raise NotKept(415, "not-supported", f"The body is {' or '.join(sorted(_TYPES))}.")
    try:
        body = loads(request.get_data())
    except (ValueError, RecursionError):
        raise NotKept(400, "structure", "The body is not JSON.") from None
    if not isinstance(body, dict) or body.get("resourceType") != resource_type:
        raise NotKept(400, "structure", f"The body is not a {resource_type}.")
    for problem in _problems(resource_type, body):
        raise NotKept(422, "invalid", problem)
    return body


def _problems(resource_type: str, body: Resource) -> list[str]:
    found = []
    if body.get("status") not in _STATUS[resource_type]:
        found.append(f"{resource_type}.status is one of {', '.join(sorted(_STATUS[resource_type]))}.")
    found += [f"{resource_type}.{name} is missing." for name in _NEEDED[resource_type] if not body.get(name)]
    if patient_of(body) is None:
        found.append("It is about no patient of this server.")
    if not isinstance(body.get("item", []), list):
        found.append(f"{resource_type}.item is a list.")
    return found


def _expected(header: str | None) -> int:
    if header is None:
        raise NotKept(428, "required", "If-Match with the ETag that was read is needed.")
    match = _IF_MATCH.fullmatch(header.strip())
    if match is None:
        raise NotKept(400, "invalid", 'If-Match is one ETag of this server, such as W/"1".')
    return int(match[1])


def _stamped(body: Resource, version: int) -> Resource:
    own: dict[str, Any] = body["meta"] if isinstance(body.get("meta"), dict) else {}
    stamp = {"versionId": str(version), "lastUpdated": the_instant()}
    return {**body, "meta": {**own, **stamp}}


def _new_id() -> str:
    make: Callable[[], str] = current_app.extensions["new_id"]
    return make()

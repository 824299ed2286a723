"""FHIR R4 API at /fhir: read and search, behind an access token, its scopes and its patient."""

from __future__ import annotations

import re

from flask import Blueprint, Response, current_app, request

from sandbox_ehr.fhir_json import Resource, dumps
from sandbox_ehr.parts import the_store
from sandbox_ehr.search import SHARED_TYPES, TYPES, SearchRefused, patient_of
from sandbox_ehr.searchset import search_store, searchset
from sandbox_ehr.store import version_of
from sandbox_ehr.tokens import Access, AccessRefused, Tokens

blueprint = Blueprint("fhir", __name__, url_prefix="/fhir")

PAGE = 50
LARGEST_PAGE = 200
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


class NotKept(Exception):
    """What is asked for is not here, or cannot be kept: an OperationOutcome says why."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code  # FHIR issue type


def fhir_base() -> str:
    """The address that all references are relative to."""
    return f"{current_app.config['BASE_URL']}/fhir"


def answer(body: Resource, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A FHIR answer; no cache keeps it."""
    response = Response(dumps(body), status, headers, content_type="application/fhir+json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response


def outcome(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> Response:
    """An OperationOutcome with one error."""
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return answer({"resourceType": "OperationOutcome", "issue": [issue]}, status, headers)


def access_for(resource_type: str, right: str) -> Access:
    """The verified token of this request. Raises AccessRefused: 401 without a good one, 403 beyond its scopes."""
    tokens: Tokens = current_app.extensions["tokens"]
    access = tokens.verify(request.headers.get("Authorization"))
    if not access.allows(resource_type, right):
        raise AccessRefused(403, "insufficient_scope", f"The token's scopes do not cover {resource_type}.{right}.")
    return access


@blueprint.errorhandler(AccessRefused)
def _refused(refusal: AccessRefused) -> Response:
    challenge = "Bearer" + (f' error="{refusal.error}"' if refusal.error else "")
    code = "login" if refusal.status == 401 else "forbidden"
    return outcome(refusal.status, code, refusal.text, {"WWW-Authenticate": challenge})


@blueprint.errorhandler(NotKept)
def _not_kept(refusal: NotKept) -> Response:
    return outcome(refusal.status, refusal.code, str(refusal))


@blueprint.errorhandler(SearchRefused)
def _bad_search(refusal: SearchRefused) -> Response:
    return outcome(400, "invalid", str(refusal))


@blueprint.get("/<resource_type>/<ident>")
def read(resource_type: str, ident: str) -> Response:
    """One resource, if it is the token's patient's."""
    return with_version(readable(resource_type, ident))


def readable(resource_type: str, ident: str, right: str = "r") -> Resource:
    """A resource that this request's token may read, or write. Raises AccessRefused, NotKept."""
    if resource_type not in TYPES:
        raise NotKept(404, "not-supported", "This server does not keep that resource type.")
    access = access_for(resource_type, right)
    found = the_store().read(resource_type, ident) if _ID.fullmatch(ident) else None
    if found is None:
        raise NotKept(404, "not-found", f"There is no such {resource_type}.")
    if resource_type not in SHARED_TYPES and not reaches(access, resource_type, right, patient_of(found)):
        raise AccessRefused(403, "insufficient_scope", "The token is bound to another patient.")
    return found


def reaches(access: Access, resource_type: str, right: str, patient: str | None) -> bool:
    """Whether a token may do this with what belongs to ``patient``."""
    return access.as_user(resource_type, right) or (bool(access.patient) and patient == access.patient)


def with_version(resource: Resource, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A resource with its version as ETag."""
    return answer(resource, status, {"ETag": f'W/"{version_of(resource)}"', **(headers or {})})


@blueprint.get("/<resource_type>")
def search(resource_type: str) -> Response:
    """Search within the token's patient; pages are linked by ``next``."""
    if resource_type not in TYPES:
        return outcome(404, "not-supported", "This server does not keep that resource type.")
    access = access_for(resource_type, "s")
    query = list(request.args.items(multi=True))
    asked = {value.removeprefix("Patient/") for name, value in query if name in {"patient", "subject", "beneficiary"}}
    if not all(reaches(access, resource_type, "s", one) for one in asked):
        raise AccessRefused(403, "insufficient_scope", "The token is bound to another patient.")
    patient = next(iter(asked), access.patient)
    if not patient and resource_type not in SHARED_TYPES:
        raise SearchRefused("Without a patient in context a search names one patient")
    found = search_store(the_store(), resource_type, patient, query)
    size, offset = _paging()
    return answer(searchset(fhir_base(), resource_type, query, found, size, offset))


def _paging() -> tuple[int, int]:
    try:
        size = int(request.args.get("_count", str(PAGE)))
        offset = int(request.args.get("_offset", "0"))
    except ValueError:
        raise SearchRefused("_count and _offset are whole numbers") from None
    if size < 1 or offset < 0:
        raise SearchRefused("_count is at least 1 and _offset at least 0")
    return min(size, LARGEST_PAGE), offset

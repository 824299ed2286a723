"""``/dtr/<version>``: every DTR operation at one base per version (PS-01), for registered systems with a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final, Protocol

import msgspec
from flask import Blueprint, request
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from cds_service.backend_clients import BackendCaller
from cds_service.errors import CdsServiceError
from cds_service.fhir.form_urls import VERSIONS
from cds_service.use_cases.documentation.forms import Operation
from cds_service.web.bearer import BackendAuthenticator, backend_caller
from cds_service.web.bodies import read_json_body
from cds_service.web.call_note import NOTE, CallNote
from cds_service.web.outcomes import API_HEADERS, refusal, status_of

FHIR_JSON: Final = "application/fhir+json"
_NEEDED: Final = ("Questionnaire", "r")  # the scope of every operation on forms


class UseCase(Protocol):
    """One operation with a body."""

    def answer(self, body: bytes, version: str, caller: BackendCaller) -> Operation:
        """Answer one call; refusals are CdsServiceErrors."""
        ...


class Reads(Protocol):
    """What forms are made of (``use_cases.documentation.terminology.Terminology``)."""

    def expand(self, parameters: Mapping[str, str]) -> Operation:
        """One value set."""
        ...

    def read(self, kind: str, ident: str, version: str) -> bytes:
        """One resource; raises NotFound."""
        ...

    def search(self, url: str, version: str) -> list[msgspec.Raw]:
        """Questionnaires by their url."""
        ...


Record = Callable[[str, str, str, Operation | None, int, int], None]  # client, operation, version, answer, status, ms


class Dtr(msgspec.Struct, frozen=True, kw_only=True):
    """What the blueprint needs. ``operations``: (resource type, operation) -> its word for metrics and its use case."""

    door: BackendAuthenticator
    operations: Mapping[str, tuple[str, UseCase]]
    reads: Reads
    read_expand: Callable[[bytes, int], Mapping[str, str]]
    capability: Mapping[str, bytes]  # by version
    record: Record
    max_body_bytes: int


def blueprint(dtr: Dtr) -> Blueprint:
    """The routes of all versions."""
    routes = Blueprint("dtr", __name__)
    for version in VERSIONS:
        _add_operations(routes, dtr, version)
        _add_reads(routes, dtr, version)
    return routes


def _add_operations(routes: Blueprint, dtr: Dtr, version: str) -> None:
    base = f"/dtr/{version}"
    for operation, (word, use_case) in dtr.operations.items():
        path = f"{base}/Questionnaire/${operation}"

        def call(operation: str = operation, word: str = word, use_case: UseCase = use_case) -> Response:
            _note(f"/dtr/Questionnaire/${operation}")
            caller = backend_caller(request.environ, dtr.door, *_NEEDED)
            return _answered(dtr, word, version, caller, lambda body: use_case.answer(body, version, caller))

        routes.add_url_rule(path, f"{operation} {version}".replace(".", "-"), call, methods=["POST"])


def _answered(dtr: Dtr, word: str, version: str, caller: BackendCaller, act: Callable[[bytes], Operation]) -> Response:
    """Answer and record: what was refused is recorded, too (PS-39)."""
    started = monotonic()
    try:
        answer = act(_body(dtr.max_body_bytes) if request.method == "POST" else b"")
    except CdsServiceError as error:
        dtr.record(caller.client.id, word, version, None, status_of(error), _milliseconds(started))
        note: CallNote = request.environ[NOTE]
        note.outcome = "refused" if status_of(error) < 500 else "technical"
        note.reason = type(error).__name__.lower()
        return _fhir(refusal(error))
    request.environ[NOTE].outcome = answer.outcome
    dtr.record(caller.client.id, word, version, answer, answer.status, _milliseconds(started))
    return Response(answer.body, answer.status, API_HEADERS, content_type=FHIR_JSON)


def _add_reads(routes: Blueprint, dtr: Dtr, version: str) -> None:
    base = f"/dtr/{version}"
    name = version.replace(".", "-")

    def metadata() -> Response:
        _note("/dtr/metadata")
        return _text(dtr.capability[version], public=True)

    def expand() -> Response:
        _note("/dtr/ValueSet/$expand")
        caller = backend_caller(request.environ, dtr.door, "ValueSet", "r")

        def act(body: bytes) -> Operation:
            return dtr.reads.expand(dtr.read_expand(body, dtr.max_body_bytes) if body else dict(request.args.items()))

        return _answered(dtr, "expand", version, caller, act)

    def read(kind: str, ident: str) -> Response:
        _note("/dtr/{type}/{id}")
        backend_caller(request.environ, dtr.door, kind, "r")
        return _text(dtr.reads.read(kind, ident, version))

    def search() -> Response:
        _note("/dtr/Questionnaire")
        backend_caller(request.environ, dtr.door, "Questionnaire", "s")
        found = dtr.reads.search(request.args.get("url", ""), version)
        entries = [{"resource": each, "search": {"mode": "match"}} for each in found]
        bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset", "total": len(found)}
        return _text(msgspec.json.encode(bundle | ({"entry": entries} if entries else {})))

    routes.add_url_rule(f"{base}/metadata", f"metadata {name}", metadata)
    routes.add_url_rule(f"{base}/ValueSet/$expand", f"expand {name}", expand, methods=["GET", "POST"])
    routes.add_url_rule(f"{base}/Questionnaire", f"search {name}", search)
    for kind in ("Questionnaire", "ValueSet"):
        routes.add_url_rule(f"{base}/{kind}/<ident>", f"{kind} {name}", read, defaults={"kind": kind})


def _note(route: str) -> None:
    request.environ[NOTE].route = route


def _body(limit: int) -> bytes:
    try:
        return read_json_body(request.environ, limit)
    except OSError:  # the sender went away or broke the chunked coding: nothing of ours failed
        raise BadRequest from None


def _milliseconds(started: float) -> int:
    return round((monotonic() - started) * 1000)


def _text(body: bytes, *, public: bool = False) -> Response:
    answer = Response(body, 200, API_HEADERS, content_type=FHIR_JSON)
    if public:
        answer.headers["Cache-Control"] = "public, max-age=300"
    return answer


def _fhir(answer: Response) -> Response:
    answer.headers["Content-Type"] = FHIR_JSON
    return answer

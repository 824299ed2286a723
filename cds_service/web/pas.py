"""``/pas/<version>``: requests, inquiries, subscriptions, and what the base can do (PAS rows P001-P009, P090-P098)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from flask import Blueprint, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response

from cds_service.backend_clients import BackendCaller
from cds_service.errors import CdsServiceError, NotAuthenticated
from cds_service.fhir.pas.capability import GUIDES, capability_statement
from cds_service.fhir.pas.issues import Issue, RequestRefused, outcome
from cds_service.prior_auth_ports import Exchange
from cds_service.use_cases.inquire_prior_auth import InquirePriorAuth
from cds_service.use_cases.submit_prior_auth import SubmitPriorAuth
from cds_service.use_cases.subscriptions import SubscribeToAnswers
from cds_service.web.bearer import BackendAuthenticator, backend_caller
from cds_service.web.bodies import read_json_body
from cds_service.web.call_note import ACCEPTED, NOTE, CallNote
from cds_service.web.outcomes import API_HEADERS, RETRY_AFTER_SECONDS, status_of

FHIR_JSON: Final = "application/fhir+json"
_CODES: Final = {404: "not-found", 405: "not-supported", 413: "too-long", 415: "not-supported"}
_TEXTS: Final = {
    405: "this operation is called by POST, on the type",
    413: "the body is larger than allowed",
    415: "the body must be application/fhir+json or application/json in UTF-8, not compressed",
}
_ENCODE: Final = msgspec.json.encode
_JSON: Final = frozenset({"json", "application/json", "application/fhir+json", "text/json", ""})


class NoteExchange(Protocol):
    """Keeps the figures of a call that made no version (P104)."""

    def __call__(self, exchange: Exchange) -> None:
        """Keep them."""
        ...


class PriorAuthorization(msgspec.Struct, frozen=True, kw_only=True):
    """What the blueprint needs."""

    door: BackendAuthenticator
    submit: SubmitPriorAuth
    inquire: InquirePriorAuth
    subscriptions: SubscribeToAnswers
    public_url: str
    max_body_bytes: int
    monotonic: Callable[[], float]
    now: Callable[[], datetime]
    note_exchange: NoteExchange


def blueprint(pas: PriorAuthorization) -> Blueprint:
    """The routes of all versions."""
    routes = Blueprint("pas", __name__)
    routes.register_error_handler(CdsServiceError, _refused)
    routes.register_error_handler(HTTPException, _http)
    for version in GUIDES:
        _operations(routes, pas, version)
        _subscriptions(routes, pas, version)
        _metadata(routes, pas, version)
    return routes


def _add(routes: Blueprint, path: str, view: Callable[..., Response], methods: list[str]) -> None:
    routes.add_url_rule(path, endpoint=f"{methods[0]}-{path}".replace(".", "_"), view_func=view, methods=methods)


def _operations(routes: Blueprint, pas: PriorAuthorization, version: str) -> None:
    base = f"/pas/{version}"

    def submit() -> Response:
        started = request.environ.get(ACCEPTED) or pas.monotonic()
        sender = ""
        try:
            caller = _caller(pas, "pas-submit", "Claim", "c")
            sender = caller.client.id
            body = read_json_body(request.environ, pas.max_body_bytes)
            said = pas.submit.submit(body, version, caller, started=started)
        except (CdsServiceError, HTTPException) as error:
            _note_refusal(pas, "submit", sender, started, error)
            raise
        note: CallNote = request.environ[NOTE]
        note.outcome, note.replayed = "full", said.replayed
        answer = fhir(said.body)
        if said.replayed:
            answer.headers["X-Replayed"] = "true"
        return answer

    def inquire() -> Response:
        started = request.environ.get(ACCEPTED) or pas.monotonic()
        sender = ""
        try:
            caller = _caller(pas, "pas-inquire", "Claim", "c")
            sender = caller.client.id
            said = pas.inquire.inquire(read_json_body(request.environ, pas.max_body_bytes), version, caller)
        except (CdsServiceError, HTTPException) as error:
            _note_refusal(pas, "inquire", sender, started, error)
            raise
        detail = {"exchange": "claim-inquiry", "source": "payer-src", "found": len(said.cases), "issues": []}
        _note(pas, "inquire", sender, started, 200, detail)
        return fhir(said.body)

    def other(ident: str = "") -> Response:
        del ident
        raise MethodNotAllowed(["POST"])

    others = ["GET", "PUT", "PATCH", "DELETE"]
    for name, view in (("$submit", submit), ("$inquire", inquire)):
        _add(routes, f"{base}/Claim/{name}", view, ["POST"])
        _add(routes, f"{base}/Claim/{name}", other, others)
        _add(routes, f"{base}/Claim/<ident>/{name}", other, [*others, "POST"])


def _subscriptions(routes: Blueprint, pas: PriorAuthorization, version: str) -> None:
    base, places = f"/pas/{version}", f"{pas.public_url}/pas/{version}"
    use = pas.subscriptions

    def create() -> Response:
        caller = _caller(pas, "pas-subscription", "Subscription", "c")
        ident, body = use.create(read_json_body(request.environ, pas.max_body_bytes), version, caller)
        answer = fhir(body, 201)
        answer.headers["Location"] = f"{places}/Subscription/{ident}"
        return answer

    def update(ident: str) -> Response:
        caller = _caller(pas, "pas-subscription", "Subscription", "u")
        return fhir(use.update(ident, read_json_body(request.environ, pas.max_body_bytes), version, caller))

    def read(ident: str) -> Response:
        return fhir(use.read(ident, _caller(pas, "pas-subscription", "Subscription", "r")))

    def search() -> Response:
        return fhir(use.search(places, _caller(pas, "pas-subscription", "Subscription", "s")))

    def delete(ident: str) -> Response:
        use.delete(ident, _caller(pas, "pas-subscription", "Subscription", "d"))
        return Response(b"", 204, API_HEADERS)

    def status(ident: str) -> Response:
        return fhir(use.status(ident, places, _caller(pas, "pas-subscription", "Subscription", "r")))

    def events(ident: str) -> Response:
        caller = _caller(pas, "pas-subscription", "Subscription", "r")
        first, last = (_number(request.args.get(name)) for name in ("eventsSinceNumber", "eventsUntilNumber"))
        return fhir(use.events(ident, places, max(first, 1), last, caller))

    _add(routes, f"{base}/Subscription", create, ["POST"])
    _add(routes, f"{base}/Subscription", search, ["GET"])
    for view, method in ((update, "PUT"), (read, "GET"), (delete, "DELETE")):
        _add(routes, f"{base}/Subscription/<ident>", view, [method])
    _add(routes, f"{base}/Subscription/<ident>/$status", status, ["GET"])
    _add(routes, f"{base}/Subscription/<ident>/$events", events, ["GET"])


def _metadata(routes: Blueprint, pas: PriorAuthorization, version: str) -> None:
    place = f"{pas.public_url}/pas/{version}"
    token = f"{pas.public_url}/oauth/token"

    def metadata() -> Response:
        if request.args.get("_format", "").lower() not in _JSON:
            return fhir(_ENCODE(outcome([Issue("", "not-supported", "JSON is offered alone", "")])), 406)
        statement = capability_statement(version, place, token, pas.now().date().isoformat())
        return fhir(_ENCODE(statement))

    _add(routes, f"/pas/{version}/metadata", metadata, ["GET"])


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() and len(text) < 10 else 0


def _caller(pas: PriorAuthorization, hook: str, kind: str, letters: str) -> BackendCaller:
    note: CallNote = request.environ[NOTE]
    note.hook = hook
    return backend_caller(request.environ, pas.door, kind, letters)


def fhir(body: bytes, status: int = 200) -> Response:
    """An answer in FHIR's own media type."""
    return Response(body, status, API_HEADERS, content_type=FHIR_JSON)


def _issues(error: CdsServiceError | HTTPException) -> tuple[int, tuple[Issue, ...]]:
    """Status and issues of a refusal: one OperationOutcome for all of them (P093, P095)."""
    if isinstance(error, RequestRefused):
        return (400 if error.structural else 422), error.issues
    if isinstance(error, CdsServiceError):
        return status_of(error), (Issue("", error.issue, error.diagnostics, error.expression),)
    status = error.code or 500
    return status, (
        Issue("", _CODES.get(status, "processing"), _TEXTS.get(status, "the request was not understood"), ""),
    )


def _refused(error: CdsServiceError) -> Response:
    note: CallNote = request.environ[NOTE]
    status, issues = _issues(error)
    note.outcome = "refused" if status < 500 else "technical"
    note.reason = error.reason if isinstance(error, NotAuthenticated) else type(error).__name__.lower()
    answer = fhir(_ENCODE(outcome(issues)), status)
    if status in {401, 403}:
        answer.headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"' if status == 403 else "Bearer"
    if status == 503:
        answer.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return answer


def _http(error: HTTPException) -> Response:
    note: CallNote = request.environ[NOTE]
    status, issues = _issues(error)
    note.outcome, note.reason = "refused", f"http_{status}"
    answer = fhir(_ENCODE(outcome(issues)), status)
    allowed = dict(error.get_headers(request.environ)).get("Allow")
    if allowed:
        answer.headers["Allow"] = allowed
    return answer


def _note_refusal(
    pas: PriorAuthorization, kind: str, sender: str, started: float, error: CdsServiceError | HTTPException
) -> None:
    """A refused call counts, too; what nobody is known to have sent is in the log alone."""
    status, issues = _issues(error)
    if sender and status < 500:
        detail: dict[str, Any] = {
            "exchange": f"claim-{kind}",
            "source": "payer-src",
            "issues": [{"code": each.code, "rule": each.rule} for each in issues],
        }
        _note(pas, kind, sender, started, status, detail)


def _note(pas: PriorAuthorization, kind: str, sender: str, started: float, status: int, detail: dict[str, Any]) -> None:
    milliseconds = int((pas.monotonic() - started) * 1000)
    pas.note_exchange(
        Exchange(
            at=pas.now(),
            kind=kind,
            sender=sender,
            http_status=status,
            milliseconds=milliseconds,
            case_id="",
            detail=_ENCODE(detail).decode(),
        )
    )

"""``/cds-services``: discovery, the services, feedback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from wsgiref.types import WSGIEnvironment

import msgspec
from flask import Blueprint, request
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from cds_service.cds_hooks.services import SERVICES, find_service
from cds_service.errors import NotAllowed
from cds_service.ports import Caller
from cds_service.use_cases.hook_answer import HookAnswer
from cds_service.web.bodies import read_json_body
from cds_service.web.call_note import ACCEPTED, NOTE, CallNote
from cds_service.web.outcomes import JSON, api


class HookUseCase(Protocol):
    """Answers calls of one hook."""

    def answer(self, service: str, body: bytes, caller: Caller, url: str, *, started: float) -> HookAnswer:
        """Answer one call; ``started`` is monotonic and starts the deadline. Refusals are CdsServiceErrors."""
        ...


class FeedbackUseCase(Protocol):
    """Keeps feedback."""

    def __call__(self, service: str, body: bytes, caller: Caller) -> int:
        """The number of entries kept."""
        ...


class Authenticator(Protocol):
    """Says who calls."""

    def verify(self, authorization_values: tuple[str, ...], url: str) -> Caller:
        """The caller, or NotAuthenticated, or NotAllowed."""
        ...


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """What the blueprint needs. ``base_url`` is the configured public URL without final slash."""

    base_url: str
    discovery: bytes
    discovery_digest: str
    discovery_auth: bool
    authenticator: Authenticator
    use_cases: Mapping[str, HookUseCase]  # by service id
    feedback: FeedbackUseCase
    max_body_bytes: int


_NO_STORE = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]


def blueprint(hooks: Hooks) -> Blueprint:
    """The routes, bound to ``hooks``. Everything that depends on configuration is prepared here, once."""
    routes = Blueprint("cds_services", __name__)
    discovery_url = f"{hooks.base_url}/cds-services"
    urls = {service.id: f"{discovery_url}/{service.id}" for service in SERVICES}
    entitlements = {service.id: service.hook for service in SERVICES}
    verify, limit = hooks.authenticator.verify, hooks.max_body_bytes

    def caller_of(environ: WSGIEnvironment, note: CallNote, service: str, url: str) -> Caller:
        note.hook = entitlements[service]
        header = environ.get("HTTP_AUTHORIZATION")
        caller = verify(() if header is None else (header,), url)
        note.client = caller.profile.id
        if entitlements[service] not in caller.profile.hooks:
            raise NotAllowed("this client is not registered for this hook")
        return caller

    @routes.get("/cds-services")
    def discovery() -> Response:
        environ = request.environ
        environ[NOTE].route = "/cds-services"
        if hooks.discovery_auth:
            header = environ.get("HTTP_AUTHORIZATION")
            verify(() if header is None else (header,), discovery_url)
        answer = api(hooks.discovery)
        answer.headers["Cache-Control"] = "private, max-age=300" if hooks.discovery_auth else "public, max-age=300"
        answer.set_etag(hooks.discovery_digest)
        return answer.make_conditional(environ)

    @routes.post("/cds-services/<service>")
    def call(service: str) -> Response:
        environ = request.environ
        note: CallNote = environ[NOTE]
        note.route = "/cds-services/{id}"
        url = urls.get(service) or find_service(service).id
        caller = caller_of(environ, note, service, url)
        body = _body(environ, limit)
        answer = hooks.use_cases[service].answer(service, body, caller, url, started=environ[ACCEPTED])
        note.hook_instance = answer.hook_instance
        note.outcome = answer.outcome
        note.path = answer.path
        note.covered = answer.covered
        note.rules = answer.rules
        note.dropped = answer.dropped
        note.replayed = answer.replayed
        return Response(answer.body, answer.status, _NO_STORE, content_type=JSON)

    @routes.post("/cds-services/<service>/feedback")
    def feedback(service: str) -> Response:
        environ = request.environ
        note: CallNote = environ[NOTE]
        note.route = "/cds-services/{id}/feedback"
        url = urls.get(service) or find_service(service).id
        caller = caller_of(environ, note, service, f"{url}/feedback")
        note.outcome = "feedback"
        hooks.feedback(service, _body(environ, limit), caller)
        return api(b"{}")

    return routes


def _body(environ: WSGIEnvironment, limit: int) -> bytes:
    try:
        return read_json_body(environ, limit)
    except OSError:  # the sender went away or broke the chunked coding: nothing of ours failed
        raise BadRequest from None

"""``/feed/ClaimResponse``: authorizations from the payer's own systems, and ``/jwks.json``: the keys we sign with."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec
from flask import Blueprint, request
from werkzeug.wrappers import Response

from cds_service.fhir.operation_outcome import operation_outcome
from cds_service.use_cases.feed_authorizations import MAX_BYTES, Fed
from cds_service.web.bearer import BackendAuthenticator, backend_caller
from cds_service.web.bodies import read_json_body
from cds_service.web.call_note import NOTE, CallNote
from cds_service.web.outcomes import API_HEADERS, api

FHIR_JSON: Final = "application/fhir+json"
PATH: Final = "/feed/ClaimResponse"


class Feed(Protocol):
    """Takes one ClaimResponse (``use_cases.feed_authorizations``)."""

    def take(self, body: bytes, client: str, ident: str | None = None) -> Fed:
        """Keep its authorizations; refusals are CdsServiceErrors."""
        ...


def blueprint(feed: Feed, door: BackendAuthenticator, public_keys: bytes) -> Blueprint:
    """The routes. ``public_keys`` is a JWK Set, the same bytes for everybody."""
    routes = Blueprint("feed", __name__)

    @routes.post(PATH)
    def create() -> Response:
        """Each ClaimResponse says itself what it is about; there is no reading back."""
        return _taken(feed, door, "c", None)

    @routes.put(f"{PATH}/<ident>")
    def update(ident: str) -> Response:
        """The same, under an id of the sender's."""
        return _taken(feed, door, "u", ident)

    @routes.get("/jwks.json")
    def keys() -> Response:
        """Who gets a signed assertion of ours verifies it with these."""
        request.environ[NOTE].route = "/jwks.json"
        answer = api(public_keys)
        answer.headers["Cache-Control"] = "public, max-age=300"
        return answer

    return routes


def _taken(feed: Feed, door: BackendAuthenticator, letter: str, ident: str | None) -> Response:
    note: CallNote = request.environ[NOTE]
    note.route = PATH
    caller = backend_caller(request.environ, door, "ClaimResponse", letter)
    fed = feed.take(read_json_body(request.environ, MAX_BYTES), caller.client.id, ident)
    note.outcome = "full"
    words = [word for _, word in fed.outcomes]
    said = ", ".join(f"{words.count(word)} {word}" for word in ("added", "changed", "unchanged", "outdated"))
    body = msgspec.json.encode(operation_outcome([("informational", said, "")], severity="information"))
    return Response(body, 201 if fed.created else 200, API_HEADERS, content_type=FHIR_JSON)

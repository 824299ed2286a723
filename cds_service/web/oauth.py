"""``POST /oauth/token`` and the discovery of it: SMART Backend Services for everything that systems call (SM-49 to 53).

One token serves all bases. Errors are OAuth's: a JSON object with ``error``, from a closed list; what was wrong with an
assertion is for our log alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import parse_qsl

import msgspec
from flask import Blueprint, request
from werkzeug.wrappers import Response

from cds_service.errors import NotAllowed, NotAuthenticated, StoreUnavailable
from cds_service.web.call_note import NOTE, CallNote
from cds_service.web.outcomes import API_HEADERS, JSON, RETRY_AFTER_SECONDS, api

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - an address
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_FORM_BYTES: Final = 65_536
SCOPES: Final = (
    "system/Questionnaire.rs",
    "system/ValueSet.rs",
    "system/Library.rs",
    "system/Claim.cu",
    "system/Subscription.cruds",
    "system/ClaimResponse.cu",
)
_FORM: Final = "application/x-www-form-urlencoded"


class Grants(Protocol):
    """Gives tokens (``adapters.backend_tokens.BackendTokens``)."""

    def grant(self, assertion: str, scope: str) -> msgspec.Struct:
        """A token answer; raises NotAuthenticated or NotAllowed."""
        ...


class Refused(Exception):
    """A token request that cannot be answered; ``error`` is a word of RFC 6749."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


def blueprint(grants: Grants, public_url: str, bases: Sequence[str]) -> Blueprint:
    """The routes; ``bases`` are the paths of our FHIR bases, like ``/dtr/2.2``."""
    routes = Blueprint("oauth", __name__)
    discovery = msgspec.json.encode(smart_configuration(public_url))

    @routes.post(TOKEN_PATH)
    def token() -> Response:
        note: CallNote = request.environ[NOTE]
        note.route = TOKEN_PATH
        note.outcome = "refused"
        try:
            answer = _granted(grants, _form())
        except Refused as refused:
            note.reason = refused.error
            return _error(refused)
        except NotAuthenticated as error:
            note.reason = error.reason
            return _error(Refused("invalid_client", "client authentication failed", 401))
        except NotAllowed as error:
            note.reason = "scope"
            return _error(Refused("invalid_scope", error.diagnostics))
        except StoreUnavailable as error:
            note.reason = error.reason
            return _error(Refused("temporarily_unavailable", "no token can be given now; try again", 503))
        note.outcome = "granted"
        return _uncached(Response(msgspec.json.encode(answer), 200, API_HEADERS, content_type=JSON))

    def discover() -> Response:
        request.environ[NOTE].route = "/.well-known/smart-configuration"
        answer = api(discovery)
        answer.headers["Cache-Control"] = "public, max-age=300"
        return answer

    for base in ("", *bases):
        path = f"{base}/.well-known/smart-configuration"
        routes.add_url_rule(path, endpoint=f"smart{path}".replace("/", "_").replace(".", "_"), view_func=discover)
    return routes


def smart_configuration(public_url: str) -> Mapping[str, object]:
    """What a client can find out about authorization at one of our FHIR bases (SM-52)."""
    return {
        "token_endpoint": f"{public_url}{TOKEN_PATH}",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": list(SCOPES),
        "capabilities": ["client-confidential-asymmetric", "permission-v2"],
    }


def _form() -> Mapping[str, str]:
    if request.mimetype != _FORM:
        raise Refused("invalid_request", f"the body must be {_FORM}")
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise Refused("invalid_request", f"the body is larger than the {MAX_FORM_BYTES} bytes allowed")
    body = request.environ["wsgi.input"].read(
        MAX_FORM_BYTES + 1 if request.content_length is None else request.content_length
    )
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=20)
    except ValueError:
        raise Refused("invalid_request", "the body is not a form") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Refused("invalid_request", "a parameter is there twice")
    return form


def _granted(grants: Grants, form: Mapping[str, str]) -> msgspec.Struct:
    if form.get("grant_type") != "client_credentials":
        raise Refused("unsupported_grant_type", "grant_type must be client_credentials")
    if form.get("client_assertion_type") != ASSERTION_TYPE or not form.get("client_assertion"):
        raise Refused("invalid_request", f"client_assertion and client_assertion_type {ASSERTION_TYPE} are needed")
    if not form.get("scope", "").strip():
        raise Refused("invalid_scope", "scope is needed")
    return grants.grant(form["client_assertion"], form["scope"])


def _error(refused: Refused) -> Response:
    body = msgspec.json.encode({"error": refused.error, "error_description": refused.description})
    answer = Response(body, refused.status, API_HEADERS, content_type=JSON)
    if refused.status == 503:
        answer.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return _uncached(answer)


def _uncached(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Pragma"] = "no-cache"
    return answer

"""Errors as HTTP answers with an OperationOutcome (cds-hooks-crd 61-64, 109-115). Input is never echoed."""

from __future__ import annotations

from typing import Final

import msgspec
from werkzeug.wrappers import Response

from cds_service import errors
from cds_service.fhir.operation_outcome import operation_outcome

JSON = "application/json"
# Nothing of an API answer may be framed, cached or read as something else than JSON (reliability 106).
API_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)

STATUS: Final[dict[type[errors.CdsServiceError], int]] = {
    errors.MalformedRequest: 400,
    errors.RuleBroken: 422,
    errors.TooLarge: 413,
    errors.PatientMismatch: 400,
    errors.CoverageNotUsable: 400,
    errors.PrefetchMissing: 412,
    errors.NotAuthenticated: 401,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Overloaded: 503,
    errors.StoreUnavailable: 503,
    errors.Unanswerable: 503,
    errors.ConfigurationError: 500,
    errors.CdsServiceError: 500,
}
RETRY_AFTER_SECONDS: Final = "5"


def status_of(error: errors.CdsServiceError) -> int:
    """HTTP status of an error; a class of ours that is not in the table takes its parent's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def refusal(error: errors.CdsServiceError) -> Response:
    """The answer to a call that was refused."""
    status = status_of(error)
    if isinstance(error, errors.AnswersNotUsable):
        return api(msgspec.json.encode(operation_outcome(error.issues)), status)
    answer = outcome(status, error.issue, error.diagnostics, error.expression)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        answer.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return answer


def outcome(status: int, code: str, diagnostics: str, expression: str = "") -> Response:
    """One OperationOutcome with one issue; ``code`` is an IssueType."""
    return api(msgspec.json.encode(operation_outcome([(code, diagnostics, expression)])), status)


def api(body: bytes, status: int = 200) -> Response:
    """A JSON answer of the API."""
    return Response(body, status, API_HEADERS, content_type=JSON)

"""What Flask does with errors. Failures of our own are logged by class and place and answered without detail."""

from __future__ import annotations

import logging

from flask import Flask, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from cds_service.errors import CdsServiceError, NotAuthenticated
from cds_service.web.call_note import NOTE, REQUEST_ID, CallNote
from cds_service.web.outcomes import outcome, refusal, status_of

log = logging.getLogger(__name__)

# IssueType per HTTP status that routing or reading gives rise to.
_CODES = {400: "structure", 404: "not-found", 405: "not-supported", 413: "too-long", 415: "not-supported"}
_TEXTS = {
    404: "no such resource; GET /cds-services lists the services",
    405: "this method is not offered here",
    413: "the body is larger than allowed",
    415: "the body must be application/json in UTF-8, not compressed",
}


def register(app: Flask) -> None:
    """Handle every error of ``app``."""
    app.register_error_handler(CdsServiceError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _failed)


def _note() -> CallNote:
    note: CallNote = request.environ[NOTE]
    return note


def _refused(error: CdsServiceError) -> Response:
    note = _note()
    note.outcome = "refused" if status_of(error) < 500 else "technical"
    note.reason = error.reason if isinstance(error, NotAuthenticated) else _word(error)
    return refusal(error)


def _word(error: CdsServiceError) -> str:
    name = type(error).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None or status < 400:
        return error.get_response(request.environ)
    note = _note()
    note.outcome = "refused"
    note.reason = f"http_{status}"
    answer = outcome(status, _CODES.get(status, "processing"), _TEXTS.get(status, "the request was not understood"))
    allowed = dict(error.get_headers(request.environ)).get("Allow")
    if allowed:
        answer.headers["Allow"] = allowed
    return answer


def _failed(error: Exception) -> Response:
    note = _note()
    note.outcome = "technical"
    note.reason = "internal_error"
    request_id = request.environ[REQUEST_ID]
    log.error("internal_error", exc_info=error, extra={"request_id": request_id, "reason": "internal_error"})
    return outcome(500, "exception", f"internal error; request id {request_id}")

"""The outermost layer of the web: accept time, request id, shedding, one log line and the metrics of every call.

It is plain WSGI and not Flask hooks, because it stands around every request and must cost next to nothing.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from cds_service.errors import Overloaded
from cds_service.web.call_note import ACCEPTED, NOTE, REQUEST_ID, CallNote, queued
from cds_service.web.log_lines import Line, LineWriter
from cds_service.web.metrics import Metrics
from cds_service.web.outcomes import refusal

SILENT = frozenset({"/livez", "/readyz", "/metrics"})
HOOK_PATH = "/cds-services/"
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Boundary:
    """Wraps the Flask application."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        writer: LineWriter,
        metrics: Metrics,
        request_prefix: str,
        queue_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``request_prefix`` makes request ids unique among processes; ``queue_seconds`` is the wait that sheds."""
        self._application = application
        self._put = writer.put
        self._metrics = metrics
        self._prefix = request_prefix
        self._numbers = itertools.count(1)
        self._queue_seconds = queue_seconds
        self._monotonic = monotonic
        self._wall = wall

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        started = self._monotonic()
        accepted = environ[ACCEPTED] = getattr(queued, "at", started)
        note = environ[NOTE] = CallNote()
        request_id = environ[REQUEST_ID] = self._request_id(environ)
        statuses = ["500"]

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            statuses[0] = status[:3]
            headers.append(("X-Request-Id", request_id))
            return start_response(status, headers, exc_info)

        path = environ["PATH_INFO"]
        try:
            if started - accepted > self._queue_seconds and path.startswith(HOOK_PATH):
                return _shed(note, environ, respond)
            return self._application(environ, respond)
        finally:
            if path not in SILENT:
                self._leave(environ, note, request_id, int(statuses[0]), self._monotonic() - accepted)

    def _request_id(self, environ: WSGIEnvironment) -> str:
        given = environ.get("HTTP_X_REQUEST_ID")
        if given and _UUID.fullmatch(given):  # only an id can pass: other text might be about a patient
            return str(given)
        return f"{self._prefix}-{next(self._numbers):x}"

    def _leave(self, environ: WSGIEnvironment, note: CallNote, request_id: str, status: int, seconds: float) -> None:
        self._metrics.answered(note, status, seconds)
        method = environ["REQUEST_METHOD"]
        self._put(
            Line(
                at=self._wall(),
                level="info" if status < 500 else "error",
                event="request",
                request_id=request_id,
                route=note.route,
                method=method if method in {"GET", "HEAD", "POST", "OPTIONS"} else "other",
                status=status,
                ms=round(seconds * 1000, 3),
                hook=note.hook,
                client=note.client,
                hook_instance=note.hook_instance,
                outcome=note.outcome,
                path=note.path,
                reason=note.reason,
                replayed=note.replayed,
                rules=note.rules,
                covered=note.covered,
            )
        )


def _shed(note: CallNote, environ: WSGIEnvironment, respond: StartResponse) -> Iterable[bytes]:
    note.outcome = "shed"
    note.reason = "queue_time"
    return refusal(Overloaded("too many calls at this moment; try again"))(environ, respond)

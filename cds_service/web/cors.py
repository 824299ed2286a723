"""Browsers of registered clients only (cds-hooks-crd 86, 87; reliability 62).

Plain WSGI around the API: headers go on refusals too, so that a browser client can read the OperationOutcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/cds-services"
_PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
    ("Access-Control-Max-Age", "600"),
    ("Content-Length", "0"),
]


class Cors:
    """Adds ``Access-Control-Allow-Origin`` for exactly the origins that the operator registered."""

    def __init__(self, application: WSGIApplication, origins: Iterable[str]) -> None:
        self._application = application
        self._origins = frozenset(origins)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a preflight, or pass the request on and mark its answer."""
        origin = environ.get("HTTP_ORIGIN")
        if origin not in self._origins or not environ["PATH_INFO"].startswith(PATH):
            return self._application(environ, start_response)
        allowed = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            start_response("204 No Content", [*allowed, *_PREFLIGHT])
            return [b""]

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            return start_response(
                status, [*headers, *allowed, ("Access-Control-Expose-Headers", "X-Request-Id")], exc_info
            )

        return self._application(environ, respond)

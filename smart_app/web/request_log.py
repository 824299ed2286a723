"""One log line for each request: the route's pattern, never its path or query (row 119)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask, Response, g, request

_LOG = logging.getLogger(__name__)
_QUIET = frozenset({"launch.livez", "launch.readyz", "static"})


def install(app: Flask, new_id: Callable[[], str], monotonic: Callable[[], float]) -> None:
    """Number each request, and note how it went."""

    def begin() -> None:
        g.request_id = new_id()
        g.began = monotonic()

    def note(response: Response) -> Response:
        if request.endpoint not in _QUIET:
            ehr = g.get("frame_ehr")
            line = {
                "request_id": g.request_id,
                "route": request.url_rule.rule if request.url_rule else "(none)",
                "method": request.method if request.method.isalpha() and len(request.method) < 10 else "other",
                "status": response.status_code,
                "ms": round((monotonic() - g.began) * 1000, 1),
                "ehr": ehr.id if ehr else "",
                "reason": g.get("reason", ""),
            }
            _LOG.info("request", extra=line)
        return response

    app.before_request(begin)
    app.after_request(note)

"""What one call leaves for its log line and metrics. Words of closed lists and ids of the call only."""

from __future__ import annotations

import threading

NOTE = "cds.note"
ACCEPTED = "cds.accepted"
REQUEST_ID = "cds.request_id"

# When the request that this thread answers was complete, by the monotonic clock; set by the gunicorn worker, which
# starts before the application and cannot reach the WSGI environment.
queued = threading.local()


class CallNote:
    """Filled while a call is answered; lives in the WSGI environment, so no request state is ever shared."""

    __slots__ = (
        "client",
        "covered",
        "dropped",
        "hook",
        "hook_instance",
        "outcome",
        "path",
        "reason",
        "replayed",
        "route",
        "rules",
    )

    def __init__(self) -> None:
        self.client = ""
        self.covered: tuple[str, ...] = ()
        self.dropped: tuple[str, ...] = ()
        self.hook = ""
        self.hook_instance = ""
        self.outcome = "none"
        self.path = ""
        self.reason = ""
        self.replayed = False
        self.route = ""
        self.rules: tuple[str, ...] = ()

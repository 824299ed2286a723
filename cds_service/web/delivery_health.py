"""``/livez``, ``/readyz`` and ``/metrics`` of the delivery worker, for machines that watch; no PHI."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from cds_service.delivery_ports import Waiting

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at this moment. ``waiting`` None: the database cannot be asked."""

    workers: int
    wanted: int
    waiting: Sequence[Waiting] | None
    counts: Mapping[str, int]  # words that workers reported
    now: datetime


def ready(snapshot: Snapshot) -> tuple[int, bytes]:
    """Status and body of ``/readyz``: workers run, and the outbox can be read."""
    if snapshot.waiting is None:
        return 503, b'{"status":"not ready","why":"store"}'
    if snapshot.workers < snapshot.wanted:
        return 503, b'{"status":"not ready","why":"workers"}'
    return 200, b'{"status":"ready"}'


def metrics(snapshot: Snapshot) -> bytes:
    """Prometheus text: what waits, since when, and what was reported."""
    lines = ["# TYPE cds_delivery_workers gauge", f"cds_delivery_workers {snapshot.workers}"]
    lines += ["# TYPE cds_outbox_rows gauge"]
    lines += [f"cds_outbox_rows{_labels(each)} {each.count}" for each in snapshot.waiting or ()]
    lines += ["# TYPE cds_outbox_oldest_seconds gauge"]
    for each in snapshot.waiting or ():
        age = max((snapshot.now - each.oldest).total_seconds(), 0)
        lines.append(f"cds_outbox_oldest_seconds{_labels(each)} {age:.0f}")
    lines += ["# TYPE cds_delivery_events_total counter"]
    lines += [f'cds_delivery_events_total{{event="{word}"}} {count}' for word, count in sorted(snapshot.counts.items())]
    return ("\n".join(lines) + "\n").encode()


def _labels(waiting: Waiting) -> str:
    # A subscription's id is not configured by us: all subscribers count as one.
    destination = waiting.destination if waiting.kind == "payer" else "subscribers"
    return f'{{kind="{waiting.kind}",destination="{destination}",state="{waiting.state}"}}'


class HealthServer:
    """Answers in a thread of its own on loopback, or on the address that the operator names."""

    def __init__(self, host: str, port: int, snapshot: Callable[[], Snapshot]) -> None:
        """``port`` 0 takes a free one; raises OSError when the port is taken."""
        self._server = ThreadingHTTPServer((host, port), _handler(snapshot))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def close(self) -> None:
        """No longer."""
        self._server.shutdown()
        self._server.server_close()


def _handler(snapshot: Callable[[], Snapshot]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Three addresses, GET only."""

        timeout = 5
        server_version = "cds-service"
        sys_version = ""

        def do_GET(self) -> None:
            """Answer."""
            if self.path == "/livez":
                self._answer(200, b'{"status":"alive"}', _JSON)
            elif self.path == "/readyz":
                self._answer(*ready(snapshot()), _JSON)
            elif self.path == "/metrics":
                self._answer(200, metrics(snapshot()), _TEXT)
            else:
                self._answer(404, b'{"status":"not found"}', _JSON)

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing: a probe every second is no news."""

    return Handler

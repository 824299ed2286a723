"""JSON log lines of closed fields, written by one thread from a bounded queue.

A request never waits for the log: lines beyond the bound are counted and dropped (reliability F27). No field can hold
PHI: ids of calls, words of closed lists, numbers; of exceptions the class and the places, never the message.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from datetime import UTC, datetime

import msgspec

from cds_service.serving import described, event_of

BOUND = 10_000
PAUSE_SECONDS = 0.2
SAFE_EXTRAS = ("request_id", "hook_instance", "client", "hook", "reason", "outcome")


class Line(msgspec.Struct, omit_defaults=True):
    """One log line. ``ms`` is the time from the complete request to the answer."""

    at: float | str
    level: str
    event: str
    request_id: str = ""
    route: str = ""
    method: str = ""
    status: int = 0
    ms: float = 0.0
    hook: str = ""
    client: str = ""
    hook_instance: str = ""
    outcome: str = ""
    path: str = ""
    reason: str = ""
    replayed: bool = False
    rules: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()
    logger: str = ""
    error: str = ""
    frames: tuple[str, ...] = ()
    count: int = 0
    pid: int = 0


class LineWriter:
    """Collects lines and writes them in batches to a file descriptor."""

    def __init__(self, descriptor: int = 2, bound: int = BOUND, pause: float = PAUSE_SECONDS) -> None:
        """Starts no thread yet; the first line does, in each process anew."""
        self._descriptor = descriptor
        self._bound = bound
        self._pause = pause
        self._lines: deque[Line] = deque()
        self.dropped = 0
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._start_lock = threading.Lock()
        self._stop = threading.Event()
        self._encode = msgspec.json.Encoder().encode
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a new process: the thread stayed behind, and what it had not written yet it will write there."""
        self._lines.clear()
        self.dropped = 0
        self._thread = None
        self._start_lock = threading.Lock()

    def put(self, line: Line) -> None:
        """Queue one line; never blocks."""
        if len(self._lines) >= self._bound:
            self.dropped += 1
            return
        self._lines.append(line)
        if self._thread is None:
            self._start()

    def close(self, seconds: float = 1.0) -> None:
        """Write what is queued, but wait no longer than this for a blocked sink."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._pid = os.getpid()
                self._stop = threading.Event()
                self._thread = threading.Thread(target=self._run, name="log-lines", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(self._pause)
            self._flush()

    def _flush(self) -> None:
        if self.dropped:
            dropped, self.dropped = self.dropped, 0
            self._lines.append(Line(at=time.time(), level="warning", event="log_lines_dropped", count=dropped))
        batch = []
        while self._lines:
            line = self._lines.popleft()
            line.at = datetime.fromtimestamp(float(line.at), UTC).isoformat(timespec="milliseconds")
            line.pid = self._pid
            batch.append(self._encode(line))
        if batch:
            self._write(b"\n".join(batch) + b"\n")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:  # the sink is gone; serving goes on
            self.dropped += 1


class LineHandler(logging.Handler):
    """Brings the records of the logging module to the same lines, without their arguments and messages."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """One record as one line."""
        extras = {name: str(getattr(record, name)) for name in SAFE_EXTRAS if hasattr(record, name)}
        error, frames = described(record.exc_info[1]) if record.exc_info else ("", ())
        self._writer.put(
            Line(
                at=record.created,
                level=record.levelname.lower(),
                event=event_of(record),
                logger=record.name,
                error=error,
                frames=frames,
                **extras,  # type: ignore[arg-type]  # all of SAFE_EXTRAS are text fields
            )
        )


def capture_logging(writer: LineWriter, level: str) -> None:
    """Send all records of the logging module to ``writer``."""
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(writer)]
    root.setLevel(level.upper())

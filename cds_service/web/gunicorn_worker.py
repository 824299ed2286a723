"""gunicorn's thread worker, taught to wait for whole requests without spending a thread on them.

Stock ``gthread`` gives a thread to whoever connects: a few clients that send half a request and stall stop the
service (reliability 61). Here the main loop collects the bytes, and a thread starts when the request is complete. It
also stamps that moment (the start of the deadline and of the queue time), never echoes input in an error answer, and
closes without making the main loop wait for the other side.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from cds_service.settings import from_env
from cds_service.web.call_note import queued
from cds_service.web.framing import Frame, Verdict, judge

RECEIVE = 65_536
MAX_BUFFERED = 100_000_000  # bytes that all unfinished requests of one worker may hold
LINGER_SECONDS = 2.0
LINGER_BYTES = 1_000_000
PAS_REQUEST: Final = b"POST /pas/"  # what may be larger than any other body
POLITE_SECONDS, MOST_POLITE = 0.000_2, 5  # for each connection held, up to so many

_BODY: Final = b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"%s","diagnostics":"%s"}]}'
_ANSWERS: Final = {
    400: (b"Bad Request", b"structure", b"the HTTP request is malformed"),
    408: (b"Request Timeout", b"timeout", b"the request did not arrive in time"),
    414: (b"URI Too Long", b"too-long", b"the request line is too long"),
    431: (b"Request Header Fields Too Large", b"too-long", b"the request headers are too long"),
    500: (b"Internal Server Error", b"exception", b"internal error"),
    503: (b"Service Unavailable", b"throttled", b"too many calls at this moment; try again"),
}


def plain_answer(status: int) -> bytes:
    """A whole HTTP answer with an OperationOutcome, for refusals before the application."""
    reason, code, text = _ANSWERS[status]
    body = _BODY % (code, text)
    return (
        b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % (status, reason, len(body))
    ) + body


def status_of(error: BaseException) -> int:
    """HTTP status of what gunicorn's parser or the application raised."""
    if isinstance(error, http_errors.LimitRequestLine):
        return 414
    if isinstance(error, http_errors.LimitRequestHeaders):
        return 431
    return 400 if isinstance(error, (http_errors.ParseException, http_errors.ConfigurationProblem)) else 500


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """One connection, its unfinished bytes, and when its current request was complete."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.received = bytearray()
        self.frame = Frame()
        self.whole = True
        self.queued_at = 0.0
        self.lingered = 0
        self.waiting = False


class WholeRequestWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        settings = from_env()
        self.receive_seconds, self.max_body = settings.receive_seconds, settings.max_body_bytes
        self.max_pas_body = max(settings.max_body_bytes, settings.pas_max_body_bytes)
        self.patience = struct.pack("ll", settings.receive_seconds, 0)  # a timeval
        self.buffered = 0
        self.lingering: deque[Connection] = deque()

    def accept(self, listener: socket.socket) -> None:
        """Take a connection and wait for its first request.

        All workers wake for a new connection. Who has some already lets the others come first, or the quickest one
        would take them all and leave its siblings idle.
        """
        time.sleep(min(self.nr_conns, MOST_POLITE) * POLITE_SECONDS)
        try:
            client, address = listener.accept()
        except OSError:  # gone before we took it, or another worker took it
            return
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # of the kernel: no thread waits for ever
            client.setsockopt(socket.SOL_SOCKET, option, self.patience)
        conn = Connection(self.cfg, client, address, listener.getsockname())
        self.nr_conns += 1
        self._begin(conn)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """The next request on a kept connection begins."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._begin(conn)

    def handle(self, conn: Connection) -> Any:
        """Answer one whole request, in a thread."""
        queued.at = conn.queued_at
        return super().handle(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature
        """Answer a malformed request, or a failure, without repeating input."""
        status = status_of(exc)
        if status == 500:
            self.log.error("error outside the application", exc_info=exc)
        with suppress(OSError):
            client.sendall(plain_answer(status))

    def finish_request(self, conn: Connection, fs: Future[Any]) -> None:
        """Keep, continue or close the connection whose request a thread has answered."""
        kept = not fs.cancelled() and fs.exception() is None and fs.result() is True
        if kept and (ahead := conn.parser.unreader.take_buffered()):
            conn.sock.settimeout(0)
            self._take(conn, ahead)
        elif kept:
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def murder_pending(self) -> None:
        """Close connections that did not send a whole request in time, and those that lingered enough."""
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            conn = self.pending_conns[0]
            self._refuse(conn, 408 if conn.received else None)
        if not self.alive:  # stopping: who has not begun to send may be closed, and will try elsewhere
            for conn in [conn for conn in self.pending_conns if not conn.received]:
                self._refuse(conn, None)
        while self.lingering and self.lingering[0].timeout <= now:
            gone = self.lingering.popleft()
            self.poller.unregister(gone.sock)
            self._drop(gone)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        # What was not read is not read now either: closing is cheaper than draining.
        return conn.whole and bool(super()._keepalive_after(conn, keepalive))

    def _begin(self, conn: Connection) -> None:
        # Most requests are there as a whole already, so try before asking the poller.
        try:
            data = conn.sock.recv(RECEIVE)
        except BlockingIOError:
            self._wait(conn)
            return
        except OSError:
            data = b""
        self._take(conn, data) if data else self._drop(conn)

    def _wait(self, conn: Connection) -> None:
        conn.waiting = True
        conn.timeout = time.monotonic() + self.receive_seconds
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))

    def _receive(self, conn: Connection, client: socket.socket) -> None:
        try:
            data = client.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(conn, data)
        else:
            self._forget(conn)
            self._drop(conn)

    def _take(self, conn: Connection, data: bytes) -> None:
        conn.received += data
        self.buffered += len(data)
        most = self.max_pas_body if conn.received.startswith(PAS_REQUEST) else self.max_body
        verdict = judge(conn.received, conn.frame, most)
        if verdict is Verdict.HEAD_TOO_LONG:
            self._refuse(conn, 431)
        elif verdict is not Verdict.MORE:
            self._hand_over(conn, whole=verdict is Verdict.WHOLE)
        elif self.buffered > MAX_BUFFERED:
            self._refuse(conn, 503)
        else:
            if conn.frame.expects_continue:
                conn.frame.expects_continue = False
                with suppress(OSError):
                    conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not conn.waiting:
                self._wait(conn)

    def _hand_over(self, conn: Connection, *, whole: bool) -> None:
        data = conn.received
        self._forget(conn)
        conn.whole = whole
        conn.data_ready = True
        conn.init()
        conn.parser.unreader.unread(data)
        conn.queued_at = time.monotonic()
        self.enqueue_req(conn)

    def _refuse(self, conn: Connection, status: int | None) -> None:
        self._forget(conn)
        if status is not None:
            with suppress(OSError):
                conn.sock.send(plain_answer(status))
        self._linger(conn)

    def _forget(self, conn: Connection) -> None:
        """Take it out of the waiting ones."""
        if conn.waiting:
            conn.waiting = False
            self.poller.unregister(conn.sock)
            self.pending_conns.remove(conn)
        self.buffered -= len(conn.received)
        conn.received = bytearray()
        conn.frame = Frame()

    def _linger(self, conn: Connection) -> None:
        """Half-close and swallow what still comes, so that our answer is not cut off by a reset (RFC 9112, 9.6)."""
        try:
            conn.sock.settimeout(0)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the other side is gone
            self._drop(conn)
            return
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._swallow, conn))
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self.lingering.append(conn)

    def _swallow(self, conn: Connection, client: socket.socket) -> None:
        try:
            data = client.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.lingered += len(data)
        if not data or conn.lingered > LINGER_BYTES:
            self.lingering.remove(conn)
            self.poller.unregister(client)
            self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()

"""A real gunicorn with our worker and the web twins behind it, for tests that speak byte by byte."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running server and how to speak to it byte by byte."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def connect(self, timeout: float = 60.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def exchange(self, data: bytes, timeout: float = 60.0) -> bytes:
        """Send bytes, read until the server closes or falls silent."""
        with self.connect(timeout) as connection:
            connection.sendall(data)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """All bytes until the other side closes."""
    received = b""
    while True:
        try:
            data = connection.recv(65_536)
        except TimeoutError:
            return received
        if not data:
            return received
        received += data


def request(
    body: bytes = b"{}", path: str = "/cds-services/order-sign", *, close: bool = True, more: tuple[str, ...] = ()
) -> bytes:
    """One well-formed call."""
    head = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Authorization: Bearer good",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *more,
        *(["Connection: close"] if close else []),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@contextmanager
def running(*, linger_seconds: float | None = None, **settings: Any) -> Iterator[Server]:
    """Start one worker, wait until it answers, stop it."""
    port = free_port()
    environment = os.environ | {
        "CDS_PORT": str(port),
        "CDS_WORKERS": "1",
        "CDS_DATABASE_URL": "memory:",
        "PYTHONPATH": str(ROOT),
        **({} if linger_seconds is None else {"LINGER_SECONDS": str(linger_seconds)}),
        **{f"CDS_{name.upper()}": str(value) for name, value in settings.items()},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.web_server_process"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    server = Server(process, port)
    try:
        _wait(server)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


def _wait(server: Server) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.process.poll() is None:
        try:
            if server.exchange(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(
                b"HTTP/1.1 200"
            ):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the test server did not start")

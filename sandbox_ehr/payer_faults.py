"""Misbehaviour of the payer's FHIR endpoint, switched on by tests: slow, refusing, answering by halves or never."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Literal

import msgspec
from flask import Response, request

WAYS = ("put", "conditional_update", "conditional_create", "transaction", "bundle")


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of trouble for the next ``times`` calls.

    slow: answers after ``seconds``. refuse: answers ``status``. half: does the work, sends half of the answer.
    lost: does the work, sends nothing. deaf: does nothing, sends nothing.
    """

    mode: Literal["slow", "refuse", "half", "lost", "deaf"]
    times: int = 1
    status: int = 503
    seconds: float = 0.0
    retry_after: str = ""


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tests ask for: troubles in their order, and the ways of writing that are offered."""

    faults: tuple[Fault, ...] = ()
    offers: tuple[str, ...] = WAYS


class Faults:
    """The behaviour of one running endpoint. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Fault] = []
        self.offers: tuple[str, ...] = WAYS

    def change(self, behaviour: Behaviour) -> None:
        """From now on like this."""
        with self._lock:
            self._queue = [fault for fault in behaviour.faults for _ in range(fault.times)]
            self.offers = behaviour.offers

    def next(self) -> Fault | None:
        """The trouble of this call, used up."""
        with self._lock:
            return self._queue.pop(0) if self._queue else None


def before(fault: Fault) -> Response | None:
    """What a trouble does before any work; an answer ends the call."""
    if fault.mode == "slow":
        time.sleep(fault.seconds)
    if fault.mode == "refuse":
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        return Response("{}", fault.status, headers, content_type="application/fhir+json")
    if fault.mode == "deaf":
        _hang_up()
        return Response(status=503)  # nobody hears it
    return None


def after(fault: Fault, response: Response) -> Response:
    """What a trouble does to the answer of work that was done."""
    if fault.mode == "lost":
        _hang_up()
    if fault.mode == "half":
        whole = response.get_data()
        response.response = _half(whole)
        response.headers["Content-Length"] = str(len(whole))
    return response


def _half(whole: bytes) -> Iterator[bytes]:
    yield whole[: len(whole) // 2]
    _hang_up()


def _hang_up() -> None:
    """Close the connection under the server's feet, as a crash does."""
    held = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if isinstance(held, socket.socket):
        held.shutdown(socket.SHUT_RDWR)

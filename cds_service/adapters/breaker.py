"""When to leave a struggling EHR alone: an opening breaker and a budget for second tries, each per server.

State is per process and decided by the steady clock alone, so that a jump of the wall clock changes nothing (F22).
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class _State:
    __slots__ = ("failures", "open_until", "probe_until")

    def __init__(self) -> None:
        self.failures = 0
        self.open_until: float | None = None
        self.probe_until: float | None = None


class Breaker:
    """Opens after so many failures in a row, then lets one probe at a time find out whether the server is back (F1).

    Thread-safe. Keys are registered addresses, so their number is bounded by the configuration.
    """

    def __init__(self, monotonic: Callable[[], float], *, failures: int = 5, open_seconds: float = 10.0) -> None:
        self._monotonic = monotonic
        self._limit = failures
        self._open_seconds = open_seconds
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()

    def allows(self, server: str) -> bool:
        """Whether a request may be sent now. After True exactly one of ``succeeded`` and ``failed`` is owed."""
        with self._lock:
            state = self._states.get(server)
            if state is None or state.open_until is None:
                return True
            now = self._monotonic()
            if now < state.open_until or (state.probe_until is not None and now < state.probe_until):
                return False
            state.probe_until = now + self._open_seconds  # a probe that never reports does not block for ever
            return True

    def succeeded(self, server: str) -> None:
        """The server answered: closed again."""
        with self._lock:
            self._states.pop(server, None)

    def failed(self, server: str) -> bool:
        """The server did not answer, or said that it is broken. True when this failure opened the breaker."""
        with self._lock:
            state = self._states.setdefault(server, _State())
            state.failures += 1
            was_open = state.open_until is not None
            if was_open and state.probe_until is None:
                return False  # a straggler of before the opening; it does not lengthen it
            if state.failures < self._limit:
                return False
            state.open_until = self._monotonic() + self._open_seconds
            state.probe_until = None
            return not was_open


class RetryBudget:
    """Second tries stay a tenth of the traffic to each server, after a few free ones (reliability 2.5)."""

    def __init__(self, *, share: float = 0.1, saved: float = 10.0) -> None:
        self._share = share
        self._saved = saved
        self._left: dict[str, float] = {}
        self._lock = threading.Lock()

    def sent(self, server: str) -> None:
        """A first try was sent."""
        with self._lock:
            self._left[server] = min(self._saved, self._left.get(server, self._saved) + self._share)

    def take(self, server: str) -> bool:
        """Whether one more second try is within the budget; it is then used."""
        with self._lock:
            left = self._left.get(server, self._saved)
            if left < 1:
                return False
            self._left[server] = left - 1
            return True

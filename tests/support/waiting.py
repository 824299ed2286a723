"""Waiting for what other threads and processes do. How long it takes says nothing; that it happens does."""

from __future__ import annotations

import time
from collections.abc import Callable

GIVE_UP_SECONDS = 60.0  # no machine is that slow


def until(condition: Callable[[], object], what: str = "it did not come to that") -> None:
    """Return once ``condition()`` holds; fail with ``what`` when it never does."""
    end = time.monotonic() + GIVE_UP_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)

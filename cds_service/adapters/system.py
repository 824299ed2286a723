"""Clock and ids of the machine we run on: the only module that asks the operating system for either."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime


class SystemClock:
    """``ports.Clock`` of this machine."""

    def now(self) -> datetime:
        """The instant, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, whatever happens to the wall clock (fault F22)."""
        return time.monotonic()


def new_id() -> str:
    """A new random UUID as text (``ports.NewId``)."""
    return str(uuid.uuid4())

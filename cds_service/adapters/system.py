"""Clock and ids of the machine we run on: the only module that asks the operating system for either."""

from __future__ import annotations

import os
import random
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


# Ids of records, unique but no secrets: the system's own source would be asked, and waited for, at every call.
_ids = random.Random()  # noqa: S311 - see above
os.register_at_fork(after_in_child=_ids.seed)  # a forked worker must not repeat its sibling's ids


def new_id() -> str:
    """A new random UUID as text (``ports.NewId``); never a secret."""
    return str(uuid.UUID(int=_ids.getrandbits(128), version=4))

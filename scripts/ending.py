"""A measurement that is stopped half-way ends what it has started."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def end_in_order() -> None:
    """TERM and a closed terminal are taken as Ctrl-C is: ``finally`` runs. Exit status 128 and the signal's number."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, leave)

"""A measurement that is stopped half-way ends what it has started."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def end_in_order() -> None:
    """Ctrl-C, TERM and a closed terminal: ``finally`` runs. Exit status 128 and the signal's number.

    INT is among them because a process that a shell started in the background is born ignoring it.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, leave)

"""A measurement that is stopped half-way ends what it has started."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

_steps = 0  # steps that must not be cut in two, one within another
_asked: int | None = None  # the signal that came meanwhile


def end_in_order() -> None:
    """Ctrl-C, TERM and a closed terminal: ``finally`` runs. Exit status 128 and the signal's number.

    INT is among them because a process that a shell started in the background is born ignoring it.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        global _asked  # noqa: PLW0603 - a signal belongs to the whole process
        if _steps:
            _asked = number
        else:
            sys.exit(128 + number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, leave)


@contextlib.contextmanager
def whole_step() -> Iterator[None]:
    """A step that is done whole, in the main thread: a signal waits for its end.

    Between the start of a process and the note of it, and while everything is being ended.
    """
    global _steps, _asked  # noqa: PLW0603
    _steps += 1
    try:
        yield
    finally:
        _steps -= 1
    if not _steps and _asked is not None:
        number, _asked = _asked, None
        sys.exit(128 + number)

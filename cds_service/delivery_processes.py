"""Worker processes of ``cds-service deliver``: made, watched, replaced when one dies, and asked to finish."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

CHILD_LIMIT = 100  # bytes of one report; shorter than what a pipe takes in one piece
_LOOK_SECONDS = 0.5
_RESTART_SECONDS = 1.0


class Reports:
    """Words that workers report, counted. A pipe per supervisor; each word is one short line."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._rest = b""
        self.counts: Counter[str] = Counter()

    def say(self, word: str) -> None:
        """Called by a worker. A supervisor that is gone, or too slow, is no reason to stop delivering."""
        try:
            os.write(self._writing, word.encode("ascii", "replace")[:CHILD_LIMIT] + b"\n")
        except OSError:
            return

    def collect(self) -> list[str]:
        """Called by the supervisor: the words since the last time."""
        words: list[str] = []
        while True:
            try:
                part = os.read(self._reading, 65_536)
            except BlockingIOError:
                break
            *whole, self._rest = (self._rest + part).split(b"\n")
            words += [line.decode("ascii", "replace") for line in whole]
        self.counts.update(word for word in words if not word.startswith("dead:"))
        return words


class Supervisor:
    """Keeps ``count`` children running ``work`` until SIGTERM or SIGINT, then lets each finish what it sends."""

    def __init__(self, count: int, work: Callable[[threading.Event], None], drain_seconds: int) -> None:
        """``work`` runs in each child and returns when the event is set; a child beyond ``drain_seconds`` is killed."""
        self._count = count
        self._work = work
        self._drain_seconds = drain_seconds
        self._children: dict[int, float] = {}
        self.stopping = False

    @property
    def alive(self) -> int:
        """How many workers there are now."""
        return len(self._children)

    def run(self, look: Callable[[], None]) -> None:
        """Until asked to stop; ``look`` is called twice a second."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self.stopping:
                self._reap()
                self._fill()
                look()
                time.sleep(_LOOK_SECONDS)
        finally:
            self._end()
            look()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _fill(self) -> None:
        while len(self._children) < self._count and not self.stopping:
            child = os.fork()
            if child == 0:
                os._exit(self._live())
            self._children[child] = time.monotonic()

    def _live(self) -> int:
        """The whole life of one worker; a worker whose supervisor is gone stops, too."""
        supervisor = os.getppid()
        event = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: event.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the supervisor passes it on in order
        threading.Thread(target=self._watch, args=(event, supervisor), daemon=True).start()
        working = threading.Thread(target=self._work, args=(event,))
        working.start()
        while working.is_alive():
            working.join(_LOOK_SECONDS)  # signals are handled in this thread
        return 0

    def _watch(self, event: threading.Event, supervisor: int) -> None:
        while not event.wait(_LOOK_SECONDS):
            if os.getppid() != supervisor:
                event.set()

    def _reap(self) -> None:
        for child, born in list(self._children.items()):
            if os.waitpid(child, os.WNOHANG)[0]:
                del self._children[child]
                if time.monotonic() - born < _RESTART_SECONDS:
                    time.sleep(_RESTART_SECONDS)  # one that dies at once must not be made a hundred times a second

    def _end(self) -> None:
        for child in self._children:
            os.kill(child, signal.SIGTERM)
        until = time.monotonic() + self._drain_seconds
        while self._children and time.monotonic() < until:
            self._reap_quietly()
            time.sleep(0.02)
        for child in self._children:
            os.kill(child, signal.SIGKILL)
        for child in list(self._children):
            os.waitpid(child, 0)
            del self._children[child]

    def _reap_quietly(self) -> None:
        for child in list(self._children):
            if os.waitpid(child, os.WNOHANG)[0]:
                del self._children[child]

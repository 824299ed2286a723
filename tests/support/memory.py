"""How much memory a step needed at its highest, even if it gave everything back."""

from __future__ import annotations

import gc
from pathlib import Path


class PeakMemory:
    """``with PeakMemory() as peak: ...`` then ``peak.megabytes`` is the growth above the start (Linux)."""

    def __enter__(self) -> PeakMemory:  # noqa: PYI034 - not meant to be subclassed
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew at what is used now
        self._before = _peak()
        return self

    def __exit__(self, *_: object) -> None:
        self.megabytes = _peak() - self._before


def _peak() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the kernel does not tell VmHWM")

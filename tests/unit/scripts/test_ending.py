"""A signal ends a measurement in order, and never between the start of a process and the note of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import os, signal, sys
from scripts.ending import end_in_order, whole_step
end_in_order()
try:
    with whole_step():
        with whole_step():
            os.kill(os.getpid(), int(sys.argv[1]))
            print("inner", flush=True)
        print("outer", flush=True)
    print("too far", flush=True)
finally:
    print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ignored", [False, True], ids=["from a terminal", "born ignoring it"])
def test_a_step_is_done_whole_and_then_the_signal_counts(number: signal.Signals, ignored: bool) -> None:
    trap = f"trap '' {number.name.removeprefix('SIG')}; " if ignored else ""
    command = f'{trap}exec "$@"'
    done = subprocess.run(
        ["bash", "-c", command, "bash", sys.executable, "-c", PROGRAM, str(int(number))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.returncode) == (["inner", "outer", "ended"], 128 + number), done.stderr

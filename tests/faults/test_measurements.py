"""A measurement that is stopped leaves no process and no file behind, though it started servers on their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.postgres import programs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the measurement puts everything; its database runs as another user, who must be able to enter."""
    with tempfile.TemporaryDirectory(prefix="m-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def started_in(place: Path) -> set[psutil.Process]:
    """Processes that work in that folder, or were told of it."""
    found = set()
    for process in psutil.process_iter():
        try:
            if str(place) in " ".join((process.cwd(), *process.cmdline())):
                found.add(process)
        except psutil.Error:
            continue
    return found


def serves(process: psutil.Process) -> bool:
    """Whether it is the service; one that has just ended is not."""
    try:
        return "serve" in process.cmdline()
    except psutil.Error:
        return False


@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")
@pytest.mark.parametrize(
    ("command", "stop"),
    [
        (["bench_prior_auth", "--seconds", "60"], signal.SIGTERM),
        (["kill_test", "--database", "postgres"], signal.SIGINT),
    ],
)
def test_a_measurement_that_is_stopped_ends_what_it_started(
    command: list[str], stop: signal.Signals, place: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", f"scripts.{command[0]}", *command[1:]],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert any(line.startswith("delivery by") for line in running.stdout)  # database and receiver run
        started = started_in(place)
        while not any(serves(process) for process in started):
            assert running.poll() is None
            started = started_in(place)
        names = [process.name() for process in started if process.is_running()]
        assert any("postgres" in name for name in names)
        running.send_signal(stop)
        assert running.wait(timeout=300) != 0
    _, alive = psutil.wait_procs(started | started_in(place), timeout=120)
    assert not alive
    assert not list(place.iterdir())

"""A short run of `make kill-test` on each database (D01; F16, F17, F20, F23, F24)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("database", "seed"),  # the seed decides the way of delivery, too: a transaction here, PUT there
    [("sqlite", "9"), pytest.param("postgres", "2", marks=pytest.mark.postgres)],
)
def test_D01_fault_F17_fault_F24_nothing_is_lost_or_doubled_by_kills(database: str, seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.kill_test", "--kills", "15", "--database", database, "--seed", seed, "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=390,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0, doubled 0" in done.stdout

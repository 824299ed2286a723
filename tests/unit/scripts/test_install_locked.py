"""What `make install` says while pip is at work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts import install_locked


def test_progress_is_told_every_ten_packages_and_at_the_last() -> None:
    lines = [f"Collecting package-{number}==1.0 (from -r lock (line {number}))\n" for number in range(1, 24)]
    lines[3:3] = ["  Using cached package_3-1.0-py3-none-any.whl\n"]
    lines[7] = lines[7].replace("Collecting", "Requirement already satisfied:")
    lines[9] = "Ignoring colorama: markers 'os_name == \"nt\"' don't match your environment\n"
    told = list(install_locked.progress([*lines, "Installing collected packages: package-1\n"], 23))
    assert told == [
        "  fetched 10 of 23 packages",
        "  fetched 20 of 23 packages",
        "  fetched 23 of 23 packages",
        "  unpacking them",
    ]


def test_a_lock_that_cannot_be_installed_is_said_by_pip_and_ends_with_its_status(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("no requirement at all\n", "utf-8")  # refused before anything is fetched
    done = subprocess.run(
        [sys.executable, "-m", "scripts.install_locked", str(lock)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Invalid requirement" in done.stderr

"""How `cds-service serve` starts: with the database down (F21), with wrong settings or files, in development."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import until
from tests.support.web_server import free_port

COMMAND = Path(sys.executable).parent / "cds-service"


@contextmanager
def served(folder: Path, *options: str, **settings: str) -> Iterator[tuple[int, Path]]:
    """A service of one worker that has begun to answer; its port and log file."""
    port = free_port()
    environment = os.environ | {"CDS_WORKERS": "1", **settings}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [COMMAND, "serve", "--port", str(port), *options], cwd=folder, env=environment, stdout=out, stderr=out
        )
    try:
        until(lambda: process.poll() is not None or fetch(port, "/livez")[0] == 200)
        assert process.poll() is None, log.read_text("utf-8")
        yield port, log
    finally:
        process.terminate()
        process.wait(30)


def fetch(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


def refused(folder: Path, *options: str, **settings: str) -> str:
    """What a start that must not happen says; it may not take long and shows no trace."""
    done = subprocess.run(
        [COMMAND, "serve", "--port", str(free_port()), *options],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_fault_f21_database_down_at_boot_leaves_the_process_up_and_not_ready(tmp_path: Path) -> None:
    nobody = f"postgresql://cds@127.0.0.1:{free_port()}/cds"
    with served(tmp_path, CDS_DATABASE_URL=nobody) as (port, log):
        assert fetch(port, "/readyz")[0] == 503
        assert fetch(port, "/livez")[0] == 200
        assert fetch(port, "/cds-services")[0] == 200
        assert "cannot be reached" in log.read_text("utf-8")


def test_fresh_start_makes_database_and_key_and_is_ready(tmp_path: Path) -> None:
    with served(tmp_path) as (port, log):
        assert fetch(port, "/readyz")[0] == 200
        assert "no client is registered" in log.read_text("utf-8")
        assert (tmp_path / "var" / "cds.sqlite3").exists()
        assert (tmp_path / "var" / "patient.key").stat().st_mode & 0o777 == 0o600
        assert fetch(port, "/policies/09-J1000-31")[0] == 200


def test_insecure_dev_says_so_loudly(tmp_path: Path) -> None:
    with served(tmp_path, "--insecure-dev", CDS_DATABASE_URL="memory:") as (_, log):
        until(lambda: "INSECURE" in log.read_text("utf-8"))


def test_bad_input_122_insecure_dev_is_refused_in_production(tmp_path: Path) -> None:
    production = {"CDS_PROFILE": "production", "CDS_PUBLIC_URL": "https://cds.payer.example.org"}
    assert "production" in refused(tmp_path, "--insecure-dev", **production)


def test_bad_input_121_key_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    key = tmp_path / "patient.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)
    assert "0600" in refused(tmp_path, CDS_KEY_FILE=str(key))


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("CDS_CONFIG_DIR", "empty", "payer.yaml"),
        ("CDS_DATABASE_URL", "oracle://db/cds", "sqlite"),
        ("CDS_CLIENTS_DIR", "clients", "broken.yaml"),
        ("CDS_READERS_FILE", "no-such-file", "CDS_READERS_FILE"),
    ],
)
def test_wrong_files_and_settings_end_the_start_with_their_name(
    tmp_path: Path, name: str, value: str, word: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "broken.yaml").write_text("id: x\nno_such_setting: 1\n", "utf-8")
    assert word in refused(tmp_path, **{name: value})

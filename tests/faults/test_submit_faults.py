"""``$submit`` while the world is broken: acknowledged means written down, and nothing else is (F15, F18, F19)."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from cds_service.adapters.sql.migrate import migrate
from cds_service.adapters.sql.outbox import SqlOutbox
from tests.support import pas_bundles
from tests.support.deliveries import pending
from tests.support.fault_server import closed_port
from tests.support.pas_service import Pas

ROOT = Path(__file__).resolve().parents[2]


def payer(path: Path, **settings: Any) -> Pas:
    migrate(f"sqlite:///{path}")
    pas = Pas(path)
    pas.service.settings = msgspec.structs.replace(pas.service.settings, **settings)
    pas.service.web = pas.service._web(None)
    return pas


def endpoint(directory: Path, port: int) -> Path:
    folder = directory / "endpoints"
    folder.mkdir()
    lines = ["id: core", "name: Core", f"base_url: http://127.0.0.1:{port}/fhir", "allow_http: true"]
    (folder / "core.yaml").write_text("\n".join(lines) + "\n")
    return folder


def test_fault_F15_the_answer_never_waits_for_the_payers_systems(tmp_path: Path) -> None:
    """Nobody listens there; the answer is given and the message written down in one transaction."""
    folder = endpoint(tmp_path, closed_port())
    pas = payer(tmp_path / "store.sqlite3", payer_endpoints_dir=folder, insecure_dev=True)
    assert pas.submit(pas_bundles.request()).status == 200
    [row] = pas.rows("SELECT destination, state, seq, n FROM outbox")
    assert tuple(row) == ("core", "ready", 1, 1)
    assert pending(SqlOutbox(pas.service.sql.database)) == 1
    assert pas.submit(pas_bundles.request()).status == 200  # the same again is no second message
    assert len(pas.rows("SELECT id FROM outbox")) == 1


def test_fault_F18_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.submit_process", str(tmp_path / "store.sqlite3")],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )
    assert done.stdout == "refused 503 again 200 same True cases 1\n", done.stderr[-2000:]


def test_fault_F19_a_locked_database_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    pas = payer(tmp_path / "store.sqlite3")
    other = sqlite3.connect(tmp_path / "store.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = pas.submit(pas_bundles.request())
    assert answer.status == 503
    assert answer.headers["Retry-After"]
    assert other.in_transaction  # the lock is still held: the answer did not wait for its end
    other.execute("ROLLBACK")
    other.close()
    assert pas.submit(pas_bundles.request()).status == 200
    assert pas.rows("SELECT count(*) FROM pa_case")[0][0] == 1

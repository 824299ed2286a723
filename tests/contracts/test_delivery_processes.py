"""``cds-service deliver`` and ``outbox`` as an operator runs them: real processes, signals, and broken databases."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from joserfc.jwk import ECKey

from cds_service.adapters.bundle_signature import verifies
from cds_service.adapters.sql import audit
from cds_service.adapters.sql.database import Database
from cds_service.adapters.token_purchase import public_keys
from tests.support.deliveries import put_case, put_notices, put_subscription, response_bundle
from tests.support.delivery_process import Deployment, ask, lines_of, until
from tests.support.fault_server import closed_port
from tests.support.payer_receiver import Fault, ReceiverServer


@pytest.fixture
def receiver() -> Iterator[ReceiverServer]:
    with ReceiverServer() as running:
        yield running


@pytest.fixture
def deployment(url: str, tmp_path: Path, receiver: ReceiverServer) -> Deployment:
    return Deployment(tmp_path, url, **{"payer-a": receiver.url})


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url, pool_size=2, busy_seconds=10)
    yield opened
    opened.close()


def now_case(database: Database, case: str, versions: list[int]) -> None:
    from cds_service.adapters.system import SystemClock  # noqa: PLC0415 - the processes use the real time

    put_case(database, case, versions, at=SystemClock().now())


def test_once_delivers_what_is_due_and_ends(
    deployment: Deployment, database: Database, receiver: ReceiverServer
) -> None:
    now_case(database, "c1", [1, 2])
    done = deployment.run("deliver", "--once")
    assert (done.returncode, done.stdout) == (0, "tries 2, delivered 2, dead 0\n")
    assert receiver.receiver.effects == {"c1.1": 1, "c1.2": 1}
    assert deployment.run("deliver", "--once").stdout == "tries 0, delivered 0, dead 0\n"


def test_D08_a_dead_letter_is_listed_shown_replayed_and_discarded(
    deployment: Deployment, database: Database, receiver: ReceiverServer
) -> None:
    now_case(database, "c1", [1, 2])
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "diagnostics": "no such plan"}]}
    assert deployment.run("outbox", "list").stdout.count("\n") == 1  # the heading alone
    # The CapabilityStatement is asked for first, then the row is refused.
    capability = json.dumps(receiver.receiver._capability()).encode()
    refused = Fault("status", 422, body=json.dumps(outcome).encode())
    receiver.receiver.faults.extend([Fault("status", 200, body=capability), refused])
    assert deployment.run("deliver", "--once").returncode == 1
    [heading, row] = deployment.run("outbox", "list").stdout.splitlines()
    assert heading.split("\t")[:2] == ["id", "state"]
    ident, state, destination, case = row.split("\t")[:4]
    assert (state, destination, case) == ("dead", "payer-a", "c1")
    shown = json.loads(deployment.run("outbox", "show", ident).stdout)
    assert shown["last_status"] == 422
    assert [each["response_excerpt"] for each in shown["tries"]] == ["put status_422 invalid no such plan"]
    assert deployment.run("outbox", "show", ident, "--payload").stdout.encode() == response_bundle("c1", 1)
    assert deployment.run("outbox", "show", "999").returncode == 1
    assert deployment.run("outbox", "replay").returncode == 2  # neither rows nor --dead
    assert deployment.run("outbox", "discard", ident).returncode == 2  # a reason is needed
    assert deployment.run("outbox", "replay", "--dead").stdout == "replayed 1\n"
    assert deployment.run("deliver", "--once").returncode == 0
    assert receiver.receiver.effects == {"c1.1": 1, "c1.2": 1}
    assert deployment.run("outbox", "discard", ident, "--reason", "no longer wanted").returncode == 1  # it is there
    assert audit.verify(database).ok
    assert audit.verify(database).events >= 6


def test_D10_a_signed_provenance_is_made_once_and_verifies(
    deployment: Deployment, database: Database, tmp_path: Path
) -> None:
    """Anybody can check it with the published key; the same Bundle in another spelling verifies, another one not."""
    now_case(database, "c1", [1])
    shown = json.loads(deployment.run("outbox", "show", "1", "--provenance").stdout)
    assert shown == json.loads(deployment.run("outbox", "show", "1", "--provenance").stdout)
    assert shown["target"] == [{"reference": f"ClaimResponse/{ident_of(response_bundle('c1', 1))}"}]
    detached = b64decode(shown["signature"][0]["data"]).decode()
    assert detached.split(".")[1] == ""
    private = ECKey.import_key((tmp_path / "token.key").read_text())
    [published] = json.loads(public_keys(private))["keys"]
    key = ECKey.import_key(published)
    bundle = response_bundle("c1", 1)
    assert verifies(bundle, detached, key)
    assert verifies(json.dumps(json.loads(bundle), indent=3).encode(), detached, key)
    assert not verifies(bundle.replace(b'"complete"', b'"partial"'), detached, key)
    assert not verifies(bundle, detached, ECKey.generate_key("P-384"))


def test_D10_a_notice_is_not_signed_and_that_is_said(deployment: Deployment, database: Database) -> None:
    put_subscription(database, "s1", "https://clinic.example.org/hook")
    put_notices(database, "s1", [1])
    done = deployment.run("outbox", "show", "1", "--provenance")
    assert (done.returncode, done.stdout) == (1, "")
    assert "row 1 is a notice to a subscriber" in done.stderr


def ident_of(bundle: bytes) -> str:
    return json.loads(bundle)["entry"][0]["resource"]["id"]


def test_notices_are_delivered_and_waiting_ones_counted(
    deployment: Deployment, database: Database, receiver: ReceiverServer, tmp_path: Path
) -> None:
    """A worker with two processes: health, metrics, a killed process is replaced, SIGTERM ends all in order."""
    clients = tmp_path / "clients"
    clients.mkdir()
    keys = json.dumps({"keys": [{"kty": "EC", "crv": "P-384", "kid": "a", **public_point()}]})
    lines = ["id: clinic", "name: Clinic", f"jwks: {keys}", "scopes: [system/Claim.c]", "allow_http: true"]
    (clients / "clinic.yaml").write_text("\n".join(lines) + "\n")
    put_subscription(database, "s1", f"{receiver.url}/hook")
    port = closed_port()
    with deployment.delivering("--workers", "2", "--health", f"127.0.0.1:{port}") as process:
        until(lambda: ask(port, "/readyz")[0] == 200)
        put_notices_now(database, "s1", [1, 2])
        now_case(database, "c1", [1])
        until(lambda: len(receiver.receiver.notices) == 2 and receiver.receiver.effects)
        assert receiver.receiver.notices == [b'{"event":1}', b'{"event":2}']
        victim = psutil.Process(process.pid).children()[0]
        victim.kill()
        until(lambda: len(alive(process.pid)) == 2 and victim.pid not in alive(process.pid))
        now_case(database, "c2", [1])
        until(lambda: len(receiver.receiver.effects) == 2)
        until(lambda: 'cds_delivery_events_total{event="settled:done"}' in ask(port, "/metrics")[1])
        assert ask(port, "/livez")[0] == 200
        assert ask(port, "/else")[0] == 404
        children = alive(process.pid)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert not any(psutil.pid_exists(child) for child in children)
    progress = [line for line in lines_of(told) if line["event"] == "progress"]
    # The killed process takes along what it had not told yet; nothing is told twice.
    assert 1 <= sum(line["delivered"] for line in progress) <= 4


def alive(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE}


def public_point() -> dict[str, str]:
    public = ECKey.generate_key("P-384").as_dict(private=False)
    return {"x": public["x"], "y": public["y"]}


def put_notices_now(database: Database, subscription: str, events: list[int]) -> None:
    from cds_service.adapters.system import SystemClock  # noqa: PLC0415 - the processes use the real time

    put_notices(database, subscription, events, at=SystemClock().now())


def test_workers_end_when_their_supervisor_was_killed(
    deployment: Deployment, database: Database, receiver: ReceiverServer
) -> None:
    now_case(database, "c1", [1])
    with deployment.delivering("--workers", "2") as process:
        until(lambda: receiver.receiver.effects)
        children = alive(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not any(psutil.pid_exists(child) for child in children))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--health", "nonsense"), "HOST:PORT"),
        (("--lease-seconds", "2"), "seconds is 2"),
    ],
)
def test_options_that_cannot_work_are_refused(
    sqlite_url: str, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    deployment = Deployment(tmp_path, sqlite_url, **{"payer-a": "http://127.0.0.1:1"})
    done = deployment.run("deliver", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_fault_F29_a_damaged_database_is_noticed_at_start(sqlite_url: str, tmp_path: Path) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    database = Database(sqlite_url, pool_size=1, busy_seconds=5)
    for case in range(20):
        put_case(database, f"c{case}", [1])
    database.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    root, size = (
        connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_outbox_case_id'").fetchone()[0],
        connection.execute("PRAGMA page_size").fetchone()[0],
    )
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size + 8)
        file.write(b"\xff" * 200)
    deployment = Deployment(tmp_path, sqlite_url)
    for done in (
        deployment.run("deliver", "--once"),
        deployment.run_apart("serve", "--port", str(closed_port()), "--workers", "1"),
    ):
        assert done.returncode != 0
        assert "damaged" in done.stderr


def test_fault_F29_an_old_backup_is_noticed_and_numbers_go_on_behind_it(sqlite_url: str, tmp_path: Path) -> None:
    """What happened after the backup is forgotten here, but not in the world: it is said, and never guessed around."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    database = Database(sqlite_url, pool_size=1, busy_seconds=5)
    put_subscription(database, "s1", "https://clinic.example.org/hook", events=7)
    deployment = Deployment(tmp_path, sqlite_url)
    assert deployment.run("outbox", "list").returncode == 0  # one line in the audit log
    backup = tmp_path / "backup"
    with sqlite3.connect(path) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    source.close()
    target.close()
    assert deployment.run("deliver", "--once").returncode == 0
    assert deployment.run("outbox", "list").returncode == 0  # after the backup
    assert deployment.run("deliver", "--once").returncode == 0  # remembers how far the log is now
    database.close()
    for ending in ("-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
    shutil.copy(backup, path)
    refused = deployment.run("deliver", "--once")
    assert refused.returncode != 0
    assert "older than it was" in refused.stderr
    served = deployment.run_apart("serve", "--port", str(closed_port()), "--workers", "1")
    assert served.returncode == 4
    assert "accept-restore" in served.stderr
    assert deployment.run("db", "accept-restore").returncode == 0
    assert deployment.run("deliver", "--once").returncode == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT events FROM subscription").fetchone() == (1007,)
    connection.close()

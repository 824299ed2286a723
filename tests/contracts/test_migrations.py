"""The migrations make exactly the tables of ``tables.py``, on both databases, once, whoever starts them."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import alembic.command
import alembic.op
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from cds_service.adapters.sql import documentation_tables as _documentation_tables  # noqa: F401 - joins METADATA
from cds_service.adapters.sql import migrate as migrations
from cds_service.adapters.sql import prior_auth_tables as _prior_auth_tables  # noqa: F401 - joins METADATA
from cds_service.adapters.sql import review_tables as _review_tables  # noqa: F401 - joins METADATA
from cds_service.adapters.sql.database import parse_url
from cds_service.adapters.sql.migrate import migrate, scripts
from cds_service.adapters.sql.store import SqlStore
from cds_service.adapters.sql.tables import HEAD, METADATA
from cds_service.errors import StoreUnavailable
from cds_service.ports import PrefetchSeen
from tests.support.child import child
from tests.support.postgres import PostgresServer
from tests.support.stores import a_call


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new.sqlite3"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create()


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(parse_url(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def test_head_is_the_newest_version_and_the_only_end() -> None:
    assert scripts().get_heads() == [HEAD]
    revisions = [script.revision for script in scripts().walk_revisions()]
    assert revisions == sorted(revisions, reverse=True), "readiness compares revisions as text"


def test_no_drift_between_migrations_and_tables(url: str) -> None:
    with connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        primary_keys = {
            name: sa.inspect(connection).get_pk_constraint(name)["constrained_columns"] for name in METADATA.tables
        }
    assert primary_keys == {
        name: [column.name for column in table.primary_key] for name, table in METADATA.tables.items()
    }


def test_every_index_is_used_by_its_question(sqlite_url: str) -> None:
    questions = {
        "uq_invocation_client_jti": "SELECT 1 FROM invocation WHERE client = 'c' AND jti = 'j'",
        "ix_invocation_replay": "SELECT response FROM invocation WHERE client = 'c' AND hook_instance = 'h'"
        " AND request_digest = 'd'",
        "ix_invocation_received": "SELECT seq FROM invocation WHERE received < 1 ORDER BY received LIMIT 5",
        "ix_determination_id": "SELECT document FROM determination WHERE id = 'd' ORDER BY invocation DESC LIMIT 1",
        "ix_card_uuid": "SELECT rule FROM card WHERE uuid = 'u'",
        "ix_card_renewal": "SELECT ack_key FROM card WHERE rule = 'coverage-renew' AND ack_key IN ('a', 'b')",
        "ix_feedback_ack_key": "SELECT 1 FROM feedback WHERE ack_key IN ('a', 'b')",
        "ix_feedback_received": "SELECT seq FROM feedback WHERE received < 1 ORDER BY received LIMIT 5",
        "ix_authorization_on_file_member_id": "SELECT document FROM authorization_on_file WHERE member_id = 'm'",
        "ix_access_event_at": "SELECT seq FROM access_event WHERE at < 1 ORDER BY at LIMIT 5",
        "ix_assertion_used_expires": "SELECT 1 FROM assertion_used WHERE expires < 1",
        "ix_form_error_at": "SELECT seq FROM form_error WHERE at < 1 ORDER BY at LIMIT 5",
        "ix_form_call_at": "SELECT seq FROM form_call WHERE at < 1 ORDER BY at LIMIT 5",
        "ix_form_result_at": "SELECT context FROM form_result WHERE at < 1 ORDER BY at LIMIT 5",
        "ix_pa_case_member_id": "SELECT id FROM pa_case WHERE member_id = 'm'",
        "ix_pa_case_state_due": "SELECT id FROM pa_case WHERE state = 'pended' ORDER BY due LIMIT 5",
        "ix_pa_case_received": "SELECT id FROM pa_case WHERE received >= 1 ORDER BY received",
        "ix_outbox_state_due_at": "SELECT id FROM outbox WHERE state = 'ready' AND due_at <= 1 ORDER BY due_at LIMIT 5",
        "ix_outbox_destination_case_id_seq": "SELECT min(seq) FROM outbox WHERE destination = 'd' AND case_id = 'c'",
        "ix_outbox_undone": "SELECT seq FROM outbox WHERE destination = 'd' AND case_id = 'c'"
        " AND kind = 'payer' AND state IN ('ready', 'leased', 'dead') ORDER BY seq LIMIT 1",
        "ix_outbox_unheard": "SELECT seq FROM outbox WHERE destination = 'd' AND kind = 'notification'"
        " AND state IN ('ready', 'leased') ORDER BY seq LIMIT 1",
        "ix_outbox_payer_due": "SELECT id FROM outbox WHERE state = 'ready' AND due_at <= 1 AND kind = 'payer'"
        " AND destination = 'd' ORDER BY due_at LIMIT 5",
        "ix_outbox_notice_due": "SELECT id FROM outbox WHERE state = 'ready' AND due_at <= 1"
        " AND kind = 'notification' ORDER BY due_at LIMIT 5",
        "ix_outbox_case_id": "SELECT id FROM outbox WHERE case_id = 'c'",
        "ix_subscription_sender": "SELECT id FROM subscription WHERE sender = 's'",
        "ix_subscription_status": "SELECT id FROM subscription WHERE status = 'active'",
        "ix_audit_event_at": "SELECT seq FROM audit_event WHERE at >= 1 ORDER BY at",
        "ix_audit_event_subject": "SELECT seq FROM audit_event WHERE subject = 's'",
        "ix_case_event_case_id": "SELECT seq FROM case_event WHERE case_id = 'c'",
        "ix_case_event_at": "SELECT seq FROM case_event WHERE at >= 1 ORDER BY at",
        "ix_review_session_until": "SELECT id_sha256 FROM review_session WHERE until < 1",
        "ix_pas_exchange_at": "SELECT seq FROM pas_exchange WHERE at >= 1 ORDER BY at",
    }
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    for index, question in questions.items():
        plan = " ".join(row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + question))
        assert index in plan
        assert "TEMP B-TREE" not in plan
    connection.close()
    named = {index.name for table in METADATA.tables.values() for index in table.indexes}
    assert named - questions.keys() == {"uq_feedback_once"}  # a rule, not a question


def test_migrating_again_changes_nothing(empty_url: str) -> None:
    assert [migrate(empty_url), migrate(empty_url)] == [HEAD, HEAD]
    store = SqlStore(empty_url)
    assert store.record(a_call()) is None
    store.close()


def test_fault_21_several_workers_that_start_at_once_migrate_once(empty_url: str) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(child("migrate_at_once", empty_url)) for _ in range(3)]
        assert [worker.line() for worker in workers] == ["ready"] * 3
        for worker in workers:
            worker.go()
        assert [worker.lines() for worker in workers] == [[HEAD, "None"]] * 3
    with connected(empty_url) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM invocation").scalar() == 3


def test_a_sqlite_file_is_migrated_by_one_process_at_a_time(tmp_path: Path) -> None:
    # Two processes that turn the same new file to WAL at once fail: so the lock is beside the file, not in it.
    path = tmp_path / "new.sqlite3"
    with ThreadPoolExecutor(1) as pool, (tmp_path / "new.sqlite3.migrating").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        migrating = pool.submit(migrate, f"sqlite:///{path}")
        with pytest.raises(TimeoutError):
            migrating.result(0.3)
        assert not path.exists()
        fcntl.flock(other, fcntl.LOCK_UN)
        assert migrating.result(30) == HEAD


def test_a_migration_that_fails_leaves_nothing_behind(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    create_index = alembic.op.create_index

    def fail(name: str, *arguments: Any, **settings: Any) -> None:
        if name == "ix_access_event_at":
            raise sa.exc.OperationalError("statement", {}, sqlite3.OperationalError("disk"))
        create_index(name, *arguments, **settings)

    monkeypatch.setattr(alembic.op, "create_index", fail)
    with pytest.raises(StoreUnavailable):
        migrate(empty_url)
    with connected(empty_url) as connection:
        assert sa.inspect(connection).get_table_names() == []
    monkeypatch.undo()
    assert migrate(empty_url) == HEAD


def test_a_store_of_the_release_before_is_brought_on_with_what_it_holds(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "HEAD", "0001")
    monkeypatch.setattr(alembic.command, "upgrade", partial(_upgrade_to, alembic.command.upgrade, "0001"))
    assert migrate(empty_url) == "0001"
    monkeypatch.undo()
    with connected(empty_url) as connection, connection.begin():
        columns = "id, client, service, hook, hook_instance, received, request_digest, policy_digest, patient_key"
        values = "'i', 'epic-test', 's', 'h', 'instance', 1, 'd', 'p', 'k'"
        kept = f"INSERT INTO invocation ({columns}, status, outcome, response) VALUES ({values}, 200, 'full', :kept)"
        connection.execute(sa.text(kept), {"kept": b"kept"})
    assert migrate(empty_url) == HEAD
    store = SqlStore(empty_url)
    assert [found.response for found in store.recall("epic-test", None, "instance", "d")] == [b"kept"]
    assert store.record(a_call(prefetched=("patient",))) is None
    assert store.prefetch_seen("epic-test", datetime(1970, 1, 1, tzinfo=UTC)) == PrefetchSeen(1, {"patient": 1})
    store.close()


def _upgrade_to(upgrade: Callable[..., None], revision: str, configuration: Config, newest: str) -> None:
    assert newest == "head"
    upgrade(configuration, revision)


def test_a_folder_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        migrate(f"sqlite:///{tmp_path}/none/store.sqlite3")
    assert caught.value.reason == "unreachable"


def test_sqlite_is_in_wal_mode_so_that_readers_do_not_wait(sqlite_url: str) -> None:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_what_is_purged_is_overwritten_in_the_file(sqlite_url: str) -> None:
    store = SqlStore(sqlite_url)
    call = a_call(determinations=(("d", b"canary-of-a-patient " * 500),), response=b"canary-of-a-patient")
    store.record(call)
    assert store.erase("invocation", call.received.replace(year=2027), 10) == 1
    store.close()
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    assert not path.with_name(path.name + "-wal").exists(), "the last connection has moved the log into the file"
    assert b"canary" not in path.read_bytes()

"""The store when its disk or its server fails: a bounded wait, safe words, and no restart afterwards."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cds_service.adapters.sql import postgres
from cds_service.adapters.sql.migrate import migrate
from cds_service.adapters.sql.store import SqlStore
from cds_service.errors import ConfigurationError, StoreUnavailable
from tests.support.child import child
from tests.support.postgres import PostgresServer
from tests.support.stores import NOON, a_call, an_authorization, overridden

Open = Callable[..., SqlStore]


@contextmanager
def unavailable(*reasons: str) -> Iterator[None]:
    """The block is refused for one of these reasons, in words that tell nothing about data or statements."""
    with pytest.raises(StoreUnavailable) as caught:
        yield
    assert caught.value.reason in reasons
    assert caught.value.diagnostics.startswith(("the record of what was said", "the connection to the record"))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def every_method(store: SqlStore) -> list[Callable[[], Any]]:
    call = a_call()
    return [
        store.ping,
        lambda: store.recall(call.client, call.jti, call.hook_instance, call.request_digest),
        lambda: store.record(call),
        lambda: store.authorizations("M-1"),
        lambda: store.put_authorizations([(an_authorization(), "raw")], NOON),
        lambda: store.acknowledged(["ack"], NOON),
        lambda: store.save_feedback("epic-test", "s", [overridden("card")], NOON),
        lambda: store.feedback_report(NOON),
        lambda: store.determination("d"),
        lambda: store.prefetch_seen("epic-test", NOON),
        lambda: store.note_access("reader", "read", "d", NOON),
        lambda: store.erase("invocation", NOON, 1),
    ]


def path_of(sqlite_url: str) -> str:
    return sqlite_url.removeprefix("sqlite:///")


# ---- F18: disk full, read-only, damaged ----


def test_fault_18_disk_full_refuses_keeps_and_recovers(sqlite_url: str) -> None:
    with child("run_out_of_room", sqlite_url, path_of(sqlite_url)) as process:
        refused, readable, kept = process.lines()
    assert refused == "refused full"
    assert readable == "readable 2"
    _, count, _, found = kept.split()
    assert count == found, "each call that was acknowledged is there, and the one after room was made"
    assert int(count) > 1


def test_fault_18_sqlite_full_in_a_longer_transaction_hides_nothing(sqlite_url: str, open_store: Open) -> None:
    store = open_store(sqlite_url, pool_size=1)
    entries = [(an_authorization(number=f"PA-{index}"), "r" * 2000) for index in range(500)]
    with store._database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 5}")
    with unavailable("full"):
        store.put_authorizations(entries, NOON)
    assert not store.authorizations("M-1"), "all or none"
    # The connection that failed is gone, and with it the artificial limit.
    assert list(store.put_authorizations(entries, NOON)) == ["added"] * 500


def test_fault_18_a_read_only_file_is_said_to_be_one() -> None:
    # Below the system's own directory for temporary files, where another user may go.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        url = f"sqlite:///{directory}/store.sqlite3"
        migrate(url)
        with sqlite3.connect(directory / "store.sqlite3") as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        connection.close()
        for entry in directory.iterdir():
            entry.chmod(0o444)
        directory.chmod(0o555)
        with child("write_where_only_reading_is_allowed", url) as process:
            assert process.lines() == ["refused read_only"]
        directory.chmod(0o755)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "unreachable"),  # no file: it is never created by accident
        (b"this is no database " * 100, "corrupt"),
        (b"", "schema"),  # a database without tables
    ],
)
def test_fault_29_what_is_no_store_of_ours_is_refused_by_every_method(
    tmp_path: Path, open_store: Open, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "other.sqlite3"
    if content is not None:
        path.write_bytes(content)
    for method in every_method(open_store(f"sqlite:///{path}")):
        with unavailable(reason):
            method()
    assert path.exists() == (content is not None)


def test_fault_26_an_older_schema_is_not_ready_and_a_newer_one_is(url: str, open_store: Open) -> None:
    store = open_store(url)

    def pretend(revision: str) -> None:
        store._database.session(
            lambda session: session.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
        )

    store.ping()
    pretend("0000")
    with unavailable("schema"):
        store.ping()
    pretend("9999")  # a roll-out has begun: old workers go on beside new ones
    store.ping()
    assert migrate(url) == "9999"
    assert store.record(a_call()) is None


# ---- F19: locked by another process ----


def test_fault_19_a_lock_held_for_long_is_waited_for_briefly(sqlite_url: str, open_store: Open) -> None:
    store = open_store(sqlite_url, busy_seconds=0.3)
    call = a_call()
    store.record(call)
    with child("hold_lock", path_of(sqlite_url)) as holder:
        assert holder.line() == "locked"
        for write in (
            lambda: store.record(a_call()),
            lambda: store.save_feedback("epic-test", "s", [overridden("card")], NOON),
        ):
            with unavailable("locked"):
                write()
        assert len(store.recall(call.client, call.jti, call.hook_instance, call.request_digest)) == 2
        store.ping()
        holder.go()
        assert holder.line() == "released"
        assert store.record(a_call()) is None


def test_fault_19_a_short_lock_is_waited_out(sqlite_url: str, open_store: Open) -> None:
    store = open_store(sqlite_url, busy_seconds=10)
    with child("hold_lock", path_of(sqlite_url)) as holder:
        assert holder.line() == "locked"
        holder.go()
        assert store.record(a_call()) is None


@pytest.mark.postgres
def test_fault_19_a_postgres_lock_is_waited_for_briefly(
    postgres_url: str, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_ANSWER_MARGIN", 60)  # it is the server that gives up
    store = open_store(postgres_url, busy_seconds=0.3)
    with psycopg.connect(postgres_url) as holder:
        holder.execute("LOCK TABLE invocation IN EXCLUSIVE MODE")
        with unavailable("locked"):
            store.record(a_call())
        assert not store.recall("epic-test", "jti", "", "")
    assert store.record(a_call()) is None


def test_fault_20_when_every_connection_is_lent_the_wait_is_bounded(url: str, open_store: Open) -> None:
    store = open_store(url, pool_size=1, busy_seconds=0.3)
    assert store._database.engine.pool.timeout() == 0.3
    lent = [store._database.engine.raw_connection() for _ in range(2)]
    with unavailable("locked"):
        store.ping()
    for connection in lent:
        connection.close()
    store.ping()


# ---- F20, F21: PostgreSQL ----


@pytest.mark.postgres
def test_fault_20_postgres_stopped_and_started_needs_no_restart_of_ours(
    postgres_server: PostgresServer, postgres_url: str, open_store: Open
) -> None:
    store = open_store(postgres_url)
    before, after = a_call(), a_call()
    store.record(before)
    postgres_server.stop()
    try:
        for method in every_method(store):
            with unavailable("unreachable"):
                method()
    finally:
        postgres_server.start()
    assert len(store.recall(before.client, before.jti, "", "")) == 1
    assert store.record(after) is None


@pytest.mark.postgres
def test_fault_20_connections_that_the_server_ended_are_not_noticed_by_callers(
    postgres_url: str, open_store: Open
) -> None:
    store = open_store(postgres_url)
    for method in every_method(store):
        method()
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        method()


@pytest.mark.postgres
@pytest.mark.parametrize("jti", ["jti-1", None])
def test_fault_20_a_commit_whose_answer_was_lost_is_not_repeated(
    postgres_url: str, open_store: Open, jti: str | None
) -> None:
    store = open_store(postgres_url)
    call = a_call(jti=jti)
    lend = store._database._lend
    attempts = []

    def commit_then_lose(work: Callable[[Any], Any]) -> Any:
        attempts.append(lend(work))
        if len(attempts) == 1:
            raise psycopg.OperationalError("the connection was lost after the commit")
        return attempts[-1]

    store._database._lend = commit_then_lose  # type: ignore[method-assign]
    assert store.record(call) is None
    assert len(attempts) == 2
    assert len(store.recall(call.client, None, call.hook_instance, call.request_digest)) == 1


@pytest.mark.postgres
def test_fault_20_a_server_that_hangs_holds_nobody(
    postgres_server: PostgresServer, postgres_url: str, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres.BoundedConnection, "longest_wait", 3600.0)  # the bound of these calls alone ends them
    store = open_store(postgres_url, busy_seconds=0.3)
    call = a_call()
    store.record(call)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        backend = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'cds-service' AND datname = current_database()"
        ).fetchone()
    assert backend is not None
    os.kill(backend[0], signal.SIGSTOP)  # a process of the server that this test started
    try:
        with unavailable("unreachable", "locked"):
            store.record(a_call())
    finally:
        os.kill(backend[0], signal.SIGCONT)
    assert len(store.recall(call.client, call.jti, "", "")) == 1


@pytest.mark.postgres
def test_fault_21_postgres_down_at_boot_is_forgiven_when_it_is_up(
    postgres_server: PostgresServer, postgres_url: str, open_store: Open
) -> None:
    postgres_server.stop()
    try:
        store = open_store(postgres_url)  # starting does not fail
        with unavailable("unreachable"):
            store.ping()
        with pytest.raises(StoreUnavailable):
            migrate(postgres_url)
    finally:
        postgres_server.start()
    store.ping()
    assert store.record(a_call()) is None


@pytest.mark.postgres
def test_fault_20_a_role_that_may_only_read_is_said_to_be_one(postgres_url: str, open_store: Open) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        database = admin.info.dbname
        admin.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
    store = open_store(postgres_url)
    store.ping()
    with unavailable("read_only"):
        store.record(a_call())


@pytest.mark.postgres
def test_bad_input_48_what_postgres_cannot_hold_is_refused_in_safe_words(postgres_url: str, open_store: Open) -> None:
    store = open_store(postgres_url)
    for text in ("nul \x00", "surrogate \ud800"):
        with unavailable("other"):
            store.record(a_call(service=text))
    assert store.record(a_call()) is None


# ---- what the words and the address may be ----


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/name", "sqlite://", "sqlite:///:memory:", "postgresql+nodriver://h/n"]
)
def test_an_address_of_no_supported_database_is_a_configuration_error(url: str) -> None:
    if url.startswith("postgresql"):
        SqlStore(url).close()  # the driver is ours to choose
        return
    with pytest.raises(ConfigurationError, match="allowed: sqlite:///PATH, postgresql://"):
        SqlStore(url)


def test_a_password_in_the_address_is_in_no_error(open_store: Open) -> None:
    store = open_store("postgresql://cds:geheim@127.0.0.1:1/none", busy_seconds=0.3)
    with unavailable("unreachable"):
        store.ping()
    assert "geheim" not in repr(store._database.url)


def test_bad_input_119_the_log_names_the_cause_and_nothing_of_the_data(
    url: str, open_store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(url)
    store._database.session(lambda session: session.exec_driver_sql("DROP TABLE feedback"))
    with unavailable("schema"):
        store.save_feedback("canary-client", "s", [overridden("canary-card", comment="canary-comment")], NOON)
    assert "canary" not in caplog.text
    assert "INSERT" not in caplog.text
    assert "store: schema (" in caplog.text
    assert ("SQLITE_ERROR" if url.startswith("sqlite") else "42P01") in caplog.text


def test_settings_of_the_file_survive_durable_transactions(sqlite_url: str, open_store: Open) -> None:
    store = open_store(sqlite_url, pool_size=1)

    def synchronous() -> int:
        with store._database.engine.connect() as connection:
            return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    assert synchronous() == 1  # NORMAL: survives kill -9
    seen = store._database.session(
        lambda session: session.exec_driver_sql("PRAGMA synchronous").scalar_one(), durable=True
    )
    assert seen == 2  # FULL: survives a power loss
    assert synchronous() == 1

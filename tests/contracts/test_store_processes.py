"""Several processes on one store, and processes that die: real ones."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from cds_service.adapters.sql.store import SqlStore
from tests.support.child import child
from tests.support.postgres import PostgresServer
from tests.support.stores import a_call


def test_bad_input_34_two_workers_race_for_one_jti_and_one_answer_stands(url: str) -> None:
    with ExitStack() as stack:
        racers = [stack.enter_context(child("race", url)) for _ in range(3)]
        assert [racer.line() for racer in racers] == ["ready"] * 3
        for round_ in range(40):
            for racer in racers:
                racer.go(f"jti-{round_}")
            said = [racer.line().split(" ", 1) for racer in racers]
            assert sorted(word for word, _ in said) == ["earlier", "earlier", "kept"]
            assert len({answer for _, answer in said}) == 1, "all three send the same bytes"


def test_bad_input_36_a_replay_after_restart_is_known(url: str, open_store: Callable[..., SqlStore]) -> None:
    call = a_call()
    before = open_store(url)
    before.record(call)
    before.close()
    after = open_store(url)
    assert after.recall(call.client, call.jti, "", "")[0].response == call.response
    earlier = after.record(a_call(jti=call.jti))
    assert earlier is not None
    assert earlier.response == call.response


def test_fault_25_kill_9_while_writing_loses_no_acknowledged_call(
    url: str, open_store: Callable[..., SqlStore]
) -> None:
    acknowledged: list[str] = []
    for lines in (5, 15):
        with child("write_for_ever", url) as one, child("write_for_ever", url) as two:
            acknowledged += [writer.line() for writer in (one, two) for _ in range(lines)]  # both are in full swing
            for writer in (one, two):
                writer.process.kill()
            acknowledged += [line for writer in (one, two) for line in writer.lines() if line.count(" ") == 1]
    assert all(acknowledged), "no writer ended by itself"
    store = open_store(url)
    for line in acknowledged:
        jti, ident = line.split()
        assert len(store.recall("epic-test", jti, "", "")) == 1
        assert store.determination(ident) == b"d" * 5000
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    assert store.record(a_call()) is None


@pytest.mark.postgres
def test_fault_20_a_server_killed_while_two_write_loses_no_acknowledged_call(
    postgres_server: PostgresServer, postgres_url: str, open_store: Callable[..., SqlStore]
) -> None:
    with child("write_for_ever", postgres_url) as one, child("write_for_ever", postgres_url) as two:
        acknowledged = [writer.line() for writer in (one, two) for _ in range(10)]  # both are in full swing
        postgres_server.kill()
        try:
            # The writers end with StoreUnavailable, not with silence.
            assert one.process.wait(60) != 0
            assert two.process.wait(60) != 0
            acknowledged += one.lines() + two.lines()
        finally:
            postgres_server.start()
    store = open_store(postgres_url)
    for line in acknowledged:
        assert len(store.recall("epic-test", line.split()[0], "", "")) == 1
    assert all(acknowledged), "no writer ended before its server"


def test_a_forked_worker_opens_connections_of_its_own(url: str, open_store: Callable[..., SqlStore]) -> None:
    store = open_store(url)
    store.ping()
    inherited = store._database.engine
    mine, its = a_call(), a_call()
    pid = os.fork()
    if pid == 0:  # the child: nothing of pytest may run in it
        status = 1
        try:
            store.record(its)
            status = 0 if store._database.engine is not inherited else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.record(mine)
    for call in (mine, its):
        assert store.recall(call.client, call.jti, "", "")[0].response == call.response
    assert store._database.engine is inherited

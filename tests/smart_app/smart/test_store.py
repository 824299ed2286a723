"""The app's memory on SQLite and on PostgreSQL: what must happen once happens once (SM-16, SM-25, SM-43)."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from cds_service.errors import ConfigurationError
from smart_app.adapters.database import (
    NEWEST,
    PAYER_WORD,
    SUBMISSION_NAME,
    SUBMISSION_TURN,
    engine_of,
    parse_url,
    upgrade,
    version_of,
)
from smart_app.adapters.sealing import Sealer
from smart_app.adapters.store import AppStore, LaunchRow, digest
from smart_app.adapters.submissions import Exchange, Submission, Submissions
from smart_app.errors import FormChanged

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEALER = Sealer({b"abcd": b"k" * 32}, secrets.token_bytes)
AT_ONCE = 8


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'app.sqlite3'}"
    return request.getfixturevalue("postgres_server").create()


@pytest.fixture
def stores(url: str) -> Iterator[list[AppStore]]:
    """Two over one database, as two processes have."""
    upgrade(url)
    made = [AppStore(url, SEALER, lambda: NOON) for _ in range(2)]
    yield made
    for each in made:
        each.close()


def row(ident: str = "launch-1", **changes: object) -> LaunchRow:
    usual = {
        "id": ident,
        "secret_hash": digest("secret"),
        "ehr": "ehr",
        "opened": NOON,
        "seen": NOON,
        "ended": None,
        "end_reason": "",
        "context": b"context",
        "tokens": b"tokens",
        "token_version": 1,
        "refresh_until": None,
    }
    return LaunchRow(**usual | changes)


def all_at_once(stores: list[AppStore], work) -> list:
    start = threading.Barrier(AT_ONCE)

    def one(number: int):
        start.wait()
        return work(stores[number % len(stores)])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def test_SM16_an_attempt_is_taken_by_exactly_one(stores):
    stores[0].begin_attempt("state", "binding", "ehr", b"content", NOON + timedelta(minutes=10))
    found = all_at_once(stores, lambda store: store.take_attempt("state", "binding", NOON))
    assert sorted(found, key=str) == [*[None] * (AT_ONCE - 1), b"content"] or found.count(b"content") == 1
    assert found.count(b"content") == 1


def test_SM16_another_browsers_attempt_stays(stores):
    stores[0].begin_attempt("state", "binding", "ehr", b"content", NOON + timedelta(minutes=10))
    assert stores[1].take_attempt("state", "other", NOON) is None
    assert stores[1].take_attempt("state", "binding", NOON + timedelta(minutes=10)) is None
    assert stores[1].take_attempt("state", "binding", NOON) == b"content"


def test_SM43_a_refresh_is_taken_by_exactly_one(stores):
    stores[0].open_launch(row(), ("a",))
    found = all_at_once(stores, lambda store: store.take_refresh("launch-1", 1, NOON))
    assert found.count(True) == 1
    assert stores[1].replace_tokens("launch-1", 1, b"new")
    assert not stores[0].replace_tokens("launch-1", 1, b"older")
    found = stores[0].launch("launch-1")
    assert (found.tokens, found.token_version, found.refresh_until) == (b"new", 2, None)


def test_SM45_a_launch_is_ended_by_exactly_one_and_loses_its_tokens(stores):
    stores[0].open_launch(row(), ("a",))
    assert all_at_once(stores, lambda store: store.end_launch("launch-1", "idle", NOON)).count(True) == 1
    found = stores[1].launch("launch-1")
    assert (found.tokens, found.ended, found.end_reason) == (None, NOON, "idle")
    assert not stores[0].replace_tokens("launch-1", 1, b"new")
    assert not stores[0].take_refresh("launch-1", 1, NOON)


def test_of_many_who_keep_a_form_at_once_one_does(stores):
    stores[0].open_launch(row(), ("a",))

    def keep(store: AppStore) -> str:
        try:
            store.keep_form("launch-1", "answers", b"x", 0)
        except FormChanged:
            return "changed"
        return "kept"

    assert all_at_once(stores, keep).count("kept") == 1


def test_a_launch_comes_back_as_it_was(stores):
    stores[0].open_launch(row(), ("a",))
    stores[0].saw_launch("launch-1", NOON + timedelta(seconds=90))
    stores[0].saw_launch("launch-1", NOON + timedelta(seconds=30))  # never back
    assert stores[1].launch("launch-1") == row(seen=NOON + timedelta(seconds=90))
    assert stores[1].launch("launch-2") is None


def test_left_forms_are_those_of_the_same_person_and_patient(stores):
    for ident, about in (("l1", ("e", "p", "u")), ("l2", ("e", "p", "u")), ("l3", ("e", "q", "u"))):
        stores[0].open_launch(row(ident), about)
    stores[0].keep_form("l1", "a", b"1", 0)
    stores[0].keep_form("l3", "a", b"3", 0)
    stores[0].end_launch("l1", "idle", NOON)
    assert [each.blob for each in stores[1].left_forms("l2")] == [b"1"]
    assert stores[1].left_forms("l1") == ()


def test_purge_forgets_what_is_over_and_nothing_else(stores):
    store = stores[0]
    store.begin_attempt("old", "b", "ehr", b"", NOON - timedelta(seconds=1))
    store.begin_attempt("new", "b", "ehr", b"", NOON + timedelta(seconds=1))
    for ident in ("open", "ended", "long ended"):
        store.open_launch(row(ident), ("a",))
        store.keep_form(ident, "a", b"x", 0)
    store.end_launch("ended", "idle", NOON)
    store.end_launch("long ended", "idle", NOON - timedelta(days=31))
    assert store.purge(NOON, NOON - timedelta(days=30)) == (1, 1)
    assert store.form("long ended", "a") is None
    assert store.form("ended", "a") is not None
    assert store.launch("open") is not None
    assert store.purge(NOON, NOON - timedelta(days=30)) == (0, 0)


def test_idle_launches(stores):
    stores[0].open_launch(row("idle", seen=NOON - timedelta(minutes=16)), ("a",))
    stores[0].open_launch(row("long", opened=NOON - timedelta(hours=13)), ("a",))
    stores[0].open_launch(row("used"), ("a",))
    found = stores[1].idle_launches(NOON - timedelta(minutes=15), NOON - timedelta(hours=12), 10)
    assert set(found) == {"idle", "long"}
    assert len(stores[1].idle_launches(NOON - timedelta(minutes=15), NOON - timedelta(hours=12), 1)) == 1


def test_SM25_nothing_readable_is_stored(stores, url):
    stores[0].open_launch(row(context=b"canary-context", tokens=b"canary-token"), ("canary-patient",))
    stores[0].keep_form("launch-1", "answers", b"canary-answer", 0)
    stores[0].begin_attempt("canary-state", "canary-binding", "ehr", b"canary-content", NOON)
    engine = engine_of(url)
    with engine.connect() as connection:
        for table in ("launch", "form", "attempt"):
            assert "canary" not in str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
    engine.dispose()


def test_the_schema_is_made_once_by_many(url):
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(upgrade, [url] * 4)) == {NEWEST}
    engine = engine_of(url)
    with engine.connect() as connection:
        assert version_of(connection) == NEWEST
        assert connection.exec_driver_sql("SELECT count(*) FROM app_schema").scalar() == 1
    engine.dispose()


def test_a_database_without_tables_is_not_ready(url):
    store = AppStore(url, SEALER, lambda: NOON)
    assert not store.ready()
    upgrade(url)
    assert store.ready()
    store.close()


@pytest.mark.parametrize("url", ["", "x", "sqlite://", "sqlite:///:memory:", "mysql://h/d", "canary://secret"])
def test_other_databases_are_refused_without_an_echo(url):
    with pytest.raises(ConfigurationError) as caught:
        parse_url(url)
    assert "canary" not in str(caught.value)
    assert isinstance(parse_url("postgresql://u@h/d"), sa.URL)


def submission(ident: str = "s-1", **changes: object) -> Submission:
    exchange = Exchange(kind="submit", at=NOON, request=b"{}")
    usual = {"id": ident, "ehr": "ehr", "payer": "plan", "patient": "p-1", "orders": (), "words": (), "coverage": ""}
    return Submission(**(usual | {"by": "", "exchanges": (exchange,)} | changes))


@pytest.fixture
def kept(url: str) -> Iterator[Submissions]:
    upgrade(url)
    engine = engine_of(url)
    yield Submissions(engine, SEALER, lambda: NOON)
    engine.dispose()


def test_a_turn_to_send_is_taken_by_exactly_one(kept):
    def take(number: int) -> bool:
        try:
            kept.take_turn("ehr", "p-1", 0, f"s-{number}")
        except FormChanged:
            return False
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert sum(pool.map(take, range(AT_ONCE))) == 1
    assert (kept.turn("ehr", "p-1"), kept.turn("ehr", "p-2")) == (1, 0)
    kept.take_turn("ehr", "p-1", 1, "s-later")


def test_a_name_of_ours_counts_more_than_one_of_the_payers_and_one_that_means_two_means_none(kept):
    for ident in ("s-1", "s-2"):
        kept.keep(submission(ident), ident, 0)
        kept.name(submission(ident), [f"claim of {ident}"], ours=True)
        kept.name(submission(ident), ["case", f"number of {ident}"], ours=False)
    kept.name(submission("s-1"), ["claim of s-2"], ours=False)  # an answer about the one names the other too

    def meant(*names: str, payer: str = "plan") -> str:
        found = kept.of_names(payer, names)
        return found.submission.id if found else ""

    assert meant("claim of s-2", "case") == "s-2"
    assert meant("case") == ""
    assert meant("number of s-1") == "s-1"
    assert meant("number of s-1", payer="another") == meant() == ""


def test_how_far_a_payer_was_heard_never_goes_back(kept):
    kept.hear("plan", "clinic", 4, missed=False)
    kept.hear("plan", "clinic", 2, missed=True)
    assert (kept.heard("plan", "clinic"), kept.missed("plan")) == (4, None)
    kept.hear("plan", "clinic", 4, missed=True)
    assert kept.missed("plan") == NOON
    assert kept.heard("plan", "another") == 0


def test_requests_of_an_earlier_version_are_still_found_by_their_claims(kept, url):
    kept.keep(submission(), "claim-1", 0)
    engine = engine_of(url)
    with engine.connect() as connection:
        for table in (SUBMISSION_NAME, SUBMISSION_TURN, PAYER_WORD):
            table.drop(connection)
        connection.exec_driver_sql("UPDATE app_schema SET version = 2")
    engine.dispose()
    assert kept.one("s-1") is not None
    assert upgrade(url) == NEWEST
    assert kept.of_names("plan", ["claim-1"]) == kept.one("s-1")

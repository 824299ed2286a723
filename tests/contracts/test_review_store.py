"""The review desk's store on both databases: sessions, proposals, names, the queue, the logs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from cds_service.adapters.sql.cases import SqlCaseStore
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.review_sessions import SqlSessions
from cds_service.adapters.sql.reviews import SqlReviews
from cds_service.domain.prior_auth import AuditEntry, Case, CaseEvent, CaseState, CaseSummary, Number, Version
from cds_service.domain.review import Person, Role
from cds_service.prior_auth_ports import CaseChange
from cds_service.review_ports import Proposal, QueueQuery, SessionRecord

NOW = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url, pool_size=8, busy_seconds=5)
    yield made
    made.close()


def record(name: str, **changes: object) -> SessionRecord:
    usual = SessionRecord(
        id_sha256=name,
        kind="session",
        data={"id": "u", "name": "Zoë \U0001f642"},
        created=NOW,
        seen=NOW,
        until=NOW + HOUR,
    )
    return msgspec.structs.replace(usual, **changes)


def case(ident: str, **changes: object) -> Case:
    usual = Case(
        id=ident, tracking_number=f"T-{ident}", sender="s", provider_organization="o",
        ordering_npi="1", rendering_npi="1",
        member_id="m", patient_key="k", program="standard", benefit="medical", expedited=False, has_drug=True,
        request_type="trial", state=CaseState.PENDED,
        summary=CaseSummary(patient_name="P", birth_date="", requester="R", lines=()),
        received=NOW, due=NOW + HOUR, decided=None, version=1,
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


def put(database: Database, held: Case, *events: CaseEvent, numbers: tuple[Number, ...] = ()) -> None:
    version = Version(
        case_id=held.id, n=1, kind="submit", at=NOW, request=b"{}", request_sha256="", response=b"{}",
        response_sha256="",
        policy_id="p", policy_version="v", policy_digest="d", trace=b"{}", actor="s", human=False,
    )  # fmt: skip
    audit = (AuditEntry(NOW, "s", "client", "submit", f"case/{held.id}", {"n": 1, "x": None, "y": True}),)
    change = CaseChange(case=held, expected=0, version=version, numbers=numbers, audit=audit, events=events)
    assert SqlCaseStore(database).commit(change).state == "done"


def test_a_session_comes_back_as_it_was_and_goes_once(database: Database) -> None:
    sessions = SqlSessions(database)
    sessions.put(record("a"))
    assert sessions.get("a") == record("a")
    sessions.touch("a", NOW + HOUR)
    assert sessions.get("a") == record("a", seen=NOW + HOUR)
    assert sessions.take("a") == record("a", seen=NOW + HOUR)
    assert sessions.take("a") is None
    assert sessions.get("a") is None
    sessions.touch("a", NOW)


def test_what_ended_long_ago_is_removed_with_the_next_one(database: Database) -> None:
    sessions = SqlSessions(database)
    sessions.put(record("old", until=NOW - 2 * HOUR))
    sessions.put(record("ended", until=NOW - HOUR / 2))
    sessions.put(record("new"))
    assert sessions.get("old") is None
    assert sessions.get("ended") is not None


def test_of_many_that_take_a_sign_in_one_gets_it(database: Database) -> None:
    sessions = SqlSessions(database)
    sessions.put(record("a", kind="sign_in"))
    gate, got = threading.Barrier(6), []

    def take() -> None:
        gate.wait(20)
        got.append(sessions.take("a"))

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len([each for each in got if each is not None]) == 1


def test_a_proposal_replaces_an_earlier_one_and_is_withdrawn(database: Database) -> None:
    reads = SqlReviews(database)
    author = Person("u-1", "Ada", Role.PHYSICIAN, "1999999919")
    first = Proposal(case_id="c", version_seen=1, form={"action-1": "A3"}, author=author, at=NOW)
    second = msgspec.structs.replace(first, form={"action-1": "A6"}, at=NOW + HOUR)
    reads.propose(first)
    reads.propose(second)
    assert reads.proposal("c") == second
    reads.withdraw("c")
    reads.withdraw("c")
    assert reads.proposal("c") is None


def test_the_newest_name_of_a_person_is_remembered(database: Database) -> None:
    reads = SqlReviews(database)
    reads.remember(Person("u-1", "Ada Old", Role.NURSE), NOW)
    reads.remember(Person("u-1", "Ada New", Role.NURSE), NOW + HOUR)
    assert reads.names() == {"u-1": "Ada New"}


def test_the_queue_is_in_order_of_due_time_and_filtered(database: Database) -> None:
    put(database, case("late", due=NOW + 3 * HOUR))
    put(database, case("soon", due=NOW + HOUR, expedited=True), numbers=(Number("R-1", "reference", 1),))
    put(database, case("never", due=None, assigned_to="u-1"))
    put(database, case("other", program="sao", due=NOW + 2 * HOUR))
    put(database, case("done", state=CaseState.DECIDED, decided=NOW))
    reads = SqlReviews(database)

    def listed(**changes: object) -> list[str]:
        return [each.id for each in reads.queue(msgspec.structs.replace(QueueQuery(), **changes))]

    assert listed() == ["soon", "other", "late", "never"], "what has no due time comes last on both databases"
    assert listed(most=2) == ["soon", "other"]
    assert listed(program="sao") == ["other"]
    assert listed(expedited=True) == ["soon"]
    assert listed(assigned="u-1") == ["never"]
    assert listed(assigned="-") == ["soon", "other", "late"]
    assert listed(state="decided") == ["done"]
    assert listed(state="", number="R-1") == ["soon"]
    assert listed(state="", number="T-done") == ["done"]
    assert listed(number="' OR 1=1 --") == []
    assert reads.counts() == {"pended": 4, "decided": 1}


def test_events_come_as_whole_cases_in_order(database: Database) -> None:
    early, late = NOW - timedelta(days=90), NOW
    put(database, case("a"), CaseEvent(early, "received", "s", {"expedited": False}), CaseEvent(late, "decided", "u"))
    put(database, case("b"), CaseEvent(early, "received", "s"))
    put(database, case("c"), CaseEvent(late, "received", "s", {"lines": 2}))
    reads = SqlReviews(database)
    found = reads.events(NOW - HOUR, NOW + HOUR)
    assert [(each.case_id, each.kind) for each in found] == [("a", "received"), ("a", "decided"), ("c", "received")]
    assert found[0].detail == {"expedited": False}
    assert [each.at for each in reads.events_of("a")] == [early, late]


def test_the_audit_log_is_read_newest_first_and_by_record(database: Database) -> None:
    put(database, case("a"))
    SqlCaseStore(database).note([AuditEntry(NOW + HOUR, "u-1", "nurse", "view", "case/a")])
    reads = SqlReviews(database)
    assert [each.action for each in reads.audit(None, 10)] == ["view", "submit"]
    assert [each.action for each in reads.audit(NOW + HOUR, 10)] == ["submit"]
    assert [each.action for each in reads.audit(None, 1)] == ["view"]
    assert [each.actor for each in reads.audit(None, 10, actor="u-1")] == ["u-1"]
    assert [each.action for each in reads.audit(None, 10, action="submit")] == ["submit"]
    assert [each.action for each in reads.audit_of("case/a")] == ["submit", "view"]
    assert reads.audit_of("case/a")[0].detail == {"n": 1, "x": None, "y": True}

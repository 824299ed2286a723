"""Cases, audit chains and event numbers on both databases: together or not at all, and once (rows 114, 120, F23)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import msgspec
import pytest
import sqlalchemy as sa

from cds_service.adapters.sql import audit
from cds_service.adapters.sql import cases as sql_cases
from cds_service.domain.prior_auth import (
    AuditEntry,
    Authorized,
    CaseState,
    HumanDecision,
    LineDecision,
    ReviewAction,
    Reviewer,
)
from cds_service.errors import Conflict, StoreUnavailable
from cds_service.prior_auth_ports import SubscriptionRecord
from tests.support.pas_bundles import COMPLETE, request
from tests.support.pas_parts import Desk, desk

MISSING = {key: value for key, value in COMPLETE.items() if key != "noninvasive_trial_weeks"}
REVIEWER = Reviewer("dr-1", "Dr. Ben Stone", "physician")


@pytest.fixture
def open_desk(url: str) -> Iterator[Desk]:
    with desk(url) as opened:
        yield opened


def approval(case_id: str, seen: int = 1) -> HumanDecision:
    span = Authorized(date(2026, 3, 2), date(2026, 4, 1))
    line = LineDecision(sequence=1, action=ReviewAction.APPROVED, authorized=span)
    return HumanDecision(case_id=case_id, version_seen=seen, reviewer=REVIEWER, items=(line,))


def test_P018_what_was_written_is_read_back(open_desk: Desk) -> None:
    said = open_desk.submit(request(values=MISSING))
    case = open_desk.cases.case(said.case_id)
    version = open_desk.cases.version(said.case_id, 1)
    assert case is not None
    assert version is not None
    assert (case.state, case.version, case.sender) == (CaseState.PENDED, 1, "clinic-app")
    assert version.response == said.body
    assert case.summary.lines[0].daily == {"morphine": "5"}
    assert open_desk.cases.cases_of_member("M0000001") == [case]
    assert open_desk.cases.cases_of_number(case.tracking_number) == [case]
    assert [each.state for each in open_desk.cases.cases_of_number(case.summary.lines[0].reference)] == [case.state]


def test_bad_input_114_twenty_processes_with_one_bundle_write_once(url: str) -> None:
    desks = [Desk(url) for _ in range(4)]
    body = request()
    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(lambda number: desks[number % 4].submit(body), range(20)))
    assert len({each.body for each in said}) == 1
    tables = ("pa_case", "pa_version", "pa_submission", "outbox")
    assert [desks[0].count(table) for table in tables] == [1, 1, 1, 1]
    for each in desks:
        each.close()


def test_P092_other_requests_of_a_member_at_once_are_seen(url: str) -> None:
    desks = [Desk(url) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda number: desks[number % 3].submit(request(identifier=f"B-{number}")), range(6)))
    assert sorted(each.outcome for each in said) == ["decided", *["pended"] * 5]
    for each in desks:
        each.close()


def test_fault_F23_two_decisions_at_once_have_one_winner(url: str) -> None:
    desks = [Desk(url) for _ in range(2)]
    for round_ in range(1, 6):
        case_id = desks[0].submit(request(number=round_, values=MISSING)).case_id

        def decide(each: Desk, case_id: str = case_id) -> bool:
            try:
                each.settle(approval(case_id))
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(decide, desks)) == [False, True]
        assert [version.n for version in desks[0].cases.versions(case_id)] == [1, 2]
    assert audit.verify(desks[0].database).ok
    for each in desks:
        each.close()


@pytest.mark.parametrize("round_", [1, 2, 3, 4])
def test_fault_F17_what_fails_on_the_way_leaves_nothing(
    round_: int, open_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_id = open_desk.submit(request(number=2, values=MISSING)).case_id
    tables = ("pa_case", "pa_version", "pa_submission", "pa_number", "outbox", "audit_event", "case_event")
    before = [open_desk.count(table) for table in tables]
    asked, real = [0], sql_cases.ask

    def broken(*arguments: object, **named: object) -> object:
        asked[0] += 1
        if asked[0] == round_:
            raise sa.exc.OperationalError("statement", {}, Exception("disk"))
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(sql_cases, "ask", broken)
    attempts = (lambda: open_desk.submit(request()), lambda: open_desk.settle(approval(case_id)))
    attempt = attempts[round_ == 4]  # a submission has three rounds, a decision with its notice as many
    if round_ == 4:
        asked[0] = 1  # a decision looks at no other case first
    with pytest.raises(StoreUnavailable):
        attempt()
    assert [open_desk.count(table) for table in tables] == before
    monkeypatch.undo()
    assert attempt() is not None
    assert audit.verify(open_desk.database).ok


def test_authorizations_follow_the_case(open_desk: Desk) -> None:
    case_id = open_desk.submit(request(values=MISSING)).case_id
    assert [each.status for each in open_desk.store.authorizations("M0000001")] == ["pending"]
    open_desk.settle(approval(case_id))
    held = {each.status: each for each in open_desk.store.authorizations("M0000001")}
    assert held.keys() == {"active", "revoked"}
    assert (held["active"].source, dict(held["active"].max_daily)) == ("pas", {"morphine": "5 mg/d"})


def test_P065_event_numbers_grow_by_one_whoever_decides(url: str) -> None:
    desks = [Desk(url) for _ in range(2)]
    now = desks[0].clock.now()
    record = SubscriptionRecord(
        id="sub-1",
        sender="clinic-app",
        organizations=("1000000004",),
        endpoint="https://x.example.org/n",
        payload="application/fhir+json",
        header=(),
        status="active",
        error="",
        events=0,
        created=now,
    )
    entry = AuditEntry(now, "clinic-app", "client", "subscribe", "subscription/sub-1")
    desks[0].parts.subscriptions.put(record, b"{}", entry, now)
    cases = [desks[0].submit(request(number=number, values=MISSING)).case_id for number in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: desks[pair[0] % 2].settle(approval(pair[1])), enumerate(cases)))
    events = desks[0].parts.subscriptions.events_since("sub-1", 1, 99)
    assert [number for number, *_ in events] == list(range(1, 9))
    assert {case_id for _, _, case_id, _ in events} == set(cases)
    assert desks[0].parts.subscriptions.get("sub-1").events == 8  # type: ignore[union-attr]
    for each in desks:
        each.close()


def fill(open_desk: Desk, count: int = 40) -> None:
    """Events of many subjects, so that all chains have some."""
    for number in range(count):
        subject = f"case/{number}"
        open_desk.cases.note([AuditEntry(open_desk.clock.now(), "dr-1", "physician", "view", subject, {"n": number})])


def test_bad_input_120_an_untouched_log_verifies(open_desk: Desk) -> None:
    fill(open_desk)
    report = audit.verify(open_desk.database)
    assert (report.ok, report.events, len(report.heads)) == (True, 40, audit.CHAINS)
    assert audit.verify(open_desk.database, report.heads).ok
    fill(open_desk, 3)
    assert audit.verify(open_desk.database, report.heads).ok  # a log that grew still holds what it held


SWAP = (
    "UPDATE audit_event SET seq = 2002 WHERE chain = {chain} AND seq = 1;"
    "UPDATE audit_event SET seq = 1 WHERE chain = {chain} AND seq = 2;"
    "UPDATE audit_event SET seq = 2 WHERE chain = {chain} AND seq = 2002"
)
TAMPERED = [
    ("edited", "UPDATE audit_event SET detail = '{}' WHERE chain = {chain} AND seq = 2", 2, "changed"),
    ("another actor", "UPDATE audit_event SET actor = 'x' WHERE chain = {chain} AND seq = 1", 1, "changed"),
    ("deleted", "DELETE FROM audit_event WHERE chain = {chain} AND seq = 2", 2, "missing"),
    ("cut off at its end", "DELETE FROM audit_event WHERE chain = {chain} AND seq >= 3", 3, "missing"),
    (
        "swapped",
        SWAP,
        1,
        "reordered",
    ),
    ("a forged hash", "UPDATE audit_event SET hash = '00' WHERE chain = {chain} AND seq = 2", 2, "changed"),
    ("the head alone", "UPDATE audit_head SET hash = '00' WHERE chain = {chain}", None, "head"),
    ("a chain without head", "DELETE FROM audit_head WHERE chain = {chain}", 0, "head"),
]


@pytest.mark.parametrize(("statement", "seq", "what"), [pytest.param(*rest, id=name) for name, *rest in TAMPERED])
def test_bad_input_120_the_first_bad_record_is_named(
    statement: str, seq: int | None, what: str, open_desk: Desk
) -> None:
    fill(open_desk)
    chain = next(head.chain for head in audit.verify(open_desk.database).heads if head.seq >= 4)
    length = next(head.seq for head in audit.verify(open_desk.database).heads if head.chain == chain)
    for part in statement.replace("{chain}", str(chain)).split(";"):
        open_desk.run(part)
    report = audit.verify(open_desk.database)
    expected = length + 1 if seq is None else seq
    assert [(bad.chain, bad.seq, bad.what) for bad in report.bad] == [(chain, expected, what)]


def test_bad_input_120_a_chain_cut_with_its_head_shows_against_a_kept_head(open_desk: Desk) -> None:
    fill(open_desk)
    kept = audit.verify(open_desk.database).heads
    chain = next(head for head in kept if head.seq >= 4)
    open_desk.run(f"DELETE FROM audit_event WHERE chain = {chain.chain} AND seq > 2")
    open_desk.run(
        f"UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit_event WHERE chain = {chain.chain} AND seq = 2)"
        f" WHERE chain = {chain.chain}"
    )
    assert audit.verify(open_desk.database).ok, "nothing inside the database can tell"
    assert [bad.what for bad in audit.verify(open_desk.database, kept).bad] == ["truncated"]


def test_writers_of_many_cases_leave_whole_chains(url: str) -> None:
    desks = [Desk(url) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: desks[number % 3].submit(request(number=number)), range(30)))
    report = audit.verify(desks[0].database)
    assert (report.ok, report.events) == (True, 30)
    for each in desks:
        each.close()


def test_assigning_is_for_pended_cases_alone(open_desk: Desk) -> None:
    case_id = open_desk.submit(request(values=MISSING)).case_id
    entry = AuditEntry(open_desk.clock.now(), "nurse-1", "nurse", "assign", f"case/{case_id}")
    assert open_desk.cases.assign(case_id, "nurse-1", entry) is True
    assert open_desk.cases.case(case_id).assigned_to == "nurse-1"  # type: ignore[union-attr]
    open_desk.settle(approval(case_id))
    assert open_desk.cases.assign(case_id, "nurse-2", entry) is False


def test_the_trace_tells_what_a_decision_rested_on(open_desk: Desk) -> None:
    said = open_desk.submit(request())
    version = open_desk.cases.version(said.case_id, 1)
    assert version is not None
    trace = json.loads(version.trace)
    assert trace["determination"]["policy"]["digest"] == version.policy_digest
    assert all(each["holds"] for each in trace["lines"][0]["conditions"])
    assert msgspec.json.decode(version.trace)["lines"][0]["machine"] is True

"""What the outbox promises, on SQLite and on PostgreSQL alike (D01, D06, D07, D08, D13; F18, F22 to F24, F28)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from cds_service.adapters.sql import audit
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import instant
from cds_service.adapters.sql.outbox import LOST_LEASES, SqlOutbox, enqueue
from cds_service.adapters.sql.outbox_desk import SqlOutboxDesk
from cds_service.adapters.sql.prior_auth_tables import AUDIT_EVENT, OUTBOX, SUBSCRIPTION
from cds_service.delivery_ports import Claim, Settled
from cds_service.domain.delivery import Delivery, Sent, Step
from cds_service.domain.prior_auth import AuditEntry
from cds_service.prior_auth_ports import OutboxEntry
from tests.support.deliveries import NOON, pending, put_case, put_notices, put_subscription, response_bundle

SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
LOOK = AuditEntry(NOON, "pat", "operator", "outbox_list", "outbox")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url, pool_size=8, busy_seconds=10)
    yield opened
    opened.close()


@pytest.fixture
def outbox(database: Database) -> SqlOutbox:
    return SqlOutbox(database)


def take(
    outbox: SqlOutbox, now: datetime = NOON, owner: str = "w1", most: int = 100, kind: str = "payer"
) -> list[Delivery]:
    claim = Claim(kind=kind, destination="payer-a", owner=owner, most=most, lease=LEASE)
    return list(outbox.claim(claim, now))


def over(delivery: Delivery, state: str = "done", reason: str = "", due: datetime = NOON) -> Settled:
    sent = Sent(
        state="retry" if state == "ready" else state,
        reason=reason,
        status=503 if reason else 201,
        location="ClaimResponse/1",
    )
    return Settled(delivery, sent, Step(state=state, due=due, reason=reason))


def states(database: Database) -> list[tuple[str, int, str]]:
    query = sa.select(OUTBOX.c.case_id, OUTBOX.c.seq, OUTBOX.c.state).order_by(OUTBOX.c.id)
    return [tuple(row) for row in database.read(lambda session: session.execute(query).all())]


def subscription(database: Database, ident: str) -> tuple[str, str]:
    query = sa.select(SUBSCRIPTION.c.status, SUBSCRIPTION.c.error).where(SUBSCRIPTION.c.id == ident)
    return tuple(database.read(lambda session: session.execute(query).one()))


def test_D01_a_row_is_written_with_its_transaction_or_not_at_all(database: Database, outbox: SqlOutbox) -> None:
    def broken(session: sa.Connection) -> None:
        enqueue(session, "c1", [OutboxEntry("payer", "payer-a", 1, 1, "c1.1")], NOON)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.session(broken, durable=True)
    assert states(database) == []
    put_case(database, "c1", [1])
    assert states(database) == [("c1", 1, "ready")]
    assert pending(outbox) == 1


def test_D01_what_is_lent_are_the_stored_bytes_of_the_version(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1])
    [lent] = take(outbox)
    assert lent.payload == response_bundle("c1", 1)
    assert lent.attempts == 1
    assert lent.case_due == NOON + timedelta(days=7)


def test_D06_only_the_first_undone_row_of_a_case_is_lent(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1, 2, 3])
    put_case(database, "c2", [1, 2], destinations=("payer-a", "payer-b"))
    first = take(outbox)
    assert sorted((each.case_id, each.seq) for each in first) == [("c1", 1), ("c2", 1)]
    assert take(outbox, owner="w2") == []  # what is lent holds back what comes after it
    outbox.settle([over(each) for each in first], "w1", NOON)
    assert sorted((each.case_id, each.seq) for each in take(outbox)) == [("c1", 2), ("c2", 2)]


@pytest.mark.parametrize(
    ("state", "lent"),
    [
        ("done", [2]),
        ("skipped", [2]),
        ("discarded", [2]),
        ("dead", []),  # versions never arrive out of order: a person decides about the dead one first
        ("ready", []),  # it waits for its next try
    ],
)
def test_D06_what_holds_back_the_next_version(
    database: Database, outbox: SqlOutbox, state: str, lent: list[int]
) -> None:
    put_case(database, "c1", [1, 2])
    outbox.settle([over(each, state, "x", NOON + 60 * SECOND) for each in take(outbox)], "w1", NOON)
    assert [each.seq for each in take(outbox)] == lent


def test_D06_a_superseded_version_is_skipped_where_the_endpoint_says_so(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1, 2])
    put_case(database, "c2", [1])
    assert outbox.skip_superseded("payer-b", NOON) == 0
    assert outbox.skip_superseded("payer-a", NOON) == 1
    assert states(database) == [("c1", 1, "skipped"), ("c1", 2, "ready"), ("c2", 1, "ready")]


def test_D07_a_lease_that_ran_out_is_taken_by_another(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1])
    [lost] = take(outbox)
    assert outbox.tidy(NOON + LEASE - SECOND) == 0
    assert outbox.tidy(NOON + LEASE) == 1
    [again] = take(outbox, NOON + LEASE, owner="w2")
    assert again.attempts == 2
    assert outbox.settle([over(lost)], "w1", NOON + LEASE) == 0  # too late: it is not w1's any more
    assert states(database) == [("c1", 1, "leased")]
    assert outbox.settle([over(again)], "w2", NOON + LEASE) == 1


def test_D07_a_renewed_lease_lasts_and_a_lost_one_cannot_be_renewed(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1])
    [lent] = take(outbox)
    assert outbox.renew(lent, "w1", NOON + 2 * LEASE)
    assert outbox.tidy(NOON + LEASE) == 0
    assert outbox.tidy(NOON + 2 * LEASE) == 1
    assert not outbox.renew(lent, "w1", NOON + 3 * LEASE)


def test_D07_a_row_that_ends_its_workers_becomes_a_dead_letter(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1])
    now = NOON
    for _ in range(LOST_LEASES):
        assert len(take(outbox, now)) == 1
        now += LEASE
        outbox.tidy(now)
    assert states(database) == [("c1", 1, "dead")]


def test_D07_rows_given_back_count_no_try(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1])
    outbox.release(take(outbox), "w1", NOON)
    assert [each.attempts for each in take(outbox)] == [1]


def test_D13_F23_two_workers_never_hold_the_same_row(url: str, database: Database) -> None:
    """Eight threads with connections of their own drain 120 rows of 40 cases; each row is lent once."""
    for case in range(40):
        put_case(database, f"c{case}", [1, 2, 3])
    seen: list[tuple[str, int]] = []
    guard = threading.Lock()
    stores = [Database(url, pool_size=2, busy_seconds=20) for _ in range(8)]

    def work(number: int) -> None:
        outbox = SqlOutbox(stores[number])
        while pending(outbox):
            lent = take(outbox, owner=f"w{number}", most=5)
            with guard:
                seen.extend((each.case_id, each.seq) for each in lent)
            outbox.settle([over(each) for each in lent], f"w{number}", NOON)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert len(seen) == len(set(seen)) == 120
    assert {state for *_, state in states(database)} == {"done"}
    order = {case: [seq for each, seq in seen if each == case] for case, _ in seen}
    assert all(found == [1, 2, 3] for found in order.values())


def test_fault_F22_a_clock_that_went_back_strands_nothing(database: Database, outbox: SqlOutbox) -> None:
    """Lease and next try were set while the clock was ten years ahead."""
    put_case(database, "c1", [1])
    put_case(database, "c2", [1])
    later = NOON + timedelta(days=3650)
    one, two = take(outbox, later)
    outbox.settle([over(one, "ready", "status_503", later + 60 * SECOND)], "w1", later)
    assert take(outbox) == []
    assert outbox.tidy(NOON) == 2
    assert {each.id for each in take(outbox)} == {one.id, two.id}


def test_what_an_outage_postponed_is_due_when_it_is_over(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1])
    put_case(database, "c2", [1])
    by_case = {each.case_id: each for each in take(outbox)}
    asked = Sent(state="retry", reason="status_503", status=503)  # this one the receiver itself put off
    unheard = Sent(state="retry", reason="connect_failed")
    later = Step(state="ready", due=NOON + 600 * SECOND, reason="x")
    outbox.settle([Settled(by_case["c1"], asked, later), Settled(by_case["c2"], unheard, later)], "w1", NOON)
    assert outbox.hurry("payer-a", NOON) == 1
    assert [each.case_id for each in take(outbox)] == ["c2"]


def test_P064_notices_wait_for_the_handshake_and_go_in_order(database: Database, outbox: SqlOutbox) -> None:
    put_subscription(database, "s1", "https://clinic.example.org/hook", status="requested")
    put_notices(database, "s1", [0, 1, 2])
    [handshake] = take(outbox, kind="notification")
    assert handshake.seq == 0
    outbox.settle([over(handshake)], "w1", NOON)
    assert subscription(database, "s1") == ("active", "")
    [first] = take(outbox, kind="notification")
    assert first.seq == 1
    assert take(outbox, kind="notification") == []


def test_P064_a_handshake_that_fails_for_good_is_an_error(database: Database, outbox: SqlOutbox) -> None:
    put_subscription(database, "s1", "https://clinic.example.org/hook", status="requested")
    put_notices(database, "s1", [0])
    outbox.settle([over(each, "dead", "status_410") for each in take(outbox, kind="notification")], "w1", NOON)
    assert subscription(database, "s1") == ("error", "status_410")


def test_fault_F28_notices_are_kept_seven_days_and_then_flagged(database: Database, outbox: SqlOutbox) -> None:
    put_subscription(database, "s1", "https://clinic.example.org/hook", status="active")
    put_notices(database, "s1", [1])
    assert outbox.tidy(NOON + timedelta(days=7)) == 0
    assert outbox.tidy(NOON + timedelta(days=7, seconds=1)) == 1
    assert subscription(database, "s1") == ("error", "gave_up:waiting")
    assert states(database) == [("", 1, "dead")]


@pytest.mark.parametrize("status", ["error", "off"])
def test_fault_F28_a_subscriber_in_error_gets_nothing(database: Database, outbox: SqlOutbox, status: str) -> None:
    put_subscription(database, "s1", "https://clinic.example.org/hook", status=status)
    put_notices(database, "s1", [1])
    assert take(outbox, kind="notification") == []


def test_D08_replay_and_discard_are_audited_and_free_what_waits(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1, 2])
    desk = SqlOutboxDesk(database)
    outbox.settle([over(each, "dead", "status_422") for each in take(outbox)], "w1", NOON)
    [dead] = desk.rows(("dead",), "payer-a", "c1", 10, LOOK)
    assert (dead.last_error, dead.last_status, dead.attempts) == ("status_422", 503, 1)
    much_later = NOON + timedelta(days=30)
    assert desk.replay([dead.id], much_later, entry("outbox_replay", dead.id)) == 1
    [again] = take(outbox, much_later)
    assert again.created == much_later  # else it would be given up at once
    assert not desk.discard(dead.id, "no longer wanted", much_later, entry("outbox_discard", dead.id))  # being sent
    outbox.settle([over(again, "dead", "status_422")], "w1", much_later)
    assert desk.discard(dead.id, "no longer wanted", much_later, entry("outbox_discard", dead.id))
    assert [each.seq for each in take(outbox, much_later)] == [2]
    found = desk.row(dead.id, entry("outbox_show", dead.id))
    assert found is not None
    row, payload, tries = found
    assert row.last_error == "discarded: no longer wanted"
    assert payload == response_bundle("c1", 1)
    assert [(each.n, each.http_status) for each in tries] == [(1, 503), (2, 503)]
    query = sa.select(AUDIT_EVENT.c.action).order_by(AUDIT_EVENT.c.at)
    acts = database.read(lambda session: session.execute(query).scalars().all())
    people = [each for each in acts if each.startswith("outbox_")]
    assert sorted(people) == ["outbox_discard", "outbox_list", "outbox_replay", "outbox_show"]
    assert audit.verify(database).ok


def test_waiting_rows_are_counted_with_the_age_of_the_oldest(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1])
    put_case(database, "c2", [1], at=NOON - timedelta(hours=6))
    [found] = outbox.waiting()
    assert (found.destination, found.state, found.count) == ("payer-a", "ready", 2)
    assert found.oldest == NOON - timedelta(hours=6)
    assert instant(0) < found.oldest


def entry(action: str, ident: int) -> AuditEntry:
    return AuditEntry(NOON, "pat", "operator", action, f"outbox/{ident}", {})


def test_P103_every_try_and_every_dead_letter_is_in_the_chained_log(database: Database, outbox: SqlOutbox) -> None:
    put_case(database, "c1", [1, 2])
    put_subscription(database, "s1", "https://93.184.216.34/notices")
    put_notices(database, "s1", [0])
    (first,) = take(outbox)
    outbox.settle([over(first, "ready", "status_503", NOON)], "w1", NOON)
    (again,) = take(outbox)
    outbox.settle([over(again)], "w1", NOON)
    (second,) = take(outbox)
    outbox.settle([over(second, "dead", "status_422")], "w1", NOON)
    (notice,) = take(outbox, kind="notification")
    outbox.settle([over(notice)], "w1", NOON)
    put_case(database, "c2", [1])
    for number in range(LOST_LEASES):  # a message that ends every worker: given up without a try
        now = NOON + number * 2 * LEASE
        assert len(take(outbox, now)) == 1
        outbox.tidy(now + LEASE + SECOND)
    told = database.read(
        lambda session: session.execute(sa.select(AUDIT_EVENT).where(AUDIT_EVENT.c.role == "worker")).mappings().all()
    )
    assert sorted((row["action"], json.loads(row["detail"])["reason"]) for row in told) == [
        ("dead_letter", f"lease_expired:{LOST_LEASES}"),
        ("dead_letter", "status_422"),
        ("deliver", ""),
        ("deliver", "status_503"),
        ("notify", ""),
    ]
    tries = {(row["action"], json.loads(row["detail"]).get("attempt")): row["subject"] for row in told}
    assert tries["deliver", 1] == tries["deliver", 2] == f"outbox/{first.id}"
    assert {row["actor"] for row in told} == {"w1", "deliver"}
    assert audit.verify(database).ok

"""The delivery worker against a real database and a real receiver (D04 to D08; F15, F16, F19, F20, F23, F24, F28)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from joserfc.jwk import ECKey

from cds_service.adapters.breaker import Breaker
from cds_service.adapters.claim_response_http import HttpClaimResponseSender
from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.notification_http import HttpNotificationSender
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.migrate import migrate
from cds_service.adapters.sql.outbox import SqlOutbox
from cds_service.adapters.sql.prior_auth_tables import OUTBOX, SUBSCRIPTION
from cds_service.adapters.system import new_id
from cds_service.adapters.token_purchase import TokenPurchase
from cds_service.backend_clients import BackendClient
from cds_service.payer_endpoints import PayerEndpoint
from cds_service.use_cases.deliver_outbox import (
    Destination,
    Lane,
    Worker,
    payer_destination,
    subscriber_destination,
)
from tests.support.deliveries import NOON, pending, put_case, put_notices, put_subscription
from tests.support.fault_server import closed_port
from tests.support.payer_receiver import Fault, ReceiverServer
from tests.support.postgres import PostgresServer

KEY = ECKey.generate_key("P-384")


class SetClock:
    """A wall clock and a steady clock that stand until they are moved together."""

    def __init__(self) -> None:
        self.at = NOON
        self.steady = time.monotonic()

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.steady

    def move(self, step: timedelta) -> None:
        self.at += step
        self.steady += step.total_seconds()


class RunningClock(SetClock):
    """The same wall clock; the steady one runs, as deadlines of real calls need it."""

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url, pool_size=8, busy_seconds=5)
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[ReceiverServer]:
    with ReceiverServer() as running:
        yield running


@pytest.fixture
def http() -> Iterator[GuardedHttp]:
    guarded = GuardedHttp(insecure_dev=True)
    yield guarded
    guarded.close()


class Bench:
    """One worker's lane, stepped by hand; the wall clock is the test's."""

    def __init__(self, database: Database, http: GuardedHttp) -> None:
        self.queue = SqlOutbox(database)
        self.database = database
        self.http = http
        self.clock = SetClock()
        self.events: list[str] = []
        self.chance = 999

    def worker(self, owner: str = "w1") -> Worker:
        return Worker(
            queue=self.queue,
            owner=owner,
            clock=self.clock,
            lease=timedelta(seconds=60),
            chance=lambda: self.chance,
            breaker=Breaker(self.clock.monotonic, open_seconds=10),
            on_event=self.events.append,
        )

    def payer(self, url: str, **changes: Any) -> Destination:
        usual = PayerEndpoint(id="payer-a", name="A", base_url=f"{url}/fhir", mode="put", allow_http=True, seconds=2)
        clock = RunningClock()
        sender = HttpClaimResponseSender(self.http, TokenPurchase(self.http, KEY, clock, new_id), clock, new_id)
        return payer_destination(msgspec.structs.replace(usual, **changes), sender)

    def subscribers(self, **changes: Any) -> Destination:
        client = BackendClient(id="clinic", name="Clinic", allow_http=True, allow_private=True)
        clients = {"clinic": msgspec.structs.replace(client, **changes)}
        return subscriber_destination(self.queue, HttpNotificationSender(self.http, clients, RunningClock(), new_id))

    @contextmanager
    def lane(self, destination: Destination, owner: str = "w1") -> Iterator[Lane]:
        with ThreadPoolExecutor(destination.parallel) as pool:
            yield Lane(self.worker(owner), destination, pool)

    def states(self) -> dict[str, list[str]]:
        query = sa.select(OUTBOX.c.case_id, OUTBOX.c.state).order_by(OUTBOX.c.id)
        found: dict[str, list[str]] = {}
        for case, state in self.database.read(lambda session: session.execute(query).all()):
            found.setdefault(case, []).append(state)
        return found

    def rows(self) -> list[Any]:
        return list(self.database.read(lambda session: session.execute(sa.select(OUTBOX).order_by(OUTBOX.c.id)).all()))


@pytest.fixture
def bench(database: Database, http: GuardedHttp) -> Bench:
    return Bench(database, http)


def test_D06_everything_arrives_once_and_in_order(bench: Bench, receiver: ReceiverServer) -> None:
    for case in ("c1", "c2", "c3"):
        put_case(bench.database, case, [1, 2, 3])
    with bench.lane(bench.payer(receiver.url)) as lane:
        assert lane.drain() == 9
    assert bench.states() == dict.fromkeys(("c1", "c2", "c3"), ["done"] * 3)
    assert set(receiver.receiver.effects.values()) == {1}
    for case in ("c1", "c2", "c3"):
        assert [each for each in receiver.receiver.order if each.startswith(case)] == [f"{case}.{n}" for n in (1, 2, 3)]
    assert {row.remote_location.partition("/")[0] for row in bench.rows()} == {"ClaimResponse"}


def test_fault_F15_an_endpoint_that_is_away_for_six_hours_gets_everything_in_order(
    bench: Bench, receiver: ReceiverServer
) -> None:
    """Nothing is lost and nothing given up; a handful of calls knocks at the closed door, not thousands."""
    receiver.receiver.always = Fault("reset")
    with bench.lane(bench.payer(receiver.url)) as lane:
        for hour in range(6):
            put_case(bench.database, f"c{hour}", [1, 2], at=bench.clock.at)
            put_case(bench.database, "old", [hour + 1], at=bench.clock.at)
            for _ in range(20):
                while lane.step():
                    pass
                bench.clock.move(timedelta(minutes=3))
        knocks = receiver.receiver.count
        assert 5 <= knocks <= 200
        assert {state for states in bench.states().values() for state in states} == {"ready"}
        receiver.receiver.always = None
        bench.clock.move(timedelta(minutes=15))
        deadline = time.monotonic() + 30
        while pending(bench.queue) and time.monotonic() < deadline:
            lane.step()
            bench.clock.move(timedelta(seconds=1))
    assert set(receiver.receiver.effects.values()) == {1}
    assert len(receiver.receiver.effects) == 18
    assert [each for each in receiver.receiver.order if each.startswith("old")] == [f"old.{n}" for n in range(1, 7)]
    assert "delivery_destination_down" in bench.events
    assert "delivery_destination_back" in bench.events


def test_D05_a_row_is_given_up_when_its_time_is_over_and_replays(bench: Bench, receiver: ReceiverServer) -> None:
    """The case must be answered in 24 hours, so a person must know after 23; the dead one holds back its successor."""
    put_case(bench.database, "c1", [1, 2], due=timedelta(hours=24))
    receiver.receiver.always = Fault("status", 503)
    with bench.lane(bench.payer(receiver.url)) as lane:
        for _ in range(24 * 6):
            while lane.step():
                pass
            bench.clock.move(timedelta(minutes=10))
            if bench.clock.at - NOON < timedelta(hours=23):
                assert bench.states() == {"c1": ["ready", "ready"]}
    assert bench.states() == {"c1": ["dead", "ready"]}
    assert bench.rows()[0].last_error == "gave_up:status_503"


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
def test_D04_what_the_receiver_will_never_take_is_a_dead_letter(
    bench: Bench, receiver: ReceiverServer, status: int
) -> None:
    put_case(bench.database, "c1", [1, 2])
    put_case(bench.database, "c2", [1])
    receiver.receiver.faults.append(Fault("status", status))
    with bench.lane(bench.payer(receiver.url, parallel=1)) as lane:
        lane.drain()
    assert bench.states() == {"c1": ["dead", "ready"], "c2": ["done"]}  # others go on


def test_D06_a_superseded_version_is_skipped_where_the_payer_wants_only_the_newest(
    bench: Bench, receiver: ReceiverServer
) -> None:
    put_case(bench.database, "c1", [1, 2, 3])
    with bench.lane(bench.payer(receiver.url, superseded="skip")) as lane:
        lane.drain()
    assert bench.states() == {"c1": ["skipped", "skipped", "done"]}
    assert receiver.receiver.effects == {"c1.3": 1}


def test_D04_the_receivers_wish_for_rest_is_honoured(bench: Bench, receiver: ReceiverServer) -> None:
    put_case(bench.database, "c1", [1])
    receiver.receiver.faults.append(Fault("status", 429, {"Retry-After": "1800"}))
    with bench.lane(bench.payer(receiver.url)) as lane:
        lane.drain()
        bench.clock.move(timedelta(seconds=1799))
        lane.drain()
        assert receiver.receiver.count == 1
        bench.clock.move(timedelta(seconds=1))
        lane.drain()
    assert bench.states() == {"c1": ["done"]}


def test_fault_F24_what_a_killed_worker_held_is_resumed_by_another(bench: Bench, receiver: ReceiverServer) -> None:
    """The first worker ends after its call had an effect and before it wrote that down."""
    put_case(bench.database, "c1", [1, 2])
    with bench.lane(bench.payer(receiver.url)) as lane:
        lane.step()  # lends, sends; the result is never settled
        assert receiver.receiver.effects == {"c1.1": 1}
    assert bench.states() == {"c1": ["leased", "ready"]}
    with bench.lane(bench.payer(receiver.url), owner="w2") as other:
        assert other.drain() == 0
        bench.clock.move(timedelta(seconds=61))
        other.drain()
    assert bench.states() == {"c1": ["done", "done"]}
    assert receiver.receiver.effects == {"c1.1": 1, "c1.2": 1}


def test_fault_F23_four_workers_at_once_send_everything_once(url: str, bench: Bench, receiver: ReceiverServer) -> None:
    for case in range(30):
        put_case(bench.database, f"c{case}", [1, 2])
    destination = bench.payer(receiver.url)
    stopping = threading.Event()
    databases = [Database(url, pool_size=4, busy_seconds=20) for _ in range(4)]

    def work(number: int) -> None:
        own = Bench(databases[number], bench.http)
        with own.lane(destination, owner=f"w{number}") as lane:
            lane.run(stopping, 0.01)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while pending(bench.queue) and time.monotonic() < deadline:
        time.sleep(0.02)
    stopping.set()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    assert len(receiver.receiver.effects) == 60
    assert receiver.receiver.count == 60  # not one call too many
    order = receiver.receiver.order
    assert all(order.index(f"c{case}.1") < order.index(f"c{case}.2") for case in range(30))


def test_stopping_gives_back_what_was_not_begun(bench: Bench, receiver: ReceiverServer) -> None:
    """SIGTERM in the middle: the call that runs is finished and written down, the others are free at once."""
    for case in range(4):
        put_case(bench.database, f"c{case}", [1])
    receiver.receiver.always = Fault("hang")
    stopping = threading.Event()
    with bench.lane(bench.payer(receiver.url, parallel=1, seconds=1)) as lane:
        thread = threading.Thread(target=lane.run, args=(stopping, 0.01))
        thread.start()
        while not receiver.receiver.count:
            time.sleep(0.01)
        stopping.set()
        thread.join(20)
    assert {state for states in bench.states().values() for state in states} == {"ready"}
    attempts = sorted(row.attempts for row in bench.rows())
    # One call at a time: one was running, on a slow machine perhaps a second one; the others were never begun.
    assert attempts[:2] == [0, 0]
    assert attempts[-1] == 1


def test_a_long_batch_renews_its_leases(bench: Bench, receiver: ReceiverServer) -> None:
    """The lease would end before the call could: it is renewed first; one that was lost is not sent at all."""
    put_case(bench.database, "c1", [1])
    put_case(bench.database, "c2", [1])
    destination = bench.payer(receiver.url)
    with bench.lane(destination) as lane:
        claimed = bench.queue.claim(claim_of(bench), NOON)
        bench.clock.move(timedelta(seconds=58))
        bench.queue.tidy(NOON + timedelta(seconds=58))
        first, second = claimed
        lost = msgspec.structs.replace(second, attempts=9)  # as if somebody had lent it anew
        assert lane._try(first) is not None
        assert lane._try(lost) is None
    assert receiver.receiver.effects == {f"{first.case_id}.1": 1}
    [row] = [row for row in bench.rows() if row.id == first.id]
    assert row.lease_until > int((NOON + timedelta(seconds=60)).timestamp() * 1_000_000)


def claim_of(bench: Bench) -> Any:
    from cds_service.delivery_ports import Claim  # noqa: PLC0415 - only here

    return Claim(kind="payer", destination="payer-a", owner="w1", most=9, lease=timedelta(seconds=60))


@pytest.mark.postgres
def test_fault_F20_postgres_crashes_under_the_worker(
    own_postgres: PostgresServer, http: GuardedHttp, receiver: ReceiverServer
) -> None:
    """A server of its own is killed while rows are lent, and comes back: the worker goes on by itself."""
    url = own_postgres.create()
    migrate(url)
    database = Database(url, pool_size=4, busy_seconds=2)
    bench = Bench(database, http)
    for case in range(20):
        put_case(database, f"c{case}", [1, 2])
    stopping = threading.Event()
    with bench.lane(bench.payer(receiver.url, parallel=2)) as lane:
        thread = threading.Thread(target=lane.run, args=(stopping, 0.01))
        thread.start()
        try:
            while receiver.receiver.count < 5:
                time.sleep(0.005)
            own_postgres.kill()
        finally:
            own_postgres.start()
        deadline = time.monotonic() + 60
        while len(receiver.receiver.effects) < 40 and time.monotonic() < deadline:
            bench.clock.at += timedelta(seconds=5)  # leases of calls that could not be settled run out
            bench.clock.steady += 5
            time.sleep(0.05)
        stopping.set()
        thread.join()
    database.close()
    assert len(receiver.receiver.effects) == 40
    assert set(receiver.receiver.effects.values()) == {1}


def test_P064_a_subscriber_gets_handshake_and_notices_in_order(bench: Bench, receiver: ReceiverServer) -> None:
    put_subscription(bench.database, "s1", f"{receiver.url}/hook", status="requested")
    put_notices(bench.database, "s1", [0, 1, 2])
    with bench.lane(bench.subscribers()) as lane:
        lane.drain()
    assert receiver.receiver.notices == [b'{"event":0}', b'{"event":1}', b'{"event":2}']
    headers = receiver.receiver.got[0].headers
    assert headers["authorization"] == "Bearer subscriber-secret"
    assert headers["host"] == f"localhost:{receiver.port}"  # a subscription cannot send us elsewhere
    assert headers["idempotency-key"] == "s1:0"


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault("status", 500), "ready"),
        (Fault("status", 404), "ready"),  # its own trouble, perhaps for a while: not the end of the subscription
        (Fault("reset"), "ready"),
        (Fault("status", 410), "dead"),  # gone, it says itself
    ],
)
def test_fault_F28_a_subscriber_that_is_down(bench: Bench, receiver: ReceiverServer, fault: Fault, state: str) -> None:
    put_subscription(bench.database, "s1", f"{receiver.url}/hook")
    put_notices(bench.database, "s1", [1])
    receiver.receiver.faults.append(fault)
    with bench.lane(bench.subscribers()) as lane:
        lane.drain()
    assert bench.states() == {"": [state]}
    query = sa.select(SUBSCRIPTION.c.status)
    status = bench.database.read(lambda session: session.execute(query).scalar())
    assert status == ("error" if state == "dead" else "active")


def test_fault_F28_pauses_grow_to_an_hour_and_no_further(bench: Bench, receiver: ReceiverServer) -> None:
    put_subscription(bench.database, "s1", f"{receiver.url}/hook")
    put_notices(bench.database, "s1", [1])
    receiver.receiver.always = Fault("status", 500)
    pauses = []
    with bench.lane(bench.subscribers()) as lane:
        for _ in range(14):
            while lane.step():
                pass
            [row] = bench.rows()
            pause = row.due_at - int(bench.clock.at.timestamp() * 1_000_000)
            pauses.append(pause / 1_000_000)
            bench.clock.move(timedelta(microseconds=pause))
    assert pauses[0] == pytest.approx(2 * 0.999)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(3600 * 0.999)


@pytest.mark.parametrize(
    ("changes", "endpoint", "reason"),
    [
        ({"allow_http": False}, "http://localhost:{port}/hook", "not_allowed"),
        ({"enabled": False}, "http://localhost:{port}/hook", "subscriber_not_registered"),
    ],
)
def test_D12_bad_input_117_a_subscriber_is_reached_only_where_it_may_be(
    bench: Bench, receiver: ReceiverServer, changes: dict[str, Any], endpoint: str, reason: str
) -> None:
    put_subscription(bench.database, "s1", endpoint.format(port=receiver.port))
    put_notices(bench.database, "s1", [1])
    with bench.lane(bench.subscribers(**changes)) as lane:
        lane.drain()
    assert receiver.receiver.got == []
    assert [row.last_error for row in bench.rows()] == [reason]


def test_D12_bad_input_117_an_internal_address_is_refused(bench: Bench) -> None:
    """Checked when it is sent, too: a name may lead elsewhere by then."""
    strict = GuardedHttp()
    client = BackendClient(id="clinic", name="Clinic")
    destination = subscriber_destination(
        bench.queue, HttpNotificationSender(strict, {"clinic": client}, RunningClock(), new_id)
    )
    put_subscription(bench.database, "s1", f"https://localhost:{closed_port()}/hook")
    put_notices(bench.database, "s1", [1])
    with bench.lane(destination) as lane:
        lane.drain()
    assert [(row.state, row.last_error) for row in bench.rows()] == [("dead", "address_refused")]


def test_one_destination_that_hangs_holds_up_no_other(
    bench: Bench, receiver: ReceiverServer, url: str, http: GuardedHttp
) -> None:
    """Two lanes, as a worker has them: one endpoint hangs, the other is served meanwhile."""
    put_case(bench.database, "c1", [1], destinations=("payer-a", "payer-b"))
    with ReceiverServer() as hanging:
        hanging.receiver.always = Fault("hang")
        stopping = threading.Event()
        slow = bench.payer(hanging.url, seconds=2)
        quick = bench.payer(receiver.url, id="payer-b")
        run: Callable[[Destination, str], None]

        def run(destination: Destination, owner: str) -> None:
            with bench.lane(destination, owner) as lane:
                lane.run(stopping, 0.01)

        threads = [threading.Thread(target=run, args=pair) for pair in ((slow, "w1"), (quick, "w2"))]
        for thread in threads:
            thread.start()
        while not receiver.receiver.effects:
            time.sleep(0.01)
        assert [row.state for row in bench.rows() if row.destination == "payer-a"] != ["done"]
        stopping.set()
        for thread in threads:
            thread.join()
    assert [row.state for row in bench.rows()] == ["ready", "done"]

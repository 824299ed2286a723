"""Faults F1-F14 of the EHR's FHIR API, injected at real sockets, as the reader must survive them.

What the answer to the hook becomes (200, ``technical``) is tested where the use case is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from cds_service.adapters.fhir_http import HttpFhirReader
from cds_service.adapters.guarded_http import Answer, GuardedHttp, OutboundFailure
from cds_service.adapters.system import SystemClock
from cds_service.clients import ClientProfile
from cds_service.ports import Fetched, Grant
from tests.support.ehr_site import Site, bundle, condition
from tests.support.fault_server import (
    Authority,
    Behaviour,
    FaultServer,
    Seen,
    Wire,
    chunked,
    closed_port,
    drip,
    drip_body,
    endless,
    hang,
    head_only,
    in_turn,
    new_authority,
    once,
    page_loop,
    reply,
    reply_json,
    reset,
    reset_in_body,
    together,
    truncated,
)
from tests.support.memory import PeakMemory
from tests.support.waiting import until

PATIENT = {"resourceType": "Patient", "id": "example"}
FOUND = bundle(condition("a"), condition("b"))
SEARCH = "Condition?patient=example"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def site(authority: Authority, tmp_path: Path) -> Iterator[Site]:
    routes = {"/fhir/Patient/example": reply_json(PATIENT), "/fhir/Condition": reply_json(FOUND)}
    with FaultServer(routes, authority.server()) as server:
        found = Site(server, authority.write(str(tmp_path / "ca.pem")))
        found.server = server
        yield found
        found.close()


def test_a_healthy_server_answers_everything_at_once(site: Site) -> None:
    queries = {f"q{number}": f"{SEARCH}&n={number}" for number in range(4)} | {"patient": "Patient/example"}
    all_are_here = together(5, lambda wire, seen: usual[seen.path](wire, seen))  # one after another never are
    usual = dict(site.server.routes)
    for path in usual:
        site.server.behave(path, all_are_here)
    found = site.fetch(queries)
    assert {key: fetched.state for key, fetched in found.items()} == dict.fromkeys(queries, "complete")
    assert found["patient"].resources == (PATIENT,)
    assert [resource["id"] for resource in found["q0"].resources] == ["a", "b"]
    assert {seen.headers["authorization"] for seen in site.server.seen} == {"Bearer canary-access-token-7f3a"}
    assert site.events == []


@pytest.mark.parametrize(("bound", "expected"), [({"in_flight_per_call": 4}, 4), ({}, 16)])
def test_in_flight_at_once(authority: Authority, tmp_path: Path, bound: Mapping[str, int], expected: int) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def count(wire: Wire, seen: Seen) -> bool:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        wire.wait(lambda: most[0] >= expected)
        wire.pause(0.1)  # time for one too many to come
        with lock:
            now[0] -= 1
        return reply_json(FOUND)(wire, seen)

    with FaultServer({"*": count}, authority.server()) as server:
        site = Site(server, authority.write(str(tmp_path / "ca.pem")), **bound)
        site.fetch({f"q{number}": f"{SEARCH}&n={number}" for number in range(24)})
        assert most[0] == expected
        site.close()


def test_fault_F01_connection_refused_and_breaker(authority: Authority) -> None:
    with FaultServer({}) as server:
        refusing = (f"http://127.0.0.1:{closed_port()}/fhir",)
        site = Site(server, fhir_servers=refusing, breaker={"open_seconds": 600})
        site.base_url = site.profile.fhir_servers[0]
        found = site.fetch({f"q{number}": f"{SEARCH}&n={number}" for number in range(8)})
        assert {fetched.state for fetched in found.values()} == {"failed"}
        assert site.slept == []  # nobody listens: there is nothing to wait for
        assert "ehr_breaker_opened" in site.events
        assert site.one(SEARCH) == Fetched("failed", (), "breaker_open")
        site.close()


def test_fault_F01_name_does_not_resolve() -> None:
    with FaultServer({}) as server:
        site = Site(server, fhir_servers=("https://ehr.invalid/fhir",))
        site.base_url = "https://ehr.invalid/fhir"
        assert site.one(SEARCH) == Fetched("failed", (), "name_not_resolved")
        site.close()


def test_fault_F01_a_name_server_that_is_silent() -> None:
    gate = threading.Event()
    http = GuardedHttp(resolver=lambda _host, _port: gate.wait() and ())
    with FaultServer({}) as server:
        site = Site(server, fhir_servers=("https://ehr.example.org/fhir",))
        reader = HttpFhirReader(http, SystemClock())
        grant = site.grant(base_url="https://ehr.example.org/fhir")
        try:
            assert reader.fetch(grant, {"it": SEARCH}, time.monotonic() + 0.5)["it"].state in {"late", "failed"}
            _until_idle(reader)  # the look-up is left behind, the thread that waited for it is free
        finally:
            gate.set()
        reader.close()
        http.close()
        site.close()


def test_fault_F01_the_breaker_lets_one_probe_find_out(authority: Authority, tmp_path: Path) -> None:
    with FaultServer({"*": reply(503)}, authority.server()) as server:
        site = Site(server, authority.write(str(tmp_path / "ca.pem")), breaker={"failures": 2, "open_seconds": 600})
        for _ in range(4):
            site.one(SEARCH)
        assert len(server.seen) == 2
        refused = site.events.count("ehr_breaker_refused")
        server.behave("*", once(lambda: site.events.count("ehr_breaker_refused") == refused + 3, reply_json(FOUND)))
        site.clock.seconds += 600
        found = site.fetch({f"q{number}": SEARCH for number in range(4)})
        assert sorted(fetched.state for fetched in found.values()) == ["complete", "failed", "failed", "failed"]
        assert len(server.seen) == 3
        assert site.one(SEARCH).state == "complete"
        site.close()


def test_fault_F02_accepts_and_sends_nothing(site: Site) -> None:
    site.server.behave("/fhir/Condition", hang())
    assert site.one("Patient/example").state == "complete"
    found = site.fetch({"conditions": SEARCH, "patient": "Patient/example"}, 1.5)
    assert found["conditions"] == Fetched("late", (), "late")
    assert found["patient"].state == "complete"
    assert site.events == ["ehr_late"]
    _until_idle(site.reader)


def test_fault_F02_the_caller_does_not_wait_for_a_thread_that_cannot_be_stopped() -> None:
    release = threading.Event()

    class Stuck:
        def get(self, *_: object, **__: object) -> Answer:
            release.wait()
            raise OutboundFailure("late")

    reader = HttpFhirReader(Stuck(), SystemClock())
    profile = ClientProfile(id="ehr", name="E", issuer="i", fhir_servers=("https://ehr.example.org",), open_fhir=True)
    grant = Grant("https://ehr.example.org", None, "", profile)
    try:
        assert reader.fetch(grant, {"it": SEARCH}, time.monotonic() + 0.3)["it"].state == "late"
        assert any(server.running for server in reader._servers.values())  # and is still stuck
    finally:
        release.set()
    reader.close()


@pytest.mark.parametrize(
    "behaviour",
    [
        drip_body(),
        drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 9000),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 9000, 0.05),
    ],
    ids=["body", "head", "chunks"],
)
def test_fault_F03_drip(site: Site, behaviour: Behaviour) -> None:
    site.server.behave("/fhir/Condition", behaviour)
    assert site.one(SEARCH, 0.8).state == "late"
    _until_idle(site.reader)  # the thread behind it ends too, although bytes keep coming


def test_fault_F03_handshake_that_never_ends(tmp_path: Path, authority: Authority) -> None:
    with FaultServer({"*": hang()}) as plain:  # speaks no TLS and waits for a request that never comes
        site = Site(
            plain, authority.write(str(tmp_path / "ca.pem")), fhir_servers=(f"https://localhost:{plain.port}/fhir",)
        )
        site.base_url = site.profile.fhir_servers[0]
        assert site.one(SEARCH, 0.5).state == "late"
        _until_idle(site.reader)
        site.close()


def test_fault_F04_401_stops_the_token(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply(401))
    assert site.one(SEARCH) == Fetched("denied", (), "token_refused")
    assert len(site.server.seen) == 1
    assert site.events == ["ehr_token_refused"]


def test_fault_F04_nothing_more_is_sent_after_a_401(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply(401))
    found = site.fetch({f"q{number}": f"{SEARCH}&n={number}" for number in range(60)})
    assert {fetched.state for fetched in found.values()} == {"denied"}
    assert len(site.server.seen) <= 16  # those that were in flight together with it
    assert site.fetch({"patient": "Patient/example"})["patient"].state == "complete"  # another call, another token


def test_fault_F05_403_hides_one_fact(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply(403))
    found = site.fetch({"conditions": SEARCH, "patient": "Patient/example"})
    assert found["conditions"] == Fetched("denied", (), "forbidden")
    assert found["patient"].state == "complete"
    assert len(site.server.seen) == 2


@pytest.mark.parametrize("status", [404, 410])
def test_fault_F06_absent(site: Site, status: int) -> None:
    site.server.behave("/fhir/Patient/example", reply(status))
    assert site.one("Patient/example") == Fetched("absent")
    assert len(site.server.seen) == 1


def test_fault_F06_404_on_a_search_is_not_absence(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply(404))
    assert site.one(SEARCH) == Fetched("failed", (), "refused_request")


@pytest.mark.parametrize(
    ("retry_after", "requests", "least"),
    [
        ("1", 2, 1.0),
        ("60", 1, 0),
        ("86400", 1, 0),
        ("9" * 400, 2, 0),
        ("junk", 2, 0.1),
        ("-5", 2, 0.1),
        ("", 2, 0.1),
        ("Wed, 99 Foo 2026 99:99:99 GMT", 2, 0.1),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True), 1, 0, id="in an hour"),
        pytest.param(format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True), 2, 0.1, id="an hour ago"),
    ],
)
def test_fault_F07_retry_after(site: Site, retry_after: str, requests: int, least: float) -> None:
    again = in_turn(reply(429, b"", {"Retry-After": retry_after}), reply_json(FOUND))
    site.server.behave("/fhir/Condition", again)
    found = site.one(SEARCH)
    assert len(site.server.seen) == requests
    assert found.state == ("complete" if requests == 2 else "failed")
    assert len(site.slept) == requests - 1
    assert all(least <= pause <= max(least, 0.3) for pause in site.slept)
    assert requests == 2 or found.why == "throttled"


def test_fault_F07_never_sleeps_past_the_deadline(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply(429, b"", {"Retry-After": "30"}))
    assert site.one(SEARCH, 30.5).why == "throttled"  # half a second would be left: too little for a second try
    assert site.slept == []
    assert len(site.server.seen) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_fault_F08_one_second_try(site: Site, status: int) -> None:
    site.server.behave("/fhir/Condition", reply(status))
    assert site.one(SEARCH) == Fetched("failed", (), "server_error")
    assert len(site.server.seen) == 2
    [pause] = site.slept
    assert 0.1 <= pause <= 0.3
    assert site.events == ["ehr_retry"]


def test_fault_F08_no_second_try_without_time(site: Site) -> None:
    def slow(wire: Wire, seen: Seen) -> bool:
        site.clock.seconds += 29  # of the 30 that the call has
        return reply(503)(wire, seen)

    site.server.behave("/fhir/Condition", slow)
    assert site.one(SEARCH, 30).why == "server_error"
    assert len(site.server.seen) == 1


def test_fault_F08_the_second_try_counts(site: Site) -> None:
    site.server.behave("/fhir/Condition", in_turn(reply(502), reply_json(FOUND)))
    assert site.one(SEARCH).state == "complete"


def test_fault_F08_second_tries_are_a_tenth_of_the_traffic(authority: Authority, tmp_path: Path) -> None:
    with FaultServer({"*": reply(503)}, authority.server()) as server:
        site = Site(server, authority.write(str(tmp_path / "ca.pem")), breaker={"failures": 10_000})
        for number in range(50):
            site.one(f"{SEARCH}&n={number}")
        assert 60 <= len(server.seen) <= 66  # ten free ones, then one in ten
        site.close()


BODY = json.dumps(FOUND).encode()


@pytest.mark.parametrize(
    "behaviour",
    [
        truncated(BODY),
        truncated(BODY[:-20], 20),
        truncated(BODY, 1),
        reset_in_body(BODY),
        chunked([BODY[:40]], finish=False),
        chunked([BODY], finish=False),
        reply(200, BODY[:-1]),
        reset(b"HTTP/1.1 200 OK\r\nContent-Le"),
        reset(b"garbage\r\n\r\n"),
        reply(200, BODY, {"Content-Encoding": "gzip"}),
        reply(200, BODY, {"Content-Length": "20"}),
    ],
)
def test_fault_F09_truncated(site: Site, behaviour: Behaviour) -> None:
    site.server.behave("/fhir/Condition", behaviour)
    found = site.one(SEARCH)
    assert found.state == "failed"
    assert found.resources == ()
    assert site.one("Patient/example").state == "complete"  # nothing of it is left in the next answer


def test_fault_F09_reset_before_any_answer_is_tried_once_more(site: Site) -> None:
    site.server.behave("/fhir/Condition", in_turn(reset(), reply_json(FOUND)))
    assert site.one(SEARCH).state == "complete"
    site.server.behave("/fhir/Condition", reset())
    assert site.one(SEARCH) == Fetched("failed", (), "disconnected")
    assert len(site.server.seen) == 4


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>Sign in</html>", {"Content-Type": "text/html"}),
        (b"<html>Sign in</html>", {"Content-Type": "application/fhir+json"}),
        (b"{", {}),
        (b"", {}),
        (b"[]", {}),
        (b"null", {}),
        (b'{"resourceType": "Bundle", "resourceType": "Bundle", "type": "searchset"}', {}),
        (b'{"resourceType": "OperationOutcome", "issue": []}', {}),
        (b'{"resourceType": "Bundle", "type": "searchset", "entry": {}}', {}),
        (b'{"resourceType": "Bundle", "type": "collection", "entry": []}', {}),
        (b'{"resourceType": "Bundle", "type": "searchset", "total": NaN}', {}),
        (b"[" * 2000, {}),
    ],
)
def test_fault_F10_not_fhir(site: Site, body: bytes, headers: Mapping[str, str]) -> None:
    site.server.behave("/fhir/Condition", reply(200, body, headers))
    found = site.one(SEARCH)
    assert (found.state, found.resources) == ("failed", ())


def test_fault_F10_a_wrong_type_header_does_not_matter(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply(200, BODY, {"Content-Type": "text/html"}))
    assert site.one(SEARCH).state == "complete"


@pytest.mark.parametrize(
    "entry", [{}, {"resource": None}, {"resource": {}}, 5, None, {"resource": PATIENT, "search": {"mode": "match"}}]
)
def test_fault_F10_an_unreadable_entry_makes_it_incomplete(site: Site, entry: object) -> None:
    page = bundle(condition("a"))
    page["entry"].append(entry)
    site.server.behave("/fhir/Condition", reply_json(page))
    found = site.one(SEARCH)
    assert found.state == "partial"
    assert [resource["id"] for resource in found.resources] == ["a"]


@pytest.mark.parametrize(
    ("severity", "state"), [("information", "complete"), ("warning", "partial"), ("error", "partial")]
)
def test_fault_F10_outcome_among_the_entries(site: Site, severity: str, state: str) -> None:
    """A server that withholds entries says so in the bundle; the rest is evidence, but not everything."""
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": "suppressed"}]}
    page = bundle(condition("a"))
    page["entry"].append({"resource": outcome, "search": {"mode": "outcome"}})
    site.server.behave("/fhir/Condition", reply_json(page))
    found = site.one(SEARCH)
    assert (found.state, len(found.resources)) == (state, 1)


def test_fault_F10_other_resource_than_asked_row_73(site: Site) -> None:
    for other in (
        {"resourceType": "Patient", "id": "other"},
        {"resourceType": "Group", "id": "example"},
        {"id": "example"},
    ):
        site.server.behave("/fhir/Patient/example", reply_json(other))
        assert site.one("Patient/example") == Fetched("failed", (), "other_resource")


def test_fault_F11_pages_are_followed_to_the_end(site: Site) -> None:
    """Pages may be shorter than asked for, even empty, and still not be the last."""
    base = site.base_url
    site.server.behave("/fhir/Condition", reply_json(bundle(condition("a"), next_url=f"{base}/page2?x=1")))
    site.server.behave("/fhir/page2", reply_json(bundle(next_url=f"{base}?getpages=3")))
    site.server.behave("/fhir", reply_json(bundle(condition("c"))))
    found = site.one(SEARCH)
    assert found.state == "complete"
    assert [resource["id"] for resource in found.resources] == ["a", "c"]
    assert [seen.headers.get("authorization") for seen in site.server.seen] == ["Bearer canary-access-token-7f3a"] * 3


def test_fault_F11_next_loop(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply_json(bundle(condition("a"), next_url=f"{site.base_url}/{SEARCH}")))
    found = site.one(SEARCH)
    assert (found.state, found.why) == ("partial", "next_repeats")
    assert len(site.server.seen) == 1


def test_fault_F11_ten_thousand_pages(site: Site) -> None:
    site.server.behave("/fhir/Condition", page_loop(lambda number, url: bundle(condition(str(number)), next_url=url)))
    found = site.one(SEARCH)
    assert (found.state, found.why, len(found.resources)) == ("partial", "pages", 10)
    assert len(site.server.seen) == 10


def test_fault_F11_too_many_entries(site: Site) -> None:
    many = bundle(*(condition(f"c{number}") for number in range(2001)))
    site.server.behave("/fhir/Condition", reply_json(many))
    found = site.one(SEARCH)
    assert (found.state, found.why, len(found.resources)) == ("partial", "entries", 2000)


def test_fault_F11_later_page_fails(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply_json(bundle(condition("a"), next_url=f"{site.base_url}/page2")))
    site.server.behave("/fhir/page2", reply(403))
    found = site.one(SEARCH)
    assert (found.state, found.why, len(found.resources)) == ("partial", "forbidden", 1)
    site.server.behave("/fhir/page2", hang())
    assert site.one(SEARCH, 0.5).state == "late"


def test_fault_F12_bundle_of_50_mb(site: Site) -> None:
    site.server.behave("/fhir/Condition", reply(200, b" " * 50_000_000))
    with PeakMemory() as peak:
        assert site.one(SEARCH) == Fetched("partial", (), "too_large")
    site.server.behave("/fhir/Condition", endless())
    site.server.behave("/fhir/Patient/example", head_only(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n"))
    assert site.one("Patient/example") == Fetched("partial", (), "too_large")  # by its own declaration
    with PeakMemory() as endless_peak:
        assert site.one(SEARCH) == Fetched("partial", (), "too_large")
    assert peak.megabytes < 50
    assert endless_peak.megabytes < 50


def test_fault_F13_one_type_slow_the_rest_fine(site: Site) -> None:
    site.server.behave("/fhir/Observation", hang())
    queries = {"observations": "Observation?patient=example", "conditions": SEARCH, "patient": "Patient/example"}
    queries |= {f"more{number}": f"{SEARCH}&n={number}" for number in range(8)}
    found = site.fetch(queries, 2.0)
    assert {key for key, fetched in found.items() if fetched.state != "complete"} == {"observations"}


def test_fault_F13_calls_with_little_time_left_do_not_open_the_breaker(site: Site) -> None:
    site.server.behave("/fhir/Observation", hang())
    for _ in range(6):
        assert site.one("Observation?patient=example", 0.1).state == "late"
    _until_idle(site.reader)
    assert site.one(SEARCH).state == "complete"


def test_fault_F13_a_slow_type_does_not_open_the_breaker(authority: Authority, tmp_path: Path) -> None:
    with FaultServer({"/fhir/Observation": hang(), "*": reply_json(FOUND)}, authority.server()) as server:
        site = Site(server, authority.write(str(tmp_path / "ca.pem")), breaker={"failures": 3})
        for _ in range(2):  # 4 in all, but never 3 in a row
            found = site.fetch({"slow": "Observation?patient=example", "slow2": "Observation?x=1", "good": SEARCH}, 1.5)
            assert found["good"].state == "complete"
            _until_idle(site.reader)
        assert site.one(SEARCH).state == "complete"
        site.close()


def test_fault_F14_one_dead_server_does_not_hold_up_the_others(authority: Authority, tmp_path: Path) -> None:
    ca_file, released = authority.write(str(tmp_path / "ca.pem")), threading.Event()
    with (
        FaultServer({"*": once(released.is_set, reply_json(FOUND))}, authority.server()) as dead,
        FaultServer({"*": reply_json(FOUND)}, authority.server()) as well,
    ):
        site = Site(
            dead, ca_file, fhir_servers=(dead.url + "/fhir", well.url + "/fhir"), callers_per_server=2, threads=8
        )
        queries = {f"q{number}": f"{SEARCH}&n={number}" for number in range(8)}
        stuck = [threading.Thread(target=site.fetch, args=(queries, 300)) for _ in range(2)]
        for thread in stuck:
            thread.start()
        until(lambda: len(dead.seen) == 4 and site.reader._servers[site.base_url].callers == 2)
        # The dead server has as many callers as it may have.
        assert {found.why for found in site.fetch(queries).values()} == {"busy"}
        for _ in range(5):
            found = site.fetch(queries, base_url=well.url + "/fhir")
            assert {fetched.state for fetched in found.values()} == {"complete"}
        assert len(dead.seen) == 4  # half of the threads
        assert all(thread.is_alive() for thread in stuck)
        released.set()
        for thread in stuck:
            thread.join()
        assert site.events.count("ehr_busy") == 1
        site.close()


def test_the_token_is_not_sent_when_there_is_none(site: Site) -> None:
    assert site.fetch({"it": SEARCH}, access_token=None)["it"] == Fetched("denied", (), "no_token")
    assert site.server.seen == []


def test_an_open_server_is_read_without_token(authority: Authority, tmp_path: Path) -> None:
    with FaultServer({"*": reply_json(FOUND)}, authority.server()) as server:
        site = Site(server, authority.write(str(tmp_path / "ca.pem")), open_fhir=True)
        assert site.fetch({"it": SEARCH}, access_token=None)["it"].state == "complete"
        assert "authorization" not in server.seen[0].headers
        site.close()


def test_nothing_to_ask(site: Site) -> None:
    assert site.fetch({}) == {}


def test_a_deadline_that_has_passed(site: Site) -> None:
    assert site.fetch({"it": SEARCH}, -1)["it"].state == "late"


def _until_idle(reader: HttpFhirReader) -> None:
    """Every thread of the reader has given up its work, whatever the server does."""
    until(lambda: not any(server.running for server in reader._servers.values()), "a thread is still held")

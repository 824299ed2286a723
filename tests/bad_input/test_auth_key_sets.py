"""Rows 12-16 and 20 of the bad-input table: the registered key address misbehaves, over real TLS."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cds_service.adapters.client_auth import ClientAuthenticator
from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.jwks import GuardedKeyFetch, KeyRing
from cds_service.clients import ClientProfile
from cds_service.errors import NotAuthenticated
from tests.support.ehr_site import Ahead
from tests.support.fault_server import (
    Authority,
    Behaviour,
    FaultServer,
    drip_body,
    endless,
    gzip_bomb,
    hang,
    new_authority,
    once,
    redirect,
    reply,
    reset,
)
from tests.support.hook_tokens import ISSUER, URL, TestClock, claims, ec, header, key_set, public, rsa, sign
from tests.support.memory import PeakMemory
from tests.support.waiting import until

GOOD = reply(200, key_set(public(ec(), "k1")))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


class Site:
    """One registered client with a real key server."""

    def __init__(self, server: FaultServer, ca_file: str) -> None:
        self.server = server
        self.clock = TestClock()
        self.events: list[str] = []
        self.http = GuardedHttp(insecure_dev=True)  # the key server is on loopback
        self.profile = ClientProfile(
            id="ehr", name="Example EHR", issuer=ISSUER, jwks_url=server.url + "/jwks.json", ca_file=ca_file
        )
        self.patience = Ahead()  # put forward, it gives a fetch that much longer
        self.ring = KeyRing(GuardedKeyFetch(self.http, self.patience), self.clock, self.events.append)
        self.desk = ClientAuthenticator({ISSUER: self.profile}, self.ring, self.clock)

    def call(self, kid: str = "k1", key: object = None) -> str:
        """Gives 200 or the reason of the 401."""
        now = int(self.clock.at)
        token = sign(key or ec(), claims(iat=now, exp=now + 300), header(kid=kid))
        try:
            self.desk.verify([f"Bearer {token}"], URL)
        except NotAuthenticated as refusal:
            return refusal.reason
        return "200"

    @property
    def fetches(self) -> int:
        return len(self.server.seen)


@pytest.fixture
def site(authority: Authority, tmp_path: Path) -> Iterator[Site]:
    with FaultServer({"/jwks.json": GOOD}, authority.server()) as server:
        found = Site(server, authority.write(str(tmp_path / "ca.pem")))
        yield found
        found.http.close()


def test_the_key_set_is_read_once_for_many_calls(site: Site) -> None:
    assert [site.call() for _ in range(20)] == ["200"] * 20
    assert site.fetches == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_bad_input_12_redirect_of_the_key_address(site: Site, authority: Authority, status: int) -> None:
    with FaultServer({"*": GOOD}, authority.server()) as elsewhere:
        site.server.behave("/jwks.json", redirect(elsewhere.url + "/jwks.json", status))
        assert site.call() == "jwks_unavailable"
        assert site.fetches == 1
        assert elsewhere.connections == 0


MANY = key_set(*(public(ec(), f"k{number}") for number in range(1, 10_001)))


@pytest.mark.parametrize(
    "behaviour",
    [
        reply(200, b" " * 50_000_000),
        gzip_bomb(),
        endless(),
        endless(gzip.compress(b" " * 1_000_000) * 10, gzipped=True),
        drip_body(),
        hang(),
        reset(),
        reply(200, b"<html><body>Sign in</body></html>", {"Content-Type": "text/html"}),
        reply(200, MANY),
        reply(200, key_set(*(public(ec(), f"k{number}") for number in range(1, 102)))),
        reply(200, b""),
        reply(200, b"[]"),
        reply(200, b'{"keys": 5}'),
        reply(200, b'{"keys": [[]]}'),
        reply(200, b'{"keys": ' + b"[" * 100_000),
        reply(200, b"\xff\xfe"),
        reply(200, b'{"keys": []}', {"Content-Encoding": "br"}),
        reply(404, key_set(public(ec(), "k1"))),
        reply(500, key_set(public(ec(), "k1"))),
    ],
    ids=[
        "50 MB",
        "gzip bomb",
        "endless",
        "endless gzip",
        "drip",
        "silent",
        "reset",
        "HTML",
        "10,000 keys",
        "101 keys",
        "empty",
        "list",
        "number",
        "list of lists",
        "deep",
        "not text",
        "unknown encoding",
        "404",
        "500",
    ],
)
def test_bad_input_13_strange_key_set(site: Site, behaviour: Behaviour) -> None:
    site.server.behave("/jwks.json", behaviour)
    with PeakMemory() as peak:
        assert site.call() == "jwks_unavailable"  # a silent or dripping host would keep the call for minutes
    assert peak.megabytes < 20
    assert site.events[0] in {"jwks_unavailable", "jwks_unusable"}


def test_bad_input_13_a_key_set_with_rubbish_beside_the_key(site: Site) -> None:
    rubbish = [{}, {"kty": "RSA"}, {"kid": "x"}, {"kty": "EC", "kid": "y", "crv": "P-384", "x": "!", "y": "!"}]
    site.server.behave("/jwks.json", reply(200, key_set(*rubbish, public(ec(), "k1"))))
    assert site.call() == "200"


def test_bad_input_14_host_down_while_the_key_is_fresh(site: Site) -> None:
    assert site.call() == "200"
    site.server.behave("/jwks.json", reset())
    site.clock.go(599)
    assert site.call() == "200"
    assert site.fetches == 1


def test_bad_input_14_host_down_and_the_key_is_stale_up_to_a_bound(site: Site) -> None:
    assert site.call() == "200"
    site.server.behave("/jwks.json", reset())
    site.clock.go(601)
    assert site.call() == "200"
    assert site.events == ["jwks_fetched", "jwks_unavailable", "jwks_stale_used"]
    site.clock.go(3598)
    assert site.call() == "200"
    site.clock.go(2)
    assert site.call() == "key_unknown"


def test_bad_input_15_host_down_and_nothing_cached(site: Site) -> None:
    site.server.behave("/jwks.json", reset())
    assert site.call() == "jwks_unavailable"
    assert site.events == ["jwks_unavailable"]
    site.server.behave("/jwks.json", GOOD)
    assert site.call() == "jwks_unavailable"  # asked again after a pause, not with every call
    assert site.fetches == 1
    site.clock.go(10)
    assert site.call() == "200"


def test_bad_input_16_a_thousand_unknown_kids(site: Site) -> None:
    for number in range(1000):
        assert site.call(f"random-{number}") == "key_unknown"
    assert site.fetches == 1
    site.clock.go(60)
    for number in range(100):
        assert site.call(f"later-{number}") == "key_unknown"
    assert site.fetches == 2
    assert len(site.ring._issuers) == 1  # nothing is kept per unknown kid


def test_bad_input_16_many_threads_fetch_once(site: Site) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def call() -> None:
        barrier.wait()
        outcomes.append(site.call())

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["200"] * 8
    assert site.fetches == 1


def test_bad_input_16_a_stale_key_does_not_wait_for_anothers_fetch(site: Site) -> None:
    assert site.call() == "200"
    released = threading.Event()
    site.server.behave("/jwks.json", once(released.is_set, GOOD))
    site.patience.seconds = 300
    site.clock.go(601)
    slow = threading.Thread(target=site.call)
    slow.start()
    try:
        until(lambda: site.fetches == 2)
        assert site.call() == "200"
        assert slow.is_alive()
    finally:
        released.set()
        slow.join()


def test_bad_input_20_rotation_without_restart(site: Site) -> None:
    assert site.call() == "200"
    site.server.behave("/jwks.json", reply(200, key_set(public(ec("new"), "k2"))))
    site.clock.go(60)
    assert site.call("k2", ec("new")) == "200"  # an unknown kid asks for the new set
    assert site.call() == "key_unknown"  # and the removed key is gone with it
    assert site.fetches == 2


def test_bad_input_20_a_removed_key_ends_with_the_cache(site: Site) -> None:
    assert site.call() == "200"
    site.server.behave("/jwks.json", reply(200, key_set(public(ec("new"), "k2"))))
    site.clock.go(599)
    assert site.call() == "200"
    site.clock.go(2)
    assert site.call() == "key_unknown"


def test_bad_input_20_same_kid_new_key(site: Site) -> None:
    assert site.call() == "200"
    site.server.behave("/jwks.json", reply(200, key_set(public(ec("new"), "k1"))))
    site.clock.go(601)
    assert site.call("k1", ec("new")) == "200"
    assert site.call() == "signature"


def test_the_key_server_is_not_trusted_without_its_authority(site: Site, authority: Authority, tmp_path: Path) -> None:
    other = Site(site.server, new_authority().write(str(tmp_path / "other.pem")))
    assert other.call() == "jwks_unavailable"
    other.http.close()
    assert site.fetches == 0


def test_inspect_says_what_each_key_is(site: Site) -> None:
    weak = {**public(rsa("weak", 1024), "weak")}
    site.server.behave(
        "/jwks.json",
        reply(200, key_set(public(ec(), "k1"), public(rsa(), "r1", alg="RS384"), weak, {"kty": "oct", "kid": "s"})),
    )
    report = site.ring.inspect(site.profile)
    assert report.state == "read"
    assert [(key.kid, key.kind, key.algorithms, key.why) for key in report.keys] == [
        ("k1", "EC P-384", ("ES384",), ""),
        ("r1", "RSA 2048", ("RS384",), ""),
        ("weak", "RSA", (), "rsa_size"),
        ("s", "oct", (), "symmetric_or_unknown_type"),
    ]
    site.server.behave("/jwks.json", reply(200, json.dumps({"issuer": "x"}).encode()))
    assert site.ring.inspect(site.profile).state == "not_a_key_set"
    site.server.behave("/jwks.json", reply(503))
    assert site.ring.inspect(site.profile).state == "status"

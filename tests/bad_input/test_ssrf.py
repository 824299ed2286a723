"""Rows 82-92 of the bad-input table: where we may be sent, and what happens to the EHR's token on the way.

That the refused server becomes a 403 for the hook's caller, and that store and logs never see a token, is tested again
where the use case is; here is what must hold for every outbound call.
"""

from __future__ import annotations

import datetime as dt
import gc
import gzip
import json
import logging
import os
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from cds_service.adapters.fhir_http import HttpFhirReader
from cds_service.adapters.fhir_search import read_query
from cds_service.adapters.guarded_http import Answer, Egress, GuardedHttp, OutboundFailure, egress_to_fhir, within
from cds_service.adapters.pinned_connection import Reach, allowed_address
from cds_service.adapters.system import SystemClock
from cds_service.clients import ClientProfile, normal_base, registered_server
from cds_service.errors import NotAllowed
from cds_service.ports import Fetched, Grant
from tests.support.ehr_site import TOKEN, Site, bundle, condition
from tests.support.fault_server import Authority, FaultServer, gzip_bomb, new_authority, redirect, reply, reply_json
from tests.support.memory import PeakMemory

BASE = "https://ehr.example/fhir"
PROFILE = ClientProfile(
    id="ehr",
    name="Example EHR",
    issuer="https://ehr.example",
    jwks_url="https://ehr.example/jwks",
    fhir_servers=(BASE,),
)
SEARCH = "Condition?patient=example"


class NoNetwork:
    """Records what would have been sent."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def get(
        self, url: str, egress: Egress, deadline: float, headers: Mapping[str, str] | None = None, *, max_bytes: int = 0
    ) -> Answer:
        self.urls.append(url)
        raise OutboundFailure("disconnected")


def ask(fhir_server: str, profile: ClientProfile = PROFILE) -> list[str]:
    """The addresses that would be visited for this server."""
    network = NoNetwork()
    reader = HttpFhirReader(network, SystemClock(), sleep=lambda _: None)
    try:
        reader.fetch(Grant(fhir_server, TOKEN, "", profile), {"it": SEARCH}, time.monotonic() + 0.5)
    finally:
        reader.close()
    return network.urls


def test_bad_input_82_server_not_registered() -> None:
    other = msgspec.structs.replace(PROFILE, fhir_servers=("https://other.example/fhir",))
    for profile in (other, msgspec.structs.replace(PROFILE, fhir_servers=())):
        with pytest.raises(NotAllowed) as refusal:
            ask(BASE, profile)
        assert "ehr.example" not in refusal.value.diagnostics


VARIANTS_83 = [
    "https://ehr.example@evil/",
    "https://ehr.example@evil/fhir",
    "https://evil@ehr.example/fhir",
    "https://user:pass@ehr.example/fhir",
    "https://ehr.example.evil/fhir",
    "https://evil.ehr.example/fhir",
    "https://ehr.example\\@evil/fhir",
    "https://evil\\@ehr.example/fhir",
    "https:\\\\ehr.example\\fhir",
    "https://ehr.example./fhir",
    "https://\u0435hr.example/fhir",  # Cyrillic ie
    "https://ehr.example\u3002/fhir",
    "https://xn--hr-olc.example/fhir",
    "http://ehr.example/fhir",
    "ftp://ehr.example/fhir",
    "//ehr.example/fhir",
    "ehr.example/fhir",
    "https://ehr.example:444/fhir",
    "https://ehr.example:0443x/fhir",
    "https://ehr.example:99999/fhir",
    "https://ehr.example:-443/fhir",
    "https://2130706433/fhir",
    "https://0x7f.1/fhir",
    "https://0177.0.0.1/fhir",
    "https://127.1/fhir",
    "https://[::1]/fhir",
    "https://[::ffff:127.0.0.1]/fhir",
    "https://[ehr.example]/fhir",
    "https://[::1/fhir",
    "https://169.254.169.254/fhir",
    "https://ehr.example /fhir",
    " https://ehr.example/fhir",
    "https://ehr.example/fhir\n",
    "https://ehr.example/fh\tir",
    "https://ehr.example\r\nHost: evil/fhir",
    "https://ehr.example\x00.evil/fhir",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "",
    "https://",
    "https:///fhir",
]
VARIANTS_84 = [
    "https://ehr.example/fhir/../../admin",
    "https://ehr.example/fhir/..",
    "https://ehr.example/x/../fhir",
    "https://ehr.example/./fhir",
    "https://ehr.example/fhir/%2e%2e/admin",
    "https://ehr.example/%66hir",
    "https://ehr.example/fhir%2f",
    "https://ehr.example/fhirx",
    "https://ehr.example/fhir/x",
    "https://ehr.example/FHIR",
    "https://ehr.example/fhir?x=",
    "https://ehr.example/fhir?",
    "https://ehr.example/fhir#",
    "https://ehr.example/fhir#x",
    "https://ehr.example/fhir;x",
    "https://ehr.example//fhir",
    "https://ehr.example/fhir//",
    "https://ehr.example/",
    "https://ehr.example",
]


@pytest.mark.parametrize("fhir_server", VARIANTS_83 + VARIANTS_84)
def test_bad_input_83_84_server_variants(fhir_server: str) -> None:
    with pytest.raises(NotAllowed):
        ask(fhir_server)
    assert registered_server(PROFILE, fhir_server) is None


@pytest.mark.parametrize(
    "fhir_server",
    [
        BASE,
        BASE + "/",
        "https://ehr.example:443/fhir",
        "https://EHR.Example/fhir",
        "HTTPS://ehr.example:443/fhir/",
        "https://ehr.example:/fhir",
    ],
)
def test_bad_input_85_same_server(fhir_server: str) -> None:
    assert ask(fhir_server)[0] == f"{BASE}/{SEARCH}"  # written as registered, not as sent
    assert ask(fhir_server, msgspec.structs.replace(PROFILE, fhir_servers=(BASE + "/",)))[0] == f"{BASE}/{SEARCH}"


@given(st.text(st.sampled_from("htps:/\\@.%?#[]ehr.xampl_fi 0123456789-\u0435\n"), max_size=40))
def test_bad_input_83_whatever_is_accepted_is_the_registered_server(text: str) -> None:
    for candidate in (text, "https://" + text, BASE + text, "https://ehr.example" + text):
        normal = normal_base(candidate)
        if registered_server(PROFILE, candidate) is not None:
            assert normal == ("https", "ehr.example", 443, "/fhir")
            assert candidate.lower().rstrip("/").replace(":443", "").replace("example:/", "example/") == BASE


PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fd00::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
NEVER = [
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:169.254.169.254",
]


@pytest.mark.parametrize(
    ("address", "reaches"),
    [
        *((a, {"", "p", "l", "pl"}) for a in PUBLIC),
        *((a, {"p", "pl"}) for a in PRIVATE),
        *((a, {"l", "pl"}) for a in LOOPBACK),
        *((a, set()) for a in NEVER),
    ],
)
def test_bad_input_86_which_addresses_are_allowed(address: str, reaches: set[str]) -> None:
    for reach in ("", "p", "l", "pl"):
        assert allowed_address(address, Reach("p" in reach, "l" in reach)) is (reach in reaches), reach


class Names:
    """A name server whose answers change from look-up to look-up."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["93.184.215.14", "10.1.2.3"], ["::1"]]
)
def test_bad_input_86_registered_host_with_a_private_address(
    authority: Authority, tmp_path: Path, addresses: list[str]
) -> None:
    with FaultServer({"*": reply_json(bundle())}, authority.server("ehr.example")) as server:
        base = f"https://ehr.example:{server.port}/fhir"
        profile = msgspec.structs.replace(
            PROFILE, fhir_servers=(base,), ca_file=authority.write(str(tmp_path / "ca.pem"))
        )
        http = GuardedHttp(resolver=Names(addresses))
        with pytest.raises(OutboundFailure) as failure:
            http.get(base + "/" + SEARCH, egress_to_fhir(profile, base), time.monotonic() + 30)
        assert failure.value.reason == "address_refused"
        assert server.connections == 0
        http.close()


def test_bad_input_86_name_that_changes_after_the_check(authority: Authority, tmp_path: Path) -> None:
    """The name is asked for once per connection; the address that was checked is the one that is used."""
    with FaultServer({"*": reply_json(bundle())}, authority.server("ehr.example")) as server:
        base = f"https://ehr.example:{server.port}/fhir"
        profile = msgspec.structs.replace(
            PROFILE, fhir_servers=(base,), ca_file=authority.write(str(tmp_path / "ca.pem"))
        )
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        http = GuardedHttp(insecure_dev=True, resolver=names)
        answer = http.get(base + "/" + SEARCH, egress_to_fhir(profile, base), time.monotonic() + 30)
        assert answer.status == 200
        assert names.asked == ["ehr.example"]
        assert server.seen[0].headers["host"] == f"ehr.example:{server.port}"
        http.close()
        with pytest.raises(OutboundFailure) as failure:  # a new connection, a new look-up, a new check
            http.get(base + "/" + SEARCH, egress_to_fhir(profile, base), time.monotonic() + 30)
        assert failure.value.reason == "address_refused"
        http.close()


def test_bad_input_86_ipv6_and_the_second_address(authority: Authority, tmp_path: Path) -> None:
    with FaultServer({"*": reply_json(bundle())}, authority.server("ehr.example"), host="::1") as server:
        base = f"https://ehr.example:{server.port}/fhir"
        profile = msgspec.structs.replace(
            PROFILE, fhir_servers=(base,), ca_file=authority.write(str(tmp_path / "ca.pem"))
        )
        http = GuardedHttp(insecure_dev=True, resolver=Names(["127.0.0.1", "::1"]))  # nobody listens at the first
        assert http.get(base + "/" + SEARCH, egress_to_fhir(profile, base), time.monotonic() + 30).status == 200
        http.close()


def test_bad_input_86_private_needs_the_clients_own_setting(authority: Authority) -> None:
    """allow_private opens private ranges, not loopback; loopback needs --insecure-dev."""
    with FaultServer({"*": reply_json(bundle())}, authority.server()) as server:
        base = server.url + "/fhir"
        profile = msgspec.structs.replace(PROFILE, fhir_servers=(base,), allow_private=True)
        http = GuardedHttp()
        with pytest.raises(OutboundFailure) as failure:
            http.get(base + "/" + SEARCH, egress_to_fhir(profile, base), time.monotonic() + 30)
        assert failure.value.reason == "address_refused"
        assert server.connections == 0
        http.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def site(authority: Authority, tmp_path: Path) -> Iterator[Site]:
    with FaultServer({}, authority.server()) as server:
        found = Site(server, authority.write(str(tmp_path / "ca.pem")))
        found.server = server
        yield found
        found.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["same host", "other port", "other host", "http"])
def test_bad_input_87_redirects(site: Site, authority: Authority, status: int, target: str) -> None:
    with FaultServer({"*": reply_json(bundle(condition("evil")))}, authority.server()) as elsewhere:
        location = {
            "same host": site.base_url + "/other",
            "other port": elsewhere.url + "/fhir/Condition",
            "other host": f"https://localhost:{elsewhere.port}/fhir/Condition",
            "http": f"http://127.0.0.1:{elsewhere.port}/fhir/Condition",
        }[target]
        site.server.behave("/fhir/Condition", redirect(location, status))
        site.server.behave("/fhir/other", reply_json(bundle(condition("evil"))))
        assert site.one(SEARCH) == Fetched("failed", (), "redirected")
        assert site.server.targets == [f"/fhir/{SEARCH}"]
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "link",
    [
        "https://{other}/fhir/Condition?page=2",
        "https://localhost:{port}/fhir/Condition?page=2",
        "//{other}/fhir/Condition",
        "http://127.0.0.1:{port}/fhir/Condition?page=2",
        "https://user@127.0.0.1:{port}/fhir/Condition?page=2",
        "https://127.0.0.1:{port}@evil/fhir/Condition",
        "https://127.0.0.1:{port}/admin?page=2",
        "/admin?page=2",
        "https://127.0.0.1:{port}/fhir/../admin",
        "https://127.0.0.1:{port}/fhir/%2e%2e/admin",
        "../admin",
        "..%2fadmin",
        "https://127.0.0.1:{port}/fhirx/Condition",
        "https://127.0.0.1:{port}\\@evil/fhir",
        "https://127.0.0.1:{port}/fhir/x#y",
        "javascript:alert(1)",
        "https://[::1",
        "https://127.0.0.1:{port}/fhir/\u00e9",
        "https://127.0.0.1:{port}/fhir/a\r\nHost: x",
        5,
        None,
        "",
    ],
)
def test_bad_input_88_next_link_elsewhere(site: Site, authority: Authority, link: object) -> None:
    with FaultServer({"*": reply_json(bundle(condition("evil")))}, authority.server()) as elsewhere:
        if isinstance(link, str):
            link = link.replace("{port}", str(site.server.port)).replace("{other}", f"127.0.0.1:{elsewhere.port}")
        page = bundle(condition("a"), link=[{"relation": "next", "url": link}])
        site.server.behave("/fhir/Condition", reply_json(page))
        site.server.behave("*", reply_json(bundle(condition("evil"))))
        found = site.one(SEARCH)
        assert (found.state, found.why) in {("partial", "next_refused"), ("partial", "next_repeats")}
        assert [resource["id"] for resource in found.resources] == ["a"]
        assert site.server.targets == [f"/fhir/{SEARCH}"]
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "link",
    ["{base}/Condition?page=2", "Condition?page=2", "?page=2", "/fhir/Condition?page=2", "{BASE}/Condition?page=2"],
)
def test_bad_input_88_next_link_below_the_base(site: Site, link: str) -> None:
    link = link.replace("{base}", site.base_url).replace("{BASE}", site.base_url.replace("https", "HTTPS"))
    site.server.behave(
        "/fhir/Condition",
        lambda wire, seen: reply_json(
            bundle(condition("b")) if "page=2" in seen.target else bundle(condition("a"), next_url=link)
        )(wire, seen),
    )
    site.server.behave("/fhir/", reply_json(bundle(condition("b"))))
    found = site.one(SEARCH)
    assert (found.state, len(found.resources)) == ("complete", 2)


@pytest.mark.parametrize(
    "query",
    [
        "../../admin",
        "Patient/../../admin",
        "Patient/..%2f",
        "Patient/1?_include=*",
        "Patient/..",
        "Patient/.",
        "javascript:alert(1)",
        "https://evil/Patient/1",
        "//evil/Patient/1",
        "/Patient/1",
        "Patient",
        "Patient/",
        "Patient/1/2",
        "Patient/1#x",
        "Patient?a=b#c",
        "Patient?a=b\r\nHost: evil",
        "Patient/\u00e9",
        "patient/1",
        "",
        "metadata",
        "Patient?",
        "$export",
        "Patient/$everything",
    ],
)
def test_bad_input_78_queries_that_leave_the_base(site: Site, query: str) -> None:
    assert read_query(query) is None
    assert site.one(query) == Fetched("failed", (), "not_allowed")
    assert site.server.seen == []


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        (BASE, True),
        (BASE + "/Patient/1", True),
        (BASE + "?x=1", True),
        (BASE + "/a?b=../c", True),
        (BASE + "x", False),
        (BASE + "/../x", False),
        (BASE + "/a/..", False),
        (BASE + "/./a", False),
        ("https://ehr.example", False),
        (BASE + "/%2E%2e/x", False),
        (BASE + "/a%2fb", False),
        (BASE + "/a%5cb", False),
        (BASE + "/a\\b", False),
        (BASE + "/a#b", False),
    ],
)
def test_bad_input_88_the_guard_itself_refuses(url: str, inside: bool) -> None:
    """Whoever calls: the guarded client looks once more."""
    egress = egress_to_fhir(PROFILE, BASE)
    assert within(url, egress) is inside
    if not inside:
        with pytest.raises(OutboundFailure) as failure:
            GuardedHttp().get(url, egress, time.monotonic() + 1)
        assert failure.value.reason == "not_allowed"


def test_plain_http_needs_both_switches() -> None:
    with FaultServer({"*": reply_json(bundle())}) as server:
        base = server.url + "/fhir"
        for insecure, allow, expected in ((True, True, 200), (True, False, None), (False, True, None)):
            http = GuardedHttp(insecure_dev=insecure)
            egress = egress_to_fhir(msgspec.structs.replace(PROFILE, fhir_servers=(base,), allow_http=allow), base)
            if expected:
                assert http.get(base + "/" + SEARCH, egress, time.monotonic() + 30).status == expected
            else:
                with pytest.raises(OutboundFailure, match="not_allowed"):
                    http.get(base + "/" + SEARCH, egress, time.monotonic() + 30)
            http.close()
        assert len(server.seen) == 1


def test_bad_input_89_environment(
    site: Site, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password secret\ndefault login mallory password secret\n")
    netrc.chmod(0o600)
    keys = tmp_path / "tls-keys.log"
    with FaultServer({"*": reply(502)}) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.devnull)
        monkeypatch.setenv("CURL_CA_BUNDLE", os.devnull)
        monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
        monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
        site.server.behave("*", reply_json(bundle(condition("a"))))
        assert site.one(SEARCH).state == "complete"
        assert site.server.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert proxy.connections == 0
        assert not keys.exists()


def test_bad_input_89_a_ca_bundle_of_the_environment_is_not_trusted(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle_file = authority.write(str(tmp_path / "ca.pem"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, bundle_file)
    with FaultServer({"*": reply_json(bundle())}, authority.server()) as server:
        site = Site(server)  # no ca_file: the public authorities
        assert site.one(SEARCH) == Fetched("failed", (), "tls_failed")
        assert server.seen == []
        site.close()


def test_bad_input_89_no_cookies_are_kept(site: Site) -> None:
    site.server.behave("*", reply_json(bundle(), headers={"Set-Cookie": "session=abc; Path=/"}))
    site.one(SEARCH)
    site.one(SEARCH)
    assert [seen.headers.get("cookie") for seen in site.server.seen] == [None, None]


def _expired(authority: Authority) -> ssl.SSLContext:
    return authority.server(not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))


def _self_signed(_: Authority) -> ssl.SSLContext:
    return Authority(trustme.CA()).server()


def _old_tls(authority: Authority) -> ssl.SSLContext:
    context = authority.server()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.parametrize(
    "bad",
    [_expired, lambda a: a.server("other.example"), _self_signed, _old_tls],
    ids=["expired", "name", "unknown", "TLS 1.1"],
)
def test_bad_input_90_certificates(authority: Authority, tmp_path: Path, bad: object) -> None:
    with FaultServer({"*": reply_json(bundle())}, bad(authority)) as server:
        site = Site(server, authority.write(str(tmp_path / "ca.pem")))
        assert site.one(SEARCH) == Fetched("failed", (), "tls_failed")
        assert server.seen == []
        site.close()


def test_bad_input_90_no_switch_turns_verification_off() -> None:
    assert not [name for name in ClientProfile.__struct_fields__ if "verify" in name or "insecure" in name]


def test_bad_input_91_gzip_bomb_response(site: Site) -> None:
    site.server.behave("*", gzip_bomb())
    site.one("Patient/warm")
    with PeakMemory() as peak:
        assert site.one(SEARCH) == Fetched("partial", (), "too_large")
    assert peak.megabytes < 20


def test_bad_input_91_gzip_within_the_limit_is_read(site: Site) -> None:
    body = gzip.compress(json.dumps(bundle(condition("a"))).encode())
    site.server.behave("*", reply(200, body, {"Content-Encoding": "gzip"}))
    assert site.one(SEARCH).state == "complete"


def test_bad_input_92_token_after_the_answer(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong: not in logs, events, errors or results; and no live object of ours keeps it."""
    caplog.set_level(logging.DEBUG)
    site.server.behave("/fhir/Condition", redirect("https://127.0.0.1:1/"))
    site.server.behave("/fhir/Patient/a", reply(500))
    outcomes: list[object] = [site.fetch({"a": SEARCH, "b": "Patient/a", "c": "Patient/b"})]
    egress = egress_to_fhir(site.profile, "https://127.0.0.1:1")
    with pytest.raises(OutboundFailure) as refused:
        site.http.get("https://127.0.0.1:1/x", egress, time.monotonic() + 1, {"Authorization": f"Bearer {TOKEN}"})
    assert refused.value.__cause__ is None
    outcomes += [repr(refused.value), site.events, caplog.text]
    assert TOKEN not in repr(outcomes)
    assert "patient=example" not in caplog.text


def test_bad_input_92_no_object_keeps_the_token(site: Site) -> None:
    """The one call that lent it is over: nothing of ours holds it any more."""
    token = "".join(("canary", "-", str(time.monotonic())))
    site.server.behave("*", reply_json(bundle()))
    site.fetch({"a": SEARCH}, access_token=token)
    site.server.seen.clear()
    gc.collect()
    kept = {f"Bearer {token}", f"Bearer {token}".encode()}
    holders = [
        found
        for found in gc.get_objects()
        if isinstance(found, dict) and any(type(value) in (str, bytes) and value in kept for value in found.values())
    ]
    assert holders == []


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", "\u00e9", "", "a\x00b"])
def test_bad_input_58_token_that_would_write_headers(site: Site, token: str) -> None:
    assert site.fetch({"it": SEARCH}, access_token=token)["it"] == Fetched("denied", (), "token_unusable")
    assert site.server.seen == []

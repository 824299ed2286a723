"""``check-client``: every broken set-up is named in a sentence that says what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cds_service.adapters.guarded_http import GuardedHttp, server_states
from cds_service.adapters.jwks import GuardedKeyFetch, KeyRing
from cds_service.adapters.system import SystemClock
from cds_service.cds_hooks.prefetch import WANTED
from cds_service.clients import ClientProfile
from cds_service.ports import KeySetReport, PrefetchSeen, PublishedKey
from cds_service.use_cases.check_client import Report, check_client
from tests.support.fault_server import Authority, FaultServer, closed_port, new_authority, redirect, reply, reply_json
from tests.support.hook_tokens import ISSUER, ec, key_set, public, rsa

URLS = {
    hook: f"https://cds.example.net/cds-services/{hook}" for hook in ("order-sign", "order-select", "order-dispatch")
}
SCOPES = tuple(f"patient/{kind}.read" for kind in dict.fromkeys(WANTED.values()))
GOOD = ClientProfile(
    id="ehr",
    name="Example EHR",
    issuer=ISSUER,
    jwks_url="https://ehr.example.org/jwks.json",
    fhir_servers=("https://ehr.example.org/fhir",),
    scopes=SCOPES,
)
READ = KeySetReport("read", (PublishedKey("k1", "EC P-384", ("ES384",)),))


class Seen:
    """A key inspector that has looked already."""

    def __init__(self, report: KeySetReport = READ) -> None:
        self.report = report

    def inspect(self, profile: ClientProfile) -> KeySetReport:
        return self.report


def sent(calls: int, **changes: int) -> PrefetchSeen:
    """``calls`` calls with every key of ours, but for the keys named."""
    counts = dict.fromkeys(WANTED, calls) | changes
    return PrefetchSeen(calls, {key: count for key, count in counts.items() if count})


def look(profile: ClientProfile = GOOD, keys: KeySetReport = READ, **more: object) -> Report:
    settings = {"servers": {"https://ehr.example.org/fhir": "answers"}, "seen": sent(5), **more}
    return check_client(profile, keys=Seen(keys), urls=URLS, **settings)


def problems(report: Report) -> list[str]:
    return [f"{finding.topic}: {finding.text}" for finding in report.findings if finding.level == "problem"]


def test_a_good_client_has_no_problem() -> None:
    report = look()
    assert problems(report) == []
    assert report.fine
    assert report.text.startswith("client ehr\n")
    assert report.text.endswith("nothing in the way")


def change(**changes: object) -> ClientProfile:
    return msgspec.structs.replace(GOOD, **changes)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (lambda: look(change(enabled=False)), "registration: the client is disabled"),
        (lambda: look(change(hooks=())), "registration: it may use no hook"),
        (lambda: look(change(hooks=("order-sign", "patient-view"))), "aud: this service has no patient-view"),
        (
            lambda: look(keys=KeySetReport("connect_failed")),
            "keys: https://ehr.example.org/jwks.json cannot be used: nobody accepts",
        ),
        (lambda: look(keys=KeySetReport("tls_failed")), "set ca_file"),
        (lambda: look(keys=KeySetReport("address_refused")), "set allow_private: true"),
        (lambda: look(keys=KeySetReport("redirected")), "register the address that it redirects to"),
        (lambda: look(keys=KeySetReport("read")), "none of its 0 keys can verify RS384, ES384"),
        (lambda: look(keys=KeySetReport("read", (PublishedKey("k", "RSA", (), "rsa_size"),))), "none of its 1 keys"),
        (lambda: look(keys=KeySetReport("read", (PublishedKey("k", "EC P-256", ("ES256",)),))), "none of its 1 keys"),
        (
            lambda: look(
                keys=KeySetReport("read", (*READ.keys, PublishedKey("p", "RSA", (), "private_key_published")))
            ),
            "private part",
        ),
        (lambda: look(keys=KeySetReport("read", READ.keys * 2)), "kid k1 stands 2 times"),
        (lambda: look(change(fhir_servers=())), "fhir: none is registered"),
        (
            lambda: look(servers={"https://ehr.example.org/fhir": "late"}),
            "fhir: https://ehr.example.org/fhir cannot be used: it does not answer",
        ),
        (
            lambda: look(change(scopes=("patient/Patient.read",))),
            "scopes: the token cannot read Encounter, Coverage, Condition",
        ),
        (lambda: look(seen=PrefetchSeen(3, {"patient": 3})), "prefetch: coverage was never sent"),
        (lambda: look(seen=PrefetchSeen(3, {})), "prefetch: coverage was never sent"),
        (lambda: look(seen=sent(4, coverage=0, cov=4)), "prefetch: not known here: cov"),
        (
            lambda: look(change(system_actions=("ServiceRequest",))),
            "no system action on MedicationRequest, DeviceRequest and fallback_card is false",
        ),
    ],
)
def test_each_broken_set_up_is_named(report: object, words: str) -> None:
    found = report()
    assert not found.fine
    assert words in "\n".join(problems(found)), problems(found)
    assert "problem" in found.text.splitlines()[-1]


@pytest.mark.parametrize(
    ("report", "note"),
    [
        (lambda: look(change(tenants=("north",))), "tokens with tenant north"),
        (lambda: look(change(deadline_seconds=8)), "answers may take 8 s"),
        (lambda: look(change(algorithms=("RS384", "ES384", "RS256"))), "RS256 is allowed"),
        (lambda: look(change(jwks={"keys": []})), "jwks_url is only compared"),
        (lambda: look(change(audiences=("https://cds.example.net/x",), single_aud=True)), "is accepted for every hook"),
        (lambda: look(servers=None), "it was not contacted"),
        (lambda: look(change(open_fhir=True)), "without a token"),
        (lambda: look(change(scopes=())), "not stated"),
        (lambda: look(change(scopes=("Appointment.Read (R4)",))), "not all are SMART syntax"),
        (
            lambda: look(change(scopes=tuple(scope for scope in SCOPES if "DeviceUse" not in scope))),
            "cannot read DeviceUseStatement",
        ),
        (lambda: look(change(scopes=("patient/*.read",))), "they cover everything"),
        (lambda: look(seen=None), "past calls are not on record, or the store cannot be read"),
        (lambda: look(seen=PrefetchSeen(0, {})), "no answered call lately; it should send patient"),
        (lambda: look(seen=sent(7)), f"{len(WANTED)} of {len(WANTED)} keys in 7 latest calls"),
        (lambda: look(seen=sent(7, devices=0)), "never sent lately: devices; each is read from the FHIR server"),
        (lambda: look(seen=sent(7, devices=2, encounter=3)), "sent in some of 7 calls only: devices (2)\n"),
        (
            lambda: look(change(prefetch_aliases={"cov": "coverage"}), seen=sent(5, coverage=2, cov=3)),
            f"{len(WANTED)} of {len(WANTED)} keys in 5 latest calls\n",
        ),
        (
            lambda: look(change(system_actions=("ServiceRequest",), fallback_card=True)),
            "for MedicationRequest, DeviceRequest a card says",
        ),
        (lambda: look(change(smart_link=False)), "no SMART link"),
        (
            lambda: look(keys=KeySetReport("read", (*READ.keys, PublishedKey("", "OKP", (), "no_kid")))),
            "a key (OKP) has no kid",
        ),
        (
            lambda: look(keys=KeySetReport("read", (*READ.keys, PublishedKey("e", "EC P-521", ("ES512",))))),
            "kid e (EC P-521) is for ES512",
        ),
    ],
)
def test_what_is_worth_knowing_is_no_problem(report: object, note: str) -> None:
    found = report()
    assert found.fine, problems(found)
    assert note in found.text


def test_what_a_token_must_say_is_told() -> None:
    text = look().text
    assert f"iss {ISSUER}" in text
    assert "for order-sign a token's aud must be exactly https://cds.example.net/cds-services/order-sign" in text


def test_an_insecure_public_url_is_noted() -> None:
    report = check_client(GOOD, keys=Seen(), urls={hook: "http://127.0.0.1:8080/" + hook for hook in URLS})
    noted = [finding.text for finding in report.findings if finding.topic == "aud" and finding.level == "note"]
    assert len(noted) == 1  # once, whatever the number of hooks
    assert "CDS_PUBLIC_URL" in noted[0]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def real(authority: Authority, tmp_path: Path) -> Iterator[tuple[FaultServer, ClientProfile, GuardedHttp]]:
    routes = {
        "/jwks.json": reply(200, key_set(public(ec(), "k1"), public(rsa(), "r1"))),
        "/fhir/metadata": reply_json({}),
    }
    with FaultServer(routes, authority.server()) as server:
        profile = change(
            jwks_url=server.url + "/jwks.json",
            fhir_servers=(server.url + "/fhir/",),
            ca_file=authority.write(str(tmp_path / "ca.pem")),
        )
        http = GuardedHttp(insecure_dev=True)
        yield server, profile, http
        http.close()


def real_look(profile: ClientProfile, http: GuardedHttp) -> Report:
    clock = SystemClock()
    states = server_states(http, profile, time.monotonic() + 30)
    return check_client(profile, keys=KeyRing(GuardedKeyFetch(http, clock), clock), urls=URLS, servers=states)


def test_over_real_tls(real: tuple[FaultServer, ClientProfile, GuardedHttp]) -> None:
    server, profile, http = real
    report = real_look(profile, http)
    assert report.fine, report.text
    assert f"{server.url}/jwks.json was read: 2 keys, 2 usable" in report.text
    assert f"{server.url}/fhir/ answers" in report.text
    assert all("authorization" not in seen.headers for seen in server.seen)


def test_over_real_tls_broken(real: tuple[FaultServer, ClientProfile, GuardedHttp], authority: Authority) -> None:
    server, profile, http = real
    assert "its certificate is not accepted" in real_look(msgspec.structs.replace(profile, ca_file=None), http).text
    gone = msgspec.structs.replace(profile, jwks_url=f"https://127.0.0.1:{closed_port()}/jwks.json")
    assert "nobody accepts the connection" in real_look(gone, http).text
    server.behave("/jwks.json", redirect("/other"))
    server.behave("/fhir/metadata", redirect("/other"))
    assert real_look(profile, http).text.count("redirects are never followed") == 2
    server.behave("/jwks.json", reply(200, json.dumps({"jwks": []}).encode()))
    server.behave("/fhir/metadata", reply(503))
    report = real_look(profile, http)
    assert "not with a JSON Web Key Set" in report.text
    assert "it answers with an error status" in report.text
    assert not report.fine

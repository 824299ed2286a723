"""Where the app may be sent, and over which connections (SM-41, SM-48; rows 82 to 91 for the app)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import msgspec
import pytest
import trustme

from smart_app.adapters.outbound import OutboundFailure, egress_to_ehr, egress_to_payer
from smart_app.registry import EhrProfile, PayerProfile
from smart_app.smart import discovery
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_visit import AppUnderTest, reason_of

EHR = EhrProfile(id="e", name="E", iss="https://ehr.example.org/fhir/", client_id="c")
PAYER = PayerProfile(
    id="p",
    names=("P",),
    dtr_base="https://payer.example.org/dtr/2.0.1",
    pas_base="https://payer.example.org/pas",
    client_id="c",
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def over_tls(authority, app_keys) -> Iterator[SmartEhr]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with SmartEhr(app_keys.signing.public_set, tls=context) as server:
        yield server


def test_SM04_SM20_the_whole_way_over_tls_with_an_authority_of_the_sites_own(app, over_tls, authority, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    app.register(over_tls, ca_file=str(tmp_path / "ca.pem"), refresh="offline")
    browser = app.browser()
    launch_id = browser.open(over_tls, ca_file=str(tmp_path / "ca.pem"))
    assert "Ada Canaryname" in browser.get(f"/l/{launch_id}/about").text
    app.clock.forward(seconds=3_000)
    app.parts.launches.access_token(launch_id)
    browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": "x"})
    assert len(over_tls.token_calls) == 2


def test_SM48_a_server_without_a_trusted_certificate_is_not_spoken_to(app, over_tls, caplog):
    app.register(over_tls)
    assert app.browser().begin(over_tls).status_code == 502
    assert reason_of(caplog) == "discovery_tls_failed"
    assert over_tls.seen == []


def test_SM48_outside_insecure_dev_loopback_is_no_place_for_an_ehr(
    tmp_path, key_dir, app_keys, over_tls, authority, caplog
):
    caplog.set_level("INFO")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    app = AppUnderTest(tmp_path, key_dir, app_keys, insecure_dev=False)
    app.register(over_tls, ca_file=str(tmp_path / "ca.pem"))
    assert app.browser().begin(over_tls).status_code == 502
    assert reason_of(caplog) == "discovery_address_refused"
    assert over_tls.seen == []
    app.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://ehr.example.org/other",
        "https://ehr.example.org/fhir2/Patient",
        "https://ehr.example.org/fhir/../x",
        "https://ehr.example.org/fhir/%2e%2e/x",
        "https://ehr.example.org.evil.example/fhir/Patient/1",
        "https://user@ehr.example.org/fhir/Patient/1",
        "http://ehr.example.org/fhir/Patient/1",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
    ],
)
def test_SM48_no_address_outside_the_registered_base_is_called(app, url):
    """Canonicals of questionnaires, next links, references and adaptive URLs all pass here."""
    for egress in (egress_to_ehr(EHR), egress_to_payer(PAYER)):
        with pytest.raises(OutboundFailure) as caught:
            app.parts.outbound.send("GET", url, egress, 2)
        assert caught.value.reason == "not_allowed"


def test_SM48_registered_bases_and_checked_endpoints_may_be_called():
    assert egress_to_ehr(EHR, "https://login.example.org/token").bases == (
        "https://ehr.example.org/fhir",
        "https://login.example.org/token",
    )
    assert egress_to_payer(PAYER).trees == ("https://payer.example.org/dtr/2.0.1", "https://payer.example.org/pas")
    assert egress_to_payer(msgspec.structs.replace(PAYER, pas_base="")).trees == (
        "https://payer.example.org/dtr/2.0.1",
    )


def test_SM48_a_registered_name_that_leads_inside_is_refused(app, ehr):
    """The name is registered, its address is a private one, and the file does not allow that."""
    inside = msgspec.structs.replace(
        app.parts.registry.ehrs["ehr"], iss="https://ehr.example.org/fhir", allow_private=False
    )
    http = type(app.http)(insecure_dev=False, resolver=lambda _host, _port: ("10.0.0.7",))
    outbound = msgspec.structs.replace(app.parts.outbound, http=http)
    with pytest.raises(OutboundFailure) as caught:
        outbound.json("https://ehr.example.org/fhir/metadata", egress_to_ehr(inside), 2)
    assert caught.value.reason == "address_refused"
    http.close()


def test_SM48_jku_is_our_own_registered_address_and_nothing_is_fetched_from_a_token(ehr, browser):
    ehr.id_header = {"jku": "https://169.254.169.254/jwks"}
    browser.open(ehr)
    assert len(ehr.to("/auth/jwks")) == 1


def test_discovery_that_never_answers_ends_in_a_page(app, caplog, monkeypatch):
    """A port that accepts and stays silent."""
    monkeypatch.setattr(discovery, "READ_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        iss = f"http://127.0.0.1:{silent.getsockname()[1]}/fhir"
        ehr = type("Silent", (), {"iss": iss, "tls": None})
        app.register(ehr)
        assert app.browser().begin(ehr).status_code == 502
    assert reason_of(caplog) == "discovery_late"

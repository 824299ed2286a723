"""The way in: discovery and the launch link (SM-01 to SM-08; bad input 96, 97, 98, 101, 108)."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from smart_app.errors import Trouble
from smart_app.registry import EhrProfile
from smart_app.smart.discovery import read_configuration
from tests.support.smart_ehr import plain
from tests.support.smart_visit import reason_of, set_cookies

EVIL = "https://evil.example.com/fhir"


def test_SM06_opens_from_the_ehr_and_echoes_launch_byte_for_byte(ehr, browser):
    launch = "a b+c/%&=?#\"<>'x"
    launch_id = browser.open(ehr, launch)
    assert browser.asked()["launch"] == launch
    assert browser.get(f"/l/{launch_id}/about").status_code == 200


def test_SM01_endpoints_come_from_the_smart_configuration_alone(ehr, browser):
    ehr.discovery["authorization_endpoint"] = f"{ehr.url}/elsewhere/authorize?tenant=7"
    browser.begin(ehr)
    assert browser.authorize_url.startswith(f"{ehr.url}/elsewhere/authorize?tenant=7&response_type=code")
    asked = ehr.to("/fhir/.well-known/smart-configuration")
    assert [each.headers["Accept"] for each in asked] == ["application/json"]
    assert ehr.to("/fhir/metadata") == []


def test_SM01_no_configuration_means_no_launch_and_no_look_at_the_capability_statement(ehr, browser, caplog):
    ehr.answers["GET /fhir/.well-known/smart-configuration"] = plain({}, 404)
    response = browser.begin(ehr)
    assert response.status_code == 502
    assert reason_of(caplog) == "discovery_http_404"
    assert ehr.to("/fhir/metadata") == []


@pytest.mark.parametrize(
    "iss",
    [
        EVIL,
        "http://127.0.0.1:1/fhir",  # loopback, but not registered
        "{iss}/../other",
        "{iss}%2f",
        "{iss}?x=1",
        "{iss}#x",
        "{iss}/sub",
        "{iss}\\@evil.example.com",
        "javascript:alert(1)",
        "//evil.example.com/fhir",
    ],
)
def test_SM02_bad_input_96_unregistered_iss_is_refused_before_any_call_or_redirect(ehr, browser, iss, caplog):
    response = browser.get(f"/launch?iss={quote(iss.format(iss=ehr.iss), safe='')}&launch=x")
    assert response.status_code == 400
    assert "location" not in response.headers
    assert ehr.seen == []
    assert reason_of(caplog) == "iss_not_registered"
    assert "evil" not in response.text
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


def test_SM02_iss_is_compared_after_one_trailing_slash_and_case_of_host(ehr, browser):
    assert browser.begin(ehr, iss=ehr.iss + "/").status_code == 303
    assert browser.begin(ehr, iss=ehr.iss.replace("http://", "HTTP://")).status_code == 303
    assert browser.begin(ehr, iss=ehr.iss + "//").status_code == 400


def test_SM02_an_ehr_that_was_switched_off_is_unknown(app, ehr, caplog):
    app.register(ehr, enabled=False)
    assert app.browser().begin(ehr).status_code == 400
    assert reason_of(caplog) == "iss_not_registered"


@pytest.mark.parametrize("methods", [..., [], ["plain"], ["s256"]])
def test_SM03_bad_input_101_a_server_without_s256_is_refused(ehr, browser, methods):
    ehr.discovery["code_challenge_methods_supported"] = methods
    response = browser.begin(ehr)
    assert response.status_code == 502
    assert "PKCE with S256" in response.text
    assert ehr.to("/auth/authorize") == []


def test_SM03_plain_beside_s256_changes_nothing(ehr, browser):
    ehr.discovery["code_challenge_methods_supported"] = ["plain", "S256"]
    browser.begin(ehr)
    assert browser.asked()["code_challenge_method"] == "S256"


def test_SM04_relative_endpoints_stand_against_the_fhir_base(ehr, browser):
    ehr.discovery |= {"authorization_endpoint": "../auth/authorize", "token_endpoint": "/auth/token"}
    browser.open(ehr)
    assert len(ehr.token_calls) == 1


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "revocation_endpoint"])
def test_SM04_plain_http_endpoints_are_refused_where_the_ehr_is_not_registered_so(name):
    # The EHR's base is https, so http is nowhere taken; the file would otherwise have to say allow_http.
    profile = EhrProfile(id="e", name="E", iss="https://ehr.example.org/fhir", client_id="c")
    document = dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), "https://ehr.example.org/x")
    read_configuration(json.dumps(document).encode(), profile)
    with pytest.raises(Trouble) as caught:
        read_configuration(json.dumps(document | {name: "http://ehr.example.org/x"}).encode(), profile)
    assert caught.value.reason == "endpoint_not_https"


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "revocation_endpoint"])
def test_bad_input_98_endpoints_on_another_host_are_refused_unless_registered(app, ehr, name, caplog):
    ehr.discovery[name] = "http://login.example.org:9/x"
    assert app.browser().begin(ehr).status_code == 502
    assert reason_of(caplog) == "endpoint_elsewhere"


def test_bad_input_98_a_registered_further_host_is_used(app, ehr):
    app.register(ehr, endpoint_hosts=["login.example.org:9"])
    ehr.discovery["authorization_endpoint"] = "http://login.example.org:9/authorize"
    browser = app.browser()
    assert browser.begin(ehr).status_code == 303
    assert browser.authorize_url.startswith("http://login.example.org:9/authorize?")


@pytest.mark.parametrize(
    ("capability", "words"),
    [
        ("launch-ehr", "opening an app from a patient"),
        ("client-confidential-asymmetric", "prove themselves with a signature"),
        ("sso-openid-connect", "who is signed in"),
        ("permission-v2", "permissions of SMART"),
        ("permission-patient", "permissions for one patient"),
        ("context-ehr-patient", "which chart is open"),
    ],
)
def test_SM05_a_missing_capability_is_named_in_words(ehr, browser, capability, words):
    ehr.discovery["capabilities"].remove(capability)
    ehr.discovery["token_endpoint_auth_methods_supported"] = ...
    response = browser.begin(ehr)
    assert response.status_code == 502
    assert words in response.text
    assert response.text.count("<li>") == 2  # the one thing that is missing, and what to do


def test_SM05_all_that_is_missing_is_named_at_once(ehr, browser):
    ehr.discovery |= {"capabilities": [], "token_endpoint_auth_methods_supported": [], "issuer": ...}
    text = browser.begin(ehr).text
    assert text.count("<li>") == 1 + 7


def test_SM05_the_operator_may_know_better_but_not_about_pkce_and_issuer(app, ehr):
    app.register(ehr, accept_missing=["permission-patient", "S256", "issuer"])
    ehr.discovery["capabilities"].remove("permission-patient")
    assert app.browser().begin(ehr).status_code == 303
    ehr.discovery |= {"issuer": ..., "code_challenge_methods_supported": []}
    app.parts.launches.discovery.forget(app.parts.registry.ehrs["ehr"])
    text = app.browser().begin(ehr).text
    assert "PKCE" in text
    assert "(issuer)" in text


def test_SM05_symmetric_only_if_configured(app, ehr, tmp_path):
    ehr.discovery["capabilities"][2] = "client-confidential-symmetric"
    ehr.discovery["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]
    assert app.browser().begin(ehr).status_code == 502  # the file of the fixture names no secret
    secret = tmp_path / "config" / "ehrs" / "secret"
    secret.write_text("s3cret/+ %\n")
    secret.chmod(0o600)
    ehr.secret = "s3cret%2F%2B+%25"  # RFC 6749 2.3.1: form-encoded before it goes into Basic
    app.register(ehr, client_secret_file="secret")
    app._flask = None
    app.browser().open(ehr)
    assert "client_assertion" not in ehr.token_calls[0].form


def test_SM06_neither_iss_nor_launch_gives_the_help_page(browser):
    response = browser.get("/launch")
    assert response.status_code == 400
    assert "open this app from the EHR" in response.text
    assert browser.get("/launch?launch=x").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "iss={iss}&iss={iss}&launch=x",
        "iss={iss}&launch=x&launch=y",
        "iss={iss}&launch=x%0d%0aSet-Cookie:a=b",
        "iss={iss}%0d%0a&launch=x",
        "iss={iss}&launch=" + "x" * 100_000,
        "iss={iss}&launch=%00",
        "iss=" + "h" * 100_000,
    ],
    ids=["two iss", "two launch", "CRLF in launch", "CRLF in iss", "100 KB launch", "NUL", "100 KB iss"],
)
def test_bad_input_97_odd_launch_links_are_refused(ehr, browser, query):
    response = browser.get("/launch?" + query.replace("{iss}", quote(ehr.iss, safe="")))
    assert response.status_code == 400
    assert set_cookies(response) == {}
    assert ehr.seen == []


def test_SM07_standalone_asks_for_launch_patient_and_never_for_launch(app, ehr):
    app.register(ehr, standalone=True, standalone_encounter=True)
    browser = app.browser()
    launch_id = browser.open(ehr, launch="")
    asked = browser.asked()
    assert "launch" not in asked
    assert {"launch/patient", "launch/encounter"} <= set(asked["scope"].split())
    assert "launch" not in asked["scope"].split()
    assert "on its own" in browser.get(f"/l/{launch_id}/about").text
    assert f"/launch?iss={quote(ehr.iss, safe='')}" in browser.get("/").text


def test_SM10_a_persons_link_does_not_change_what_the_ehr_calls_itself(app, ehr):
    app.register(ehr, standalone=True)
    browser = app.browser()
    browser.begin(ehr, launch="", iss=f"{ehr.iss}/")
    assert browser.asked()["aud"] == ehr.iss


def test_SM07_standalone_is_refused_where_it_is_not_registered(ehr, browser, caplog):
    assert browser.begin(ehr, launch="").status_code == 400
    assert reason_of(caplog) == "standalone_not_registered"


def test_SM08_discovery_is_kept_for_an_hour(app, ehr, monkeypatch):
    browser = app.browser()
    steady = [app.clock.monotonic()]
    monkeypatch.setattr(app.clock, "monotonic", lambda: steady[0] if steady else 0.0)
    app._flask = None
    # Deadlines of calls are on the machine's own clock, so only the age of what is kept is moved here.
    discovery, profile = app.parts.launches.discovery, app.parts.registry.ehrs["ehr"]
    monkeypatch.undo()
    discovery.of(profile)
    discovery.of(profile)
    asked = "/fhir/.well-known/smart-configuration"
    assert len(ehr.to(asked)) == 1
    at, found = discovery._kept["ehr"]
    discovery._kept["ehr"] = (at - 3_601, found)
    discovery.of(profile)
    assert len(ehr.to(asked)) == 2
    assert browser is not None


def test_SM08_discovery_is_read_again_after_the_token_endpoint_failed(ehr, browser):
    ehr.token_error, ehr.token_status = {"error": "server_error"}, 503
    assert browser.launch(ehr).status_code == 502
    ehr.token_error, ehr.token_status = None, 200
    ehr.discovery["token_endpoint"] = f"{ehr.url}/auth/token"
    browser.open(ehr)
    assert len(ehr.to("/fhir/.well-known/smart-configuration")) == 2


def test_bad_input_108_without_the_cookie_the_sign_in_is_not_begun(ehr, browser):
    first = browser.get(f"/launch?iss={quote(ehr.iss, safe='')}&launch=x%2By")
    assert first.location.startswith("/launch/go/")
    for name in set_cookies(first):
        browser.client.delete_cookie(name, domain="app.example.net")
    page = browser.get(first.location)
    assert page.status_code == 400
    assert 'target="_blank"' in page.text
    assert f'href="/launch?iss={quote(ehr.iss, safe="")}&amp;launch=x%2By"' in page.text
    assert "location" not in page.headers  # no loop
    assert ehr.to("/auth/authorize") == []


def test_bad_input_108_a_launch_whose_cookie_did_not_stay_says_so(app, ehr, browser):
    launch_id = browser.open(ehr)
    other = app.browser().get(f"/l/{launch_id}/start")
    assert other.status_code == 400
    assert "window of its own" in other.text


def test_an_ehr_whose_sign_in_cannot_be_framed_asks_for_a_window(app, ehr):
    app.register(ehr, own_window=True)
    page = app.browser(framed=True).begin(ehr)
    assert page.status_code == 200
    assert 'target="_blank"' in page.text
    assert app.browser().begin(ehr).status_code == 303

"""The authorization endpoint: what it refuses without a redirect, what it tells the app, what it grants."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.support.smart_client import SCOPES, query_of

CHALLENGE = "a" * 43


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"client_id": ["app", "app"]},  # twice
        {"redirect_uri": None},
        {"redirect_uri": "https://app.example.org/callback/"},  # not byte-equal
        {"redirect_uri": "https://app.example.org/callback?x=1"},
        {"redirect_uri": "https://other.example.org/callback"},  # another app's
        {"redirect_uri": "https://evil.example.org/"},
    ],
)
def test_an_unknown_client_or_address_is_redirected_nowhere(sandbox, changes):
    answer = sandbox.client.authorize(sandbox.client.request(CHALLENGE, sandbox.launch(), **changes))
    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert "evil" not in answer.text
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"state": ["a", "b"]}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://elsewhere.example.org/fhir"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),  # no method means plain
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "launch weather"}, None),  # what is not known is left out
        ({"scope": "launch/patient"}, "invalid_request"),  # launch parameter without launch scope
        ({"launch": None}, "invalid_request"),  # launch scope without launch parameter
        ({"launch": "made-up"}, "invalid_request"),
        ({"nonce": "x" * 5000}, "invalid_request"),
    ],
)
def test_a_wrong_request_is_told_to_the_registered_app(sandbox, changes, error):
    asked = sandbox.client.request(CHALLENGE, **{"launch": sandbox.launch(), "scope": SCOPES, **changes})
    answer = sandbox.client.authorize(asked)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{sandbox.client.redirect_uri}?")
    told = query_of(answer.headers["Location"])
    assert told.get("error") == error
    assert ("code" in told) is (error is None)
    assert told["iss"] == sandbox.base
    if isinstance(asked.get("state"), str):
        assert told["state"] == asked["state"]


def test_aud_is_the_fhir_base_byte_for_byte(sandbox):
    asked = sandbox.client.request(CHALLENGE, sandbox.launch(), aud=f"{sandbox.base}/fhir/")
    assert query_of(sandbox.client.authorize(asked).headers["Location"])["error"] == "invalid_request"


def test_scopes_beyond_the_registration_are_not_granted(sandbox):
    wide = "launch patient/*.cruds user/*.cruds system/*.rs"
    scopes = set(sandbox.client.tokens(sandbox.launch(), scope=wide)["scope"].split())
    assert {"launch", "patient/*.rs", "patient/QuestionnaireResponse.crus"} <= scopes
    assert not any("d" in scope.rpartition(".")[2] for scope in scopes if "/" in scope)
    assert not any(scope.startswith("system/") or scope == "user/*.rs" for scope in scopes)


def test_a_launch_handle_works_once(sandbox):
    handle = sandbox.launch()
    sandbox.client.code(handle)
    again = sandbox.client.authorize(sandbox.client.request(CHALLENGE, handle))
    assert query_of(again.headers["Location"])["error"] == "invalid_request"


def test_a_launch_handle_is_no_older_than_five_minutes(sandbox, later):
    handle = sandbox.launch()
    later(301)
    answer = sandbox.client.authorize(sandbox.client.request(CHALLENGE, handle))
    assert query_of(answer.headers["Location"])["error"] == "invalid_request"


def test_a_launch_handle_of_another_app_is_refused_and_stays_good(sandbox):
    handle = sandbox.launch(sandbox.other)
    answer = sandbox.client.authorize(sandbox.client.request(CHALLENGE, handle))
    assert query_of(answer.headers["Location"])["error"] == "invalid_request"
    assert sandbox.other.tokens(handle)["patient"] == "trial-facts-missing"


class TestStandalone:
    """Who and whose chart are asked on a page."""

    def page(self, sandbox, **changes):
        self.verifier, challenge = sandbox.client.challenge()
        self.asked = sandbox.client.request(challenge, None, **changes)
        return sandbox.client.authorize(self.asked)

    def post(self, sandbox, headers=None, **form):
        return sandbox.client.http.post(
            f"{sandbox.base}/oauth/authorize", params=self.asked, data=form, headers=headers, allow_redirects=False,
            timeout=10,
        )  # fmt: skip

    def test_the_page_offers_staff_and_patients(self, sandbox):
        page = self.page(sandbox)
        assert page.status_code == 200
        assert "Dr. Alex Sample" in page.text
        assert "Robin Example" in page.text
        assert "Theodore Sample" in page.text

    def test_the_choice_becomes_user_and_patient(self, sandbox):
        self.page(sandbox, scope="launch/patient launch/encounter openid fhirUser patient/*.rs")
        answer = self.post(sandbox, user="nurse-sample", patient="refill")
        code = query_of(answer.headers["Location"])["code"]
        told = sandbox.client.exchange(code, self.verifier).json()
        assert (told["patient"], told["encounter"]) == ("refill", "refill-1")
        assert told["need_patient_banner"] is True
        assert "fhirContext" not in told

    def test_without_patient_scopes_no_patient_is_asked_for(self, sandbox):
        page = self.page(sandbox, scope="openid fhirUser user/Practitioner.r")
        assert 'name="patient"' not in page.text
        answer = self.post(sandbox, user="dr-sample")
        told = sandbox.client.exchange(query_of(answer.headers["Location"])["code"], self.verifier).json()
        assert "patient" not in told
        token = told["access_token"]
        assert sandbox.client.fhir("GET", "Practitioner/dr-sample", token).status_code == 200
        assert sandbox.client.fhir("GET", "Patient/refill", token).status_code == 403

    @pytest.mark.parametrize(
        "form",
        [
            {"user": "nobody", "patient": "refill"},
            {"user": "dr-sample", "patient": "nobody"},
            {"user": "dr-sample"},
            {"patient": "refill"},
            {},
        ],
    )
    def test_a_choice_that_is_not_on_the_page_is_asked_again(self, sandbox, form):
        self.page(sandbox)
        answer = self.post(sandbox, **form)
        assert (answer.status_code, answer.headers.get("Location")) == (422, None)

    def test_no_is_told_to_the_app(self, sandbox):
        self.page(sandbox)
        told = query_of(self.post(sandbox, cancel="yes").headers["Location"])
        assert (told["error"], told["state"]) == ("access_denied", self.asked["state"])

    def test_another_site_cannot_press_the_button(self, sandbox):
        self.page(sandbox)
        answer = self.post(sandbox, {"Origin": "https://evil.example.org"}, user="dr-sample", patient="refill")
        assert answer.status_code == 403

    def test_an_ehr_launch_cannot_be_turned_into_a_sign_in(self, sandbox):
        _, challenge = sandbox.client.challenge()
        self.asked = sandbox.client.request(challenge, sandbox.launch())
        told = query_of(self.post(sandbox, user="dr-sample", patient="refill").headers["Location"])
        assert told["error"] == "invalid_request"


def test_SM01_discovery_says_what_is_there(sandbox):
    found = sandbox.client.http.get(f"{sandbox.base}/fhir/.well-known/smart-configuration", timeout=10).json()
    assert found["issuer"] == sandbox.base
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    for name in ("jwks_uri", "authorization_endpoint", "token_endpoint", "revocation_endpoint"):
        assert urlsplit(found[name]).netloc == urlsplit(sandbox.base).netloc
    keys = sandbox.client.http.get(found["jwks_uri"], timeout=10).json()["keys"]
    assert {key["alg"] for key in keys} == {"RS256", "ES384"}
    assert not any(name in key for key in keys for name in ("d", "p", "q", "dp", "dq", "qi"))
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", found["issuer"])

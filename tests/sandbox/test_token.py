"""The token endpoint: client assertions, codes, refresh, revocation; each wrong in one way and refused."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey
from pytest_httpserver import HTTPServer

from sandbox_ehr.smart.apps import App
from sandbox_ehr.smart.client_keys import ClientKeys
from tests.support.smart_client import SmartClient


def refused(answer, error: str) -> None:
    assert answer.status_code == (401 if error == "invalid_client" else 400), answer.text
    assert answer.json()["error"] == error
    assert answer.headers["Cache-Control"] == "no-store"
    assert "access_token" not in answer.text


@pytest.fixture
def code(sandbox):
    return sandbox.client.code(sandbox.launch())


def test_SM21_a_good_exchange_tells_everything(sandbox):
    context = ({"reference": "Coverage/trial-facts-missing-1"}, {"reference": "MedicationRequest/m"})
    handle = sandbox.launch(fhir_context=context, app_context='{"context":"handle"}', banner=False)
    answer = sandbox.client.exchange(*sandbox.client.code(handle))
    told = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 300)
    assert (told["patient"], told["encounter"]) == ("trial-facts-missing", "trial-facts-missing-1")
    assert told["need_patient_banner"] is False
    assert told["fhirContext"] == list(context)
    assert told["appContext"] == '{"context":"handle"}'  # a string, as the card had it
    assert told["refresh_token"]
    assert told["access_token"].count(".") == 2


def test_SM35_the_id_token_names_the_person_at_the_keyboard(sandbox):
    told = sandbox.client.tokens(sandbox.launch(user="nurse-sample"))
    keys = KeySet.import_key_set(sandbox.client.http.get(f"{sandbox.base}/oauth/jwks.json", timeout=10).json())
    decoded = jwt.decode(told["id_token"], keys, algorithms=["RS256"])
    assert decoded.claims["iss"] == sandbox.base
    assert decoded.claims["aud"] == sandbox.client.client_id
    assert decoded.claims["nonce"] == "nonce-1"
    assert decoded.claims["fhirUser"] == f"{sandbox.base}/fhir/Practitioner/nurse-sample"
    assert 0 < decoded.claims["exp"] - decoded.claims["iat"] <= 300


@pytest.mark.parametrize(("scope", "id_token"), [("launch patient/*.rs", False), ("launch openid patient/*.rs", True)])
def test_an_id_token_is_given_to_who_asked(sandbox, scope, id_token):
    told = sandbox.client.tokens(sandbox.launch(), scope=scope)
    assert ("id_token" in told) is id_token
    assert "refresh_token" not in told  # nobody asked for one


@pytest.mark.parametrize("alg", ["ES384", "RS384"])
def test_SM29_both_algorithms_are_taken(sandbox, code, alg):
    assert sandbox.client.exchange(*code, assertion=sandbox.client.assertion(alg=alg)).status_code == 200


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({}, {"iss": "other"}),
        ({}, {"sub": "other"}),
        ({}, {"sub": None}),
        ({}, {"aud": "http://127.0.0.1:1/oauth/token"}),
        ({}, {"aud": None}),
        ({}, {"aud": ["http://127.0.0.1:1/oauth/token", "x"]}),
        ({}, {"exp": 1_000_000_000}),
        ({}, {"exp": None}),
        ({}, {"exp": "tomorrow"}),
        ({}, {"exp": 4_000_000_000}),  # more than five minutes away
        ({}, {"iat": 4_000_000_000}),
        ({}, {"nbf": 4_000_000_000}),
        ({}, {"jti": None}),
        ({}, {"jti": ""}),
        ({}, {"jti": 7}),
        ({}, {"jti": "x" * 300}),
        ({"kid": "nobody"}, {}),
        ({"kid": None}, {}),
        ({"kid": "rsa"}, {}),  # the other key: wrong kind
        ({"typ": "at+jwt"}, {}),
        ({"jku": "https://evil.example.org/jwks.json"}, {}),
    ],
)
def test_SM51_a_wrong_assertion_is_refused(sandbox, code, header, claims):
    refused(
        sandbox.client.exchange(*code, assertion=sandbox.client.assertion(header=header, **claims)), "invalid_client"
    )
    assert sandbox.client.exchange(*code).status_code == 200  # the code was not used up by a stranger


def test_SM51_a_key_that_is_not_registered_signs_nothing(sandbox, code):
    stranger = ECKey.generate_key("P-384", {"kid": "ec"}, private=True)
    refused(sandbox.client.exchange(*code, assertion=sandbox.client.assertion(key=stranger)), "invalid_client")


def test_an_unsigned_assertion_is_refused(sandbox, code):
    _, body, _ = sandbox.client.assertion().split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT","kid":"ec"}').rstrip(b"=").decode()
    refused(sandbox.client.exchange(*code, assertion=f"{head}.{body}."), "invalid_client")


@pytest.mark.parametrize("alg", ["HS256", "ES256"])
def test_other_algorithms_are_refused(sandbox, code, alg):
    now = int(sandbox.clock.seconds())
    claims = {
        "iss": "app", "sub": "app", "aud": f"{sandbox.base}/oauth/token", "exp": now + 60, "jti": f"alg-{alg}",
    }  # fmt: skip
    keys = {"HS256": OctKey.generate_key(256), "ES256": ECKey.generate_key("P-256")}
    made = jwt.encode({"alg": alg, "typ": "JWT", "kid": "ec"}, claims, keys[alg], algorithms=[alg])
    refused(sandbox.client.exchange(*code, assertion=made), "invalid_client")


def test_SM31_an_assertion_is_used_once(sandbox):
    held = sandbox.client.assertion()
    assert sandbox.client.exchange(*sandbox.client.code(sandbox.launch()), assertion=held).status_code == 200
    refused(sandbox.client.exchange(*sandbox.client.code(sandbox.launch()), assertion=held), "invalid_client")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_assertion": None}, "invalid_client"),
        ({"client_assertion": "a.b"}, "invalid_client"),
        ({"client_assertion": "x" * 9000}, "invalid_client"),
        ({"client_assertion_type": None}, "invalid_client"),
        ({"client_assertion_type": "urn:other"}, "invalid_client"),
        ({"client_secret": "secret"}, "invalid_client"),
        ({"client_id": "other"}, "invalid_client"),
        ({"client_id": "app"}, None),  # harmless when it is the same
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"code": None}, "invalid_request"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"code": ["a", "b"]}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"redirect_uri": "https://app.example.org/callback/"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
    ],
)
def test_SM20_a_wrong_exchange_is_refused(sandbox, code, form, error):
    answer = sandbox.client.exchange(*code, **form)
    if error is None:
        assert answer.status_code == 200
    else:
        refused(answer, error)


def test_the_body_is_a_form_and_nothing_stands_in_the_address(sandbox, code):
    client = sandbox.client
    form = {"grant_type": "authorization_code", "code": code[0]}
    for answer in (
        client.http.post(f"{sandbox.base}/oauth/token", json=form, timeout=10),
        client.http.post(f"{sandbox.base}/oauth/token?code={code[0]}", data=form, timeout=10),
    ):
        refused(answer, "invalid_request")
    with_basic = client.http.post(f"{sandbox.base}/oauth/token", data=form, auth=("app", "secret"), timeout=10)
    refused(with_basic, "invalid_client")
    assert client.http.get(f"{sandbox.base}/oauth/token", timeout=10).status_code == 405


def test_a_code_is_used_once_and_reuse_ends_what_it_gave(sandbox, code):
    told = sandbox.client.exchange(*code).json()
    assert sandbox.client.fhir("GET", "Patient/trial-facts-missing", told["access_token"]).status_code == 200
    refused(sandbox.client.exchange(*code), "invalid_grant")
    assert sandbox.client.fhir("GET", "Patient/trial-facts-missing", told["access_token"]).status_code == 401
    refused(refresh(sandbox, told["refresh_token"]), "invalid_grant")


def test_a_code_lives_a_minute(sandbox, code, later):
    later(61)
    refused(sandbox.client.exchange(*code), "invalid_grant")


def test_a_wrong_verifier_burns_the_code(sandbox, code):
    refused(sandbox.client.exchange(code[0], "w" * 43), "invalid_grant")
    refused(sandbox.client.exchange(*code), "invalid_grant")


def test_a_code_of_another_client_is_refused_and_stays_good(sandbox, code):
    refused(sandbox.other.exchange(*code, redirect_uri=sandbox.client.redirect_uri), "invalid_grant")
    assert sandbox.client.exchange(*code).status_code == 200


def test_of_twenty_exchanges_at_once_one_succeeds(sandbox, code):
    with ThreadPoolExecutor(20) as pool:
        assertions = [sandbox.client.assertion() for _ in range(20)]
        answers = list(pool.map(lambda one: sandbox.client.exchange(*code, assertion=one).status_code, assertions))
    assert sorted(set(answers)) == [200, 400]
    assert answers.count(200) == 1


def refresh(sandbox, token, client=None, **form):
    return (client or sandbox.client).token(grant_type="refresh_token", refresh_token=token, **form)


class TestRefresh:
    def test_SM43_each_refresh_gives_a_new_token(self, sandbox):
        first = sandbox.client.tokens(sandbox.launch())
        second = refresh(sandbox, first["refresh_token"]).json()
        assert second["refresh_token"] != first["refresh_token"]
        assert second["patient"] == first["patient"]
        assert "id_token" not in second
        assert refresh(sandbox, second["refresh_token"]).status_code == 200

    def test_SM43_a_token_that_comes_twice_ends_the_grant(self, sandbox):
        first = sandbox.client.tokens(sandbox.launch())
        second = refresh(sandbox, first["refresh_token"]).json()
        refused(refresh(sandbox, first["refresh_token"]), "invalid_grant")
        refused(refresh(sandbox, second["refresh_token"]), "invalid_grant")
        assert sandbox.client.fhir("GET", "Patient/trial-facts-missing", second["access_token"]).status_code == 401

    def test_a_narrower_scope_is_given_and_a_wider_refused(self, sandbox):
        told = sandbox.client.tokens(sandbox.launch())
        refused(refresh(sandbox, told["refresh_token"], scope="patient/*.cruds"), "invalid_scope")
        narrow = refresh(sandbox, told["refresh_token"], scope="patient/Patient.r offline_access").json()
        assert narrow["scope"] == "patient/Patient.r offline_access"
        assert sandbox.client.fhir("GET", "Condition", narrow["access_token"]).status_code == 403

    def test_another_client_gets_nothing_and_spoils_nothing(self, sandbox):
        told = sandbox.client.tokens(sandbox.launch())
        refused(refresh(sandbox, told["refresh_token"], sandbox.other), "invalid_grant")
        assert refresh(sandbox, told["refresh_token"]).status_code == 200

    def test_online_access_ends_with_the_day(self, sandbox, later):
        scope = "launch online_access patient/*.rs"
        told = sandbox.client.tokens(sandbox.launch(), scope=scope)
        later(8 * 3600 + 1)
        refused(refresh(sandbox, told["refresh_token"]), "invalid_grant")

    @pytest.mark.parametrize("token", [None, "", "made-up"])
    def test_no_token_no_answer(self, sandbox, token):
        refused(refresh(sandbox, token), "invalid_grant" if token else "invalid_request")


class TestRevocation:
    @pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
    def test_SM45_a_revoked_token_ends_the_grant(self, sandbox, kind):
        told = sandbox.client.tokens(sandbox.launch())
        assert sandbox.client.token("revoke", token=told[kind]).status_code == 200
        assert sandbox.client.fhir("GET", "Patient/trial-facts-missing", told["access_token"]).status_code == 401
        refused(refresh(sandbox, told["refresh_token"]), "invalid_grant")

    def test_an_unknown_token_and_anothers_are_no_error_and_change_nothing(self, sandbox):
        told = sandbox.client.tokens(sandbox.launch())
        assert sandbox.client.token("revoke", token="made-up").status_code == 200
        assert sandbox.other.token("revoke", token=told["refresh_token"]).status_code == 200
        assert sandbox.client.fhir("GET", "Patient/trial-facts-missing", told["access_token"]).status_code == 200

    def test_only_a_client_that_proves_itself_may_ask(self, sandbox):
        refused(sandbox.client.token("revoke", client_assertion="x", token="y"), "invalid_client")


def test_introspection_tells_an_app_of_its_own_tokens(sandbox, later):
    told = sandbox.client.tokens(sandbox.launch())
    seen = sandbox.client.token("introspect", token=told["access_token"]).json()
    assert (seen["active"], seen["patient"], seen["scope"]) == (True, "trial-facts-missing", told["scope"])
    assert sandbox.other.token("introspect", token=told["access_token"]).json() == {"active": False}
    assert sandbox.client.token("introspect", token="made-up").json() == {"active": False}
    later(301)
    assert sandbox.client.token("introspect", token=told["access_token"]).json() == {"active": False}


class TestKeySets:
    """Keys that are fetched from the app's own address."""

    def serve(self, httpserver: HTTPServer, *documents, status: int = 200):
        answers = iter(documents)
        held = [None]

        def answer(request):
            held[0] = next(answers, held[0])
            from werkzeug.wrappers import Response  # noqa: PLC0415

            return Response(json.dumps(held[0]), status, content_type="application/json")

        httpserver.expect_request("/jwks.json").respond_with_handler(answer)
        return App(
            client_id="app", name="x", launch_url="http://x.test/", redirect_uris=(),
            jwks_url=httpserver.url_for("/jwks.json"),
        )  # fmt: skip

    def entry(self, kid: str, key=None):
        return {**(key or ECKey.generate_key("P-384", private=True)).as_dict(private=False), "kid": kid}

    def test_SM33_a_new_key_is_found_without_waiting(self, httpserver, sandbox, later):
        old, new = self.entry("old"), self.entry("new")
        app = self.serve(httpserver, {"keys": [old]}, {"keys": [old, new]})
        keys = ClientKeys(sandbox.clock)
        assert keys.find(app, "old", "ES384") is not None
        later(2)
        assert keys.find(app, "new", "ES384") is not None
        assert len(httpserver.log) == 2

    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"keys": "none"},
            [],
            {"keys": [1]},
            {"keys": [{"kid": "k", "kty": "EC"}]},
            {"keys": [{"kid": "k", "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}]},  # not on the curve
        ],
    )
    def test_an_unusable_set_has_no_keys(self, httpserver, sandbox, document):
        assert ClientKeys(sandbox.clock).find(self.serve(httpserver, document), "k", "ES384") is None

    def test_small_or_doubled_or_encryption_keys_are_refused(self, httpserver, sandbox):
        twice = self.entry("twice")
        app = self.serve(
            httpserver,
            {
                "keys": [
                    twice,
                    twice,
                    {"kty": "RSA", "n": "x" * 171, "e": "AQAB", "kid": "small"},  # 1024 bits
                    {**self.entry("enc"), "use": "enc"},
                    {**ECKey.generate_key("P-256").as_dict(private=False), "kid": "p256"},
                ]
            },
        )
        keys = ClientKeys(sandbox.clock)
        for kid, alg in (("twice", "ES384"), ("small", "RS384"), ("enc", "ES384"), ("p256", "ES384")):
            assert keys.find(app, kid, alg) is None, kid

    def test_a_redirected_or_failing_address_has_no_keys(self, httpserver, sandbox):
        app = self.serve(httpserver, {"keys": [self.entry("k")]}, status=500)
        assert ClientKeys(sandbox.clock).find(app, "k", "ES384") is None


def test_an_app_that_is_not_registered_is_refused(sandbox):
    stranger = SmartClient("stranger", sandbox.base, sandbox.clock.seconds)
    refused(stranger.token(grant_type="authorization_code"), "invalid_client")

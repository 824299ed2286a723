"""The app's proof of who it is, and its keys (SM-28 to SM-34; row 121)."""

from __future__ import annotations

import json
import secrets
import shutil
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from joserfc import jwk, jws, jwt

from cds_service.errors import ConfigurationError
from smart_app.adapters.keys import SEALING_FILE, SIGNING_FILE, AppKeys, make_missing, retire, rotate
from smart_app.adapters.sealing import Sealer, Unreadable
from smart_app.smart.assertion import client_assertion
from tests.support.smart_visit import reason_of

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
TOKEN_URL = "https://ehr.example.org/token"


@pytest.fixture
def own_keys(tmp_path: Path, key_dir: Path) -> Path:
    """A copy of the keys that all tests share: making them is slow."""
    for name in (SIGNING_FILE, SEALING_FILE):
        shutil.copy2(key_dir / name, tmp_path / name)
    return tmp_path


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def decoded(assertion: str) -> tuple[dict, dict]:
    head, claims, _ = assertion.split(".")
    return tuple(json.loads(urlsafe_b64decode(part + "==")) for part in (head, claims))


def test_SM28_the_key_set_holds_public_members_only(app, browser):
    response = browser.get("/.well-known/jwks.json")
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "public, max-age=300"
    keys = response.get_json()["keys"]
    assert [(key["kty"], key["alg"]) for key in keys] == [("RSA", "RS384"), ("EC", "ES384")]
    for key in keys:
        own = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}}[key["kty"]]
        assert set(key) == {"kty", "kid", "alg", "key_ops", "use"} | own
        assert key["key_ops"] == ["verify"]
        assert not PRIVATE & set(key)


@pytest.mark.parametrize(
    ("offered", "setting", "algorithm"),
    [
        (["RS384"], "", "RS384"),
        (["ES384"], "", "ES384"),
        (["RS384", "ES384"], "", "ES384"),
        (["RS256", "RS384"], "", "RS384"),
        (..., "", "RS384"),
        (["RS384", "ES384"], "RS384", "RS384"),
        (..., "ES384", "ES384"),
    ],
)
def test_SM29_the_algorithm_is_one_that_the_ehr_takes(app, ehr, offered, setting, algorithm):
    app.register(ehr, signing_alg=setting or None)
    ehr.discovery["token_endpoint_auth_signing_alg_values_supported"] = offered
    app.browser().open(ehr)
    head, _ = decoded(ehr.token_calls[0].form["client_assertion"])
    assert head["alg"] == algorithm


def test_SM29_an_ehr_that_takes_neither_is_told_so(ehr, browser):
    ehr.discovery["token_endpoint_auth_signing_alg_values_supported"] = ["RS256"]
    response = browser.begin(ehr)
    assert response.status_code == 502
    assert "RS384 or ES384" in response.text


def test_SM30_SM31_SM32_the_assertion(app, ehr, browser):
    browser.open(ehr)
    form, headers = ehr.token_calls[0].form, ehr.token_calls[0].headers
    head, claims = decoded(form["client_assertion"])
    published = {key["kid"] for key in browser.get("/.well-known/jwks.json").get_json()["keys"]}
    assert head.pop("kid") in published
    assert head == {"alg": "ES384", "typ": "JWT", "jku": "https://app.example.net/.well-known/jwks.json"}
    assert set(claims) == {"iss", "sub", "aud", "exp", "iat", "jti"}
    assert claims["iss"] == claims["sub"] == "coverage-app"
    assert claims["aud"] == f"{ehr.url}/auth/token"
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert "client_secret" not in form
    assert "client_id" not in form
    assert "Authorization" not in headers


def test_SM31_jti_is_new_each_time_also_at_refresh(app, ehr):
    app.register(ehr, refresh="offline")
    browser = app.browser()
    ehr.life = 100
    launch_id = browser.open(ehr)
    for _ in range(2):
        app.clock.forward(seconds=81)
        app.parts.launches.access_token(launch_id)
    used = [decoded(call.form["client_assertion"])[1]["jti"] for call in ehr.token_calls]
    assert len(used) == len(set(used)) == 3


def test_SM33_after_a_rotation_the_newest_signs_and_the_last_still_verifies(own_keys):
    keys = AppKeys(own_keys).signing
    registry = jws.JWSRegistry(algorithms=["RS384", "ES384"])

    def sign() -> str:
        return client_assertion(
            keys, client_id="c", audience=TOKEN_URL, algorithm="ES384", now=datetime.now(UTC), new_secret=new_secret
        )

    def verifies(assertion: str) -> bool:
        kid = decoded(assertion)[0]["kid"]
        found = [key for key in keys.public_set()["keys"] if key["kid"] == kid]
        return bool(found) and bool(jwt.decode(assertion, jwk.ECKey.import_key(found[0]), registry=registry).claims)

    old = sign()
    rotate(own_keys, new_secret)  # seen without a restart
    new = sign()
    assert decoded(old)[0]["kid"] != decoded(new)[0]["kid"]
    assert len(keys.public_set()["keys"]) == 4
    assert verifies(old)
    assert verifies(new)
    retire(own_keys)
    assert len(keys.public_set()["keys"]) == 2
    assert not verifies(old)
    assert verifies(new)


def test_SM33_a_second_rotation_drops_the_oldest_pair(own_keys):
    first = {key["kid"] for key in AppKeys(own_keys).signing.public_set()["keys"]}
    rotate(own_keys, new_secret)
    rotate(own_keys, new_secret)
    left = {key["kid"] for key in AppKeys(own_keys).signing.public_set()["keys"]}
    assert len(left) == 4
    assert not first & left


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client"])
def test_SM34_a_refused_proof_is_a_registration_problem_to_the_operator(ehr, browser, caplog, error):
    ehr.token_error = {"error": error, "error_description": "canary-text"}
    response = browser.launch(ehr)
    assert response.status_code == 502
    assert "The EHR did not accept this app" in response.text
    told = [each for each in caplog.records if "registration problem" in each.msg]
    assert [(each.levelname, each.ehr) for each in told] == [("ERROR", "ehr")]
    assert "canary-text" not in caplog.text + response.text


def test_SM34_another_refusal_is_no_registration_problem(ehr, browser, caplog):
    ehr.token_error = {"error": "invalid_grant"}
    assert browser.launch(ehr).status_code == 400
    assert reason_of(caplog) == "token_http_400_invalid_grant"
    assert "registration problem" not in caplog.text


# -- the files


def test_bad_input_121_key_files_are_private_and_a_wider_mode_is_refused(own_keys):
    for name in (SIGNING_FILE, SEALING_FILE):
        path = own_keys / name
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o640)
        with pytest.raises(ConfigurationError) as caught:
            AppKeys(own_keys).signing if name == SIGNING_FILE else AppKeys(own_keys).sealer
        assert "mode 0640; allowed: 0600" in str(caught.value)
        path.chmod(0o600)


@pytest.mark.parametrize("name", [SIGNING_FILE, SEALING_FILE])
@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "x", '{"keys":[{"kty":"RSA"}]}', '[{"id":"zz","key":"zz"}]', "missing"]
)
def test_key_files_that_hold_something_else_are_refused_by_name(tmp_path, name, text):
    path = tmp_path / name
    if text != "missing":
        path.write_text(text)
        path.chmod(0o600)
    keys = AppKeys(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        keys.signing.newest("RS384") if name == SIGNING_FILE else keys.sealer
    assert str(path) in str(caught.value)


def test_making_keys_again_changes_nothing(tmp_path):
    assert make_missing(tmp_path, new_secret) == (SIGNING_FILE, SEALING_FILE)
    before = {name: (tmp_path / name).read_bytes() for name in (SIGNING_FILE, SEALING_FILE)}
    assert make_missing(tmp_path, new_secret) == ()
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(before)  # no draft is left behind


# -- sealing


def test_SM25_sealed_texts_open_in_their_place_only(own_keys):
    sealer = AppKeys(own_keys).sealer
    sealed = sealer.seal("launch/1", b"plain")
    assert b"plain" not in sealed
    assert sealer.open("launch/1", sealed) == b"plain"
    assert sealer.seal("launch/1", b"plain") != sealed
    for place, text in (
        ("launch/2", sealed),
        ("launch/1", sealed[:-1] + bytes((sealed[-1] ^ 1,))),
        ("launch/1", sealed[:10]),
        ("launch/1", b""),
        ("launch/1", b"\0\0\0\0" + sealed[4:]),
    ):
        with pytest.raises(Unreadable):
            sealer.open(place, text)


def test_SM25_after_a_rotation_old_texts_open_and_new_ones_use_the_new_key(own_keys):
    old = AppKeys(own_keys).sealer
    sealed, digest = old.seal("a", b"plain"), old.digest("x", "y")
    rotate(own_keys, new_secret)
    new = AppKeys(own_keys).sealer
    assert new.open("a", sealed) == b"plain"
    assert new.digest("x", "y") == digest
    with pytest.raises(Unreadable):
        old.open("a", new.seal("a", b"plain"))


def test_digests_tell_nothing_and_keep_borders(tmp_path):
    one = Sealer({b"abcd": b"k" * 32}, secrets.token_bytes)
    two = Sealer({b"abcd": b"j" * 32}, secrets.token_bytes)
    assert one.digest("ab", "c") != one.digest("a", "bc")
    assert one.digest("ab", "c") != two.digest("ab", "c")

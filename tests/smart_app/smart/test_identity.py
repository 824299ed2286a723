"""Who is signed in (SM-35 to SM-37, SM-40; row 102)."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode

import pytest
from joserfc import jwk, jws, jwt

from tests.support.smart_ehr import CLIENT, PATIENT, outcome, rsa_key
from tests.support.smart_visit import reason_of, set_cookies

NOW = time.time


def unsigned(head: dict, claims: dict, secret: bytes) -> str:
    """A token made by hand, as the library makes none: with no signature, or an HMAC of ``secret``."""
    parts = [urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (head, claims)]
    signature = hmac.digest(secret, b".".join(parts), "sha256") if secret else b""
    return b".".join((*parts, urlsafe_b64encode(signature).rstrip(b"="))).decode()


def user_of(app, browser, ehr):
    launch_id = browser.open(ehr)
    return app.parts.launches.find(launch_id, browser.cookie(launch_id)).user


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://other.example.org"}, "iss"),
        ({"iss": ...}, "claims"),
        ({"aud": "somebody-else"}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": ["somebody-else", "third"]}, "aud"),
        ({"aud": [CLIENT, "somebody-else"]}, "azp"),
        ({"aud": [CLIENT, "somebody-else"], "azp": "somebody-else"}, "azp"),
        ({"azp": "somebody-else"}, "azp"),
        ({"exp": int(NOW()) - 61}, "expired"),
        ({"exp": ...}, "claims"),
        ({"exp": "soon"}, "claims"),
        ({"iat": int(NOW()) + 3_600}, "iat"),
        ({"iat": ...}, "claims"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": ...}, "nonce"),
        ({"sub": ...}, "claims"),
    ],
)
def test_SM35_bad_input_102_a_claim_that_is_not_right_opens_nothing(ehr, browser, claims, reason, caplog):
    ehr.id_claims = claims
    response = browser.launch(ehr)
    assert response.status_code == 401
    assert reason_of(caplog) == f"id_token_{reason}"
    assert not [name for name in set_cookies(response) if "launch" in name]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "second"], "azp": CLIENT},
        {"exp": int(NOW()) + 900, "iat": int(NOW()) + 30},  # a clock that goes ahead a little
        {"something": {"else": 1}},
    ],
)
def test_SM35_what_is_allowed_is_taken(ehr, browser, claims):
    ehr.id_claims = claims
    browser.open(ehr)


def test_SM35_a_little_late_is_in_time(app, ehr, browser):
    ehr.id_claims = {"exp": int(time.time()) - 30}
    browser.open(ehr)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "missing"),
        ("none", "algorithm"),
        ("HS256", "algorithm"),
        ("PS256", "algorithm"),
        ("stranger", "signature"),
        ("altered", "signature"),
        ("no jwt", "not_a_jwt"),
        ("empty", "missing"),
    ],
)
def test_SM35_bad_input_102_a_signature_that_proves_nothing_opens_nothing(ehr, browser, kind, reason, caplog):
    registry = jws.JWSRegistry(algorithms=["RS256", "PS256", "HS256", "none"])

    def twist(token: str) -> str | None:
        claims = jwt.decode(token, ehr.key, registry=registry).claims
        head = {"alg": kind, "kid": ehr.key.kid}
        if kind == "missing":
            return None
        if kind == "none":
            return unsigned(head, claims, b"")
        if kind == "HS256":  # signed with what everybody knows: the public key
            return unsigned(head, claims, ehr.key.as_pem(private=False))
        if kind == "PS256":
            return jwt.encode(
                head, claims, jwk.RSAKey.import_key(rsa_key("plain").as_pem(private=True)), registry=registry
            )
        if kind == "stranger":
            stranger = jwk.RSAKey.import_key(rsa_key("stranger").as_pem(private=True))
            return jwt.encode({"alg": "RS256", "kid": ehr.key.kid}, claims, stranger, registry=registry)
        head_part, body, signature = token.split(".")
        return {"altered": f"{head_part}.{body[:-2]}AA.{signature}", "no jwt": "x.y", "empty": ""}[kind]

    ehr.id_token = twist
    response = browser.launch(ehr)
    assert response.status_code == 401
    assert reason_of(caplog) == f"id_token_{reason}"


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "ES256", "ES384"])
def test_SM35_algorithms_that_ehrs_use(ehr, browser, algorithm):
    if algorithm.startswith("ES"):
        ehr.key = jwk.ECKey.generate_key({"ES256": "P-256", "ES384": "P-384"}[algorithm], {"kid": "ec-1"})
        ehr.published = [ehr.key]
    else:
        ehr.key = jwk.RSAKey.import_key(rsa_key("plain").as_pem(private=True), {"kid": "r-1"})
        ehr.published = [ehr.key]
    ehr.id_header = {"alg": algorithm}
    browser.open(ehr)


def test_SM36_an_unknown_key_is_looked_for_once_more(app, ehr, browser):
    browser.open(ehr)
    assert len(ehr.to("/auth/jwks")) == 1
    ehr.key = rsa_key("ehr-2")
    ehr.published.append(ehr.key)
    browser.open(ehr)
    assert len(ehr.to("/auth/jwks")) == 2
    browser.open(ehr)
    assert len(ehr.to("/auth/jwks")) == 2


def test_SM36_a_key_that_is_not_published_is_refused_after_one_look(ehr, browser, caplog):
    browser.open(ehr)
    ehr.key = rsa_key("ehr-3")
    assert browser.launch(ehr).status_code == 401
    assert reason_of(caplog) == "id_token_unknown_key"
    assert len(ehr.to("/auth/jwks")) == 2


def test_SM36_a_key_that_changed_and_kept_its_name_is_looked_for_once_more(ehr, browser):
    browser.open(ehr)
    ehr.key = jwk.RSAKey.generate_key(2_048, {"kid": "ehr-1", "use": "sig", "alg": "RS256"})
    ehr.published[:] = [ehr.key]
    browser.open(ehr)
    assert len(ehr.to("/auth/jwks")) == 2


def test_SM36_keys_for_other_purposes_do_no_harm(ehr, browser):
    ehr.published.append(jwk.RSAKey.import_key(rsa_key("plain").as_pem(private=True), {"kid": "enc", "use": "enc"}))
    browser.open(ehr)


@pytest.mark.parametrize("first", [True, False])
def test_SM36_of_two_keys_with_one_name_the_one_of_the_right_kind_counts(ehr, browser, first):
    """RFC 7517, 4.5: keys of different kinds may share a kid."""
    other = jwk.ECKey.generate_key("P-384", {"kid": ehr.key.kid, "use": "sig"})
    ehr.published.insert(0 if first else 1, other)
    browser.open(ehr)
    ehr.key, ehr.id_header = other, {"alg": "ES384"}
    browser.open(ehr)


@pytest.mark.parametrize("header", [{"kid": ...}])
def test_SM35_a_token_without_kid_is_taken_where_there_is_one_key_only(ehr, browser, header, caplog):
    ehr.id_header = header
    browser.open(ehr)
    ehr.published.append(rsa_key("ehr-4"))
    fresh = browser  # the key set is kept for an hour: a second key shows after the next look
    assert fresh.launch(ehr).status_code == 303


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ("{iss}/Practitioner/doc-1", "Practitioner/doc-1"),
        ("Practitioner/doc-1", "Practitioner/doc-1"),
        ("{iss}/PractitionerRole/r.1", "PractitionerRole/r.1"),
        ("Patient/pat-1", "Patient/pat-1"),
        ("RelatedPerson/x", "RelatedPerson/x"),
        ("Person/x", "Person/x"),
        ("https://other.example.org/fhir/Practitioner/doc-1", None),
        ("{url}/other/Practitioner/doc-1", None),
        ("Device/x", None),
        ("Practitioner", None),
        ("Practitioner/../Patient/1", None),
        ("{iss}/Practitioner/doc-1?x=1", None),
        (..., None),
    ],
)
def test_SM37_fhir_user_lies_under_the_ehrs_own_base(app, ehr, browser, given, reference):
    ehr.id_claims = {"fhirUser": given if given is ... else given.format(iss=ehr.iss, url=ehr.url)}
    if reference is None:
        refused = browser.launch(ehr)
        assert refused.status_code == 401
        assert "(fhirUser)" in refused.text  # what is wrong, for whoever looks after the EHR
    else:
        assert user_of(app, browser, ehr).reference == reference


def test_SM37_the_users_name_and_npi_are_read_from_the_ehr(app, ehr, browser):
    user = user_of(app, browser, ehr)
    assert (user.name, user.npi, user.role) == ("Dr. Sam Sample", "1234567893", "Practitioner")


def test_SM37_where_the_ehr_does_not_show_the_user_the_id_token_names_them(app, ehr, browser):
    ehr.answers["GET /fhir/Practitioner/doc-1"] = outcome(403, "no")
    ehr.id_claims = {"name": "Sam S."}
    user = user_of(app, browser, ehr)
    assert (user.name, user.npi) == ("Sam S.", "")


def test_SM40_the_banner_names_the_patient_on_every_page(ehr, browser):
    launch_id = browser.open(ehr)
    page = browser.get(f"/l/{launch_id}/about").text
    for text in ("Ada Canaryname", "1961-07-03", "MRN-CANARY-77"):
        assert text in page
    assert "Former Name" not in page


def test_SM40_no_banner_where_the_ehr_shows_its_own(ehr, browser):
    ehr.context |= {"need_patient_banner": False}
    launch_id = browser.open(ehr)
    assert "Canaryname" not in browser.get(f"/l/{launch_id}/about").text


def test_SM40_a_patient_that_cannot_be_read_is_said_so(ehr, browser):
    ehr.answers["GET /fhir/Patient/pat-1"] = outcome(403, "no")
    launch_id = browser.open(ehr)
    assert "Name not shown by the EHR" in browser.get(f"/l/{launch_id}/about").text


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "x"},
        {"name": [7]},
        {"name": [{"given": [7, None]}]},
        {"birthDate": 7},
        {"identifier": [{"type": "x", "value": 5}]},
        {"identifier": {"value": "x"}},
    ],
)
def test_SM40_a_patient_of_any_shape_opens(ehr, browser, broken):
    ehr.resources["Patient/pat-1"] = {**PATIENT, **broken}
    launch_id = browser.open(ehr)
    assert browser.get(f"/l/{launch_id}/about").status_code == 200

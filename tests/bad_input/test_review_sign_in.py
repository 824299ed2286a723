"""Signing in as a reviewer at a real identity provider over TLS, and every way to cheat at it."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.jwks import GuardedKeyFetch, KeyRing
from cds_service.adapters.oidc import OidcSignIn, Provider
from cds_service.adapters.system import SystemClock
from cds_service.domain.review import Person, Role
from cds_service.errors import NotAllowed, NotAuthenticated, Unanswerable
from cds_service.workplace import new_secret
from tests.support.fault_server import Authority, new_authority
from tests.support.hook_tokens import b64, ec, public, rsa, sign
from tests.support.identity_provider import CLIENT, SECRET, IdentityProvider
from tests.support.review_desk import BASE, Browser, Desk

HEADER = {"alg": "RS256", "kid": "k1", "typ": "JWT"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


class Site:
    """A provider, and our side of it."""

    def __init__(self, idp: IdentityProvider, ca_file: str, **changes: Any) -> None:
        self.idp = idp
        self.clock = SystemClock()
        self.http = GuardedHttp(insecure_dev=True)  # the provider is on loopback
        usual = {
            "issuer": idp.issuer,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "redirect_uri": f"{BASE}/review/sign-in/callback",
            "ca_file": ca_file,
        }
        self.provider = Provider(**{**usual, **changes})
        keys = KeyRing(GuardedKeyFetch(self.http, self.clock), self.clock)
        self.door = OidcSignIn(self.provider, self.http, keys, self.clock, new_secret)

    def sign_in(self, **answer: str) -> Person:
        begun = self.door.begin()
        return self.door.finish({**self.idp.authorize(begun.url), **answer}, begun.kept)

    def refusal(self, **answer: str) -> str:
        with pytest.raises((NotAuthenticated, NotAllowed, Unanswerable)) as refused:
            self.sign_in(**answer)
        return getattr(refused.value, "reason", type(refused.value).__name__)


@pytest.fixture(scope="module")
def served(authority: Authority) -> Iterator[IdentityProvider]:
    provider = IdentityProvider(authority.server())
    yield provider
    provider.close()


@pytest.fixture
def idp(served: IdentityProvider) -> IdentityProvider:
    served.behave()
    return served


@pytest.fixture
def site(idp: IdentityProvider, authority: Authority, tmp_path: Path) -> Iterator[Site]:
    made = Site(idp, authority.write(str(tmp_path / "ca.pem")))
    yield made
    made.http.close()


def test_a_person_signs_in_with_role_and_npi(site: Site) -> None:
    assert site.sign_in() == Person("u-1", "Ada Quill", Role.PHYSICIAN, "1999999919")


def test_any_configured_signature_is_taken(site: Site) -> None:
    site.idp.token = lambda asked: sign(ec("idp"), site.idp.claims(asked), {"alg": "ES384", "kid": "k2"})
    assert site.sign_in().id == "u-1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"iss": ...}, "claims_malformed"),
        ({"aud": "another-client"}, "audience"),
        ({"aud": ["another-client"]}, "audience"),
        ({"aud": [CLIENT, "another-client"]}, "authorized_party"),  # of several, azp must name us
        ({"aud": [CLIENT, "x"], "azp": "x"}, "authorized_party"),
        ({"azp": "another-client"}, "authorized_party"),
        ({"nonce": "of another sign-in"}, "nonce"),
        ({"nonce": ...}, "claims_malformed"),
        ({"exp": 0}, "expired"),
        ({"exp": float("nan")}, "claims_malformed"),
        ({"exp": "9999999999"}, "claims_malformed"),
        ({"iat": 99_999_999_999, "exp": 99_999_999_999}, "issued_in_future"),
        ({"iat": 1_000_000_000}, "issued_too_early"),  # found somewhere, still alive
        ({"sub": ""}, "subject"),
        ({"sub": "a\u202eb"}, "subject"),
        ({"roles": []}, "NotAllowed"),
        ({"roles": ...}, "NotAllowed"),
        ({"roles": "root"}, "NotAllowed"),
        ({"roles": {"physician": True}}, "NotAllowed"),
    ],
)
def test_bad_input_an_id_token_with_wrong_claims_lets_nobody_in(
    site: Site, changes: dict[str, Any], reason: str
) -> None:
    site.idp.token = lambda asked: site.idp.signed(asked, **changes)
    assert site.refusal() == reason


def unsigned(claims: dict[str, Any], alg: str) -> str:
    return f"{b64(msgspec.json.encode({'alg': alg, 'kid': 'k1'}))}.{b64(msgspec.json.encode(claims))}."


def by_hmac(claims: dict[str, Any], key: bytes) -> str:
    """As if the verifier's key were a shared secret."""
    body = f"{b64(msgspec.json.encode(HEADER | {'alg': 'HS256'}))}.{b64(msgspec.json.encode(claims))}"
    return f"{body}.{b64(hmac.digest(key, body.encode(), 'sha256'))}"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda claims: unsigned(claims, "none"), "algorithm"),
        (lambda claims: unsigned(claims, "NONE"), "algorithm"),
        # The provider's public key, or our client secret, used as the key of an HMAC.
        (lambda claims: by_hmac(claims, rsa("idp").as_pem(private=False)), "algorithm"),
        (lambda claims: by_hmac(claims, SECRET.encode()), "algorithm"),
        (lambda claims: sign(rsa("stranger"), claims, HEADER), "signature"),
        (lambda claims: sign(rsa("stranger"), claims, HEADER | {"kid": "k9"}), "key_unknown"),
        (lambda claims: sign(rsa("idp"), claims, {"alg": "RS256"}), "kid"),
        (
            lambda claims: sign(rsa("idp"), claims, HEADER | {"jwk": public(rsa("stranger"), "k1")}),
            "header_embedded_key",
        ),
        (lambda claims: sign(rsa("idp"), claims, HEADER | {"jku": "https://evil.example/jwks"}), "jku"),
        (lambda claims: sign(rsa("idp"), claims, HEADER | {"crit": ["exp"]}), "header_critical"),
        (lambda claims: sign(rsa("idp"), claims, HEADER)[:-8] + "AAAAAAAA", "signature"),
        (lambda _claims: "not a token", "token_malformed"),
        (lambda _claims: "é.é.é", "token_malformed"),
        (lambda _claims: "a" * 20_000, "token_size"),
        (lambda _claims: "", "token_size"),
    ],
)
def test_bad_input_an_id_token_that_the_provider_did_not_sign_lets_nobody_in(
    site: Site, make: Any, reason: str
) -> None:
    site.idp.token = lambda asked: make(site.idp.claims(asked))
    assert site.refusal() == reason


def test_an_algorithm_that_is_not_configured_is_refused(
    idp: IdentityProvider, authority: Authority, tmp_path: Path
) -> None:
    site = Site(idp, authority.write(str(tmp_path / "ca.pem")), algorithms=("ES384",))
    assert site.refusal() == "algorithm"
    site.http.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"state": "guessed"}, "state"),
        ({"state": ""}, "state"),
        ({"iss": "https://elsewhere.example"}, "issuer_parameter"),  # mix-up of two providers
        ({"error": "access_denied"}, "provider_refused"),
        ({"code": ""}, "code"),
        ({"code": "made-up"}, "token_refused"),
        ({"code": "c" * 5000}, "code"),
    ],
)
def test_bad_input_a_return_that_does_not_belong_lets_nobody_in(
    site: Site, answer: dict[str, str], reason: str
) -> None:
    assert site.refusal(**answer) == reason


def test_a_code_of_another_sign_in_is_refused_by_its_verifier(site: Site) -> None:
    victim, attacker = site.door.begin(), site.door.begin()
    stolen = site.idp.authorize(victim.url)
    with pytest.raises(NotAuthenticated, match="failed") as refused:
        site.door.finish({"code": stolen["code"], "state": attacker.kept["state"]}, attacker.kept)
    assert refused.value.reason == "token_refused"  # PKCE: the provider compares


def test_a_token_of_another_sign_in_is_refused_by_its_nonce(site: Site) -> None:
    first = site.door.begin()
    of_first = dict(site.idp.claims({"nonce": first.kept["nonce"]}))
    site.idp.token = lambda _asked: sign(rsa("idp"), of_first, HEADER)
    assert site.refusal() == "nonce"


def test_the_issuer_parameter_is_demanded_where_the_provider_promises_it(site: Site) -> None:
    site.idp.discovery = lambda: {
        **site.idp.usual_discovery(),
        "authorization_response_iss_parameter_supported": True,
    }
    assert site.refusal() == "issuer_parameter"
    assert site.sign_in(iss=site.idp.issuer).id == "u-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://elsewhere.example"},
        {"token_endpoint": "https://evil.example/token"},
        {"jwks_uri": "https://evil.example/jwks"},
        {"token_endpoint": "http://localhost/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": None},
    ],
)
def test_bad_input_a_discovery_document_that_leads_elsewhere_is_not_followed(
    site: Site, changes: dict[str, Any]
) -> None:
    site.idp.discovery = lambda: {**site.idp.usual_discovery(), **changes}
    with pytest.raises(Unanswerable):
        site.door.begin()
    assert site.idp.asked == ["/.well-known/openid-configuration"]


def test_a_provider_that_is_away_is_said_and_comes_back(authority: Authority, tmp_path: Path) -> None:
    idp = IdentityProvider(authority.server())
    idp.close()
    site = Site(idp, authority.write(str(tmp_path / "ca.pem")))
    with pytest.raises(Unanswerable, match="cannot be reached"):
        site.door.begin()
    site.http.close()


@pytest.mark.parametrize(
    ("claims", "changes", "role"),
    [
        ({"roles": ["nurse"]}, {}, Role.NURSE),
        ({"roles": ["auditor", "nurse"]}, {}, Role.NURSE),  # acts as a reviewer where both are granted
        ({"roles": "auditor"}, {}, Role.AUDITOR),
        ({"roles": [7, None, "nurse"]}, {}, Role.NURSE),
        ({"realm": {"roles": ["nurse"]}}, {"roles_claim": "realm.roles"}, Role.NURSE),
        ({"https://payer.example/r": ["nurse"]}, {"roles_claim": "https://payer.example/r"}, Role.NURSE),
        ({"roles": ["UM-MD"]}, {"role_names": {"UM-MD": Role.PHYSICIAN}}, Role.PHYSICIAN),
    ],
)
def test_roles_come_from_the_configured_claim(
    idp: IdentityProvider, authority: Authority, tmp_path: Path, claims: Any, changes: Any, role: Role
) -> None:
    site = Site(idp, authority.write(str(tmp_path / "ca.pem")), **changes)
    idp.person = {"sub": "u-1", **claims}
    assert site.sign_in().role is role
    site.http.close()


def test_a_configured_word_replaces_our_own_names(idp: IdentityProvider, authority: Authority, tmp_path: Path) -> None:
    site = Site(idp, authority.write(str(tmp_path / "ca.pem")), role_names={"UM-MD": Role.PHYSICIAN})
    idp.person = {"sub": "u-1", "roles": ["physician"]}  # no word of this provider's for us
    assert site.refusal() == "NotAllowed"
    site.http.close()


def test_a_browser_signs_in_once_per_sign_in(idp: IdentityProvider, authority: Authority, tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        oidc_issuer=idp.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret_file=_secret_file(tmp_path),
        oidc_ca_file=Path(authority.write(str(tmp_path / "ca.pem"))),
    )
    desk.clock.at = time.time()
    app = desk.app()
    browser, other = Browser(app), Browser(app)
    begun = browser.get("/review/sign-in/start?next=/review/audit")
    back = f"/review/sign-in/callback?{urlencode(idp.authorize(begun.headers['Location']))}"
    assert other.get(back).status_code == 401  # a link sent to another browser: login CSRF
    arrived = browser.get(back)
    assert (arrived.status_code, arrived.headers["Location"]) == (303, "/review/audit")
    assert browser.get(back).status_code == 401  # the sign-in served once
    assert browser.get("/review").status_code == 200
    refusals = [each.detail["reason"] for each in desk.reads.audit(None, 100, action="sign_in_refused")]
    assert refusals == ["state", "state"]
    assert [each.actor for each in desk.reads.audit(None, 100, action="sign_in")] == ["u-1"]
    desk.close()


def _secret_file(folder: Path) -> Path:
    path = folder / "secret"
    path.write_text(SECRET + "\n", "utf-8")
    path.chmod(0o600)
    return path

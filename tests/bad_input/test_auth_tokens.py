"""Rows 1-11, 17-19, 21-33 and 37-40 of the bad-input table: tokens, one at a time, against one registered client.

The replay rows 34-36 need the store and are tested where the use case is.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jws

from cds_service.adapters.client_auth import REASONS, ClientAuthenticator
from cds_service.adapters.jwks import KeyRing
from cds_service.clients import ClientProfile
from cds_service.errors import NotAllowed, NotAuthenticated
from cds_service.ports import Caller
from tests.support.hook_tokens import (
    ISSUER,
    JWKS_URL,
    NOW,
    URL,
    TestClock,
    b64,
    claims,
    ec,
    header,
    key_set,
    public,
    rsa,
    sign,
    sign_segments,
)

OTHER_ISSUER = "https://other.example.org"
PROFILE = ClientProfile(id="ehr", name="Example EHR", issuer=ISSUER, jwks_url=JWKS_URL)
OTHER = ClientProfile(id="other", name="Other EHR", issuer=OTHER_ISSUER, jwks_url=OTHER_ISSUER + "/keys")


class Published:
    """The clients' key sets, and every address that was read."""

    def __init__(self) -> None:
        self.sets = {
            JWKS_URL: key_set(public(ec(), "k1"), public(rsa(), "r1"), public(ec("odd"), "a+b/c=")),
            OTHER.jwks_url: key_set(public(ec("other"), "k1")),
        }
        self.read: list[str] = []

    def __call__(self, profile: ClientProfile) -> bytes:
        self.read.append(profile.jwks_url or "")
        return self.sets[profile.jwks_url]


class Desk:
    """The authenticator under test with everything that it asks."""

    def __init__(self, *profiles: ClientProfile) -> None:
        self.clock = TestClock()
        self.published = Published()
        self.events: list[str] = []
        registered = {profile.issuer: profile for profile in profiles or (PROFILE, OTHER)}
        ring = KeyRing(self.published, self.clock, self.events.append)
        self.authenticator = ClientAuthenticator(registered, ring, self.clock, self.events.append)

    def verify(self, token: str, url: str = URL) -> Caller:
        return self.authenticator.verify([f"Bearer {token}"], url)

    def refused(self, token: str, url: str = URL) -> str:
        return self.refused_values([f"Bearer {token}"], url)

    def refused_values(self, values: Sequence[str], url: str = URL) -> str:
        with pytest.raises(NotAuthenticated) as refusal:
            self.authenticator.verify(values, url)
        assert refusal.value.diagnostics == "client authentication failed"  # the same whatever was wrong
        assert refusal.value.reason in REASONS
        return refusal.value.reason


@pytest.fixture
def desk(caplog: pytest.LogCaptureFixture) -> Desk:
    caplog.set_level(logging.DEBUG)
    return Desk()


@pytest.fixture(autouse=True)
def nothing_of_the_token_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    yield
    assert "eyJ" not in caplog.text


@pytest.mark.parametrize(("key", "kid"), [(ec(), "k1"), (rsa(), "r1")], ids=["ES384", "RS384"])
def test_the_right_token_is_accepted(desk: Desk, key: object, kid: str) -> None:
    alg = "ES384" if kid == "k1" else "RS384"
    caller = desk.verify(sign(key, claims(), header(alg, kid=kid)))
    assert caller == Caller(PROFILE, str(claims()["jti"]), NOW + 300, None)
    assert desk.events == ["jwks_fetched"]


def test_bad_input_01_no_authorization(desk: Desk) -> None:
    assert desk.refused_values([]) == "authorization_missing"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["Basic dXNlcjpwYXNz"], "authorization_scheme"),
        (["Bearer "], "token_size"),
        (["Bearer"], "token_size"),
        ([""], "authorization_missing"),
        (["Bearer x.y.z", "Bearer x.y.z"], "authorization_repeated"),
    ],
)
def test_bad_input_02_other_schemes_empty_and_repeated(desk: Desk, values: list[str], reason: str) -> None:
    assert desk.refused_values(values) == reason


def test_bad_input_02_two_right_headers_are_refused(desk: Desk) -> None:
    token = f"Bearer {sign(ec())}"
    assert desk.authenticator.verify([token], URL)
    assert desk.refused_values([token, token]) == "authorization_repeated"
    assert desk.refused_values([f"{token},{token}"])  # as a server joins them


@pytest.mark.parametrize(
    "token",
    [
        "a",
        "a.b",
        "a.b.c",
        "....",
        ".",
        "..",
        "\x00.\x00.\x00",
        "\u00e9.\u00e9.\u00e9",
        "a.b.c.d.e",
        "{}",
        "e30.e30.e30",
        "W10.W10.W10",
        "bnVsbA.bnVsbA.bnVsbA",
        "IiI.IiI.IiI",
        "MQ.MQ.MQ",
        " a.b.c",
        "a b c",
    ],
)
def test_bad_input_03_garbage(desk: Desk, token: str) -> None:
    assert desk.refused(token) in {"token_malformed", "claims_malformed"}
    assert desk.published.read == []


def test_bad_input_03_deep_nesting_in_header_and_claims(desk: Desk) -> None:
    deep = b'{"alg":"ES384","kid":"k1","x":' + b"[" * 4000 + b"]" * 4000 + b"}"
    assert desk.refused(b64(deep) + "." + b64(b"{}") + ".AA")
    deep = json.dumps(claims()).encode()[:-1] + b', "x":' + b"[" * 2500 + b"]" * 2500 + b"}"
    assert desk.refused(sign(ec(), deep)) in {"claims_malformed", "token_malformed"}


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 1, ["ES384"], {"a": 1}])
@pytest.mark.parametrize("signature", ["", "AA"])
def test_bad_input_04_no_algorithm(desk: Desk, alg: object, signature: str) -> None:
    token = b64(json.dumps(header(alg)).encode()) + "." + b64(json.dumps(claims()).encode()) + "." + signature
    assert desk.refused(token) == "algorithm"


def test_bad_input_04_empty_signature_under_a_right_algorithm(desk: Desk) -> None:
    assert desk.refused(sign(ec()).rpartition(".")[0] + ".") == "signature"


def test_bad_input_05_hs256_with_public_key(desk: Desk) -> None:
    """The public key is public: as a shared secret it would let everybody sign."""
    pem = rsa().public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), json.dumps(public(rsa(), "r1")).encode()):
        for alg, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
            signed = b64(json.dumps(header(alg, kid="r1")).encode()) + "." + b64(json.dumps(claims()).encode())
            token = signed + "." + b64(hmac.digest(secret, signed.encode(), digest))
            assert desk.refused(token) == "algorithm"


@pytest.mark.parametrize(
    ("alg", "key", "kid"),
    [
        ("RS256", rsa(), "r1"),
        ("RS512", rsa(), "r1"),
        ("PS384", rsa(), "r1"),
        ("ES256", ec("p256", "P-256"), "k1"),
        ("ES256K", ec("k256", "secp256k1"), "k1"),
        ("EdDSA", None, "k1"),
        ("es384", None, "k1"),
    ],
)
def test_bad_input_06_other_algorithms(desk: Desk, alg: str, key: object, kid: str) -> None:
    head, body = b64(json.dumps(header(alg, kid=kid)).encode()), b64(json.dumps(claims()).encode())
    token = f"{head}.{body}.AAAA" if key is None else sign(key, claims(), header(alg, kid=kid))
    assert desk.refused(token) == "algorithm"


def test_bad_input_06_the_right_algorithm_with_the_other_kind_of_key(desk: Desk) -> None:
    assert desk.refused(sign(rsa(), claims(), header("RS384", kid="k1"))) == "key_algorithm"
    assert desk.refused(sign(ec(), claims(), header("ES384", kid="r1"))) == "key_algorithm"


def test_bad_input_06_one_clients_algorithm_is_not_anothers() -> None:
    also_256 = msgspec.structs.replace(OTHER, algorithms=("RS256",))
    desk = Desk(PROFILE, also_256)
    desk.published.sets[OTHER.jwks_url] = key_set(public(rsa("two"), "r1"))
    assert desk.verify(sign(rsa("two"), claims(iss=OTHER_ISSUER), header("RS256", kid="r1"))).profile.id == "other"
    assert desk.refused(sign(rsa(), claims(), header("RS256", kid="r1"))) == "algorithm"


@pytest.mark.parametrize(
    "signature", [b"\x00" * 96, b"\x00" * 95, b"\xff" * 96, b"\x00" * 97, b"\x30\x06\x02\x01\x00\x02\x01\x00"]
)
def test_bad_input_07_zero_signature(desk: Desk, signature: bytes) -> None:
    assert desk.refused(sign(ec()).rpartition(".")[0] + "." + b64(signature)) == "signature"


@pytest.mark.parametrize("member", ["jwk", "x5u"])
def test_bad_input_08_key_in_the_header(desk: Desk, member: str) -> None:
    attacker = ec("attacker")
    value: object = attacker.as_dict(private=False) if member == "jwk" else "https://attacker.example/cert.pem"
    assert desk.refused(sign(attacker, claims(), header(**{member: value}))) == "header_embedded_key"
    assert desk.refused(sign(ec(), claims(), header(**{member: value}))) == "header_embedded_key"
    assert desk.refused(sign(attacker)) == "signature"


OTHER_ADDRESSES = [
    "https://attacker.example/jwks.json",
    OTHER.jwks_url,
    "http://169.254.169.254/",
    "http://127.0.0.1:8080/",
    "file:///etc/passwd",
    "//host",
    "",
    None,
    7,
    [JWKS_URL],
    {"u": JWKS_URL},
]
NEAR_MISSES = [
    JWKS_URL + "@evil",
    "https://ehr.example.org@evil/jwks.json",
    "https://ehr.example.org/../jwks.json",
    JWKS_URL + "/../x",
    "https://EHR.example.org/jwks.json",
    "HTTPS://ehr.example.org/jwks.json",
    "https://ehr.example.org/JWKS.json",
    "https://ehr.example.org./jwks.json",
    JWKS_URL + "/",
    JWKS_URL + "?x=1",
    JWKS_URL + "#x",
    " " + JWKS_URL,
    "https://ehr.example.org:443/jwks.json",
    "http://ehr.example.org/jwks.json",
]


@pytest.mark.parametrize("address", OTHER_ADDRESSES)
def test_bad_input_09_10_key_address_of_the_token(desk: Desk, address: object) -> None:
    assert desk.refused(sign(ec("attacker"), claims(), header(jku=address))) == "jku"
    assert desk.refused(sign(ec(), claims(), header(jku=address))) == "jku"
    assert desk.published.read == []


@pytest.mark.parametrize("address", NEAR_MISSES)
def test_bad_input_11_key_address_that_almost_matches(desk: Desk, address: str) -> None:
    assert desk.refused(sign(ec(), claims(), header(jku=address))) == "jku"
    assert desk.published.read == []


def test_bad_input_11_the_registered_key_address_is_accepted(desk: Desk) -> None:
    assert desk.verify(sign(ec(), claims(), header(jku=JWKS_URL)))


def test_bad_input_11_settled_keys_and_a_jku_that_is_not_registered() -> None:
    settled = json.loads(key_set(public(ec(), "k1")))
    desk = Desk(msgspec.structs.replace(PROFILE, jwks_url=None, jwks=settled))
    assert desk.verify(sign(ec()))
    assert desk.refused(sign(ec(), claims(), header(jku=JWKS_URL))) == "jku"
    desk = Desk(msgspec.structs.replace(PROFILE, jwks=settled))  # both: the address is compared, never read
    assert desk.verify(sign(ec(), claims(), header(jku=JWKS_URL)))
    assert desk.published.read == []


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR 1=1--", "k" * 1000, ["k1"], {"k": "k1"}, 1, None, True, "", "K1", "k1 ", "k1\x00"]
)
def test_bad_input_17_strange_kid(desk: Desk, kid: object) -> None:
    assert desk.refused(sign(ec(), claims(), header(kid=kid))) in {"kid", "key_unknown"}


def test_bad_input_17_kid_of_10_kb(desk: Desk) -> None:
    assert desk.refused(sign(ec(), claims(), header(kid="k" * 10_000))) == "token_malformed"
    assert desk.published.read == []


def test_bad_input_18_kid_absent_with_a_set_of_one_key() -> None:
    desk = Desk()
    desk.published.sets[JWKS_URL] = key_set(public(ec(), "k1"))
    assert desk.verify(sign(ec()))
    assert desk.refused(sign(ec(), claims(), header(kid=...))) == "kid"


def test_bad_input_19_kid_in_plain_base64(desk: Desk) -> None:
    assert desk.verify(sign(ec("odd"), claims(), header(kid="a+b/c=")))


@pytest.mark.parametrize(
    ("key", "alg"),
    [(rsa("weak", 1024), "RS384"), (ec("p256", "P-256"), "ES384"), (ec("p521", "P-521"), "ES384")],
    ids=["RSA-1024", "P-256", "P-521"],
)
def test_bad_input_21_weak_and_other_keys_in_a_registered_set(desk: Desk, key: object, alg: str) -> None:
    desk.published.sets[JWKS_URL] = key_set(public(key, "k1"))
    signer = rsa("weak", 1024) if alg == "RS384" else ec()
    assert desk.refused(sign(signer, claims(), header(alg))) in {"key_unknown", "key_algorithm"}


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"alg": "RS384"},
        {"alg": "ES256"},
        {"alg": 5},
        {"d": "AAAA"},
        {"x": "AAAA"},
        {"x": 5},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": 5},
        {"crv": "P-999"},
        {"crv": None},
        {"kid": 7},
        {"y": None},
    ],
)
def test_bad_input_21_keys_that_are_not_for_this(desk: Desk, members: Mapping[str, object]) -> None:
    desk.published.sets[JWKS_URL] = key_set({**public(ec(), "k1"), **members}, public(rsa(), "r1"))
    assert desk.refused(sign(ec())) in {"key_unknown", "key_algorithm"}
    assert desk.verify(sign(rsa(), claims(), header("RS384", kid="r1")))  # the others stay usable


def test_bad_input_21_two_keys_under_one_kid(desk: Desk) -> None:
    desk.published.sets[JWKS_URL] = key_set(public(ec(), "k1"), public(ec("attacker"), "k1"))
    assert desk.refused(sign(ec())) == "key_unknown"


@pytest.mark.parametrize(("ago", "accepted"), [(61, False), (60, True), (59, True), (0, True), (3600, False)])
def test_bad_input_22_expiry(desk: Desk, ago: int, accepted: bool) -> None:
    token = sign(ec(), claims(exp=NOW - ago, iat=NOW - ago - 300))
    if accepted:
        assert desk.verify(token)
    else:
        assert desk.refused(token) == "expired"


@pytest.mark.parametrize("exp", [253_402_300_799, NOW + 1201, NOW + 86_400])
def test_bad_input_23_life_too_long(desk: Desk, exp: int) -> None:
    assert desk.refused(sign(ec(), claims(exp=exp))) == "life_too_long"


@pytest.mark.parametrize("iat", [NOW - 1000, 0, -5])
def test_bad_input_23_issued_long_ago(desk: Desk, iat: int) -> None:
    assert desk.refused(sign(ec(), claims(iat=iat))) == "life_too_long"


def test_bad_input_23_twenty_minutes_is_the_limit(desk: Desk) -> None:
    assert desk.verify(sign(ec(), claims(exp=NOW + 1200)))
    assert desk.refused(sign(ec(), claims(exp=NOW, iat=NOW))) == "life_too_long"


def test_bad_input_24_life_of_15_minutes_and_early_nbf(desk: Desk) -> None:
    assert desk.verify(sign(ec(), claims(exp=NOW + 900, nbf=NOW - 300)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iat": NOW + 300, "exp": NOW + 600}, "issued_in_future"),
        ({"iat": NOW + 61, "exp": NOW + 600}, "issued_in_future"),
        ({"nbf": NOW + 300}, "not_yet_valid"),
        ({"nbf": NOW + 61}, "not_yet_valid"),
    ],
)
def test_bad_input_25_times_in_the_future(desk: Desk, changes: Mapping[str, object], reason: str) -> None:
    assert desk.refused(sign(ec(), claims(**changes))) == reason


def test_bad_input_25_within_the_skew(desk: Desk) -> None:
    assert desk.verify(sign(ec(), claims(iat=NOW + 60, nbf=NOW + 60, exp=NOW + 600)))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value", [b'"1780000100"', b"true", b"NaN", b"1e400", b"-1e400", b"[]", b"{}", b"Infinity", b"0x10"]
)
def test_bad_input_26_times_that_are_no_times(desk: Desk, name: str, value: bytes) -> None:
    body = json.dumps(claims(**{name: "@"})).encode().replace(b'"@"', value)
    assert desk.refused(sign(ec(), body)) in {"claims_malformed", "life_too_long"}


@pytest.mark.parametrize("name", ["exp", "iat"])
@pytest.mark.parametrize("value", [-1, None, -1.5, ...])
def test_bad_input_26_negative_null_and_missing_times(desk: Desk, name: str, value: object) -> None:
    assert desk.refused(sign(ec(), claims(**{name: value})))


def test_bad_input_26_fractions_of_seconds_are_times(desk: Desk) -> None:
    assert desk.verify(sign(ec(), claims(exp=NOW + 300.5, iat=NOW - 0.5))).expires == NOW + 300


@pytest.mark.parametrize(
    "aud",
    [
        "https://cds.example.net/cds-services/order-select",
        "https://cds.example.net/cds-services",
        "https://cds.example.net",
        "cds.example.net",
        "https://cds.example.net/cds-services/Order-Sign",
        "https://CDS.example.net/cds-services/order-sign",
        URL + "/",
        URL + "?",
        "http" + URL[5:],
        "",
        [],
        ["https://cds.example.net"],
        {"a": URL},
        None,
        7,
        [7],
        [URL, 7],
        ...,
    ],
)
def test_bad_input_27_audience(desk: Desk, aud: object) -> None:
    assert desk.refused(sign(ec(), claims(aud=aud))) in {"audience", "claims_malformed"}


def test_bad_input_28_audience_list() -> None:
    both = sign(ec(), claims(aud=[URL, "https://other.example.net"]))
    assert Desk().verify(both)
    single = Desk(msgspec.structs.replace(PROFILE, single_aud=True))
    assert single.refused(both) == "audience"
    assert single.verify(sign(ec(), claims(aud=[URL])))
    assert single.verify(sign(ec()))


def test_bad_input_28_audience_that_the_operator_settled() -> None:
    settled = "https://cds.example.net/cds-services/first"
    assert Desk().refused(sign(ec(), claims(aud=settled))) == "audience"
    desk = Desk(msgspec.structs.replace(PROFILE, audiences=(settled,)))
    assert desk.verify(sign(ec(), claims(aud=settled)))
    assert desk.verify(sign(ec()))
    assert desk.refused(sign(ec(), claims(aud="https://cds.example.net"))) == "audience"


def test_bad_input_29_the_url_is_the_configured_one(desk: Desk) -> None:
    """The authenticator is told the configured URL and has no way to learn the request's Host headers."""
    assert desk.verify(sign(ec()), URL)
    assert desk.refused(sign(ec(), claims(aud="https://evil.example/cds-services/order-sign")), URL) == "audience"


@pytest.mark.parametrize(
    "iss", ["https://unknown.example.org", "", ISSUER + "/", ISSUER.upper(), [ISSUER], None, 5, {}, ...]
)
def test_bad_input_30_issuer(desk: Desk, iss: object) -> None:
    assert desk.refused(sign(ec(), claims(iss=iss))) in {"issuer", "claims_malformed"}
    assert desk.published.read == []


def test_bad_input_30_another_clients_key(desk: Desk) -> None:
    assert desk.verify(sign(ec("other"), claims(iss=OTHER_ISSUER))).profile.id == "other"
    assert desk.refused(sign(ec("other"))) == "signature"
    assert desk.refused(sign(ec(), claims(iss=OTHER_ISSUER))) == "signature"


def test_bad_input_31_tenant() -> None:
    two = msgspec.structs.replace(PROFILE, tenants=("north", "south"))
    desk = Desk(two)
    assert desk.verify(sign(ec(), claims(tenant="south"))).tenant == "south"
    assert desk.verify(sign(ec())).tenant is None
    for profile, tenant in ((two, "west"), (two, ""), (two, "North"), (PROFILE, "north")):
        with pytest.raises(NotAllowed) as refusal:
            Desk(profile).verify(sign(ec(), claims(tenant=tenant)))
        assert tenant == "" or tenant not in refusal.value.diagnostics
    assert desk.refused(sign(ec(), claims(tenant=["north"]))) == "claims_malformed"


def test_bad_input_31_a_wrong_signature_learns_nothing_about_tenants() -> None:
    desk = Desk(msgspec.structs.replace(PROFILE, tenants=("north",), enabled=False))
    assert desk.refused(sign(ec("attacker"), claims(tenant="west"))) == "signature"


def test_bad_input_32_disabled() -> None:
    with pytest.raises(NotAllowed):
        Desk(msgspec.structs.replace(PROFILE, enabled=False)).verify(sign(ec()))


@pytest.mark.parametrize("jti", ["", "x" * 10_240, 7, None, ["a"], {}, True, "a\x00b", "a\nb", "a\u202eb", ...])
def test_bad_input_33_jti(desk: Desk, jti: object) -> None:
    assert desk.refused(sign(ec(), claims(jti=jti))) in {"jti", "claims_malformed"}


def test_bad_input_33_jti_of_a_lone_surrogate(desk: Desk) -> None:
    body = json.dumps(claims(jti="@")).encode().replace(b'"@"', b'"\\ud800"')
    assert desk.refused(sign(ec(), body)) in {"jti", "claims_malformed", "token_malformed"}


@pytest.mark.parametrize("kind", ["at+jwt", "JWE", "", None, 5, ["JWT"]])
def test_bad_input_37_access_token_as_client_token(desk: Desk, kind: object) -> None:
    """The EHR signs both with the same key: the audience and the type tell them apart."""
    assert desk.refused(sign(ec(), claims(aud="https://ehr.example.org/fhir"))) == "audience"
    assert desk.refused(sign(ec(), claims(), header(typ=kind))) == "header_type"


@pytest.mark.parametrize("typ", ["JWT", "jwt"])
def test_bad_input_37_typ_of_a_client_token(desk: Desk, typ: str) -> None:
    assert desk.verify(sign(ec(), claims(), header(typ=typ)))
    assert "typ_missing" not in desk.events


def test_bad_input_37_missing_typ_is_accepted_and_noted(desk: Desk) -> None:
    assert desk.verify(sign(ec(), claims(), header(typ=...)))
    assert desk.events.count("typ_missing") == 1


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["exp"]},
        {"crit": ["unknown"], "unknown": 1},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
    ],
)
def test_bad_input_38_critical_members(desk: Desk, members: Mapping[str, object]) -> None:
    assert desk.refused(sign(ec(), claims(), header(**members))) in {
        "header_critical",
        "token_malformed",
        "claims_malformed",  # b64: the library takes the encoded text for the claims
    }


def test_bad_input_38_unknown_members_shut_nobody_out(desk: Desk) -> None:
    assert desk.verify(sign(ec(), claims(azp="x", scope=["y"]), header(x5t="abc", vendor={"a": 1})))


@pytest.mark.parametrize("length", [20_000, 4_000_000])
def test_bad_input_39_huge_token(desk: Desk, length: int) -> None:
    assert desk.refused(sign(ec(), claims(filler="x" * length))) == "token_size"
    assert desk.refused("a" * length) == "token_size"


def test_bad_input_40_long_but_legal_header() -> None:
    """The library's own limit is 512 characters; real key addresses alone can take 400."""
    address = "https://ehr.example.org/" + "a" * 376
    desk = Desk(msgspec.structs.replace(PROFILE, jwks_url=address))
    desk.published.sets[address] = desk.published.sets[JWKS_URL]
    token = sign(ec(), claims(), header(jku=address))
    assert len(token.partition(".")[0]) > 512
    assert desk.verify(token)


@pytest.mark.parametrize(("characters", "accepted"), [(4096, True), (4100, False)])
def test_bad_input_40_both_sides_of_the_header_limit(desk: Desk, characters: int, accepted: bool) -> None:
    bare = len(json.dumps(header(x="")).encode())
    token = sign(ec(), claims(), header(x="x" * (characters * 3 // 4 - bare)))
    assert len(token.partition(".")[0]) == characters
    if accepted:
        assert desk.verify(token)
    else:
        assert desk.refused(token) == "token_malformed"


def test_changed_claims_or_header_break_the_signature(desk: Desk) -> None:
    head, body, signature = sign(ec()).split(".")
    other_body = b64(json.dumps(claims(jti="another")).encode())
    other_head = b64(json.dumps(header(x=1)).encode())
    assert desk.refused(f"{head}.{other_body}.{signature}") == "signature"
    assert desk.refused(f"{other_head}.{body}.{signature}") == "signature"


def test_segments_of_another_token_do_not_mix(desk: Desk) -> None:
    first, second = sign(ec()).split("."), sign(ec(), claims(jti="second")).split(".")
    assert desk.refused(".".join((first[0], second[1], first[2]))) == "signature"


def test_duplicate_claims_are_judged_on_what_is_used(desk: Desk) -> None:
    """Both readings of the issuer are the same bytes for the signature; the last one selects client and key alike."""
    body = json.dumps(claims()).encode()[:-1] + b', "iss": "https://other.example.org"}'
    registry_algorithm = jws.JWSRegistry(algorithms=["ES384"]).get_alg("ES384")
    token = sign_segments(ec(), json.dumps(header()).encode(), body, registry_algorithm)
    assert desk.refused(token) == "signature"

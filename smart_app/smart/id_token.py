"""Who is signed in: the id_token, verified (SM-35, SM-36), and its fhirUser (SM-37). Row 102 of bad input."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cds_service.clients import normal_base
from cds_service.fhir.references import normal
from smart_app.adapters.outbound import JSON_BYTES, Outbound, OutboundFailure, egress_to_ehr, json_object
from smart_app.errors import Trouble
from smart_app.registry import EhrProfile, base_of
from smart_app.smart.discovery import SmartConfiguration

ALGORITHMS = ("RS256", "RS384", "ES256", "ES384")
SKEW_SECONDS = 60
KEEP_SECONDS = 3_600
READ_SECONDS = 8
USER_TYPES = ("Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person")
_REGISTRY = jws.JWSRegistry(algorithms=list(ALGORITHMS))


class Identity(msgspec.Struct, frozen=True):
    """What a verified id_token says."""

    subject: str
    reference: str  # "Practitioner/abc"
    name: str


class IdentityKeys:
    """EHRs' published keys, fetched from the ``jwks_uri`` of discovery alone, kept for an hour. Thread-safe."""

    def __init__(self, outbound: Outbound) -> None:
        """Nothing is asked yet."""
        self._outbound = outbound
        self._kept: dict[str, tuple[float, KeySet]] = {}
        self._lock = threading.Lock()

    def of(self, ehr: EhrProfile, found: SmartConfiguration, *, again: bool = False) -> KeySet:
        """The key set; ``again`` fetches it anew, for a ``kid`` that is not in it (SM-36)."""
        kept = self._kept.get(found.jwks_uri)
        if kept is not None and not again and self._outbound.monotonic() - kept[0] < KEEP_SECONDS:
            return kept[1]
        keys = _fetched(self._outbound, ehr, found)
        with self._lock:
            self._kept[found.jwks_uri] = (self._outbound.monotonic(), keys)
        return keys


def _fetched(outbound: Outbound, ehr: EhrProfile, found: SmartConfiguration) -> KeySet:
    try:
        answer = outbound.json(found.jwks_uri, egress_to_ehr(ehr, *found.endpoints), READ_SECONDS)
    except OutboundFailure as failure:
        raise Trouble("ehr_away", f"jwks_{failure.reason}") from None
    document = json_object(answer.body) if answer.status == 200 and len(answer.body) <= JSON_BYTES else None
    usable = [each for each in (document or {}).get("keys") or () if _usable(each)]
    if not usable:
        raise Trouble("ehr_away", f"jwks_unusable_http_{answer.status}")
    return KeySet.import_key_set({"keys": usable})


def _usable(key: Any) -> bool:
    """A public signing key that the library reads; a set may hold keys for other purposes."""
    if not isinstance(key, dict) or key.get("kty") not in {"RSA", "EC"} or key.get("use", "sig") != "sig":
        return False
    try:
        KeySet.import_key_set({"keys": [key]})
    except (JoseError, ValueError, TypeError, KeyError):
        return False
    return True


def verify(
    token: str, keys: IdentityKeys, ehr: EhrProfile, found: SmartConfiguration, *, nonce: str, now: datetime
) -> Identity:
    """The identity that ``token`` proves.

    Raises:
        Trouble: ``not_identified``: anything about it is wrong; the reason word says what.
    """
    claims = _claims(_signed(token, keys, ehr, found).claims)
    at = int(now.timestamp())
    if claims.iss != found.issuer:
        raise _wrong("iss")
    audiences = (claims.aud,) if isinstance(claims.aud, str) else tuple(claims.aud)
    if ehr.client_id not in audiences:
        raise _wrong("aud")
    if (len(audiences) > 1 or claims.azp is not None) and claims.azp != ehr.client_id:
        raise _wrong("azp")
    if at > claims.exp + SKEW_SECONDS:
        raise _wrong("expired")
    if claims.iat > at + SKEW_SECONDS:
        raise _wrong("iat")
    if claims.nonce != nonce:
        raise _wrong("nonce")
    return Identity(claims.sub, _fhir_user(claims, ehr), claims.name or "")


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    iat: int | float
    nonce: str | None = None
    azp: str | None = None
    name: str | None = None
    fhirUser: str | None = None  # noqa: N815 - the claim's own name


def _claims(claims: Mapping[str, Any]) -> _Claims:
    try:
        return msgspec.convert(claims, _Claims)
    except msgspec.ValidationError:
        raise _wrong("claims") from None


def _signed(token: str, keys: IdentityKeys, ehr: EhrProfile, found: SmartConfiguration) -> jwt.Token:
    """Verified with a kept key, else once with keys fetched anew: some servers change a key and keep its name."""
    algorithm, kid = _algorithm_and_kid(token)
    try:
        return _proved(token, algorithm, kid, keys.of(ehr, found))
    except Trouble as trouble:
        if trouble.kind != "not_identified":
            raise
    return _proved(token, algorithm, kid, keys.of(ehr, found, again=True))


def _proved(token: str, algorithm: str, kid: str | None, held: KeySet) -> jwt.Token:
    if kid is None and len(held.keys) != 1:
        raise _wrong("no_kid")
    kind = "EC" if algorithm.startswith("ES") else "RSA"  # keys of two kinds may have one name (RFC 7517, 4.5)
    key = next((each for each in held.keys if each.key_type == kind and kid in {None, each.kid}), None)
    if key is None:
        raise _wrong("unknown_key")
    try:
        return jwt.decode(token, key, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError):
        raise _wrong("signature") from None


def _algorithm_and_kid(token: str) -> tuple[str, str | None]:
    """Algorithm, which is one of ours, and ``kid``; ``none`` and HS* end here."""
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError, TypeError):
        raise _wrong("not_a_jwt") from None
    if header.get("alg") not in ALGORITHMS:
        raise _wrong("algorithm")
    kid = header.get("kid")
    return header["alg"], kid if isinstance(kid, str) else None


def _fhir_user(claims: _Claims, ehr: EhrProfile) -> str:
    """``Type/id`` under the EHR's own base (SM-37)."""
    given = claims.fhirUser or ""
    base = base_of(ehr.iss)
    if given.startswith(("http://", "https://")):
        place, _, ident = given.rpartition("/")
        parent, _, kind = place.rpartition("/")
        if normal_base(parent) != normal_base(base):
            raise _wrong("fhir_user_elsewhere")
        given = f"{kind}/{ident}"
    reference = normal(given, None)
    if reference is None or reference.partition("/")[0] not in USER_TYPES:
        raise _wrong("fhir_user")
    return reference


# What is wrong, in words for whoever looks after the EHR.
_WRONG: Mapping[str, str] = {
    "iss": "It was made by another issuer than the EHR names (iss).",
    "aud": "It was made for another app (aud).",
    "azp": "It was made for several apps, and does not say for this one (azp).",
    "expired": "It is out of date; a clock may be wrong (exp).",
    "iat": "It comes from the future; a clock may be wrong (iat).",
    "nonce": "It belongs to another sign-in (nonce).",
    "algorithm": f"It is not signed by one of {', '.join(ALGORITHMS)} (alg).",
    "no_kid": "It does not name the key that signed it, and the EHR has several (kid).",
    "unknown_key": "It is signed by a key that the EHR does not publish (kid).",
    "signature": "Its signature is not right.",
    "fhir_user": "It does not say which person in the EHR is signed in (fhirUser).",
    "fhir_user_elsewhere": "It names a person of another server (fhirUser).",
}


def _wrong(what: str) -> Trouble:
    said = _WRONG.get(what, "It is no complete identity token.")
    return Trouble("not_identified", f"id_token_{what}", details=(said,))

"""Who calls: the CDS client's JWT, verified (cds-hooks-crd 72-85, reliability 1-40).

The token only ever selects among what the operator has registered: the issuer selects the client, the ``kid`` selects
one of that client's published keys. Nothing in it names an address that we would visit or a key that we would trust.
Replays (rows 34-36) need the store and are the use case's: this module delivers ``jti`` and its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from cds_service.adapters.jwks import ImportedKey, OnEvent
from cds_service.clients import ClientProfile
from cds_service.errors import NotAllowed, NotAuthenticated
from cds_service.ports import Caller, Clock

SKEW_SECONDS = 60
LIFE_SECONDS = 20 * 60  # real clients use 15 minutes (reliability, finding 5)
MAX_HEADER = 4096  # characters of the encoded JOSE header; the library's own limit of 512 shuts out real clients
MAX_TOKEN = 16_384
_MAX_NAME = 512  # of a kid, an aud or a jti

REASONS = frozenset(
    {
        "authorization_missing", "authorization_repeated", "authorization_scheme", "token_size", "token_malformed",
        "header_type", "header_critical", "header_embedded_key", "algorithm", "kid", "jku",
        "claims_malformed", "issuer", "key_unknown", "key_algorithm", "jwks_unavailable", "signature",
        "audience", "expired", "issued_in_future", "not_yet_valid", "life_too_long", "jti",
    }
)  # fmt: skip


class Keys(Protocol):
    """Where the keys of registered clients are (``jwks.KeyRing``)."""

    def key(self, profile: ClientProfile, kid: str) -> ImportedKey:
        """The client's key under this kid, or NotAuthenticated."""
        ...


class _Claims(msgspec.Struct, frozen=True):
    """Required claims without default. Strict types: a bool, text or NaN is no time; ``sub`` and others are ignored."""

    iss: str
    aud: str | tuple[str, ...]
    exp: int | float
    iat: int | float
    jti: str
    nbf: int | float | None = None
    tenant: str | None = None


class ClientAuthenticator:
    """Verifies callers. Thread-safe."""

    def __init__(
        self,
        profiles: Mapping[str, ClientProfile],
        keys: Keys,
        clock: Clock,
        on_event: OnEvent = lambda _word: None,
    ) -> None:
        """``profiles`` by issuer. ``on_event`` gets ``typ_missing`` for accepted tokens that do not say JWT."""
        self._profiles = profiles
        self._keys = keys
        self._clock = clock
        self._on_event = on_event
        self._claims = msgspec.json.Decoder(_Claims)
        self._registry = jws.JWSRegistry(
            algorithms=sorted({name for profile in profiles.values() for name in profile.algorithms} or {"ES384"}),
            strict_check_header=False,  # members that we do not know must not shut a real client out
        )
        self._registry.max_header_length = MAX_HEADER

    def verify(self, authorization_values: Sequence[str], url: str) -> Caller:
        """The caller, known and valid for ``url``.

        Args:
            authorization_values: every value of the request's Authorization headers.
            url: the configured public URL of the endpoint called, never taken from a request's headers (row 29).

        Raises:
            NotAuthenticated: with a reason of ``REASONS``.
            NotAllowed: the client is known, its signature is right, and it is disabled or of another tenant.
        """
        token = _bearer(authorization_values)
        signed, header, claims = self._opened(token)
        profile = self._profiles.get(claims.iss)
        if profile is None:
            raise NotAuthenticated("issuer")
        self._check_signature(signed, header, profile)
        _check_audience(claims, profile, url)
        self._check_times(claims)
        if not 0 < len(claims.jti) <= _MAX_NAME or not claims.jti.isprintable():
            raise NotAuthenticated("jti")
        if "typ" not in header:
            self._on_event("typ_missing")
        _check_admission(claims, profile)
        return Caller(profile, claims.jti, int(claims.exp), claims.tenant)

    def _opened(self, token: bytes) -> tuple[jws.CompactSignature, Mapping[str, object], _Claims]:
        """The parts of a token, nothing of them believed yet."""
        try:
            signed = jws.extract_compact(token, None, self._registry)
            header = signed.headers()
            claims = self._claims.decode(signed.payload or b"")
        except msgspec.MsgspecError:
            raise NotAuthenticated("claims_malformed") from None
        except (JoseError, ValueError, TypeError, RecursionError, AttributeError):
            raise NotAuthenticated("token_malformed") from None
        return signed, header, claims

    def _check_signature(
        self, signed: jws.CompactSignature, header: Mapping[str, object], profile: ClientProfile
    ) -> None:
        algorithm, kid = _check_header(header, profile)
        found = self._keys.key(profile, kid)
        if algorithm not in found.algorithms:
            raise NotAuthenticated("key_algorithm")
        try:
            valid = jws.validate_compact(signed, found.key, registry=self._registry)
        except (JoseError, ValueError, TypeError):
            valid = False
        if not valid:
            raise NotAuthenticated("signature")

    def _check_times(self, claims: _Claims) -> None:
        now = self._clock.now().timestamp()
        if claims.exp < now - SKEW_SECONDS:
            raise NotAuthenticated("expired")
        if claims.iat > now + SKEW_SECONDS:
            raise NotAuthenticated("issued_in_future")
        if claims.nbf is not None and claims.nbf > now + SKEW_SECONDS:
            raise NotAuthenticated("not_yet_valid")
        if not 0 < claims.exp - claims.iat <= LIFE_SECONDS:
            raise NotAuthenticated("life_too_long")


def entitled(caller: Caller, hook: str) -> None:
    """Refuse a known client that is not registered for this hook (row 32).

    Raises:
        NotAllowed: it is not.
    """
    if hook not in caller.profile.hooks:
        raise NotAllowed("this client is not registered for this hook")


def _bearer(values: Sequence[str]) -> bytes:
    if len(values) != 1:
        raise NotAuthenticated("authorization_repeated" if values else "authorization_missing")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated("authorization_scheme" if scheme else "authorization_missing")
    if not 0 < len(token) <= MAX_TOKEN:
        raise NotAuthenticated("token_size")
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise NotAuthenticated("token_malformed") from None


def _check_header(header: Mapping[str, object], profile: ClientProfile) -> tuple[str, str]:
    """(alg, kid) of an acceptable JOSE header (rows 4-11, 17-19, 38)."""
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise NotAuthenticated("header_type")
    if "crit" in header or "b64" in header or "zip" in header:
        raise NotAuthenticated("header_critical")
    if "jwk" in header or "x5u" in header:
        raise NotAuthenticated("header_embedded_key")
    if not isinstance(algorithm, str) or algorithm not in profile.algorithms:
        raise NotAuthenticated("algorithm")
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_NAME:
        raise NotAuthenticated("kid")
    if "jku" in header and header["jku"] != profile.jwks_url:
        raise NotAuthenticated("jku")
    return algorithm, kid


def _check_audience(claims: _Claims, profile: ClientProfile, url: str) -> None:
    """One of the values must be the exact URL called, or one that the operator settled with this client."""
    said = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if profile.single_aud and len(said) != 1:
        raise NotAuthenticated("audience")
    if url not in said and not any(value in profile.audiences for value in said):
        raise NotAuthenticated("audience")


def _check_admission(claims: _Claims, profile: ClientProfile) -> None:
    if not profile.enabled:
        raise NotAllowed("this client is disabled")
    if claims.tenant is not None and claims.tenant not in profile.tenants:
        raise NotAllowed("this client is not registered for this tenant")

"""Who calls: the CDS client's JWT, verified (cds-hooks-crd 72-85, reliability 1-40).

The issuer selects the registered client; ``signed_tokens`` checks the rest that all signed tokens have in common.
Replays (rows 34-36) need the store and are the use case's: this module delivers ``jti`` and its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from cds_service.adapters.jwks import OnEvent
from cds_service.adapters.signed_tokens import MAX_NAME, SKEW_SECONDS, Keys, TokenReader, bearer
from cds_service.clients import ClientProfile
from cds_service.errors import NotAllowed, NotAuthenticated
from cds_service.ports import Caller, Clock

LIFE_SECONDS = 20 * 60  # real clients use 15 minutes (reliability, finding 5)

REASONS = frozenset(
    {
        "authorization_missing", "authorization_repeated", "authorization_scheme", "token_size", "token_malformed",
        "header_type", "header_critical", "header_embedded_key", "algorithm", "kid", "jku",
        "claims_malformed", "issuer", "key_unknown", "key_algorithm", "jwks_unavailable", "signature",
        "audience", "expired", "issued_in_future", "not_yet_valid", "life_too_long", "jti",
    }
)  # fmt: skip


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
        self._clock = clock
        self._on_event = on_event
        self._tokens = TokenReader((name for each in profiles.values() for name in each.algorithms), keys, _Claims)

    def verify(self, authorization_values: Sequence[str], url: str) -> Caller:
        """The caller, known and valid for ``url``.

        Args:
            authorization_values: every value of the request's Authorization headers.
            url: the configured public URL of the endpoint called, never taken from a request's headers (row 29).

        Raises:
            NotAuthenticated: with a reason of ``REASONS``.
            NotAllowed: the client is known, its signature is right, and it is disabled or of another tenant.
        """
        signed, header, claims = self._tokens.opened(bearer(authorization_values))
        profile = self._profiles.get(claims.iss)
        if profile is None:
            raise NotAuthenticated("issuer")
        self._tokens.check_signature(signed, header, profile)
        _check_audience(claims, profile, url)
        self._check_times(claims)
        if not 0 < len(claims.jti) <= MAX_NAME or not claims.jti.isprintable():
            raise NotAuthenticated("jti")
        if "typ" not in header:
            self._on_event("typ_missing")
        _check_admission(claims, profile)
        return Caller(profile, claims.jti, int(claims.exp), claims.tenant)

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

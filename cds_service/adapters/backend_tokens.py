"""SMART Backend Services: an assertion of a registered client buys a short-lived token of ours (SM-49 to SM-53).

The token is a JWT signed with a key that all machines of a deployment share, so any of them verifies it without asking
the database. It names client and scopes; whether the client is still registered is looked up at every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from cds_service.adapters.signed_tokens import MAX_NAME, SKEW_SECONDS, Keys, TokenReader, bearer, token_bytes
from cds_service.backend_clients import BackendCaller, BackendClient, covers, granted
from cds_service.errors import NotAllowed, NotAuthenticated
from cds_service.ports import Clock, NewId

LIFE_SECONDS = 300  # of our tokens, and the longest of an assertion
TOKEN_PATH = "/oauth/token"  # noqa: S105 - an address
_SIGNED_WITH = "ES384"
_MOST_KNOWN = 1_000  # a signature takes a millisecond and more to verify, and a token serves many calls


class UsedAssertions(Protocol):
    """The part of the store that refuses a second use (``ports.Store``)."""

    def use_assertion(self, client: str, jti: str, expires: int, now: int) -> bool:
        """Whether this is the first use of ``jti`` by that client; times in epoch seconds."""
        ...


class Granted(msgspec.Struct, frozen=True):
    """A token as the client gets it; ``scope`` is what it was given of what it asked for."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class _Assertion(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | tuple[str, ...]
    exp: int | float
    jti: str
    iat: int | float | None = None
    nbf: int | float | None = None


class _Access(msgspec.Struct, frozen=True):
    iss: str
    aud: str
    client_id: str
    scope: str
    exp: int


class BackendTokens:
    """Grants and verifies tokens. Thread-safe."""

    def __init__(
        self,
        clients: Mapping[str, BackendClient],
        keys: Keys,
        used: UsedAssertions,
        signing_key: ECKey,
        *,
        clock: Clock,
        new_id: NewId,
        public_url: str,
    ) -> None:
        """``clients`` by id; ``signing_key`` is a P-384 key, the same on all machines."""
        self._clients = clients
        self._used = used
        self._key = signing_key
        self._clock = clock
        self._new_id = new_id
        self._public_url = public_url
        self._known: dict[bytes, _Access] = {}  # tokens whose signature was verified; their time is looked at each call
        self._assertions = TokenReader(
            (name for client in clients.values() for name in client.algorithms), keys, _Assertion
        )

    def grant(self, assertion: str, scope: str) -> Granted:
        """A token for the client that signed ``assertion``, with as much of ``scope`` as it is registered for.

        Raises:
            NotAuthenticated: the assertion is not good, was used before, or its client is disabled.
            NotAllowed: none of the scopes can be granted.
        """
        signed, header, claims = self._assertions.opened(token_bytes(assertion))
        client = self._clients.get(claims.iss)
        if client is None:
            raise NotAuthenticated("issuer")
        self._assertions.check_signature(signed, header, client)
        if claims.sub != claims.iss:
            raise NotAuthenticated("subject")
        self._check_times(claims)
        url = f"{self._public_url}{TOKEN_PATH}"
        if url != claims.aud and (isinstance(claims.aud, str) or url not in claims.aud):
            raise NotAuthenticated("audience")
        if not client.enabled:
            raise NotAuthenticated("disabled")
        scopes = granted(scope.split(), client.scopes)
        if not scopes:
            raise NotAllowed("none of these scopes is granted to this client")
        self._use(client, claims)
        return self._token(client, scopes)

    def verify(self, authorization_values: Sequence[str], kind: str, letters: str) -> BackendCaller:
        """Who calls, if a token of ours says so and its scopes cover these interactions (``cruds``) with ``kind``.

        Raises:
            NotAuthenticated: no token of ours, or its time is over, or its client is gone or disabled.
            NotAllowed: the scopes do not cover it.
        """
        claims = self._opened(bearer(authorization_values))
        client = self._clients.get(claims.client_id)
        if client is None or not client.enabled:
            raise NotAuthenticated("disabled")
        scopes = tuple(claims.scope.split())
        if not covers(scopes, kind, letters):
            raise NotAllowed(f"this call needs the scope system/{kind}.{letters}")
        return BackendCaller(client, scopes)

    def _opened(self, token: bytes) -> _Access:
        claims = self._known.get(token)
        if claims is None:
            claims = self._verified(token)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[token] = claims
        if claims.exp <= self._clock.now().timestamp():
            raise NotAuthenticated("expired")
        return claims

    def _verified(self, token: bytes) -> _Access:
        try:
            opened = jwt.decode(token.decode("ascii"), self._key, algorithms=[_SIGNED_WITH])
            claims = msgspec.convert(opened.claims, _Access)
        except (JoseError, ValueError, TypeError, RecursionError):
            raise NotAuthenticated("access_token") from None
        if claims.iss != self._public_url or claims.aud != self._public_url:
            raise NotAuthenticated("audience")
        return claims

    def _check_times(self, claims: _Assertion) -> None:
        now = self._clock.now().timestamp()
        if claims.exp < now - SKEW_SECONDS:
            raise NotAuthenticated("expired")
        if claims.exp > now + LIFE_SECONDS + SKEW_SECONDS:
            raise NotAuthenticated("life_too_long")
        if claims.iat is not None and claims.iat > now + SKEW_SECONDS:
            raise NotAuthenticated("issued_in_future")
        if claims.nbf is not None and claims.nbf > now + SKEW_SECONDS:
            raise NotAuthenticated("not_yet_valid")

    def _use(self, client: BackendClient, claims: _Assertion) -> None:
        if not 0 < len(claims.jti) <= MAX_NAME or not claims.jti.isprintable():
            raise NotAuthenticated("jti")
        # Kept as long as it could be sent again, clocks that differ included.
        until = int(claims.exp) + SKEW_SECONDS + 1
        if not self._used.use_assertion(client.id, claims.jti, until, int(self._clock.now().timestamp())):
            raise NotAuthenticated("jti_replayed")

    def _token(self, client: BackendClient, scopes: Sequence[str]) -> Granted:
        now = int(self._clock.now().timestamp())
        scope = " ".join(scopes)
        claims = {
            "iss": self._public_url,
            "aud": self._public_url,
            "sub": client.id,
            "client_id": client.id,
            "scope": scope,
            "iat": now,
            "exp": now + LIFE_SECONDS,
            "jti": self._new_id(),
        }
        header = {"alg": _SIGNED_WITH, "typ": "at+jwt"}
        return Granted(jwt.encode(header, claims, self._key, algorithms=[_SIGNED_WITH]), "Bearer", LIFE_SECONDS, scope)

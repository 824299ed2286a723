"""Tokens that we buy at a payer's authorization server with an assertion of ours (SMART Backend Services, D11)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey

from cds_service.adapters.guarded_http import Answer, Egress, GuardedHttp, OutboundFailure
from cds_service.payer_endpoints import PayerEndpoint
from cds_service.ports import Clock, NewId

ASSERTION_SECONDS = 240  # at most 300 are allowed
EARLY_SECONDS = 60  # a token is not used so shortly before its end
_ALGORITHM = "ES384"
_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MAX_BYTES = 100_000
_LONGEST_LIFE = 86_400


class NoToken(Exception):
    """No token could be bought now. ``reason`` is a word of a closed list."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class _Bought(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int | float = 300
    token_type: str = "Bearer"  # noqa: S105 - the kind of token


class _Held:
    """The token of one endpoint. Who holds the lock buys; the others wait for what it gets (single flight)."""

    __slots__ = ("lock", "token", "until")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token = ""
        self.until = 0.0


class TokenPurchase:
    """Access tokens by endpoint, each kept until a minute before its end. Thread-safe."""

    def __init__(self, http: GuardedHttp, key: ECKey, clock: Clock, new_id: NewId) -> None:
        """``key``: the P-384 key whose public half is published at ``/jwks.json``."""
        self._http = http
        self._key = key
        self._kid = key.thumbprint()
        self._clock = clock
        self._new_id = new_id
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def token(self, endpoint: PayerEndpoint, deadline: float, *, but: str = "") -> str:
        """A token for this endpoint; ``but``: one that was just refused (401), so it is not given again.

        Raises:
            NoToken: the authorization server gave none.
        """
        with self._lock:
            held = self._held.setdefault(endpoint.id, _Held())
        with held.lock:
            if held.token and held.token != but and self._clock.monotonic() < held.until:
                return held.token
            bought = self._buy(endpoint, deadline)
            held.token = bought.access_token
            life = min(max(float(bought.expires_in), 0), _LONGEST_LIFE) - EARLY_SECONDS
            held.until = self._clock.monotonic() + life
            return held.token

    def _buy(self, endpoint: PayerEndpoint, deadline: float) -> _Bought:
        url = endpoint.token_url or ""
        egress = Egress((url,), (), endpoint.allow_private, endpoint.allow_http, endpoint.ca_file)
        form = {
            "grant_type": "client_credentials",
            "scope": endpoint.scope,
            "client_assertion_type": _TYPE,
            "client_assertion": self._assertion(endpoint.client_id, url),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            answer = self._http.send(
                "POST", url, egress, deadline, headers, body=urlencode(form).encode(), max_bytes=_MAX_BYTES
            )
        except OutboundFailure as failure:
            raise NoToken(f"token_{failure.reason}") from None
        return _bought(answer)

    def _assertion(self, client_id: str, url: str) -> str:
        now = int(self._clock.now().timestamp())
        claims: Mapping[str, Any] = {
            "iss": client_id,
            "sub": client_id,
            "aud": url,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": self._new_id(),
        }
        header = {"alg": _ALGORITHM, "typ": "JWT", "kid": self._kid}
        return jwt.encode(header, dict(claims), self._key, algorithms=[_ALGORITHM])


def public_keys(key: ECKey) -> bytes:
    """The key set that payers read (``/jwks.json``): the public half, with the kid that assertions name."""
    public = {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": _ALGORITHM}
    return msgspec.json.encode({"keys": [public]})


def _bought(answer: Answer) -> _Bought:
    if answer.status != 200:
        # A refusal (invalid_client, invalid_scope) is put right by a person, and then tried again: never the end.
        raise NoToken("token_refused", status=answer.status)
    try:
        bought = msgspec.json.decode(answer.body, type=_Bought)
    except (msgspec.MsgspecError, ValueError):
        raise NoToken("token_malformed", status=answer.status) from None
    if not bought.access_token.isascii() or not bought.access_token.isprintable() or not bought.access_token:
        raise NoToken("token_malformed", status=answer.status)
    if bought.token_type.lower() != "bearer":
        raise NoToken("token_malformed", status=answer.status)
    return bought

"""Proof of who the app is at a token endpoint: ``private_key_jwt``, at EHRs and payers alike (SM-28 to SM-32)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from joserfc import jws, jwt

from smart_app.adapters.keys import ALGORITHMS, SigningKeys

LIFE_SECONDS = 240  # below the 300 that a server may still accept, so that a slow clock does no harm
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_REGISTRY = jws.JWSRegistry(algorithms=list(ALGORITHMS))


def client_assertion(
    keys: SigningKeys,
    *,
    client_id: str,
    audience: str,
    algorithm: str,
    now: datetime,
    new_secret: Callable[[], str],
    jwks_url: str = "",
) -> str:
    """A signed assertion for exactly one request; ``audience`` is the token endpoint's exact URL."""
    key = keys.newest(algorithm)
    header = {"alg": algorithm, "kid": key.kid, "typ": "JWT", **({"jku": jwks_url} if jwks_url else {})}
    issued = int(now.timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": issued,
        "exp": issued + LIFE_SECONDS,
        "jti": new_secret(),
    }
    return jwt.encode(header, claims, key, registry=_REGISTRY)


def assertion_fields(assertion: str) -> dict[str, str]:
    """The form fields that carry it (SM-32)."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


def read_secret(file: str) -> str:
    """The shared secret of a symmetric client, read at each use so that it can be changed in place."""
    return Path(file).read_text("utf-8").strip()

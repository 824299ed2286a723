"""A detached JWS (ES384) over the canonical JSON of a response Bundle (D10; RFC 7515 appendix F, RFC 8785)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import rfc8785
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

_ALGORITHM = "ES384"


def canonical(bundle: bytes) -> bytes:
    """The one way to write this JSON; two Bundles with the same content have the same canonical bytes."""
    text: bytes = rfc8785.dumps(json.loads(bundle))
    return text


def signature(bundle: bytes, key: ECKey) -> str:
    """``header..signature``; the payload is the canonical Bundle, which the verifier has. ``key`` is P-384."""
    header = {"alg": _ALGORITHM, "kid": key.thumbprint()}
    whole = jws.serialize_compact(header, canonical(bundle), key, algorithms=[_ALGORITHM])
    head, _, tail = whole.split(".")
    return f"{head}..{tail}"


def verifies(bundle: bytes, detached: str, key: ECKey) -> bool:
    """Whether ``detached`` was made over this Bundle with this key."""
    head, _, tail = detached.split(".")
    payload = urlsafe_b64encode(canonical(bundle)).rstrip(b"=").decode()
    try:
        jws.deserialize_compact(f"{head}.{payload}.{tail}", key, algorithms=[_ALGORITHM])
    except (JoseError, ValueError):
        return False
    return True

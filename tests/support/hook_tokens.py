"""Keys and tokens of made-up CDS clients."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from joserfc import jwk, jws

NOW = 1_780_000_000  # the frozen instant of these tests, epoch seconds
ISSUER = "https://ehr.example.org"
JWKS_URL = "https://ehr.example.org/jwks.json"
URL = "https://cds.example.net/cds-services/order-sign"


@cache
def rsa(name: str = "one", bits: int = 2048) -> jwk.RSAKey:
    """One RSA key per name: making them is slow."""
    del name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weak ones are wanted here, to see them refused
        return jwk.RSAKey.generate_key(bits)


@cache
def ec(name: str = "one", curve: str = "P-384") -> jwk.ECKey:
    """One EC key per name."""
    del name
    return jwk.ECKey.generate_key(curve)


def public(key: jwk.RSAKey | jwk.ECKey, kid: str, **members: object) -> dict[str, object]:
    """The key as a client publishes it."""
    return {**key.as_dict(private=False), "kid": kid, **members}


def key_set(*keys: Mapping[str, object]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(**changes: object) -> dict[str, object]:
    """Claims of an ordinary call; a value of ``...`` takes one away."""
    usual: dict[str, object] = {
        "iss": ISSUER,
        "sub": ISSUER,
        "aud": URL,
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "5f8c5e34-7b2d-4f7e-9d5e-000000000001",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not ...}


def header(alg: str = "ES384", **changes: object) -> dict[str, object]:
    usual: dict[str, object] = {"alg": alg, "kid": "k1", "typ": "JWT"}
    return {name: value for name, value in {**usual, **changes}.items() if value is not ...}


class _Anything(jws.JWSRegistry):
    """Signs whatever the test wants to have signed."""

    max_header_length = 10_000_000
    max_payload_length = 10_000_000

    def check_header(self, header: Any) -> None:
        """No objections."""


def sign(key: Any, claims_: object = None, header_: Mapping[str, object] | None = None) -> str:
    """A token with a right signature over any header and claims (bytes are taken as they are)."""
    header_ = header_ if header_ is not None else header("RS384" if isinstance(key, jwk.RSAKey) else "ES384")
    body = claims_ if isinstance(claims_, bytes) else json.dumps(claims() if claims_ is None else claims_).encode()
    registry = _Anything(algorithms=[str(header_["alg"])])
    return sign_segments(key, json.dumps(header_).encode(), body, registry.get_alg(str(header_["alg"])))


def sign_segments(key: Any, header_bytes: bytes, body: bytes, algorithm: Any) -> str:
    signed = b64(header_bytes) + "." + b64(body)
    return signed + "." + b64(algorithm.sign(signed.encode(), key))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class TestClock:
    """A clock that stands until it is told to go."""

    __test__ = False
    at: float = NOW
    steady: float = 1000.0

    def now(self) -> Any:
        from datetime import UTC, datetime  # noqa: PLC0415

        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.steady

    def go(self, seconds: float) -> None:
        self.at += seconds
        self.steady += seconds

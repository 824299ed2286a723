"""FHIR access tokens: short-lived, bound to one patient, limited to scopes (RFC 9068 shape, ES384)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from sandbox_ehr.keys import ALGORITHM

LIFETIME_SECONDS = 300
_TYPE = "at+jwt"


class AccessRefused(Exception):
    """The token is missing, not ours, expired, or not good for what was asked."""

    def __init__(self, status: int, error: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.error = error  # RFC 6750 error code
        self.text = text


class Access(msgspec.Struct, frozen=True):
    """What a verified token allows."""

    subject: str  # the client that it was lent to
    patient: str
    scopes: str


class Tokens(msgspec.Struct, frozen=True):
    """Issues and verifies access tokens of this EHR."""

    key: ECKey
    issuer: str
    audience: str  # the FHIR base
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def issue(self, subject: str, patient: str, scopes: str) -> str:
        """A token for ``subject`` that reads ``patient`` within ``scopes`` for five minutes."""
        issued = int(self.now().timestamp())
        claims = {
            "iss": self.issuer, "aud": self.audience, "sub": subject, "client_id": subject, "jti": self.new_id(),
            "iat": issued, "exp": issued + LIFETIME_SECONDS, "scope": scopes, "patient": patient,
        }  # fmt: skip
        header = {"alg": ALGORITHM, "typ": _TYPE, "kid": self.key.kid}
        return jwt.encode(header, claims, self.key, algorithms=[ALGORITHM])

    def verify(self, authorization: str | None) -> Access:
        """Read an Authorization header. Raises AccessRefused (401) without saying which check failed."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AccessRefused(401, "", "An access token is needed: Authorization: Bearer ...")
        try:
            decoded = jwt.decode(token.strip(), self.key, algorithms=[ALGORITHM])
        except (JoseError, ValueError):
            raise _invalid() from None
        claims = decoded.claims
        text = all(isinstance(claims.get(name), str) for name in ("sub", "patient", "scope"))
        expires = claims.get("exp")
        alive = isinstance(expires, int) and expires > self.now().timestamp()
        ours = claims.get("iss") == self.issuer and claims.get("aud") == self.audience
        if not (text and alive and ours and decoded.header.get("typ") == _TYPE):
            raise _invalid()
        return Access(claims["sub"], claims["patient"], claims["scope"])


def _invalid() -> AccessRefused:
    return AccessRefused(401, "invalid_token", "The access token is not valid here, or no longer.")

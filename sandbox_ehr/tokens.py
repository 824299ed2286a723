"""FHIR access tokens: short-lived, bound to one patient, limited to scopes (RFC 9068 shape, ES384)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from sandbox_ehr.keys import ALGORITHM
from sandbox_ehr.scopes import permits
from sandbox_ehr.smart.memory import Grant

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
    patient: str  # "" where none is in context
    scopes: str
    user: str = ""  # who is signed in; "" for a token lent to a CDS service

    def allows(self, resource_type: str, right: str) -> bool:
        """Whether it may do this at all, for its patient or as its user."""
        return permits(self.scopes, resource_type, right) or self.as_user(resource_type, right)

    def as_user(self, resource_type: str, right: str) -> bool:
        """Whether it may do this for whatever patient its user sees."""
        return bool(self.user) and permits(self.scopes, resource_type, right, "user")


class Tokens(msgspec.Struct, frozen=True):
    """Issues and verifies access tokens of this EHR."""

    key: ECKey
    issuer: str
    audience: str  # the FHIR base
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    alive: Callable[[str], bool]  # whether a grant of the authorization server is in force

    def issue(self, subject: str, patient: str, scopes: str) -> str:
        """A token for ``subject`` that reads ``patient`` within ``scopes`` for five minutes."""
        return self._signed({"sub": subject, "client_id": subject, "scope": scopes, "patient": patient})

    def lend(self, grant: Grant, scopes: str) -> str:
        """A token of a SMART authorization: it ends with its grant, or after five minutes."""
        claims = {"sub": grant.user, "client_id": grant.client_id, "scope": scopes, "patient": grant.patient}
        user = f"{self.audience}/Practitioner/{grant.user}"
        return self._signed({**claims, "fhirUser": user, "grant": grant.id})

    def verify(self, authorization: str | None) -> Access:
        """Read an Authorization header. Raises AccessRefused (401) without saying which check failed."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AccessRefused(401, "", "An access token is needed: Authorization: Bearer ...")
        claims = self.read(token.strip())
        if claims is None:
            raise AccessRefused(401, "invalid_token", "The access token is not valid here, or no longer.")
        user = str(claims.get("fhirUser", "")).rpartition("/")[2]
        return Access(claims["client_id"], claims["patient"], claims["scope"], user)

    def read(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that is good at this moment; None for any other."""
        try:
            decoded = jwt.decode(token, self.key, algorithms=[ALGORITHM])
        except (JoseError, ValueError):
            return None
        claims = decoded.claims
        text = all(isinstance(claims.get(name), str) for name in ("sub", "client_id", "patient", "scope"))
        expires = claims.get("exp")
        alive = isinstance(expires, int) and expires > self.now().timestamp()
        ours = claims.get("iss") == self.issuer and claims.get("aud") == self.audience
        kept = "grant" not in claims or self.alive(str(claims["grant"]))
        return claims if text and alive and ours and decoded.header.get("typ") == _TYPE and kept else None

    def _signed(self, claims: dict[str, str]) -> str:
        issued = int(self.now().timestamp())
        own = {
            "iss": self.issuer, "aud": self.audience, "jti": self.new_id(), "iat": issued,
            "exp": issued + LIFETIME_SECONDS,
        }  # fmt: skip
        header = {"alg": ALGORITHM, "typ": _TYPE, "kid": self.key.kid}
        return jwt.encode(header, {**own, **claims}, self.key, algorithms=[ALGORITHM])

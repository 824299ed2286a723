"""Who is at the keyboard: OpenID Connect id_tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from joserfc import jwt

from sandbox_ehr.keys import Keys
from sandbox_ehr.smart.apps import App
from sandbox_ehr.smart.memory import Grant

LIFETIME_SECONDS = 300
ALGORITHMS = ("RS256", "ES384")


class IdTokens(msgspec.Struct, frozen=True):
    """Issues id_tokens; the keys are at the server's ``jwks_uri``."""

    keys: Keys
    issuer: str
    fhir_base: str
    now: Callable[[], datetime]

    def issue(self, app: App, grant: Grant) -> str:
        """The id_token of one authorization: ``nonce`` as sent, ``fhirUser`` absolute and only if it was granted."""
        issued = int(self.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer, "aud": app.client_id, "sub": grant.user, "iat": issued,
            "exp": issued + LIFETIME_SECONDS, "auth_time": issued,
        }  # fmt: skip
        if grant.nonce:
            claims["nonce"] = grant.nonce
        if "fhirUser" in grant.scopes.split():
            claims["fhirUser"] = f"{self.fhir_base}/Practitioner/{grant.user}"
        algorithm = app.identity_algorithm
        key = self.keys.identity_rsa if algorithm == "RS256" else self.keys.identity
        header = {"alg": algorithm, "typ": "JWT", "kid": key.kid}
        return jwt.encode(header, claims, key, algorithms=[algorithm])

    def public_set(self) -> dict[str, list[dict[str, Any]]]:
        """The JWK Set of the two keys: public parts only."""
        rsa = {**self.keys.identity_rsa.as_dict(private=False), "alg": "RS256", "use": "sig"}
        curve = {**self.keys.identity.as_dict(private=False), "alg": "ES384", "use": "sig"}
        return {"keys": [rsa, curve]}

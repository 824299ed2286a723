"""Who may hand something to the payer's FHIR endpoint: SMART Backend Services, or anybody where it is opened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from flask import Request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from sandbox_ehr.keys import ALGORITHM
from sandbox_ehr.scopes import granted, permits
from sandbox_ehr.smart.assertions import Assertions
from sandbox_ehr.smart.client_keys import Client
from sandbox_ehr.smart.refusals import Refusal

CLIENT_ID = "payer-delivery"
SCOPES = "system/*.cruds"
LIFETIME_SECONDS = 300
_TYPE = "payer-at+jwt"  # no token of the EHR opens the payer's door, and none of this one the EHR's


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """The token endpoint and the check of its tokens. ``client`` None: nobody is registered."""

    base: str
    key: ECKey
    client: Client | None
    open: bool
    assertions: Assertions
    now: Callable[[], datetime]

    def configuration(self) -> dict[str, Any]:
        """``.well-known/smart-configuration``."""
        return {
            "token_endpoint": f"{self.base}/oauth/token",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES384", "RS384"],
            "scopes_supported": [SCOPES],
            "capabilities": ["client-confidential-asymmetric", "permission-v2"],
        }

    def token(self, request: Request) -> dict[str, Any]:
        """Answer a token request. Raises Refusal."""
        if any(len(request.form.getlist(name)) > 1 for name in request.form):
            raise Refusal("invalid_request", "A parameter is given more than once.")
        claimed = self.assertions.client_id(request.form)
        if self.client is None or claimed != self.client.client_id:
            raise Refusal("invalid_client", "This client is not registered here.")
        self.assertions.verify(self.client, request.form["client_assertion"])
        if request.form.get("grant_type") != "client_credentials":
            raise Refusal("unsupported_grant_type", "grant_type is client_credentials.")
        scope = granted(request.form.get("scope", ""), SCOPES)
        if not scope:
            raise Refusal("invalid_scope", f"scope is of {SCOPES}.")
        issued = int(self.now().timestamp())
        claims = {"aud": self.base, "sub": claimed, "scope": scope, "iat": issued, "exp": issued + LIFETIME_SECONDS}
        header = {"alg": ALGORITHM, "typ": _TYPE, "kid": self.key.kid}
        made = jwt.encode(header, claims, self.key, algorithms=[ALGORITHM])
        return {"access_token": made, "token_type": "bearer", "expires_in": LIFETIME_SECONDS, "scope": scope}

    def lets_in(self, authorization: str | None) -> bool:
        """Whether a call may come in: its token is ours, current, and for ClaimResponses."""
        if self.open:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        try:
            decoded = jwt.decode(token, self.key, algorithms=[ALGORITHM])
        except (JoseError, ValueError):
            return False
        claims, ours = decoded.claims, decoded.header.get("typ") == _TYPE
        current = isinstance(claims.get("exp"), int) and claims["exp"] > self.now().timestamp()
        allowed = permits(str(claims.get("scope", "")), "ClaimResponse", "u", "system")
        return scheme.lower() == "bearer" and ours and current and claims.get("aud") == self.base and allowed

"""Client authentication by a signed assertion (RFC 7523, SMART "client-confidential-asymmetric")."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from werkzeug.datastructures import MultiDict

from sandbox_ehr.smart.client_keys import Client, ClientKeys
from sandbox_ehr.smart.memory import OAuthMemory
from sandbox_ehr.smart.refusals import Refusal

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_LIFE = 300  # seconds
SKEW = 60  # seconds that a client's clock may run ahead in iat and nbf
LONGEST = 8_000  # characters


class Assertions(msgspec.Struct, frozen=True):
    """Verifies the assertions that come to one token endpoint."""

    token_url: str
    keys: ClientKeys
    memory: OAuthMemory
    now: Callable[[], datetime]

    def client_id(self, form: MultiDict[str, str]) -> str:
        """Who the caller says it is; nothing is verified yet. Raises Refusal."""
        if form.get("client_secret") is not None:
            raise Refusal("invalid_client", "A client secret is not accepted here; sign a client assertion.")
        if form.get("client_assertion_type") != ASSERTION_TYPE or not form.get("client_assertion"):
            raise Refusal("invalid_client", "client_assertion and its type jwt-bearer are needed.")
        claimed = _payload(form["client_assertion"]).get("iss")
        named = form.get("client_id", claimed)
        if not isinstance(claimed, str) or named != claimed:
            raise Refusal("invalid_client", "client_id and the assertion's iss are not the same.")
        return claimed

    def verify(self, client: Client, assertion: str) -> None:
        """Hold an assertion against the registration; its ``jti`` is used up. Raises Refusal."""
        header, claims = self._opened(client, assertion)
        now = self.now().timestamp()
        expires, ident = claims.get("exp"), claims.get("jti")
        if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
            raise Refusal("invalid_client", "iss and sub of the assertion are not the client id.")
        if claims.get("aud") not in (self.token_url, [self.token_url]):
            raise Refusal("invalid_client", "aud of the assertion is not this token endpoint.")
        if not isinstance(expires, int) or isinstance(expires, bool) or not now < expires <= now + LONGEST_LIFE:
            raise Refusal("invalid_client", "exp of the assertion is over, or more than five minutes away.")
        if any(_later(claims.get(name), now + SKEW) for name in ("iat", "nbf")):
            raise Refusal("invalid_client", "iat or nbf of the assertion lies ahead.")
        if header.get("jku") not in (None, client.jwks_url):
            raise Refusal("invalid_client", "jku of the assertion is not the registered address.")
        if not isinstance(ident, str) or not 0 < len(ident) <= 255:
            raise Refusal("invalid_client", "The assertion has no usable jti.")
        if not self.memory.first_use(client.client_id, ident, expires, now):
            raise Refusal("invalid_client", "jti of the assertion was used before.")

    def _opened(self, client: Client, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        header = _part(assertion, 0)
        kid, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in client.algorithms:
            raise Refusal("invalid_client", f"alg of the assertion is not one of {', '.join(client.algorithms)}.")
        if header.get("typ") != "JWT" or not isinstance(kid, str) or not kid:
            raise Refusal("invalid_client", "The assertion's header needs typ JWT and a kid.")
        key = self.keys.find(client, kid, str(algorithm))
        if key is None:
            raise Refusal("invalid_client", "No single registered key has this kid and algorithm.")
        try:
            decoded = jwt.decode(assertion, key, algorithms=[str(algorithm)])
        except (JoseError, ValueError):
            raise Refusal("invalid_client", "The signature of the assertion is not right.") from None
        return header, dict(decoded.claims)


def _later(value: Any, limit: float) -> bool:
    return value is not None and (not isinstance(value, int | float) or value > limit)


def _payload(assertion: str) -> dict[str, Any]:
    return _part(assertion, 1)


def _part(assertion: str, index: int) -> dict[str, Any]:
    parts = assertion.split(".")
    if len(parts) != 3 or len(assertion) > LONGEST:
        raise Refusal("invalid_client", "client_assertion is not a signed JWT.")
    text = parts[index]
    try:
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        decoded = None
    if not isinstance(decoded, dict):
        raise Refusal("invalid_client", "client_assertion is not a signed JWT.")
    return decoded

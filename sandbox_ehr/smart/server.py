"""The authorization server of one sandbox, put together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from sandbox_ehr.keys import Keys
from sandbox_ehr.smart.apps import Apps
from sandbox_ehr.smart.assertions import Assertions
from sandbox_ehr.smart.authorization import Codes
from sandbox_ehr.smart.client_keys import ClientKeys
from sandbox_ehr.smart.grants import Grants
from sandbox_ehr.smart.identity import ALGORITHMS as IDENTITY_ALGORITHMS
from sandbox_ehr.smart.identity import IdTokens
from sandbox_ehr.smart.launches import Launches
from sandbox_ehr.smart.memory import OAuthMemory
from sandbox_ehr.tokens import Tokens


class SmartServer(msgspec.Struct, frozen=True, kw_only=True):
    """All parts, and the documents that describe them."""

    base_url: str
    apps: Apps
    launches: Launches
    codes: Codes
    assertions: Assertions
    grants: Grants
    identity: IdTokens

    @property
    def fhir_base(self) -> str:
        """``iss`` of launches, ``aud`` of authorization requests."""
        return f"{self.base_url}/fhir"

    def configuration(self) -> dict[str, Any]:
        """``.well-known/smart-configuration`` under the FHIR base; also what OpenID Connect discovery says."""
        oauth = f"{self.base_url}/oauth"
        return {
            "issuer": self.base_url,
            "jwks_uri": f"{oauth}/jwks.json",
            "authorization_endpoint": f"{oauth}/authorize",
            "token_endpoint": f"{oauth}/token",
            "revocation_endpoint": f"{oauth}/revoke",
            "introspection_endpoint": f"{oauth}/introspect",
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES384", "RS384"],
            "id_token_signing_alg_values_supported": list(IDENTITY_ALGORITHMS),
            "subject_types_supported": ["public"],
            "authorization_response_iss_parameter_supported": True,
            "scopes_supported": sorted({scope for app in self.apps.all() for scope in app.scopes.split()}),
            "capabilities": [
                "launch-ehr", "launch-standalone", "client-confidential-asymmetric", "sso-openid-connect",
                "context-banner", "context-ehr-patient", "context-ehr-encounter", "context-standalone-patient",
                "context-standalone-encounter", "permission-offline", "permission-online", "permission-patient",
                "permission-user", "permission-v1", "permission-v2",
            ],
        }  # fmt: skip


def smart_server(
    base_url: str, keys: Keys, apps: Apps, memory: OAuthMemory, tokens: Tokens, *,
    now: Callable[[], datetime], new_id: Callable[[], str],
) -> SmartServer:  # fmt: skip
    """Wire the parts for one base URL."""
    identity = IdTokens(keys, base_url, f"{base_url}/fhir", now)
    return SmartServer(
        base_url=base_url,
        apps=apps,
        launches=Launches(memory, f"{base_url}/fhir", now),
        codes=Codes(memory, now, new_id),
        assertions=Assertions(f"{base_url}/oauth/token", ClientKeys(now), memory, now),
        grants=Grants(memory, tokens, identity, now),
        identity=identity,
    )

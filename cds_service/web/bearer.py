"""Who calls DTR or PAS: the token of a registered backend client, and the scope that the call needs (SM-49, SM-50)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from wsgiref.types import WSGIEnvironment

from cds_service.backend_clients import BackendCaller
from cds_service.web.call_note import NOTE


class BackendAuthenticator(Protocol):
    """Verifies tokens of ours (``adapters.backend_tokens.BackendTokens``)."""

    def verify(self, authorization_values: Sequence[str], kind: str, letters: str) -> BackendCaller:
        """The caller, if its scopes cover these interactions (``cruds``) with ``kind``.

        Raises:
            NotAuthenticated: no valid token.
            NotAllowed: not within its scopes.
        """
        ...


def backend_caller(environ: WSGIEnvironment, door: BackendAuthenticator, kind: str, letters: str) -> BackendCaller:
    """The caller of this request, noted for its log line; raises NotAuthenticated or NotAllowed."""
    header = environ.get("HTTP_AUTHORIZATION")
    caller = door.verify(() if header is None else (header,), kind, letters)
    environ[NOTE].client = caller.client.id
    return caller

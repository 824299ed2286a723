"""The operator's files of backend clients (``config/backend_clients/*.yaml``), read strictly at start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cds_service.adapters.registered_files import Objections, by_issuer, ident_objections, key_objections, read_record
from cds_service.backend_clients import BackendClient, read_scope

_README = "config/backend_clients/README.md"
_ORGANIZATION = re.compile(r"[^\s|]+\|\S+")


def load_backend_clients(directory: Path, *, insecure_dev: bool = False) -> Mapping[str, BackendClient]:
    """The registered backend clients by their id; none where the directory is not there.

    Raises:
        ConfigurationError: with every complaint, as ``file:line: what was found; what is allowed``.
    """
    return by_issuer(directory, lambda path: read_backend_client(path, insecure_dev=insecure_dev), "id")


def read_backend_client(path: Path, *, insecure_dev: bool = False) -> BackendClient:
    """One file; raises ConfigurationError with every complaint about it."""
    return read_record(path, BackendClient, _README, lambda client: _objections(client, insecure_dev))


def _objections(client: BackendClient, insecure_dev: bool) -> Objections:
    yield from ident_objections(client.id)
    yield from key_objections(client, insecure_dev)
    if not client.scopes:
        yield "scopes", "none", "at least one, like system/Questionnaire.rs"
    for scope in client.scopes:
        if read_scope(scope) is None:
            yield "scopes", scope, "system/TYPE.LETTERS with letters in the order cruds, like system/Claim.cu"
    for organization in client.organizations:
        if not _ORGANIZATION.fullmatch(organization):
            yield "organizations", organization, "identifiers as SYSTEM|VALUE"

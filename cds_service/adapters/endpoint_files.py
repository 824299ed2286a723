"""The operator's files of payer endpoints (``CDS_PAYER_ENDPOINTS_DIR``), read strictly at start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cds_service.adapters.pinned_connection import tls_policy
from cds_service.adapters.registered_files import Objections, choice_objections, ident_objections, read_record
from cds_service.clients import normal_base
from cds_service.domain.determination import Program
from cds_service.errors import ConfigurationError
from cds_service.payer_endpoints import AUTHS, MODES, PayerEndpoint

_README = "docs/delivery.md"
_PATH = re.compile(r"[A-Za-z0-9$_-]+(/[A-Za-z0-9$_-]+)*")
_RANGES = {
    "seconds": range(1, 121),
    "parallel": range(1, 33),
    "give_up_hours": range(1, 24 * 30 + 1),
    "safety_minutes": range(7 * 24 * 60 + 1),
}


def load_endpoints(directory: Path, *, insecure_dev: bool = False) -> Mapping[str, PayerEndpoint]:
    """The payer endpoints by their id; none where the directory is not there. ``*.yaml`` only.

    Raises:
        ConfigurationError: with every complaint, as ``file:line: what was found; what is allowed``.
    """
    found: dict[str, PayerEndpoint] = {}
    complaints: list[str] = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            endpoint = read_endpoint(path, insecure_dev=insecure_dev)
        except ConfigurationError as error:
            complaints.append(error.diagnostics)
            continue
        if endpoint.id in found:
            complaints.append(f"{path.name}:1: id: found that of another file; allowed: one file per id")
        found[endpoint.id] = endpoint
    if complaints:
        raise ConfigurationError("\n".join(complaints))
    return found


def read_endpoint(path: Path, *, insecure_dev: bool = False) -> PayerEndpoint:
    """One file; raises ConfigurationError with every complaint about it."""
    endpoint = read_record(path, PayerEndpoint, _README, lambda each: _objections(each, insecure_dev))
    return msgspec.structs.replace(endpoint, base_url=endpoint.base_url.rstrip("/"))


def _objections(endpoint: PayerEndpoint, insecure_dev: bool) -> Objections:
    yield from ident_objections(endpoint.id)
    yield from _address(endpoint, "base_url", endpoint.base_url, insecure_dev)
    yield from choice_objections("mode", (endpoint.mode,), MODES)
    yield from choice_objections("auth", (endpoint.auth,), AUTHS)
    yield from choice_objections("superseded", (endpoint.superseded,), ("send", "skip"))
    yield from choice_objections("programs", endpoint.programs, tuple(program.value for program in Program))
    for name, allowed in _RANGES.items():
        if getattr(endpoint, name) not in allowed:
            yield name, str(getattr(endpoint, name)), f"{allowed.start} to {allowed.stop - 1}"
    if not _PATH.fullmatch(endpoint.bundle_path):
        yield "bundle_path", endpoint.bundle_path, "a path below base_url, like Bundle"
    if endpoint.auth == "backend_services":
        yield from _token_objections(endpoint, insecure_dev)
    yield from _certificate_objections(endpoint)


def _token_objections(endpoint: PayerEndpoint, insecure_dev: bool) -> Objections:
    if endpoint.token_url is None:
        yield "token_url", "nothing", "the address where tokens are bought; auth is backend_services"
    else:
        yield from _address(endpoint, "token_url", endpoint.token_url, insecure_dev)
    if not endpoint.client_id.strip():
        yield "client_id", "nothing", "the id under which the payer registered this service"
    if not endpoint.scope.strip():
        yield "scope", "nothing", "scopes with blanks between them, like system/ClaimResponse.cruds"


def _certificate_objections(endpoint: PayerEndpoint) -> Objections:
    pair = certificate(endpoint)
    if endpoint.auth == "mtls" and pair is None:
        yield "cert_file", "no cert_file and key_file", "both, as PEM files beside this one; auth is mtls"
        return
    for name, ca_file, shown in (("ca_file", endpoint.ca_file, None), ("cert_file", None, pair)):
        try:
            tls_policy(ca_file, shown)
        except OSError:  # of ssl, too
            yield name, "no readable certificate", "a PEM file, its path relative to this file"


def certificate(endpoint: PayerEndpoint) -> tuple[str, str] | None:
    """The files of our certificate and its key, where the endpoint wants them."""
    if endpoint.auth != "mtls" or endpoint.cert_file is None or endpoint.key_file is None:
        return None
    return endpoint.cert_file, endpoint.key_file


def _address(endpoint: PayerEndpoint, name: str, address: str, insecure_dev: bool) -> Objections:
    normal = normal_base(address)
    if normal is None:
        yield name, address, "an absolute https address without user, query, fragment and dot segments"
    elif normal[0] == "http" and not (endpoint.allow_http and insecure_dev):
        yield name, address, "https; plain http needs allow_http here, and --insecure-dev or CDS_INSECURE_DEV=on"

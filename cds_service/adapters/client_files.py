"""The operator's client files (``config/clients/*.yaml``): one registered EHR each, read strictly at start.

A wrong file stops the start with every complaint at once, each naming file, line, what was found and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cds_service.adapters.registered_files import (
    Objections,
    address_objections,
    by_issuer,
    choice_objections,
    ident_objections,
    key_objections,
    listed,
    read_record,
)
from cds_service.cds_hooks.prefetch import WANTED
from cds_service.clients import ClientProfile, normal_base

HOOKS = ("order-sign", "order-select", "order-dispatch")
ACTION_TYPES = ("MedicationRequest", "ServiceRequest", "DeviceRequest")
_DEADLINE_SECONDS = range(2, 10)  # reliability 2.1


def load_clients(directory: Path, *, insecure_dev: bool = False) -> Mapping[str, ClientProfile]:
    """The registered clients by issuer. ``*.yaml`` only: an ``*.yaml.example`` is documentation.

    ``insecure_dev`` admits plain-http addresses where the file itself says ``allow_http``.

    Raises:
        ConfigurationError: with every complaint, as ``file:line: what was found; what is allowed``.
    """
    return by_issuer(directory, lambda path: read_client(path, insecure_dev=insecure_dev), "issuer")


def read_client(path: Path, *, insecure_dev: bool = False) -> ClientProfile:
    """One client file.

    Raises:
        ConfigurationError: with every complaint about this file.
    """
    return read_record(
        path, ClientProfile, "config/clients/README.md", lambda profile: _objections(profile, insecure_dev)
    )


def _objections(profile: ClientProfile, insecure_dev: bool) -> Objections:
    yield from ident_objections(profile.id)
    yield from _name_objections(profile)
    yield from key_objections(profile, insecure_dev)
    for name, chosen, allowed in (
        ("hooks", profile.hooks, HOOKS),
        ("system_actions", profile.system_actions, ACTION_TYPES),
        ("jti", (profile.jti,), ("idempotent", "strict")),
        ("crd_version", (profile.crd_version,), ("2.0", "2.2")),
    ):
        yield from choice_objections(name, chosen, allowed)
    if profile.deadline_seconds not in _DEADLINE_SECONDS:
        yield "deadline_seconds", str(profile.deadline_seconds), "2 to 9"
    for base in profile.fhir_servers:
        yield from address_objections("fhir_servers", base, profile, insecure_dev)
    for key, meant in profile.prefetch_aliases.items():
        if meant not in WANTED:
            yield "prefetch_aliases", f"{key}: {meant}", f"the site's key: one of {listed(tuple(WANTED))}"
    for origin in profile.origins:
        normal = normal_base(origin)
        if normal is None or normal[3] or origin.endswith("/"):
            yield "origins", origin, "scheme, host and port without path"


def _name_objections(profile: ClientProfile) -> Objections:
    if not profile.issuer.strip() or profile.issuer != profile.issuer.strip():
        yield "issuer", "nothing, or spaces around", "the exact iss of the client's tokens"
    for name in ("audiences", "tenants", "scopes"):
        if any(not value.strip() for value in getattr(profile, name)):
            yield name, "an empty value", "text"

"""The operator's client files (``config/clients/*.yaml``): one registered EHR each, read strictly at start.

A wrong file stops the start with every complaint at once, each naming file, line, what was found and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cds_service.adapters import strict_yaml
from cds_service.adapters.jwks import KeyUnusable, import_key_set
from cds_service.adapters.pinned_connection import tls_policy
from cds_service.cds_hooks.prefetch import WANTED
from cds_service.clients import ClientProfile, normal_base
from cds_service.errors import ConfigurationError
from cds_service.policy.source import Complaint, Node

ALGORITHMS = ("RS384", "ES384", "RS256", "ES256")  # the first two by default; the others only if a site cannot else
HOOKS = ("order-sign", "order-select", "order-dispatch")
ACTION_TYPES = ("MedicationRequest", "ServiceRequest", "DeviceRequest")
_IDENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DEADLINE_SECONDS = range(2, 10)  # reliability 2.1
_PLACE = re.compile(r"\$\.([a-z_]+)")
_FIELD = re.compile(r"(unknown|required) field `([^`]*)`")
_KIND = re.compile(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`")
_KINDS = {
    "array": "a list, as [a, b]",
    "bool": "true or false",
    "int": "a whole number",
    "object": "a mapping, as {a: b}",
    "str": "one value",
}


def load_clients(directory: Path, *, insecure_dev: bool = False) -> Mapping[str, ClientProfile]:
    """The registered clients by issuer. ``*.yaml`` only: an ``*.yaml.example`` is documentation.

    ``insecure_dev`` admits plain-http addresses where the file itself says ``allow_http``.

    Raises:
        ConfigurationError: with every complaint, as ``file:line: what was found; what is allowed``.
    """
    clients: dict[str, ClientProfile] = {}
    idents: dict[str, Path] = {}
    complaints: list[str] = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            profile = read_client(path, insecure_dev=insecure_dev)
        except ConfigurationError as error:
            complaints.append(error.diagnostics)
            continue
        if profile.issuer in clients:
            other = clients[profile.issuer].id
            complaints.append(f"{path.name}:1: issuer: found that of client {other}; allowed: one file per issuer")
        if profile.id in idents:
            complaints.append(f"{path.name}:1: id: found that of {idents[profile.id].name}; allowed: one file per id")
        clients[profile.issuer] = profile
        idents[profile.id] = path
    if complaints:
        raise ConfigurationError("\n".join(complaints))
    return clients


def read_client(path: Path, *, insecure_dev: bool = False) -> ClientProfile:
    """One client file.

    Raises:
        ConfigurationError: with every complaint about this file.
    """
    complaints: list[Complaint] = []
    try:
        root = strict_yaml.read(path.read_text("utf-8"), path.name, complaints)
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path.name}:1: cannot be read; it is a UTF-8 text file") from None
    if complaints or root is None:
        raise ConfigurationError("\n".join(map(str, complaints)))
    if not isinstance(root.value, dict):
        raise ConfigurationError(str(Complaint(path.name, 1, "", "no mapping", "one mapping of settings")))
    lines = {name: node.line for name, node in root.value.items()}
    profile = _beside(path, _profile(path, root, lines))
    found = [
        str(Complaint(path.name, lines.get(name, 1), name, wrong, allowed))
        for name, wrong, allowed in _complaints(profile, insecure_dev)
    ]
    if found:
        raise ConfigurationError("\n".join(found))
    return profile


def _profile(path: Path, root: Node, lines: Mapping[str, int]) -> ClientProfile:
    try:
        return msgspec.convert(_plain(root), ClientProfile, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(_structure_complaint(path.name, str(error), lines))) from None


def _structure_complaint(file: str, text: str, lines: Mapping[str, int]) -> Complaint:
    """What msgspec says about a setting, in the words of these files."""
    if field := _FIELD.search(text):
        kind, name = field.groups()
        if kind == "required":
            return Complaint(file, 1, name, "nothing", "it must be stated")
        return Complaint(file, lines.get(name, 1), name, "no such setting", ", ".join(ClientProfile.__struct_fields__))
    place, kinds = _PLACE.search(text), _KIND.search(text)
    name = place[1] if place else ""
    found, allowed = (_KINDS.get(kind, kind) for kind in reversed(kinds.groups())) if kinds else (text, "")
    return Complaint(file, lines.get(name, 1), name, found, allowed or "see config/clients/README.md")


def _plain(node: Node) -> Any:
    """A node as plain values; every scalar is still text, the profile's types decide what it means."""
    if isinstance(node.value, dict):
        return {name: _plain(member) for name, member in node.value.items()}
    if isinstance(node.value, tuple):
        return [_plain(item) for item in node.value]
    return node.value


def _beside(path: Path, profile: ClientProfile) -> ClientProfile:
    """A relative ``ca_file`` lies beside the client file."""
    if profile.ca_file is None:
        return profile
    return msgspec.structs.replace(profile, ca_file=str((path.parent / profile.ca_file).resolve()))


def _complaints(profile: ClientProfile, insecure_dev: bool) -> Iterator[tuple[str, str, str]]:
    """(setting, what was found, what is allowed)."""
    yield from _identity_complaints(profile)
    yield from _key_complaints(profile, insecure_dev)
    for name, chosen, allowed in (
        ("hooks", profile.hooks, HOOKS),
        ("system_actions", profile.system_actions, ACTION_TYPES),
        ("algorithms", profile.algorithms, ALGORITHMS),
        ("jti", (profile.jti,), ("idempotent", "strict")),
        ("crd_version", (profile.crd_version,), ("2.0", "2.2")),
    ):
        if not set(chosen) <= set(allowed) or len(set(chosen)) != len(chosen):
            yield name, _list(chosen), f"{_list(allowed)}, each once"
    if profile.deadline_seconds not in _DEADLINE_SECONDS:
        yield "deadline_seconds", str(profile.deadline_seconds), "2 to 9"
    for base in profile.fhir_servers:
        yield from _address_complaints("fhir_servers", base, profile, insecure_dev)
    for key, meant in profile.prefetch_aliases.items():
        if meant not in WANTED:
            yield "prefetch_aliases", f"{key}: {meant}", f"the site's key: one of {_list(tuple(WANTED))}"
    for origin in profile.origins:
        normal = normal_base(origin)
        if normal is None or normal[3] or origin.endswith("/"):
            yield "origins", origin, "scheme, host and port without path"
    if profile.ca_file is not None and not _holds_certificates(profile.ca_file):
        yield "ca_file", "no readable certificate", "a PEM file, its path relative to this client file"


def _holds_certificates(ca_file: str) -> bool:
    try:
        tls_policy(ca_file)
    except OSError:  # a file without certificates is an SSLError, which is one too
        return False
    return True


def _identity_complaints(profile: ClientProfile) -> Iterator[tuple[str, str, str]]:
    if not _IDENT.fullmatch(profile.id):
        yield "id", "other characters", "small letters, digits and hyphens, at most 63"
    if not profile.issuer.strip() or profile.issuer != profile.issuer.strip():
        yield "issuer", "nothing, or spaces around", "the exact iss of the client's tokens"
    for name in ("audiences", "tenants", "scopes"):
        if any(not value.strip() for value in getattr(profile, name)):
            yield name, "an empty value", "text"


def _key_complaints(profile: ClientProfile, insecure_dev: bool) -> Iterator[tuple[str, str, str]]:
    if profile.jwks_url is None and profile.jwks is None:
        yield "jwks_url", "neither jwks_url nor jwks", "one of them: it says where the client's keys are"
    if not profile.algorithms:
        yield "algorithms", "none", _list(ALGORITHMS)
    if profile.jwks_url is not None:
        # The query of a key set's address is sent as registered; it decides nothing here.
        yield from _address_complaints("jwks_url", profile.jwks_url.partition("?")[0], profile, insecure_dev)
    if profile.jwks is not None:
        try:
            usable = import_key_set(msgspec.json.encode(profile.jwks))
        except KeyUnusable:
            usable = {}
        if not any(set(key.algorithms) & set(profile.algorithms) for key in usable.values()):
            yield "jwks", "no usable key", "public keys with a kid, RSA of 2048 bits or more or EC P-384"


def _address_complaints(
    name: str, address: str, profile: ClientProfile, insecure_dev: bool
) -> Iterator[tuple[str, str, str]]:
    normal = normal_base(address)
    if normal is None:
        yield name, address, "an absolute https address without user, query, fragment and dot segments"
    elif normal[0] == "http" and not (profile.allow_http and insecure_dev):
        yield name, address, "https; plain http needs allow_http here, and --insecure-dev or CDS_INSECURE_DEV=on"


def _list(values: tuple[str, ...]) -> str:
    return ", ".join(values) or "none"

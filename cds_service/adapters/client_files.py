"""The operator's client files (``config/clients/*.yaml``): one registered EHR each, read strictly at start.

A wrong file stops the start with every complaint at once, each naming file, line, what was found and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cds_service.adapters.jwks import KeyUnusable, import_key_set
from cds_service.clients import ClientProfile, normal_base
from cds_service.errors import ConfigurationError

ALGORITHMS = ("RS384", "ES384", "RS256", "ES256")  # the first two by default; the others only if a site cannot else
HOOKS = ("order-sign", "order-select", "order-dispatch")
ACTION_TYPES = ("MedicationRequest", "ServiceRequest", "DeviceRequest")
_IDENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DEADLINE_SECONDS = range(2, 10)  # reliability 2.1
_NAMED = re.compile(r"\$\.([A-Za-z_]+)|field `([a-z_]+)`")


class _Trouble(Exception):
    """One thing wrong, at a line."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


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
            complaints.append(f"{path.name}: issuer is also that of client {clients[profile.issuer].id}")
        if profile.id in idents:
            complaints.append(f"{path.name}: id is also that of {idents[profile.id].name}")
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
    lines: dict[str, int] = {}
    try:
        values = _members(path, lines)
        profile = _profile(values, lines)
    except _Trouble as trouble:
        raise ConfigurationError(f"{path.name}:{trouble.line}: {trouble.text}") from None
    profile = _beside(path, profile)
    found = [f"{path.name}:{lines.get(name, 1)}: {name}: {text}" for name, text in _complaints(profile, insecure_dev)]
    if found:
        raise ConfigurationError("\n".join(found))
    return profile


def _members(path: Path, lines: dict[str, int]) -> dict[str, Any]:
    try:
        node = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _Trouble(line, f"not YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _Trouble(1, "not UTF-8 YAML") from None
    except OSError as error:
        raise _Trouble(1, f"cannot be read: {error.strerror}") from None
    if not isinstance(node, yaml.MappingNode):
        raise _Trouble(1, "found no mapping; a client file is one mapping of settings")
    try:
        value: dict[str, Any] = _plain(node)
    except RecursionError:
        raise _Trouble(1, "found a value that contains itself") from None
    lines.update({key.value: key.start_mark.line + 1 for key, _ in node.value})
    return value


def _plain(node: yaml.Node) -> Any:
    """A node as plain values; keys are text and stand once, anchors and tags are not used here."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(node)
    members: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise _Trouble(key.start_mark.line + 1, "found a key that is no text; put it in quotation marks")
        if key.value in members:
            raise _Trouble(key.start_mark.line + 1, f"found {key.value} twice; each setting stands once")
        members[key.value] = _plain(value)
    return members


def _scalar(node: yaml.Node) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError):
        raise _Trouble(node.start_mark.line + 1, "found a value that is not what it looks like; quote it") from None


def _profile(values: Mapping[str, Any], lines: Mapping[str, int]) -> ClientProfile:
    try:
        return msgspec.convert(values, ClientProfile)
    except msgspec.ValidationError as error:
        text = str(error)
        named = _NAMED.search(text)
        name = (named[1] or named[2]) if named else ""
        allowed = ", ".join(ClientProfile.__struct_fields__)
        hint = f"; allowed are {allowed}" if "unknown field" in text else ""
        raise _Trouble(lines.get(name, 1), f"{text}{hint}") from None


def _beside(path: Path, profile: ClientProfile) -> ClientProfile:
    """A relative ``ca_file`` lies beside the client file."""
    if profile.ca_file is None:
        return profile
    return msgspec.structs.replace(profile, ca_file=str((path.parent / profile.ca_file).resolve()))


def _complaints(profile: ClientProfile, insecure_dev: bool) -> Iterator[tuple[str, str]]:
    """(setting, what is wrong and what is allowed)."""
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
            yield name, f"found {_list(chosen)}; allowed are {_list(allowed)}, each once"
    if profile.deadline_seconds not in _DEADLINE_SECONDS:
        yield "deadline_seconds", f"found {profile.deadline_seconds}; allowed are 2 to 9"
    for base in profile.fhir_servers:
        yield from _address_complaints("fhir_servers", base, profile, insecure_dev)
    for origin in profile.origins:
        normal = normal_base(origin)
        if normal is None or normal[3] or origin.endswith("/"):
            yield "origins", f"found {origin}; an origin is scheme, host and port without path"
    if profile.ca_file is not None and not Path(profile.ca_file).is_file():
        yield "ca_file", "found no such file; it is a PEM file, relative to this client file"


def _identity_complaints(profile: ClientProfile) -> Iterator[tuple[str, str]]:
    if not _IDENT.fullmatch(profile.id):
        yield "id", "found other characters; allowed are small letters, digits and hyphens, at most 63"
    if not profile.issuer.strip() or profile.issuer != profile.issuer.strip():
        yield "issuer", "found spaces around or nothing; it is the exact iss of the client's tokens"
    for name in ("audiences", "tenants", "scopes"):
        if any(not value.strip() for value in getattr(profile, name)):
            yield name, "found an empty value"


def _key_complaints(profile: ClientProfile, insecure_dev: bool) -> Iterator[tuple[str, str]]:
    if profile.jwks_url is None and profile.jwks is None:
        yield "jwks_url", "found neither jwks_url nor jwks; one of them is needed to know the client's keys"
    if not profile.algorithms:
        yield "algorithms", f"found none; allowed are {_list(ALGORITHMS)}"
    if profile.jwks_url is not None:
        # The query of a key set's address is sent as registered; it decides nothing here.
        yield from _address_complaints("jwks_url", profile.jwks_url.partition("?")[0], profile, insecure_dev)
    if profile.jwks is not None:
        try:
            usable = import_key_set(msgspec.json.encode(profile.jwks))
        except KeyUnusable:
            usable = {}
        if not any(set(key.algorithms) & set(profile.algorithms) for key in usable.values()):
            yield "jwks", "found no public key with a kid that one of the algorithms can use (RSA 2048+, EC P-384)"


def _address_complaints(
    name: str, address: str, profile: ClientProfile, insecure_dev: bool
) -> Iterator[tuple[str, str]]:
    normal = normal_base(address)
    if normal is None:
        yield name, f"found {address}; allowed is an absolute https address without user, query, fragment and dots"
    elif normal[0] == "http" and not (profile.allow_http and insecure_dev):
        yield name, f"found {address}; plain http needs allow_http here and --insecure-dev at the start"


def _list(values: tuple[str, ...]) -> str:
    return ", ".join(values) or "none"

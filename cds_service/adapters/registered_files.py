"""One YAML file per registered party, read strictly: what the files of clients, payer endpoints, EHRs and payers share.

Every complaint names file, line, what was found and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from cds_service.adapters import strict_yaml
from cds_service.adapters.jwks import KeyUnusable, import_key_set
from cds_service.adapters.pinned_connection import tls_policy
from cds_service.clients import KeyOwner, normal_base
from cds_service.errors import ConfigurationError
from cds_service.policy.source import Complaint, Node

ALGORITHMS = ("RS384", "ES384", "RS256", "ES256")  # the first two by default; the others only if a site cannot else
Objections = Iterator[tuple[str, str, str]]  # (setting, what was found, what is allowed)

_IDENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
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


class Registered(KeyOwner, Protocol):
    """A party with a file of its own."""

    @property
    def id(self) -> str:
        """Our short name of it."""
        ...


Record = TypeVar("Record", bound=msgspec.Struct)
Party = TypeVar("Party", bound=Registered)


def read_record(
    path: Path,
    kind: type[Record],
    readme: str,
    objections: Callable[[Record], Iterable[tuple[str, str, str]]],
    *,
    called: str = "",
) -> Record:
    """One file as a struct; ``objections`` are what its types cannot say.

    A setting that ends in ``_file`` names a file beside this one. Complaints say ``called`` for the file, or its name.

    Raises:
        ConfigurationError: with every complaint about this file.
    """
    file = called or path.name
    complaints: list[Complaint] = []
    try:
        root = strict_yaml.read(path.read_text("utf-8"), file, complaints)
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{file}:1: cannot be read; it is a UTF-8 text file") from None
    if complaints or root is None:
        raise ConfigurationError("\n".join(map(str, complaints)))
    if not isinstance(root.value, dict):
        raise ConfigurationError(str(Complaint(file, 1, "", "no mapping", "one mapping of settings")))
    lines = {name: node.line for name, node in root.value.items()}
    try:
        record = _beside(path, msgspec.convert(_plain(root), kind, strict=False))
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(_structure_complaint(file, str(error), lines, kind, readme))) from None
    found = [
        str(Complaint(file, lines.get(name, 1), name, wrong, allowed)) for name, wrong, allowed in objections(record)
    ]
    if found:
        raise ConfigurationError("\n".join(found))
    return record


def by_issuer(directory: Path, read: Callable[[Path], Party], one_per: str) -> Mapping[str, Party]:
    """The parties of a directory by issuer. ``*.yaml`` only: an ``*.yaml.example`` is documentation.

    ``one_per`` is the setting that issuers come from, as complaints name it.

    Raises:
        ConfigurationError: with every complaint.
    """
    parties: dict[str, Party] = {}
    idents: dict[str, Path] = {}
    complaints: list[str] = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            party = read(path)
        except ConfigurationError as error:
            complaints.append(error.diagnostics)
            continue
        if one_per != "id" and party.issuer in parties:
            other = parties[party.issuer].id
            complaints.append(
                f"{path.name}:1: {one_per}: found that of client {other}; allowed: one file per {one_per}"
            )
        if party.id in idents:
            complaints.append(f"{path.name}:1: id: found that of {idents[party.id].name}; allowed: one file per id")
        parties[party.issuer] = party
        idents[party.id] = path
    if complaints:
        raise ConfigurationError("\n".join(complaints))
    return parties


def ident_objections(ident: str) -> Objections:
    """What is wrong with our short name of a party."""
    if not _IDENT.fullmatch(ident):
        yield "id", "other characters", "small letters, digits and hyphens, at most 63"


def choice_objections(name: str, chosen: Sequence[str], allowed: Sequence[str]) -> Objections:
    """Values of a closed list, each once."""
    if not set(chosen) <= set(allowed) or len(set(chosen)) != len(chosen):
        yield name, listed(chosen), f"{listed(allowed)}, each once"


def key_objections(party: KeyOwner, insecure_dev: bool) -> Objections:
    """What is wrong with where a party's keys are, and with the authorities trusted for its hosts."""
    if party.jwks_url is None and party.jwks is None:
        yield "jwks_url", "neither jwks_url nor jwks", "one of them: it says where the client's keys are"
    if not party.algorithms:
        yield "algorithms", "none", listed(ALGORITHMS)
    yield from choice_objections("algorithms", party.algorithms, ALGORITHMS)
    if party.jwks_url is not None:
        # The query of a key set's address is sent as registered; it decides nothing here.
        yield from address_objections("jwks_url", party.jwks_url.partition("?")[0], party, insecure_dev)
    if party.jwks is not None:
        try:
            usable = import_key_set(msgspec.json.encode(party.jwks))
        except KeyUnusable:
            usable = {}
        if not any(set(key.algorithms) & set(party.algorithms) for key in usable.values()):
            yield "jwks", "no usable key", "public keys with a kid, RSA of 2048 bits or more or EC P-384"
    if party.ca_file is not None and not holds_certificates(party.ca_file):
        yield "ca_file", "no readable certificate", "a PEM file, its path relative to this client file"


def address_objections(name: str, address: str, party: KeyOwner, insecure_dev: bool) -> Objections:
    """What is wrong with an address that we would call."""
    normal = normal_base(address)
    if normal is None:
        yield name, address, "an absolute https address without user, query, fragment and dot segments"
    elif normal[0] == "http" and not (party.allow_http and insecure_dev):
        yield name, address, "https; plain http needs allow_http here, and --insecure-dev or CDS_INSECURE_DEV=on"


def listed(values: Sequence[str]) -> str:
    """Values as complaints show them."""
    return ", ".join(values) or "none"


def _structure_complaint(
    file: str, text: str, lines: Mapping[str, int], kind: type[msgspec.Struct], readme: str
) -> Complaint:
    """What msgspec says about a setting, in the words of these files."""
    if field := _FIELD.search(text):
        said, name = field.groups()
        if said == "required":
            return Complaint(file, 1, name, "nothing", "it must be stated")
        return Complaint(file, lines.get(name, 1), name, "no such setting", ", ".join(kind.__struct_fields__))
    place, kinds = _PLACE.search(text), _KIND.search(text)
    name = place[1] if place else ""
    found, allowed = (_KINDS.get(word, word) for word in reversed(kinds.groups())) if kinds else (text, "")
    return Complaint(file, lines.get(name, 1), name, found, allowed or f"see {readme}")


def _plain(node: Node) -> Any:
    """A node as plain values; every scalar is still text, the struct's types decide what it means."""
    if isinstance(node.value, dict):
        return {name: _plain(member) for name, member in node.value.items()}
    if isinstance(node.value, tuple):
        return [_plain(item) for item in node.value]
    return node.value


def _beside(path: Path, record: Record) -> Record:
    named = {name: getattr(record, name) for name in record.__struct_fields__ if name.endswith("_file")}
    absolute = {name: str((path.parent / text).resolve()) for name, text in named.items() if text is not None}
    return msgspec.structs.replace(record, **absolute) if absolute else record


def holds_certificates(ca_file: str) -> bool:
    """Whether it is a PEM file with certificates."""
    try:
        tls_policy(ca_file)
    except OSError:  # a file without certificates is an SSLError, which is one too
        return False
    return True

"""The operator's files of EHRs and payers (``ehrs/*.yaml``, ``payers/*.yaml``), read strictly at start.

A wrong file stops the start with every complaint at once, each naming file, line, what was found and what is allowed.
``*.yaml`` only: an ``*.yaml.example`` is documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from cds_service.adapters.registered_files import Objections, holds_certificates, ident_objections, read_record
from cds_service.clients import normal_base
from cds_service.errors import ConfigurationError
from smart_app.registry import EhrProfile, PayerProfile, Registry
from smart_app.sdc.entry import zone_of

SIGNING = ("", "RS384", "ES384")
VERSIONS = ("2.0.1", "2.1", "2.2")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.\-]*[a-z0-9])?(:[0-9]{1,5})?")
_SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 3.3
_SECONDS = range(1, 61)

Profile = TypeVar("Profile", EhrProfile, PayerProfile)


def load_registry(config_dir: Path, *, insecure_dev: bool = False, production: bool = False) -> Registry:
    """Everything registered under ``config_dir``.

    ``insecure_dev`` admits plain http where the file itself says ``allow_http``; ``production`` never does.

    Raises:
        ConfigurationError: with every complaint, as ``file:line: what was found; what is allowed``.
    """
    lenient = insecure_dev and not production
    complaints: list[str] = []
    ehrs = _folder(config_dir / "ehrs", EhrProfile, lambda each: _ehr_complaints(each, lenient), complaints)
    payers = _folder(config_dir / "payers", PayerProfile, lambda each: _payer_complaints(each, lenient), complaints)
    bases = [(normal_base(ehr.iss), name) for name, ehr in ehrs.items()]
    for place, (base, name) in enumerate(bases):
        if base in [other for other, _ in bases[:place]]:
            complaints.append(f"ehrs/{name}: iss: found that of another EHR; allowed: one file per iss")
    for name, ehr in ehrs.items():
        for payer in set(ehr.payers) - set(payers):
            known = ", ".join(sorted(payers)) or "none is registered"
            complaints.append(f"ehrs/{name}: payers: found {payer}; allowed: ids of payers/*.yaml ({known})")
    if complaints:
        raise ConfigurationError("\n".join(complaints))
    return Registry(ehrs, payers)


def _folder(
    folder: Path, kind: type[Profile], wrong: Callable[[Profile], Objections], complaints: list[str]
) -> Mapping[str, Profile]:
    found: dict[str, Profile] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            profile = read_profile(path, kind, wrong)
        except ConfigurationError as error:
            complaints.append(error.diagnostics)
            continue
        if profile.id in found:
            complaints.append(f"{_name(path)}:1: id: found that of another file; allowed: one file per id")
        found[profile.id] = profile
    return found


def read_profile(path: Path, kind: type[Profile], wrong: Callable[[Profile], Objections]) -> Profile:
    """One file.

    Raises:
        ConfigurationError: with every complaint about this file.
    """
    return read_record(path, kind, "docs/smart-app.md", wrong, called=_name(path))


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _ehr_complaints(ehr: EhrProfile, lenient: bool) -> Objections:
    yield from _shared_complaints(ehr, lenient)
    yield from _address("iss", ehr.iss, allow_http=ehr.allow_http and lenient)
    yield from _choice("scopes", ehr.scopes, ("wide", "narrow"))
    yield from _choice("refresh", ehr.refresh, ("none", "online", "offline"))
    yield from _scopes("extra_scopes", ehr.extra_scopes)
    yield from _hosts("endpoint_hosts", ehr.endpoint_hosts)
    if ehr.read_seconds not in _SECONDS:
        yield "read_seconds", str(ehr.read_seconds), "1 to 60"
    if ehr.organization_npi and not re.fullmatch(r"[0-9]{10}", ehr.organization_npi):
        yield "organization_npi", "another form", "ten digits"
    if ehr.time_zone and zone_of(ehr.time_zone) is None:
        yield "time_zone", ehr.time_zone, "a name as Europe/Berlin or America/New_York"
    if not ehr.name.strip():
        yield "name", "nothing", "the name that people know the EHR by"
    for origin in ehr.frame_origins:
        normal = normal_base(origin)
        if normal is None or normal[3] or origin.endswith("/"):
            yield "frame_origins", origin, "scheme, host and port without path"
        elif normal[0] == "http" and not (ehr.allow_http and lenient):
            yield "frame_origins", origin, "https"
    if ehr.client_secret_file is not None and (problem := _secret_problem(ehr.client_secret_file)):
        yield "client_secret_file", problem, "a file that holds the secret, mode 0600"


def _payer_complaints(payer: PayerProfile, lenient: bool) -> Objections:
    yield from _shared_complaints(payer, lenient)
    for name in ("dtr_base", "pas_base", "token_url"):
        if name == "dtr_base" or getattr(payer, name):
            yield from _address(name, getattr(payer, name), allow_http=payer.allow_http and lenient)
    yield from _choice("dtr_version", payer.dtr_version, VERSIONS)
    yield from _scopes("scopes", payer.scopes)
    yield from _scopes("pas_scopes", payer.pas_scopes)
    yield from _hosts("token_hosts", payer.token_hosts)
    if payer.call_seconds not in _SECONDS:
        yield "call_seconds", str(payer.call_seconds), "1 to 60"
    if not payer.names or not all(name.strip() for name in payer.names):
        yield "names", "none", "a list of names, the first is shown"
    for identifier in payer.identifiers:
        system, bar, value = identifier.partition("|")
        if not (bar and system and value):
            yield "identifiers", "another form", "system|value"


def _shared_complaints(profile: EhrProfile | PayerProfile, lenient: bool) -> Objections:
    yield from ident_objections(profile.id)
    if not profile.client_id or not profile.client_id.isprintable() or profile.client_id != profile.client_id.strip():
        yield "client_id", "nothing, or spaces around", "the id that was given to the app at registration"
    yield from _choice("signing_alg", profile.signing_alg, SIGNING)
    if profile.allow_http and not lenient:
        yield "allow_http", "true", "false; plain http works with --insecure-dev only, never in production"
    if profile.ca_file is not None and not holds_certificates(profile.ca_file):
        yield "ca_file", "no readable certificate", "a PEM file, its path relative to this file"


def _address(name: str, address: str, *, allow_http: bool) -> Objections:
    normal = normal_base(address)
    if normal is None:
        yield name, address, "an absolute https address without user, query, fragment and dot segments"
    elif normal[0] == "http" and not allow_http:
        yield name, address, "https; plain http needs allow_http here, and --insecure-dev"


def _choice(name: str, chosen: str, allowed: tuple[str, ...]) -> Objections:
    if chosen not in allowed:
        yield name, chosen, ", ".join(each for each in allowed if each)


def _scopes(name: str, scopes: tuple[str, ...]) -> Objections:
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            yield name, "another form", "SMART scopes without spaces, as user/Practitioner.r"


def _hosts(name: str, hosts: tuple[str, ...]) -> Objections:
    for host in hosts:
        if not _HOST.fullmatch(host):
            yield name, host, "host or host:port in small letters"


def _secret_problem(file: str) -> str:
    path = Path(file)
    try:
        if path.stat().st_mode & 0o077:
            return "a file that others may read"
        return "" if path.read_text("utf-8").strip() else "an empty file"
    except (OSError, UnicodeDecodeError):
        return "no readable file"

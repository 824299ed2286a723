"""What the operator has settled with one EHR (one file each under ``config/clients``)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

_DEFAULT_PORTS = {"http": 80, "https": 443}


class KeyOwner(Protocol):
    """A registered party that signs: what is settled about its keys. A CDS client or a backend client."""

    @property
    def issuer(self) -> str:
        """The exact ``iss`` of its tokens."""
        ...

    @property
    def jwks_url(self) -> str | None:
        """Where its keys are published."""
        ...

    @property
    def jwks(self) -> dict[str, Any] | None:
        """Its keys, settled out of band."""
        ...

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Signatures taken from it."""
        ...

    @property
    def allow_private(self) -> bool:
        """Its hosts may resolve to private addresses."""
        ...

    @property
    def allow_http(self) -> bool:
        """Plain http, while the service runs with --insecure-dev."""
        ...

    @property
    def ca_file(self) -> str | None:
        """Authorities to trust for its hosts."""
        ...


class ClientProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One registered CDS client. ``adapters/client_files.py`` reads it; nothing here is taken from a token."""

    id: str
    name: str
    issuer: str  # exact ``iss``
    enabled: bool = True
    jwks_url: str | None = None  # exact ``jku``; fetched by us, never because a token says so
    jwks: dict[str, Any] | None = None  # keys settled out of band, instead of jwks_url
    algorithms: tuple[str, ...] = ("RS384", "ES384")
    audiences: tuple[str, ...] = ()  # further exact ``aud`` values beside the URL called
    single_aud: bool = False
    tenants: tuple[str, ...] = ()  # empty: no tenant claim is expected, and any is refused
    hooks: tuple[str, ...] = ("order-sign", "order-select", "order-dispatch")
    jti: str = "idempotent"  # or "strict"
    crd_version: str = "2.0"  # or "2.2"
    fhir_servers: tuple[str, ...] = ()  # exact base URLs
    allow_private: bool = False  # the registered hosts may resolve to private addresses
    allow_http: bool = False  # a plain-http EHR: refused unless the service runs with --insecure-dev
    open_fhir: bool = False  # the EHR's API needs no token
    ca_file: str | None = None
    scopes: tuple[str, ...] = ()  # what the site says it grants; only for check-client
    prefetch_aliases: Mapping[str, str] = {}  # the site's key -> our key
    system_actions: tuple[str, ...] = ("MedicationRequest", "ServiceRequest", "DeviceRequest")
    fallback_card: bool = False  # a card says what a system action that the EHR cannot take would say
    smart_link: bool = True
    feedback_topics: bool = True
    deadline_seconds: int = 4
    origins: tuple[str, ...] = ()  # browsers of this client (CORS)


@lru_cache(maxsize=1_024)
def normal_base(url: str) -> tuple[str, str, int, str] | None:
    """(scheme, host, port, path) of an address that can be compared, or None when it must not be used at all.

    Only spelling that means nothing is evened out: case of scheme and host, the default port, one trailing slash.
    Everything that parsers disagree about (user part, backslash, percent signs, dots, query, fragment, non-ASCII) has
    no normal form, so it can never equal a registered address (reliability 83-85).
    """
    if not url.isascii() or not url.isprintable() or any(mark in url for mark in "\\@%?# "):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").lower()
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not host or host.endswith("."):
        return None
    path = parts.path.removesuffix("/")
    if any(segment in {"", ".", ".."} for segment in path.split("/")[1:]):
        return None
    return scheme, host, _DEFAULT_PORTS[scheme] if port is None else port, path


def registered_server(profile: ClientProfile, fhir_server: str) -> str | None:
    """The registered FHIR base that equals ``fhir_server``, as the operator wrote it and without trailing slash.

    None: this client has not registered it, so no connection may be made to it (reliability 82-85). The caller of the
    hook is then refused with ``NotAllowed``.
    """
    asked = normal_base(fhir_server)
    if asked is None:
        return None
    for base in profile.fhir_servers:
        if normal_base(base) == asked:
            return base.removesuffix("/")
    return None

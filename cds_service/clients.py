"""What the operator has settled with one EHR (one file each under ``config/clients``)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class ClientProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One registered CDS client. ``adapters/client_files.py`` reads it; nothing here is taken from a token."""

    id: str
    name: str
    issuer: str  # exact ``iss``
    enabled: bool = True
    jwks_url: str | None = None  # exact ``jku``; fetched by us, never because a token says so
    jwks: dict[str, object] | None = None  # keys settled out of band, instead of jwks_url
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

"""Which EHRs may launch the app, and which payers it asks: what the operator has settled with each.

One file each, under ``ehrs/`` and ``payers/`` of the configuration directory (``registry_files``). Nothing here comes
from a launch, a token or a package: an address that is not under a registered one is never called (SM-02, SM-48).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cds_service.clients import normal_base

DTR_SCOPES = ("system/Questionnaire.rs", "system/ValueSet.rs", "system/Library.rs")
PAS_SCOPES = ("system/Claim.cu", "system/Subscription.crud")  # the second, to be told of decisions


class EhrProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One registered EHR."""

    id: str
    name: str  # shown to people
    iss: str  # FHIR base URL
    client_id: str  # as which the EHR has registered the app
    enabled: bool = True
    scopes: str = "wide"  # or "narrow": each resource type by name (SM-13)
    extra_scopes: tuple[str, ...] = ()
    refresh: str = "none"  # or "online", "offline" (SM-44)
    standalone: bool = False  # whether the app may be opened without the EHR
    standalone_encounter: bool = False  # asks for launch/encounter too
    signing_alg: str = ""  # RS384 or ES384; "": what the EHR says that it takes
    client_secret_file: str | None = None  # symmetric client, only where the EHR can do nothing better
    endpoint_hosts: tuple[str, ...] = ()  # "host" or "host:port" that endpoints may be on beside that of iss
    accept_missing: tuple[str, ...] = ()  # capabilities that the operator knows to be there though not listed
    frame_origins: tuple[str, ...] = ()  # where the EHR's pages come from that may frame the app (SM-47)
    own_window: bool = False  # the EHR's sign-in page cannot be framed: ask for a window of its own
    payers: tuple[str, ...] = ()  # ids of payers used here; empty: all
    allow_private: bool = False  # its hosts may resolve to private addresses
    allow_http: bool = False  # plain http: refused unless the app runs with --insecure-dev
    ca_file: str | None = None  # trusted instead of the public authorities
    read_seconds: int = 8  # for one read, search or save
    time_zone: str = ""  # of the clinic, as "Europe/Berlin": what times mean that people type; "": the browser's
    organization_name: str = ""  # the provider's organization, for requests to payers where the EHR shows none
    organization_npi: str = ""


class PayerProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One registered payer: its DTR base and, where it takes requests, its PAS base."""

    id: str
    names: tuple[str, ...]  # the first is shown; all are compared with the payor's display
    identifiers: tuple[str, ...] = ()  # "system|value" of the payer's Organization
    enabled: bool = True
    dtr_base: str
    dtr_version: str = "2.0.1"  # or "2.1", "2.2": how the app writes; it reads all
    pas_base: str = ""
    client_id: str
    token_url: str = ""  # "": asked of {dtr_base}/.well-known/smart-configuration
    token_hosts: tuple[str, ...] = ()  # hosts that a discovered token endpoint may be on beside the payer's own
    open_api: bool = False  # the payer's API needs no token
    signing_alg: str = ""
    scopes: tuple[str, ...] = DTR_SCOPES
    pas_scopes: tuple[str, ...] = PAS_SCOPES
    allow_private: bool = False
    allow_http: bool = False
    ca_file: str | None = None
    call_seconds: int = 15

    @property
    def name(self) -> str:
        """The name shown to people."""
        return self.names[0]


class Registry(msgspec.Struct, frozen=True):
    """All that is registered, by id."""

    ehrs: Mapping[str, EhrProfile]
    payers: Mapping[str, PayerProfile]

    def ehr_of(self, iss: str) -> EhrProfile | None:
        """The enabled EHR whose base equals ``iss`` but for case of the host, default port and one last slash."""
        asked = normal_base(iss)
        if asked is None:
            return None
        return next((ehr for ehr in self.ehrs.values() if ehr.enabled and normal_base(ehr.iss) == asked), None)

    def payers_of(self, ehr: EhrProfile) -> tuple[PayerProfile, ...]:
        """The payers used at one EHR, in the order of the file, else of their ids."""
        chosen = ehr.payers or tuple(sorted(self.payers))
        return tuple(self.payers[each] for each in chosen if self.payers[each].enabled)

    def frame_origins(self) -> tuple[str, ...]:
        """Every origin that frames the app somewhere, for pages about no particular launch."""
        return tuple(dict.fromkeys(each for ehr in self.ehrs.values() if ehr.enabled for each in ehr.frame_origins))


def base_of(address: str) -> str:
    """A registered base without its last slash, as paths are put behind it."""
    return address.removesuffix("/")

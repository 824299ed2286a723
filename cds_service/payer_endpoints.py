"""Where the payer's systems take ClaimResponses: one file each in ``CDS_PAYER_ENDPOINTS_DIR``, see docs/delivery.md."""

from __future__ import annotations

import msgspec

AUTO = "auto"
PUT = "put"
CONDITIONAL_UPDATE = "conditional_update"
CONDITIONAL_CREATE = "conditional_create"
SEARCH_THEN_CREATE = "search_then_create"
TRANSACTION = "transaction"
BUNDLE = "bundle"
MODES = (AUTO, PUT, CONDITIONAL_UPDATE, CONDITIONAL_CREATE, SEARCH_THEN_CREATE, TRANSACTION, BUNDLE)
AUTHS = ("none", "backend_services", "mtls")


class PayerEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One FHIR server of the payer's. ``adapters/endpoint_files.py`` reads it."""

    id: str
    name: str
    base_url: str  # FHIR base, without final slash
    enabled: bool = True
    mode: str = AUTO  # how a ClaimResponse is written there; auto asks the CapabilityStatement
    bundle_path: str = "Bundle"  # mode bundle: below the base, where the whole response Bundle is posted
    auth: str = "none"
    token_url: str | None = None  # backend_services
    client_id: str = ""
    scope: str = "system/ClaimResponse.cruds"
    cert_file: str | None = None  # mtls: PEM, relative to the file
    key_file: str | None = None
    allow_private: bool = False
    allow_http: bool = False  # refused unless the service runs with --insecure-dev
    ca_file: str | None = None
    seconds: int = 10  # the longest that one call may take
    parallel: int = 4  # calls at once by each worker
    give_up_hours: int = 72
    safety_minutes: int = 60  # so long before the case's own time runs out, a person must know of it
    superseded: str = "send"  # or "skip": an undelivered version with a later one behind it
    programs: tuple[str, ...] = ()  # only cases of these lines of business; none: all

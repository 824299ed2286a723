"""The app's calls to EHRs and payers: where each may go, how long it may take. All pass ``GuardedHttp`` (SM-48)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from cds_service.adapters.guarded_http import Answer, Egress, GuardedHttp, OutboundFailure
from cds_service.errors import CdsServiceError
from cds_service.fhir import json as fhir_json
from smart_app.registry import EhrProfile, PayerProfile, base_of

JSON_BYTES = 1_000_000  # of a discovery document, key set or token response
AGENT = "smart-app"

__all__ = [
    "Answer",
    "Egress",
    "Outbound",
    "OutboundFailure",
    "egress_to_ehr",
    "egress_to_payer",
    "host_of",
    "json_object",
]


def egress_to_ehr(ehr: EhrProfile, *endpoints: str) -> Egress:
    """Below the EHR's FHIR base, and exactly ``endpoints`` (which discovery has checked)."""
    base = base_of(ehr.iss)
    return Egress((base, *endpoints), (base,), ehr.allow_private, ehr.allow_http, ehr.ca_file)


def egress_to_payer(payer: PayerProfile, *endpoints: str) -> Egress:
    """Below the payer's DTR and PAS bases, and exactly ``endpoints``."""
    bases = tuple(base_of(each) for each in (payer.dtr_base, payer.pas_base) if each)
    return Egress((*bases, *endpoints), bases, payer.allow_private, payer.allow_http, payer.ca_file)


def host_of(url: str) -> str:
    """``host`` or ``host:port`` in small letters, the scheme's own port left out."""
    parts = urlsplit(url)
    own = {"https": 443, "http": 80}.get(parts.scheme)
    host = (parts.hostname or "").lower()
    return host if parts.port in {None, own} else f"{host}:{parts.port}"


class Outbound(msgspec.Struct, frozen=True):
    """Guarded calls with a time limit in seconds. Thread-safe."""

    http: GuardedHttp
    monotonic: Callable[[], float]

    def send(
        self,
        method: str,
        url: str,
        egress: Egress,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        max_bytes: int | None = None,
    ) -> Answer:
        """The answer, whatever its status. Raises OutboundFailure with a reason word."""
        return self.http.send(
            method,
            url,
            egress,
            self.monotonic() + seconds,
            {"User-Agent": AGENT, **(headers or {})},
            body=body,
            **({} if max_bytes is None else {"max_bytes": max_bytes}),
        )

    def json(self, url: str, egress: Egress, seconds: float) -> Answer:
        """GET of a JSON document, of at most ``JSON_BYTES``."""
        return self.send("GET", url, egress, seconds, {"Accept": "application/json"}, max_bytes=JSON_BYTES)

    def form(self, url: str, egress: Egress, seconds: float, fields: Mapping[str, str], **more: str) -> Answer:
        """POST of a form; ``more`` are further headers."""
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", **more}
        body = urlencode(fields).encode("ascii")
        return self.send("POST", url, egress, seconds, headers, body=body, max_bytes=JSON_BYTES)


def json_object(body: bytes) -> dict[str, Any] | None:
    """One strict JSON object, else None."""
    try:
        value = fhir_json.parse(body, max_bytes=JSON_BYTES)
    except CdsServiceError:
        return None
    return value if isinstance(value, dict) else None

"""A signed Provenance for a response Bundle: who answers for it, with a signature that anybody can check (D10)."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import Any

from cds_service.fhir.pas.parcel import parcel

_SIGNATURE_TYPES = "urn:iso-astm:E1762-95:2013"
_VERIFICATION = "1.2.840.10065.1.12.1.5"
_PARTICIPANTS = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def provenance(bundle: bytes, jws: str, at: datetime, payer: str) -> dict[str, Any]:
    """The resource; ``jws`` is detached, over the Bundle in the canonical form of RFC 8785. ``payer`` is its name.

    Raises:
        Unsendable: the Bundle holds no ClaimResponse.
    """
    who = {"display": payer}
    signed = parcel(bundle)
    return {
        "resourceType": "Provenance",
        "target": [{"reference": f"ClaimResponse/{signed.id}"}],
        "recorded": at.isoformat(),
        "agent": [{"type": {"coding": [{"system": _PARTICIPANTS, "code": "author"}]}, "who": who}],
        "signature": [
            {
                "type": [{"system": _SIGNATURE_TYPES, "code": _VERIFICATION}],
                "when": at.isoformat(),
                "who": who,
                "targetFormat": "application/fhir+json; canonicalization=RFC8785",
                "sigFormat": "application/jose",
                "data": b64encode(jws.encode()).decode(),
            }
        ],
    }

"""What this FHIR server can do, in FHIR's words."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app

from sandbox_ehr.fhir_api import answer, blueprint, fhir_base
from sandbox_ehr.fhir_write import WRITABLE
from sandbox_ehr.search import PARAMETERS, TYPES

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_KINDS = {"id": "token", "context": "reference"}


@blueprint.get("/metadata")
def metadata() -> Response:
    """CapabilityStatement; open, as it says nothing of any patient."""
    return answer(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": current_app.config["AS_OF"].isoformat(),
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json"],
            "software": {"name": "Sandbox EHR"},
            "implementation": {"description": "Sandbox EHR with made-up patients", "url": fhir_base()},
            "rest": [{"mode": "server", "security": _security(), "resource": [_resource(kind) for kind in TYPES]}],
        }
    )


def _resource(kind: str) -> dict[str, Any]:
    writes = ("create", "update", "vread", "history-instance") if kind in WRITABLE else ()
    described: dict[str, Any] = {
        "type": kind,
        "interaction": [{"code": code} for code in ("read", "search-type", *writes)],
        "searchParam": [{"name": name, "type": _KINDS.get(how, how)} for name, (how, _) in PARAMETERS[kind].items()],
    }
    if writes:
        described |= {"versioning": "versioned-update", "updateCreate": False, "conditionalCreate": True}
    return described


def _security() -> dict[str, Any]:
    base: str = current_app.config["BASE_URL"]
    addresses = [{"url": name, "valueUri": f"{base}/oauth/{name}"} for name in ("authorize", "token", "revoke")]
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": addresses}],
        "service": [{"coding": [{"system": "http://hl7.org/fhir/restful-security-service", "code": "SMART-on-FHIR"}]}],
        "description": "Every call needs a Bearer access token of this server, limited by SMART scopes.",
    }

"""Which payers this app can ask, for EHRs that decide whether to launch it (AP-33)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from smart_app.registry import PayerProfile
from smart_app.web.parts import parts

blueprint = Blueprint("payers", __name__)

_LIST_PROFILE = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/dtr-supported-payers"


@blueprint.get("/supported-payers")
def supported_payers() -> Response:
    """``{"payers": [...]}``, or as the FHIR List of DTR 2.2 to who asks for FHIR."""
    payers = [each for each in parts().registry.payers.values() if each.enabled]
    kind = request.accept_mimetypes.best_match(["application/json", "application/fhir+json"])
    if kind == "application/fhir+json":
        response = jsonify(_as_list(payers))
        response.mimetype = "application/fhir+json"
    else:
        response = jsonify(payers=[{"id": _id(each), "name": each.name} for each in payers])
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Vary"] = "Accept"
    return response


def _id(payer: PayerProfile) -> str:
    """What the payer's Organization is known by, else our own name for it."""
    return next((each.partition("|")[2] for each in payer.identifiers), payer.id)


def _as_list(payers: list[PayerProfile]) -> dict[str, Any]:
    return {
        "resourceType": "List",
        "meta": {"profile": [_LIST_PROFILE]},
        "status": "current",
        "mode": "snapshot",
        "title": "Payers that this app can ask",
        "entry": [{"item": _item(each)} for each in payers],
    }


def _item(payer: PayerProfile) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "Organization", "display": payer.name}
    if payer.identifiers:
        system, _, value = payer.identifiers[0].partition("|")
        item["identifier"] = {"system": system, "value": value}
    return item

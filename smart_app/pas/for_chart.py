"""A decision as it can stand in the EHR by itself."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import msgspec

from cds_service.fhir.concepts import dicts
from smart_app.pas.closure import Resource

_URIS = "urn:ietf:rfc:3986"
_ENCODE = msgspec.json.Encoder(decimal_format="number").encode


def for_chart(response: Resource, patient: str) -> tuple[Resource, str]:
    """A copy that stands by itself in the EHR, and the search by which the EHR recognises just this decision.

    References to what stayed at the payer become words. ``patient`` is the reference of the patient at the EHR. The
    payer's own identifiers cannot be the search: some name none, some keep one through all decisions of a case.
    """

    def walked(value: Any) -> Any:
        if isinstance(value, list):
            return [walked(each) for each in value]
        if not isinstance(value, dict):
            return value
        copy = {name: walked(each) for name, each in value.items()}
        if isinstance(copy.get("reference"), str):
            name = copy.pop("reference")
            copy.setdefault("display", name.partition("/")[0] if "/" in name else "Named in the payer's answer")
        return copy

    copy: Resource = walked({name: value for name, value in response.items() if name != "id"})
    copy["patient"] = {"reference": patient}
    name = f"urn:uuid:{uuid5(NAMESPACE_OID, sha256(_ENCODE(response)).hexdigest())}"
    copy["identifier"] = [*dicts(copy.get("identifier")), {"system": _URIS, "value": name}]
    return copy, f"identifier={_URIS}|{name}"

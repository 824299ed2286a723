"""The electronic signature of a response (requirement AP-28).

What is signed is the response's canonical JSON (RFC 8785) without its own signatures, ``meta`` and narrative, which a
server may change; FHIR calls this form ``#static``. The signature itself is a detached JWS of the app's key over
those bytes: it says that the named person, signed in through the EHR, signed this content at this moment in this app.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import rfc8785

from cds_service.fhir.concepts import dicts
from smart_app.dtr.urls import SIGNATURE
from smart_app.dtr.wire import Resource, person
from smart_app.sdc.filling import Author

_UNSIGNED = frozenset({"meta", "text"})
_AUTHOR_SIGNATURE = {"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}

Sign = Callable[[bytes], str]  # payload -> compact JWS with detached payload


def canonical_bytes(response: Mapping[str, Any]) -> bytes:
    """What a signature covers."""
    return rfc8785.dumps(_plain({key: _bare(value) for key, value in response.items() if key not in _UNSIGNED}))


def signed(response: Mapping[str, Any], author: Author, when: datetime, sign: Sign) -> Resource:
    """The response with the author's signature on it, any earlier one replaced."""
    bare = {**response, "extension": _others(response)}
    if not bare["extension"]:
        del bare["extension"]
    signature = {
        "type": [_AUTHOR_SIGNATURE],
        "when": when.isoformat(timespec="seconds"),
        "who": person(author),
        "targetFormat": "application/fhir+json;canonicalization=http://hl7.org/fhir/canonicalization/json#static",
        "sigFormat": "application/jose",
        "data": base64.b64encode(sign(canonical_bytes(bare)).encode()).decode(),
    }
    return {**bare, "extension": [*_others(response), {"url": SIGNATURE, "valueSignature": signature}]}


def _others(resource: Mapping[str, Any]) -> list[Resource]:
    return [each for each in dicts(resource.get("extension")) if each.get("url") != SIGNATURE]


def _bare(value: Any) -> Any:
    """Without signatures at any level; an ``extension`` that is empty then is left out as FHIR demands."""
    if isinstance(value, list):
        return [_bare(one) for one in value if not (isinstance(one, Mapping) and one.get("url") == SIGNATURE)]
    if isinstance(value, Mapping):
        held = {key: _bare(one) for key, one in value.items()}
        return {key: one for key, one in held.items() if not (key == "extension" and one == [])}
    return value


def _plain(value: Any) -> Any:
    """RFC 8785 knows the numbers of JavaScript only."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value

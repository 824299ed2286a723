"""A ClaimResponse as the payer's systems get it, cut out of the stored response Bundle byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from cds_service.errors import MalformedRequest
from cds_service.fhir.json import parse

_UUID = "urn:uuid:"
# What a server adds or rewrites when it stores a resource; everything else must be as we sent it.
_SERVERS_OWN = frozenset({"id", "meta", "text"})


class Unsendable(Exception):
    """A stored response that cannot be delivered. ``reason`` is a word of a closed list."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Parcel(msgspec.Struct, frozen=True):
    """One ClaimResponse: its own bytes, its id, and the business identifier by which a repeat is known (D02)."""

    bundle: bytes
    resource: bytes
    id: str
    system: str
    value: str


class _Entry(msgspec.Struct, frozen=True):
    resource: msgspec.Raw
    fullUrl: str = ""  # noqa: N815 - FHIR's name


class _Bundle(msgspec.Struct, frozen=True):
    entry: list[_Entry]


class _Identifier(msgspec.Struct, frozen=True):
    system: str = ""
    value: str = ""


class _Named(msgspec.Struct, frozen=True):
    resourceType: str  # noqa: N815 - FHIR's name
    id: str = ""
    identifier: list[_Identifier] | _Identifier = []


_BUNDLE = msgspec.json.Decoder(_Bundle)
_NAMED = msgspec.json.Decoder(_Named)


def parcel(payload: bytes) -> Parcel:
    """The ClaimResponse that leads a response Bundle.

    Raises:
        Unsendable: there is none, or it lacks what makes a repeat recognisable.
    """
    try:
        entry = _BUNDLE.decode(payload).entry
        resource = bytes(entry[0].resource)
        named = _NAMED.decode(resource)
    except (msgspec.MsgspecError, IndexError):
        raise Unsendable("not_a_response_bundle") from None
    identifier = _identifier(named)
    if named.resourceType != "ClaimResponse" or identifier is None:
        raise Unsendable("no_claim_response")
    return Parcel(payload, resource, named.id, identifier.system, identifier.value)


def transaction(payload: bytes) -> bytes:
    """The response Bundle as a transaction: each resource created unless one with its identifier is there (D03).

    A resource without identifier is put under the UUID of its ``fullUrl``; one with neither is created.
    """
    entries = []
    for entry in _BUNDLE.decode(payload).entry:
        request = _request(_NAMED.decode(entry.resource), entry.fullUrl)
        entries.append({"fullUrl": entry.fullUrl, "resource": entry.resource, "request": request})
    return msgspec.json.encode({"resourceType": "Bundle", "type": "transaction", "entry": entries})


def same_content(ours: bytes, theirs: Mapping[str, Any]) -> bool:
    """Whether what a server holds is what we sent, apart from what servers rewrite themselves."""
    return _content(parse(ours, max_bytes=len(ours))) == _content(theirs)


def matches(body: bytes) -> list[Mapping[str, Any]] | None:
    """The ClaimResponses in the answer to a read or a search; None for anything else."""
    try:
        found = parse(body, max_bytes=len(body) or 1)
    except MalformedRequest:
        return None
    if not isinstance(found, dict):
        return None
    if found.get("resourceType") == "ClaimResponse":
        return [found]
    if found.get("resourceType") != "Bundle" or not isinstance(found.get("entry", []), list):
        return None
    resources = [entry.get("resource") for entry in found.get("entry", []) if isinstance(entry, dict)]
    return [each for each in resources if isinstance(each, dict) and each.get("resourceType") == "ClaimResponse"]


def _identifier(named: _Named) -> _Identifier | None:
    given = named.identifier if isinstance(named.identifier, list) else [named.identifier]
    return next((each for each in given if each.system and each.value), None)


def _request(named: _Named, full_url: str) -> dict[str, str]:
    identifier = _identifier(named)
    if identifier is not None:
        token = f"{_token(identifier.system)}|{_token(identifier.value)}"
        return {"method": "POST", "url": named.resourceType, "ifNoneExist": f"identifier={token}"}
    if full_url.startswith(_UUID):
        return {"method": "PUT", "url": f"{named.resourceType}/{full_url.removeprefix(_UUID)}"}
    return {"method": "POST", "url": named.resourceType}


def _token(text: str) -> str:
    """A part of a search token: what separates tokens and parameters is escaped."""
    return quote(text, safe="")


def _content(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name not in _SERVERS_OWN}

"""Draft orders with their own text, so that what goes back is what came (cds-hooks-crd 139; reliability 54-56)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.errors import MalformedRequest, TooLarge
from cds_service.fhir.json import draft_texts

_WHERE = "context.draftOrders"


class Limits(msgspec.Struct, frozen=True):
    """How much one call may hold."""

    max_bytes: int = 5_000_000
    max_entries: int = 2_000


class Draft(msgspec.Struct, frozen=True):
    """One resource of draftOrders: parsed, and byte for byte as it was sent."""

    resource: dict[str, Any]
    raw: bytes
    full_url: str
    source: str  # "MedicationRequest/draft-1"; the fullUrl where the resource has no id


class _RawEntry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"null")


class _RawBundle(msgspec.Struct):
    entry: list[_RawEntry] = []


class _RawPrefetch(msgspec.Struct):
    prefetch: dict[str, msgspec.Raw] = {}


_raw_prefetch = msgspec.json.Decoder(_RawPrefetch)
_raw_bundle = msgspec.json.Decoder(_RawBundle)


def read_drafts(context: Mapping[str, Any], body: bytes, limits: Limits) -> tuple[Draft, ...]:
    """The entries of ``context.draftOrders``. Raises MalformedRequest naming the entry, or TooLarge."""
    bundle = context.get("draftOrders")
    if bundle is None:
        raise MalformedRequest(
            "context.draftOrders is missing; some EHRs leave it out unless the app may read unsigned orders",
            expression=_WHERE,
        )
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise MalformedRequest("context.draftOrders must be a Bundle", expression=_WHERE)
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise MalformedRequest("entry must be a list", expression=f"{_WHERE}.entry")
    if len(entries) > limits.max_entries:
        raise TooLarge(f"context.draftOrders holds more than {limits.max_entries} entries", expression=_WHERE)
    _check_entries(entries)
    texts = draft_texts(body) if entries else ()
    drafts = tuple(_draft(index, entry, text) for index, (entry, text) in enumerate(zip(entries, texts, strict=True)))
    if len({draft.source for draft in drafts}) < len(drafts):
        raise MalformedRequest("two entries have the same type and id", expression=f"{_WHERE}.entry")
    return drafts


def _check_entries(entries: list[Any]) -> None:
    for index, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            where = f"{_WHERE}.entry[{index}].resource"
            raise MalformedRequest(f"{where} must be a FHIR resource", expression=where)


def _draft(index: int, entry: Mapping[str, Any], raw: bytes) -> Draft:
    resource = entry["resource"]
    ident, full_url = resource.get("id"), entry.get("fullUrl")
    if not isinstance(full_url, str):
        full_url = ""
    where = f"{_WHERE}.entry[{index}].resource.id"
    if ident is None:
        return Draft(resource, raw, full_url, full_url or f"{resource['resourceType']}/#{index}")
    if not isinstance(ident, str) or not 0 < len(ident) <= 255:
        raise MalformedRequest(f"{where} must be a text of at most 255 characters", expression=where)
    return Draft(resource, raw, full_url, f"{resource['resourceType']}/{ident}")


def read_dispatched(prefetch: Mapping[str, Any], body: bytes, orders: tuple[str, ...]) -> tuple[Draft, ...]:
    """The dispatched orders that prefetch holds; the others are still to be read from the EHR."""
    wanted = set(orders)
    drafts: dict[str, Draft] = {}
    raws: Mapping[str, msgspec.Raw] = _raw_prefetch.decode(body).prefetch if prefetch else {}
    for key, value in prefetch.items():
        for resource, raw in _with_text(value, raws[key]):
            source = f"{resource.get('resourceType')}/{resource.get('id')}"
            if source in wanted and source not in drafts:
                drafts[source] = Draft(resource, raw, "", source)
    return tuple(drafts[order] for order in orders if order in drafts)


def _with_text(value: object, raw: msgspec.Raw) -> list[tuple[dict[str, Any], bytes]]:
    """Every resource of one prefetch value with its text."""
    if not isinstance(value, dict):
        return []
    if value.get("resourceType") != "Bundle":
        return [(value, bytes(raw))]
    entries = value.get("entry")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return []
    texts = _raw_bundle.decode(raw).entry
    pairs = zip(entries, texts, strict=True)
    return [(e["resource"], bytes(text.resource)) for e, text in pairs if isinstance(e.get("resource"), dict)]

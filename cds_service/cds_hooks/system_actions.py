"""The order as the client wrote it, with our coverage-information in it and nothing else changed (138-144)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.cds_hooks.drafts import Draft
from cds_service.fhir.coverage_information import URL
from cds_service.fhir.json import members

DESCRIPTION = "Adds the payer's coverage information to the order"
_IDENTITY = frozenset({"date", "coverage-assertion-id"})  # change from day to day while the content stays
_list = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_comparable = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


def update_order(draft: Draft, information: Mapping[str, Any], fhir_server: str | None = None) -> dict[str, Any] | None:
    """The system action that puts ``information`` on the order, or None where the order already says the same.

    Assertions of ours about the same Coverage that say something else are replaced; all other extensions, other
    payers' among them, keep their place and their text. The resource is Raw: numbers keep their digits.
    """
    present = draft.resource.get("extension")
    extensions = present if isinstance(present, list) else []
    coverage = _coverage(information)
    older = [
        index
        for index, extension in enumerate(extensions)
        if isinstance(extension, dict)
        and extension.get("url") == URL
        and _same_reference(_coverage(extension), coverage, fhir_server)
    ]
    if len(older) == 1 and _content(extensions[older[0]]) == _content(information):
        return None
    text = _encode(information)
    listed = "extension" in draft.resource
    raw = _with_extensions(draft.raw, older, text) if listed else _with_extension(draft.raw, text)
    return {"type": "update", "description": DESCRIPTION, "resource": msgspec.Raw(raw)}


def _with_extension(order: bytes, extension: bytes) -> bytes:
    """The order's text with one member more at its end."""
    end = order.rindex(b"}")
    return b'%b,"extension":[%b]}' % (order[:end].rstrip(), extension)


def _with_extensions(order: bytes, without: list[int], extension: bytes) -> bytes:
    """The order's text member by member, its extension list without ``without`` and with ``extension``."""
    parts = []
    for name, value in members(order).items():
        text = bytes(value)
        if name == "extension":
            gone = set(without)
            kept = _list.decode(value) if text.startswith(b"[") else []  # anything else is no FHIR
            texts = [bytes(each) for index, each in enumerate(kept) if index not in gone]
            text = b"[%b]" % b",".join([*texts, extension])
        parts.append(_encode(name) + b":" + text)
    return b"{%b}" % b",".join(parts)


def _coverage(extension: Mapping[str, Any]) -> str:
    """The Coverage reference of one coverage-information extension, "" where it has none."""
    for part in _parts(extension):
        if part.get("url") == "coverage":
            reference = part.get("valueReference")
            value = reference.get("reference") if isinstance(reference, dict) else None
            return value if isinstance(value, str) else ""
    return ""


def _parts(extension: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = extension.get("extension")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _content(extension: Mapping[str, Any]) -> list[bytes]:
    """What an assertion says, for comparison: order of parts, date, id and the spelling of the reference aside."""
    return sorted(
        _comparable(part)
        for part in _parts(extension)
        if part.get("url") not in _IDENTITY and part.get("url") != "coverage"
    )


def _same_reference(left: str, right: str, fhir_server: str | None) -> bool:
    """Whether two references name the same Coverage on the client's own server, absolute or relative, any version."""
    return bool(left) and _relative(left, fhir_server) == _relative(right, fhir_server)


def _relative(reference: str, fhir_server: str | None) -> str:
    if fhir_server:
        reference = reference.removeprefix(fhir_server.rstrip("/") + "/")
    return reference.partition("/_history/")[0]

"""A PAS Bundle with its entries found by fullUrl: what a reference in one entry means (PAS spec-13, spec-14)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word

Resource = dict[str, Any]

_VERSION = re.compile(r"/_history/[A-Za-z0-9.\-]{1,64}\Z")
_LOCAL = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9_~.\-]{1,512}")
_ABSOLUTE = ("http://", "https://", "urn:")


class Entry(msgspec.Struct, frozen=True):
    """One entry. ``url`` and ``kind`` are "" where they are missing."""

    index: int
    url: str
    kind: str
    resource: Resource


class PasBundle(msgspec.Struct, frozen=True):
    """A Bundle whose entries may be looked up."""

    raw: Resource
    entries: tuple[Entry, ...]
    by_url: Mapping[str, tuple[Entry, ...]]
    by_name: Mapping[str, tuple[Entry, ...]]  # "Type/id", for senders that mix urn: URLs with relative references

    @property
    def claim(self) -> Entry:
        """The first entry; the gate has seen that it is a Claim."""
        return self.entries[0]

    def found(self, reference: Any, origin: Entry) -> tuple[Entry, ...] | None:
        """The entries that a Reference in ``origin`` means.

        Empty: nothing; several: it is not clear which; None: it names nothing here (contained, identifier, display).
        """
        text = reference.get("reference") if type(reference) is dict else reference
        if type(text) is not str or text.startswith("#"):
            return None
        plain = _VERSION.sub("", text)
        if plain.startswith(_ABSOLUTE):
            return self.by_url.get(plain.lower() if plain.startswith("urn:") else plain, ())
        if origin.url.startswith("urn:"):
            return self.by_name.get(plain, ())
        return self.by_url.get(base_of(origin) + plain, ())

    def one(self, reference: Any, origin: Entry) -> Entry | None:
        """The one entry that is meant, or None."""
        found = self.found(reference, origin)
        return found[0] if found and len(found) == 1 else None

    def of(self, *kinds: str) -> Iterator[Entry]:
        """Entries of some types."""
        return (entry for entry in self.entries if entry.kind in kinds)


def base_of(entry: Entry) -> str:
    """What precedes ``Type/id`` in a fullUrl, with the slash; "" for a urn."""
    parts = entry.url.rsplit("/", 2)
    return f"{parts[0]}/" if len(parts) == 3 else ""


def read_bundle(raw: Resource) -> PasBundle:
    """Index a Bundle; entries without resource keep their place and are of no type."""
    entries = []
    by_url: dict[str, tuple[Entry, ...]] = {}
    by_name: dict[str, tuple[Entry, ...]] = {}
    listed = raw.get("entry")
    for index, held in enumerate(listed if type(listed) is list else ()):
        each = held if type(held) is dict else {}
        resource = each.get("resource")
        resource = resource if type(resource) is dict else {}
        entry = Entry(index, word(each.get("fullUrl")), word(resource.get("resourceType")), resource)
        entries.append(entry)
        url = entry.url.lower() if entry.url.startswith("urn:") else entry.url
        if url:
            by_url[url] = (*by_url.get(url, ()), entry)
        name = f"{entry.kind}/{word(resource.get('id'))}"
        by_name[name] = (*by_name.get(name, ()), entry)
    return PasBundle(raw, tuple(entries), by_url, by_name)


def references(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, text) of every Reference below a value; contained resources are passed over."""
    if type(value) is dict:
        text = value.get("reference")
        if type(text) is str:
            yield path, text
        for key, below in value.items():
            if type(below) in {dict, list} and key not in {"contained", "text"}:
                yield from references(below, f"{path}.{key}")
    elif type(value) is list:
        for number, below in enumerate(value):
            if type(below) in {dict, list}:
                yield from references(below, f"{path}[{number}]")


def identifier_of(value: Any) -> str:
    """An Identifier as ``system|value``; "" where one of them is missing."""
    if type(value) is not dict:
        return ""
    system, text = word(value.get("system")).strip(), word(value.get("value")).strip()
    return f"{system}|{text}" if system and text else ""


def extensions(holder: Any, url: str) -> list[Resource]:
    """The extensions with one URL."""
    held = holder.get("extension") if type(holder) is dict else None
    return [each for each in dicts(held) if each.get("url") == url]


def has_code(concept: Any, system: str, code: str) -> bool:
    """Whether a CodeableConcept has this code."""
    if type(concept) is not dict:
        return False
    return any(each.get("system") == system and each.get("code") == code for each in dicts(concept.get("coding")))

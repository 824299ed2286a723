"""The entries of a PAS Bundle as one chart: every resource with an id of its own, every reference as "Type/id".

Bundles name their entries by ``urn:uuid:`` or by URLs of one or more servers; the readers of charts know ids. What a
reference means is settled here once, by fullUrl, so that no reader guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.pas.bundle import Entry, PasBundle, base_of, identifier_of, read_bundle

Resource = dict[str, Any]

_NOBODY = "urn:not-of-this-request:"  # before the address of somebody who is not in the request


class Localized(msgspec.Struct, frozen=True):
    """``resources`` and ``names`` ("Type/id") by the index of the entry; ``inner``: contents of form Bundles."""

    resources: tuple[Resource, ...]
    names: tuple[str, ...]
    base: str | None  # of the one server that all entries are of, else None
    inner: tuple[Resource, ...] = ()

    def entry(self, entry: Entry | None) -> Resource | None:
        """The resource of an entry."""
        return None if entry is None else self.resources[entry.index]


def localize(bundle: PasBundle) -> Localized:
    """Resources by "Type/id"; those of a plain Bundle of one server are taken as they are."""
    base = base_of(bundle.claim)
    plain = bool(base) and all(
        each.url == f"{base}{each.kind}/{word(each.resource.get('id'))}" for each in bundle.entries
    )
    if plain and len(bundle.by_name) == len(bundle.entries):
        names = tuple(f"{each.kind}/{word(each.resource.get('id'))}" for each in bundle.entries)
        return Localized(tuple(each.resource for each in bundle.entries), names, base.rstrip("/"), _inner(bundle))
    names = _names(bundle)
    urls = {entry.index: names[entry.index] for entry in bundle.entries}
    resources = tuple(
        {**_rewritten(entry.resource, bundle, entry, urls), "id": names[entry.index].partition("/")[2]}
        for entry in bundle.entries
    )
    return Localized(resources, names, None, _inner(bundle))


def _names(bundle: PasBundle) -> tuple[str, ...]:
    """The entry's own "Type/id" where it has one that nobody else has, else one made of its place."""
    names = []
    for entry in bundle.entries:
        ident = word(entry.resource.get("id")) or entry.url.rsplit(":", 1)[-1].rsplit("/", 1)[-1]
        name = f"{entry.kind}/{ident}"
        names.append(name if name not in names else f"{name}-{entry.index}")
    return tuple(names)


def _rewritten(value: Any, bundle: PasBundle, origin: Entry, names: Mapping[int, str]) -> Any:
    if type(value) is dict:
        copy = {key: _rewritten(below, bundle, origin, names) for key, below in value.items()}
        if type(copy.get("reference")) is str:
            found = bundle.found(copy["reference"], origin)
            if found is not None and len(found) == 1:
                copy["reference"] = names[found[0].index]
        return copy
    if type(value) is list:
        return [_rewritten(each, bundle, origin, names) for each in value]
    return value


def _inner(bundle: PasBundle) -> tuple[Resource, ...]:
    """Forms inside Bundles that a supportingInfo names (DTR's QuestionnaireResponse Bundle)."""
    found: list[Resource] = []
    for entry in bundle.of("Bundle"):
        held = read_bundle(entry.resource)
        for each in held.of("QuestionnaireResponse"):
            outer = dict(each.resource)
            subject = outer.get("subject")
            if type(subject) is dict and type(subject.get("reference")) is str:
                outer["subject"] = {"reference": _patient(held, each, bundle, subject["reference"])}
            found.append(outer)
    return tuple(found)


def _patient(held: PasBundle, inside: Entry, bundle: PasBundle, text: str) -> str:
    """The subject as the outer Bundle names it; where it is not known to be the same person, a name of nobody here.

    The same person: the same fullUrl; else a Type/id that no server's address speaks against; else an inner Patient
    who shares an identifier with the outer one.
    """
    if text.startswith("#"):
        return text
    target = held.one(text, inside)
    url = target.url if target is not None else _absolute(inside, text)
    outer = bundle.by_url.get(url.lower() if url.startswith("urn:") else url, ())
    if not outer and target is not None:
        outer = tuple(each for each in bundle.of("Patient") if _named_alike(each, target))
    elif not outer and url == text and ":" not in text:
        outer = bundle.by_name.get(text, ())
    return _names(bundle)[outer[0].index] if len(outer) == 1 else f"{_NOBODY}{url}"


def _absolute(inside: Entry, text: str) -> str:
    return f"{base_of(inside)}{text}" if ":" not in text else text


def _named_alike(one: Entry, other: Entry) -> bool:
    """Whether two Patients share an identifier, or are the same words under two addresses."""
    held = {identifier_of(each) for each in dicts(one.resource.get("identifier"))} - {""}
    known = {identifier_of(each) for each in dicts(other.resource.get("identifier"))} - {""}
    return bool(held & known) if held and known else one.resource == other.resource

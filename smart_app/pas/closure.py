"""Every resource that a request names, and what those name in turn (P013): read once, filed under one address each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from cds_service.fhir.references import HOP_LIMIT, host_of, normal

Resource = dict[str, Any]
Read = Callable[[str], Resource | None]  # "Type/id" -> the resource, or None where it cannot be had

MOST = 200  # resources of one request; a chart is not a submission


class Gathered(msgspec.Struct, frozen=True):
    """Resources by full address, and the names ("Type/id") that could not be had."""

    resources: Mapping[str, Resource]
    absent: tuple[str, ...]


def gather(roots: Sequence[Resource], base: str, read: Read, *, patient: str) -> Gathered:
    """``roots`` and everything that they refer to at the EHR under ``base``, by address "<base>/Type/id".

    ``patient`` is the id of the patient of the launch: a resource that says it is about another one is left out.
    References to what is absent or elsewhere lose their ``reference`` and keep their words, so that each reference
    that is left resolves to exactly one entry.
    """
    found: dict[str, Resource] = {}
    absent: dict[str, None] = {}
    waiting = [(_name(root), root, 0) for root in roots]
    while waiting:
        name, resource, hops = waiting.pop(0)
        if name in found or len(found) >= MOST:
            continue
        found[name] = resource
        for named in dict.fromkeys(_local(reference, base) for reference in references(resource)):
            if named is None or named in found or named in absent or any(named == each[0] for each in waiting):
                continue
            got = read(named) if hops < HOP_LIMIT else None
            if got is None or _name(got) != named or not _of(got, patient):
                absent[named] = None
            else:
                waiting.append((named, got, hops + 1))
    kept = {name: _cut(resource, base, found) for name, resource in found.items()}
    return Gathered({f"{base}/{name}": resource for name, resource in kept.items()}, tuple(absent))


def references(value: Any) -> Iterator[str]:
    """Every ``reference`` of a resource, depth first, those into itself ("#...") left out."""
    if isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str) and not reference.startswith("#"):
            yield reference
        for name, inner in value.items():
            if name != "reference":
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def _local(reference: str, base: str) -> str | None:
    """Name ("Type/id") of a resource of this EHR, a version left off; None for anything elsewhere."""
    name = normal(reference, host_of(base))
    return name if name is not None and ":" not in name else None


def _cut(resource: Resource, base: str, found: Mapping[str, Resource]) -> Resource:
    """A copy whose references are all to what is in the request."""

    def walked(value: Any) -> Any:
        if isinstance(value, list):
            return [walked(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        copy = {name: walked(inner) for name, inner in value.items()}
        reference = copy.get("reference")
        if isinstance(reference, str) and not reference.startswith("#"):
            name = _local(reference, base)
            if name is None or name not in found:
                del copy["reference"]
                if "display" not in copy and "identifier" not in copy:
                    copy["display"] = f"{name.partition('/')[0] if name else 'Resource'} not part of this request"
            else:
                copy["reference"] = name
        return copy

    copy: Resource = walked(resource)
    return copy


def _name(resource: Mapping[str, Any]) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}"


def _of(resource: Mapping[str, Any], patient: str) -> bool:
    """Whether it is about this patient, or about nobody."""
    if resource.get("resourceType") == "Patient":
        return resource.get("id") == patient
    for element in ("subject", "patient", "beneficiary"):
        held = resource.get(element)
        reference = held.get("reference") if isinstance(held, dict) else None
        if isinstance(reference, str) and "Patient/" in reference:
            return reference.rpartition("Patient/")[2].partition("/")[0] == patient
    return True

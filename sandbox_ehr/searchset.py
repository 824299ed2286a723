"""A search over the store, and its answer as searchset Bundles; without HTTP, so that prefetch is made of it too."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.search import SHARED_TYPES, matches, ordered
from sandbox_ehr.store import Store


def search_store(store: Store, resource_type: str, patient: str, query: list[tuple[str, str]]) -> list[Resource]:
    """All matches for one patient. Raises SearchRefused."""
    if resource_type == "Patient":
        own = store.read("Patient", patient)
        return matches(resource_type, [own] if own else [], query)
    held = store.shared(resource_type) if resource_type in SHARED_TYPES else store.of_patient(patient, resource_type)
    return ordered(resource_type, matches(resource_type, held, query), query)


def searchset(
    base: str, resource_type: str, query: list[tuple[str, str]], found: list[Resource], size: int, offset: int
) -> Resource:
    """One page of ``found`` as a searchset Bundle with self and next links."""
    kept = [(name, value) for name, value in query if name not in {"_offset", "_count"}]
    links = [{"relation": "self", "url": f"{base}/{resource_type}?{urlencode(query)}"}]
    if offset + size < len(found):
        following = [*kept, ("_count", str(size)), ("_offset", str(offset + size))]
        links.append({"relation": "next", "url": f"{base}/{resource_type}?{urlencode(following)}"})
    entries = [
        {
            "fullUrl": f"{base}/{resource_type}/{resource['id']}",
            "resource": resource,
            "search": {"mode": "match"},
        }
        for resource in found[offset : offset + size]
    ]
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links}
    if entries:
        bundle["entry"] = entries
    return bundle

"""Resolves a CDS service's published prefetch templates against the own store (CDS Hooks 2.0, root-level tokens)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.search import SHARED_TYPES, TYPES, SearchRefused, patient_of
from sandbox_ehr.searchset import search_store, searchset
from sandbox_ehr.store import Store

_TOKEN = re.compile(r"\{\{\s*([A-Za-z.]+)\s*\}\}")
_WHOLE = 10_000
MODES = ("full", "partial", "none")
PARTIAL_KEYS = frozenset({"patient", "coverage", "encounter"})


def resolve(
    store: Store, base: str, patient: str, templates: Mapping[str, str], context: Mapping[str, str], mode: str = "full"
) -> dict[str, Resource | None]:
    """Prefetch values by key. A key is left out where the template cannot be served here; None: nothing was found.

    ``mode``: "full"; "partial" (patient, coverage and encounter only, as some EHRs do); "none".
    """
    values: dict[str, Resource | None] = {}
    for key, template in templates.items():
        if mode == "none" or (mode == "partial" and key not in PARTIAL_KEYS):
            continue
        query = _filled(template, context)
        if query is None:
            continue
        try:
            values[key] = _run(store, base, patient, query)
        except SearchRefused:
            continue  # not a query of this server: the service sees an absent key and may ask by itself
    return values


def _filled(template: str, context: Mapping[str, str]) -> str | None:
    names = _TOKEN.findall(template)
    if any(name not in context for name in names):
        return None
    filled = _TOKEN.sub(lambda match: context[match[1]], template)
    return None if "{{" in filled else filled


def _run(store: Store, base: str, patient: str, query: str) -> Resource | None:
    path, question, parameters = query.partition("?")
    resource_type, _, ident = path.partition("/")
    if resource_type not in TYPES:
        raise SearchRefused(f"{resource_type} is not kept here")
    if question:
        pairs = parse_qsl(parameters, keep_blank_values=True)
        found = search_store(store, resource_type, patient, pairs)
        return searchset(base, resource_type, pairs, found, _WHOLE, 0)
    resource = store.read(resource_type, ident)
    if resource is None or (resource_type not in SHARED_TYPES and patient_of(resource) != patient):
        return None
    return resource

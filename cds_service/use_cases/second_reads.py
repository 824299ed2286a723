"""What the first reads name but do not hold: an order's Medication or Encounter, a Coverage's payer, a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.prefetch import readable_types
from cds_service.domain.record import Availability
from cds_service.fhir.chart import Chart
from cds_service.ports import Grant

MOST = 24  # further reads for one call; what lies beyond stays unknown

_Elements = tuple[tuple[str, tuple[str, ...]], ...]
# resource type -> elements that hold references, and the types worth reading through them
_NAMES: Mapping[str, _Elements] = {
    "MedicationRequest": (
        ("medicationReference", ("Medication",)),
        ("insurance", ("Coverage",)),
        ("reasonReference", ("Condition",)),
    ),
    "MedicationStatement": (("medicationReference", ("Medication",)),),
    "MedicationDispense": (("medicationReference", ("Medication",)),),
    "MedicationAdministration": (("medicationReference", ("Medication",)),),
    "ServiceRequest": (("insurance", ("Coverage",)), ("reasonReference", ("Condition",))),
    "DeviceRequest": (
        ("codeReference", ("Device",)),
        ("insurance", ("Coverage",)),
        ("reasonReference", ("Condition",)),
    ),
    "Coverage": (("payor", ("Organization",)),),
    "DeviceUseStatement": (("device", ("Device",)),),
}
_CHART = (
    "Coverage",
    "MedicationRequest",
    "MedicationStatement",
    "MedicationDispense",
    "MedicationAdministration",
    "DeviceUseStatement",
)
# The chart's own orders name encounters that are over; a draft's tells in which setting it is written.
_ENCOUNTER = (("encounter", ("Encounter",)),)


def still_named(chart: Chart, drafts: Sequence[Draft], known: Iterable[str]) -> dict[str, str]:
    """Names ("Type/id") that are neither held nor asked for yet, with their types; the drafts' own come first."""
    found: dict[str, str] = {}
    asked = frozenset(known)
    for resource, elements in _in_order(chart, drafts):
        for element, kinds in elements:
            for reference in _references(resource.get(element)):
                name = chart.normal(reference)
                if name is None or name in asked or name in found or chart.resolve(reference, resource) is not None:
                    continue
                kind = name.partition("/")[0]
                if kind in kinds:
                    found[name] = kind
                    if len(found) == MOST:
                        return found
    return found


def lent_for(grant: Grant, named: Mapping[str, str]) -> list[str]:
    """Those of ``named`` that the scopes of the token let us read; all where the scopes are not plain SMART."""
    types = readable_types(grant.scope) if grant.access_token is not None else None
    return [name for name, kind in named.items() if types is None or "*" in types or kind in types]


def _in_order(chart: Chart, drafts: Sequence[Draft]) -> Iterator[tuple[Mapping[str, Any], _Elements]]:
    # Without context.encounterId nobody asked for an Encounter yet; otherwise that one counts, found or not.
    further = _ENCOUNTER if chart.seen("Encounter") is Availability.NOT_ASKED else ()
    for draft in drafts:
        elements = _NAMES.get(draft.resource["resourceType"])
        if elements is not None:
            yield draft.resource, (*elements, *further)
    for kind in _CHART:
        for resource in chart.of(kind):
            yield resource, _NAMES[kind]


def _references(value: Any) -> Iterator[dict[str, Any]]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict) and isinstance(each.get("reference"), str):
            yield each

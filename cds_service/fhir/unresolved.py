"""References that a determination would follow but that nothing sent so far resolves; a use case may read them."""

from __future__ import annotations

from collections.abc import Iterator

from cds_service.fhir.chart import Chart
from cds_service.fhir.concepts import dicts

_DRUG_TYPES = ("MedicationRequest", "MedicationStatement", "MedicationDispense", "MedicationAdministration")


def unresolved(chart: Chart, *, limit: int = 20) -> tuple[str, ...]:
    """Up to ``limit`` reads "Type/id" on the EHR's own host: the drafts' first, then payers, then stored ones'."""
    names: dict[str, None] = {}
    for name in _wanted(chart):
        if len(names) == limit:
            break
        names[name] = None
    return tuple(names)


def _wanted(chart: Chart) -> Iterator[str]:
    for draft in chart.drafts:
        yield from _missing(chart, "Medication", draft.resource.get("medicationReference"), draft.resource)
        yield from _missing(chart, "Device", draft.resource.get("codeReference"), draft.resource)
        yield from _missing(chart, "Encounter", draft.resource.get("encounter"), draft.resource)
    for coverage in chart.of("Coverage"):
        for payor in dicts(coverage.get("payor")):
            yield from _missing(chart, "Organization", payor, coverage)
    for use in chart.of("DeviceUseStatement"):
        yield from _missing(chart, "Device", use.get("device"), use)
    for kind in _DRUG_TYPES:
        for resource in chart.of(kind):
            yield from _missing(chart, "Medication", resource.get("medicationReference"), resource)


def _missing(chart: Chart, kind: str, reference: object, container: dict[str, object]) -> Iterator[str]:
    name = chart.normal(reference)
    if name is not None and name.startswith(f"{kind}/") and chart.resolve(reference, container) is None:
        yield name

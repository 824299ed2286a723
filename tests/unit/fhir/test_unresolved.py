"""Which references are worth a read of the EHR."""

from __future__ import annotations

from cds_service.fhir.unresolved import unresolved
from tests.unit.fhir.charts import SERVER, SUBJECT, chart_of, order

COVERAGE = {"resourceType": "Coverage", "id": "c", "beneficiary": SUBJECT, "payor": [{"reference": "Organization/o"}]}


def test_drafts_first_then_payers_then_stored() -> None:
    draft = order(
        medicationReference={"reference": f"{SERVER}/Medication/m1/_history/2"}, encounter={"reference": "Encounter/e"}
    )
    stored = order("s", medicationReference={"reference": "Medication/m2"})
    chart = chart_of(COVERAGE, stored, drafts=[draft])
    assert unresolved(chart) == ("Medication/m1", "Encounter/e", "Organization/o", "Medication/m2")
    assert unresolved(chart, limit=1) == ("Medication/m1",)


def test_what_is_there_contained_or_elsewhere_is_not_asked() -> None:
    here = {"resourceType": "Medication", "id": "m1"}
    drafts = [
        order("a", medicationReference={"reference": "Medication/m1"}),
        order("b", medicationReference={"reference": "#m1"}),
        order("c", medicationReference={"reference": "https://elsewhere.example/fhir/Medication/m2"}),
        order("d", medicationReference={"reference": "Patient/p2"}),
        order("e", medicationReference={"identifier": {"value": "m3"}}),
    ]
    assert unresolved(chart_of(here, drafts=drafts)) == ()

"""What is read because something named it: each element once, drafts first, and only what nobody holds."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.cds_hooks.drafts import Draft
from cds_service.use_cases.second_reads import MOST, still_named
from tests.unit.fhir.charts import SUBJECT, chart_of, order


def far(kind: str, ident: str = "far") -> dict[str, Any]:
    return {"reference": f"{kind}/{ident}"}


def resource(kind: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": "r1", "subject": SUBJECT, "status": "active", **elements}


def named(*stored: dict[str, Any], drafts: tuple[dict[str, Any], ...] = (), **more: Any) -> list[str]:
    chart = chart_of(*stored, drafts=drafts, **more)
    return list(still_named(chart, [Draft(draft, b"", "", f"x/{draft['id']}") for draft in drafts], ()))


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (resource("MedicationStatement", medicationReference=far("Medication")), "Medication/far"),
        (resource("MedicationDispense", medicationReference=far("Medication")), "Medication/far"),
        (resource("MedicationAdministration", medicationReference=far("Medication")), "Medication/far"),
        (resource("DeviceUseStatement", device=far("Device")), "Device/far"),  # a pump in place, bought elsewhere
        (resource("Coverage", beneficiary=SUBJECT, payor=[far("Organization")]), "Organization/far"),
    ],
)
def test_what_the_chart_names(stored: dict[str, Any], found: str) -> None:
    assert named(stored) == [found]


@pytest.mark.parametrize("kind", ["MedicationRequest", "ServiceRequest", "DeviceRequest"])
def test_the_encounter_of_a_draft_where_the_call_names_none(kind: str) -> None:
    draft = resource(kind, status="draft", encounter=far("Encounter"))
    assert named(drafts=(draft,)) == ["Encounter/far"]


@pytest.mark.parametrize(
    "prefetch",
    [
        {"encounter": resource("Encounter", id="other")},
        {"encounter": None},  # the EHR looked for the one of the context, and found none
        {"encounter": {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}},
    ],
)
def test_the_encounter_of_the_call_counts_found_or_not(prefetch: dict[str, Any]) -> None:
    assert named(drafts=(order(encounter=far("Encounter")),), prefetch=prefetch) == []


def test_an_order_of_the_chart_was_written_in_an_encounter_that_is_over() -> None:
    assert named(order("m1", status="active", encounter=far("Encounter"))) == []


@pytest.mark.parametrize(
    "reference",
    [
        far("Patient"),  # not a type that this element is read for
        {"display": "a pump"},
        {"reference": "https://elsewhere.example.org/fhir/Device/far"},
        {"reference": "#far"},
        {"reference": 7},
        "Device/far",
        None,
    ],
)
def test_what_cannot_be_read_is_not_asked(reference: Any) -> None:
    assert named(resource("DeviceUseStatement", device=reference)) == []


def test_what_is_held_or_was_asked_is_not_asked_again() -> None:
    use = resource("DeviceUseStatement", device=far("Device"))
    assert named(use, resource("Device", id="far", patient=SUBJECT)) == []
    assert still_named(chart_of(use), (), ["Device/far"]) == {}


def test_drafts_come_first_and_there_is_an_end() -> None:
    uses = [resource("DeviceUseStatement", id=f"u{n}", device=far("Device", f"d{n}")) for n in range(MOST + 5)]
    found = named(*uses, drafts=(order(encounter=far("Encounter"), insurance=[far("Coverage")]),))
    assert found[:2] == ["Coverage/far", "Encounter/far"]
    assert len(found) == MOST

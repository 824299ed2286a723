"""The record: conditions, scores, procedures, devices, intolerances, orders, encounters (US Core 3.1.1 to 7.0.0)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from cds_service.domain.record import Availability, Code, Record
from cds_service.fhir.chart import Chart
from cds_service.fhir.record import read_record
from tests.unit.fhir.charts import ICD, SERVER, SNOMED, SUBJECT, chart_of, concept, condition, order, searchset

LOINC = "http://loinc.org"
CANONICAL = "https://cds.example.org/fhir/Questionnaire/09-J1000-31"


def read(*stored: dict[str, Any], drafts: tuple[dict[str, Any], ...] = ()) -> Record:
    return read_record(chart_of(*stored, drafts=drafts), questionnaire=CANONICAL)


def dropped_from(chart: Chart) -> list[tuple[str, str]]:
    dropped: list[tuple[str, str]] = []
    read_record(chart, questionnaire=CANONICAL, dropped=dropped)
    return dropped


def status(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": code}]}


CONDITIONS = [
    # (comment, elements, active, confirmed)
    ("active", {"clinicalStatus": status("active")}, True, True),
    ("recurrence", {"clinicalStatus": status("recurrence")}, True, True),
    ("relapse", {"clinicalStatus": status("relapse")}, True, True),
    ("inactive", {"clinicalStatus": status("inactive")}, False, True),
    ("remission", {"clinicalStatus": status("remission")}, False, True),
    ("resolved", {"clinicalStatus": status("resolved")}, False, True),
    ("encounter diagnosis without status", {}, True, True),
    ("abated, status forgotten", {"abatementDateTime": "2025-01-01"}, False, True),
    ("abated, status still active", {"clinicalStatus": status("active"), "abatementString": "2025"}, False, True),
    ("provisional", {"verificationStatus": status("provisional")}, True, False),
    ("differential", {"verificationStatus": status("differential")}, True, False),
    ("unconfirmed", {"verificationStatus": status("unconfirmed")}, True, False),
    ("confirmed", {"verificationStatus": status("confirmed")}, True, True),
]


@pytest.mark.parametrize(
    ("elements", "active", "confirmed"), [r[1:] for r in CONDITIONS], ids=[r[0] for r in CONDITIONS]
)
def test_condition_status(elements: dict[str, Any], *, active: bool, confirmed: bool) -> None:
    (found,) = read(condition(**elements)).conditions
    assert (found.active, found.confirmed) == (active, confirmed)


@pytest.mark.parametrize(
    ("elements", "recorded"),
    [
        ({"onsetDateTime": "2012-01", "recordedDate": "2012-02-03"}, date(2012, 1, 1)),
        ({"onsetPeriod": {"start": "2012-01-05"}}, date(2012, 1, 5)),
        ({"onsetString": "childhood", "recordedDate": "2012-02-03"}, date(2012, 2, 3)),
        ({}, None),
    ],
)
def test_condition_date_code_and_source(elements: dict[str, Any], recorded: date | None) -> None:
    (found,) = read(condition(**elements)).conditions
    assert found.recorded == recorded
    assert (found.source, found.codes, found.text) == ("Condition/c1", (Code(ICD, "G89.4"),), "Chronic pain syndrome")


@pytest.mark.parametrize("word", ["entered-in-error", "refuted"])
def test_errors_and_refuted_never_count(word: str) -> None:
    allergy = {"resourceType": "AllergyIntolerance", "id": "a", "patient": SUBJECT, "verificationStatus": status(word)}
    record = read(condition(verificationStatus=status(word)), allergy)
    assert (record.conditions, record.intolerances) == ((), ())


def observation(**elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "subject": SUBJECT,
        "code": concept(LOINC, "72514-3", "Pain severity 0-10"),
        "effectiveDateTime": "2026-01-10T08:00:00Z",
        **elements,
    }


def quantity(value: object, **more: Any) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "code": "{score}", **more}}


SCORES = [
    ("integer quantity", observation(**quantity(8)), [(Fraction(8), "{score}")]),
    ("exact decimal", observation(**quantity(Decimal("7.1"))), [(Fraction(71, 10), "{score}")]),
    ("valueInteger", observation(valueInteger=6), [(Fraction(6), "")]),
    ("at least 8 is no value", observation(**quantity(8, comparator=">=")), []),
    ("text is never parsed", observation(valueString="8"), []),
    ("a boolean is no number", observation(valueInteger=True), []),
    ("no value", observation(dataAbsentReason=concept("x", "unknown")), []),
    (
        "panel with items and total",
        observation(component=[{"code": concept(LOINC, "91147-9"), **quantity(5)}, {"valueString": "x"}]),
        [(Fraction(5), "{score}")],
    ),
]


@pytest.mark.parametrize(("entry", "values"), [r[1:] for r in SCORES], ids=[r[0] for r in SCORES])
def test_scores(entry: dict[str, Any], values: list[tuple[Fraction, str]]) -> None:
    assert [(score.value, score.unit) for score in read(entry).scores] == values


@pytest.mark.parametrize(
    ("elements", "when"),
    [
        ({}, date(2026, 1, 10)),
        ({"effectiveDateTime": None, "effectivePeriod": {"start": "2026-01-03"}}, date(2026, 1, 3)),
        ({"effectiveDateTime": None, "effectiveInstant": "2026-01-04T00:00:00Z"}, date(2026, 1, 4)),
        ({"effectiveDateTime": None, "issued": "2026-01-05T00:00:00Z"}, date(2026, 1, 5)),
    ],
)
def test_score_date(elements: dict[str, Any], when: date) -> None:
    entry = {key: value for key, value in observation(**quantity(8), **elements).items() if value is not None}
    (score,) = read(entry).scores
    assert score.when == when


def test_scores_that_say_nothing_are_named() -> None:
    cancelled, undated = observation(status="cancelled", **quantity(8)), observation(**quantity(8))
    undated["id"] = "o2"
    del undated["effectiveDateTime"]
    assert dropped_from(chart_of(cancelled, undated)) == [("Observation", "not_final"), ("Observation", "undated")]


def procedure(**elements: Any) -> dict[str, Any]:
    code = concept("http://www.ama-assn.org/go/cpt", "62362")
    return {"resourceType": "Procedure", "id": "p", "subject": SUBJECT, "status": "completed", "code": code, **elements}


def test_procedures() -> None:
    (found,) = read(
        procedure(performedPeriod={"start": "2025-12-01", "end": "2025-12-03"}, outcome={"text": "good"})
    ).procedures
    assert (found.done, found.when, found.outcome) == (True, date(2025, 12, 1), "good")
    (found,) = read(procedure(status="in-progress", performedDateTime="2025-12")).procedures
    assert (found.done, found.when) == (False, date(2025, 12, 1))
    assert dropped_from(chart_of(procedure(status="not-done"))) == [("Procedure", "not_done")]
    assert read(procedure(status="not-done")).procedures == ()


PUMP = concept(SNOMED, "360129009", "Implantable infusion pump")


def device(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Device", "id": "dev", "patient": SUBJECT, "status": "active", "type": PUMP, **elements}


def use(**elements: Any) -> dict[str, Any]:
    held = {"reference": "Device/dev"}
    return {
        "resourceType": "DeviceUseStatement",
        "id": "u",
        "subject": SUBJECT,
        "status": "active",
        "device": held,
        **elements,
    }


def test_devices_and_their_use() -> None:
    (found,) = read(device()).devices
    assert (found.source, found.codes, found.active) == ("Device/dev", (Code(SNOMED, "360129009"),), True)
    assert read(device(status="inactive")).devices[0].active is False
    used, held = read(device(), use(timingPeriod={"start": "2025-01-02"})).devices
    assert (used.source, used.codes, used.active, used.when) == (
        "DeviceUseStatement/u", (Code(SNOMED, "360129009"),), True, date(2025, 1, 2),
    )  # fmt: skip
    assert held.active


@pytest.mark.parametrize("elements", [{"status": "completed"}, {"status": "stopped"}])
def test_a_removed_device_is_not_in_the_patient(elements: dict[str, Any]) -> None:
    assert [found.active for found in read(device(), use(**elements)).devices] == [False, False]


def test_a_device_in_use_again_is_active() -> None:
    again = use(id="u2")
    assert [found.active for found in read(device(), use(status="stopped"), again).devices] == [False, True, True]


def test_device_names_and_intended_use() -> None:
    named = device(deviceName=[{"name": "SynchroSample II", "type": "user-friendly-name"}])
    del named["type"]
    assert read(named).devices[0].text == "SynchroSample II"
    assert dropped_from(chart_of(use(status="intended"))) == [("DeviceUseStatement", "intended")]
    assert read(use(device={"display": "intrathecal pump"})).devices[0].text == "intrathecal pump"


def test_intolerances() -> None:
    entry = {
        "resourceType": "AllergyIntolerance",
        "id": "a",
        "patient": SUBJECT,
        "type": "intolerance",
        "code": concept("http://www.nlm.nih.gov/research/umls/rxnorm", "7052", "morphine"),
        "reaction": [{"substance": concept("http://www.nlm.nih.gov/research/umls/rxnorm", "7804")}],
        "recordedDate": "2025-05-05",
        "clinicalStatus": status("active"),
    }
    (found,) = read(entry).intolerances
    assert [code.code for code in found.codes] == ["7052", "7804"]
    assert (found.kind, found.active, found.when) == ("intolerance", True, date(2025, 5, 5))
    assert read({**entry, "clinicalStatus": status("resolved")}).intolerances[0].active is False


def service(ident: str = "s1", kind: str = "ServiceRequest", **elements: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": ident, "subject": SUBJECT, "status": "active", "intent": "order", **elements}


def test_service_orders_drafts_first() -> None:
    cpt = concept("http://www.ama-assn.org/go/cpt", "62350")
    stored = service(code=cpt, authoredOn="2026-01-02")
    pump = service("d1", "DeviceRequest", status="draft", codeCodeableConcept=PUMP)
    draft, old = read(stored, drafts=(pump, order())).service_orders
    assert (draft.source, draft.draft, draft.active, draft.codes[0].code) == (
        "DeviceRequest/d1",
        True,
        True,
        "360129009",
    )
    assert (old.source, old.draft, old.active, old.when) == ("ServiceRequest/s1", False, True, date(2026, 1, 2))


@pytest.mark.parametrize(
    ("elements", "active"),
    [({}, True), ({"status": "revoked"}, False), ({"status": "completed"}, False), ({"intent": "plan"}, False)],
)
def test_stored_service_orders_count_while_active(elements: dict[str, Any], *, active: bool) -> None:
    assert read(service(**elements)).service_orders[0].active is active


def test_service_order_of_a_referenced_device_and_one_not_to_be_done() -> None:
    referring = service(kind="DeviceRequest", codeReference={"reference": "Device/dev"})
    assert read(device(), referring).service_orders[0].codes == (Code(SNOMED, "360129009"),)
    assert dropped_from(chart_of(service(doNotPerform=True))) == [("ServiceRequest", "do_not_perform")]


def test_encounters() -> None:
    entry = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "in-progress",
        "subject": SUBJECT,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [concept(SNOMED, "185349003")],
        "reasonCode": [concept(ICD, "Z51.5")],
        "period": {"start": "2026-03-02T09:00:00Z"},
    }
    (found,) = read(entry).encounters
    assert (found.classes, found.when) == (("AMB",), date(2026, 3, 2))
    assert [code.code for code in found.codes] == ["AMB", "185349003", "Z51.5"]
    assert dropped_from(chart_of({**entry, "status": "cancelled"})) == [("Encounter", "cancelled")]


def test_birth_date_and_availability() -> None:
    record = read({"resourceType": "Patient", "id": "p1", "birthDate": "1961-03-14"})
    assert record.birth_date == date(1961, 3, 14)
    assert record.patient_id == "p1"
    assert record.availability["Patient"] is Availability.COMPLETE
    assert record.availability["Observation"] is Availability.NOT_ASKED
    assert read({"resourceType": "Patient", "id": "p1", "birthDate": "1961"}).birth_date is None


US_CORE_PROBLEMS = [
    ("3.1.1", "us-core-condition", [{"coding": [{"code": "problem-list-item"}]}]),
    ("6.1.0", "us-core-condition-problems-health-concerns", [{"coding": [{"code": "problem-list-item"}]}]),
    ("7.0.0", "us-core-condition-encounter-diagnosis", [{"coding": [{"code": "encounter-diagnosis"}]}]),
]


@pytest.mark.parametrize(("version", "profile", "category"), US_CORE_PROBLEMS)
def test_us_core_versions_read_alike(version: str, profile: str, category: list[dict[str, Any]]) -> None:
    meta = {"profile": [f"http://hl7.org/fhir/us/core/StructureDefinition/{profile}|{version}"]}
    asserted = [
        {"url": "http://hl7.org/fhir/StructureDefinition/condition-assertedDate", "valueDateTime": "2020-01-01"}
    ]
    subject = {"reference": f"{SERVER}/Patient/p1"}
    entry = condition(
        meta=meta, category=category, clinicalStatus=status("active"), extension=asserted, subject=subject,
        verificationStatus=status("confirmed"), recordedDate="2020-01-02",
    )  # fmt: skip
    (found,) = read_record(chart_of(prefetch={"conditions": searchset(entry)}), questionnaire=CANONICAL).conditions
    assert (found.active, found.confirmed, found.recorded) == (True, True, date(2020, 1, 2))

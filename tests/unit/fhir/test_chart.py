"""The chart: the patient gate, what could be seen, and references (reliability rows 65-78; cds-hooks-crd 37-43)."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.domain.record import Availability
from cds_service.errors import PatientMismatch
from cds_service.fhir.bundles import contents
from cds_service.fhir.chart import Chart, Dropped, build_chart
from cds_service.ports import Fetched
from tests.unit.fhir.charts import PATIENT, SERVER, SUBJECT, WANTED, chart_of, condition, order, searchset

OTHER = {"reference": "Patient/p2"}
URN = "urn:uuid:0ce27236-cf79-5680-a12d-99351e7144b4"


def names(chart: Chart, kind: str) -> list[str]:
    return [resource["id"] for resource in chart.of(kind)]


def test_bad_input_65_patient_of_another_id_is_refused() -> None:
    with pytest.raises(PatientMismatch) as caught:
        chart_of(prefetch={"patient": {"resourceType": "Patient", "id": "p2"}})
    assert caught.value.expression == "prefetch.patient.id"
    assert "p2" not in caught.value.diagnostics


@pytest.mark.parametrize(
    "subject",
    [
        OTHER,
        {"reference": f"{SERVER}/Patient/p2"},
        {"reference": "https://elsewhere.example/fhir/Patient/p1"},  # row 70
        {"reference": "Group/p1"},
        {"reference": "../Patient/p1"},
        {"reference": "#p1"},  # a contained Patient is nobody that we know
        {"reference": URN},  # leads nowhere
        {"identifier": {"system": "urn:mrn", "value": "p1"}},  # row 71
    ],
)
def test_bad_input_66_70_71_order_not_known_to_be_the_patients_is_refused(subject: dict[str, Any]) -> None:
    with pytest.raises(PatientMismatch):
        chart_of(drafts=[order(), order("d2", subject=subject)])


@pytest.mark.parametrize(
    "subject",
    [
        SUBJECT,
        {"reference": "Patient/p1/_history/7"},
        {"reference": f"{SERVER}/Patient/p1"},
        {"reference": f"{SERVER}/Patient/p1/_history/7"},
        {"reference": "https://EHR.example.org:443/r4/Patient/p1"},
    ],
)
def test_bad_input_69_ways_to_name_the_patient(subject: dict[str, Any]) -> None:
    chart = chart_of(condition(subject=subject), drafts=[order(subject=subject)])
    assert [draft.bound for draft in chart.drafts] == [True]
    assert names(chart, "Condition") == ["c1"]


def test_bad_input_69_display_alone_leaves_an_order_unbound() -> None:
    draft = order(subject={"display": "Sample, Pat"})
    assert [draft.bound for draft in chart_of(drafts=[draft]).drafts] == [False]


def test_a_draft_without_subject_is_for_the_patient_of_the_call() -> None:
    draft = {name: value for name, value in order().items() if name != "subject"}
    assert [draft.bound for draft in chart_of(drafts=[draft]).drafts] == [True]


def test_subject_by_urn_is_found_among_the_drafts() -> None:
    def build(patient_id: str) -> Chart:
        drafts = [(order(subject={"reference": URN}), ""), ({"resourceType": "Patient", "id": patient_id}, URN)]
        return build_chart(
            patient_id=PATIENT, fhir_server=SERVER, drafts=drafts, prefetch={}, fetched={}, wanted=WANTED
        )

    assert build("p1").drafts[0].bound
    with pytest.raises(PatientMismatch):
        build("p2")


def test_subject_by_urn_of_something_else_is_refused() -> None:
    drafts = [(order(subject={"reference": URN}), ""), ({"resourceType": "Organization", "id": "p1"}, URN)]
    with pytest.raises(PatientMismatch):
        build_chart(patient_id=PATIENT, fhir_server=SERVER, drafts=drafts, prefetch={}, fetched={}, wanted=WANTED)


def test_bad_input_73_a_read_of_another_patient_is_left_out() -> None:
    chart = chart_of(fetched={"patient": Fetched("complete", ({"resourceType": "Patient", "id": "p2"},))})
    assert (chart.of("Patient"), chart.seen("Patient")) == ((), Availability.PARTIAL)
    assert chart.dropped == (Dropped("Patient", "other_patient"),)


def test_an_entry_that_holds_nothing_makes_a_search_partial() -> None:
    held = contents({"type": "searchset", "entry": [{"resource": condition()}, {"fullUrl": "x"}]}, "Condition")
    assert (len(held.resources), held.malformed, held.availability) == (1, 1, Availability.PARTIAL)


def coverage(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Coverage", "id": "cov", "status": "active", "beneficiary": SUBJECT, **elements}


def test_bad_input_67_coverage_of_another_patient_is_refused() -> None:
    with pytest.raises(PatientMismatch):
        chart_of(coverage(beneficiary=OTHER))


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (OTHER, "other_patient"),
        ({"reference": "https://elsewhere.example/fhir/Patient/p1"}, "other_patient"),
        ({"identifier": {"value": "p1"}}, "patient_unknown"),  # row 71
        ({"display": "Sample, Pat"}, "patient_unknown"),
        (None, "patient_unknown"),
        ("Patient/p1", "patient_unknown"),  # wrong shape
    ],
)
def test_bad_input_68_71_a_strangers_fact_is_left_out_and_missed(subject: object, reason: str) -> None:
    chart = chart_of(condition("mine"), condition("theirs", subject=subject))
    assert names(chart, "Condition") == ["mine"]
    assert chart.dropped == (Dropped("Condition", reason),)
    assert chart.seen("Condition") is Availability.PARTIAL
    assert chart.resolve("Condition/theirs") is None


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"verificationStatus": {"coding": [{"code": "entered-in-error"}]}}, "entered_in_error"),
        ({"verificationStatus": {"coding": [{"code": "refuted"}]}}, "refuted"),
        ({"status": "entered-in-error"}, "entered_in_error"),
    ],
)
def test_errors_never_count_and_are_not_missed(elements: dict[str, Any], reason: str) -> None:
    chart = chart_of(condition(**elements))
    assert chart.of("Condition") == ()
    assert chart.dropped == (Dropped("Condition", reason),)
    assert chart.seen("Condition") is Availability.COMPLETE
    assert chart.resolve("Condition/c1") is None


def test_resources_without_patient_pass_and_strange_types_are_named_other() -> None:
    medication = {"resourceType": "Medication", "id": "m1"}
    stranger = {"resourceType": "Immunization", "id": "i1", "patient": OTHER}
    chart = chart_of(prefetch={"medications": searchset(order("m", status="active"), medication, stranger)})
    assert chart.resolve("Medication/m1") is medication
    assert chart.dropped == (Dropped("other", "other_patient"),)


OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}


def hint(severity: str, code: str) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": code}]}


ANSWERS = [
    ("crd_37_null_is_known_absent", None, "complete", 0),
    ("crd_38_outcome", OUTCOME, "not_readable", 0),
    ("bad_input_74_empty_object", {}, "not_readable", 0),
    ("bad_input_74_wrong_type", {"resourceType": "Observation", "id": "o"}, "not_readable", 0),
    ("bad_input_74_list", [], "not_readable", 0),
    ("bad_input_74_text", "none", "not_readable", 0),
    ("bad_input_74_bundle_that_is_no_search", {"resourceType": "Bundle"}, "not_readable", 0),
    ("empty_search_result", {"resourceType": "Bundle", "type": "searchset", "total": 0}, "complete", 0),
    ("whole", searchset(condition(), total=1), "complete", 1),
    ("crd_39_75_next_link", searchset(condition(), link=[{"relation": "next", "url": "x"}]), "partial", 1),
    ("self_link", searchset(condition(), link=[{"relation": "self", "url": "x"}]), "complete", 1),
    ("total_not_reached", searchset(condition(), total=3), "partial", 1),
    ("outcome_beside_matches", searchset(condition(), OUTCOME), "partial", 1),
    ("outcome_alone", searchset(OUTCOME), "not_readable", 0),
    ("hint_beside_matches", searchset(condition(), hint("information", "informational")), "complete", 1),
    ("withheld_beside_matches", searchset(condition(), hint("warning", "suppressed")), "partial", 1),
    ("entry_without_resource", {**searchset(condition()), "entry": [{}, {"resource": condition()}]}, "partial", 1),
    ("null_entry", {**searchset(), "entry": [None]}, "partial", 0),
    ("entries_of_another_kind", searchset({"resourceType": "Observation", "subject": SUBJECT}), "not_readable", 0),
    ("entry_no_list", {**searchset(), "entry": {}}, "not_readable", 0),
    ("bare_resource_for_a_search", condition(), "partial", 1),
]


@pytest.mark.parametrize(("answer", "state", "count"), [r[1:] for r in ANSWERS], ids=[r[0] for r in ANSWERS])
def test_what_a_prefetch_answer_says(answer: object, state: str, count: int) -> None:
    chart = chart_of(prefetch={"conditions": answer})
    assert chart.seen("Condition") is Availability(state)
    assert len(chart.of("Condition")) == count


def test_crd_37_absent_key_was_not_asked() -> None:
    chart = chart_of()
    assert chart.seen("Condition") is Availability.NOT_ASKED
    assert chart.seen("Organization") is Availability.NOT_ASKED
    assert set(chart.availability) == set(WANTED.values())


def test_reads_by_id_are_whole() -> None:
    encounter = {"resourceType": "Encounter", "id": "e", "subject": SUBJECT}
    chart = chart_of(prefetch={"patient": {"resourceType": "Patient", "id": "p1"}, "encounter": encounter})
    assert chart.seen("Patient") is chart.seen("Encounter") is Availability.COMPLETE


def test_crd_41_keys_that_are_not_ours_are_not_read() -> None:
    assert chart_of(prefetch={"problems": searchset(condition())}).of("Condition") == ()


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ("complete", "complete"),
        ("absent", "complete"),  # F6: 404 on a read is known absence
        ("partial", "partial"),
        ("denied", "not_readable"),
        ("failed", "not_readable"),
        ("late", "not_readable"),
    ],
)
def test_what_a_read_gave(state: str, seen: str) -> None:
    chart = chart_of(fetched={"conditions": Fetched(state)})
    assert chart.seen("Condition") is Availability(seen)


@pytest.mark.parametrize(
    ("prefetched", "read", "seen"),
    [
        (searchset(condition(), link=[{"relation": "next"}]), Fetched("complete", (condition("c2"),)), "complete"),
        (searchset(condition(), link=[{"relation": "next"}]), Fetched("failed"), "partial"),
        (OUTCOME, Fetched("complete", (condition(), condition("c2"))), "complete"),
        (searchset(condition()), Fetched("late"), "complete"),
    ],
)
def test_a_read_completes_prefetch_and_takes_nothing_away(prefetched: object, read: Fetched, seen: str) -> None:
    chart = chart_of(prefetch={"conditions": prefetched}, fetched={"conditions": read})
    assert chart.seen("Condition") is Availability(seen)
    assert names(chart, "Condition")[0] == "c1"


def test_the_same_resource_counts_once() -> None:
    chart = chart_of(
        condition(),
        prefetch={"conditions": searchset(condition(), condition())},
        fetched={"conditions": Fetched("complete", (condition(),))},
    )
    assert names(chart, "Condition") == ["c1"]


def test_an_outcome_among_read_resources_is_heard() -> None:
    chart = chart_of(fetched={"conditions": Fetched("complete", (condition(), OUTCOME))})
    assert chart.seen("Condition") is Availability.NOT_READABLE


def test_the_stored_copy_of_a_draft_does_not_count_twice() -> None:
    chart = chart_of(order("d1", status="active"), order("old", status="active"), drafts=[order("d1")])
    assert names(chart, "MedicationRequest") == ["old"]
    assert chart.resolve("MedicationRequest/d1") is chart.drafts[0].resource


def test_drafts_without_id_do_not_hide_stored_ones() -> None:
    nameless = {key: value for key, value in order().items() if key != "id"}
    stored = {**nameless, "status": "active"}
    chart = chart_of(prefetch={"medications": searchset(stored)}, drafts=[nameless])
    assert len(chart.of("MedicationRequest")) == 1
    assert chart.drafts[0].reference == "MedicationRequest/#0"


MEDICATION = {"resourceType": "Medication", "id": "m1"}


@pytest.mark.parametrize(
    ("reference", "drafts", "prefetch"),
    [
        ("#m1", [order(contained=[MEDICATION])], []),
        ("Medication/m1", [order()], [MEDICATION]),
        ("Medication/m1", [order(), MEDICATION], []),
        (f"{SERVER}/Medication/m1/_history/3", [order()], [MEDICATION]),
        (URN, [order()], [MEDICATION]),
        (URN.upper().replace("URN:UUID", "urn:uuid"), [order()], [MEDICATION]),
    ],
)
def test_bad_input_76_crd_43_every_way_to_name_a_medication(
    reference: str, drafts: list[dict[str, Any]], prefetch: list[dict[str, Any]]
) -> None:
    bundle = searchset(*prefetch)
    for entry in bundle["entry"]:
        entry["fullUrl"] = URN if reference.startswith("urn:") else entry["fullUrl"]
        entry["search"] = {"mode": "include"}
    chart = chart_of(drafts=drafts, prefetch={"medications": bundle})
    assert chart.resolve({"reference": reference}, drafts[0]) == MEDICATION


def test_bad_input_77_a_reference_to_itself_is_one_hop() -> None:
    medication = {"resourceType": "Medication", "id": "m", "ingredient": [{"itemReference": {"reference": "#m"}}]}
    chart = chart_of()
    assert chart.resolve("#m", order(contained=[medication])) is medication


def test_another_hosts_resource_is_not_found_under_a_local_name() -> None:
    bundle = searchset(MEDICATION)
    bundle["entry"][0]["fullUrl"] = "https://elsewhere.example/fhir/Medication/m1"
    chart = chart_of(prefetch={"medications": bundle})
    assert chart.resolve("Medication/m1") is None
    assert chart.resolve("https://elsewhere.example/fhir/Medication/m1") == MEDICATION


def test_without_fhir_server_the_drafts_own_addresses_tell_the_host() -> None:
    absolute = {"reference": f"{SERVER}/Patient/p1"}
    chart = chart_of(condition(subject=absolute), drafts=[order(subject=absolute)], server=None)
    assert chart.host == "ehr.example.org"
    assert names(chart, "Condition") == ["c1"]


def test_without_any_known_host_relative_names_still_find_entries() -> None:
    chart = chart_of(prefetch={"medications": searchset(MEDICATION)}, drafts=[order()], server=None)
    assert chart.resolve("Medication/m1") == MEDICATION


@pytest.mark.parametrize("reference", [None, 7, {}, {"reference": 7}, "Patient/..%2f", "https://x.example/a", "#none"])
def test_bad_input_78_what_leads_nowhere_is_none(reference: object) -> None:
    assert chart_of(drafts=[order()]).resolve(reference, order()) is None

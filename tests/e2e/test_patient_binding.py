"""Only the patient of the call is judged: a stranger's data is refused where it decides, and unseen elsewhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from cds_service.ports import Fetched
from tests.support import e2e_patient as patient
from tests.support.e2e_ehr import TOKEN
from tests.support.e2e_patient import call, chart, condition, coverage, order
from tests.support.e2e_service import VERSIONS, Answer, Service, Told

Start = Callable[..., Service]
SERVER = "https://ehr.example.org/fhir"
STRANGER = "Patient/stranger"
MISMATCH = "conflict"


def lent(**changes: Any) -> dict[str, Any]:
    """A token of the registered EHR."""
    usual = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": "user/*.read", "subject": "cds"}
    return {"fhirServer": SERVER, "fhirAuthorization": {**usual, **changes}}


def refused(service: Service, answer: Answer) -> None:
    """400, without a word of the input, without a rule run, without a record."""
    assert answer.status == 400
    assert answer.json["issue"][0]["code"] == MISMATCH
    assert b"stranger" not in answer.bytes
    assert service.last()["reason"] == "patient_mismatch"


@pytest.mark.parametrize("version", VERSIONS)
def test_reliability_65_another_patient_in_prefetch(service: Service, version: str) -> None:
    held = chart(patient=[{"resourceType": "Patient", "id": "stranger"}])
    refused(service, service.post(call(held=held), version))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "subject",
    [
        {"reference": STRANGER},
        {"reference": f"{SERVER}/{STRANGER}"},
        {"reference": f"https://elsewhere.example.org/fhir/Patient/{patient.PATIENT}"},
        {"identifier": {"system": "https://ehr.example.org/mrn", "value": "stranger"}},
    ],
    ids=["66 relative", "66 absolute", "70 another host", "71 by identifier"],
)
def test_reliability_66_70_71_one_draft_of_another_patient(
    service: Service, version: str, subject: dict[str, Any]
) -> None:
    """The other draft is this patient's: nothing is evaluated for either."""
    other = order(id="draft-two", subject=subject)
    refused(service, service.post(call(order(), other, fhirServer=SERVER), version))


@pytest.mark.parametrize("version", VERSIONS)
def test_reliability_67_coverage_of_another_patient(service: Service, version: str) -> None:
    held = chart(coverage=[coverage(), coverage("cov-2", beneficiary={"reference": STRANGER})])
    refused(service, service.post(call(held=held), version))


def test_reliability_72_token_for_another_patient(service: Service) -> None:
    refused(service, service.post(call(**lent(patient="stranger"))))


@pytest.mark.parametrize(
    "subject",
    [
        f"Patient/{patient.PATIENT}",
        f"{SERVER}/Patient/{patient.PATIENT}",
        f"Patient/{patient.PATIENT}/_history/3",
        f"{SERVER}/Patient/{patient.PATIENT}/_history/3",
    ],
)
def test_reliability_69_every_spelling_of_the_patient_is_the_patient(service: Service, subject: str) -> None:
    held = chart()
    for key in ("coverage", "conditions", "questionnaireResponses"):
        for resource in held[key]:
            resource["beneficiary" if key == "coverage" else "subject"] = {"reference": subject}
    draft = order(subject={"reference": subject})
    answer = service.post(call(draft, held=held, fhirServer=SERVER)).check()
    assert answer.information()["pa-needed"] == "auth-needed"
    assert "doc-needed" not in answer.information()


@pytest.mark.parametrize("subject", [{"display": "Ezra Example"}, {}, {"identifier": {"value": "x"}}])
def test_reliability_69_71_a_form_of_nobody_we_know_is_not_used(service: Service, subject: dict[str, Any]) -> None:
    held = chart(questionnaireResponses=[patient.answered(subject=subject)])
    answer = service.post(call(held=held)).check()
    assert answer.information()["doc-needed"] == "clinical"
    assert "not available" in answer.information()["reason"]["text"]


# ---- row 68, metamorphic: whatever the stranger's data says, the answer is the same, byte for byte ----


def strange(resource: dict[str, Any], key: str) -> dict[str, Any]:
    """The same about somebody else."""
    element = {"devices": "patient", "allergies": "patient"}.get(key, "subject")
    return {**resource, element: {"reference": STRANGER}}


def running(rate: str) -> dict[str, Any]:
    """A pump that runs already."""
    return order(rate, id="running-1", status="active")


def procedure(code: str, ident: str) -> dict[str, Any]:
    """An operation that was done."""
    done = patient.service_request(code)["code"]
    return {"resourceType": "Procedure", "id": ident, "status": "completed", "code": done}


# Key, and two very different things that may be true of the stranger; each would change the answer if it were ours.
STRANGERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("conditions", condition("D68.9", "cond-x"), condition("A41.9", "cond-y")),
    ("medications", running("8"), running("80")),
    (
        "questionnaireResponses",
        patient.answered({**patient.TRIAL, "life_expectancy_ge_3_months": "no"}, "qr-x", authored="2026-03-01"),
        patient.answered({**patient.TRIAL, "request_type": "permanent"}, "qr-y", authored="2026-03-01"),
    ),
    (
        "encounter",
        {**patient.encounter("IMP"), "id": "enc-x"},
        {**patient.encounter("EMER"), "id": "enc-y"},
    ),
    (
        "procedures",
        procedure("62362", "p-x"),
        procedure("62350", "p-y"),
    ),
    (
        "serviceRequests",
        patient.service_request("62362", "sr-x", status="active"),
        patient.service_request("62350", "sr-y", status="active"),
    ),
]  # fmt: skip


def scene(key: str) -> tuple[dict[str, Any], patient.Chart]:
    """A draft and a chart; where the encounter matters, nothing else tells acute care from long-term therapy."""
    if key == "encounter":
        return order(reasonCode=[]), chart(conditions=[], questionnaireResponses=[])
    return order(), chart()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("key", "one", "other"), STRANGERS, ids=[row[0] for row in STRANGERS])
def test_reliability_68_swapping_a_strangers_data_leaves_the_answer_byte_equal(
    start: Start, version: str, key: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    """Strict about jti so that both calls, which differ in nothing but the stranger, are evaluated."""
    service = start(jti="strict")
    answers = []
    for resource in (one, other):
        draft, held = scene(key)
        body = call(draft, held=held, hookInstance="6f1b7a1e-0000-4000-8000-000000000002")
        if key == "encounter":
            body["prefetch"]["encounter"] = strange(resource, key)
        else:
            body["prefetch"][key] = patient.searchset(*held[key], strange(resource, key))
        answers.append(service.post(body, version).check())
        assert resource["id"] not in answers[-1].bytes.decode()
        assert b"cds_chart_drops_total{" in service.metrics.text()
    assert answers[0].bytes == answers[1].bytes


@pytest.mark.parametrize(("key", "one", "other"), STRANGERS, ids=[row[0] for row in STRANGERS])
def test_reliability_68_the_same_data_of_the_patient_does_change_the_answer(
    service: Service, key: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    """The counter-proof: without the gate the strangers above would have been seen."""
    draft, held = scene(key)
    plain = service.determined(call(draft, held=held))
    seen = []
    for resource in (one, other):
        mine = {"subject": patient.SUBJECT, **resource}
        with_it = copy.deepcopy(held)
        with_it[key] = [{**mine, "id": "enc-e2e"}] if key == "encounter" else [*held[key], mine]
        seen.append(service.determined(call(draft, held=with_it)))
    assert plain not in seen


@pytest.mark.parametrize("version", VERSIONS)
def test_reliability_68_a_strangers_resource_leaves_its_type_unknown(service: Service, version: str) -> None:
    """A form of somebody else in the bundle: whether the patient has one is not known."""
    held = chart(questionnaireResponses=[strange(patient.answered(), "questionnaireResponses")])
    body = call(held=held)
    answer = service.post(body, version).check()
    assert "not available" in answer.information()["reason"]["text"]
    flags = service.determined(body)["orders"][0]["flags"]
    assert {"code": "incomplete_data", "subject": "QuestionnaireResponse"} in flags
    assert b'cds_chart_drops_total{reason="other_patient"} 1.0' in service.metrics.text()


def test_reliability_68_what_the_ehr_gives_of_a_stranger_is_dropped_too(start: Start) -> None:
    held = chart()
    del held["conditions"]
    reader = Told(lambda _key, _query: Fetched("complete", (strange(condition("D68.9", "cond-x"), "conditions"),)))
    answer = start(reader=reader).post(call(held=held, **lent())).check()
    assert b"cond-x" not in answer.bytes
    assert "conflict" not in answer.bytes.decode()


# ---- content of FHIR ----


def spelled(how: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The same order of 16 mg/d with its Medication held in one of four ways."""
    held = patient.medication(id="m-1")
    body = call(order("8", contained=[held], medicationReference={"reference": "#m-1"}))
    entries = body["context"]["draftOrders"]["entry"]
    if how == "contained":
        return entries, body
    entries[0]["resource"].pop("contained")
    if how == "entry":
        entries[0]["resource"]["medicationReference"] = {"reference": "Medication/m-1"}
        entries.append({"fullUrl": f"{SERVER}/Medication/m-1", "resource": held})
    else:
        held.pop("id")
        entries[0]["resource"]["medicationReference"] = {"reference": "urn:uuid:7c0f8b1e-0000-4000-8000-000000000009"}
        entries.append({"fullUrl": "urn:uuid:7c0f8b1e-0000-4000-8000-000000000009", "resource": held})
    return entries, body


def test_reliability_76_a_medication_held_in_any_way_is_the_same_medication(service: Service) -> None:
    found = []
    for how in ("contained", "entry", "urn"):
        _, body = spelled(how)
        answer = service.post({**body, "fhirServer": SERVER}).check()
        judged = service.determined({**body, "fhirServer": SERVER})["orders"][0]
        found.append({name: judged[name] for name in ("dose", "decision", "criteria", "tier")})
        assert "16 mg/d" in answer.cards[0]["summary"]
        assert len(answer.actions) == 1
    assert found[0] == found[1] == found[2]


CIRCLE = {"resourceType": "Medication", "id": "a", "ingredient": [{"itemReference": {"reference": "#a"}}]}


@pytest.mark.parametrize(
    "broken",
    [
        {"contained": [CIRCLE], "medicationReference": {"reference": "#a"}},
        {"medicationReference": {"reference": f"MedicationRequest/{patient.DRAFT}"}},
        {"medicationReference": {"reference": "../../admin"}},
        {"medicationReference": {"reference": "Medication/..%2f1"}},
        {"medicationReference": {"reference": "Medication/1?_include=*"}},
        {"medicationReference": {"reference": "javascript:alert(1)"}},
        {"medicationReference": {"reference": "https://evil.example.org/fhir/Medication/1"}},
        {"authoredOn": "9999-99-99", "dosageInstruction": "none"},
    ],
    ids=["77 circle", "77 itself", "78 dots", "78 percent", "78 query", "78 script", "78 host", "80 nonsense"],
)  # fmt: skip
def test_reliability_77_78_80_references_that_lead_nowhere_are_not_followed(
    start: Start, broken: dict[str, Any]
) -> None:
    reader = Told(lambda _key, _query: Fetched("failed", (), "server_error"))
    answer = start(reader=reader).post(call(order(**broken), **lent()))
    assert answer.status == 200
    assert reader.asked == []


@pytest.mark.parametrize("value", ["1e308", "-1", "0.0000001", "0"])
def test_reliability_79_amounts_at_the_edge_are_answered(service: Service, value: str) -> None:
    body = patient.encode(call()).replace(
        b'{"value":0.5,"unit":"mL/d"', b'{"value":' + value.encode() + b',"unit":"mL/d"'
    )
    answer = service.post(body)
    assert answer.status == 200
    dose = service.determined(body)["orders"][0]["dose"]
    assert all("e" not in (each["daily"] or {"value": ""})["value"] for each in dose)


@pytest.mark.parametrize("unit", ["ug/d", "mg/d", "", "units"])
def test_reliability_79_units_decide_exactly(service: Service, unit: str) -> None:
    draft = order()
    quantity = {"value": 16, "unit": unit, **({"system": "http://unitsofmeasure.org", "code": unit} if unit else {})}
    draft["dosageInstruction"][0]["doseAndRate"] = [{"rateQuantity": quantity}]
    dose = service.determined(call(draft))["orders"][0]["dose"][0]
    expected = {"ug/d": ("0.016", "within"), "mg/d": ("16", "exceeds")}.get(unit, (None, "cannot_be_determined"))
    assert ((dose["daily"] or {"value": None})["value"], dose["daily_verdict"]) == expected
    assert service.post(call(draft)).status == 200


@pytest.mark.parametrize("size", [3_000_000])
def test_reliability_81_large_texts_are_ignored(service: Service, size: int) -> None:
    held = chart(conditions=[condition(text={"status": "generated", "div": "<div>" + "x" * size + "</div>"})])
    answer = service.post(call(held=held)).check()
    assert len(answer.bytes) < 20_000


@pytest.mark.parametrize(
    ("value", "incomplete"),
    [
        (None, False),
        ({}, True),
        ({"resourceType": "OperationOutcome", "issue": []}, True),
        ({"resourceType": "Patient", "id": "x"}, True),
        ([], True),
        ("text", True),
        ({"resourceType": "Bundle", "type": "searchset"}, False),
        ({"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": "x"}]}, True),
        ({"resourceType": "Bundle", "entry": "none"}, True),
    ],
    ids=["null", "empty object", "outcome", "another type", "list", "text", "nothing found", "75 next", "nonsense"],
)
def test_reliability_74_75_prefetch_of_any_shape_is_200(service: Service, value: Any, incomplete: bool) -> None:
    body = call()
    body["prefetch"]["questionnaireResponses"] = value
    answer = service.post(body).check()
    assert answer.information()["doc-needed"] == "clinical"
    flags = json.dumps(service.determined(body)["orders"][0]["flags"])
    assert ("incomplete_data" in flags) is incomplete

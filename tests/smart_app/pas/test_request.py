"""Requests as PAS wants them: pure, on small made-up charts."""

from __future__ import annotations

import itertools
from copy import deepcopy
from datetime import UTC, datetime

import pytest

from cds_service.fhir.models import complaints
from smart_app.pas.closure import gather, references
from smart_app.pas.inquiry import build_inquiry
from smart_app.pas.ready import evidence_of
from smart_app.pas.request import Submission, billing_code, build, lines_of, words_of
from smart_app.pas.systems import CRD_COVERAGE_INFORMATION, HCPCS, PAS, X12
from smart_app.pas.update import cancelled, with_documents
from smart_app.sdc.response import EVIDENCE_URL

NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
BASE = "https://ehr.example.org/fhir"
PATIENT = {"resourceType": "Patient", "id": "p", "name": [{"family": "Example"}]}
COVERAGE = {
    "resourceType": "Coverage",
    "id": "c",
    "contained": [{"resourceType": "Organization", "id": "payer", "name": "Florida Blue"}],
    "status": "active",
    "subscriberId": "M-1",
    "beneficiary": {"reference": "Patient/p"},
    "relationship": {"coding": [{"code": "self"}]},
    "payor": [{"reference": "#payer"}],
}
DOCTOR = {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Sample"}]}
CONDITION = {
    "resourceType": "Condition",
    "id": "pain",
    "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "G89.28"}]},
    "subject": {"reference": "Patient/p"},
}
BILLING = {
    "url": CRD_COVERAGE_INFORMATION,
    "extension": [
        {
            "url": "billingCode",
            "valueCoding": {
                "system": "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
                "code": "J2274",
            },
        }
    ],
}
ORDER = {
    "resourceType": "MedicationRequest",
    "id": "o",
    "extension": [BILLING],
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/p"},
    "requester": {"reference": f"{BASE}/Practitioner/dr"},
    "reasonReference": [{"reference": "Condition/pain/_history/2"}],
    "encounter": {"reference": "Encounter/gone"},
    "authoredOn": "2026-03-02T08:00:00Z",
    "medicationCodeableConcept": {"text": "morphine 20 mg/mL"},
}
FORM = {
    "resourceType": "QuestionnaireResponse",
    "id": "form",
    "status": "completed",
    "subject": {"reference": "Patient/p"},
    "author": {"reference": "Practitioner/dr"},
}
CHART = {f"{each['resourceType']}/{each['id']}": each for each in (PATIENT, COVERAGE, DOCTOR, CONDITION, ORDER, FORM)}


_NUMBERS = itertools.count(1)


def new_id() -> str:
    return f"00000000-0000-4000-8000-{next(_NUMBERS):012x}"


def submission(**changes: object) -> Submission:
    lines, missing = lines_of([ORDER], {})
    assert not missing
    given = {
        "base": BASE, "patient": PATIENT, "coverage": COVERAGE, "lines": lines, "responses": (FORM,),
        "provider": DOCTOR, "insurer_name": "Florida Blue", "sender": {"system": "urn:example:app"},
    }  # fmt: skip
    return Submission(**(given | changes))


def built(**changes: object) -> dict:
    return build(submission(**changes), CHART.get, NOW, new_id)


def entries(bundle: dict) -> dict:
    return {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}


def resolved(bundle: dict) -> list[str]:
    """References that do not lead to exactly one entry, as P013 reads them."""
    held = [entry["fullUrl"] for entry in bundle["entry"]]
    wrong = []
    for entry in bundle["entry"]:
        for reference in references(entry["resource"]):
            base = entry["fullUrl"].rsplit("/", 2)[0]
            full = reference if ":" in reference else f"{base}/{reference}"
            if held.count(full) != 1:
                wrong.append(f"{entry['fullUrl']} -> {reference}")
    return wrong


def test_P010_P011_P012_the_bundle_has_identity_time_and_the_claim_first() -> None:
    bundle = built()
    assert bundle["type"] == "collection"
    assert bundle["identifier"]["system"] == "urn:example:app"
    assert bundle["timestamp"] == "2026-03-02T12:30:00+00:00"
    assert [entry["resource"]["resourceType"] for entry in bundle["entry"]][:2] == ["Claim", "Organization"]
    assert all(set(entry) == {"fullUrl", "resource"} for entry in bundle["entry"])


def test_P013_every_reference_resolves_to_exactly_one_entry() -> None:
    bundle = built()
    assert resolved(bundle) == []
    broken = deepcopy(bundle)
    del broken["entry"][3]
    assert resolved(broken) != []  # the check itself sees a hole


def test_P013_what_cannot_be_read_loses_its_reference_and_keeps_words() -> None:
    order = entries(built())[f"{BASE}/MedicationRequest/o"]
    assert order["encounter"] == {"display": "Encounter not part of this request"}
    assert order["requester"] == {"reference": "Practitioner/dr"}


def test_the_chart_of_another_patient_never_gets_into_a_request() -> None:
    stranger = CONDITION | {"subject": {"reference": "Patient/q"}}
    gathered = gather([ORDER], BASE, (CHART | {"Condition/pain": stranger}).get, patient="p")
    assert f"{BASE}/Condition/pain" not in gathered.resources
    assert "Condition/pain" in gathered.absent


def test_P020_P022_the_claim_says_who_asks_whom_for_whom() -> None:
    claim = built()["entry"][0]["resource"]
    assert (claim["status"], claim["use"]) == ("active", "preauthorization")
    assert claim["patient"]["reference"] == f"{BASE}/Patient/p"
    assert claim["provider"]["reference"] == f"{BASE}/Practitioner/dr"
    assert claim["insurance"] == [{"sequence": 1, "focal": True, "coverage": {"reference": f"{BASE}/Coverage/c"}}]
    assert claim["insurer"]["reference"].startswith("urn:uuid:")


def test_P024_P025_P026_a_line_carries_type_code_place_and_the_signed_order() -> None:
    item = built()["entry"][0]["resource"]["item"][0]
    urls = {each["url"].removeprefix(PAS) for each in item["extension"]}
    assert urls == {"extension-serviceItemRequestType", "extension-certificationType", "extension-requestedService"}
    assert item["productOrService"] == {"coding": [{"system": HCPCS, "code": "J2274"}]}
    assert item["category"]["coding"][0]["system"] == f"{X12}1365"
    assert item["locationCodeableConcept"]["coding"][0]["code"] == "11"
    assert item["servicedPeriod"] == {"start": "2026-03-02"}  # no end: signed on that day, not given on it


def test_P027_diagnoses_are_icd_10_cm_of_the_orders_reasons() -> None:
    claim = built()["entry"][0]["resource"]
    assert [each["diagnosisCodeableConcept"]["coding"][0]["code"] for each in claim["diagnosis"]] == ["G89.28"]
    assert claim["item"][0]["diagnosisSequence"] == [1]


def test_P028_the_form_is_a_document_with_its_kind() -> None:
    (document,) = built()["entry"][0]["resource"]["supportingInfo"]
    assert document["valueReference"] == {"reference": f"{BASE}/QuestionnaireResponse/form"}
    assert document["extension"][0]["url"] == f"{PAS}extension-documentInformation"
    assert document["extension"][0]["extension"][0]["url"] == "reportTypeCode"


def test_P033_the_member_id_is_typed_and_the_payer_is_an_entry() -> None:
    coverage = entries(built())[f"{BASE}/Coverage/c"]
    assert coverage["identifier"][0]["value"] == "M-1"
    assert {"system": f"{X12}1069", "code": "18"} in coverage["relationship"]["coding"]
    assert coverage["payor"][0]["reference"].startswith("urn:uuid:")
    assert "contained" not in coverage


@pytest.mark.parametrize(("expedited", "priority"), [(True, "stat"), (False, "normal")])
def test_P034_urgency_is_said_in_both_places(expedited: bool, priority: str) -> None:
    claim = built(expedited=expedited)["entry"][0]["resource"]
    assert claim["priority"]["coding"][0]["code"] == priority
    assert ("extension" in claim) is expedited


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (ORDER, {"system": HCPCS, "code": "J2274"}),  # the payer's word in coverage-information
        # an order whose own coding is billable: a pump
        ({"code": {"coding": [{"system": HCPCS, "code": "E0783"}]}}, {"system": HCPCS, "code": "E0783"}),
        # RxNorm is no code of a Claim, and nothing is made up from it
        (
            {
                "medicationCodeableConcept": {
                    "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "7052"}]
                }
            },
            None,
        ),
        ({}, None),
    ],
)
def test_P025_the_billing_code_is_the_payers_word_or_the_orders_and_never_a_guess(order: dict, code: object) -> None:
    assert billing_code(order) == code


def test_an_order_without_a_code_is_asked_for_and_a_persons_choice_is_taken() -> None:
    bare = {**ORDER, "extension": []}
    lines, missing = lines_of([bare], {})
    assert (lines, [each.order for each in missing]) == ((), ["MedicationRequest/o"])
    assert missing[0].words == "morphine 20 mg/mL"
    lines, missing = lines_of([bare], {"MedicationRequest/o": {"system": HCPCS, "code": "J3490"}})
    assert lines[0].code["code"] == "J3490"
    assert not missing


def test_P080_P081_P082_an_answer_more_keeps_every_line_and_number() -> None:
    before = built()
    more = {**FORM, "id": "second"}
    after = with_documents(before, [more], BASE, NOW, new_id)
    claims = [entry["resource"] for entry in after["entry"] if entry["resource"]["resourceType"] == "Claim"]
    new, old = claims
    assert new["related"][0]["claim"]["reference"] == before["entry"][0]["fullUrl"]
    assert new["related"][0]["relationship"]["coding"][0]["code"] == "prior"
    assert "related" not in old
    assert [each["sequence"] for each in new["supportingInfo"]] == [1, 2]
    assert [each["sequence"] for each in new["item"]] == [each["sequence"] for each in old["item"]]
    assert {"url": f"{PAS}extension-infoChanged", "valueCode": "changed"} in new["item"][0]["extension"]
    assert after["identifier"] != before["identifier"]
    assert resolved(after) == []
    again = with_documents(after, [{**FORM, "id": "third"}], BASE, NOW, new_id)
    assert sum(entry["resource"]["resourceType"] == "Claim" for entry in again["entry"]) == 2  # the grandparent is gone


def test_P083_P084_taking_a_request_back_keeps_its_lines_as_cancelled() -> None:
    claim = cancelled(built(), NOW, new_id)["entry"][0]["resource"]
    assert claim["status"] == "active"
    assert claim["item"][0]["modifierExtension"] == [
        {"url": f"{PAS}modifierextension-infoCancelled", "valueBoolean": True}
    ]
    kinds = [each for each in claim["extension"] if each["url"] == f"{PAS}extension-certificationType"]
    assert kinds[0]["valueCodeableConcept"]["coding"][0]["code"] == "3"


def test_P083_one_line_can_be_taken_back_alone() -> None:
    pump = {**ORDER, "resourceType": "DeviceRequest", "id": "pump"}
    lines, _ = lines_of([ORDER, pump], {})
    claim = cancelled(built(lines=lines), NOW, new_id, lines={2})["entry"][0]["resource"]
    assert ["modifierExtension" in item for item in claim["item"]] == [False, True]
    assert "extension" not in claim


@pytest.mark.parametrize("make", [built, lambda: cancelled(built(), NOW, new_id)], ids=["first", "cancelled"])
def test_what_is_sent_is_fhir(make: object) -> None:
    assert complaints(make()) == ()


def test_P067_P068_P073_an_inquiry_names_the_parties_and_the_payers_number_and_no_service() -> None:
    before = built()
    asked = build_inquiry(before, ["REF-9"], NOW, new_id)
    claim = asked["entry"][0]["resource"]
    kinds = sorted({entry["resource"]["resourceType"] for entry in asked["entry"]})
    assert kinds == ["Claim", "Coverage", "Organization", "Patient", "Practitioner"]
    assert claim["item"][0]["productOrService"]["coding"][0]["code"] == "not-applicable"
    assert claim["item"][0]["extension"][0]["valueString"] == "REF-9"
    assert resolved(asked) == []
    assert complaints(asked) == ()


def test_an_order_is_called_by_its_medication_wherever_that_stands() -> None:
    medication = {"resourceType": "Medication", "id": "m", "code": {"text": "ziconotide"}}
    order = {name: value for name, value in ORDER.items() if name != "medicationCodeableConcept"}
    alone = {**order, "medicationReference": {"reference": "Medication/m"}}
    inside = {**order, "medicationReference": {"reference": "#m"}, "contained": [medication]}
    assert words_of(alone, {"Medication/m": medication}) == words_of(inside) == "ziconotide"
    assert words_of(alone) == "MedicationRequest"


def test_P028_what_answers_rest_on_goes_along_and_nothing_else_of_the_chart() -> None:
    def note(source: str) -> dict:
        return {"url": EVIDENCE_URL, "extension": [{"url": "source", "valueString": source}]}

    answers = [
        {"valueDecimal": 10, "extension": [note("MedicationRequest/er"), note("QuestionnaireResponse/old")]},
        {
            "valueBoolean": True,
            "extension": [note("Observation/pain"), note("../../etc/passwd"), note("MedicationRequest/er")],
        },
    ]
    form = {**FORM, "item": [{"linkId": "g", "item": [{"linkId": "a", "answer": answers}]}]}
    assert evidence_of([form]) == ("MedicationRequest/er", "Observation/pain")

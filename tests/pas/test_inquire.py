"""``$inquire``: who may ask, by what, and what comes back (rows P003, P067-P074, 112)."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cds_service.fhir.models import complaints
from tests.pas.test_changes import CANCELLED, PUMP, info
from tests.pas.test_settle import approve
from tests.support.pas_bundles import (
    BASE,
    COMPLETE,
    CPT,
    EXT,
    NPI,
    TRIAL_DONE,
    concept,
    encoded,
    item,
    request,
    update_of,
)
from tests.support.pas_service import Pas, Starts, actions, claim_response

MISSING = {key: value for key, value in COMPLETE.items() if key != "noninvasive_trial_weeks"}
PERMANENT = COMPLETE | TRIAL_DONE | {"request_type": "permanent"}
ANY = concept("http://terminology.hl7.org/CodeSystem/data-absent-reason", "not-applicable")


def inquiry(*, number: int = 1, service: Any = ANY, identifier: str = "I-1", **claim: Any) -> dict[str, Any]:
    """An inquiry of the clinic about one member."""
    bundle = request(number=number, identifier=identifier)
    bundle["entry"] = bundle["entry"][:6]
    asked = bundle["entry"][0]["resource"]
    for element in ("supportingInfo", "diagnosis"):
        asked.pop(element)
    asked["item"] = [item(order=None) | {"productOrService": service, "diagnosisSequence": []}]
    asked["item"][0].pop("diagnosisSequence")
    asked["identifier"] = [{"system": "https://clinic.example.org/claims", "value": "nothing-of-before"}]
    asked |= claim
    return bundle


def found(answer: Any) -> list[dict[str, Any]]:
    return [each["resource"] for each in answer.json.get("parameter", [])]


def test_P003_answers_are_parts_named_return_and_none_is_an_empty_parameters(pas: Pas) -> None:
    nothing = pas.inquire(inquiry())
    assert (nothing.status, nothing.json) == (200, {"resourceType": "Parameters"})
    pas.submit(request())
    answer = pas.inquire(inquiry())
    assert [each["name"] for each in answer.json["parameter"]] == ["return"]
    bundle = found(answer)[0]
    assert actions(json.dumps(bundle)) == {1: "A1"}
    assert bundle["identifier"]["value"] == "I-1"
    assert complaints(bundle) == ()


def test_P003_the_older_version_answers_with_one_bundle(pas: Pas) -> None:
    assert pas.inquire(inquiry(), "2.0.1").json["entry"][0]["resource"]["resourceType"] == "OperationOutcome"
    pas.submit(request())
    answer = pas.inquire(inquiry(), "2.0.1").json
    assert (answer["resourceType"], claim_response(answer)["outcome"]) == ("Bundle", "complete")


def test_P003_the_older_version_tells_of_every_request_in_its_one_bundle(pas: Pas) -> None:
    """The guide: one Bundle with any number of responses. What is approved must not hide behind what is pended."""
    pas.submit(request(), "2.0.1")
    second = request(identifier="B-2", values=MISSING, claim={"identifier": [{"system": "urn:c", "value": "C-2"}]})
    second["entry"][1]["resource"]["gender"] = "other"  # the chart's Patient has changed meanwhile
    pas.service.clock.at += 60
    pas.submit(second, "2.0.1")
    bundle = pas.inquire(inquiry(), "2.0.1").json
    kinds = [each["resource"]["resourceType"] for each in bundle["entry"]]
    responses = [each["resource"] for each in bundle["entry"][: kinds.count("ClaimResponse")]]
    assert [response["outcome"] for response in responses] == ["partial", "complete"]  # the newest first
    assert bundle["identifier"]["value"] == "I-1"
    urls = [each["fullUrl"] for each in bundle["entry"]]
    assert len(urls) == len(set(urls))
    for response in responses:
        assert {f"{BASE}{response[name]['reference']}" for name in ("patient", "insurer", "requestor")} <= set(urls)
    [patient] = [each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Patient"]
    assert patient["gender"] == "other"
    assert complaints(bundle) == ()
    seen = [subject for action, subject in pas.audit() if action == "inquire"]
    assert len(seen) == len(set(seen)) == 2


LEFT_OUT = [
    ("who asks", lambda b: b["entry"][0]["resource"].pop("provider"), "P022"),
    ("whom", lambda b: b["entry"][0]["resource"].pop("insurer"), "P022"),
    ("about whom", lambda b: b["entry"][0]["resource"].pop("patient"), "P022"),
    ("the member's number", lambda b: b["entry"][1]["resource"].pop("identifier"), "P067"),
    ("who the organization is", lambda b: b["entry"][4]["resource"].pop("identifier"), "P067"),
]


@pytest.mark.parametrize(("change", "rule"), [pytest.param(c, r, id=name) for name, c, r in LEFT_OUT])
def test_P067_an_inquiry_says_who_asks_whom_about_whom(change: Any, rule: str, pas: Pas) -> None:
    asked = inquiry()
    change(asked)
    answer = pas.inquire(asked)
    assert answer.status == 422
    assert rule in {each["diagnostics"] for each in answer.json["issue"]}


def test_P068_P069_numbers_are_search_keys_and_the_claims_identifier_is_none(pas: Pas) -> None:
    case = pas.case_of(pas.submit(request(values=MISSING)))
    pas.submit(request(number=1, identifier="other", items=[item(code="62323", system=CPT, order=None)]))
    pending = case.summary.lines[0].reference
    pas.settle(case, approve())  # the number of the pended request is superseded
    by_number = {"url": f"{EXT}administrationReferenceNumber", "valueString": pending}
    answer = pas.inquire(inquiry(extension=[by_number]))
    assert [actions(json.dumps(each)) for each in found(answer)] == [{1: "A1"}]
    number = pas.cases.case(case.id).summary.lines[0].number  # type: ignore[union-attr]
    granted = {"url": f"{EXT}authorizationNumber", "valueString": number}
    assert len(found(pas.inquire(inquiry(extension=[granted])))) == 1
    unknown = {"url": f"{EXT}authorizationNumber", "valueString": "ITA-UNKNOWN"}
    assert found(pas.inquire(inquiry(extension=[unknown]))) == []
    same_identifier = inquiry(number=2) | {}
    same_identifier["entry"][0]["resource"]["identifier"] = request()["entry"][0]["resource"]["identifier"]
    assert found(pas.inquire(same_identifier)) == []


def test_P070_every_line_that_was_ever_sent_is_told(pas: Pas) -> None:
    pas.submit(request(values=PERMANENT, items=[item(1), PUMP]))
    gone = item(1, extension=[info("changed")], modifierExtension=CANCELLED)
    pas.submit(
        update_of(request(values=PERMANENT, items=[item(1), PUMP]), identifier="B9", claim={"item": [gone, PUMP]})
    )
    assert [actions(json.dumps(each)) for each in found(pas.inquire(inquiry()))] == [{1: "C", 2: "A1"}]


def wanted(bundle: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """DTR context and texts of each thing that an answer asks for."""
    resources = [each["resource"] for each in bundle["entry"]]
    asked = [each for each in resources if each["resourceType"] == "CommunicationRequest"]
    return [(each["identifier"][0]["value"], [note["text"] for note in each["note"]]) for each in asked]


def test_P052_an_inquiry_repeats_what_is_still_wanted(pas: Pas) -> None:
    submitted = pas.submit(request(values=MISSING)).json
    (told,) = wanted(submitted)
    (bundle,) = found(pas.inquire(inquiry()))
    assert wanted(bundle) == [told]
    assert len(bundle["entry"][0]["resource"]["communicationRequest"]) == 1
    assert complaints(bundle) == ()
    pas.settle(pas.case_of(pas.submit(request(values=MISSING))), approve())
    assert wanted(found(pas.inquire(inquiry()))[0]) == []


def test_P073_a_service_narrows_and_not_applicable_does_not(pas: Pas) -> None:
    pas.submit(request())
    other = concept("http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "J2278")
    same = concept("http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "J2274")
    assert [len(found(pas.inquire(inquiry(service=each)))) for each in (ANY, same, other)] == [1, 1, 0]


def test_P074_what_was_pended_is_found_long_after_the_service(pas: Pas) -> None:
    case = pas.case_of(pas.submit(request(values=MISSING)))
    pas.settle(case, approve())
    pas.service.clock.at += 400 * 86_400
    pas.token = pas.service.system_token()
    assert len(found(pas.inquire(inquiry()))) == 1


def stranger(*, npi: str = "2000000002", number: int = 1, care_team: str = "") -> dict[str, Any]:
    """An inquiry of another clinic."""
    asked = inquiry(number=number)
    asked["entry"][4]["resource"]["identifier"] = [{"system": NPI, "value": npi}]
    if care_team:
        asked["entry"][5]["resource"]["identifier"] = [{"system": NPI, "value": care_team}]
        role = {
            "resourceType": "PractitionerRole",
            "id": "role-1",
            "practitioner": {"reference": "Practitioner/prac-1"},
        }
        asked["entry"].append({"fullUrl": "https://ehr.example.org/fhir/PractitionerRole/role-1", "resource": role})
        scope = {"url": f"{EXT}careTeamClaimScope", "valueBoolean": True}
        asked["entry"][0]["resource"]["careTeam"] = [
            {"extension": [scope], "sequence": 1, "provider": {"reference": "PractitionerRole/role-1"}}
        ]
    return asked


@pytest.fixture
def everybody(start: Starts) -> Pas:
    """A payer whose one client may ask for whatever organization."""
    return start(organizations=())


def test_P071_bad_input_112_another_provider_needs_the_member_and_the_provider(everybody: Pas) -> None:
    pas = everybody
    pas.submit(request())
    assert len(found(pas.inquire(stranger(care_team="1000000012")))) == 1  # the ordering provider
    assert len(found(pas.inquire(stranger(npi="1000000004")))) == 1  # the clinic itself
    for asked in (stranger(), stranger(care_team="3000000003"), stranger(number=2, care_team="1000000012")):
        assert found(pas.inquire(asked)) == []


def test_bad_input_112_what_is_not_yours_looks_like_what_is_not_there(everybody: Pas) -> None:
    pas = everybody
    unknown = pas.inquire(stranger())
    pas.submit(request())
    hidden = pas.inquire(stranger())
    assert (hidden.status, hidden.bytes) == (unknown.status, unknown.bytes)
    guess = {"url": f"{EXT}authorizationNumber", "valueString": pas.rows("SELECT number FROM pa_number")[0].number}
    assert found(pas.inquire(stranger() | {})) == []
    guessed = stranger(number=2)
    guessed["entry"][0]["resource"]["extension"] = [guess]
    assert found(pas.inquire(guessed)) == []
    assert pas.send("/pas/2.2/ClaimResponse/anything", None, method="GET").status == 404


def test_another_birth_date_is_another_person(everybody: Pas) -> None:
    everybody.submit(request())
    asked = copy.deepcopy(inquiry())
    asked["entry"][1]["resource"]["birthDate"] = "1970-01-01"
    assert found(everybody.inquire(asked)) == []


def test_P103_an_inquiry_is_audited_with_who_asked(pas: Pas) -> None:
    case = pas.case_of(pas.submit(request()))
    pas.inquire(inquiry())
    assert ("inquire", f"case/{case.id}") in pas.audit()
    pas.inquire(inquiry(number=9))
    assert ("inquire", "case/none") in pas.audit()


def test_the_answer_keeps_its_bytes_small_and_its_numbers_exact(pas: Pas) -> None:
    pas.submit(encoded(request()))
    line = claim_response(found(pas.inquire(inquiry()))[0])["item"][0]
    assert line["itemSequence"] == 1

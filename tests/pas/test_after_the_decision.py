"""What order-sign says while a request waits, while its authorization is in force, and afterwards (decisions 4)."""

from __future__ import annotations

from typing import Any

from tests.pas.test_changes import whole_cancelled
from tests.pas.test_settle import approve, denial
from tests.support.e2e_patient import PATIENT, call, chart, coverage, service_request
from tests.support.pas_bundles import (
    COMPLETE,
    CPT,
    RXNORM,
    TRIAL_DONE,
    concept,
    encoded,
    item,
    morphine,
    request,
    update_of,
)
from tests.support.pas_service import Pas, Starts, actions

MISSING = {key: value for key, value in COMPLETE.items() if key != "noninvasive_trial_weeks"}
PERMANENT = COMPLETE | TRIAL_DONE | {"request_type": "permanent"}
DAY = 86_400
MEMBER = {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MB"}]}}


def signing(pas: Pas, rate: str = "0.5", **changes: Any) -> dict[str, Any]:
    """coverage-information of a draft for the same member."""
    draft = morphine(rate, id="draft-1", status="draft", **changes)
    draft["subject"] = {"reference": f"Patient/{PATIENT}"}
    held = chart({}, coverage=[coverage(identifier=[MEMBER | {"value": "M0000001"}])])
    body = encoded(call(draft, held=held))
    answer = pas.service.post(body, "2.2").check()
    return answer.information()


def test_what_is_pended_is_told_at_order_sign(start: Starts) -> None:
    pas = start()
    assert signing(pas)["pa-needed"] == "auth-needed"
    case = pas.case_of(pas.submit(request(values=MISSING)))
    told = signing(pas)
    assert told["pa-needed"] == "auth-needed"
    assert "doc-needed" not in told, "nothing more is asked for while a request waits"
    pas.settle(case, denial())
    assert signing(pas).get("doc-needed"), "a request that was not certified is no pending one"


def test_an_approval_satisfies_the_same_drug_and_route_within_the_dose_while_in_force(start: Starts) -> None:
    pas = start()
    number = pas.case_of(pas.submit(request())).summary.lines[0].number
    told = signing(pas)
    assert (told["pa-needed"], told["satisfied-pa-id"]) == ("satisfied", number)
    assert signing(pas, "0.4")["pa-needed"] == "satisfied"  # less than authorized
    assert signing(pas, "0.6")["pa-needed"] == "auth-needed"  # 6 mg/d, authorized are 5
    baclofen = {"medicationCodeableConcept": concept(RXNORM, "1666613", text="baclofen 2 mg/mL")}
    assert signing(pas, **baclofen)["pa-needed"] == "auth-needed"
    epidural = morphine()["dosageInstruction"]
    epidural[0]["route"] = concept("http://snomed.info/sct", "404820008")
    assert signing(pas, dosageInstruction=epidural)["pa-needed"] == "auth-needed"
    pas.service.clock.at += 30 * DAY  # the last day: 1 April
    assert signing(pas)["pa-needed"] == "satisfied"
    pas.service.clock.at += DAY
    assert signing(pas)["pa-needed"] == "auth-needed"


def test_an_approved_pump_satisfies_its_own_order_and_no_drug(start: Starts) -> None:
    pas = start()
    answer = pas.submit(request(values=PERMANENT, items=[item(1, code="62362", system=CPT, order=None)]))
    number = pas.case_of(answer).summary.lines[0].number
    assert actions(answer) == {1: "A1"}
    assert signing(pas)["pa-needed"] == "auth-needed"
    held = chart({}, coverage=[coverage(identifier=[MEMBER | {"value": "M0000001"}])])
    told = pas.service.post(encoded(call(service_request("62362"), held=held)), "2.2").check().information()
    assert told["satisfied-pa-id"] == number


def test_a_reviewers_approval_satisfies_and_a_cancellation_ends_it(start: Starts) -> None:
    pas = start()
    case = pas.case_of(pas.submit(request(values=MISSING)))
    pas.settle(case, approve())
    assert signing(pas)["pa-needed"] == "satisfied"
    pas.submit(update_of(request(values=MISSING), identifier="B9", claim=whole_cancelled()))
    assert signing(pas)["pa-needed"] == "auth-needed"

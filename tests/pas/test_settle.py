"""A person decides: what may be decided, what decisions 6 forbids, and what goes out (P051, P053, P058, P066)."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from cds_service.domain.payer import ReviewRules
from cds_service.domain.prior_auth import (
    Authorized,
    CaseState,
    HumanDecision,
    LineDecision,
    Reason,
    ReviewAction,
    Reviewer,
)
from cds_service.errors import Conflict, NotAllowed, NotFound, RuleBroken
from cds_service.fhir.models import complaints
from cds_service.use_cases.settle_prior_auth import SettlePriorAuth
from tests.support.dtr_calls import Dtr, items, of_type, packages
from tests.support.e2e_service import with_payer
from tests.support.pas_bundles import COMPLETE, CPT, RXNORM, UCUM, concept, item, morphine, request, update_of
from tests.support.pas_service import NURSE, PHYSICIAN, Pas, Starts, action_of, actions, claim_response, extension, part

MISSING = {key: value for key, value in COMPLETE.items() if key != "noninvasive_trial_weeks"}
SPAN = (date(2026, 3, 2), date(2026, 4, 1))
REASON = Reason("The trial of oral opioids was shorter than six weeks.", criterion="I.2")
AGREED = Reason("Dr. Field agreed to 10 mg a day for the first month.", provision="prescriber agreement")


def approve(**daily: str) -> LineDecision:
    return LineDecision(sequence=1, action=ReviewAction.APPROVED, authorized=Authorized(*SPAN, daily=daily))


def denial(reason: Reason | None = REASON) -> LineDecision:
    return LineDecision(sequence=1, action=ReviewAction.NOT_CERTIFIED, reason=reason)


def modify(daily: str = "10", taper: str = "", reason: Reason | None = AGREED, **more: Any) -> LineDecision:
    authorized = Authorized(*SPAN, daily={"morphine": daily}, taper=taper, **more)
    return LineDecision(sequence=1, action=ReviewAction.MODIFIED, reason=reason, authorized=authorized)


def pended(pas: Pas, **changes: Any) -> Any:
    return pas.case_of(pas.submit(request(**{"values": MISSING, **changes})))


def test_P058_an_approval_by_a_person_says_so(pas: Pas) -> None:
    case = pended(pas)
    bundle = json.loads(pas.settle(case, approve()).response)
    response = claim_response(bundle)
    assert action_of(response["item"][0]) == "A1"
    reviewer = extension(response, "claimResponseReviewer")[0]["extension"]
    assert reviewer[0] == {"url": "wasHumanReviewedFlag", "valueBoolean": True}
    assert reviewer[1]["valueIdentifier"]["value"] == PHYSICIAN.npi
    after = pas.cases.case(case.id)
    assert after is not None
    assert (after.state, after.version, after.due) == (CaseState.DECIDED, 2, None)
    assert complaints(bundle) == ()


def test_P051_what_is_not_certified_has_its_reason_twice(pas: Pas) -> None:
    response = claim_response(json.loads(pas.settle(pended(pas), denial()).response))
    line = response["item"][0]
    assert action_of(line) == "A3"
    assert part(line, "reasonCode")["valueCodeableConcept"]["text"] == REASON.text
    note = {each["number"]: each["text"] for each in response["processNote"]}[line["noteNumber"][0]]
    assert REASON.text in note
    assert extension(line, "administrationReferenceNumber")


def test_P053_a_modification_says_what_is_authorized_instead(pas: Pas) -> None:
    case = pended(pas, values=COMPLETE, order=morphine("1.6"), items=[item()])
    decision = modify("10", quantity="31")
    bundle = json.loads(pas.settle(case, decision).response)
    response = claim_response(bundle)
    assert action_of(response["item"][0]) == "A6"
    added = response["addItem"][0]
    assert added["itemSequence"] == [1]
    assert added["quantity"]["value"] == 31
    assert action_of(added) == "A1"
    assert extension(added, "requestedService")
    assert complaints(bundle) == ()
    granted = pas.service.sql.authorizations("M0000001")
    assert [(each.status, dict(each.max_daily)) for each in granted if each.status == "active"] == [
        ("active", {"morphine": "10 mg/d"})
    ]


def test_P053_a_modification_says_the_amount_and_how_the_dose_comes_down(pas: Pas) -> None:
    """PAS has no element for either; without these words a prescriber would not learn what was changed."""
    case = pended(pas, values=COMPLETE, order=morphine("1.6"), items=[item()])
    response = claim_response(json.loads(pas.settle(case, modify("10", taper="One mg less each week.")).response))
    notes = {each["number"]: each["text"] for each in response["processNote"]}
    said = [notes[number] for number in response["item"][0]["noteNumber"]]
    assert said == [
        f"Line 1: {AGREED.text}",
        "Line 1: authorized: morphine up to 10 mg per day (asked for: 16)",
        "Line 1: how the dose comes down: One mg less each week.",
    ]


FORBIDDEN: list[tuple[str, LineDecision, str]] = [
    ("A3 without a reason", denial(None), "items[0].reason.text"),
    ("A3 with a word for a reason", denial(Reason("no", criterion="I.2")), "items[0].reason.text"),
    ("A3 that names nothing", denial(Reason("It is not shown to be needed.")), "items[0].reason"),
    ("the dose table alone", denial(Reason("16 mg/d is above the limit of 15.", criterion="dose table")),
     "items[0].reason"),
    ("the dose table alone, called a provision",
     denial(Reason("16 mg/d is above the limit of 15.", provision="Informational dose table")), "items[0].reason"),
    ("the dose table twice",
     denial(Reason("16 mg/d is above the limit of 15.", criterion="dose_limit", provision="Dosage table")),
     "items[0].reason"),
    ("a criterion that the guideline does not have",
     denial(Reason("It is not shown to be needed.", criterion="IX.7")), "items[0].reason.criterion"),
    ("the same beside a provision",
     denial(Reason("It is not shown to be needed.", criterion="IX.7", provision="Contract, section 4")),
     "items[0].reason.criterion"),
    ("A6 that authorizes nothing of what was asked for: that is A3, whatever it is called",
     modify("0", taper="Stopped at once."), "items[0].authorized.daily"),
    ("A6 without a reason", modify(reason=None), "items[0].reason.text"),
    ("A6 of another drug", msgspec.structs.replace(modify(), authorized=Authorized(*SPAN, daily={"baclofen": "1"})),
     "items[0].authorized.daily"),
    ("A6 below the current dose", modify("5"), "items[0].authorized.taper"),
    ("A6 without dates", msgspec.structs.replace(modify(), authorized=None), "items[0].authorized"),
    ("A1 of less than was asked", approve(morphine="9"), "items[0].authorized.daily"),
    ("A1 with an end before the start", LineDecision(
        sequence=1, action=ReviewAction.APPROVED, authorized=Authorized(SPAN[1], SPAN[0])), "items[0].authorized.end"),
    ("A3 that authorizes", msgspec.structs.replace(denial(), authorized=Authorized(*SPAN)), "items[0].authorized"),
    ("an amount that is none", modify("ten"), "items[0].authorized.daily"),
    ("a line that is not there", msgspec.structs.replace(approve(), sequence=9), "items[0].sequence"),
    ("a cancellation", msgspec.structs.replace(denial(), action=ReviewAction.CANCELLED), "items[0].action"),
]  # fmt: skip
RUNNING = morphine("0.8", id="running-1")  # 8 mg/d at this moment


@pytest.mark.parametrize(("decision", "where"), [pytest.param(d, w, id=name) for name, d, w in FORBIDDEN])
def test_what_decisions_6_forbids_cannot_be_written(decision: LineDecision, where: str, pas: Pas) -> None:
    case = pended(pas, values=COMPLETE, order=morphine("1.6"), more=[RUNNING])
    assert case.summary.lines[0].current_daily == {"morphine": "8"}
    with pytest.raises(RuleBroken) as caught:
        pas.settle(case, decision)
    assert caught.value.expression == where
    assert len(pas.cases.versions(case.id)) == 1


def test_less_than_the_current_dose_needs_a_taper_note(pas: Pas) -> None:
    case = pended(pas, values=COMPLETE, order=morphine("1.6"), more=[RUNNING])
    pas.settle(case, modify("5", taper="1 mg less each week, as agreed with Dr. Field"))
    line = pas.cases.case(case.id).summary.lines[0]  # type: ignore[union-attr]
    assert line.authorized is not None
    assert (line.action, dict(line.authorized.daily)) == (ReviewAction.MODIFIED, {"morphine": "5"})


def mixture(identifier: str, daily_ml: str) -> dict[str, Any]:
    """Morphine 10 mg/mL and clonidine 0.5 mg/mL, so many mL a day."""
    parts = [
        {"itemCodeableConcept": concept(RXNORM, code), "isActive": True,
         "strength": {"numerator": {"value": value, "system": UCUM, "code": "mg"},
                      "denominator": {"value": 1, "system": UCUM, "code": "mL"}}}
        for code, value in (("7052", 10), ("2599", 0.5))
    ]  # fmt: skip
    bag = {"resourceType": "Medication", "id": "bag", "ingredient": parts}
    order = morphine(daily_ml, id=identifier, contained=[bag], medicationReference={"reference": "#bag"})
    order.pop("medicationCodeableConcept")
    return order


@pytest.mark.parametrize(
    ("decision", "where"),
    [
        (approve(clonidine="0.8"), "items[0].authorized.daily"),  # A1 that leaves out the morphine
        (
            msgspec.structs.replace(modify(), authorized=Authorized(*SPAN, daily={"clonidine": "0.8"})),
            "items[0].authorized.taper",  # A6 that stops the morphine
        ),
    ],
)
def test_a_drug_of_a_mixture_that_is_left_out_is_not_granted(decision: LineDecision, where: str, pas: Pas) -> None:
    case = pended(pas, order=mixture("order-1", "1.6"), more=[mixture("running-1", "0.8")], items=[item(code="J3490")])
    assert "morphine" in case.summary.lines[0].current_daily
    with pytest.raises(RuleBroken) as caught:
        pas.settle(case, decision)
    assert caught.value.expression == where


def test_an_adverse_decision_is_signed_by_who_may(start: Starts) -> None:
    pas = start()
    case = pended(pas)
    with pytest.raises(NotAllowed):
        pas.settle(case, denial(), reviewer=NURSE)
    pas.settle(case, denial(), reviewer=NURSE, seconded_by=PHYSICIAN)
    other = start(configuration=with_payer(review=ReviewRules(adverse_signers=("physician", "pharmacist"))))
    pharmacist = Reviewer("rx-1", "Dora Weir", "pharmacist")
    other.settle(pended(other, number=2), denial(), reviewer=pharmacist)


def test_a_payer_may_want_two_pairs_of_eyes(start: Starts) -> None:
    pas = start(configuration=with_payer(review=ReviewRules(second_reviewer=True)))
    case = pended(pas)
    for second in (None, PHYSICIAN):
        with pytest.raises(NotAllowed):
            pas.settle(case, denial(), seconded_by=second)
    pas.settle(case, denial(), seconded_by=NURSE)
    assert pas.settle(pended(pas, number=2), approve()).n == 2  # an approval needs one


def test_more_is_asked_for_under_a_context_of_its_own(pas: Pas) -> None:
    case = pended(pas)
    version = pas.settle(case, wanted_facts=("intraspinal_trial_date",), note="When was the trial?")
    bundle = json.loads(version.response)
    assert actions(version.response) == {1: "A4"}
    asked = bundle["entry"][1]["resource"]
    assert asked["note"] == [{"text": "Date of the trial"}]
    context = asked["identifier"][0]["value"]
    assert context == f"{case.tracking_number}.2"
    assert pas.rows(f"SELECT 1 FROM determination WHERE id = 'documentation~{context}'")
    with pytest.raises(RuleBroken):
        pas.settle(case, wanted_facts=("no_such_fact",), version_seen=2)


def test_the_draft_is_what_would_be_sent_and_writes_nothing(pas: Pas) -> None:
    case = pended(pas)
    decision = HumanDecision(case_id=case.id, version_seen=1, reviewer=PHYSICIAN, items=(approve(),))
    draft = json.loads(SettlePriorAuth(pas.parts).draft(decision))
    assert len(pas.cases.versions(case.id)) == 1
    sent = json.loads(pas.settle(case, approve()).response)
    for bundle in (draft, sent):
        bundle.pop("id")
        bundle["entry"][0].pop("fullUrl")
        bundle["entry"][0]["resource"].pop("id")
    assert draft == sent


def test_a_decision_on_what_has_moved_on_is_refused(pas: Pas) -> None:
    case = pended(pas)
    with pytest.raises(Conflict):
        pas.settle(case, approve(), version_seen=2)
    pas.settle(case, approve())
    with pytest.raises(Conflict):
        pas.settle(case, denial())
    with pytest.raises(NotFound):
        pas.settle(msgspec.structs.replace(case, id="nobody"), approve())


def test_P066_one_line_of_two_may_be_decided(pas: Pas) -> None:
    case = pended(pas, items=[item(1), item(2, code="62362", system=CPT, order=None)])
    version = pas.settle(case, approve())
    assert actions(version.response) == {1: "A1", 2: "A4"}
    after = pas.cases.case(case.id)
    assert after is not None
    assert (after.state, after.due) == (CaseState.PENDED, case.due)


def test_P047_lines_stay_in_the_order_of_the_request(pas: Pas) -> None:
    """Who lays two answers side by side finds each line in its place."""
    lines = [item(7), item(3, code="62323", system=CPT, order=None)]
    answer = pas.submit(request(values=MISSING, items=lines))
    assert list(actions(answer)) == [7, 3]
    case = pas.case_of(answer)
    bundle = pas.settle(case, msgspec.structs.replace(approve(), sequence=7)).response
    assert actions(bundle) == {7: "A1", 3: "A4"}
    assert list(actions(bundle)) == [7, 3]
    added = item(1, code="62370", system=CPT, order=None)
    update = update_of(request(values=MISSING, items=lines), identifier="U-1", claim={"item": [*lines, added]})
    assert list(actions(pas.submit(update))) == [7, 3, 1]


def test_the_log_tells_machine_and_person_apart(pas: Pas) -> None:
    pas.settle(pended(pas), approve())
    pas.submit(request(number=2))
    rows = pas.rows("SELECT detail FROM case_event WHERE kind = 'line_decided' ORDER BY seq")
    assert [json.loads(row.detail)["machine"] for row in rows] == [False, True]


def test_a_reason_code_is_held_against_the_licensed_list_where_there_is_one(pas: Pas) -> None:
    case = pended(pas)
    coded = denial(msgspec.structs.replace(REASON, code="0A"))
    known = msgspec.structs.replace(pas.parts, knows_reason=lambda code: code == "0B")
    decision = HumanDecision(case_id=case.id, version_seen=1, reviewer=PHYSICIAN, items=(coded,))
    with pytest.raises(RuleBroken) as caught:
        SettlePriorAuth(known).settle(decision)
    assert caught.value.expression == "items[0].reason.code"
    line = claim_response(json.loads(pas.settle(case, coded).response))["item"][
        0
    ]  # without a list every code may stand
    assert part(line, "reasonCode")["valueCodeableConcept"]["coding"][0]["code"] == "0A"


def test_P052_PS09_what_a_reviewer_asks_for_is_a_form_of_just_those_questions(pas: Pas) -> None:
    """The whole form again would make the clinic answer sixteen questions for one."""
    wanted = ("intraspinal_trial_date", "noninvasive_methods")
    bundle = request(values=COMPLETE, order=morphine("1.6"), items=[item()])
    case = pended(pas, values=COMPLETE, order=morphine("1.6"), items=[item()])
    response = json.loads(pas.settle(case, wanted_facts=wanted).response)
    asks = response["entry"][1]["resource"]
    coverage = next(each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Coverage")
    payer = next(each["resource"] for each in bundle["entry"] if each["resource"]["id"] == "payer-1")
    coverage |= {"contained": [payer | {"id": "p"}], "payor": [{"reference": "#p"}]}
    dtr = Dtr(pas.service)
    answer = dtr.package("2.2", coverage=coverage, context=asks["identifier"][0]["value"])
    (package,) = packages(answer, "2.2")
    assert of_type(package, "Questionnaire")[0]["url"].endswith("-adaptive")
    grown = dtr.post("next-question", of_type(package, "QuestionnaireResponse")[0], "2.2").json
    asked = {each["linkId"] for each in items(grown["contained"][0]) if each["type"] not in {"group", "display"}}
    assert asked == {*wanted, "attestation_name", "attestation_date"}
    assert dtr.post("next-question", grown, "2.2").json["status"] == "completed"

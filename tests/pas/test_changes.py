"""Updates, cancellations, renewals (rows P080-P088, 116), and what order-sign finds on file afterwards."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cds_service.domain.prior_auth import Authorized, CaseState, LineDecision, Reason, ReviewAction
from cds_service.errors import Conflict
from tests.support.e2e_service import with_payer
from tests.support.pas_bundles import (
    COMPLETE,
    CPT,
    EXT,
    PAS,
    TRIAL_DONE,
    X12,
    concept,
    item,
    morphine,
    request,
    update_of,
)
from tests.support.pas_service import Pas, Starts, actions, claim_response, extension, notes, with_rules

MISSING = {key: value for key, value in COMPLETE.items() if key != "noninvasive_trial_weeks"}
CANCELLED = [{"url": f"{PAS}/StructureDefinition/modifierextension-infoCancelled", "valueBoolean": True}]
PERMANENT = COMPLETE | TRIAL_DONE | {"request_type": "permanent"}
PUMP = item(2, code="62362", system=CPT, order=None)


def info(code: str) -> dict[str, Any]:
    return {"url": f"{EXT}infoChanged", "valueCode": code}


def whole_cancelled() -> dict[str, Any]:
    kind = {"url": f"{EXT}certificationType", "valueCodeableConcept": concept(f"{X12}1322", "3")}
    return {"extension": [kind], "item": []}


def answered(bundle: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The same Bundle with other answers in its form."""
    fresh = request(values=COMPLETE | values)
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "QuestionnaireResponse":
            entry["resource"] = fresh["entry"][7]["resource"]
    return bundle


def test_P080_P081_an_update_with_what_was_wanted_is_decided(pas: Pas) -> None:
    first = pas.submit(request(values=MISSING))
    case = pas.case_of(first)
    answer = pas.submit(answered(update_of(request(values=MISSING), identifier="B-update")))
    assert (answer.status, actions(answer)) == (200, {1: "A1"})
    after = pas.case_of(answer)
    assert (after.id, after.version, after.state, after.due) == (case.id, 2, CaseState.DECIDED, None)
    assert [version.kind for version in pas.cases.versions(case.id)] == ["submit", "update"]


def test_P080_an_update_with_the_same_transaction_identifier_is_an_update_and_replayed_by_its_content(pas: Pas) -> None:
    # The guide's own example of an update repeats the Bundle identifier of what it updates.
    pas.submit(request(values=MISSING))
    changed = answered(update_of(request(values=MISSING), identifier="B0000001"))
    first, again = pas.submit(changed), pas.submit(changed)
    assert (actions(first), again.bytes) == ({1: "A1"}, first.bytes)
    assert len(pas.rows("SELECT 1 FROM pa_version")) == 2


BROKEN = [
    ("an earlier item is left out", {"item": [item(2, order=None)]}, "P081"),
    ("a sequence is used for another service", {"item": [item(1, code="J2278"), PUMP]}, "P081"),
    ("a supportingInfo is left out", {"supportingInfo": []}, "P081"),
]


@pytest.mark.parametrize(("claim", "rule"), [pytest.param(claim, rule, id=name) for name, claim, rule in BROKEN])
def test_P081_earlier_entries_stay_with_their_sequences(claim: dict[str, Any], rule: str, pas: Pas) -> None:
    pas.submit(request(values=PERMANENT, items=[item(1), PUMP]))
    answer = pas.submit(update_of(request(values=PERMANENT, items=[item(1), PUMP]), identifier="B9", claim=claim))
    assert answer.status == 422
    assert {each["diagnostics"] for each in answer.json["issue"]} == {rule}


@pytest.mark.parametrize("word", ["added", "changed"])
def test_P082_an_added_line_may_be_called_added_or_changed(word: str, pas: Pas) -> None:
    pas.submit(request(values=PERMANENT))
    added = item(2, code="62362", system=CPT, order=None, extension=[info(word)])
    answer = pas.submit(update_of(request(values=PERMANENT), identifier="B9", claim={"item": [item(1), added]}))
    assert actions(answer) == {1: "A1", 2: "A1"}


def test_P082_only_what_changed_is_judged_anew(pas: Pas) -> None:
    first = pas.submit(request(values=PERMANENT, items=[item(1), PUMP]))
    number = [line.number for line in pas.case_of(first).summary.lines]
    changed = update_of(request(values=PERMANENT, items=[item(1), PUMP], order=morphine("1.6")), identifier="B9")
    changed["entry"][0]["resource"]["item"][0]["extension"].append(info("changed"))
    answer = pas.submit(changed)
    assert actions(answer) == {1: "A4", 2: "A1"}  # the new dose is above the table
    assert pas.case_of(answer).summary.lines[1].number == number[1]
    on_file = {each.number: each.status for each in pas.service.sql.authorizations("M0000001")}
    assert on_file[number[0]] == "active"  # what was granted goes on until the change is decided


@pytest.mark.parametrize("by", ["modifier", "certification"])
def test_P083_a_cancelled_line_is_answered_and_gone_from_file(by: str, pas: Pas) -> None:
    first = pas.submit(request(values=PERMANENT, items=[item(1), PUMP]))
    number = pas.case_of(first).summary.lines[0].number
    certification = "3" if by == "certification" else "I"
    more = {"modifierExtension": CANCELLED} if by == "modifier" else {}
    gone = item(1, certification=certification, extension=[info("changed")], **more)
    answer = pas.submit(
        update_of(request(values=PERMANENT, items=[item(1), PUMP]), identifier="B9", claim={"item": [gone, PUMP]})
    )
    assert actions(answer) == {1: "C", 2: "A1"}
    on_file = {each.number: each.status for each in pas.service.sql.authorizations("M0000001")}
    assert on_file[number] == "revoked"


def test_P084_P088_a_whole_request_is_cancelled(pas: Pas) -> None:
    case = pas.case_of(pas.submit(request(values=MISSING)))
    assert [each.status for each in pas.service.sql.authorizations("M0000001")] == ["pending"]
    answer = pas.submit(update_of(request(values=MISSING), identifier="B9", claim=whole_cancelled()))
    assert (answer.status, actions(answer)) == (200, {1: "C"})
    after = pas.case_of(answer)
    assert (after.state, after.due) == (CaseState.CANCELLED, None)
    assert [each.status for each in pas.service.sql.authorizations("M0000001")] == ["revoked"]
    with pytest.raises(Conflict):  # a decision that comes too late
        pas.settle(case, approval(), version_seen=2)
    again = pas.submit(update_of(request(values=MISSING), identifier="B10", claim=whole_cancelled()))
    assert again.status == 422
    update = pas.submit(answered(update_of(request(values=MISSING), identifier="B11")))
    assert (update.status, update.json["issue"][0]["diagnostics"]) == (422, "P088")


def approval(sequence: int = 1) -> LineDecision:
    span = Authorized(date(2026, 3, 2), date(2026, 4, 1))
    return LineDecision(sequence=sequence, action=ReviewAction.APPROVED, authorized=span)


def test_P088_cancelling_and_deciding_at_once_has_one_winner(pas: Pas) -> None:
    case = pas.case_of(pas.submit(request(values=MISSING)))
    pas.settle(case, approval())
    with pytest.raises(Conflict):
        pas.settle(case, approval())
    kinds = [version.kind for version in pas.cases.versions(case.id)]
    assert kinds == ["submit", "decision"]


def test_P085_a_line_that_was_not_certified_cannot_be_updated(pas: Pas) -> None:
    from tests.pas.test_settle import denial  # noqa: PLC0415

    case = pas.case_of(pas.submit(request(values=MISSING)))
    pas.settle(case, denial())
    gone = item(1, extension=[info("changed")])
    answer = pas.submit(update_of(request(values=MISSING), identifier="B9", claim={"item": [gone]}))
    assert (answer.status, answer.json["issue"][0]["diagnostics"]) == (422, "P085")


def test_P086_a_payer_may_take_no_updates(start: Starts) -> None:
    pas = start(configuration=with_rules(updates="refuse"))
    pas.submit(request(values=MISSING))
    answer = pas.submit(answered(update_of(request(values=MISSING), identifier="B9")))
    response = claim_response(answer.json)
    assert (answer.status, response["outcome"]) == (200, "error")
    assert "takes no updates" in response["error"][0]["code"]["text"]


def test_P087_a_differential_update_of_2_0_1_gets_a_partial_answer(pas: Pas) -> None:
    pas.submit(request(values=PERMANENT, items=[item(1), PUMP]), "2.0.1")
    gone = item(2, code="62362", system=CPT, order=None, certification="3", modifierExtension=CANCELLED)
    answer = pas.submit(request(values=PERMANENT, items=[gone], identifier="B9"), "2.0.1")
    assert actions(answer) == {2: "C"}
    assert claim_response(answer.json)["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert [line.action.value for line in pas.case_of(answer).summary.lines] == ["A1", "C"]


def test_bad_input_116_an_update_of_an_unknown_request_is_not_found(pas: Pas) -> None:
    pas.submit(request())
    unknown = update_of(request(number=2), identifier="B9")
    answer = pas.submit(unknown)
    assert (answer.status, answer.json["issue"][0]["code"]) == (404, "not-found")


def test_bad_input_116_an_update_of_another_senders_request_is_not_found(pas: Pas, database: Any) -> None:
    pas.submit(request())
    with pas.service.sql.database.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE pa_case SET sender = 'somebody-else'")
    other, unknown = (
        pas.submit(update_of(request(), identifier="B9")),
        pas.submit(update_of(request(number=2), identifier="B10")),
    )
    assert (other.status, other.bytes) == (404, unknown.bytes)
    del database


def renewed(number: str) -> dict[str, Any]:
    """A second request, which names an authorization of before."""
    previous = {"url": f"{EXT}authorizationNumber", "valueString": number}
    return request(identifier="renewal", values=PERMANENT, items=[item(extension=[previous])])


def test_a_renewal_names_the_number_of_before(start: Starts) -> None:
    pas = start(configuration=with_payer(renewal="as_section_II"))
    number = pas.case_of(pas.submit(request(values=PERMANENT))).summary.lines[0].number
    answer = pas.submit(renewed(number))
    assert actions(answer) == {1: "A1"}  # not taken for a second request of the same
    (previous,) = extension(claim_response(answer.json)["item"][0], "authorizationNumber")
    assert previous["valueString"] == number
    assert [version.kind for version in pas.cases.versions(pas.case_of(answer).id)] == ["renewal"]


def test_what_names_a_number_of_before_is_a_renewal_whatever_its_form_says(pas: Pas) -> None:
    # "Permanent", says the form once more; but a year of therapy is to be looked at before the next (decisions 3).
    number = pas.case_of(pas.submit(request(values=PERMANENT))).summary.lines[0].number
    answer = pas.submit(renewed(number))
    assert actions(answer) == {1: "A4"}
    assert "refill or renewal" in notes(answer)


def test_a_renewal_of_nothing_waits_for_a_person(start: Starts) -> None:
    pas = start(configuration=with_payer(renewal="as_section_II"))
    answer = pas.submit(renewed("ITA-UNKNOWN-1"))
    assert actions(answer) == {1: "A4"}
    assert "none of this member's authorizations" in notes(answer)


def test_a_case_that_is_reopened_by_an_update_has_a_new_clock(pas: Pas) -> None:
    pas.submit(request())
    pas.service.clock.at += 10 * 86_400
    pas.token = pas.service.system_token()
    changed = update_of(request(order=morphine("1.6")), identifier="B9")
    changed["entry"][0]["resource"]["item"][0]["extension"].append(info("changed"))
    case = pas.case_of(pas.submit(changed))
    assert case.due is not None
    assert (case.due - pas.service.clock.now()).days == 7


def deceased(bundle: dict[str, Any]) -> dict[str, Any]:
    """The same Bundle about a patient who has died meanwhile."""
    bundle["entry"][1]["resource"]["deceasedDateTime"] = "2026-03-01"
    return bundle


def on_file(pas: Pas) -> dict[str, str]:
    return {each.number: each.status for each in pas.service.sql.authorizations("M0000001")}


def test_P082_an_update_that_tells_of_a_death_leaves_no_approval_unlooked_at(pas: Pas) -> None:
    # What was given before the death is still to be paid for, so nothing is ended by machine; but nobody may go on
    # reading that the pump and its drug are approved. A person ends it with the day of death as its last.
    first = pas.case_of(pas.submit(request(values=PERMANENT, items=[item(1), PUMP])))
    told = deceased(update_of(request(values=PERMANENT, items=[item(1), PUMP]), identifier="B9"))
    answer = pas.submit(told)
    assert actions(answer) == {1: "A4", 2: "A4"}
    assert "deceased" in notes(answer)
    case, numbers = pas.case_of(answer), [line.number for line in first.summary.lines]
    assert case.due is not None
    assert {number: on_file(pas)[number] for number in numbers} == dict.fromkeys(numbers, "active")
    ended = Authorized(date(2026, 3, 1), date(2026, 3, 1), taper="the patient has died")
    agreed = Reason("ends with the day of the patient's death", provision="prescriber agreement")
    pas.settle(
        case, *(LineDecision(sequence=n, action=ReviewAction.MODIFIED, authorized=ended, reason=agreed) for n in (1, 2))
    )
    after = pas.cases.case(case.id)
    assert after is not None
    assert {on_file(pas)[number] for number in numbers} == {"revoked"}
    given = [line.number for line in after.summary.lines]
    assert [on_file(pas)[number] for number in given] == ["active", "active"]
    assert not set(given) & set(numbers)  # a number is never given twice
    # The same told once more is nothing new: the person's decision stays.
    again = deceased(update_of(request(values=PERMANENT, items=[item(1), PUMP]), identifier="B10"))
    assert actions(pas.submit(again)) == {1: "A6", 2: "A6"}


def test_P082_P087_a_partial_update_that_tells_of_a_death_reopens_the_lines_that_it_does_not_name(pas: Pas) -> None:
    pas.submit(request(values=PERMANENT, items=[item(1), PUMP]), "2.0.1")
    changed = item(2, code="62362", system=CPT, order=None, extension=[info("changed")])
    answer = pas.submit(deceased(request(values=PERMANENT, items=[changed], identifier="B9")), "2.0.1")
    assert [line.action.value for line in pas.case_of(answer).summary.lines] == ["A4", "A4"]


def ending(bundle: dict[str, Any]) -> None:
    bundle["entry"][2]["resource"]["period"]["end"] = "2026-03-01"


def cancer(bundle: dict[str, Any]) -> None:
    bundle["entry"][8]["resource"]["code"] = concept("http://hl7.org/fhir/sid/icd-10-cm", "G89.3")


def larger(bundle: dict[str, Any]) -> None:
    bundle["entry"][6]["resource"] = morphine("1")


def larger_than_the_table(bundle: dict[str, Any]) -> None:
    bundle["entry"][6]["resource"] = morphine("1.6")


def relieved(bundle: dict[str, Any]) -> None:
    answered(bundle, noninvasive_trial_outcome="adequate_relief")


# What an update says beside lines that it does not call changed, and what becomes of the approved one.
BESIDE: list[tuple[str, Any, str]] = [
    ("the coverage has ended", ending, "A4"),
    ("a cancer by now", cancer, "A4"),
    ("tablets have helped after all", relieved, "A4"),
    # The item is as it was, the order behind it is not: the dose that was approved is not the one that is asked for.
    ("twice the dose", larger, "A1"),
    ("a dose above the table", larger_than_the_table, "A4"),
    ("nothing", lambda _bundle: None, "A1"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "action"), [pytest.param(*rest, id=name) for name, *rest in BESIDE])
def test_P082_what_an_update_says_beside_its_lines(change: Any, action: str, pas: Pas) -> None:
    first = pas.case_of(pas.submit(request())).summary.lines[0]
    told = update_of(request(), identifier="B9")
    change(told)
    answer = pas.submit(told)
    line = pas.case_of(answer).summary.lines[0]
    assert actions(answer) == {1: action}
    if change is larger:
        assert (line.authorized and line.authorized.daily, line.number != first.number) == ({"morphine": "10"}, True)
        assert on_file(pas) == {first.number: "revoked", line.number: "active"}
    elif action == "A1":
        assert line == first
    else:
        assert on_file(pas)[first.number] == "active"


def test_P082_time_alone_reopens_nothing(pas: Pas) -> None:
    # The attestation is too old by now for an approval; what was approved on it stands.
    pas.submit(request(values=PERMANENT, items=[item(1), PUMP]))
    pas.service.clock.at += 120 * 86_400
    pas.token = pas.service.system_token()
    assert actions(pas.submit(update_of(request(values=PERMANENT, items=[item(1), PUMP]), identifier="B9"))) == {
        1: "A1",
        2: "A1",
    }


def test_P083_what_is_cancelled_and_asked_for_again_has_another_number(pas: Pas) -> None:
    first = pas.case_of(pas.submit(request(values=PERMANENT))).summary.lines[0].number
    gone = item(1, extension=[info("changed")], modifierExtension=CANCELLED)
    pump = item(2, code="62362", system=CPT, order=None, extension=[info("added")])
    assert (
        actions(pas.submit(update_of(request(values=PERMANENT), identifier="B9", claim={"item": [gone, pump]})))[1]
        == "C"
    )
    back = item(1, extension=[info("changed")])
    answer = pas.submit(update_of(request(values=PERMANENT), identifier="B10", claim={"item": [back, pump]}))
    assert actions(answer)[1] == "A1"
    again = pas.case_of(answer).summary.lines[0].number
    assert again != first
    assert (on_file(pas)[first], on_file(pas)[again]) == ("revoked", "active")


def test_a_change_that_is_not_certified_ends_what_was_granted_before(pas: Pas) -> None:
    from tests.pas.test_settle import denial  # noqa: PLC0415

    first = pas.case_of(pas.submit(request())).summary.lines[0].number
    changed = update_of(request(order=morphine("1.6")), identifier="B9")
    changed["entry"][0]["resource"]["item"][0]["extension"].append(info("changed"))
    case = pas.case_of(pas.submit(changed))
    assert on_file(pas)[first] == "active"
    pas.settle(case, denial())
    assert on_file(pas)[first] == "revoked"


@pytest.mark.parametrize(("opened", "other"), [("2.2", "2.0.1"), ("2.0.1", "2.2")])
@pytest.mark.parametrize("claim", [{}, whole_cancelled()], ids=["update", "cancellation"])
def test_P006_P080_a_change_comes_by_the_base_of_its_request(
    opened: str, other: str, claim: dict[str, Any], pas: Pas
) -> None:
    case = pas.case_of(pas.submit(request(values=MISSING), opened))
    answer = pas.submit(answered(update_of(request(values=MISSING), identifier="B9", claim=claim)), other)
    (issue,) = answer.json["issue"]
    assert (answer.status, issue["diagnostics"]) == (422, "P006")
    assert f"PAS {opened}" in issue["details"]["text"]
    assert pas.cases.case(case.id) == case


def test_P006_P087_half_an_update_of_2_0_1_does_not_change_a_request_of_2_2(pas: Pas) -> None:
    pas.submit(request(values=PERMANENT, items=[item(1), PUMP]))
    gone = item(2, code="62362", system=CPT, order=None, certification="3", modifierExtension=CANCELLED)
    answer = pas.submit(request(values=PERMANENT, items=[gone], identifier="B9"), "2.0.1")
    assert (answer.status, answer.json["issue"][0]["diagnostics"]) == (422, "P006")


def test_P087_P092_half_an_update_does_not_ask_again_for_a_line_that_it_leaves_out(pas: Pas) -> None:
    pas.submit(request(values=PERMANENT, items=[item(1)]), "2.0.1")
    again = item(2, extension=[info("added")])
    answer = pas.submit(request(values=PERMANENT, items=[again], identifier="B9"), "2.0.1")
    assert [line.action.value for line in pas.case_of(answer).summary.lines] == ["A1", "A4"]
    assert "line 1 of this request asks for the same service already" in notes(answer)


def test_what_a_reviewer_asked_for_is_answered_before_a_machine_decides(pas: Pas) -> None:
    # The reviewer wants to know how the trial went; an update that only brings the weeks could be approved without.
    case = pas.case_of(pas.submit(request(values=MISSING)))
    pas.settle(case, wanted_facts=("predominantly_neuropathic",))
    for identifier in ("B9", "B10"):  # nor when the same is sent once more
        partly = pas.submit(answered(update_of(request(values=MISSING), identifier=identifier)))
        assert actions(partly) == {1: "A4"}
        assert "a reviewer asked for answers" in notes(partly)


def test_what_a_reviewer_asked_for_and_got_may_be_decided_by_machine(pas: Pas) -> None:
    case = pas.case_of(pas.submit(request(values=MISSING)))
    pas.settle(case, wanted_facts=("predominantly_neuropathic",))
    whole = answered(update_of(request(values=MISSING), identifier="B9"), predominantly_neuropathic="no")
    assert actions(pas.submit(whole)) == {1: "A1"}

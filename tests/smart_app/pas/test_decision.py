"""Responses of payers in words of the clinic."""

from __future__ import annotations

from datetime import date

import pytest

from smart_app.pas.decision import Standing, Unreadable, read_decision
from smart_app.pas.matching import bundles_in, response_bundle
from smart_app.pas.systems import PAS, REVIEW_ACTION


def item(sequence: int, code: str, *parts: dict, **more: object) -> dict:
    action = {"coding": [{"system": REVIEW_ACTION, "code": code}]}
    review = [*parts, {"url": f"{PAS}extension-reviewActionCode", "valueCodeableConcept": action}]
    return {
        "itemSequence": sequence,
        "adjudication": [{"extension": [{"url": f"{PAS}extension-reviewAction", "extension": review}]}],
        **more,
    }


def response(*items: dict, **more: object) -> dict:
    claim_response = {"resourceType": "ClaimResponse", "outcome": "complete", "item": list(items), **more}
    return {"resourceType": "Bundle", "entry": [{"resource": claim_response}]}


APPROVED = item(
    1,
    "A1",
    {"url": "number", "valueString": "PA-7"},
    extension=[
        {"url": f"{PAS}extension-itemPreAuthIssueDate", "valueDate": "2026-03-02"},
        {
            "url": f"{PAS}extension-itemPreAuthPeriod",
            "valuePeriod": {"start": "2026-03-02", "end": "2026-04-01"},
        },
    ],
)


def test_P050_an_approved_line_says_number_and_until_when() -> None:
    (line,) = read_decision(response(APPROVED)).lines
    assert (line.standing, line.number) == (Standing.APPROVED, "PA-7")
    assert (line.issued, line.start, line.end) == (date(2026, 3, 2), date(2026, 3, 2), date(2026, 4, 1))


@pytest.mark.parametrize(
    ("codes", "whole"),
    [
        (["A1"], Standing.APPROVED),
        (["A1", "A4"], Standing.PENDED),  # something still waits, that is what a person must know first
        (["A1", "A3"], Standing.NOT_CERTIFIED),
        (["A4", "A3"], Standing.PENDED),
        (["A6", "A1"], Standing.MODIFIED),
        (["C"], Standing.CANCELLED),
        (["ZZ", "A1"], Standing.OTHER),  # a code of the licensed list that we do not know is no approval
    ],
)
def test_P048_the_decision_is_the_review_action_of_the_lines(codes: list[str], whole: Standing) -> None:
    items = [item(number, code) for number, code in enumerate(codes, 1)]
    assert read_decision(response(*items, outcome="queued")).standing is whole


def test_P046_a_response_without_lines_waits_only_where_an_older_server_says_queued() -> None:
    assert read_decision(response(outcome="queued")).standing is Standing.PENDED
    assert read_decision(response(outcome="complete")).standing is Standing.OTHER


def test_P051_reasons_and_notes_of_a_line_are_kept_with_it() -> None:
    reason = {"url": "reasonCode", "valueCodeableConcept": {"coding": [{"code": "X1", "display": "See note"}]}}
    found = read_decision(
        response(
            item(1, "A3", reason, noteNumber=[2]),
            processNote=[{"number": 1, "text": "other"}, {"number": 2, "text": "Criterion I.2: four weeks"}],
        )
    )
    assert found.lines[0].reasons == ("See note",)
    assert found.lines[0].notes == ("Criterion I.2: four weeks",)


def test_P053_a_modified_line_says_what_is_approved_instead() -> None:
    added = {
        **item(1, "A6", {"url": "number", "valueString": "PA-8"}),
        "itemSequence": [1],
        "productOrService": {"text": "morphine 10 mg/d"},
        "quantity": {"value": 3, "unit": "units"},
    }
    (line,) = read_decision(response(item(1, "A6"), addItem=[added])).lines
    assert (line.standing, line.number) == (Standing.MODIFIED, "PA-8")
    assert line.authorized == ("morphine 10 mg/d: 3 units",)


def test_P052_what_is_still_wanted_names_the_form_to_open() -> None:
    bundle = response(item(1, "A4"))
    bundle["entry"].append(
        {
            "resource": {
                "resourceType": "CommunicationRequest",
                "identifier": [{"value": "trace-9"}],
                "payload": [
                    {
                        "contentString": "Two more answers",
                        "extension": [{"valueCodeableConcept": {"coding": [{"code": "102089-0"}]}}],
                    }
                ],
            }
        }
    )
    (wanted,) = read_decision(bundle).wanted
    assert (wanted.context, wanted.words) == ("trace-9", "Two more answers")


ELEMENT = {"url": f"{PAS}extension-errorElement", "valueString": "2010A-NM103"}  # as in 2.0.1
ELEMENT_2_2 = {"url": f"{PAS}extension-errorElement", "extension": [{"url": "error", "valueString": "2010A-NM103"}]}
NOTED = {"url": f"{PAS}extension-errorElement", "extension": [{"url": "processNote", "valuePositiveInt": 1}]}
PATH = {"url": f"{PAS}extension-errorPath", "valueString": "Bundle.entry[1].name"}
CODED = {"coding": [{"system": "https://codesystem.x12.org/005010/901", "code": "T4"}]}
ERRORS = [
    ({"code": CODED | {"text": "Member unknown"}, "extension": [PATH]}, "Member unknown (Bundle.entry[1].name)"),
    ({"code": CODED, "extension": [ELEMENT, PATH]}, "Error T4 (2010A-NM103)"),
    ({"code": CODED, "extension": [ELEMENT_2_2]}, "Error T4 (2010A-NM103)"),
    ({"code": CODED, "extension": [NOTED]}, "Name is missing."),
    ({}, "Error"),
]


@pytest.mark.parametrize(("error", "words"), ERRORS)
def test_P057_an_application_error_is_told_in_the_payers_words_then_what_it_is_about(error: dict, words: str) -> None:
    found = read_decision(response(error=[error], processNote=[{"number": 1, "text": "Name is missing."}]))
    assert found.errors == (words,)
    assert found.not_taken
    assert len(found.notes) == (0 if words == "Name is missing." else 1)  # told once, and never lost


@pytest.mark.parametrize(
    "bundle", [{}, {"entry": []}, {"entry": [{"resource": {"resourceType": "Claim"}}]}, {"entry": 3}]
)
def test_an_answer_without_claim_response_is_no_decision(bundle: dict) -> None:
    with pytest.raises(Unreadable):
        read_decision(bundle)


NOTHING_DECIDED = [
    ({"outcome": "queued"}, Standing.PENDED, "Being reviewed"),  # the word of PAS 1 and of many claim systems
    ({"outcome": "complete"}, Standing.OTHER, "Answered"),
    ({"outcome": "error", "error": [{"code": {"text": "Invalid date of birth"}}]}, Standing.OTHER, "Sent back"),
    ({"outcome": "queued", "error": [{"code": {"text": "No such member"}}]}, Standing.OTHER, "Sent back"),
]


@pytest.mark.parametrize(("members", "standing", "label"), NOTHING_DECIDED)
def test_P059_an_answer_without_lines_is_told_for_what_it_is(members: dict, standing: Standing, label: str) -> None:
    decision = read_decision(response(**members))
    assert decision.standing is standing
    assert decision.label.startswith(label)


RESPONSE = response(APPROVED)["entry"][0]["resource"]
WRAPPED = [
    response(APPROVED),
    RESPONSE,
    {"resourceType": "Parameters", "parameter": [{"name": "return", "resource": response(APPROVED)}]},
    {"resourceType": "Parameters", "parameter": [{"name": "a"}, {"name": "return", "resource": RESPONSE}]},
]


@pytest.mark.parametrize("body", WRAPPED)
def test_P040_a_payers_answer_is_read_however_it_is_wrapped(body: dict) -> None:
    assert read_decision(response_bundle(body)).standing is Standing.APPROVED
    assert [read_decision(each).standing for each in bundles_in(body)] == [Standing.APPROVED]


@pytest.mark.parametrize("body", [None, [], {}, {"resourceType": "Parameters", "parameter": [1]}])
def test_P040_what_holds_no_response_is_unreadable(body: object) -> None:
    with pytest.raises(Unreadable):
        read_decision(response_bundle(body))


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (["A1", "A1"], "Approved"),
        (["A1", "A3"], "Decided line by line"),  # "not approved" would hide what was approved
        (["A1", "A6"], "Decided line by line"),
        (["A1", "A4"], "Being reviewed"),
    ],
)
def test_lines_that_were_decided_apart_are_not_called_by_the_worst(codes: list[str], words: str) -> None:
    items = [item(number, code) for number, code in enumerate(codes, 1)]
    assert read_decision(response(*items)).label == words

"""``$next-question``: only what is unknown, as much at once as can be asked, the attestation last."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from typing import Any

import pytest

from tests.dtr.conftest import Dtr
from tests.support import e2e_patient as sample
from tests.support.crd_invariants import URL as COVERAGE_INFORMATION
from tests.support.dtr_calls import (
    ADAPTIVE,
    DTR,
    VERSIONS,
    answer_items,
    extension,
    items,
    of_type,
    packages,
)

FIRST = {"severe_chronic_intractable_pain", "noninvasive_trial_outcome", "implant_contraindications_eliminated"}
DAY = {"valueDate": "2026-03-02"}
REPLIES: dict[str, Any] = {
    "request_type": "trial",
    "severe_chronic_intractable_pain": "yes",
    "life_expectancy_ge_3_months": "yes",
    "noninvasive_trial_outcome": "intolerance",
    "implant_contraindications_eliminated": "yes",
    "attestation_date": DAY,
    "clinical_rationale_reason": "other",
}


def start(dtr: Dtr, version: str = "2.2", answered: dict[str, str] | None = None) -> dict[str, Any]:
    """The payer's draft of the adaptive form, after an order of which facts are missing."""
    held = sample.chart({"life_expectancy_ge_3_months": "yes"} if answered is None else answered)
    context = dtr.context(held=held)["context"]
    found = packages(dtr.package(version, context=context, questionnaire=ADAPTIVE), version)
    (bundle,) = [one for one in found if of_type(one, "Questionnaire")[0]["url"].endswith("-adaptive")]
    return of_type(bundle, "QuestionnaireResponse")[0]


def ask(dtr: Dtr, response: dict[str, Any], version: str = "2.2", *, bare: bool = False) -> Any:
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "questionnaire-response", "resource": response}],
    }
    return dtr.post("next-question", response if bare else parameters, version)


def questions(response: dict[str, Any]) -> list[str]:
    """What the form inside asks, without its groups, parts, helps and texts."""
    (form,) = [one for one in response["contained"] if one["resourceType"] == "Questionnaire"]
    return [item["linkId"] for item in items(form) if item["type"] not in {"group", "display"}]


def through(dtr: Dtr, response: dict[str, Any], replies: dict[str, Any], version: str = "2.2") -> list[dict[str, Any]]:
    """All rounds until the form is complete."""
    rounds: list[dict[str, Any]] = []
    for _ in range(8):
        answer = ask(dtr, response, version)
        assert answer.status == 200, answer.bytes
        rounds.append(answer.json)
        if answer.json["status"] == "completed":
            return rounds
        given = {item["linkId"] for item in items(answer.json)}
        todo = [name for name in questions(answer.json) if name in replies and name not in given]
        response = answer_items(answer.json, {name: replies[name] for name in todo})
    raise AssertionError("it never ends")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("name", ["questionnaire-response", "in", "questionnaire-response-in"])
def test_PS27_the_body_is_parameters_or_a_bare_response_and_so_is_the_answer(
    dtr: Dtr, version: str, bare: bool, name: str
) -> None:
    response = start(dtr, version)
    body = response if bare else {"resourceType": "Parameters", "parameter": [{"name": name, "resource": response}]}
    answer = dtr.post("next-question", body, version)
    assert answer.status == 200, answer.bytes
    assert answer.json["resourceType"] == "QuestionnaireResponse"
    assert answer.headers["Content-Type"] == "application/fhir+json"


@pytest.mark.parametrize("version", VERSIONS)
def test_PS28_the_form_grows_keeps_what_was_said_and_ends_completed(dtr: Dtr, version: str) -> None:
    begun = start(dtr, version)
    assert "item" not in begun
    rounds = through(dtr, begun, REPLIES, version)
    assert "item" not in rounds[0]
    asked: list[str] = []
    texts: dict[str, str] = {}
    for one in rounds:
        assert one["questionnaire"] == f"#{one['contained'][0]['id']}"
        assert one["contained"][0]["derivedFrom"] == [ADAPTIVE]
        assert set(asked) <= set(questions(one))
        for item in items(one["contained"][0]):
            assert texts.setdefault(item["linkId"], json.dumps(item.get("answerOption"))) == json.dumps(
                item.get("answerOption")
            )
            assert "enableWhen" not in item  # the profile of adaptive forms allows none
        asked = questions(one)
    assert [one["status"] for one in rounds] == ["in-progress"] * (len(rounds) - 1) + ["completed"]
    assert questions(rounds[-1]) == questions(rounds[-2])
    assert rounds[-1]["item"] == rounds[-2]["item"] or len(rounds[-1]["item"]) > len(rounds[-2]["item"])


def test_PS30_all_that_can_be_asked_is_asked_at_once_and_nothing_that_is_known(dtr: Dtr) -> None:
    rounds = through(dtr, start(dtr), REPLIES)
    assert set(questions(rounds[0])) == FIRST | {"request_type"}  # life expectancy is on file
    assert questions(rounds[1])[-2:] == ["attestation_name", "attestation_date"]  # last
    assert len(rounds) == 3


def test_PS30_questions_behind_an_answer_come_when_it_is_given(dtr: Dtr) -> None:
    opioids = dict.fromkeys(("included", "fixed_schedule", "adequate_dose"), "yes")
    replies = {**REPLIES, "noninvasive_trial_outcome": "failure", "noninvasive_trial_weeks": 8}
    rounds = through(dtr, start(dtr), replies | {f"systemic_opioid_{name}": said for name, said in opioids.items()})
    news = [set(questions(rounds[0]))]
    news += [set(questions(after)) - set(questions(before)) for before, after in pairwise(rounds)]
    assert {"noninvasive_trial_weeks", "systemic_opioid_included"} <= news[1]
    assert {"systemic_opioid_fixed_schedule", "systemic_opioid_adequate_dose"} <= news[2]
    assert {"attestation_name", "attestation_date"} <= news[3]
    assert news[4] == set()


def test_PS30_a_permanent_pump_is_asked_for_its_trial(dtr: Dtr) -> None:
    trial = ("intraspinal_trial_tolerated", "intraspinal_trial_function_improved", "intraspinal_trial_done")
    replies = {**REPLIES, **dict.fromkeys(trial, "yes"), "request_type": "permanent",
               "intraspinal_trial_drug_class": "opioid", "intraspinal_trial_pain_relief_acceptable": "yes"}  # fmt: skip
    rounds = through(dtr, start(dtr), replies)
    assert set(trial) <= set(questions(rounds[-1]))
    assert "intraspinal_trial_done" not in questions(rounds[0])


def test_PS30_a_criterion_that_fails_asks_for_the_rationale(dtr: Dtr) -> None:
    rounds = through(dtr, start(dtr), {**REPLIES, "noninvasive_trial_outcome": "not_tried"})
    assert "clinical_rationale_reason" in questions(rounds[-1])
    assert "clinical_rationale_reason" not in questions(through(dtr, start(dtr), REPLIES)[-1])


def test_PS30_what_cannot_be_determined_is_not_asked_twice(dtr: Dtr) -> None:
    rounds = through(dtr, start(dtr), {**REPLIES, "implant_contraindications_eliminated": "cannot_determine"})
    assert rounds[-1]["status"] == "completed"
    assert len(rounds) == 3


def test_PS30_a_number_that_nobody_knows_can_be_left_open_by_saying_so(dtr: Dtr) -> None:
    replies = {**REPLIES, "noninvasive_trial_outcome": "failure", "systemic_opioid_included": "no",
               "noninvasive_trial_weeks_cannot_determine": "cannot_determine"}  # fmt: skip
    assert through(dtr, start(dtr), replies)[-1]["status"] == "completed"


def test_PS30_an_amount_that_the_order_leaves_open_is_asked_for_or_said_to_be_unknown(dtr: Dtr) -> None:
    unknown = sample.order(contained=[{**sample.medication(), "ingredient": [
        {"itemCodeableConcept": {"coding": [{"system": sample.RXNORM, "code": "7052"}]}}]}])  # fmt: skip
    context = dtr.context(unknown, held=sample.chart({}))["context"]
    found = packages(dtr.package(context=context, questionnaire=ADAPTIVE))
    (bundle,) = [one for one in found if of_type(one, "Questionnaire")[0]["url"].endswith("-adaptive")]
    first = ask(dtr, of_type(bundle, "QuestionnaireResponse")[0]).json
    assert "concentration_value" in questions(first)
    replies = {name: REPLIES[name] for name in questions(first) if name in REPLIES}
    refused = ask(dtr, answer_items(first, replies))
    assert refused.status == 400
    assert any("concentration_value" in one["expression"][0] for one in refused.json["issue"])
    escapes = [name for name in questions(first) if name.endswith("_cannot_determine")]
    assert ask(dtr, answer_items(first, replies | dict.fromkeys(escapes, "cannot_determine"))).status == 200


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("severe_chronic_intractable_pain", "perhaps", "value"),  # no option
        ("severe_chronic_intractable_pain", {"valueString": "yes"}, "value"),  # no Coding
        ("severe_chronic_intractable_pain", {"valueCoding": {"system": "urn:x", "code": "yes"}}, "value"),
        ("severe_chronic_intractable_pain", {"valueDecimal": 1}, "value"),
        ("severe_chronic_intractable_pain", None, "required"),  # left out
    ],
)
def test_PS29_answers_that_are_not_of_their_kind_are_named_one_by_one(
    dtr: Dtr, name: str, value: Any, code: str
) -> None:
    first = ask(dtr, start(dtr)).json
    replies = {key: REPLIES[key] for key in questions(first)} | ({name: value} if value is not None else {})
    if value is None:
        del replies[name]
    answer = ask(dtr, answer_items(first, replies))
    assert answer.status == 400
    issues = answer.json["issue"]
    assert [one["code"] for one in issues if name in one["expression"][0]][:1] == [code]
    assert all("linkId='" in one["expression"][0] for one in issues)
    assert "perhaps" not in answer.bytes.decode()


def test_PS29_several_wrong_answers_give_several_issues(dtr: Dtr) -> None:
    first = ask(dtr, start(dtr)).json
    answer = ask(dtr, answer_items(first, dict.fromkeys(questions(first), "perhaps")))
    assert answer.status == 400
    assert len({one["expression"][0] for one in answer.json["issue"]}) == len(questions(first))


@pytest.mark.parametrize("value", [{"valueBoolean": True}, {"valueCoding": {"code": "yes"}}])
def test_PS37_an_answer_in_another_apps_manner_counts_alike(dtr: Dtr, value: dict[str, Any]) -> None:
    first = ask(dtr, start(dtr)).json
    replies = {key: REPLIES[key] for key in questions(first)} | {"severe_chronic_intractable_pain": value}
    assert "attestation_date" in questions(ask(dtr, answer_items(first, replies)).json)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda response: response.update(status="completed"), 400),
        (lambda response: response.update(questionnaire="https://other.example.org/Questionnaire/x"), 400),
        (lambda response: response.pop("questionnaire"), 400),
        (lambda response: response.update(questionnaire="#gone"), 400),
        (lambda response: response.update(subject={"reference": "Patient/somebody-else"}), 400),
        (lambda response: response.update(resourceType="Patient"), 400),
    ],
)
def test_PS29_a_response_that_is_no_form_in_progress_of_this_patient_is_refused(
    dtr: Dtr, change: Any, status: int
) -> None:
    response = copy.deepcopy(ask(dtr, start(dtr)).json)
    change(response)
    answer = dtr.post("next-question", {"resourceType": "Parameters", "parameter": [
        {"name": "questionnaire-response", "resource": response}]})  # fmt: skip
    assert answer.status == status
    assert answer.json["resourceType"] == "OperationOutcome"


def test_PS32_the_form_says_where_it_asks(dtr: Dtr) -> None:
    for version in VERSIONS:
        (bundle,) = packages(dtr.package(version, questionnaire=ADAPTIVE), version)
        (found,) = extension(
            of_type(bundle, "Questionnaire")[0],
            "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-questionnaireAdaptive",
        )
        assert found["valueUrl"] == f"https://payer.example.org/cds/dtr/{version}"


def test_PS33_PS34_coverage_information_comes_with_the_end_in_2_2_and_never_in_2_0_1(dtr: Dtr) -> None:
    last = through(dtr, start(dtr), REPLIES)[-1]
    (said,) = extension(last, COVERAGE_INFORMATION)
    parts = {one["url"]: one for one in said["extension"]}
    assert parts["covered"]["valueCode"] == "covered"
    assert parts["pa-needed"]["valueCode"] == "auth-needed"
    assert "satisfied-pa-id" not in parts  # no number is given here: see PS-33
    assert "questionnaire" not in parts
    assert not extension(through(dtr, start(dtr, "2.0.1"), REPLIES, "2.0.1")[-1], COVERAGE_INFORMATION)


def test_PS34_without_an_order_sign_before_it_nothing_is_said_of_coverage(dtr: Dtr) -> None:
    (bundle,) = packages(dtr.package(questionnaire=ADAPTIVE))
    rounds = through(dtr, of_type(bundle, "QuestionnaireResponse")[0], REPLIES)
    assert rounds[-1]["status"] == "completed"
    assert set(questions(rounds[0])) >= FIRST | {"request_type", "life_expectancy_ge_3_months"}
    assert not extension(rounds[-1], COVERAGE_INFORMATION)


def test_PS35_PS36_a_new_completion_takes_the_place_of_the_earlier_and_only_what_it_came_to_is_kept(dtr: Dtr) -> None:
    begun = start(dtr)
    context = extension(begun, "https://cds.example.org/fhir/StructureDefinition/documentation-context")[0][
        "valueString"
    ]
    through(dtr, begun, {**REPLIES, "noninvasive_trial_outcome": "not_tried"})
    first = json.loads(dtr.service.sql.form_result(context) or b"{}")
    through(dtr, begun, REPLIES)
    second = json.loads(dtr.service.sql.form_result(context) or b"{}")
    assert first["orders"][0]["decision"] == "does_not_meet"
    assert second["orders"][0]["decision"] == "meets"
    kept = json.dumps(second)
    assert sample.PATIENT not in kept
    assert "QuestionnaireResponse" not in second


def test_PS35_the_next_order_sign_counts_the_adaptive_form(dtr: Dtr) -> None:
    """The form travels inside the response that the EHR keeps, and is read there."""
    done = through(dtr, start(dtr), REPLIES)[-1]
    saved = {**done, "id": "adaptive-done", "author": {"reference": "Practitioner/pr-e2e"}}
    held = sample.chart({"life_expectancy_ge_3_months": "yes"})
    held["questionnaireResponses"].append(saved)
    again = dtr.signed(held=held)
    assert "questionnaire" not in again.information()
    assert again.cards[0]["summary"].startswith("Appears to meet")


def test_PS28_the_context_is_found_again_when_the_root_extension_was_lost(dtr: Dtr) -> None:
    """An app that keeps no foreign extensions still keeps the Questionnaire that it was given."""
    first = ask(dtr, start(dtr)).json
    first["extension"] = [one for one in first["extension"] if one["url"].startswith(DTR)]
    filled = answer_items(first, {key: REPLIES[key] for key in questions(first)})
    again = ask(dtr, filled).json
    assert "life_expectancy_ge_3_months" not in questions(again)
    assert again["contained"][0]["derivedFrom"] == [ADAPTIVE]

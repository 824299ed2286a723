"""Adaptive forms of a foreign payer: question by question, and what the payer says at the end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.foreign_payer import ForeignPayer, package, questionnaire
from tests.support.form_visit import ORDER, FormVisit, answers_of
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_visit import AppUnderTest, write_yaml

ADAPTIVE = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-questionnaireAdaptive"
PROFILES = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition"
COVERAGE = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
FIRST = {"linkId": "first", "type": "string", "text": "The first question", "required": True}
SECOND = {"linkId": "second", "type": "string", "text": "The second question", "required": True}
SESSION = {"url": "https://payer.example.net/ext/session", "valueString": "s-1"}


def told(assertion: str = "as-9", **more: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"url": "coverage", "valueReference": {"reference": "Coverage/cov-1"}},
        {"url": "covered", "valueCode": "covered"},
        {"url": "pa-needed", "valueCode": "satisfied"},
        {"url": "coverage-assertion-id", "valueString": assertion},
        {"url": "satisfied-pa-id", "valueString": "PA-77"},
    ]
    parts += [{"url": "questionnaire", "valueCanonical": more["form"]}] if "form" in more else []
    return {"url": COVERAGE, "extension": parts}


def payers_side(*steps: list[dict[str, Any]], last: list[dict[str, Any]] | None = None) -> Any:
    """The payer's ``$next-question``: one list of items after the other, then completed with ``last`` extensions."""
    asked: list[dict[str, Any]] = []
    pending = list(steps)

    def answer(response: dict[str, Any]) -> dict[str, Any]:
        inside = dict(response["contained"][0])
        if pending:
            asked.extend(pending.pop(0))
        else:
            response = {**response, "status": "completed"}
            response["extension"] = [*response.get("extension", []), *(last or [])]
        return {**response, "contained": [{**inside, "item": list(asked)}]}

    return answer


@pytest.fixture
def adaptive(payer: ForeignPayer) -> ForeignPayer:
    form = questionnaire(extension=[{"url": ADAPTIVE, "valueUrl": payer.base}])
    del form["item"]
    draft = {"resourceType": "QuestionnaireResponse", "status": "in-progress", "extension": [SESSION]}
    payer.packages = [package(form, draft=draft)]
    payer.next_answer = payers_side([FIRST], [SECOND], last=[told()])
    return payer


def test_AP22_questions_come_one_after_the_other_and_only_when_the_last_are_answered(
    visit: FormVisit, adaptive: ForeignPayer
) -> None:
    page = visit.open()
    assert "The first question" in page
    assert "The second question" not in page
    assert "Sign and save" not in page
    first_call = adaptive.next_calls[0]["parameter"][0]["resource"]
    assert "item" not in first_call
    assert "item" not in first_call["contained"][0]
    assert first_call["contained"][0]["derivedFrom"] == ["https://payer.example.net/Questionnaire/foreign-form|3"]
    assert SESSION in first_call["extension"]  # what the payer put on its draft goes back
    visit.press("next")  # nothing answered yet
    assert visit.status == 422
    assert len(adaptive.next_calls) == 1
    visit.press("check", {"a:first": "one"})
    page = visit.press("next")
    assert "The second question" in page
    assert 'value="one"' in page
    second_call = adaptive.next_calls[1]["parameter"][0]["resource"]
    assert second_call["item"][0]["answer"][0]["valueString"] == "one"
    assert SESSION in second_call["extension"]
    visit.press("check", {"a:second": "two"})
    page = visit.press("next")
    assert "The payer has no further questions." in page
    visit.press("sign")
    assert visit.saved["status"] == "completed"
    assert {name: held[0]["valueString"] for name, held in answers_of(visit.saved).items()} == {
        "first": "one",
        "second": "two",
    }
    assert visit.saved["questionnaire"] == "#questionnaire"


def test_AP22_a_form_without_questions_is_adaptive_when_its_profile_says_so(
    visit: FormVisit, adaptive: ForeignPayer
) -> None:
    """As in the guide's own example of 2.0.1."""
    form = questionnaire(meta={"profile": [f"{PROFILES}/dtr-questionnaire-adapt-search"]})
    del form["item"]
    adaptive.packages = [package(form)]
    assert "The first question" in visit.open()


def test_AP17_an_adaptive_draft_is_resumed_where_it_was_left(visit: FormVisit, adaptive: ForeignPayer) -> None:
    visit.open()
    visit.press("check", {"a:first": "one"})
    visit.press("next")
    visit.press("save", {"a:second": "two"})
    calls = len(adaptive.next_calls)
    page = visit.open()
    assert len(adaptive.next_calls) == calls  # nothing is asked for again
    assert 'value="one"' in page
    assert 'value="two"' in page
    visit.press("save")  # another launch: what was not touched stays
    assert {name: held[0]["valueString"] for name, held in answers_of(visit.saved).items()} == {
        "first": "one",
        "second": "two",
    }
    visit.press("next")
    last_call = adaptive.next_calls[-1]["parameter"][0]["resource"]
    assert [each["linkId"] for each in last_call["item"]] == ["first", "second"]
    visit.press("sign")
    assert visit.saved["status"] == "completed"


def test_AP22_a_next_question_address_that_the_payer_did_not_register_is_never_called(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    form = questionnaire(extension=[{"url": ADAPTIVE, "valueUrl": "https://elsewhere.example.com/dtr"}])
    payer.packages = [package(form)]
    assert "The payer did not accept the request" in visit.open()
    assert payer.next_calls == []


def test_AP22_a_payer_that_takes_a_question_back_is_an_error_of_the_form(
    visit: FormVisit, adaptive: ForeignPayer
) -> None:
    def forgets(response: dict[str, Any]) -> dict[str, Any]:
        item = FIRST if len(adaptive.next_calls) == 1 else SECOND
        return {**response, "contained": [{**response["contained"][0], "item": [item]}]}

    adaptive.next_answer = forgets
    visit.open()
    visit.press("check", {"a:first": "one"})
    assert "This form cannot be answered here" in visit.press("next")


def finish(visit: FormVisit) -> str:
    visit.open()
    visit.press("check", {"a:first": "one"})
    visit.press("next")
    visit.press("check", {"a:second": "two"})
    visit.press("next")
    return visit.press("sign")


def test_AP30_the_payers_answer_is_shown_and_put_on_the_order_once(
    visit: FormVisit, adaptive: ForeignPayer, ehr: SmartEhr
) -> None:
    other = {"url": "https://example.org/other", "valueString": "stays"}
    ehr.resources[ORDER]["extension"] = [other, told(), told("as-other")]
    page = finish(visit)
    assert "What the payer says" in page
    assert "PA-77" in page
    visit.post(f"/l/{visit.launch_id}/form/1/answer")
    assert "It is on the order now." in visit.page
    held = ehr.resources[ORDER]["extension"]
    assert other in held
    ids = [e["extension"][3]["valueString"] for e in held if e["url"] == COVERAGE]
    assert sorted(ids) == ["as-9", "as-other"]  # the same key is replaced, another one stays


def test_AP30_further_forms_are_offered_and_open(visit: FormVisit, adaptive: ForeignPayer) -> None:
    further = questionnaire({**FIRST, "text": "A further form"}, name="further")
    adaptive.next_answer = payers_side([FIRST], [SECOND], last=[told(form=f"{further['url']}|3")])
    assert "Open the next form that the payer asks for" in finish(visit)
    adaptive.packages = [package(further)]
    visit.post(f"/l/{visit.launch_id}/more", {"questionnaire": f"{further['url']}|3"})
    assert "A further form" in visit.page or "The payer's forms" in visit.page
    assert "A further form" in visit.get(f"/l/{visit.launch_id}/form/2")
    assert "signed" in visit.get(f"/l/{visit.launch_id}/")  # the first one is still there


def test_AP31_the_clinician_can_say_that_it_is_wrong_and_it_goes_nowhere(
    app: AppUnderTest, ehr: SmartEhr, adaptive: ForeignPayer
) -> None:
    write_yaml(app.settings.config_dir / "payers" / "foreign.yaml", adaptive.profile(dtr_version="2.2"))
    visit = FormVisit(app, ehr, adaptive)
    finish(visit)
    assert COVERAGE in [each["url"] for each in visit.saved["extension"]]  # 2.2 carries it on the response
    visit.post(f"/l/{visit.launch_id}/form/1/answer", {"dispute": "as-9"})
    assert "You said that this is not right" in visit.page
    visit.post(f"/l/{visit.launch_id}/form/1/answer")
    assert COVERAGE not in [each["url"] for each in ehr.resources[ORDER].get("extension", [])]
    visit.post(f"/l/{visit.launch_id}/form/1/amend")
    visit.press("sign")
    assert COVERAGE not in [each["url"] for each in visit.saved["extension"]]

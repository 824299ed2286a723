"""Adaptive forms grow and lose nothing (AP-22)."""

from __future__ import annotations

from typing import Any

import pytest

from smart_app.sdc.adaptive import contained_questionnaire, grow
from smart_app.sdc.filling import Origin, answer
from smart_app.sdc.form import read_form
from smart_app.sdc.populate import start
from smart_app.sdc.response import ORIGIN_URL
from smart_app.sdc.shapes import UnusableQuestionnaire
from smart_app.sdc.view import view
from tests.support.sdc_forms import DOCTOR, SDC, choice, coding, context, item, questionnaire

AUTO = {"url": ORIGIN_URL, "extension": [{"url": "source", "valueCode": "auto"}]}
ADAPTIVE = [{"url": f"{SDC}questionnaireAdaptive", "valueUrl": "https://payer.example/fhir"}]


def answered(*items: dict[str, Any], answers: Any = (), status: str = "in-progress") -> dict[str, Any]:
    """What ``$next-question`` answers."""
    inner = {**questionnaire(*items, ext=ADAPTIVE), "id": "q"}
    return {
        "resourceType": "QuestionnaireResponse",
        "status": status,
        "questionnaire": "#q",
        "contained": [inner],
        "item": list(answers),
    }


def test_AP22_the_form_grows_and_keeps_every_answer() -> None:
    form = read_form(questionnaire(ext=ADAPTIVE))
    assert (form.adaptive, form.adaptive_url, form.items) == (True, "https://payer.example/fhir", ())
    grown = grow(form, start(form), answered(item("a")))
    assert grown.fresh == ("a",)
    filling = answer(grown.form, grown.filling, "a", [{"valueString": "mine"}], DOCTOR)
    theirs = [
        {"linkId": "a", "answer": [{"valueString": "changed on the way"}]},
        {"linkId": "b", "answer": [{"valueString": "payer", "extension": [AUTO]}]},
    ]
    again = grow(grown.form, filling, answered(item("a"), item("b"), answers=theirs))
    assert again.filling.state("a") == filling.state("a")
    assert again.filling.state("b").answers[0].origin is Origin.AUTO_SERVER
    assert [each.key for each in view(again.form, again.filling, context()).items] == ["a", "b"]
    assert not again.done


def test_AP22_first_values_of_new_questions_are_set_and_cleared_old_ones_stay_cleared() -> None:
    form = read_form(questionnaire(item("a", initial=[{"valueString": "x"}]), ext=ADAPTIVE))
    filling = answer(form, start(form), "a", [], DOCTOR)
    grown = grow(
        form, filling, answered(item("a", initial=[{"valueString": "x"}]), item("b", initial=[{"valueString": "y"}]))
    )
    assert grown.filling.state("a").values == ()
    assert grown.filling.state("b").values == ({"valueString": "y"},)


def test_AP22_value_sets_of_the_package_stay_known() -> None:
    held = {
        "resourceType": "ValueSet",
        "url": "urn:vs",
        "compose": {"include": [{"system": "urn:sample", "concept": [{"code": "one"}]}]},
    }
    form = read_form(questionnaire(ext=ADAPTIVE), [held])
    grown = grow(form, start(form), answered(item("a", "choice", answerValueSet="urn:vs")), [held])
    assert [option.key for option in grown.form.by_link["a"].choices.options] == ["urn:sample|one"]


REFUSED = [
    ("no questions", {"resourceType": "QuestionnaireResponse"}),
    ("a question vanished", answered(item("b"))),
    ("a question changed its type", answered(item("a", "date"))),
    ("a question moved", answered(item("g", "group", item("a")))),
    ("questions that cannot be shown", answered(item("a"), item("a"))),
]


@pytest.mark.parametrize("response", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_AP22_what_would_lose_an_answer_is_refused(response: Any) -> None:
    form = read_form(questionnaire(item("a"), ext=ADAPTIVE))
    with pytest.raises(UnusableQuestionnaire) as caught:
        grow(form, start(form), response)
    assert caught.value.reasons


def test_AP22_the_last_answer_says_that_it_is_the_last() -> None:
    form = read_form(questionnaire(choice("a", "one"), ext=ADAPTIVE))
    filling = answer(form, start(form), "a", [coding("one")], DOCTOR)
    grown = grow(form, filling, answered(choice("a", "one"), status="completed"))
    assert grown.done
    assert grown.fresh == ()


def test_AP22_the_questionnaire_that_the_response_names_is_taken() -> None:
    first, second = {**questionnaire(item("a")), "id": "p"}, {**questionnaire(item("b")), "id": "q"}
    response = {"questionnaire": "#q", "contained": [first, second]}
    assert contained_questionnaire(response) == second
    assert contained_questionnaire({"contained": [first, second]}) is None
    assert contained_questionnaire({"contained": [first, None]}) == first

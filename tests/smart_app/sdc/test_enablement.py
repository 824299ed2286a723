"""Which questions are asked (SD-08, SD-09, AP-20)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_app.sdc.evaluation import look
from smart_app.sdc.filling import Filling, answer
from smart_app.sdc.populate import start
from smart_app.sdc.response import to_response
from smart_app.sdc.view import view
from tests.support.sdc_forms import DOCTOR, choice, coding, context, fhirpath, form, item

MICROGRAMS = [{"valueQuantity": {"value": 50, "code": "ug", "system": "http://unitsofmeasure.org"}}]
PRACTITIONER = {"reference": "Practitioner/1"}
NOON_IN_CAIRO = [{"valueDateTime": "2026-01-01T12:00:00+02:00"}]

# type of the question, its answers, operator, what it is compared with, whether the dependent item is enabled
CONDITIONS: list[tuple[str, list[dict[str, Any]], str, dict[str, Any], bool]] = [
    ("boolean", [{"valueBoolean": True}], "=", {"answerBoolean": True}, True),
    ("boolean", [{"valueBoolean": False}], "=", {"answerBoolean": True}, False),
    ("boolean", [{"valueBoolean": False}], "exists", {"answerBoolean": True}, True),  # an answer, though "no"
    ("boolean", [], "exists", {"answerBoolean": True}, False),
    ("boolean", [], "exists", {"answerBoolean": False}, True),
    ("boolean", [], "=", {"answerBoolean": False}, False),  # nothing is not "no"
    ("boolean", [], "!=", {"answerBoolean": True}, True),  # R4: no answer is equal
    ("boolean", [{"valueBoolean": True}], "!=", {"answerBoolean": True}, False),
    ("decimal", [{"valueDecimal": Decimal("1.50")}], "=", {"answerDecimal": Decimal("1.5")}, True),
    ("decimal", [{"valueDecimal": Decimal("1.5")}], ">", {"answerDecimal": Decimal("1.5")}, False),
    ("decimal", [{"valueDecimal": Decimal("1.5")}], ">=", {"answerDecimal": Decimal("1.5")}, True),
    ("decimal", [], "<", {"answerDecimal": Decimal("1.5")}, False),
    ("integer", [{"valueInteger": 10}], ">", {"answerInteger": 9}, True),  # not as texts
    ("integer", [{"valueInteger": 10}], "<=", {"answerDecimal": Decimal(10)}, True),
    ("date", [{"valueDate": "2026-01-02"}], "<", {"answerDate": "2026-01-03"}, True),
    ("date", [{"valueDate": "2026-01"}], "<", {"answerDate": "2026-01-03"}, False),  # its precision does not tell
    ("date", [{"valueDate": "2026-01"}], ">", {"answerDate": "2026-01-03"}, False),
    ("date", [{"valueDate": "2025"}], "<", {"answerDate": "2026-01-03"}, True),
    (
        "dateTime",
        [{"valueDateTime": "2026-01-01T12:00:00+02:00"}],
        "=",
        {"answerDateTime": "2026-01-01T10:00:00Z"},
        True,
    ),
    (
        "dateTime",
        [{"valueDateTime": "2026-01-01T12:00:00Z"}],
        ">",
        {"answerDateTime": "2026-01-01T13:00:00+02:00"},
        True,
    ),
    ("time", [{"valueTime": "09:30:00"}], "<", {"answerTime": "10:00:00"}, True),
    ("string", [{"valueString": "b"}], "=", {"answerString": "b"}, True),
    ("string", [{"valueString": "b"}], ">", {"answerString": "a"}, True),
    ("choice", [coding("one")], "=", {"answerCoding": {"system": "urn:sample", "code": "one"}}, True),
    ("choice", [coding("one")], "=", {"answerCoding": {"code": "one"}}, True),  # no system said: by code
    ("choice", [coding("one")], "=", {"answerCoding": {"system": "urn:other", "code": "one"}}, False),
    ("choice", [coding("one"), coding("two")], "=", {"answerCoding": {"code": "two"}}, True),  # one of several
    ("choice", [coding("one"), coding("two")], "!=", {"answerCoding": {"code": "two"}}, False),
    ("choice", [coding("one")], ">", {"answerCoding": {"code": "a"}}, False),  # codes have no order
    (
        "quantity",
        MICROGRAMS,
        "=",
        {"answerQuantity": {"value": Decimal("0.05"), "code": "mg"}},
        True,
    ),
    (
        "quantity",
        MICROGRAMS,
        ">",
        {"answerQuantity": {"value": 1, "code": "mg"}},
        False,
    ),
    (
        "quantity",
        MICROGRAMS,
        "<",
        {"answerQuantity": {"value": 1, "code": "mL"}},
        False,
    ),  # unknown
    (
        "reference",
        [{"valueReference": {"reference": "Practitioner/1"}}],
        "=",
        {"answerReference": {"reference": "Practitioner/1"}},
        True,
    ),
    ("reference", [{"valueReference": {"display": "x"}}], "=", {"answerReference": {"display": "x"}}, False),
    ("url", [{"valueUri": "https://a"}], "=", {"answerString": "https://a"}, False),
    ("integer", [{"unread": "ten"}], "exists", {"answerBoolean": True}, False),  # a text that is no value
    ("integer", [{"valueInteger": 1}], "~", {"answerInteger": 1}, False),  # no operator of R4
]


@pytest.mark.parametrize(("kind", "answers", "operator", "wanted", "expected"), CONDITIONS, ids=range(len(CONDITIONS)))
def test_SD08_every_operator_and_type(
    kind: str, answers: list[dict[str, Any]], operator: str, wanted: dict[str, Any], expected: bool
) -> None:
    condition = {"question": "q", "operator": operator, **wanted}
    one = form(item("q", kind, repeats=True), item("d", enableWhen=[condition]))
    filling = answer(one, start(one), "q", answers, DOCTOR)
    assert look(one, filling, context()).enabled("d") is expected


BEHAVIOURS = [
    ("all", True, True, True),
    ("all", True, False, False),
    ("any", True, False, True),
    ("any", False, False, False),
]


@pytest.mark.parametrize(("behaviour", "first", "second", "expected"), BEHAVIOURS)
def test_SD08_all_or_any(behaviour: str, first: bool, second: bool, expected: bool) -> None:
    conditions = [{"question": name, "operator": "=", "answerBoolean": True} for name in ("p", "q")]
    one = form(item("p", "boolean"), item("q", "boolean"), item("d", enableWhen=conditions, enableBehavior=behaviour))
    filling = answer(one, start(one), "p", [{"valueBoolean": first}], DOCTOR)
    filling = answer(one, filling, "q", [{"valueBoolean": second}], DOCTOR)
    assert look(one, filling, context()).enabled("d") is expected


def gated(question: str, link_id: str, *below: dict[str, Any], kind: str = "string") -> dict[str, Any]:
    return item(link_id, kind, *below, enableWhen=[{"question": question, "operator": "exists", "answerBoolean": True}])


def test_SD08_what_is_below_a_disabled_item_is_disabled_and_its_answers_count_nowhere() -> None:
    one = form(item("a"), gated("a", "g", item("b"), kind="group"), gated("b", "c"))
    filling = answer(one, start(one), "g/b", [{"valueString": "kept"}], DOCTOR)
    filling = answer(one, filling, "c", [{"valueString": "kept too"}], DOCTOR)
    at = look(one, filling, context())
    assert [at.enabled(key) for key in ("g", "g/b", "c")] == [False, False, False]
    shown = view(one, filling, context())
    assert [each.key for each in shown.items] == ["a"]
    assert set(shown.dropped) == {"g/b", "c"}
    assert "item" not in to_response(one, filling, context(), {"status": "completed"})


def test_SD08_answers_come_back_when_the_item_is_enabled_again() -> None:
    one = form(item("a"), gated("a", "b"))
    filling = answer(one, start(one), "b", [{"valueString": "kept"}], DOCTOR)
    assert len(view(one, filling, context()).items) == 1
    filling = answer(one, filling, "a", [{"valueString": "now"}], DOCTOR)
    assert view(one, filling, context()).items[1].answers[0].text == "kept"


def test_SD08_a_row_looks_at_its_own_row() -> None:
    one = form(item("g", "group", item("a"), gated("a", "b"), repeats=True), gated("a", "any"))
    filling = Filling(rows={"g": 2})
    filling = answer(one, filling, "g[2]/a", [{"valueString": "x"}], DOCTOR)
    at = look(one, filling, context())
    assert [at.enabled(key) for key in ("g[1]/b", "g[2]/b", "any")] == [False, True, True]


def test_SD08_two_questions_that_wait_for_each_other_are_never_asked() -> None:
    one = form(gated("b", "a"), gated("a", "b"), item("c"))
    for filling in (start(one), answer(one, start(one), "a", [{"valueString": "x"}], DOCTOR)):
        shown = view(one, filling, context())
        assert [each.key for each in shown.items] == ["c"]
        assert shown.ready


def test_SD08_a_long_chain_of_conditions_is_followed_to_its_end() -> None:
    chain = [gated(f"i{number}", f"i{number + 1}") for number in range(60)]
    one = form(item("i0"), *chain)
    filling = start(one)
    for number in range(60):
        filling = answer(one, filling, f"i{number}", [{"valueString": "x"}], DOCTOR)
    assert look(one, filling, context()).enabled("i60")
    assert not look(one, answer(one, filling, "i0", [], DOCTOR), context()).enabled("i60")


EXPRESSIONS = [
    ("true", True),
    ("false", False),
    ("{}", False),  # empty is not yes
    ("'yes'", False),  # a text is neither
    ("%resource.item.where(linkId='a').answer.value > 3", True),
    ("%patient.gender = 'female'", True),
    ("%nobody.exists()", False),
    ("%ageYears >= 55", True),
    ("%ageYears >= 56", False),  # the birthday is tomorrow
]


@pytest.mark.parametrize(("text", "expected"), EXPRESSIONS)
def test_SD09_by_expression(text: str, expected: bool) -> None:
    one = form(item("a", "integer"), item("d", ext=[fhirpath("enableWhenExpression", text)]))
    filling = answer(one, start(one), "a", [{"valueInteger": 4}], DOCTOR)
    assert look(one, filling, context()).enabled("d") is expected


def test_SD09_an_expression_sees_no_answers_of_disabled_items() -> None:
    one = form(
        item("a"),
        gated("a", "b"),
        item("c", ext=[fhirpath("enableWhenExpression", "%resource.item.where(linkId='b').answer.exists()")]),
    )
    filling = answer(one, start(one), "b", [{"valueString": "hidden"}], DOCTOR)
    assert not look(one, filling, context()).enabled("c")
    filling = answer(one, filling, "a", [{"valueString": "x"}], DOCTOR)
    assert look(one, filling, context()).enabled("c")


def test_SD13_enablement_that_does_not_come_to_rest_blocks_and_says_so() -> None:
    one = form(item("a", ext=[fhirpath("enableWhenExpression", "%resource.item.where(linkId='a').answer.empty()")]))
    filling = answer(one, start(one), "a", [{"valueString": "x"}], DOCTOR)
    shown = view(one, filling, context())
    assert not shown.ready
    assert any(one.code == "unsettled" for one in shown.problems)


@given(st.lists(st.sampled_from(["a", "g/b", "g/h/c", "d"]), max_size=6), st.booleans())
def test_SD08_a_child_is_never_enabled_without_its_parent(answered: list[str], behaviour: bool) -> None:
    one = form(
        item("a"),
        gated("d", "g", gated("a", "b"), gated("b", "h", gated("d", "c"), kind="group"), kind="group"),
        {**gated("c", "d"), "enableBehavior": "any" if behaviour else "all"},
    )
    filling = start(one)
    for key in answered:
        filling = answer(one, filling, key, [{"valueString": "x"}], DOCTOR)
    at = look(one, filling, context())
    for key, place in at.places.items():
        if at.enabled(key) and place.above:
            assert at.enabled(place.above)


def test_AP20_a_changed_answer_enables_and_disables() -> None:
    one = form(
        choice("kind", "trial", "refill"),
        item("d", enableWhen=[{"question": "kind", "operator": "=", "answerCoding": {"code": "trial"}}]),
    )
    filling = answer(one, start(one), "kind", [coding("trial")], DOCTOR)
    assert [each.key for each in view(one, filling, context()).items] == ["kind", "d"]
    filling = answer(one, filling, "kind", [coding("refill")], DOCTOR)
    assert [each.key for each in view(one, filling, context()).items] == ["kind"]

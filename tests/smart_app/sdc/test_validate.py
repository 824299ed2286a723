"""What is wrong, tied to its field, in words (SD-14, AP-19), and entries of people."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_app.sdc.entry import Field, read_fields
from smart_app.sdc.filling import Filling, add_row, answer
from smart_app.sdc.populate import start
from smart_app.sdc.shapes import ItemType
from smart_app.sdc.validate import problems
from smart_app.sdc.view import view
from tests.support.sdc_forms import DOCTOR, SDC, choice, coding, context, core, fhirpath, form, item, rule

MG = {"system": "http://unitsofmeasure.org", "code": "mg", "display": "mg"}
UNIT = core("questionnaire-unitOption", valueCoding=MG)


def text(value: str) -> dict[str, Any]:
    return {"valueString": value}


def amount(value: Any, code: str = "mg") -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "code": code, "unit": code}}


CASES: list[tuple[str, dict[str, Any], list[Any], list[tuple[str, str]]]] = [
    ("required and empty", item("a", required=True), [], [("error", "required")]),
    ("required and answered", item("a", required=True), [text("x")], []),
    ("read-only is nobody's fault", item("a", required=True, readOnly=True), [], []),
    (
        "too few",
        item("a", repeats=True, ext=[core("questionnaire-minOccurs", valueInteger=2)]),
        [text("x")],
        [("error", "min-occurs")],
    ),
    (
        "no limit",
        item("a", repeats=True, required=True, ext=[core("questionnaire-maxOccurs", valueInteger=0)]),
        [text("x"), text("y")],
        [],
    ),
    (
        "too many",
        item("a", repeats=True, ext=[core("questionnaire-maxOccurs", valueInteger=1)]),
        [text("x"), text("y")],
        [("error", "max-occurs")],
    ),
    ("too long", item("a", maxLength=3), [text("abcd")], [("error", "length")]),
    ("just as long", item("a", maxLength=3), [text("abc")], []),
    ("too short", item("a", ext=[core("minLength", valueInteger=3)]), [text("ab")], [("error", "length")]),
    ("pattern", item("a", ext=[core("regex", valueString="[0-9]{3}")]), [text("12")], [("error", "format")]),
    (
        "the whole text is meant",
        item("a", ext=[core("regex", valueString="[0-9]{3}")]),
        [text("x123x")],
        [("error", "format")],
    ),
    ("pattern met", item("a", ext=[core("regex", valueString="[0-9]{3}")]), [text("123")], []),
    (
        "a pattern that cannot be run",
        item("a", ext=[core("regex", valueString="(?=x)(.)\\1")]),
        [text("x")],
        [("warning", "unchecked")],
    ),
    (
        "below",
        item("a", "decimal", ext=[core("minValue", valueDecimal=Decimal("0.5"))]),
        [{"valueDecimal": Decimal("0.49")}],
        [("error", "low")],
    ),
    (
        "at the limit",
        item("a", "decimal", ext=[core("minValue", valueDecimal=Decimal("0.5"))]),
        [{"valueDecimal": Decimal("0.50")}],
        [],
    ),
    ("above", item("a", "integer", ext=[core("maxValue", valueInteger=5)]), [{"valueInteger": 6}], [("error", "high")]),
    (
        "a day after the limit",
        item("a", "date", ext=[core("maxValue", valueDate="2026-01-01")]),
        [{"valueDate": "2026-01-02"}],
        [("error", "high")],
    ),
    (
        "a limit that is worked out",
        item(
            "a",
            "date",
            ext=[
                core(
                    "maxValue",
                    _valueDate={
                        "extension": [
                            core(
                                "cqf-calculatedValue",
                                valueExpression={"language": "text/fhirpath", "expression": "today()"},
                            )
                        ]
                    },
                )
            ],
        ),
        [{"valueDate": "2026-11-23"}],
        [("error", "high")],
    ),
    (
        "an amount above its limit in another unit",
        item("a", "quantity", ext=[UNIT, {"url": f"{SDC}maxQuantity", "valueQuantity": {"value": 40, "code": "ug"}}]),
        [amount(1)],
        [("error", "high")],
    ),
    (
        "an amount that cannot be compared",
        item("a", "quantity", ext=[{"url": f"{SDC}maxQuantity", "valueQuantity": {"value": 40, "code": "ug"}}]),
        [amount(1, "mL")],
        [("error", "unit")],
    ),
    ("a unit that is not offered", item("a", "quantity", ext=[UNIT]), [amount(1, "mL")], [("error", "unit")]),
    ("no unit", item("a", "quantity", ext=[UNIT]), [{"valueQuantity": {"value": 1}}], [("error", "unit")]),
    (
        "too many digits",
        item("a", "decimal", ext=[core("maxDecimalPlaces", valueInteger=1)]),
        [{"valueDecimal": Decimal("1.25")}],
        [("error", "places")],
    ),
    (
        "zeros at the end are no digits",
        item("a", "decimal", ext=[core("maxDecimalPlaces", valueInteger=1)]),
        [{"valueDecimal": Decimal("1.200")}],
        [],
    ),
    ("another type", item("a", "integer"), [text("x")], [("error", "type")]),
    ("a text that is no value", item("a", "integer"), [{"unread": "ten"}], [("error", "unread")]),
    ("not offered", choice("a", "one"), [coding("two")], [("error", "option")]),
    ("offered", choice("a", "one"), [coding("one")], []),
    ("written beside the options", {**choice("a", "one"), "type": "open-choice"}, [text("two")], []),
    (
        "file type",
        item("a", "attachment", ext=[core("mimeType", valueCode="image/png")]),
        [{"valueAttachment": {"contentType": "text/html", "data": "QQ=="}}],
        [("error", "file")],
    ),
    (
        "file size",
        item("a", "attachment", ext=[core("maxSize", valueDecimal=Decimal("0.00001"))]),
        [{"valueAttachment": {"contentType": "a/b", "data": "QUFB" * 10}}],
        [("error", "file")],
    ),
    (
        "a target of another type",
        item("a", "reference", ext=[core("questionnaire-referenceResource", valueCode="Practitioner")]),
        [{"valueReference": {"reference": "Patient/1"}}],
        [("error", "option")],
    ),
    (
        "a rule",
        item("a", ext=[rule("k", "%context.answer.value = 'x'", "Must be x.")]),
        [text("y")],
        [("error", "constraint")],
    ),
    (
        "a rule that only warns",
        item("a", ext=[rule("k", "%context.answer.value = 'x'", "Should be x.", "warning")]),
        [text("y")],
        [("warning", "constraint")],
    ),
    ("a rule about nothing yet", item("a", ext=[rule("k", "%context.answer.value = 'x'", "Must be x.")]), [], []),
    (
        "a rule that cannot be checked",
        item("a", ext=[rule("k", "%context.answer.value > 3", "h")]),
        [text("y")],
        [("error", "unchecked")],
    ),
]


@pytest.mark.parametrize(("raw", "values", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_SD14_each_rule(raw: dict[str, Any], values: list[Any], expected: list[tuple[str, str]]) -> None:
    one = form(raw)
    filling = answer(one, start(one), "a", values, DOCTOR)
    found = problems(one, filling, context())
    assert [(problem.severity, problem.code) for problem in found] == expected
    assert all(problem.key == "a" and problem.text.endswith(".") for problem in found)
    assert view(one, filling, context()).ready is not any(severity == "error" for severity, _ in expected)


def test_SD14_an_exclusive_answer_stands_alone() -> None:
    raw = choice("a", "one", "none", repeats=True)
    raw["answerOption"][1]["extension"] = [core("questionnaire-optionExclusive", valueBoolean=True)]
    one = form(raw)
    filling = answer(one, start(one), "a", [coding("none")], DOCTOR)
    assert problems(one, filling, context()) == ()
    filling = answer(one, filling, "a", [coding("none"), coding("one")], DOCTOR)
    assert [problem.code for problem in problems(one, filling, context())] == ["exclusive"]


def test_SD14_rows_are_counted_when_something_is_in_them() -> None:
    ext = [core("questionnaire-minOccurs", valueInteger=2)]
    one = form(item("g", "group", item("a"), repeats=True, ext=ext))
    filling = answer(one, start(one), "g[1]/a", [text("x")], DOCTOR)
    assert [(problem.key, problem.code) for problem in problems(one, filling, context())] == [("g", "min-occurs")]
    filling = answer(one, filling, "g[2]/a", [text("x")], DOCTOR)
    assert problems(one, filling, context()) == ()


def test_SD14_a_required_group_asks_once_where_a_question_in_it_asks_already() -> None:
    one = form(item("g", "group", item("a", required=True), item("b"), required=True, repeats=True))
    assert [(each.key, each.code) for each in problems(one, start(one), context())] == [("g[1]/a", "required")]


@pytest.mark.parametrize("repeats", [False, True])
def test_SD14_below_a_question_that_nobody_answered_nothing_is_missing(*, repeats: bool) -> None:
    """Its answer would have no place in the response."""
    one = form(item("a", "string", item("why", required=True), repeats=repeats))
    assert problems(one, start(one), context()) == ()
    inside = "a[1]/why" if repeats else "a/why"
    filling = answer(one, start(one), "a", [text("x")], DOCTOR)
    assert [(each.key, each.code) for each in problems(one, filling, context())] == [(inside, "required")]


def test_SD14_a_group_that_is_required_needs_an_answer_in_it() -> None:
    one = form(item("g", "group", item("a"), item("b"), required=True))
    assert [(each.key, each.code) for each in problems(one, start(one), context())] == [("g", "required")]
    assert view(one, start(one), context()).open_items == ("g",)
    assert problems(one, answer(one, start(one), "g/b", [text("x")], DOCTOR), context()) == ()


def test_SD13_what_nobody_can_answer_never_blocks() -> None:
    hidden = [core("questionnaire-hidden", valueBoolean=True)]
    one = form(
        item("a", required=True, ext=hidden),
        item("g", "group", item("b", required=True), ext=hidden),
        item("h", "group", item("c", ext=[fhirpath("enableWhenExpression", "false")]), required=True),
        item("i", "group", item("d", readOnly=True), required=True),
    )
    shown = view(one, start(one), context())
    assert (shown.ready, shown.open_items, shown.questions) == (True, (), 1)


def test_SD14_a_rule_of_the_whole_form() -> None:
    one = form(item("a"), ext=[rule("k", "%resource.item.where(linkId='a').answer.exists()", "Answer a.")])
    (problem,) = problems(one, start(one), context())
    assert (problem.key, problem.code, problem.text) == ("", "constraint", "Answer a.")


def test_SD14_a_rule_of_a_repeating_group_is_held_against_each_row() -> None:
    one = form(
        item("g", "group", item("a"), repeats=True, ext=[rule("k", "item.where(linkId='a').answer.value = 'x'", "x.")])
    )
    filling = add_row(one, start(one), "g")
    filling = answer(one, filling, "g[1]/a", [text("x")], DOCTOR)
    filling = answer(one, filling, "g[2]/a", [text("y")], DOCTOR)
    assert [problem.key for problem in problems(one, filling, context())] == ["g[2]"]
    assert view(one, filling, context()).items[0].problems[0].key == "g[2]"


def test_AP19_the_view_says_what_is_open_and_when_all_is_done() -> None:
    one = form(item("a", required=True), item("b"), item("g", "group", item("c", required=True)))
    shown = view(one, start(one), context())
    assert (shown.open_items, shown.ready, shown.answered, shown.questions) == (("a", "g/c"), False, 0, 3)
    assert shown.items[0].problems[0].code == "required"
    filling = answer(one, start(one), "a", [text("x")], DOCTOR)
    filling = answer(one, filling, "g/c", [text("x")], DOCTOR)
    shown = view(one, filling, context())
    assert (shown.open_items, shown.ready, shown.answered) == ((), True, 2)


def test_AP19_what_is_not_enabled_is_never_wrong() -> None:
    one = form(item("a", required=True, ext=[fhirpath("enableWhenExpression", "false")]))
    assert view(one, start(one), context()).ready


def test_an_item_that_is_not_enabled_can_be_shown_protected() -> None:
    display = {
        "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Questionnaire.item.disabledDisplay",
        "valueCode": "protected",
    }
    one = form(item("a", required=True, ext=[fhirpath("enableWhenExpression", "false"), display]))
    shown = view(one, start(one), context())
    assert [(each.enabled, each.read_only) for each in shown.items] == [(False, True)]
    assert shown.ready


ENTRIES: list[tuple[str, dict[str, Any], str, Any]] = [
    ("decimal", {}, "1.20", {"valueDecimal": Decimal("1.20")}),
    ("decimal", {}, "1,5", {"unread": "1,5"}),  # one and a half here, fifteen there
    ("decimal", {}, "1e5", {"unread": "1e5"}),
    ("decimal", {}, " -3 ", {"valueDecimal": Decimal(-3)}),
    ("decimal", {}, "NaN", {"unread": "NaN"}),
    ("integer", {}, "007", {"valueInteger": 7}),
    ("integer", {}, "3000000000", {"unread": "3000000000"}),  # more than FHIR's integer holds
    ("boolean", {}, "true", {"valueBoolean": True}),
    ("boolean", {}, "perhaps", {"unread": "perhaps"}),
    ("date", {}, "2026-02-28", {"valueDate": "2026-02-28"}),
    ("date", {}, "2026-02-30", {"unread": "2026-02-30"}),
    ("date", {}, "2026-02", {"valueDate": "2026-02"}),
    ("date", {}, "20260228", {"unread": "20260228"}),
    ("dateTime", {}, "2026-11-25T14:30", {"valueDateTime": "2026-11-25T14:30:00-05:00"}),
    ("dateTime", {}, "2026-11-25T14:30:00Z", {"valueDateTime": "2026-11-25T14:30:00+00:00"}),
    ("dateTime", {}, "soon", {"unread": "soon"}),
    ("time", {}, "14:30", {"valueTime": "14:30:00"}),
    ("time", {}, "25:00", {"unread": "25:00"}),
    ("string", {}, " <svg> ", {"valueString": "<svg>"}),
    ("text", {}, "a\r\nb", {"valueString": "a\nb"}),
    ("string", {}, "a\x00b\x1b[31m", {"valueString": "ab[31m"}),  # FHIR has no control characters
    ("url", {}, "https://a.example", {"valueUri": "https://a.example"}),
    ("url", {}, "no address", {"unread": "no address"}),
    ("reference", {}, "Practitioner/1", {"valueReference": {"reference": "Practitioner/1"}}),
    ("reference", {}, "../secret", {"unread": "../secret"}),
    ("choice", {"answerOption": [coding("one")]}, "urn:sample|one", coding("one")),
    ("choice", {"answerOption": [coding("one")]}, "ONE", coding("one")),  # by its name, too
    ("open-choice", {"answerOption": [coding("one")]}, "one", coding("one")),
    ("choice", {"answerOption": [{"valueString": "a"}, {"valueString": "A"}]}, "a", {"valueString": "a"}),
    ("choice", {"answerOption": [coding("one")]}, "urn:sample|two", {"unread": "urn:sample|two"}),
    ("open-choice", {"answerOption": [coding("one")]}, "other", {"valueString": "other"}),
    ("choice", {"answerValueSet": "urn:elsewhere"}, "s|c", {"valueCoding": {"system": "s", "code": "c"}}),
    ("integer", {"answerOption": [{"valueInteger": 3}]}, "3", {"valueInteger": 3}),
    (
        "quantity",
        {"ext": [UNIT]},
        "5",
        {"valueQuantity": {"value": Decimal(5), "unit": "mg", "system": MG["system"], "code": "mg"}},
    ),
    ("quantity", {"ext": [UNIT]}, "five", {"unread": "five"}),
    ("attachment", {}, "x", {"unread": "x"}),
]


@pytest.mark.parametrize(("kind", "members", "typed", "expected"), ENTRIES, ids=range(len(ENTRIES)))
def test_what_a_person_types_becomes_an_answer_or_stays_as_it_was_typed(
    kind: str, members: dict[str, Any], typed: str, expected: Any
) -> None:
    read = form(
        item("a", kind, **{name: list(part) if isinstance(part, list) else part for name, part in members.items()})
    )
    fields = [Field(typed, "-05:00" if kind == "dateTime" else ""), Field(""), Field("  ")]
    assert read_fields(read.by_link["a"], fields) == (expected,)


def test_a_quantity_takes_the_unit_that_was_chosen() -> None:
    ug = {"system": MG["system"], "code": "ug", "display": "microgram"}
    ext = [UNIT, core("questionnaire-unitOption", valueCoding=ug)]
    read = form(item("a", "quantity", ext=ext)).by_link["a"]
    assert read_fields(read, [Field("5", "ug")])[0]["valueQuantity"]["code"] == "ug"
    assert "code" not in read_fields(read, [Field("5")])[0]["valueQuantity"]  # two units: none is guessed


@given(
    st.sampled_from([kind.value for kind in ItemType if kind.value not in {"group", "display"}]), st.text(max_size=30)
)
def test_no_text_is_lost_and_none_is_misread(kind: str, typed: str) -> None:
    """What was typed is shown again in its field, or a value that means the same."""
    one = form(item("a", kind))
    read = read_fields(one.by_link["a"], [Field(typed)])
    typed = "".join(letter for letter in typed if letter in "\t\n\r" or ord(letter) > 31)
    if not typed.strip():
        assert read == ()
        return
    filling: Filling = answer(one, start(one), "a", read, DOCTOR)
    shown = view(one, filling, context()).items[0]
    assert len(shown.answers) == 1
    if "unread" in read[0]:
        assert shown.answers[0].entry == typed
        assert not view(one, filling, context()).ready

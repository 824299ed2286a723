"""Who said what: origins, authors, evidence and replaced answers (AP-15, AP-16, AP-17)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_app.sdc import keys
from smart_app.sdc.context import nothing_known
from smart_app.sdc.filling import (
    Answer,
    AnswerState,
    Filling,
    Note,
    Origin,
    UnknownKey,
    add_row,
    answer,
    from_bytes,
    prefill,
    remove_row,
    to_bytes,
)
from smart_app.sdc.populate import accept, populate, preview, recalculate, start
from smart_app.sdc.response import ORIGIN_URL, from_response, to_response, with_authors
from tests.support.sdc_forms import DOCTOR, NURSE, Chart, context, fhirpath, form, item

A, B, C = ({"valueString": text} for text in "ABC")
EHR = Answer(A, Origin.AUTO_CLIENT, notes=(Note("Observation/1", "2026-01-01", "A"),))


def one_item(**members: Any) -> Any:
    return form(item("a", **members))


def origins(filling: Filling, key: str = "a") -> list[tuple[Any, str, bool]]:
    return [
        (each.value["valueString"], each.origin.value, each.author is not None) for each in filling.state(key).answers
    ]


# prefilled?, what the person gives, what then stands there: value, origin, author?
TRANSITIONS: list[tuple[list[Answer], list[list[dict[str, Any]]], list[tuple[str, str, bool]]]] = [
    ([], [[A]], [("A", "manual", True)]),
    ([EHR], [[A]], [("A", "auto-client", False)]),  # the same value again changes nothing
    ([EHR], [[B]], [("B", "override", True)]),
    ([EHR], [[B], [C]], [("C", "override", True)]),
    ([EHR], [[B], [A]], [("A", "auto-client", False)]),  # the prefilled value chosen again is the prefilled answer
    ([EHR], [[]], []),
    ([EHR], [[], [B]], [("B", "override", True)]),  # cleared and then typed is still a change of what was prefilled
    ([EHR], [[], [A]], [("A", "auto-client", False)]),
    ([], [[A], [B]], [("B", "manual", True)]),
]


@pytest.mark.parametrize(("prefilled", "given_values", "expected"), TRANSITIONS, ids=range(len(TRANSITIONS)))
def test_AP15_origins_of_one_answer(prefilled: list[Answer], given_values: Any, expected: Any) -> None:
    one = one_item()
    filling = prefill(start(one), "a", prefilled) if prefilled else start(one)
    for values in given_values:
        filling = answer(one, filling, "a", values, DOCTOR)
    assert origins(filling) == expected


SEVERAL = [
    ([A, B], [("A", "auto-client", False), ("B", "manual", True)]),  # something is added
    ([B], [("B", "override", True)]),
    ([], []),
]


@pytest.mark.parametrize(("values", "expected"), SEVERAL, ids=range(len(SEVERAL)))
def test_AP15_origins_of_several_answers(values: Any, expected: Any) -> None:
    one = one_item(repeats=True)
    filling = prefill(start(one), "a", [EHR])
    assert origins(answer(one, filling, "a", values, DOCTOR)) == expected


def test_AP15_taking_one_of_two_away_makes_the_rest_the_persons() -> None:
    one = one_item(repeats=True)
    filling = prefill(start(one), "a", [EHR, Answer(B, Origin.AUTO_CLIENT)])
    filling = answer(one, filling, "a", [A], DOCTOR)
    assert origins(filling) == [("A", "override", True)]
    assert [each.value for each in filling.state("a").before] == [A, B]


def test_AP15_an_override_keeps_both_with_the_evidence() -> None:
    one = one_item()
    filling = answer(one, prefill(start(one), "a", [EHR]), "a", [B], DOCTOR)
    assert filling.state("a").before == (EHR,)


def test_AP15_the_machine_never_touches_what_a_person_said_nor_what_a_person_cleared() -> None:
    one = form(item("a"), item("b"))
    filling = answer(one, prefill(start(one), "a", [EHR]), "a", [], DOCTOR)
    filling = answer(one, filling, "b", [B], DOCTOR)
    for key in ("a", "b"):
        assert prefill(filling, key, [Answer(C, Origin.AUTO_CLIENT)]) == filling


def test_AP15_each_person_is_named_for_their_own_answer() -> None:
    one = form(item("a"), item("b"))
    filling = answer(one, start(one), "a", [A], NURSE)
    filling = answer(one, filling, "b", [B], DOCTOR)
    assert filling.state("a").answers[0].author == NURSE
    assert filling.state("b").answers[0].author == DOCTOR


def test_a_place_that_the_form_does_not_have_is_refused() -> None:
    one = form(item("g", "group", item("a"), repeats=True), item("d", "display"))
    for key in ("x", "a", "g/a", "g[1]/x", "d", "g", "g[1]", "", "g[1]/a[1]"):
        with pytest.raises(UnknownKey):
            answer(one, start(one), key, [A], DOCTOR)
    with pytest.raises(UnknownKey):
        add_row(one, start(one), "d")
    with pytest.raises(UnknownKey):
        remove_row(one, start(one), "g", 7)


def test_a_key_names_an_item_only_by_its_whole_path() -> None:
    one = form(item("g", "group", item("a/b[1]"), repeats=True), item("q", "boolean", item("why")))
    named = keys.below("g[1]", "a/b[1]")
    found = keys.item_of(one, named)
    assert found is not None
    assert (found.link_id, keys.link_id(named), keys.row_number(named)) == ("a/b[1]", "a/b[1]", 0)
    assert keys.item_of(one, "g[1]") is not None
    for wrong in (f"{named}[1]", "g/why", "q[1]/why", "why", "q[1]"):
        assert keys.item_of(one, wrong) is None


def words(response: dict[str, Any]) -> list[tuple[str, bool]]:
    found = []
    for each in response.get("item", ()):
        for one in each.get("answer", ()):
            (extension,) = [ext for ext in one["extension"] if ext["url"] == ORIGIN_URL]
            parts = {part["url"]: part for part in extension["extension"]}
            found.append((parts["source"]["valueCode"], "author" in parts))
    return found


VOCABULARIES = [
    ("2.0.1", [("auto", False), ("auto", False), ("override", True), ("manual", True)]),
    ("2.1", [("auto", False), ("auto", False), ("override", True), ("manual", True)]),
    ("2.2", [("auto-client", False), ("auto-server", False), ("override", True), ("manual", True)]),
]


@pytest.mark.parametrize(("version", "expected"), VOCABULARIES)
def test_AP15_exactly_one_origin_in_the_words_of_each_version(version: str, expected: Any) -> None:
    one = form(*(item(name) for name in "abcd"))
    filling = prefill(start(one), "a", [EHR])
    filling = prefill(filling, "b", [Answer(B, Origin.AUTO_SERVER)])
    filling = answer(one, prefill(filling, "c", [EHR]), "c", [C], DOCTOR)
    filling = answer(one, filling, "d", [A], NURSE)
    assert words(to_response(one, filling, context(), {}, vocabulary=version)) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from(["answer", "prefill"]),
            st.lists(st.sampled_from("ABC"), max_size=2, unique=True),
        ),
        max_size=8,
    ),
    st.sampled_from(["2.0.1", "2.2"]),
)
def test_AP15_author_if_and_only_if_a_person_answered(steps: Any, version: str) -> None:
    """dtrx-1, after any sequence of events."""
    one = form(item("a", repeats=True), item("b"))
    filling = start(one)
    for key, what, texts in steps:
        values = [{"valueString": text} for text in texts]
        if what == "answer":
            filling = answer(one, filling, key, values, DOCTOR)
        else:
            filling = prefill(filling, key, [Answer(value, Origin.AUTO_CLIENT) for value in values])
    for word, has_author in words(to_response(one, filling, context(), {}, vocabulary=version)):
        assert has_author == (word in {"manual", "override"})


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ABC")), min_size=1, max_size=6))
def test_no_answer_of_a_person_is_lost_by_population(answers: list[tuple[str, str]]) -> None:
    one = form(
        item("a", ext=[fhirpath("initialExpression", "%patient.gender")]),
        item("b", ext=[fhirpath("calculatedExpression", "%patient.gender")]),
    )
    filling = populate(one, start(one), context(), nothing_known).filling
    for key, text in answers:
        filling = answer(one, filling, key, [{"valueString": text}], DOCTOR)
    typed = dict(answers)
    again = populate(one, recalculate(one, filling, context()).filling, context(), nothing_known).filling
    for key, text in typed.items():
        assert again.state(key).values == ({"valueString": text},)


def test_AP16_the_charts_value_replaces_the_payers_unless_the_chart_has_none() -> None:
    one = form(
        item("known", ext=[fhirpath("initialExpression", "%patient.gender")]),
        item("unknown", ext=[fhirpath("initialExpression", "%patient.maritalStatus.text")]),
        item("payer"),
    )
    filling = start(one)
    for key in ("known", "unknown", "payer"):
        filling = prefill(filling, key, [Answer(B, Origin.AUTO_SERVER)])
    filling = populate(one, filling, context(), nothing_known).filling
    assert origins(filling, "known") == [("female", "auto-client", False)]
    assert origins(filling, "unknown") == [("B", "auto-server", False)]
    assert origins(filling, "payer") == [("B", "auto-server", False)]


def relaunched(filling: Filling, one: Any, chart: Chart) -> Filling:
    saved = to_response(one, filling, context(), {"status": "in-progress"}, only_enabled=False)
    return populate(one, from_response(one, saved, auto=Origin.AUTO_CLIENT), context(), chart).filling


def test_AP17_at_a_re_launch_empty_and_prefilled_answers_are_filled_again_and_a_persons_never() -> None:
    query = "Observation?patient={{%patient.id}}"
    value = "%o.entry.resource.value.first()"
    ext = [fhirpath("initialExpression", value)]
    one = form(
        item("auto", ext=ext),
        item("empty", ext=ext),
        item("typed", ext=ext),
        item("changed", ext=ext),
        ext=[
            {
                "url": "http://hl7.org/fhir/StructureDefinition/variable",
                "valueExpression": {"name": "o", "language": "application/x-fhir-query", "expression": query},
            }
        ],
    )
    before = Chart()
    filling = populate(one, start(one), context(), before).filling
    filling = answer(one, filling, "typed", [A], DOCTOR)
    filling = prefill(filling, "auto", [Answer(B, Origin.AUTO_CLIENT)])
    filling = prefill(filling, "changed", [Answer(B, Origin.AUTO_CLIENT)])
    filling = answer(one, filling, "changed", [C], NURSE)
    after = Chart({"Observation": [{"resourceType": "Observation", "id": "n", "valueString": "new"}]})
    filling = relaunched(filling, one, after)
    assert origins(filling, "auto") == [("new", "auto-client", False)]
    assert origins(filling, "empty") == [("new", "auto-client", False)]
    assert origins(filling, "typed") == [("A", "override", True)]  # the chart now has a value for it
    assert origins(filling, "changed") == [("C", "override", True)]
    assert filling.state("typed").before[0].value == {"valueString": "new"}


def test_SD15_filling_in_again_is_previewed_and_chosen_field_by_field() -> None:
    one = form(
        item("a", ext=[fhirpath("initialExpression", "%patient.gender")]),
        item("b", ext=[fhirpath("initialExpression", "%patient.birthDate")]),
        item("c"),
    )
    filling = answer(one, start(one), "a", [A], DOCTOR)
    filling = answer(one, filling, "b", [B], DOCTOR)
    filling = answer(one, filling, "c", [C], DOCTOR)
    changes = preview(one, filling, context(), nothing_known)
    assert [(each.key, each.before, each.after.values) for each in changes] == [
        ("a", (A,), ({"valueString": "female"},)),
        ("b", (B,), ({"valueString": "1970-11-23"},)),
    ]
    chosen = accept(filling, changes, ["b"])
    assert origins(chosen, "a") == [("A", "manual", True)]
    assert origins(chosen, "b") == [("1970-11-23", "auto-client", False)]
    assert origins(chosen, "c") == [("C", "manual", True)]


def test_rows_move_up_with_everything_that_is_in_them() -> None:
    one = form(item("g", "group", item("a"), item("h", "group", item("b"), repeats=True), repeats=True))
    filling = add_row(one, add_row(one, start(one), "g"), "g")
    filling = add_row(one, filling, "g[3]/h")
    for key, value in (("g[1]/a", A), ("g[2]/a", B), ("g[3]/h[2]/b", C)):
        filling = answer(one, filling, key, [value], DOCTOR)
    filling = remove_row(one, filling, "g", 2)
    assert filling.rows == {"g": 2, "g[2]/h": 2}
    assert filling.state("g[1]/a").values == (A,)
    assert filling.state("g[2]/h[2]/b").values == (C,)
    assert filling.state("g[2]/a") == AnswerState()


values = st.one_of(
    st.text(max_size=8).map(lambda text: {"valueString": text}),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-1000, max_value=1000).map(
        lambda number: {"valueDecimal": number}
    ),
    st.booleans().map(lambda flag: {"valueBoolean": flag}),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "g[1]/b", "g[2]/b"]), values, st.sampled_from([DOCTOR, NURSE])), max_size=6
    )
)
def test_what_is_kept_between_requests_comes_back_whole(answers: Any) -> None:
    one = form(item("a"), item("g", "group", item("b"), repeats=True))
    filling = add_row(one, start(one), "g")
    for key, value, author in answers:
        filling = answer(one, filling, key, [value], author)
    assert from_bytes(to_bytes(filling)) == filling


def test_answers_whose_writer_did_not_say_who_get_the_author_who_sends_them() -> None:
    one = one_item()
    filling = from_response(one, {"item": [{"linkId": "a", "answer": [{"valueString": "A"}]}]})
    assert origins(with_authors(filling, DOCTOR)) == [("A", "manual", True)]


def test_numbers_keep_their_digits_between_requests() -> None:
    one = form(item("a", "decimal"))
    filling = answer(one, start(one), "a", [{"valueDecimal": Decimal("1.200")}], DOCTOR)
    assert str(from_bytes(to_bytes(filling)).state("a").values[0]["valueDecimal"]) == "1.200"

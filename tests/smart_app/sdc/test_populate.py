"""Filling in from the chart and working out what follows (AP-13 to AP-26, SD-01 to SD-12 and SD-17)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from smart_app.sdc.context import Context, nothing_known
from smart_app.sdc.filling import Filling, Note, Origin, add_row, answer, from_bytes, remove_row, to_bytes
from smart_app.sdc.form import read_form
from smart_app.sdc.populate import MAX_QUERIES, populate, recalculate, start
from smart_app.sdc.response import from_response, to_response
from smart_app.sdc.shapes import Form
from smart_app.sdc.suggestions import candidates, supporting
from smart_app.sdc.view import view
from tests.support.sdc_forms import (
    AS_OF,
    DOCTOR,
    PATIENT,
    SDC,
    Chart,
    choice,
    coding,
    context,
    core,
    fhirpath,
    form,
    item,
    questionnaire,
    variable,
)

QUERY = "application/x-fhir-query"
MG = {"system": "http://unitsofmeasure.org", "code": "mg", "display": "mg"}


def filled(one: Form, chart: Any = nothing_known, **launch: Any) -> Filling:
    return populate(one, start(one), context(**launch), chart).filling


def first(one: Form, key: str = "a", chart: Any = nothing_known, **launch: Any) -> Any:
    values = filled(one, chart, **launch).state(key).values
    return values[0] if values else None


def initial(kind: str, text: str, **members: Any) -> dict[str, Any]:
    ext = [fhirpath("initialExpression", text), *members.pop("ext", [])]
    return item("a", kind, ext=ext, **members)


LAUNCH = [
    ("%patient.gender", "female"),
    ("%user.name.family", "Doe"),
    ("%encounter.id", "e1"),
    ("%location.name", None),  # was not launched with: empty, no error
    ("%ageYears.toString()", "55"),
    ("%resource.status", "in-progress"),
    ("%questionnaire.title", "Sample"),
    ("%qitem.linkId", "a"),
    ("%context.answer.value", None),
    ("%sct", "http://snomed.info/sct"),
]


@pytest.mark.parametrize(("text", "expected"), LAUNCH)
def test_SD01_SD02_what_expressions_can_see(text: str, expected: str | None) -> None:
    user = {"resourceType": "Practitioner", "id": "u", "name": [{"family": "Doe"}]}
    one = form(initial("string", text))
    done = populate(
        one, start(one), context(user=user, encounter={"resourceType": "Encounter", "id": "e1"}), nothing_known
    )
    assert done.filling.state("a").values == (({"valueString": expected},) if expected else ())
    assert done.failures == ()


def test_SD02_context_is_the_response_item_of_the_same_row() -> None:
    total = item(
        "sum",
        "decimal",
        ext=[
            fhirpath(
                "calculatedExpression", "%resource.item.where(linkId='g').item.where(linkId='n').answer.value.sum()"
            )
        ],
    )
    double = item("d", "decimal", ext=[variable("mine", "%context.item.where(linkId='n').answer.value")])
    group = item(
        "g",
        "group",
        item("n", "decimal"),
        double,
        repeats=True,
        ext=[variable("n", "%context.item.where(linkId='n').answer.value")],
    )
    double["extension"] = [fhirpath("calculatedExpression", "%n * 2")]
    one = form(group, total)
    filling = add_row(one, start(one), "g")
    filling = answer(one, filling, "g[1]/n", [{"valueDecimal": 1}], DOCTOR)
    filling = answer(one, filling, "g[2]/n", [{"valueDecimal": 5}], DOCTOR)
    filling = recalculate(one, filling, context()).filling
    assert [filling.state(f"g[{row}]/d").values for row in (1, 2)] == [({"valueDecimal": 2},), ({"valueDecimal": 10},)]
    assert filling.state("sum").values == ({"valueDecimal": 6},)


def test_SD03_variables_root_first_then_items_and_children_see_their_parents() -> None:
    inner = item("a", "string", ext=[variable("c", "%b & 'c'"), fhirpath("initialExpression", "%c & %late")])
    one = form(
        item("g", "group", inner, ext=[variable("b", "%a & 'b'")]),
        ext=[variable("a", "'a'"), variable("late", "%a & 'z'")],
    )
    assert first(one, "g/a") == {"valueString": "abcaz"}


def test_SD03_an_inner_variable_covers_an_outer_one_and_siblings_do_not_see_it() -> None:
    one = form(
        item("a", ext=[variable("v", "'inner'"), fhirpath("initialExpression", "%v")]),
        item("b", ext=[fhirpath("initialExpression", "%v")]),
        ext=[variable("v", "'outer'")],
    )
    assert (first(one, "a"), first(one, "b")) == ({"valueString": "inner"}, {"valueString": "outer"})


def test_SD03_a_variable_that_needs_itself_is_empty_and_told() -> None:
    one = form(initial("string", "%v"), ext=[variable("v", "%w"), variable("w", "%v")])
    done = populate(one, start(one), context(), nothing_known)
    assert done.filling.state("a").values == ()
    assert "cycle" in {failure.code for failure in done.failures}


QUERIES = [
    # what is written, what the EHR is asked
    ("Observation?patient={{%patient.id}}&code=a|b", "Observation?patient=sample&code=a|b"),
    ("Condition?patient={{%patient.id}}&x={{'a b&c=d'}}", "Condition?patient=sample&x=a%20b%26c%3Dd"),
    ("Patient/{{%patient.id}}", "Patient/sample"),
    ("Observation?date=ge{{today() - 6 months}}", "Observation?date=ge2026-05-22"),
    ("Observation?patient={{%nobody.id}}", None),  # without its patient it would be everybody's
    ("https://evil.example/Observation?x=1", None),
    ("../admin?x=1", None),
    ("Observation/$everything", None),
    ("Observation?x={{%patient.}}", None),
]


@pytest.mark.parametrize(("written", "asked"), QUERIES)
def test_SD04_queries_are_put_together_safely(written: str, asked: str | None) -> None:
    one = form(initial("string", "%q.entry.resource.count().toString()"), ext=[variable("q", written, QUERY)])
    chart = Chart()
    done = populate(one, start(one), context(), chart)
    assert chart.asked == ([asked] if asked else [])
    assert view(one, done.filling, done.context).ready


def test_AP22_a_query_is_asked_once() -> None:
    one = form(
        initial("string", "%q.entry.resource.code.text"),
        item("b", ext=[fhirpath("initialExpression", "%q.entry.resource.code.text")]),
        ext=[variable("q", "Condition?patient={{%patient.id}}", QUERY)],
    )
    chart = Chart({"Condition": [{"resourceType": "Condition", "id": "c", "code": {"text": "pain"}}]})
    done = populate(one, start(one), context(), chart)
    done = recalculate(one, done.filling, done.context, chart)
    populate(one, done.filling, done.context, chart)
    assert chart.asked == ["Condition?patient=sample"]


def test_a_query_can_need_the_answer_of_another() -> None:
    one = form(
        initial("string", "%two.entry.resource.valueString"),
        ext=[
            variable("one", "Encounter?patient={{%patient.id}}", QUERY),
            variable("two", "Observation?encounter={{%one.entry.resource.id}}", QUERY),
        ],
    )
    chart = Chart(
        {
            "Encounter": [{"resourceType": "Encounter", "id": "e9"}],
            "Observation?encounter=e9": [{"resourceType": "Observation", "id": "o", "valueString": "found"}],
        }
    )
    assert first(one, chart=chart) == {"valueString": "found"}


STATES = [("absent", None), ("complete", None), ("denied", "lookup"), ("failed", "lookup"), ("late", "lookup")]


@pytest.mark.parametrize(("state", "code"), STATES)
def test_AP26_no_result_is_no_error_and_trouble_never_stops(state: str, code: str | None) -> None:
    one = form(
        initial("string", "%q.entry.resource.id"), ext=[variable("q", "Condition?patient={{%patient.id}}", QUERY)]
    )
    done = populate(one, start(one), context(), Chart(states={"Condition": state}))
    assert [failure.code for failure in done.failures] == ([code] if code else [])
    assert all("sample" not in failure.text for failure in done.failures)
    assert view(one, done.filling, done.context).ready


def test_bad_input_111_a_form_cannot_ask_for_the_whole_chart() -> None:
    many = [
        variable(f"q{number}", f"Observation?n={number}&patient={{{{%patient.id}}}}", QUERY)
        for number in range(MAX_QUERIES + 50)
    ]
    text = " | ".join(f"%q{number}.entry.resource.id" for number in range(MAX_QUERIES + 50))
    one = form(initial("string", text), ext=many)
    chart = Chart()
    populate(one, start(one), context(), chart)
    assert len(chart.asked) <= MAX_QUERIES


CODED = {"system": "urn:sample", "code": "one", "display": "One"}
CASTS = [
    # item type, members, expression, answer (None: does not fit, and is told)
    ("string", {}, "'x'", {"valueString": "x"}),
    ("string", {}, "12", {"valueString": "12"}),
    ("string", {}, "%patient.name", {"valueString": "Sam Sample"}),
    ("string", {}, "true", None),
    ("boolean", {}, "false", {"valueBoolean": False}),  # false is a value, not nothing
    ("boolean", {}, "'true'", None),
    ("integer", {}, "3", {"valueInteger": 3}),
    ("integer", {}, "3.5", None),
    ("decimal", {}, "3", {"valueDecimal": 3}),
    ("decimal", {}, "'3'", None),
    ("decimal", {}, "5 'mg'", None),  # whose unit nobody would see
    ("decimal", {"ext": [core("questionnaire-unit", valueCoding=MG)]}, "5 'mg'", {"valueDecimal": 5}),
    ("decimal", {"ext": [core("questionnaire-unit", valueCoding=MG)]}, "500 'ug'", {"valueDecimal": Decimal("0.5")}),
    ("decimal", {"ext": [core("questionnaire-unit", valueCoding=MG)]}, "5 'mL'", None),
    (
        "quantity",
        {"ext": [core("questionnaire-unit", valueCoding=MG)]},
        "5",
        {"valueQuantity": {"value": 5, "unit": "mg", "system": MG["system"], "code": "mg"}},
    ),
    (
        "quantity",
        {"ext": [core("questionnaire-unitOption", valueCoding=MG)]},
        "500 'ug'",
        {"valueQuantity": {"value": Decimal("0.5"), "unit": "mg", "system": MG["system"], "code": "mg"}},
    ),
    ("quantity", {"ext": [core("questionnaire-unitOption", valueCoding=MG)]}, "5 'mL'", None),
    ("date", {}, "@2026-01-31", {"valueDate": "2026-01-31"}),
    ("date", {}, "now()", {"valueDate": "2026-11-22"}),
    ("date", {}, "%patient.birthDate", {"valueDate": "1970-11-23"}),
    ("dateTime", {}, "%patient.birthDate", {"valueDateTime": "1970-11-23"}),
    ("time", {}, "@T10:30:00", {"valueTime": "10:30:00"}),
    ("url", {}, "'https://a.example'", {"valueUri": "https://a.example"}),
    ("reference", {}, "%patient", {"valueReference": {"reference": "Patient/sample", "display": "Sam Sample"}}),
    ("reference", {"ext": [core("questionnaire-referenceResource", valueCode="Practitioner")]}, "%patient", None),
    ("choice", {"answerOption": [{"valueCoding": CODED}]}, "'one'", {"valueCoding": CODED}),
    ("choice", {"answerOption": [{"valueCoding": CODED}]}, "'One'", {"valueCoding": CODED}),
    ("choice", {"answerOption": [{"valueCoding": CODED}]}, "'two'", None),
    ("choice", {"answerOption": [{"valueCoding": CODED}]}, "%obs.code", {"valueCoding": CODED}),
    ("choice", {"answerOption": [{"valueInteger": 3}]}, "3", {"valueInteger": 3}),
    ("open-choice", {"answerOption": [{"valueCoding": CODED}]}, "'two'", {"valueString": "two"}),
    ("open-choice", {"answerOption": [{"valueCoding": CODED}]}, "'one'", {"valueCoding": CODED}),
    ("attachment", {}, "%attachment.content", {"valueAttachment": {"contentType": "text/plain", "data": "QQ=="}}),
    ("attachment", {}, "'x'", None),
]


@pytest.mark.parametrize(("kind", "members", "text", "expected"), CASTS, ids=range(len(CASTS)))
def test_SD17_results_become_answers_of_the_items_type(
    kind: str, members: dict[str, Any], text: str, expected: Any
) -> None:
    one = form(initial(kind, text, **{name: list(part) for name, part in members.items()}))
    obs = {"resourceType": "Observation", "code": {"coding": [{"system": "urn:other", "code": "x"}, CODED]}}
    attachment = {"resourceType": "Basic", "content": {"contentType": "text/plain", "data": "QQ=="}}
    done = populate(one, start(one), context(obs=obs, attachment=attachment), nothing_known)
    assert done.filling.state("a").values == ((expected,) if expected else ())
    assert [failure.code for failure in done.failures] == ([] if expected else ["type"])


MEMBERS = [
    # value set, whether the answer is in it (None: nobody can tell, which is told)
    ("#mine", True),
    ("urn:other", False),
    ("urn:other|1", False),
    ("urn:elsewhere", None),
]


@pytest.mark.parametrize(("canonical", "expected"), MEMBERS)
def test_membership_is_known_for_value_sets_of_the_package_only(canonical: str, expected: bool | None) -> None:
    include = {"system": "urn:sample", "concept": [{"code": "one"}]}
    mine = {"resourceType": "ValueSet", "id": "mine", "compose": {"include": [include]}}
    expansion = {"contains": [{"system": "urn:x", "code": "one"}]}
    other = {"resourceType": "ValueSet", "url": "urn:other", "version": "1", "expansion": expansion}
    raw = questionnaire(initial("boolean", f"%coded.code.coding.memberOf('{canonical}')"), contained=[mine])
    one = read_form(raw, [other])
    coded = {"resourceType": "Observation", "code": {"coding": [CODED]}}
    done = populate(one, start(one), context(coded=coded), nothing_known)
    assert done.filling.state("a").values == (() if expected is None else ({"valueBoolean": expected},))
    assert [failure.code for failure in done.failures] == (["unsupported"] if expected is None else [])


def test_SD05_a_first_value_is_given_once_and_not_again_when_it_was_cleared() -> None:
    one = form(initial("string", "%patient.gender"))
    filling = answer(one, filled(one), "a", [], DOCTOR)
    assert recalculate(one, filling, context()).filling.state("a").values == ()


def test_SD05_a_fixed_first_value_goes_before_an_expression_and_groups_have_none() -> None:
    one = form(
        initial("string", "%patient.gender", initial=[{"valueString": "fixed"}]),
        item("g", "group", item("b"), ext=[fhirpath("initialExpression", "'x'")]),
    )
    assert first(one) == {"valueString": "fixed"}
    assert {notice.code for notice in one.notices} == {"initial"}
    assert view(one, filled(one), context()).ready


def test_SD05_options_that_are_selected_to_begin_with() -> None:
    options = [{"valueString": "x"}, {"valueString": "y", "initialSelected": True}]
    assert first(form(item("a", "choice", answerOption=options))) == {"valueString": "y"}


def test_SD05_an_item_that_becomes_enabled_later_is_filled_then() -> None:
    gate = {"question": "q", "operator": "exists", "answerBoolean": True}
    one = form(item("q"), initial("string", "%patient.gender", enableWhen=[gate]))
    filling = filled(one)
    assert filling.state("a").values == ()
    filling = answer(one, filling, "q", [{"valueString": "x"}], DOCTOR)
    assert recalculate(one, filling, context()).filling.state("a").values == ({"valueString": "female"},)


def medications(*names: str) -> Chart:
    return Chart(
        {
            "MedicationRequest": [
                {"resourceType": "MedicationRequest", "id": name, "medicationCodeableConcept": {"text": name}}
                for name in names
            ]
        }
    )


ROWS = item(
    "g",
    "group",
    item("drug", ext=[fhirpath("initialExpression", "%med.medicationCodeableConcept.text")]),
    item("note"),
    repeats=True,
    ext=[
        {
            "url": f"{SDC}itemPopulationContext",
            "valueExpression": {
                "name": "med",
                "language": QUERY,
                "expression": "MedicationRequest?patient={{%patient.id}}",
            },
        }
    ],
)


def drugs(filling: Filling) -> list[Any]:
    return [
        [value["valueString"] for value in filling.state(f"g[{row}]/drug").values]
        for row in range(1, filling.rows.get("g", 0) + 1)
    ]


def test_SD06_one_row_for_each_result() -> None:
    one = form(ROWS)
    assert drugs(filled(one, medications("a", "b", "c"))) == [["a"], ["b"], ["c"]]
    assert drugs(filled(one, medications())) == []


def test_SD06_a_row_that_a_person_adds_sees_no_result_and_stays_when_others_go() -> None:
    one = form(ROWS)
    chart = medications("a", "b", "c")
    done = populate(one, start(one), context(), chart)
    filling = add_row(one, done.filling, "g")
    filling = recalculate(one, filling, done.context, chart).filling
    assert drugs(filling) == [["a"], ["b"], ["c"], []]
    filling = answer(one, filling, "g[4]/drug", [{"valueString": "typed"}], DOCTOR)
    filling = recalculate(one, remove_row(one, filling, "g", 1), done.context, chart).filling
    assert drugs(filling) == [["b"], ["c"], ["typed"]]


def test_SD06_rows_that_nobody_touched_are_made_anew_at_a_re_launch_and_others_stay() -> None:
    one = form(ROWS)
    filling = filled(one, medications("a", "b"))
    assert drugs(populate(one, filling, context(), medications("c")).filling) == [["c"]]
    filling = answer(one, filling, "g[1]/note", [{"valueString": "mine"}], DOCTOR)
    assert drugs(populate(one, filling, context(), medications("c")).filling) == [["a"], ["b"]]


def calculated(link_id: str, text: str, kind: str = "decimal") -> dict[str, Any]:
    return item(link_id, kind, ext=[fhirpath("calculatedExpression", text)])


def of(link_id: str) -> str:
    return f"%resource.item.where(linkId='{link_id}').answer.value"


def test_SD07_AP20_what_is_calculated_follows_until_a_person_edits_it() -> None:
    one = form(item("n", "decimal"), calculated("twice", f"{of('n')} * 2"), calculated("more", f"{of('twice')} + 1"))
    filling = start(one)
    for number, expected in ((1, 3), (5, 11)):
        filling = answer(one, filling, "n", [{"valueDecimal": number}], DOCTOR)
        filling = recalculate(one, filling, context()).filling
        assert filling.state("more").values == ({"valueDecimal": expected},)
    filling = answer(one, filling, "twice", [{"valueDecimal": 100}], DOCTOR)
    filling = answer(one, filling, "n", [{"valueDecimal": 7}], DOCTOR)
    filling = recalculate(one, filling, context()).filling
    assert filling.state("twice").values == ({"valueDecimal": 100},)
    assert filling.state("twice").origin is Origin.OVERRIDE
    assert filling.state("more").values == ({"valueDecimal": 101},)


def test_SD07_what_is_calculated_goes_when_its_ground_goes() -> None:
    one = form(item("n", "decimal"), calculated("twice", f"{of('n')} * 2"))
    filling = answer(one, start(one), "n", [{"valueDecimal": 1}], DOCTOR)
    filling = recalculate(one, filling, context()).filling
    filling = recalculate(one, answer(one, filling, "n", [], DOCTOR), context()).filling
    assert filling.state("twice").values == ()


def test_SD07_on_reopening_a_value_that_differs_was_edited_and_time_does_not_move_it() -> None:
    one = form(item("n", "decimal"), calculated("twice", f"{of('n')} * 2"), calculated("day", "today()", "date"))
    filling = answer(one, start(one), "n", [{"valueDecimal": 2}], DOCTOR)
    filling = recalculate(one, filling, context()).filling
    saved = to_response(one, filling, context(), {})
    tomorrow = Context(AS_OF.replace(day=23), {"patient": PATIENT})
    again = recalculate(one, from_response(one, saved, auto=Origin.AUTO_CLIENT), tomorrow).filling
    assert again.state("day").values == ({"valueDate": "2026-11-22"},)
    again = recalculate(one, answer(one, again, "n", [{"valueDecimal": 3}], DOCTOR), tomorrow).filling
    assert again.state("twice").values == ({"valueDecimal": 6},)  # it had not been edited
    foreign = {
        "item": [{"linkId": "n", "answer": [{"valueDecimal": 2}]}, {"linkId": "twice", "answer": [{"valueDecimal": 9}]}]
    }
    edited = recalculate(one, from_response(one, foreign), tomorrow).filling
    assert edited.state("twice").values == ({"valueDecimal": 9},)


def test_AP14_values_that_do_not_come_to_rest_are_taken_out_and_told() -> None:
    one = form(
        item("n", "decimal"),
        calculated("flip", f"iif({of('flip')} = 1, 2, 1)"),
        calculated("fine", f"{of('n')} + 1"),
    )
    filling = answer(one, start(one), "n", [{"valueDecimal": 1}], DOCTOR)
    done = populate(one, filling, context(), nothing_known)
    assert done.filling.state("flip").values == ()
    assert done.filling.state("fine").values == ({"valueDecimal": 2},)
    assert [(failure.where, failure.code) for failure in done.failures] == [("flip", "cycle")]


def test_AP14_values_that_grow_for_ever_are_stopped() -> None:
    one = form(calculated("up", f"iif({of('up')}.exists(), {of('up')} + 1, 1)"))
    done = populate(one, start(one), context(), nothing_known)
    assert done.filling.state("up").values == ()
    assert [failure.code for failure in done.failures] == ["cycle"]


def test_AP13_hidden_and_read_only_items_are_filled_and_disabled_ones_are_not() -> None:
    expression = [fhirpath("initialExpression", "%patient.gender")]
    one = form(
        item("hidden", ext=[*expression, core("questionnaire-hidden", valueBoolean=True)]),
        item("readonly", readOnly=True, ext=expression),
        item("off", ext=[*expression, fhirpath("enableWhenExpression", "false")]),
    )
    filling = filled(one)
    assert [bool(filling.state(key).values) for key in ("hidden", "readonly", "off")] == [True, True, False]


def test_SD13_trouble_in_filling_never_stops() -> None:
    bad = ["%patient.", "%patient.name > 3", "%patient.frob()", "1 'mg' * 2 'mg'"]
    one = form(*(item(f"i{number}", ext=[fhirpath("initialExpression", text)]) for number, text in enumerate(bad)))
    done = populate(one, start(one), context(), nothing_known)
    shown = view(one, done.filling, done.context)
    assert shown.ready
    assert {notice.where for notice in shown.notices} | {failure.where for failure in done.failures} == {
        "i0",
        "i1",
        "i2",
        "i3",
    }


def test_populating_twice_changes_nothing() -> None:
    one = form(ROWS, initial("string", "%patient.gender"), calculated("c", "1 + 1"))
    chart = medications("a", "b")
    done = populate(one, start(one), context(), chart)
    again = populate(one, done.filling, done.context, chart)
    assert again.filling == done.filling
    assert from_bytes(to_bytes(done.filling)) == done.filling


def observation(ident: str, value: Any, **members: Any) -> dict[str, Any]:
    made = {
        "resourceType": "Observation",
        "id": ident,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7", "display": "Body weight"}]},
        "effectiveDateTime": "2026-06-01",
        "valueQuantity": {"value": value, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    }
    return {**made, **members}


OBSERVATIONS = [
    # what the chart holds, the answer
    ([observation("a", 70)], 70),
    ([observation("a", 70), observation("b", 71, effectiveDateTime="2026-07-01")], 71),  # the newest
    ([observation("a", 70, status="preliminary")], None),
    ([observation("a", 70, status="entered-in-error"), observation("b", 60, effectiveDateTime="2026-01-01")], 60),
    ([observation("a", 70, status="amended")], 70),
    ([observation("a", 70, effectiveDateTime="2025-11-01")], None),  # before the window
    ([observation("a", 70, focus=[{"reference": "Patient/other"}])], None),  # about somebody else
    ([observation("a", 70, focus=[{"reference": "Patient/sample"}])], 70),
    ([observation("a", 70, code={"coding": [{"system": "urn:x", "code": "29463-7"}]})], None),
    ([observation("a", 0, valueQuantity={"value": 70_000, "unit": "g", "code": "g"})], 70),  # converted
    ([observation("a", 0, valueQuantity={"value": 70, "unit": "cm", "code": "cm"})], None),  # skipped
    ([], None),
]


@pytest.mark.parametrize(("held", "expected"), OBSERVATIONS, ids=range(len(OBSERVATIONS)))
def test_SD12_the_newest_observation_inside_the_window(held: list[Any], expected: int | None) -> None:
    kilograms = {"system": "http://unitsofmeasure.org", "code": "kg", "display": "kg"}
    period = {
        "url": f"{SDC}observationLinkPeriod",
        "valueDuration": {"value": 1, "code": "a", "system": "http://unitsofmeasure.org"},
    }
    code = [{"system": "http://loinc.org", "code": "29463-7"}]
    one = form(item("a", "quantity", code=code, ext=[period, core("questionnaire-unitOption", valueCoding=kilograms)]))
    found = first(one, chart=Chart({"Observation?patient=sample&code=http%3A%2F%2Floinc.org%7C29463-7": held}))
    assert (found["valueQuantity"]["value"] if found else None) == expected


def test_SD12_children_are_parts_of_the_parents_observation() -> None:
    period = {"url": f"{SDC}observationLinkPeriod", "valueDuration": {"value": 1, "code": "a"}}
    part = {"system": "http://loinc.org", "code": "8480-6"}
    panel = {"system": "http://loinc.org", "code": "85354-9"}
    one = form(
        item(
            "bp",
            "group",
            item("sys", "decimal", code=[part]),
            item("other", "decimal", code=[panel]),
            code=[panel],
            ext=[period],
        )
    )
    held = {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": {"coding": [panel]},
        "effectiveDateTime": "2026-10-01",
        "component": [{"code": {"coding": [part]}, "valueInteger": 120}],
    }
    filling = filled(one, Chart({"Observation": [held]}))
    assert filling.state("bp/sys").values == ({"valueDecimal": 120},)
    assert filling.state("bp/other").values == ()


def test_evidence_says_which_resource_when_and_what() -> None:
    held = observation("w", 70)
    one = form(
        initial("decimal", "%q.entry.resource.where(status = 'final').value.value"),
        item("sum", "decimal", ext=[fhirpath("initialExpression", "%q.entry.resource.value.value.sum() + 1")]),
        ext=[variable("q", "Observation?patient={{%patient.id}}", QUERY)],
    )
    filling = filled(one, Chart({"Observation": [held]}))
    note = Note("Observation/w", "2026-06-01", "Body weight, 70 kg, final")
    assert filling.state("a").answers[0].notes == (note,)
    assert filling.state("sum").answers[0].notes == (note,)  # computed: what its variables hold


def test_SD10_a_list_that_is_worked_out_and_an_answer_that_fell_out_of_it() -> None:
    one = form(
        item("wide", "boolean"),
        item("a", "choice", ext=[fhirpath("answerExpression", f"iif({of('wide')}, 'x' | 'y', 'x')")]),
    )
    filling = answer(one, start(one), "wide", [{"valueBoolean": True}], DOCTOR)
    assert [option.key for option in view(one, filling, context()).items[1].options] == []  # texts are no Codings
    group = [{"code": code, "system": "urn:s", "display": code} for code in ("x", "y")]
    listed = {"resourceType": "Basic", "code": {"coding": group}}
    one = form(
        item("wide", "boolean"),
        item(
            "a",
            "choice",
            ext=[
                fhirpath(
                    "answerExpression",
                    f"%list.code.coding.where(code = 'x' or ({of('wide')} = true))".replace("%resource", "%resource"),
                )
            ],
        ),
    )
    launch = context(list=listed)
    filling = answer(one, start(one), "wide", [{"valueBoolean": True}], DOCTOR)
    assert [option.key for option in view(one, filling, launch).items[1].options] == ["urn:s|x", "urn:s|y"]
    filling = answer(one, filling, "a", [{"valueCoding": group[1]}], DOCTOR)
    assert view(one, filling, launch).ready
    filling = answer(one, filling, "wide", [{"valueBoolean": False}], DOCTOR)
    shown = view(one, filling, launch)
    assert not shown.ready
    assert [(problem.key, problem.code) for problem in shown.problems] == [("a", "option")]
    assert filling.state("a").values  # kept, not thrown away


def test_SD11_candidates_are_offered_and_never_filled_in() -> None:
    one = form(item("a", "string", ext=[fhirpath("candidateExpression", "%patient.name.given")]))
    assert filled(one).state("a").values == ()
    assert [option.display for option in candidates(one, start(one), context(), "a")] == ["Sam"]
    shown = view(one, start(one), context()).items[0]
    assert [(each.display, each.suggested) for each in shown.suggestions] == [("Sam", True)]


def test_SD11_supporting_resources_stand_behind_a_button() -> None:
    expression = {"language": QUERY, "expression": "Encounter?patient={{%patient.id}}"}
    ext = {
        "url": f"{SDC}contextExpression",
        "extension": [{"url": "label", "valueString": "Visits"}, {"url": "expression", "valueExpression": expression}],
    }
    one = form(item("a", ext=[ext]))
    chart = Chart({"Encounter": [{"resourceType": "Encounter", "id": "v", "period": {"start": "2026-01-01"}}]})
    populate(one, start(one), context(), chart)
    assert chart.asked == []  # not looked up before somebody asks
    (support,) = supporting(one, start(one), context(), "a")
    assert (support.label, support.wanted) == ("Visits", ("Encounter?patient=sample",))
    asked = msgspec.structs.replace(context(), found=chart(support.wanted))
    (support,) = supporting(one, start(one), asked, "a")
    assert [note.source for note in support.notes] == ["Encounter/v"]


def test_options_can_be_switched_off_by_an_expression() -> None:
    toggle = {
        "url": f"{SDC}answerOptionsToggleExpression",
        "extension": [
            {"url": "option", "valueCoding": coding("two")["valueCoding"]},
            {
                "url": "expression",
                "valueExpression": {"language": "text/fhirpath", "expression": "%patient.gender != 'female'"},
            },
        ],
    }
    one = form(choice("a", "one", "two", ext=[toggle]))
    assert [option.display for option in view(one, start(one), context()).items[0].options] == ["One"]
    filling = answer(one, start(one), "a", [coding("two")], DOCTOR)
    assert [problem.code for problem in view(one, filling, context()).problems] == ["option"]

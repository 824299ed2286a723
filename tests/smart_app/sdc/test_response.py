"""A filling as a QuestionnaireResponse and back (AP-15, AP-23; lossless)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.fhir.json import parse
from smart_app.sdc.filling import Answer, Filling, Note, Origin, add_row, answer, prefill
from smart_app.sdc.populate import start
from smart_app.sdc.response import EVIDENCE_URL, ORIGIN_URL, REPLACED_URL, from_response, to_response
from smart_app.sdc.shapes import Form
from tests.support.sdc_forms import DOCTOR, NURSE, choice, coding, context, form, item

NUMBERS = msgspec.json.Encoder(decimal_format="number")
ONE = {"valueString": "one"}
TWO = {"valueString": "two"}


def sent(one: Form, filling: Filling, **options: Any) -> dict[str, Any]:
    return to_response(one, filling, context(), {"status": "in-progress"}, **options)


def wide() -> Form:
    return form(
        item("a", text="Text of a"),
        item("n", "decimal"),
        choice("c", "x", "y", repeats=True),
        item("g", "group", item("r"), item("h", "group", item("s"), repeats=True), repeats=True),
        item("q", "boolean", item("why")),
        item("m", "string", item("each"), repeats=True),
        item("d", "display"),
        item("off", enableWhen=[{"question": "a", "operator": "=", "answerString": "never"}]),
    )


def everything() -> Filling:
    one = wide()
    filling = add_row(one, start(one), "g")
    filling = add_row(one, filling, "g[2]/h")
    note = Note("Observation/1", "2026-01-01", "shows")
    filling = prefill(filling, "a", [Answer(ONE, Origin.AUTO_CLIENT, notes=(note,))])
    filling = answer(one, filling, "a", [TWO], NURSE)
    filling = answer(one, filling, "n", [{"valueDecimal": Decimal("1.200")}], DOCTOR)
    filling = answer(one, filling, "c", [coding("x"), coding("y")], DOCTOR)
    filling = prefill(filling, "g[1]/r", [Answer(ONE, Origin.AUTO_SERVER)])
    filling = answer(one, filling, "g[2]/h[1]/s", [ONE], DOCTOR)
    filling = answer(one, filling, "g[2]/h[2]/s", [TWO], DOCTOR)
    filling = answer(one, filling, "q", [{"valueBoolean": False}], DOCTOR)
    filling = answer(one, filling, "q/why", [ONE], DOCTOR)
    filling = answer(one, filling, "m", [ONE, TWO], DOCTOR)
    filling = answer(one, filling, "m[2]/each", [ONE], DOCTOR)
    return answer(one, filling, "off", [ONE], DOCTOR)


def test_the_shape_of_a_response() -> None:
    one = form(item("a", text="Text of a"), item("g", "group", item("b"), text="Group"), item("d", "display"))
    filling = answer(one, start(one), "g/b", [ONE], DOCTOR)
    made = to_response(
        one, filling, context(), {"id": "x", "status": "completed", "subject": {"reference": "Patient/sample"}}
    )
    (item_of_g,) = made.pop("item")
    assert made == {
        "resourceType": "QuestionnaireResponse",
        "id": "x",
        "status": "completed",
        "subject": {"reference": "Patient/sample"},
        "questionnaire": "https://payer.example/fhir/Questionnaire/sample|3",
    }
    assert (item_of_g["linkId"], item_of_g["text"]) == ("g", "Group")
    (item_of_b,) = item_of_g["item"]
    (given_answer,) = item_of_b["answer"]
    assert given_answer["valueString"] == "one"
    assert given_answer["extension"] == [
        {
            "url": ORIGIN_URL,
            "extension": [
                {"url": "source", "valueCode": "manual"},
                {
                    "url": "author",
                    "extension": [
                        {
                            "url": "practitioner",
                            "valueReference": {"reference": DOCTOR.reference, "display": DOCTOR.display},
                        }
                    ],
                },
            ],
        }
    ]


@pytest.mark.parametrize("version", ["2.0.1", "2.1", "2.2"])
def test_what_is_written_comes_back_and_is_written_the_same(version: str) -> None:
    one = wide()
    first = sent(one, everything(), vocabulary=version, only_enabled=False)
    wire = msgspec.json.encode(first) if version == "2.2" else NUMBERS.encode(first)
    read = from_response(
        one,
        parse(NUMBERS.encode(first), max_bytes=10**6),
        auto=Origin.AUTO_CLIENT,
    )
    assert sent(one, read, vocabulary=version, only_enabled=False) == first
    assert wire


def test_2_2_tells_the_charts_answers_from_the_payers_after_a_round_trip() -> None:
    one = wide()
    read = from_response(one, sent(one, everything(), vocabulary="2.2", only_enabled=False))
    kept = everything()
    assert {key: state.answers for key, state in read.states.items()} == {
        key: state.answers for key, state in kept.states.items()
    }
    assert read.states["a"].before == kept.states["a"].before
    assert read.rows == kept.rows


def test_numbers_keep_their_digits_on_the_wire() -> None:
    wire = NUMBERS.encode(sent(wide(), everything()))
    assert b'"valueDecimal":1.200' in wire
    read = from_response(wide(), parse(wire, max_bytes=10**6))
    assert str(read.state("n").values[0]["valueDecimal"]) == "1.200"


def test_SD08_answers_of_items_that_are_not_enabled_are_not_submitted() -> None:
    one = wide()
    assert "off" not in [each["linkId"] for each in sent(one, everything(), only_enabled=True)["item"]]
    assert "off" in [each["linkId"] for each in sent(one, everything(), only_enabled=False)["item"]]


def test_an_override_sends_what_it_replaced_with_its_evidence() -> None:
    (first, *_) = sent(wide(), everything(), vocabulary="2.2")["item"]
    (replaced,) = first["extension"]
    assert replaced["url"] == REPLACED_URL
    assert {"url": "value", "valueString": "one"} in replaced["extension"]
    assert {"url": "source", "valueCode": "auto-client"} in replaced["extension"]
    assert [part["url"] for part in replaced["extension"]].count(EVIDENCE_URL) == 1


def test_extensions_of_others_go_back_untouched() -> None:
    foreign = {"url": "urn:payer:own", "valueString": "kept"}
    signature = {"url": "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-signature", "valueSignature": {}}
    one = form(item("a"))
    raw = {
        "item": [{"linkId": "a", "extension": [signature], "answer": [{"extension": [foreign], "valueString": "x"}]}]
    }
    (again,) = sent(one, from_response(one, raw))["item"]
    assert again["extension"] == [signature]
    assert foreign in again["answer"][0]["extension"]


def test_evidence_as_a_reference_is_read_too() -> None:
    parts = [
        {"url": "source", "valueReference": {"reference": "MedicationRequest/1"}},
        {"url": "shows", "valueString": "s"},
    ]
    raw = {
        "item": [
            {"linkId": "a", "answer": [{"valueString": "x", "extension": [{"url": EVIDENCE_URL, "extension": parts}]}]}
        ]
    }
    assert from_response(form(item("a")), raw).state("a").answers[0].notes == (Note("MedicationRequest/1", "", "s"),)


def test_items_that_the_form_does_not_have_are_not_lost() -> None:
    one = form(item("a"))
    read = from_response(one, {"item": [{"linkId": "old", "answer": [ONE]}, {"linkId": "a", "answer": [ONE]}, "x"]})
    assert [each["linkId"] for each in read.unasked[""]] == ["old"]
    assert read.state("a").values == (ONE,)


NONSENSE = {"url": ORIGIN_URL, "extension": [{"url": "source", "valueCode": "nonsense"}]}
SHAPES: list[Any] = [
    {},
    {"item": None},
    {"item": {"linkId": "a"}},
    {"item": [{"linkId": "a", "answer": [{}]}]},
    {"item": [{"linkId": "a", "answer": "x"}]},
    {"item": [{"linkId": "a", "answer": [{"valueString": "x", "extension": [None, {"url": ORIGIN_URL}]}]}]},
    {
        "item": [
            {
                "linkId": "a",
                "answer": [
                    {
                        "valueString": "x",
                        "extension": [{"url": ORIGIN_URL, "extension": [{"url": "source", "valueCode": "nonsense"}]}],
                    }
                ],
            }
        ]
    },
    {"item": [{"linkId": "a", "extension": [{"url": REPLACED_URL}]}]},
]


@pytest.mark.parametrize("raw", SHAPES, ids=range(len(SHAPES)))
def test_responses_of_any_shape_are_read(raw: Any) -> None:
    one = form(item("a"))
    sent(one, from_response(one, raw))


def test_texts_that_are_no_values_are_not_sent() -> None:
    one = form(item("n", "integer"))
    filling = answer(one, start(one), "n", [{"unread": "ten"}], DOCTOR)
    assert "item" not in sent(one, filling)


KINDS = {
    "string": st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=10).map(
        lambda text: {"valueString": text}
    ),
    "decimal": st.decimals(-(10**6), 10**6, allow_nan=False, places=4).map(lambda number: {"valueDecimal": number}),
    "integer": st.integers(-(2**31), 2**31 - 1).map(lambda number: {"valueInteger": number}),
    "boolean": st.booleans().map(lambda flag: {"valueBoolean": flag}),
    "date": st.dates().map(lambda day: {"valueDate": day.isoformat()}),
}


@given(
    st.lists(
        st.sampled_from(sorted(KINDS)).flatmap(
            lambda kind: st.tuples(st.just(kind), st.lists(KINDS[kind], min_size=1, max_size=3), st.integers(0, 2))
        ),
        max_size=5,
    ),
    st.sampled_from(["2.0.1", "2.2"]),
)
def test_any_filling_survives_the_wire(answers: Any, version: str) -> None:
    one = form(*(item(f"i{number}", kind, repeats=True) for number, (kind, _, _) in enumerate(answers)))
    filling = start(one)
    for number, (_, values, event) in enumerate(answers):
        if event:
            filling = prefill(filling, f"i{number}", [Answer(value, Origin.AUTO_CLIENT) for value in values])
        if event != 1:
            filling = answer(one, filling, f"i{number}", values[::-1], DOCTOR)
    made = sent(one, filling, vocabulary=version)
    wire = NUMBERS.encode(made)
    read = from_response(one, parse(wire, max_bytes=10**6), auto=Origin.AUTO_CLIENT)
    assert {key: state.values for key, state in read.states.items()} == {
        key: state.values for key, state in filling.states.items() if state.answers
    }
    assert NUMBERS.encode(sent(one, read, vocabulary=version)) == wire

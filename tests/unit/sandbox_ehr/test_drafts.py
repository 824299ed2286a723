"""The form as FHIR: shapes of the worked dose cases (simple, flex, boluses, single dose, percent)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from sandbox_ehr.drafts import Situation, build, signed
from sandbox_ehr.fhir_json import dumps
from sandbox_ehr.order_form import Ingredient, OrderForm, Segment, problems
from sandbox_ehr.order_words import dosage_of

AT = Situation("p", "dr", "e", "c", datetime(2026, 3, 2, 12, 0, tzinfo=UTC))
SIMPLE = OrderForm(drug="morphine", ingredients=(Ingredient("morphine", "20"),), rate="0.50")


def _drug(form, *more):
    return build(form, AT, ("draft-1", *more))[0]


def test_a_simple_continuous_rate_keeps_its_digits():
    order = _drug(SIMPLE)
    assert '"rateQuantity":{"value":0.50,"unit":"mL/d"' in dumps(order)
    assert order["dosageInstruction"][0]["route"]["coding"][0]["code"] == "72607000"
    assert order["contained"][0]["ingredient"][0]["strength"]["numerator"]["value"] == Decimal(20)


def test_percent_is_grams_in_100_millilitres():
    order = _drug(msgspec.structs.replace(SIMPLE, ingredients=(Ingredient("bupivacaine", "0.75", "%"),)))
    strength = order["contained"][0]["ingredient"][0]["strength"]
    assert (strength["numerator"]["code"], strength["denominator"]["value"]) == ("g", 100)


def test_flex_segments_stand_side_by_side():
    form = msgspec.structs.replace(SIMPLE, delivery="flex", segments=(Segment("16", "0.02"), Segment("8", "0.05")))
    repeats = [one["timing"]["repeat"] for one in _drug(form)["dosageInstruction"]]
    assert [repeat["duration"] for repeat in repeats] == [Decimal(16), Decimal(8)]
    assert {repeat["durationUnit"] for repeat in repeats} == {"h"}


def test_boluses_run_beside_the_basal_rate():
    form = msgspec.structs.replace(SIMPLE, bolus="1", bolus_max="6", lockout="120")
    basal, bolus = _drug(form)["dosageInstruction"]
    assert basal["sequence"] == bolus["sequence"] == 1
    assert bolus["asNeededBoolean"] is True
    assert bolus["timing"]["repeat"] == {"frequency": 6, "period": 1, "periodUnit": "d"}


def test_one_single_dose():
    form = OrderForm(drug="methotrexate", delivery="dose", dose="12", once=True)
    assert _drug(form)["dosageInstruction"][0]["timing"] == {"repeat": {"count": 1}}


def test_no_route_is_no_route():
    assert "route" not in _drug(msgspec.structs.replace(SIMPLE, route=""))["dosageInstruction"][0]


def test_pump_and_procedure_are_ordered_beside_it():
    form = msgspec.structs.replace(SIMPLE, companions=("E0783", "62362"), reason="cond")
    _, pump, procedure = build(form, AT, ("a", "b", "c"))
    assert (pump["resourceType"], pump["codeCodeableConcept"]["coding"][0]["code"]) == ("DeviceRequest", "E0783")
    assert procedure["code"] == {
        "coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "62362"}],
        "text": "CPT 62362",  # a number, never its licensed description
    }
    assert procedure["reasonReference"] == [{"reference": "Condition/cond"}]


def test_signing_gives_a_new_id_and_leaves_the_rest():
    draft = _drug(msgspec.structs.replace(SIMPLE, replaces="old"))
    order = signed(draft, "new", {"MedicationRequest/draft-1": "MedicationRequest/new"}, AT.now)
    assert (order["id"], order["status"]) == ("new", "active")
    # Who was told of the draft finds the order.
    assert order.pop("identifier") == [{"system": "urn:sandbox-ehr:draft", "value": "draft-1"}]
    changed = {name for name in order if order[name] != draft[name]}
    assert changed <= {"id", "status", "authoredOn"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"drug": ""}, "drug"),
        ({"drug": "heroin"}, "drug"),
        ({"rate": ""}, "rate"),
        ({"rate": "a lot"}, "rate"),
        ({"rate": "1e5"}, "rate"),
        ({"rate": "NaN"}, "rate"),
        ({"route": "nose"}, "route"),
        ({"ingredients": ()}, "ingredient"),
        ({"ingredients": (Ingredient("morphine", "x"),)}, "amount"),
        ({"delivery": "flex"}, "segment_hours"),
        ({"delivery": "dose"}, "dose"),
        ({"bolus": "1", "bolus_max": "2.5"}, "bolus_max"),
        ({"reason": "other", "reason_code": "pain"}, "reason_code"),
        ({"start": "tomorrow"}, "start"),
        ({"companions": ("X",)}, "companion"),
    ],
)
def test_what_cannot_be_signed_is_named(changes, field):
    assert field in {problem.field for problem in problems(msgspec.structs.replace(SIMPLE, **changes))}


def test_a_missing_concentration_is_the_payers_question_not_ours():
    form = msgspec.structs.replace(SIMPLE, ingredients=(Ingredient("morphine", ""),))
    assert problems(form) == ()
    assert "strength" not in json.loads(dumps(_drug(form)))["contained"][0]["ingredient"][0]


def test_micrograms_read_mcg_and_are_sent_as_ucum():
    order = _drug(msgspec.structs.replace(SIMPLE, rate_unit="ug/d"))
    assert order["dosageInstruction"][0]["doseAndRate"][0]["rateQuantity"]["code"] == "ug/d"
    assert dosage_of(order) == "intrathecal, 0.50 mcg/d"

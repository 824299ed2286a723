"""Every FHIR R4 dosage shape as mg/d of morphine 20 mg/mL, unless a row says otherwise."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.support.dose_setting import drug, order, q, rate, ratio, request

MG = {"doseAndRate": [{"doseQuantity": q(2, "mg")}]}


def _given(*instructions, ingredients=None):
    (given,) = order(request(ingredients or [drug("morphine", 20)], list(instructions))).contributions
    return given


def _repeat(**repeat):
    return {"repeat": repeat}


DAILY = {"frequency": 1, "period": 1, "periodUnit": "d"}


@pytest.mark.parametrize(
    ("timing", "expected", "why"),
    [
        (_repeat(**DAILY), 2, "once a day"),
        (_repeat(frequency=3, period=1, periodUnit="d"), 6, "three times a day"),
        (_repeat(frequency=1, frequencyMax=4, period=1, periodUnit="d"), 8, "frequencyMax beats frequency"),
        (_repeat(frequencyMax=4, period=1, periodUnit="d"), 8, "frequencyMax alone"),
        (_repeat(period=6, periodUnit="h"), 8, "every 6 h, the frequency of 1 left unsaid"),
        (_repeat(frequency=1, period=4, periodMax=6, periodUnit="h"), 12, "every 4 to 6 h: the shorter period"),
        (_repeat(frequency=1, period=30, periodUnit="min"), 96, "every half hour"),
        (_repeat(frequency=1, period=1, periodUnit="wk"), Fraction(2, 7), "once a week, spread over its days"),
        (_repeat(frequency=1, period=1, periodUnit="mo"), Fraction(32, 487), "UCUM's mean month"),
        (_repeat(timeOfDay=["08:00:00", "20:00:00"]), 4, "two times of the day"),
        (_repeat(frequency=1, period=1, periodUnit="wk", timeOfDay=["08:00:00"]), Fraction(2, 7), "weekly, at eight"),
        (_repeat(**DAILY, timeOfDay=["08:00:00", "20:00:00"]), 4, "once or twice? the greater"),
        (_repeat(when=["HS"]), 2, "at bedtime"),
        (_repeat(when=["MORN", "EVE"]), 4, "morning and evening"),
        (_repeat(when=["AC"]), None, "before meals: how many is not stated"),
        (_repeat(**DAILY, when=["AC"]), 2, "once a day, before a meal"),
        (_repeat(dayOfWeek=["mon", "wed"]), 2, "a Monday's amount"),
        (_repeat(**DAILY, dayOfWeek=["mon", "wed"]), 2, "a Monday's amount"),
        (_repeat(count=1), 2, "a single bolus"),
        (_repeat(count=1, frequency=1, period=1, periodUnit="wk"), 2, "a single bolus, all in its day"),
        (_repeat(count=2, frequency=1, period=4, periodUnit="h"), 4, "no more than two in all"),
        (_repeat(count=20, frequency=1, period=6, periodUnit="h"), 8, "twenty doses, four in a day"),
        (_repeat(count=1, countMax=3), None, "one to three, nobody says when"),
        (_repeat(count=5), None, "five in all, nobody says when"),
        (_repeat(count=0, **DAILY), None, "zero times is a data error"),
        (_repeat(boundsDuration=q(10, "d"), **DAILY), 2, "bounds say how long, not how much a day"),
        (_repeat(boundsPeriod={"start": "2026-01-01"}, **DAILY), 2, "bounds say how long"),
        (_repeat(boundsRange={"high": q(5, "d")}), None, "bounds alone are no frequency"),
        (_repeat(duration=30, durationUnit="min", **DAILY), 2, "a dose given over half an hour is still one dose"),
        ({"code": {"coding": [{"code": "TID"}]}}, 6, "TID"),
        ({"code": {"coding": [{"code": "tid"}]}}, 6, "tid"),
        ({"code": {"coding": [{"code": "QOD"}]}}, 1, "every other day"),
        ({"code": {"text": "three times a day"}}, None, "text is not parsed"),
        ({"code": {"coding": [{"code": "XYZ"}]}}, None, "an unknown code"),
        ({"code": {"coding": [{"code": "XYZ"}]}, **_repeat(**DAILY)}, 2, "an unknown code beside a schedule"),
        ({"code": {"coding": [{"code": "BID"}]}, **_repeat(**DAILY)}, 4, "code and schedule disagree: the greater"),
        ({"event": ["2026-03-01T08:00:00Z", "2026-03-01T20:00:00Z", "2026-03-02"]}, 4, "two on the busiest day"),
        ({"event": ["2026-03"]}, None, "a month is no day"),
        (_repeat(frequency=4), None, "four times in what?"),
        (_repeat(frequency=1, period=1), None, "period without unit"),
        (_repeat(frequency=1, period=0, periodUnit="d"), None, "zero period"),
        (_repeat(frequency=0, period=1, periodUnit="d"), None, "zero frequency"),
        (_repeat(frequency=True, period=1, periodUnit="d"), None, "a boolean is no number"),
        (_repeat(frequency=1, period=1, periodUnit="mg"), None, "a mass is no period"),
        (_repeat(), None, "nothing said"),
        (None, None, "no timing: a bare dose has no frequency"),
        ("daily", None, "not a Timing"),
    ],
)
def test_dose_by_timing(timing, expected, why):
    """2 mg each time."""
    given = _given(MG if timing is None else {**MG, "timing": timing})
    assert given.mg_per_day == expected, why
    assert given.lower_bound == (expected or 0)


@pytest.mark.parametrize(
    ("timing", "expected", "why"),
    [
        (None, 24, "continuous"),
        (_repeat(**DAILY), 24, "no duration: it runs all day"),
        (_repeat(boundsDuration=q(3, "d")), 24, "for three days"),
        (_repeat(duration=16, durationUnit="h", **DAILY), 16, "16 of 24 h"),
        (_repeat(duration=4, durationMax=6, durationUnit="h", **DAILY), 6, "durationMax beats duration"),
        (_repeat(duration=30, durationUnit="min", frequency=6, period=1, periodUnit="d"), 3, "six half hours"),
        (_repeat(duration=8, durationUnit="h"), 8, "a single run of 8 h"),
        (_repeat(duration=3, durationUnit="d"), 24, "a single run of three days: all day"),
        (_repeat(duration=8, durationUnit="h", count=1), 8, "once"),
        (_repeat(duration=3, durationUnit="d", count=1), 24, "once, for three days"),
        (_repeat(duration=8, durationUnit="h", frequency=2), None, "twice in what?"),
        (_repeat(duration=8, **DAILY), None, "duration without unit"),
        (_repeat(duration=0, durationUnit="h", **DAILY), None, "no time at all"),
        (_repeat(duration=2, durationUnit="d", frequency=1, period=1, periodUnit="wk"), Fraction(48, 7), "weekly"),
    ],
)
def test_rate_by_timing(timing, expected, why):
    """1 mg/h."""
    instruction = rate(1, "mg/h")
    assert _given(instruction if timing is None else {**instruction, "timing": timing}).mg_per_day == expected, why


@pytest.mark.parametrize(
    ("entry", "expected", "why"),
    [
        ({"rateQuantity": q(0.5, "mL/d")}, 10, "volume per day"),
        ({"rateQuantity": q(0.025, "mL/h")}, 12, "volume per hour"),
        ({"rateRatio": ratio((0.5, "mL"), (24, "h"))}, 10, "volume per 24 h"),
        ({"rateRatio": ratio((5, "mg"), (12, "h"))}, 10, "mass per 12 h"),
        ({"rateRatio": {"numerator": q(5, "mg")}}, None, "per what?"),
        ({"rateRatio": ratio((5, "mg"), (2, "mL"))}, None, "a concentration is no rate"),
        ({"rateRange": {"low": q(0.1, "mL/d"), "high": q(0.5, "mL/d")}}, 10, "the high end"),
        ({"rateRange": {"low": q(0.1, "mL/d")}}, None, "no high end"),
        ({"rateRange": {"low": q(1, "mL/d"), "high": q(0.5, "mL/d")}}, None, "upside down"),
        ({"rateQuantity": q(5, "mg")}, None, "a mass is no rate"),
        ({"rateQuantity": q(0, "mL/d")}, None, "zero"),
        ({"rateQuantity": q(-1, "mL/d")}, None, "negative"),
        ({"rateQuantity": {"value": 5}}, None, "no unit"),
        ({"rateQuantity": {"value": 5, "unit": " "}}, None, "an empty unit"),
        ({"rateQuantity": {"unit": "mg/d"}}, None, "no value"),
        ({"rateQuantity": {**q(5, "mg/d"), "comparator": "<"}}, None, "less than 5: how much?"),
        ({"rateQuantity": {**q(5, "mg/d"), "value": "5"}}, None, "a text is no number"),
        ({"rateQuantity": {**q(5, "mg/d"), "unit": "mcg/d"}}, None, "shown as mcg, coded as mg"),
        ({"rateQuantity": {**q(5, "mg/d"), "unit": "mg/24 hr"}}, 5, "shown otherwise, but the same unit"),
        ({"rateQuantity": {**q(5, "mg/d"), "unit": "milligrams a day"}}, 5, "the code is what counts"),
        ({"rateQuantity": {"value": 5, "code": "mg/d"}}, 5, "a code without system is a text"),
        ({"rateQuantity": {"value": 5, "unit": "mg/d", "system": "urn:oid:1.2.3", "code": "17"}}, 5, "a local system"),
        ({"rateQuantity": q(5, "mcg/d")}, None, "mcg declared as UCUM"),
        ({"rateQuantity": q(5, "mmol/d")}, None, "amount of substance"),
        ({"rateQuantity": q(5, "ug/kg/h")}, None, "per body weight"),
        ({"rateQuantity": q(5, "Mg/d")}, None, "megagram"),
        ({"doseQuantity": q(5, "mg/d")}, 5, "a rate in the place of a dose"),
        ({"doseRange": {"low": q(1, "mg/d"), "high": q(5, "mg/d")}}, 5, "a range of rates in the place of a dose"),
        ({"doseQuantity": q(5, "mg"), "rateQuantity": q(4, "mg/d")}, 4, "both: the rate counts"),
        ({"doseQuantity": q(5, "mg/d"), "rateQuantity": {"value": 4}}, None, "the rate counts even if unreadable"),
        ({}, None, "nothing"),
        ("x", None, "not an element"),
    ],
)
def test_dose_and_rate_shapes(entry, expected, why):
    assert _given({"doseAndRate": [entry]}).mg_per_day == expected, why


@pytest.mark.parametrize(
    ("instruction", "expected", "why"),
    [
        ({**rate(16, "mg/d"), "maxDosePerPeriod": ratio((15, "mg"), (24, "h"))}, 15, "capped"),
        ({**rate(10, "mg/d"), "maxDosePerPeriod": ratio((15, "mg"), (1, "d"))}, 10, "the cap is higher"),
        ({**rate(16, "mg/d"), "maxDosePerPeriod": ratio((0.5, "mL"), (1, "d"))}, 10, "capped by volume"),
        ({**rate(16, "mg/d"), "maxDosePerPeriod": ratio((2, "mg"), (4, "h"))}, 12, "2 mg in any 4 h"),
        ({"maxDosePerPeriod": ratio((15, "mg"), (24, "h"))}, 15, "a cap alone"),
        ({**MG, "maxDosePerPeriod": ratio((4, "mg"), (24, "h"))}, 4, "on demand without frequency: the cap stands"),
        ({**rate(1, "mmol/d"), "maxDosePerPeriod": ratio((4, "mg"), (1, "d"))}, 4, "unreadable rate, readable cap"),
        ({**rate(0, "mg/d"), "maxDosePerPeriod": ratio((4, "mg"), (1, "d"))}, 4, "zero rate, readable cap"),
        ({**rate(16, "mg/d"), "maxDosePerPeriod": ratio((4, "mmol"), (1, "d"))}, 16, "unreadable cap limits nothing"),
        ({**rate(16, "mg/d"), "maxDosePerPeriod": ratio((0, "mg"), (1, "d"))}, 16, "a zero cap is a data error"),
        ({**rate(16, "mg/d"), "maxDosePerLifetime": q(5, "mg")}, 16, "a lifetime is no day"),
        (
            {**MG, "timing": _repeat(**DAILY), "maxDosePerAdministration": q(1, "mg")},
            1,
            "no more than 1 mg each time",
        ),
        ({"timing": _repeat(period=6, periodUnit="h"), "maxDosePerAdministration": q(1, "mg")}, 4, "up to 1 mg"),
        ({**MG, "timing": _repeat(**DAILY), "maxDosePerAdministration": q(3, "mg")}, 2, "the cap is higher"),
        ({"text": "10 mg a day"}, None, "text is not parsed"),
        ({"doseAndRate": [{"rateQuantity": q(5, "mg/d")}] * 2}, 5, "the same said twice is not twice the dose"),
        (
            {"doseAndRate": [{"rateQuantity": q(5, "mg/d")}, {"rateQuantity": q(1, "ug/kg/h")}]},
            5,
            "calculated beside ordered per weight",
        ),
        ({"doseAndRate": [{"rateQuantity": q(5, "mg/d")}, {"rateQuantity": q(6, "mg/d")}]}, None, "which?"),
        (None, None, "not a Dosage"),
    ],
)
def test_caps_and_alternatives(instruction, expected, why):
    assert _given(instruction).mg_per_day == expected, why


@pytest.mark.parametrize(
    ("instructions", "expected", "known", "why"),
    [
        ([rate(4, "mg/d"), rate(5, "mg/d")], 9, 9, "no sequence: at the same time"),
        ([rate(4, "mg/d", sequence=1), rate(5, "mg/d", sequence=1)], 9, 9, "one sequence: at the same time"),
        ([rate(4, "mg/d", sequence=1), rate(5, "mg/d", sequence=2)], 5, 5, "one after the other"),
        ([rate(6, "mg/d", sequence=1), rate(5, "mg/d", sequence=2)], 6, 6, "tapering: the first step is the highest"),
        (
            [rate(4, "mg/d", sequence=1), rate(5, "mg/d", sequence=2), rate(1, "mg/d")],
            6,
            6,
            "one without sequence runs alongside every step",
        ),
        (
            [rate(4, "mg/d", sequence=1), rate(3, "mg/d", sequence=2), rate(2, "mg/d", sequence=2)],
            5,
            5,
            "two at the same time in the second step",
        ),
        ([rate(4, "mg/d", sequence=1), {"sequence": 2, "text": "x"}], None, 4, "an unknown step may be the highest"),
        ([rate(4, "mg/d"), {"text": "x"}], None, 4, "an unknown part"),
        ([], None, 0, "no instruction at all"),
    ],
)
def test_sequences(instructions, expected, known, why):
    given = _given(*instructions)
    assert (given.mg_per_day, given.lower_bound) == (expected, known), why


def test_mixtures_take_volumes_but_no_masses():
    """0.5 mL/d of the mixture is known for both; 5 mg/d is of neither."""
    mixture = [drug("morphine", 10), drug("bupivacaine", 20)]
    volume = order(request(mixture, [rate(0.5, "mL/d")])).contributions
    assert [given.mg_per_day for given in volume] == [5, 10]
    mass = order(request(mixture, [rate(5, "mg/d")])).contributions
    assert [given.mg_per_day for given in mass] == [None, None]


def test_an_ingredient_that_no_guideline_names_makes_a_mixture_too():
    """Methotrexate beside morphine: 5 mg/d may be either's."""
    other = {
        "itemCodeableConcept": {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6851"}]}
    }
    (given,) = order(request([drug("morphine", 10), other], [rate(5, "mg/d")])).contributions
    assert (given.ingredient, given.mg_per_day) == ("morphine", None)


@pytest.mark.parametrize(
    ("instructions", "steps"),
    [
        ([rate(0.75, "mL/d")], ("0.75 mL/d x 20 mg/mL = 15 mg/d",)),
        ([rate(0.03125, "mL/h")], ("0.03125 mL/h = 0.75 mL/d", "0.75 mL/d x 20 mg/mL = 15 mg/d")),
        ([rate(400, "ug/h")], ("400 ug/h = 9.6 mg/d", "9.6 mg/d")),
        (
            [{**MG, "timing": _repeat(frequency=6, period=1, periodUnit="d")}],
            ("2 mg x 6 per d = 12 mg/d", "12 mg/d"),
        ),
        (
            [{**rate(0.02, "mL/h"), "timing": _repeat(duration=16, durationUnit="h", **DAILY)}],
            ("0.02 mL/h x 16 h x 1 per d = 0.32 mL/d", "0.32 mL/d x 20 mg/mL = 6.4 mg/d"),
        ),
        (
            [rate(10, "mg/d", sequence=1), rate(16, "mg/d", sequence=2)],
            ("10 mg/d", "16 mg/d", "step 2 is the highest: 16 mg/d"),
        ),
        (
            [rate(16, "mg/d", maxDosePerPeriod=ratio((15, "mg"), (24, "h")))],
            ("maximum 15 mg / 24 h = 15 mg/d", "16 mg/d", "15 mg/d", "at most 15 mg/d"),
        ),
    ],
)
def test_steps_are_readable(instructions, steps):
    assert _given(*instructions).steps == steps


def test_what_a_pump_does_and_what_the_patient_may_do():
    basal = order(request([drug("morphine", 20)], [rate(0.5, "mL/d")]))
    assert (basal.pump_like, basal.patient_bolus) == (True, False)
    bolus = order(request([drug("morphine", 20)], [{**MG, "asNeededBoolean": True}]))
    assert (bolus.pump_like, bolus.patient_bolus) == (False, True)


@pytest.mark.parametrize(
    ("instruction", "flag"),
    [
        ({"doseAndRate": [{"rateQuantity": {"value": 5, "unit": "mcg/day"}}]}, "non_ucum_unit"),
        ({"doseAndRate": [{"rateQuantity": q(5, "mcg/d")}]}, "non_ucum_unit"),
        ({"doseAndRate": [{"rateQuantity": {**q(5, "mg/d"), "unit": "mcg/d"}}]}, "conflict"),
        ({"doseAndRate": [{"doseQuantity": q(5, "mg/d")}]}, "dose_shape_unusual"),
        ({"doseAndRate": [{"doseQuantity": q(5, "mg"), "rateQuantity": q(5, "mg/d")}]}, "dose_shape_unusual"),
        ({**rate(5, "mg/d"), "maxDosePerPeriod": ratio((5, "mmol"), (1, "d"))}, "dose_shape_unusual"),
        (rate(1, "mg/h", timing=_repeat(duration=30, durationUnit="h", **DAILY)), "dose_shape_unusual"),
        ({**MG, "timing": _repeat(**DAILY, timeOfDay=["08:00:00", "20:00:00"])}, "dose_shape_unusual"),
    ],
)
def test_what_is_odd_is_flagged(instruction, flag):
    assert (flag, "morphine") in order(request([drug("morphine", 20)], [instruction])).flags


def test_an_ordinary_order_has_no_flags():
    assert order(request([drug("morphine", 20)], [rate(0.5, "mL/d")])).flags == ()

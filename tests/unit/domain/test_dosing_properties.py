"""Laws that any dose arithmetic must obey, on generated orders."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from ucumvert import PintUcumRegistry

from cds_service.domain.determination import Verdict
from tests.support.dose_setting import TABLE, drug, judged, q, rate, ratio, request

REGISTRY = PintUcumRegistry()
AMOUNTS = st.integers(1, 9_999).map(lambda n: Decimal(n) / 1000)
WHOLE = st.integers(1, 40)
# The same rate, written in other units: what each is of 1 mL/d.
SPELLINGS = {"mL/d": 1, "mL/(24.h)": 1, "uL/d": 1000, "mL/wk": 7, "L/d": Decimal("0.001")}


def daily(resource, *chart):
    (result,) = judged(resource, *chart).results
    return result.daily


@given(AMOUNTS, WHOLE, st.integers(1, 50))
def test_scaling_n_times_the_rate_is_n_times_the_dose(flow, strength, times):
    one = daily(request([drug("morphine", strength)], [rate(flow, "mL/d")]))
    many = daily(request([drug("morphine", strength)], [rate(flow * times, "mL/d")]))
    assert many == one * times


@given(AMOUNTS, WHOLE, st.integers(1, 50))
def test_scaling_the_strength_is_scaling_dose_and_concentration(flow, strength, times):
    (one,) = judged(request([drug("morphine", strength)], [rate(flow, "mL/d")])).results
    (many,) = judged(request([drug("morphine", strength * times)], [rate(flow, "mL/d")])).results
    assert (many.daily, many.concentration) == (one.daily * times, one.concentration * times)


@given(AMOUNTS, WHOLE, st.sampled_from(sorted(SPELLINGS)))
def test_unit_invariance_of_rates(flow, strength, unit):
    plain = daily(request([drug("morphine", strength)], [rate(flow, "mL/d")]))
    spelt = daily(request([drug("morphine", strength)], [rate(flow * SPELLINGS[unit], unit)]))
    assert plain == spelt


@given(WHOLE, st.sampled_from([("mg", 1), ("ug", 1000), ("g", Decimal("0.001"))]), st.sampled_from([1, 10, 20]))
def test_unit_invariance_of_strengths(strength, unit, volume):
    plain = request([drug("morphine", strength)], [rate(1, "mL/d")])
    total = ratio((strength * unit[1] * volume, unit[0]), (volume, "mL"))
    assert daily(plain) == daily(request([drug("morphine", total)], [rate(1, "mL/d")]))


@given(st.permutations(range(4)), st.lists(AMOUNTS, min_size=4, max_size=4))
def test_order_independence_of_instructions_and_neighbours(places, flows):
    instructions = [rate(flow, "mL/d", sequence=1 + number % 2) for number, flow in enumerate(flows)]
    mixed = [instructions[place] for place in places]
    assert daily(request([drug("morphine", 10)], instructions)) == daily(request([drug("morphine", 10)], mixed))
    chart = [
        request([drug("morphine", 10)], [rate(flow, "mL/d")], name=f"rx-{number}", status="active")
        for number, flow in enumerate(flows)
    ]
    draft = request([drug("morphine", 10)], [rate(1, "mL/d")])
    assert daily(draft, *chart) == daily(draft, *[chart[place] for place in places])


@given(st.lists(AMOUNTS, min_size=1, max_size=4), AMOUNTS)
def test_monotony_another_instruction_or_order_never_lowers_the_dose(flows, more):
    drugs = [drug("morphine", 10)]
    instructions = [rate(flow, "mL/d") for flow in flows]
    before = daily(request(drugs, instructions))
    assert daily(request(drugs, [*instructions, rate(more, "mL/d")])) > before
    beside = request(drugs, [rate(more, "mL/d")], name="rx-1", status="active")
    assert daily(request(drugs, instructions), beside) > before


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_monotony_a_cap_never_raises_and_always_holds(flow, cap, strength):
    capped = rate(flow, "mL/d", maxDosePerPeriod=ratio((cap, "mg"), (1, "d")))
    with_cap = daily(request([drug("morphine", strength)], [capped]))
    without = daily(request([drug("morphine", strength)], [rate(flow, "mL/d")]))
    assert with_cap == min(without, Fraction(cap))


@given(AMOUNTS, st.lists(AMOUNTS, min_size=1, max_size=3))
def test_monotony_an_unknown_part_never_turns_an_excess_into_less(flow, others):
    """What is known to exceed still exceeds beside something unknown; nothing unknown is ever within."""
    known = request([drug("morphine", 10)], [rate(flow, "mL/d"), *[rate(other, "mL/d") for other in others]])
    part = request([drug("morphine", 10)], [*known["dosageInstruction"], {"text": "see pump sheet"}])
    (whole,), (partly,) = judged(known).results, judged(part).results
    if whole.daily_verdict is Verdict.EXCEEDS:
        assert (partly.daily_verdict, partly.daily) == (Verdict.EXCEEDS, whole.daily)
    else:
        assert (partly.daily_verdict, partly.daily) == (Verdict.CANNOT_BE_DETERMINED, None)


@given(AMOUNTS, st.sampled_from(["mL/h", "uL/min", "mL/wk", "mL/(24.h)"]), AMOUNTS, st.sampled_from(["mg", "ug", "g"]))
def test_volume_rates_agree_with_pint(flow, flow_unit, mass, mass_unit):
    """The whole product, computed by pint from the same UCUM codes."""
    ours = daily(request([drug("morphine", ratio((mass, mass_unit), (20, "mL")))], [rate(flow, flow_unit)]))
    speed = float(flow) * REGISTRY.from_ucum(flow_unit)
    concentration = float(mass) * REGISTRY.from_ucum(mass_unit) / (20 * REGISTRY.from_ucum("mL"))
    theirs = (speed * concentration).to("mg/day").magnitude
    assert abs(float(ours) - theirs) <= 1e-9 * theirs


@given(AMOUNTS, st.integers(1, 8), st.integers(1, 24), st.sampled_from(["h", "d", "wk"]))
def test_doses_by_timing_agree_with_pint(dose, times, period, unit):
    timing = {"repeat": {"frequency": times, "period": period, "periodUnit": unit}}
    instruction = {"timing": timing, "doseAndRate": [{"doseQuantity": q(dose, "mg")}]}
    ours = daily(request([drug("morphine", 10)], [instruction]))
    theirs = (
        (float(dose) * REGISTRY.from_ucum("mg") * times / (period * REGISTRY.from_ucum(unit))).to("mg/day").magnitude
    )
    assert abs(float(ours) - theirs) <= 1e-9 * theirs


@given(st.sampled_from(["baclofen", "bupivacaine", "clonidine", "hydromorphone", "morphine"]), st.booleans())
def test_limits_are_inclusive(name, above):
    """Exactly the printed limit is within; the smallest step above it is not, however small."""
    limit = TABLE.rows[name].daily
    value = Decimal(limit.numerator) / Decimal(limit.denominator) + (Decimal("1e-12") if above else 0)
    (result,) = judged(request([drug(name, 1)], [rate(value, "mg/d")])).results
    assert result.daily_verdict is (Verdict.EXCEEDS if above else Verdict.WITHIN)

"""Units and decimal strings: exact, closed, and checked against pint reading the same UCUM."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ucumvert import PintUcumRegistry

from cds_service.domain import quantity
from cds_service.domain.quantity import (
    CONCENTRATION,
    MASS,
    MASS_RATE,
    NUMBER,
    TIME,
    VOLUME,
    VOLUME_RATE,
    decimal_text,
    unit_of,
    unit_of_text,
)

ALIASES = {"mcg": "ug", "mcg/day": "ug/d", "day": "d", "hr": "h", "ml": "mL", "MG": "mg", "cc": "mL"}
BASE = {
    MASS: "mg",
    VOLUME: "mL",
    TIME: "d",
    CONCENTRATION: "mg/mL",
    MASS_RATE: "mg/d",
    VOLUME_RATE: "mL/d",
}


def test_every_unit_of_the_table_agrees_with_pint():
    """Independent oracle: ucumvert parses the code, pint converts it (in binary floats, hence the tolerance)."""
    registry = PintUcumRegistry()
    checked = 0
    for code, unit in quantity._UNITS.items():
        if unit.dimension == NUMBER or code == "%":
            continue  # pint knows % as a share without dimension; here it is g per 100 mL
        theirs = registry.from_ucum(code).to(registry.from_ucum(BASE[unit.dimension]).units).magnitude
        assert float(unit.factor) == pytest.approx(theirs, rel=1e-12), code
        checked += 1
    assert checked > 200


@pytest.mark.parametrize("code", ["mg/(24.h)", "mL/(24.h)", "ug/(12.h)", "mL/(7.d)", "mg/(100.mL)"])
def test_units_per_several_agree_with_pint(code):
    registry = PintUcumRegistry()
    unit = unit_of(code)
    theirs = registry.from_ucum(code)
    assert float(unit.factor) == pytest.approx(float(theirs.to(BASE[unit.dimension].replace("/d", "/day")).magnitude))


@pytest.mark.parametrize(
    ("code", "factor", "dimension"),
    [
        ("mL/h", Fraction(24), VOLUME_RATE),
        ("uL/min", Fraction(1440, 1000), VOLUME_RATE),
        ("mL/wk", Fraction(1, 7), VOLUME_RATE),
        ("ug/(24.h)", Fraction(1, 1000), MASS_RATE),
        ("%", Fraction(10), CONCENTRATION),  # 0.75 % is 7.5 mg/mL
        ("g/L", Fraction(1), CONCENTRATION),
        ("ml", Fraction(1), VOLUME),  # UCUM's litre is l or L
        ("mg.d-1", Fraction(1), MASS_RATE),
        ("1", Fraction(1), NUMBER),
    ],
)
def test_factors_are_exact(code, factor, dimension):
    unit = unit_of(code)
    assert (unit.factor, unit.dimension) == (factor, dimension)


@pytest.mark.parametrize(
    "code",
    [
        "mcg",  # not UCUM
        "Mg",  # megagram: almost certainly a slip
        "Mg/d",
        "mmol",
        "mmol/d",
        "[drp]",
        "[iU]",
        "{dose}",
        "ug/kg/h",  # per body weight
        "mg/kg",
        "mg/24.h",  # UCUM reads from left to right: (mg/24).h
        "mL/hr",
        "",
        "mg/",
        "/d",
        "mg/(0.h)",
        "d/mg",
    ],
)
def test_other_units_are_refused(code):
    assert unit_of(code) is None


@pytest.mark.parametrize(
    ("text", "code", "alias"),
    [
        ("mg/d", "mg/d", False),
        ("mcg", "ug", True),
        ("mcg/day", "ug/d", True),
        ("mcg/hr", "ug/h", True),  # from its two sides
        ("MG/day", "mg/d", True),
        ("MCG/ML", "ug/mL", True),  # old interfaces write all in capitals
        ("mL/hr", "mL/h", True),
        ("ml", "mL", True),
        ("\u00b5g/d", "ug/d", True),  # micro sign
        ("\u03bcg/d", "ug/d", True),  # Greek mu
        ("mg/24 hr", "mg/(24.h)", True),
        ("mg per day", "mg/d", True),
    ],
)
def test_texts_that_are_understood(text, code, alias):
    unit, flagged = unit_of_text(text, ALIASES)
    assert (unit.factor, unit.dimension) == (unit_of(code).factor, unit_of(code).dimension)
    assert flagged is alias


@pytest.mark.parametrize("text", ["Mg", "Mg/d", "mmol/d", "mcg/kg/h", "drops", "units", "mEq", "", "/", "mg//d", "5"])
def test_texts_that_are_not_understood(text):
    assert unit_of_text(text, ALIASES)[0] is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(15), "15"),
        (Fraction(35, 100), "0.35"),
        (Fraction(1, 3), "0.333333333333"),
        (Fraction(2, 3), "0.666666666667"),
        (Fraction(15_000), "15000"),
        (Fraction(1, 2**20), "0.00000095367431640625"),  # terminating values in full
        (Fraction(1, 3 * 10**13), "0"),
        (Fraction(-5, 2), "-2.5"),
        (Fraction(0), "0"),
        (Fraction(10**18), "1000000000000000000"),  # never an exponent
        (Fraction(5, 3 * 10**12) + Fraction(1, 10**12), "0.000000000003"),
    ],
)
def test_decimal_text(value, text):
    assert decimal_text(value) == text


def test_decimal_text_rounds_half_to_even():
    """A tie at the 13th place cannot occur in a value that does not terminate; just beside it, it rounds properly."""
    third = Fraction(1, 3 * 10**20)
    assert decimal_text(Fraction(25, 10**13) + third) == "0.000000000003"
    assert decimal_text(Fraction(25, 10**13) - third) == "0.000000000002"


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=15))
def test_decimal_text_gives_terminating_values_in_full(value: Decimal):
    text = decimal_text(Fraction(value))
    assert Fraction(text) == Fraction(value)
    assert "E" not in text.upper()
    assert "." not in text or not text.endswith(("0", "."))


@given(st.fractions(min_value=0, max_value=10**6))
def test_decimal_text_is_within_half_of_the_last_place(value: Fraction):
    assert abs(Fraction(decimal_text(value)) - value) <= Fraction(1, 2 * 10**12)

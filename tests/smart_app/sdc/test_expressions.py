"""FHIRPath with its gaps closed: tables of expressions with the results that the specification gives."""

from __future__ import annotations

import contextlib
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ucumvert import PintUcumRegistry

from smart_app.sdc import expressions
from smart_app.sdc.amounts import as_decimal, converted_value, measure
from smart_app.sdc.expressions import Lookup, Troubled
from smart_app.sdc.fhirpath_library import TimePoint
from smart_app.sdc.fhirpath_terms import bare
from smart_app.sdc.shapes import Expression, Use

RESPONSE = {
    "resourceType": "QuestionnaireResponse",
    "item": [
        {
            "linkId": "dose",
            "answer": [{"valueQuantity": {"value": 50, "code": "ug", "system": "http://unitsofmeasure.org"}}],
        },
        {"linkId": "day", "answer": [{"valueDate": "2026-01-01"}]},
        {"linkId": "rate", "answer": [{"valueDecimal": Decimal("0.1")}]},
        {"linkId": "group", "item": [{"linkId": "inner", "answer": [{"valueString": "x"}, {"valueString": "y"}]}]},
    ],
}


class Day:
    """The surroundings of these expressions."""

    now = "2026-11-22T10:30:00.000+00:00"

    def weight(self, value: Any) -> Decimal | None:
        return Decimal(2) if isinstance(value, dict) and value.get("code") == "two" else None

    def member_of(self, value: Any, canonical: str) -> bool | None:
        return value.get("code") == "two" if canonical == "urn:known" else None


def evaluated(text: str, names: dict[str, list[Any]] | None = None, **limits: Any) -> list[Any]:
    program = expressions.compiled(text)
    lookup = Lookup(lambda name: (names or {}).get(name, []))
    found = [bare(one) for one in expressions.run(program, [RESPONSE], lookup, Day(), **limits)]
    return [str(one) if isinstance(one, TimePoint) else one for one in found]


RESULTS = [
    # units: the library says false, or raises
    ("50 'ug' = 0.05 'mg'", [True]),
    ("item.where(linkId='dose').answer.value = 0.05 'mg'", [True]),
    ("item.where(linkId='dose').answer.value ~ 0.05 'mg'", [True]),
    ("item.where(linkId='dose').answer.value != 0.05 'mg'", [False]),
    ("item.where(linkId='dose').answer.value > 40 'ug'", [True]),
    ("item.where(linkId='dose').answer.value < 0.04 'mg'", [False]),
    ("50 'ug' > 0.04 'mg'", [True]),
    # units that cannot be converted are unknown, not different
    ("50 'ug' = 1 'mL'", []),
    ("50 'ug' > 1 'mL'", []),
    ("(1 'mg' + 50 'ug').value", [Decimal("1.05")]),
    ("(1 'g' - 1 'mg').value", [Decimal("0.999")]),
    ("1 'g' / 1 'mg'", [1000]),
    ("(3 'mg' * 2).value", [6]),
    ("item.where(linkId='dose').answer.value.toQuantity('mg').value", [Decimal("0.05")]),
    # exact decimals
    ("item.where(linkId='rate').answer.value + 0.2", [Decimal("0.3")]),
    ("(7.0 / 3).round(2)", [Decimal("2.33")]),
    ("2.5.round()", [3]),
    ("1 / 0", []),
    # totals of values that come out of resources
    ("item.answer.value.ofType(decimal).sum()", [Decimal("0.1")]),
    ("(1 'mg' | 500 'ug').sum().value", [Decimal("1.5")]),
    ("(1 | 2 | 4).avg()", [Decimal("2.333333333333")]),
    ("(3 | 1 | 2).min() + (3 | 1 | 2).max()", [4]),
    ("{}.sum()", []),
    ("(1 'mg' | 1 'mg' | 2 'mg').count()", [2]),
    ("(1 | 1.0 | true | 'a' | 'a').count()", [3]),
    ("item.answer.union(item.answer).count() = item.answer.count()", [True]),
    ("item.linkId.isDistinct()", [True]),
    # the day is the one that was passed in
    ("today() = @2026-11-22", [True]),
    ("(today() - 6 weeks) <= @2026-10-11", [True]),
    ("now() > @2026-11-22T10:29:00Z", [True]),
    ("item.where(linkId='day').answer.value < today()", [True]),
    ("item.where(linkId='day').answer.value + 6 weeks = @2026-02-12", [True]),
    # precision that does not tell is unknown
    ("@2026-01 < @2026-01-05", []),
    # functions that the library lacks
    ("item.linkId.sort()", ["day", "dose", "group", "rate"]),
    ("item.sort(linkId).first().linkId", ["day"]),
    ("defineVariable('n', item.count()).select(%n + 1)", [5]),
    ("item.where(linkId='day').answer.value.hasValue()", [True]),
    ("item.answers().value.ofType(string)", ["x", "y"]),
    ("'abc'.matches('^a')", [True]),
    ("'abc'.matchesFull('a')", [False]),
    ("'a1b2'.replaceMatches('[0-9]', '')", ["ab"]),
    # names that nobody defined are empty
    ("%patient.birthDate", []),
    ("%nobody.exists()", [False]),
    # what the library gets wrong: it compares the first of several only, and tests where() twice
    ("(1 | 2) = (1 | 3)", [False]),
    ("item.where($this.linkId = 'day').linkId", ["day"]),
    ("item.where(linkId = 'day' or linkId = 'dose').count()", [2]),
    ("repeat(item).where(linkId='inner').answer.value", ["x", "y"]),
    ("item.all(linkId.exists()) and true", [True]),
]


@pytest.mark.parametrize(("text", "expected"), RESULTS, ids=[text for text, _ in RESULTS])
def test_results(text: str, expected: list[Any]) -> None:
    assert evaluated(text) == expected


def test_SD16_weights_of_answers_can_be_added() -> None:
    names = {"answers": [{"code": "two"}, {"code": "two"}, {"code": "none"}]}
    assert evaluated("%answers.weight().sum()", names) == [Decimal(4)]
    assert evaluated("%answers.ordinal().max()", names) == [Decimal(2)]


def test_value_sets_of_the_package_are_known_and_others_are_not_guessed() -> None:
    names = {"code": [{"code": "two"}]}
    assert evaluated("%code.memberOf('urn:known')", names) == [True]
    with pytest.raises(Troubled) as caught:
        evaluated("%code.memberOf('urn:other')", names)
    assert caught.value.trouble.code == "unsupported"


REFUSED = [
    ("a b", "syntax"),  # the library reads `a` and forgets the rest
    ("item.where(", "syntax"),
    ("", "syntax"),
    ("'open", "syntax"),
    ("%factory.Coding('x', 'y')", "unsupported"),
    ("item.conformsTo('http://x')", "unsupported"),
    ("item.frobnicate()", "unsupported"),
    ("1 + " * 3000 + "1", "limit"),  # longer than any rule that a person wrote
]


@pytest.mark.parametrize(("text", "code"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_expression_is_refused_before_it_runs(text: str, code: str) -> None:
    with pytest.raises(Troubled) as caught:
        expressions.compiled(text)
    assert caught.value.trouble.code == code


def test_nested_too_deep_is_trouble_not_a_crash() -> None:
    with pytest.raises(Troubled):
        evaluated("(" * 3900 + "1" + ")" * 3900)


def test_troubles_name_no_data() -> None:
    with pytest.raises(Troubled) as caught:
        evaluated("%name > 3", {"name": ["Sample, Sam"]})
    assert "Sam" not in caught.value.trouble.text
    assert caught.value.trouble.code == "failed"


def test_bad_input_111_an_expression_is_stopped_when_its_time_is_over() -> None:
    ticking = iter(range(10_000))
    names = {"many": [{"n": number} for number in range(500)]}
    with pytest.raises(Troubled) as caught:
        evaluated("%many.where(n > 1 and n < 400).count()", names, clock=lambda: float(next(ticking)))
    assert caught.value.trouble.code == "limit"


def test_bad_input_111_an_expression_is_stopped_after_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "MAX_STEPS", 500)
    names = {"many": [{"n": number} for number in range(500)]}
    with pytest.raises(Troubled) as caught:
        evaluated("%many.where(n > 1).count()", names)
    assert caught.value.trouble.code == "limit"


def test_bad_input_111_regular_expressions_take_linear_time() -> None:
    names = {"text": ["a" * 30_000 + "!"]}
    assert evaluated("%text.matches('^(a+)+$')", names) == [False]


LANGUAGES = [
    (Expression(Use.ENABLE, "text/cql", "Define"), "cql"),
    (Expression(Use.INITIAL, "text/cql-identifier", "Define"), "cql"),
    (Expression(Use.INITIAL, "application/elm+json", "{}"), "cql"),
    (Expression(Use.INITIAL, "text/x-other", "1"), "language"),
    (Expression(Use.ENABLE, "application/x-fhir-query", "Patient?x"), "language"),  # a query enables nothing
    (Expression(Use.INITIAL, "application/x-fhir-query", "Patient?_id={{%patient.}}"), "syntax"),
]


@pytest.mark.parametrize(("expression", "code"), LANGUAGES, ids=range(len(LANGUAGES)))
def test_AP24_what_cannot_be_judged_is_known_before_anything_runs(expression: Expression, code: str) -> None:
    found = expressions.trouble(expression)
    assert found is not None
    assert found.code == code


CONVERSIONS = [
    "mg",
    "ug",
    "g",
    "kg",
    "[lb_av]",
    "mL",
    "L",
    "d",
    "h",
    "wk",
    "cm",
    "m",
    "[in_i]",
    "mg/mL",
    "ug/h",
    "mm[Hg]",
    "kPa",
]


@pytest.fixture(scope="session")
def ucum() -> pint.UnitRegistry:
    return PintUcumRegistry()


@pytest.mark.parametrize("source", CONVERSIONS)
def test_units_agree_with_an_independent_oracle(source: str, ucum: pint.UnitRegistry) -> None:
    """Every pair of the table: the same factor as Pint's UCUM, and no conversion where Pint knows none."""
    for target in CONVERSIONS:
        amount = measure(Decimal("2.5"), source)
        assert amount is not None
        found = converted_value(amount, target)
        try:
            expected = ucum.Quantity(2.5, ucum.from_ucum(source).units).to(ucum.from_ucum(target).units).magnitude
        except pint.DimensionalityError:
            expected = None
        if found is None:
            assert expected is None, (source, target)
        else:
            assert expected is not None, (source, target)
            assert math.isclose(float(found), expected, rel_tol=1e-6), (source, target)


@given(st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**6))
def test_numbers_for_json_are_exact_or_within_twelve_places(value: Fraction) -> None:
    assert abs(Fraction(as_decimal(value)) - value) <= Fraction(1, 10**12)
    rest = value.denominator
    while rest % 2 == 0:
        rest //= 2
    while rest % 5 == 0:
        rest //= 5
    if rest == 1:
        assert Fraction(as_decimal(value)) == value


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_trouble(text: str) -> None:
    with contextlib.suppress(Troubled):
        evaluated(text)

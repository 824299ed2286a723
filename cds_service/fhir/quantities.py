"""FHIR Quantity, Ratio and Range as exact amounts, or the reason why not (guideline analysis 3.6 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.quantity import Amount, Unit, decimal_text, unit_of, unit_of_text
from cds_service.fhir.systems import UCUM

NON_UCUM = "non_ucum_unit"
CONFLICT = "conflict"


class Reading(msgspec.Struct, frozen=True):
    """An amount, or None and ``why``; ``flags`` hold either way. ``why`` never repeats what was sent."""

    amount: Amount | None
    why: str = ""
    flags: tuple[str, ...] = ()


ABSENT = Reading(None, "not stated")
_NO_NUMBER = Reading(None, "no number")
_NOT_POSITIVE = Reading(None, "zero or negative")
_COMPARED = Reading(None, "only bounded by a comparator")
_NO_UNIT = Reading(None, "no unit")
_UNKNOWN_UNIT = Reading(None, "a unit that is not read")
_DECLARED_ALIAS = Reading(None, "declared as UCUM, but no UCUM unit", (NON_UCUM,))
_UNKNOWN_TEXT = Reading(None, "a unit that is not read", (NON_UCUM,))
_TWO_UNITS = Reading(None, "unit and code contradict each other", (CONFLICT,))


def number(value: Any) -> Fraction | None:
    """An exact number; None for anything else (a boolean and a text are no numbers)."""
    kind = type(value)
    if kind is int:
        return Fraction(value)
    return Fraction(*value.as_integer_ratio()) if kind is Decimal and value.is_finite() else None


def read_quantity(quantity: Any, aliases: Mapping[str, str]) -> Reading:
    """A positive amount with a unit of the closed table.

    A code declared as UCUM is taken at its word and refused if UCUM does not have it; a unit as text is read
    through ``aliases`` and flagged where it is not UCUM.
    """
    if type(quantity) is not dict:
        return ABSENT
    value = number(quantity.get("value"))
    if value is None:
        return _NO_NUMBER
    if value.numerator <= 0:
        return _NOT_POSITIVE
    if "comparator" in quantity:
        return _COMPARED
    found = _unit(quantity, aliases)
    if isinstance(found, Reading):
        return found
    unit, flags = found
    text = f"{_digits(quantity['value'], value)} {unit.code}"
    return Reading(Amount(value if unit.base else value * unit.factor, unit.dimension, text), "", flags)


def _digits(stated: Any, value: Fraction) -> str:
    """The number as stated, without exponent and trailing zeros."""
    text = str(stated)
    if "E" in text:
        return decimal_text(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _unit(quantity: Mapping[str, Any], aliases: Mapping[str, str]) -> tuple[Unit, tuple[str, ...]] | Reading:
    code, text = quantity.get("code"), quantity.get("unit")
    if type(code) is str and quantity.get("system") == UCUM:
        unit = unit_of(code)
        if unit is None:
            return _DECLARED_ALIAS if code in aliases or unit_of_text(code, aliases)[0] else _UNKNOWN_UNIT
        if text != code and type(text) is str and _differs(unit, text, aliases):
            return _TWO_UNITS
        return unit, ()
    if type(text) is not str or not text.strip():
        text = code  # a code without system is no more than a text
    if type(text) is not str or not text.strip():
        return _NO_UNIT
    unit, alias = unit_of_text(text.strip(), aliases)
    if unit is None:
        return _UNKNOWN_TEXT
    return unit, ((NON_UCUM,) if alias else ())


def _differs(unit: Unit, text: str, aliases: Mapping[str, str]) -> bool:
    """Whether the unit shown to the prescriber is another one than the coded one: 1000-fold errors hide there."""
    shown, _ = unit_of_text(text.strip(), aliases)
    return shown is not None and (shown.factor != unit.factor or shown.dimension != unit.dimension)


def read_ratio(ratio: Any, aliases: Mapping[str, str]) -> Reading:
    """Numerator / denominator, both positive and both with units."""
    if type(ratio) is not dict:
        return ABSENT
    above = read_quantity(ratio.get("numerator"), aliases)
    below = read_quantity(ratio.get("denominator"), aliases)
    flags = above.flags + below.flags
    if above.amount is None or below.amount is None:
        return Reading(None, above.why or below.why, flags)
    return Reading(above.amount.over(below.amount), "", flags)


def read_high_end(bounds: Any, aliases: Mapping[str, str]) -> Reading:
    """The high end of a Range; unknown without one, or if the low end lies above it."""
    if type(bounds) is not dict:
        return ABSENT
    high = read_quantity(bounds.get("high"), aliases)
    if high.amount is None:
        return high
    low = read_quantity(bounds.get("low"), aliases)
    if low.amount and low.amount.dimension == high.amount.dimension and low.amount.value > high.amount.value:
        return Reading(None, "the low end lies above the high end", high.flags)
    return high

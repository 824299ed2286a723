"""Quantities of forms, compared and converted exactly. For the FHIRPath library 50 ug and 0.05 mg are not the same.

Units beyond the table compare only with themselves: what cannot be converted is unknown, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

import msgspec

from cds_service.domain.quantity import unit_of

Size = tuple[Fraction, tuple[int | str, ...]]
"""How many base units, and of what."""

_LENGTH, _PRESSURE = ("length",), ("pressure",)
_MORE: Mapping[str, Size] = {
    "kg": (Fraction(1_000_000), (1, 0, 0)),
    "[lb_av]": (Fraction("453592.37"), (1, 0, 0)),
    "[oz_av]": (Fraction("28349.523125"), (1, 0, 0)),
    "ms": (Fraction(1, 86_400_000), (0, 0, 1)),
    "m": (Fraction(1), _LENGTH),
    "km": (Fraction(1000), _LENGTH),
    "dm": (Fraction(1, 10), _LENGTH),
    "cm": (Fraction(1, 100), _LENGTH),
    "mm": (Fraction(1, 1000), _LENGTH),
    "um": (Fraction(1, 1_000_000), _LENGTH),
    "[in_i]": (Fraction("0.0254"), _LENGTH),
    "[ft_i]": (Fraction("0.3048"), _LENGTH),
    "Pa": (Fraction(1), _PRESSURE),
    "kPa": (Fraction(1000), _PRESSURE),
    "mm[Hg]": (Fraction("133.322387415"), _PRESSURE),
}
# FHIRPath's calendar words, and how people and old forms write units.
_WORDS: Mapping[str, str] = {
    **{
        f"{word}{ending}": code
        for word, code in (
            ("year", "a"),
            ("month", "mo"),
            ("week", "wk"),
            ("day", "d"),
            ("hour", "h"),
            ("minute", "min"),
            ("second", "s"),
            ("millisecond", "ms"),
        )
        for ending in ("", "s")
    },
    "lb": "[lb_av]",
    "lbs": "[lb_av]",
    "in": "[in_i]",
    "inches": "[in_i]",
    "mcg": "ug",
    "ml": "mL",
    "mmHg": "mm[Hg]",
}
_ANNOTATION = re.compile(r"\{[^{}]*\}")


class Measure(msgspec.Struct, frozen=True):
    """A number and the code of its unit; ``1`` without unit."""

    value: Fraction
    unit: str


@lru_cache(maxsize=1024)
def _size(code: str) -> Size | None:
    more = _MORE.get(code)
    if more is not None:
        return more
    unit = unit_of(code)
    return None if unit is None else (unit.factor, unit.dimension)


@lru_cache(maxsize=1024)
def unit_code(text: str) -> str:
    """The UCUM code that a unit's text means; the text itself where it is not one that is known."""
    plain = _ANNOTATION.sub("", text.strip().strip("'")).replace("\u00b5", "u").replace("\u03bc", "u") or "1"
    return _WORDS.get(plain, plain)


def measure(value: Any, unit: Any) -> Measure | None:
    """A measure, None without a number."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        return None
    number = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    return Measure(number, unit_code(unit) if isinstance(unit, str) else "1")


def measure_of(quantity: Mapping[str, Any]) -> Measure | None:
    """A FHIR Quantity as a measure; None without a number, or where a comparator makes it a range."""
    if quantity.get("comparator"):
        return None
    return measure(quantity.get("value"), quantity.get("code") or quantity.get("unit"))


def compared(left: Measure, right: Measure) -> int | None:
    """-1, 0 or 1; None where one cannot be expressed in the other's unit."""
    converted = converted_value(left, right.unit)
    if converted is None:
        return None
    return (converted > right.value) - (converted < right.value)


def converted_value(amount: Measure, unit: str) -> Fraction | None:
    """The amount in another unit, exactly; None where that is not possible."""
    unit = unit_code(unit)
    if amount.unit == unit:
        return amount.value
    source, target = _size(amount.unit), _size(unit)
    if source is None or target is None or source[1] != target[1]:
        return None
    return amount.value * source[0] / target[0]


def as_decimal(value: Fraction) -> Decimal:
    """A number for JSON: terminating values in full, others to 12 places."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    places = 12 if rest != 1 else _places(value.denominator)
    scaled = round(value * 10**places)
    number = Decimal(scaled).scaleb(-places)
    return number.normalize() if number and number == number.to_integral_value() and places else number


def _places(denominator: int) -> int:
    places = 0
    while 10**places % denominator:
        places += 1
    return places

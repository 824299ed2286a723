"""Amounts with units: a closed part of UCUM, exact, in mg, mL and d (guideline analysis 3.6 and 4).

A unit that is not in the table is not guessed. Deliberately absent although UCUM has them: ``Mg`` (a slip for mg),
amounts of substance, drops, arbitrary units and anything per kilogram of body weight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import product

import msgspec

Dimension = tuple[int, int, int]  # exponents of mass, volume and time

NUMBER: Dimension = (0, 0, 0)
MASS: Dimension = (1, 0, 0)
VOLUME: Dimension = (0, 1, 0)
TIME: Dimension = (0, 0, 1)
CONCENTRATION: Dimension = (1, -1, 0)
MASS_RATE: Dimension = (1, 0, -1)
VOLUME_RATE: Dimension = (0, 1, -1)

# What an amount is called once it stands in mg, mL and d.
BASE_TEXT: Mapping[Dimension, str] = {
    MASS: "mg",
    VOLUME: "mL",
    TIME: "d",
    CONCENTRATION: "mg/mL",
    MASS_RATE: "mg/d",
    VOLUME_RATE: "mL/d",
}


class Unit(msgspec.Struct, frozen=True):
    """A unit by its UCUM code. ``factor`` x value is the amount in mg, mL and d; ``base``: the factor is 1."""

    code: str
    factor: Fraction
    dimension: Dimension
    base: bool


class Amount(msgspec.Struct, frozen=True):
    """A number in mg, mL and d. ``text`` is how it was written: ``0.75 mL/d``, ``400 ug/h``."""

    value: Fraction
    dimension: Dimension
    text: str

    def over(self, other: Amount) -> Amount:
        """This amount divided by ``other``: 10 mg over 0.5 mL is 20 mg/mL."""
        mass, volume, time = self.dimension
        dimension = (mass - other.dimension[0], volume - other.dimension[1], time - other.dimension[2])
        return Amount(self.value / other.value, dimension, f"{self.text} / {other.text}")


_MASS = {"g": Fraction(1000), "mg": Fraction(1), "ug": Fraction(1, 1000), "ng": Fraction(1, 1_000_000)}
_LITRE = {"": Fraction(1000), "d": Fraction(100), "c": Fraction(10), "m": Fraction(1), "u": Fraction(1, 1000)}
# UCUM knows the litre as l and as L; cm3 is its cubic centimetre.
_VOLUME = {f"{prefix}{letter}": size for prefix, size in _LITRE.items() for letter in "Ll"} | {"cm3": Fraction(1)}
# The month and the year are UCUM's mean Julian ones.
_TIME = {
    "s": Fraction(1, 86_400),
    "min": Fraction(1, 1440),
    "h": Fraction(1, 24),
    "d": Fraction(1),
    "wk": Fraction(7),
    "mo": Fraction(487, 16),
    "a": Fraction(1461, 4),
}
_ATOMS: Mapping[str, tuple[Fraction, Dimension]] = {
    "1": (Fraction(1), NUMBER),
    # g per 100 mL: the labelling of solutions. Nothing else here is a share of something (analysis trap 27).
    "%": (Fraction(10), CONCENTRATION),
    **{code: (factor, MASS) for code, factor in _MASS.items()},
    **{code: (factor, VOLUME) for code, factor in _VOLUME.items()},
    **{code: (factor, TIME) for code, factor in _TIME.items()},
}
_QUOTIENTS = ((_MASS, _VOLUME, CONCENTRATION), (_MASS, _TIME, MASS_RATE), (_VOLUME, _TIME, VOLUME_RATE))
_PER_SEVERAL = re.compile(r"([A-Za-z0-9]{1,3})/\(([1-9][0-9]{0,3})\.([A-Za-z0-9]{1,3})\)")  # mg/(24.h)
_COUNTED = re.compile(r"([1-9][0-9]{0,3})([^0-9].*)")  # the 24 of mg/24hr


def _table() -> dict[str, Unit]:
    found = {code: Unit(code, factor, dimension, factor == 1) for code, (factor, dimension) in _ATOMS.items()}
    for above, below, dimension in _QUOTIENTS:
        for (top, up), (bottom, down) in product(above.items(), below.items()):
            inverse = f"{top}.cm-3" if bottom == "cm3" else f"{top}.{bottom}-1"
            for code in (f"{top}/{bottom}", inverse):
                found[code] = Unit(code, up / down, dimension, up == down)
    return found


_UNITS: Mapping[str, Unit] = _table()


def unit_of(code: str) -> Unit | None:
    """The unit with this UCUM code, None when it is not one that is read here."""
    unit = _UNITS.get(code)
    if unit is not None:
        return unit
    match = _PER_SEVERAL.fullmatch(code)
    single = _UNITS.get(f"{match[1]}/{match[3]}") if match else None
    if match is None or single is None:
        return None
    return Unit(code, single.factor / int(match[2]), single.dimension, base=False)


def unit_of_text(text: str, aliases: Mapping[str, str]) -> tuple[Unit | None, bool]:
    """The unit that a text without code system means, and whether it is written otherwise than in UCUM.

    ``aliases`` maps texts as EHRs write them to UCUM codes; they also hold for the two sides of a quotient. Only
    texts wholly in capitals are read in either case: ``MG`` is how old interfaces write mg, ``Mg`` is not.
    """
    code = aliases.get(text)
    if code is not None:
        return unit_of(code), True
    unit = unit_of(text)
    if unit is not None:
        return unit, False
    plain = text.replace("\u00b5", "u").replace("\u03bc", "u").replace(" per ", "/").replace(" ", "")
    code = aliases.get(plain)
    if code is not None:
        return unit_of(code), True
    pieces = [_piece(piece, aliases) for piece in plain.split("/")]
    if len(pieces) > 2 or None in pieces:
        return None, False
    return unit_of("/".join(piece for piece in pieces if piece)), True


def _piece(text: str, aliases: Mapping[str, str]) -> str | None:
    """UCUM code of one side of a quotient."""
    match = _COUNTED.fullmatch(text)
    if match is not None:
        inner = _piece(match[2], aliases)
        return None if inner is None else f"({match[1]}.{inner})"
    for form in (text, text.lower()) if text.isupper() else (text,):
        code = aliases.get(form, form)
        if code in _ATOMS:
            return code
    return None


def above(value: Fraction, limit: Fraction) -> bool:
    """``value > limit``, without the type questions that Fraction's own comparison asks each time."""
    return value.numerator * limit.denominator > limit.numerator * value.denominator


def decimal_text(value: Fraction) -> str:
    """A decimal string: terminating values in full, others rounded half-even to 12 places (contract: determination).

    No exponent, no trailing zeros: 15, 0.35, 0.333333333333.
    """
    if value.denominator == 1:
        return str(value.numerator)
    places = _places(value.denominator)
    if places is None:
        value, places = round(value, 12), 12
    scaled = abs(value.numerator) * 10**places // value.denominator
    digits = str(scaled).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 and scaled else text


def _places(denominator: int) -> int | None:
    """Decimal places of a terminating fraction in lowest terms, None if it does not terminate."""
    if 1_000_000_000_000 % denominator == 0:
        return 12
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def amount_text(value: Fraction, dimension: Dimension) -> str:
    """An amount in mg, mL and d as a person writes it: ``15 mg/d``."""
    return f"{decimal_text(value)} {BASE_TEXT[dimension]}"

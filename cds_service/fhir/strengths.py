"""Ingredient strengths as mg/mL: per volume, per cent, per container, or already so (guideline analysis 4)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.quantity import CONCENTRATION, MASS, NUMBER, VOLUME, Amount, amount_text
from cds_service.fhir.quantities import ABSENT, Reading, read_quantity

# Words and UCUM annotations for "one container", as in 500 mg per vial.
_CONTAINERS = frozenset(
    [
        "vial",
        "ampule",
        "ampoule",
        "amp",
        "bag",
        "syringe",
        "reservoir",
        "cassette",
        "container",
        "bottle",
        "each",
        "ea",
        "kit",
    ]
)
_SHARE = (0, 0, 0)


class Strength(msgspec.Struct, frozen=True):
    """mg/mL, None and ``why``. ``share`` instead: mL of a component per mL of the whole."""

    concentration: Fraction | None
    steps: tuple[str, ...] = ()
    why: str = ""
    flags: tuple[str, ...] = ()
    share: Fraction | None = None


def read_strength(strength: Any, container: Reading, aliases: Mapping[str, str]) -> Strength:
    """The concentration that an ``ingredient.strength`` states.

    Args:
        strength: The Ratio as sent.
        container: Volume of one container (``container_volume``), for strengths that are per container.
        aliases: Text units.
    """
    if type(strength) is not dict:
        return Strength(None, (), "strength: not stated")
    above = read_quantity(strength.get("numerator"), aliases)
    if above.amount is None:
        return Strength(None, (), f"strength: {above.why}", above.flags)
    if above.amount.dimension == CONCENTRATION and _is_bare_one(strength.get("denominator", {"value": 1})):
        return _found(above.amount, above.flags)
    below = _denominator(strength.get("denominator"), aliases)
    flags = above.flags + below.flags
    if below.amount is None:
        return Strength(None, (), f"strength: {below.why}", flags)
    if below.amount.dimension == NUMBER:
        return _per_container(above.amount, below.amount, container, flags)
    return _found(above.amount.over(below.amount), flags)


def container_volume(amount: Any, aliases: Mapping[str, str]) -> Reading:
    """Volume of one container from ``Medication.amount``: 20 mL per 1, 100 mL per 5 vials."""
    if type(amount) is not dict:
        return ABSENT
    if _is_bare_one(amount.get("denominator", {"value": 1})):
        return read_quantity(amount.get("numerator"), aliases)
    above = read_quantity(amount.get("numerator"), aliases)
    below = _denominator(amount["denominator"], aliases)
    flags = above.flags + below.flags
    if above.amount is None or below.amount is None:
        return Reading(None, above.why or below.why, flags)
    return Reading(above.amount if below.amount.value == 1 else above.amount.over(below.amount), "", flags)


def _is_bare_one(quantity: Any) -> bool:
    """The number 1 without any unit. Under a plain mass that could mean 1 mL or 1 vial, so there it is not enough."""
    return type(quantity) is dict and quantity.get("value") == 1 and not {"unit", "code"} & quantity.keys()


def _denominator(quantity: Any, aliases: Mapping[str, str]) -> Reading:
    """Like any amount, but a container counts as a number: 1, {vial}, "vial"."""
    if type(quantity) is dict:
        word = quantity.get("code") or quantity.get("unit")
        if type(word) is str and word.strip("{}").lower() in _CONTAINERS:
            bare = {key: quantity[key] for key in ("value", "comparator") if key in quantity}
            return read_quantity({**bare, "unit": "1"}, aliases)
    return read_quantity(quantity, aliases)


def _per_container(above: Amount, below: Amount, container: Reading, flags: tuple[str, ...]) -> Strength:
    if above.dimension == CONCENTRATION:
        if below.value != 1:
            return Strength(None, (), "strength: a concentration per several containers", flags)
        return _found(above, flags)
    if above.dimension != MASS:
        return Strength(None, (), "strength: not a mass", flags)
    flags += container.flags
    if container.amount is None or container.amount.dimension != VOLUME:
        return Strength(None, (), "strength: per container, whose volume is not stated", flags)
    per_one = above if below.value == 1 else Amount(above.value / below.value, MASS, f"{above.text} / {below.text}")
    return _found(per_one.over(container.amount), flags)


def _found(amount: Amount, flags: tuple[str, ...]) -> Strength:
    if amount.dimension == _SHARE:
        return Strength(None, (), "strength: not a mass per volume", flags, share=amount.value)
    if amount.dimension != CONCENTRATION:
        return Strength(None, (), "strength: not a mass per volume", flags)
    plain = amount_text(amount.value, CONCENTRATION)
    steps = () if amount.text in {plain, f"{plain.removesuffix('/mL')} / 1 mL"} else (f"{amount.text} = {plain}",)
    return Strength(amount.value, steps, "", flags)

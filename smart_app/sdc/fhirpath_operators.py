"""FHIRPath's operators and totals: they know units and the precision of dates, and count exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from smart_app.sdc.amounts import Measure, as_decimal, compared, converted_value
from smart_app.sdc.fhirpath_library import REGISTRY, TimePoint, quantity
from smart_app.sdc.fhirpath_terms import Ctx, Nodes, Refused, bare, is_number, order, pair, same, term


def equal(_: Ctx, left: Nodes, right: Nodes) -> Any:
    """``=``: all pairs, in order."""
    if len(left) != len(right):
        return False
    found = [same(one, other) for one, other in zip(left, right, strict=True)]
    if False in found:
        return False
    return [] if None in found else True


def unequal(ctx: Ctx, left: Nodes, right: Nodes) -> Any:
    """``!=``."""
    found = equal(ctx, left, right)
    return found if found == [] else not found


_library_equivalent = REGISTRY["~"]["fn"]


def equivalent(ctx: Ctx, left: Nodes, right: Nodes) -> Any:
    """``~``: measures by their amount, Codings by system and code, the rest as the library does."""
    if len(left) != len(right):
        return False
    if len(left) == 1:
        one, other = pair(left[0], right[0])
        if isinstance(one, Measure) and isinstance(other, Measure):
            return compared(one, other) == 0
        if isinstance(one, Mapping) and isinstance(other, Mapping) and "code" in one and "code" in other:
            return (one.get("system"), one["code"]) == (other.get("system"), other["code"])
    return _library_equivalent(ctx, left, right)


def not_equivalent(ctx: Ctx, left: Nodes, right: Nodes) -> Any:
    """``!~``."""
    found = equivalent(ctx, left, right)
    return not (found is True or found == [True])


def ordering(holds: Callable[[int], bool]) -> Callable[[Ctx, Nodes, Nodes], Any]:
    """``<``, ``>``, ``<=``, ``>=``: empty where units or precision leave the order open."""

    def compare(_: Ctx, left: Nodes, right: Nodes) -> Any:
        if len(left) != 1 or len(right) != 1:
            raise ValueError("one value on each side")
        found = order(*pair(left[0], right[0]))
        return [] if found is None else holds(found)

    return compare


_library_plus, _library_minus = REGISTRY["+"]["fn"], REGISTRY["-"]["fn"]


def plus(ctx: Ctx, left: Nodes, right: Nodes) -> Any:
    """``+``: also of measures."""
    return _sum(left, right, 1) or _library_plus(ctx, _timed(left), right)


def minus(ctx: Ctx, left: Nodes, right: Nodes) -> Any:
    """``-``: also of measures."""
    return _sum(left, right, -1) or _library_minus(ctx, _timed(left), right)


def _timed(nodes: Nodes) -> Nodes:
    """Texts of a date's type as points in time: the library's own conversion stumbles over plain objects."""
    return [found if isinstance(found := term(one), TimePoint) else bare(one) for one in nodes]


def _sum(left: Nodes, right: Nodes, sign: int) -> Nodes:
    if len(left) != 1 or len(right) != 1:
        return []
    one, other = term(left[0]), term(right[0])
    if not isinstance(one, Measure) or not isinstance(other, Measure):
        return []
    added = converted_value(other, one.unit)
    if added is None:
        raise Refused("two quantities have units that cannot be added")
    return [measured(one.value + sign * added, one.unit)]


def measured(value: Fraction, unit: str) -> Any:
    """A quantity of the library."""
    return quantity(as_decimal(value), f"'{unit}'")


def times(_: Ctx, left: Nodes, right: Nodes) -> Any:
    """``*``: numbers, and a measure by a number."""
    one, other = _numeric(left), _numeric(right)
    if isinstance(one, Measure) and isinstance(other, Measure):
        raise Refused("quantities are not multiplied here")
    if isinstance(one, Measure):
        return measured(one.value * Fraction(other), one.unit)
    if isinstance(other, Measure):
        return measured(Fraction(one) * other.value, other.unit)
    return one * other


def divided(_: Ctx, left: Nodes, right: Nodes) -> Any:
    """``/``: exact numbers, a measure by a number, and two measures that can be compared."""
    one, other = _numeric(left), _numeric(right)
    if isinstance(other, Measure):
        if not isinstance(one, Measure) or (above := converted_value(one, other.unit)) is None:
            raise Refused("these quantities are not divided here")
        return as_decimal(above / other.value) if other.value else []
    if other == 0:
        return []
    if isinstance(one, Measure):
        return measured(one.value / Fraction(other), one.unit)
    return as_decimal(Fraction(one) / Fraction(other))


def _numeric(nodes: Nodes) -> Any:
    if len(nodes) != 1:
        raise ValueError("one number on each side")
    found = term(nodes[0])
    if not is_number(found) and not isinstance(found, Measure):
        raise TypeError("a number is expected")
    return found


def total(ctx: Ctx, data: Nodes) -> Any:
    """``sum()``: of numbers, or of measures in the unit of the first. The library adds no values of resources."""
    found: Nodes = []
    for one in data:
        found = [one] if not found else _listed(plus(ctx, found, [one]))
    return found


def mean(ctx: Ctx, data: Nodes) -> Any:
    """``avg()``."""
    return divided(ctx, _listed(total(ctx, data)), [len(data)]) if data else []


def extreme(wanted: int) -> Callable[[Ctx, Nodes], Any]:
    """``min()`` and ``max()``."""

    def pick(_: Ctx, data: Nodes) -> Any:
        best = data[:1]
        for one in data[1:]:
            found = order(*pair(one, best[0]))
            if found is None:
                raise Refused("these values have no order")
            best = [one] if found == wanted else best
        return best

    return pick


def _listed(found: Any) -> Nodes:
    return found if isinstance(found, list) else [found]

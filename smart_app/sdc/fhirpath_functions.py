"""What the FHIRPath library lacks or gets wrong, as functions that it calls instead of its own.

Operators know units and the precision of dates; ``today()`` is the day that was passed in; regular expressions of
strangers run in linear time; ``where`` asks once, not twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, Protocol

import msgspec

from smart_app.sdc import patterns
from smart_app.sdc.amounts import Measure, as_decimal, compared, converted_value, measure, measure_of, unit_code
from smart_app.sdc.fhirpath_library import (
    REGISTRY,
    Node,
    QuantityValue,
    TimePoint,
    clock_time,
    date_time,
    node,
    quantity,
)

Nodes = list[Any]
Ctx = Mapping[str, Any]


class Refused(Exception):
    """The expression asks for something that has no answer here; the text is safe to show."""


class Surroundings(Protocol):
    """What the functions need to know of the form and the day."""

    @property
    def now(self) -> str:
        """The moment of the evaluation, ISO 8601 with zone."""

    def weight(self, value: Any) -> Decimal | None:
        """The weight of an answer: of a response item's answer, a Coding, or a code."""

    def member_of(self, value: Any, canonical: str) -> bool | None:
        """Whether a Coding or code is in a value set; None where that value set is not known."""


def bare(one: Any) -> Any:
    """The data of a node."""
    return one.data if isinstance(one, Node) else one


_TIMES = {"date": date_time, "dateTime": date_time, "instant": date_time, "time": clock_time}


def term(one: Any) -> Any:
    """A node as what it is compared as: a measure, a point in time, or its data."""
    data = bare(one)
    if isinstance(data, QuantityValue):
        return measure(data.value, data.unit)
    if isinstance(data, Mapping) and "value" in data and ("unit" in data or "code" in data):
        return measure_of(data)
    if isinstance(one, Node) and isinstance(data, str) and one.path in _TIMES:
        return _TIMES[one.path](data) or data
    return Decimal(str(data)) if isinstance(data, float) else data


def _pair(left: Any, right: Any) -> tuple[Any, Any]:
    """Two terms of one kind where that is possible: a text beside a time, a number beside a measure."""
    one, other = term(left), term(right)
    if isinstance(one, TimePoint) and isinstance(other, str):
        other = _point(one, other)
    elif isinstance(other, TimePoint) and isinstance(one, str):
        one = _point(other, one)
    elif isinstance(one, Measure) and not isinstance(other, Measure):
        other = measure(other, "1") or other
    elif isinstance(other, Measure) and not isinstance(one, Measure):
        one = measure(one, "1") or one
    return one, other


def _point(like: TimePoint, text: str) -> Any:
    make: Callable[[str], Any] = type(like)
    return make(text) or text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _same(left: Any, right: Any) -> bool | None:
    """Whether two nodes are equal; None where that cannot be told (units or precision differ)."""
    one, other = _pair(left, right)
    if isinstance(one, Measure) and isinstance(other, Measure):
        order = compared(one, other)
        return None if order is None else order == 0
    if isinstance(one, TimePoint) and isinstance(other, TimePoint):
        same: bool | None = _told(one.equals, other)
        return same
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return bool(one == other)


def equal(_: Ctx, left: Nodes, right: Nodes) -> Any:
    """``=``: all pairs, in order."""
    if len(left) != len(right):
        return False
    found = [_same(one, other) for one, other in zip(left, right, strict=True)]
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
        one, other = _pair(left[0], right[0])
        if isinstance(one, Measure) and isinstance(other, Measure):
            return compared(one, other) == 0
        if isinstance(one, Mapping) and isinstance(other, Mapping) and "code" in one and "code" in other:
            return (one.get("system"), one["code"]) == (other.get("system"), other["code"])
    return _library_equivalent(ctx, left, right)


def not_equivalent(ctx: Ctx, left: Nodes, right: Nodes) -> Any:
    """``!~``."""
    found = equivalent(ctx, left, right)
    return not (found is True or found == [True])


def _told(ask: Callable[[Any], Any], other: Any) -> Any:
    """The library's answer about two points in time; it raises where their kinds differ."""
    return ask(other)


def _ordering(holds: Callable[[int], bool]) -> Callable[[Ctx, Nodes, Nodes], Any]:
    def compare(_: Ctx, left: Nodes, right: Nodes) -> Any:
        if len(left) != 1 or len(right) != 1:
            raise ValueError("one value on each side")
        order = _order(*_pair(left[0], right[0]))
        return [] if order is None else holds(order)

    return compare


def _order(one: Any, other: Any) -> int | None:
    if isinstance(one, Measure) and isinstance(other, Measure):
        return compared(one, other)
    if isinstance(one, TimePoint) and isinstance(other, TimePoint):
        found: int | None = _told(one.compare, other)
        return found
    comparable = (_is_number(one) and _is_number(other)) or (isinstance(one, str) and isinstance(other, str))
    if not comparable:
        raise TypeError("values of two kinds")
    return int(one > other) - int(one < other)


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
    return [_quantity(one.value + sign * added, one.unit)]


def _quantity(value: Fraction, unit: str) -> Any:
    return quantity(as_decimal(value), f"'{unit}'")


def times(_: Ctx, left: Nodes, right: Nodes) -> Any:
    """``*``: numbers, and a measure by a number."""
    one, other = _numeric(left), _numeric(right)
    if isinstance(one, Measure) and isinstance(other, Measure):
        raise Refused("quantities are not multiplied here")
    if isinstance(one, Measure):
        return _quantity(one.value * Fraction(other), one.unit)
    if isinstance(other, Measure):
        return _quantity(Fraction(one) * other.value, other.unit)
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
        return _quantity(one.value / Fraction(other), one.unit)
    return as_decimal(Fraction(one) / Fraction(other))


def _numeric(nodes: Nodes) -> Any:
    if len(nodes) != 1:
        raise ValueError("one number on each side")
    found = term(nodes[0])
    if not _is_number(found) and not isinstance(found, Measure):
        raise TypeError("a number is expected")
    return found


def rounded(_: Ctx, data: Nodes, places: Any = 0) -> Any:
    """``round([places])``, half away from zero."""
    if not data:
        return []
    number = term(data[0])
    if not _is_number(number) or len(data) != 1:
        raise TypeError("a number is expected")
    return Decimal(number).quantize(Decimal(1).scaleb(-int(places or 0)), rounding=ROUND_HALF_UP)


def to_quantity(_: Ctx, data: Nodes, unit: Any = None) -> Any:
    """``toQuantity([unit])``, converted exactly; empty where that is not possible."""
    if not data:
        return []
    value = term(data[0])
    if isinstance(value, str):
        number, _space, rest = value.strip().partition(" ")
        value = measure(Decimal(number), rest or "1") if patterns.matches(_NUMBER, number) else None
    found = value if isinstance(value, Measure) else measure(value, "1")
    if found is None or not isinstance(unit, str):
        return [] if found is None else _quantity(found.value, found.unit)
    target = unit_code(unit)
    converted = converted_value(found, target)
    return [] if converted is None else _quantity(converted, target)


def total(ctx: Ctx, data: Nodes) -> Any:
    """``sum()``: of numbers, or of measures in the unit of the first. The library adds no values of resources."""
    found: Nodes = []
    for one in data:
        found = [one] if not found else _listed(plus(ctx, found, [one]))
    return found


def mean(ctx: Ctx, data: Nodes) -> Any:
    """``avg()``."""
    return divided(ctx, _listed(total(ctx, data)), [len(data)]) if data else []


def _extreme(wanted: int) -> Callable[[Ctx, Nodes], Any]:
    def pick(_: Ctx, data: Nodes) -> Any:
        best = data[:1]
        for one in data[1:]:
            order = _order(*_pair(one, best[0]))
            if order is None:
                raise Refused("these values have no order")
            best = [one] if order == wanted else best
        return best

    return pick


def _listed(found: Any) -> Nodes:
    return found if isinstance(found, list) else [found]


_NUMBER = r"[+-]?[0-9]+(\.[0-9]+)?"


def where(ctx: Any, data: Nodes, test: Callable[[Any], Nodes]) -> Nodes:
    """``where(...)``: each element is tested once."""
    kept = []
    for index, one in enumerate(data):
        ctx["$index"] = index
        found = test(one)
        if len(found) == 1 and bare(found[0]) is True:
            kept.append(one)
    return kept


def distinct(_: Ctx, data: Nodes) -> Nodes:
    """``distinct()``. The library loses quantities here."""
    found: dict[Any, Any] = {}
    for one in data:
        found.setdefault(_content(one), one)
    return list(found.values())


def _content(one: Any) -> Any:
    """What makes two elements the same."""
    value = bare(one)
    if isinstance(value, Mapping | list):
        return _CONTENT.encode(value)
    value = term(one)
    return (isinstance(value, bool), str(value) if isinstance(value, TimePoint) else value)


_CONTENT = msgspec.json.Encoder(decimal_format="string", order="deterministic")


def union(ctx: Ctx, left: Nodes, right: Nodes) -> Nodes:
    """``|`` and ``union()``."""
    return distinct(ctx, [*left, *right])


def is_distinct(ctx: Ctx, data: Nodes) -> bool:
    """``isDistinct()``."""
    return len(distinct(ctx, data)) == len(data)


WHERE_LINK = "whereLinkIs"


def where_link(_: Ctx, data: Nodes, link_id: Any) -> Nodes:
    """``where(linkId = link_id)``."""
    return [one for one in data if isinstance(item := bare(one), Mapping) and item.get("linkId") == link_id]


def sort(_: Ctx, data: Nodes, key: Callable[[Any], Nodes] | None = None) -> Nodes:
    """``sort([key])``, ascending; elements without key come first."""

    def place(one: Any) -> tuple[int, Any]:
        found = key(one) if key else [one]
        value = term(found[0]) if found else None
        if isinstance(value, TimePoint):
            value = str(value)
        elif isinstance(value, Measure):
            raise Refused("quantities are not sorted here")
        return (0, "") if value is None else (1, value)

    return sorted(data, key=place)


def define_variable(ctx: Any, data: Nodes, name: Any, value: Callable[[Any], Nodes] | None = None) -> Nodes:
    """``defineVariable(name[, value])``: the name holds for the rest of the expression."""
    ctx["vars"][str(name)] = list(value(data)) if value else list(data)
    return data


def today(ctx: Ctx, _: Nodes) -> Any:
    """``today()``."""
    return date_time(ctx["surroundings"].now[:10])


def now(ctx: Ctx, _: Nodes) -> Any:
    """``now()``."""
    return date_time(ctx["surroundings"].now)


def time_of_day(ctx: Ctx, _: Nodes) -> Any:
    """``timeOfDay()``."""
    return clock_time(ctx["surroundings"].now[11:19])


def weight(ctx: Ctx, data: Nodes) -> Nodes:
    """``weight()`` and ``ordinal()`` (SD-16)."""
    found = (ctx["surroundings"].weight(bare(one)) for one in data)
    return [one for one in found if one is not None]


def member_of(ctx: Ctx, data: Nodes, canonical: Any) -> Any:
    """``memberOf(value set)`` against the value sets of the package; unknown ones are refused, not false."""
    if len(data) != 1 or not isinstance(canonical, str):
        return []
    found = ctx["surroundings"].member_of(bare(data[0]), canonical)
    if found is None:
        raise Refused("it needs a value set that did not come with the form")
    return found


def matches(_: Ctx, data: Nodes, pattern: Any) -> Any:
    """``matches(regex)``: somewhere in the text, in linear time."""
    return patterns.searches(pattern, _only_text(data)) if data and isinstance(pattern, str) else []


def matches_full(_: Ctx, data: Nodes, pattern: Any) -> Any:
    """``matchesFull(regex)``: the whole text."""
    return patterns.matches(pattern, _only_text(data)) if data and isinstance(pattern, str) else []


def replace_matches(_: Ctx, data: Nodes, pattern: Any, by: Any) -> Any:
    """``replaceMatches(regex, by)``."""
    if not data or not isinstance(pattern, str) or not isinstance(by, str):
        return []
    return patterns.replaced(pattern, by, _only_text(data))


def _only_text(data: Nodes) -> str:
    found = bare(data[0])
    if len(data) != 1 or not isinstance(found, str):
        raise TypeError("one text is expected")
    return found


def has_value(_: Ctx, data: Nodes) -> bool:
    """``hasValue()``: one primitive with a value."""
    return len(data) == 1 and bare(data[0]) is not None and not isinstance(bare(data[0]), Mapping | list)


def get_value(ctx: Ctx, data: Nodes) -> Nodes:
    """``getValue()``."""
    return data if has_value(ctx, data) else []


def trace(_: Ctx, data: Nodes, *__: Any) -> Nodes:
    """``trace()``: nothing is printed, what passes here is about a patient."""
    return data


def answers(_: Ctx, data: Nodes) -> Nodes:
    """``answers()``: the answers of these items and of all below them."""
    found: Nodes = []
    for one in data:
        item = bare(one)
        if not isinstance(item, Mapping):
            continue
        own = [node(each, "QuestionnaireResponse.item.answer") for each in item.get("answer") or ()]
        below = [
            *(item.get("item") or ()),
            *(inner for each in item.get("answer") or () for inner in each.get("item") or ()),
        ]
        found += [*own, *answers(_, below)]
    return found


def _restoring(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The same function, leaving ``$this`` and ``$index`` as they were: the library forgets to."""
    function = entry["fn"]

    def wrapped(ctx: Any, data: Nodes, *params: Any) -> Any:
        kept = {name: ctx[name] for name in ("$this", "$index", "$total") if name in ctx}
        try:
            return function(ctx, data, *params)
        finally:
            ctx.update(kept)

    return {**entry, "fn": wrapped}


_EXPR = {1: ["Expr"]}
_ANY_ANY = {2: ["Any", "Any"]}


def _operator(function: Callable[..., Any], *, nullable: bool = True) -> dict[str, Any]:
    entry: dict[str, Any] = {"fn": function, "arity": _ANY_ANY}
    return {**entry, "nullable": True} if nullable else entry


_OWN: dict[str, dict[str, Any]] = {
    "=": _operator(equal),
    "!=": _operator(unequal),
    "~": _operator(equivalent, nullable=False),
    "!~": _operator(not_equivalent, nullable=False),
    "<": _operator(_ordering(lambda order: order < 0)),
    ">": _operator(_ordering(lambda order: order > 0)),
    "<=": _operator(_ordering(lambda order: order <= 0)),
    ">=": _operator(_ordering(lambda order: order >= 0)),
    "+": _operator(plus),
    "-": _operator(minus),
    "*": _operator(times),
    "/": _operator(divided),
    "|": _operator(union, nullable=False),
    "union": {"fn": union, "arity": {1: ["AnyAtRoot"]}},
    "distinct": {"fn": distinct},
    "isDistinct": {"fn": is_distinct},
    "sum": {"fn": total},
    "avg": {"fn": mean},
    "min": {"fn": _extreme(-1)},
    "max": {"fn": _extreme(1)},
    "round": {"fn": rounded, "arity": {0: [], 1: ["Number"]}},
    "toQuantity": {"fn": to_quantity, "arity": {0: [], 1: ["String"]}},
    WHERE_LINK: {"fn": where_link, "arity": {1: ["String"]}},
    "where": {"fn": where, "arity": _EXPR},
    "sort": {"fn": sort, "arity": {0: [], 1: ["Expr"]}},
    "defineVariable": {"fn": define_variable, "arity": {1: ["String"], 2: ["String", "Expr"]}},
    "today": {"fn": today},
    "now": {"fn": now},
    "timeOfDay": {"fn": time_of_day},
    "weight": {"fn": weight},
    "ordinal": {"fn": weight},
    "memberOf": {"fn": member_of, "arity": {1: ["String"]}},
    "matches": {"fn": matches, "arity": {1: ["String"]}},
    "matchesFull": {"fn": matches_full, "arity": {1: ["String"]}},
    "replaceMatches": {"fn": replace_matches, "arity": {2: ["String", "String"]}},
    "hasValue": {"fn": has_value},
    "getValue": {"fn": get_value},
    "trace": {"fn": trace, "arity": {1: ["String"], 2: ["String", "Expr"]}},
    "answers": {"fn": answers},
}
_MACROS = {
    name: entry for name, entry in REGISTRY.items() if any("Expr" in types for types in entry.get("arity", {}).values())
}
TABLE: dict[str, dict[str, Any]] = {
    **{name: _restoring(entry) for name, entry in _MACROS.items()},
    **{name: _restoring(entry) if entry.get("arity") == _EXPR else entry for name, entry in _OWN.items()},
}
"""Functions by name, in the library's own form."""

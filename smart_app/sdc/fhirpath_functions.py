"""What the FHIRPath library lacks or gets wrong, as functions that it calls instead of its own.

``today()`` is the day that was passed in; regular expressions of strangers run in linear time; ``where`` asks once,
not twice. Operators are in ``fhirpath_operators``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Protocol

import msgspec

from smart_app.sdc import fhirpath_operators as operators
from smart_app.sdc import patterns
from smart_app.sdc.amounts import Measure, converted_value, measure, unit_code
from smart_app.sdc.fhirpath_library import REGISTRY, TimePoint, clock_time, date_time, node
from smart_app.sdc.fhirpath_operators import measured
from smart_app.sdc.fhirpath_terms import Ctx, Nodes, Refused, bare, is_number, term


class Surroundings(Protocol):
    """What the functions need to know of the form and the day."""

    @property
    def now(self) -> str:
        """The moment of the evaluation, ISO 8601 with zone."""

    def weight(self, value: Any) -> Decimal | None:
        """The weight of an answer: of a response item's answer, a Coding, or a code."""

    def member_of(self, value: Any, canonical: str) -> bool | None:
        """Whether a Coding or code is in a value set; None where that value set is not known."""


def rounded(_: Ctx, data: Nodes, places: Any = 0) -> Any:
    """``round([places])``, half away from zero."""
    if not data:
        return []
    number = term(data[0])
    if not is_number(number) or len(data) != 1:
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
        return [] if found is None else measured(found.value, found.unit)
    target = unit_code(unit)
    converted = converted_value(found, target)
    return [] if converted is None else measured(converted, target)


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
    "=": _operator(operators.equal),
    "!=": _operator(operators.unequal),
    "~": _operator(operators.equivalent, nullable=False),
    "!~": _operator(operators.not_equivalent, nullable=False),
    "<": _operator(operators.ordering(lambda order: order < 0)),
    ">": _operator(operators.ordering(lambda order: order > 0)),
    "<=": _operator(operators.ordering(lambda order: order <= 0)),
    ">=": _operator(operators.ordering(lambda order: order >= 0)),
    "+": _operator(operators.plus),
    "-": _operator(operators.minus),
    "*": _operator(operators.times),
    "/": _operator(operators.divided),
    "|": _operator(union, nullable=False),
    "union": {"fn": union, "arity": {1: ["AnyAtRoot"]}},
    "distinct": {"fn": distinct},
    "isDistinct": {"fn": is_distinct},
    "sum": {"fn": operators.total},
    "avg": {"fn": operators.mean},
    "min": {"fn": operators.extreme(-1)},
    "max": {"fn": operators.extreme(1)},
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

"""Elements of FHIRPath as what they are compared as: measures, points in time, numbers, texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from smart_app.sdc.amounts import Measure, compared, measure, measure_of
from smart_app.sdc.fhirpath_library import Node, QuantityValue, TimePoint, clock_time, date_time

Nodes = list[Any]
Ctx = Mapping[str, Any]


class Refused(Exception):
    """The expression asks for something that has no answer here; the text is safe to show."""


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


def pair(left: Any, right: Any) -> tuple[Any, Any]:
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


def is_number(value: Any) -> bool:
    """Whether it is a number; a boolean is none."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def same(left: Any, right: Any) -> bool | None:
    """Whether two nodes are equal; None where that cannot be told (units or precision differ)."""
    one, other = pair(left, right)
    if isinstance(one, Measure) and isinstance(other, Measure):
        found = compared(one, other)
        return None if found is None else found == 0
    if isinstance(one, TimePoint) and isinstance(other, TimePoint):
        answer: bool | None = _told(one.equals, other)
        return answer
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return bool(one == other)


def _told(ask: Callable[[Any], Any], other: Any) -> Any:
    """The library's answer about two points in time; it raises where their kinds differ."""
    return ask(other)


def order(one: Any, other: Any) -> int | None:
    """-1, 0 or 1 of two terms; None where units or precision leave it open. Raises TypeError for two kinds."""
    if isinstance(one, Measure) and isinstance(other, Measure):
        return compared(one, other)
    if isinstance(one, TimePoint) and isinstance(other, TimePoint):
        found: int | None = _told(one.compare, other)
        return found
    comparable = (is_number(one) and is_number(other)) or (isinstance(one, str) and isinstance(other, str))
    if not comparable:
        raise TypeError("values of two kinds")
    return int(one > other) - int(one < other)

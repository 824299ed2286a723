"""Answers compared with answers: for ``enableWhen`` and for limits. What cannot be told is None, never a guess."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from smart_app.sdc.amounts import compared, measure_of
from smart_app.sdc.shapes import Fragment
from smart_app.sdc.texts import kind_of, value_of

Interval = tuple[datetime, datetime]
_TIMES = frozenset({"Date", "DateTime", "Instant"})


def order(left: Fragment, right: Fragment) -> int | None:
    """-1, 0 or 1; None where the two have no order, or their precision does not tell it."""
    one, other = value_of(left), value_of(right)
    kinds = {kind_of(left), kind_of(right)}
    if kinds <= {"Quantity", "Decimal", "Integer"}:
        return _order_of_amounts(one, other)
    if kinds <= _TIMES:
        return _order_of_times(one, other)
    if len(kinds) == 1 and isinstance(one, str) and isinstance(other, str):
        return (one > other) - (one < other)
    return None


def equal(left: Fragment, right: Fragment) -> bool | None:
    """Whether both say the same; a Coding by its code, and by its system where both have one."""
    one, other = value_of(left), value_of(right)
    kinds = {kind_of(left), kind_of(right)}
    if kinds == {"Coding"}:
        return _same_coding(one, other)
    if kinds == {"Reference"}:
        return bool(one.get("reference")) and one.get("reference") == other.get("reference")
    if kinds == {"Boolean"}:
        return bool(one is other)
    if kinds == {"Coding", "String"}:
        coding, text = (one, other) if isinstance(one, Mapping) else (other, one)
        return bool(text in {coding.get("code"), coding.get("display")})
    if len(kinds) == 1 and kinds <= {"String", "Uri", "Url", "Time"}:
        return bool(one == other)
    found = order(left, right)
    return None if found is None else found == 0


def _same_coding(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if not one.get("code") or not other.get("code"):
        return bool(one.get("display")) and one.get("display") == other.get("display")
    systems = {found for found in (one.get("system"), other.get("system")) if found}
    return one["code"] == other["code"] and len(systems) <= 1


def _order_of_amounts(one: Any, other: Any) -> int | None:
    if isinstance(one, Mapping) or isinstance(other, Mapping):
        left = measure_of(one if isinstance(one, Mapping) else {"value": one, "code": other.get("code")})
        right = measure_of(other if isinstance(other, Mapping) else {"value": other, "code": one.get("code")})
        return compared(left, right) if left and right else None
    numbers = [_number(one), _number(other)]
    if numbers[0] is None or numbers[1] is None:
        return None
    return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])


def _number(value: Any) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        return None
    return Fraction(str(value)) if isinstance(value, float) else Fraction(value)


def _order_of_times(one: Any, other: Any) -> int | None:
    left, right = interval(one), interval(other)
    if left is None or right is None:
        return None
    if left == right:
        return 0
    if left[1] <= right[0]:
        return -1
    return 1 if left[0] >= right[1] else None


@lru_cache(maxsize=1024)
def interval(text: Any) -> Interval | None:
    """From when to (exclusive) when a FHIR date or dateTime may be; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        return _interval(text)
    except (ValueError, OverflowError):
        return None


def _interval(text: str) -> Interval:
    if "T" in text:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment, moment + timedelta(microseconds=1)
    parts = [int(part) for part in text.split("-")]
    if not 1 <= len(parts) <= 3 or len(text) not in {4, 7, 10}:
        raise ValueError("no date")
    year, month, day = (*parts, 1, 1)[:3]
    start = datetime(year, month, day, tzinfo=UTC)
    days = {1: 366 if calendar.isleap(start.year) else 365, 2: calendar.monthrange(start.year, start.month)[1], 3: 1}
    return start, start + timedelta(days=days[len(parts)])

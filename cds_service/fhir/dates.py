"""FHIR dates as whole days in the sender's own zone."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from cds_service.fhir.concepts import number

_DAYS: dict[str, int | Fraction] = {
    "d": 1,
    "day": 1,
    "days": 1,
    "wk": 7,
    "week": 7,
    "weeks": 7,
    "h": Fraction(1, 24),
    "min": Fraction(1, 1440),
}
_MONTHS = {"mo": 1, "month": 1, "months": 1, "a": 12, "year": 12, "years": 12}


def day(value: Any, *, last: bool = False) -> date | None:  # noqa: PLR0911 - one per precision
    """The day of a FHIR date, dateTime or instant; None if absent or not a date (reliability row 80).

    A partial date is its first day, or its ``last`` one.
    """
    if type(value) is not str:
        return None
    try:
        if len(value) >= 10:
            if value[4] != "-" or value[7] != "-" or (len(value) > 10 and value[10] != "T"):
                return None
            return date.fromisoformat(value[:10])
        if len(value) == 7 and value[4] == "-" and value[5:].isdigit():
            year, month = int(value[:4]), int(value[5:])
            return date(year, month, monthrange(year, month)[1] if last else 1)
        if len(value) == 4 and value.isdigit():
            return date(int(value), 12, 31) if last else date(int(value), 1, 1)
    except ValueError:
        return None
    return None


def moment(value: Any) -> datetime | None:
    """The moment of a FHIR dateTime or instant; None for a mere date, for which no moment is known."""
    if type(value) is not str or len(value) <= 10:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def period(value: Any) -> tuple[date | None, date | None]:
    """First and last day of a Period."""
    if type(value) is not dict:
        return None, None
    return day(value.get("start")), day(value.get("end"), last=True)


def end_of(start: date | None, duration: Any) -> date | None:
    """The day on which a Duration that begins on ``start`` has passed: 42 d after 1 January is 12 February.

    None when either is absent, the unit is not one of time, or the amount is not positive.
    """
    if start is None or type(duration) is not dict:
        return None
    value, unit = number(duration.get("value")), duration.get("code") or duration.get("unit")
    if value is None or value <= 0 or type(unit) is not str:
        return None
    try:
        if unit in _MONTHS:
            months = value * _MONTHS[unit]
            return _after_months(start, int(months)) if months.denominator == 1 else None
        if unit in _DAYS:
            days = value * _DAYS[unit]
            return start + timedelta(days=-(-days.numerator // days.denominator))
    except (OverflowError, ValueError):
        return None
    return None


def _after_months(start: date, months: int) -> date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))

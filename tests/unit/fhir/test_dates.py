"""Whole days in the sender's own zone; what is no date is unknown, never an error (reliability row 80)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cds_service.fhir.dates import day, end_of, period

DAYS = [
    # (text, first day, last day)
    ("2026-03-02", date(2026, 3, 2), date(2026, 3, 2)),
    ("2026-03", date(2026, 3, 1), date(2026, 3, 31)),
    ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
    ("2026", date(2026, 1, 1), date(2026, 12, 31)),
    # late in the evening in Honolulu is already the next day in UTC: the sender's day counts
    ("2026-03-02T23:30:00-10:00", date(2026, 3, 2), date(2026, 3, 2)),
    ("2026-03-02T23:59:60Z", date(2026, 3, 2), date(2026, 3, 2)),  # leap second
    ("2026-03-02T10:00", date(2026, 3, 2), date(2026, 3, 2)),  # no zone
    ("9999-12-31", date(9999, 12, 31), date(9999, 12, 31)),
    ("0000-01-01", None, None),
    ("0000", None, None),
    ("2026-13", None, None),
    ("2026-02-30", None, None),
    ("2026-03-02 10:00", None, None),
    ("20260302", None, None),
    ("2026-W10-1", None, None),
    ("02.03.2026", None, None),
    ("", None, None),
    (20260302, None, None),
    (None, None, None),
]


@pytest.mark.parametrize(("text", "first", "last"), DAYS)
def test_bad_input_80_days(text: object, first: date | None, last: date | None) -> None:
    assert day(text) == first
    assert day(text, last=True) == last


def test_period_takes_partial_dates_whole() -> None:
    assert period({"start": "2026-01", "end": "2026-02"}) == (date(2026, 1, 1), date(2026, 2, 28))
    assert period({"end": "2026"}) == (None, date(2026, 12, 31))
    assert period("2026") == (None, None)


START = date(2026, 1, 1)
DURATIONS = [
    ({"value": 42, "code": "d"}, date(2026, 2, 12)),  # six weeks
    ({"value": 6, "code": "wk"}, date(2026, 2, 12)),
    ({"value": Decimal("6.0"), "unit": "weeks"}, date(2026, 2, 12)),
    ({"value": 36, "code": "h"}, date(2026, 1, 3)),
    ({"value": 1, "code": "mo"}, date(2026, 2, 1)),
    ({"value": 1, "code": "a"}, date(2027, 1, 1)),
    ({"value": Decimal("1.5"), "code": "mo"}, None),
    ({"value": 0, "code": "d"}, None),
    ({"value": -3, "code": "d"}, None),
    ({"value": "6", "code": "wk"}, None),
    ({"value": {}, "code": "wk"}, None),
    ({"value": 6}, None),
    ({"value": 6, "unit": "courses"}, None),
    ({"value": 10**9, "code": "d"}, None),
    (None, None),
]


@pytest.mark.parametrize(("duration", "expected"), DURATIONS)
def test_end_of_a_duration(duration: object, expected: date | None) -> None:
    assert end_of(START, duration) == expected


def test_a_duration_without_start_has_no_end() -> None:
    assert end_of(None, {"value": 6, "code": "wk"}) is None

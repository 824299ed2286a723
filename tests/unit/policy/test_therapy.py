"""Courses: consecutive prescriptions joined into one trial, PRN left to its own."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from cds_service.domain.record import Therapy
from cds_service.policy.therapy import Course, is_running, join, longest, shows

TODAY = date(2026, 3, 2)


def therapy(start: str | None, stop: str | None, status: str = "completed", number: int = 1) -> Therapy:
    """A scheduled prescription."""
    return Therapy(
        f"MedicationRequest/{number}",
        "MedicationRequest",
        (),
        "oxycodone",
        (),
        status,
        proposal=False,
        as_needed=False,
        scheduled=True,
        schedule="twice a day",
        start=date.fromisoformat(start) if start else None,
        stop=date.fromisoformat(stop) if stop else None,
        stop_reason="",
    )


@pytest.mark.parametrize(
    ("spans", "lengths"),
    [
        ([("2025-10-01", "2025-11-12")], [42]),  # the stop date itself is not counted
        ([("2025-10-01", "2025-10-21"), ("2025-10-28", "2025-11-20")], [50]),  # 7 days apart: one trial
        ([("2025-10-01", "2025-10-21"), ("2025-10-29", "2025-11-20")], [20, 22]),  # 8 days apart: two
        ([("2025-10-01", "2025-11-30"), ("2025-10-10", "2025-10-20")], [60]),  # one inside the other
        ([("2025-10-28", "2025-11-20"), ("2025-10-01", "2025-10-21")], [50]),  # as the EHR sent them
        ([("2026-02-20", "2026-04-01")], [10]),  # nothing of the future counts
        ([("2026-03-10", "2026-04-01")], []),  # not begun
        ([(None, "2026-01-01")], []),  # nobody knows when it began
        ([("2025-10-05", "2025-10-01")], [0]),  # ended before it began: a slip proves nothing
        ([("2025-10-01", None)], [0]),  # ended, nobody knows when
    ],
)
def test_joined_length_in_days(spans: list[tuple[str | None, str | None]], lengths: list[int]) -> None:
    courses = join([therapy(start, stop, number=n) for n, (start, stop) in enumerate(spans)], TODAY, 7)
    assert [course.days for course in courses] == lengths


def test_a_running_prescription_lasts_until_today() -> None:
    (course,) = join([therapy("2026-01-01", None, "active")], TODAY, 7)
    assert course.days == 60


def test_the_longest_course_wins_and_of_equals_the_newest() -> None:
    courses = join([therapy("2025-01-01", "2025-01-11"), therapy("2025-06-01", "2025-06-11", number=2)], TODAY, 7)
    assert longest(courses) is courses[1]
    assert longest(()) is None


@pytest.mark.parametrize(
    ("stop", "status", "running"),
    [
        (None, "active", True),
        ("2026-03-02", "active", True),  # its last day
        ("2026-03-01", "active", False),
        (None, "completed", False),
        (None, "on-hold", False),
    ],
)
def test_running(stop: str | None, status: str, running: bool) -> None:
    assert is_running(therapy("2026-01-01", stop, status), TODAY) is running


def test_a_therapy_that_starts_tomorrow_does_not_run() -> None:
    assert not is_running(therapy((TODAY + timedelta(days=1)).isoformat(), None, "active"), TODAY)


def test_evidence_tells_dates_schedule_and_the_whole() -> None:
    (course,) = join([therapy("2025-10-01", "2025-10-21"), therapy("2025-10-25", "2025-11-20", number=2)], TODAY, 7)
    lines = course.evidence()
    assert [line.source for line in lines] == ["MedicationRequest/1", "MedicationRequest/2"]
    assert lines[0].shows == "oxycodone, twice a day, 2025-10-01 to 2025-10-21"
    assert lines[1].shows.endswith("50 days in all, 2 prescriptions joined")
    assert shows(therapy("2025-10-01", None)) == "oxycodone, twice a day, 2025-10-01 to no end recorded"
    assert isinstance(course, Course)

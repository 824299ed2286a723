"""Courses of medication in the chart: consecutive prescriptions joined into one trial."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec

from cds_service.domain.record import Evidence, Therapy
from cds_service.domain.vocabulary import RouteGroup

RUNNING = frozenset({"active", "in-progress"})


class CourseRule(msgspec.Struct, frozen=True):
    """Which medications make a course, and how they join. Guideline data.

    ``gap_days``: the largest gap, from one stop date to the next start date, that still joins. ``routeless``: the
    value set whose drugs count without a stated route, because they are given by no other.
    """

    value_set: str
    routes: frozenset[RouteGroup]
    gap_days: int
    not_statuses: frozenset[str]
    routeless: str = ""


class Course(msgspec.Struct, frozen=True):
    """Joined medications; ``days`` from the first start to the last stop date, the stop date itself not counted."""

    days: int
    start: date
    stop: date
    therapies: tuple[Therapy, ...]

    def evidence(self) -> tuple[Evidence, ...]:
        """One line per medication, with its dates and schedule, and the length of the whole."""
        lines = [
            Evidence(each.source, each.start.isoformat() if each.start else None, shows(each))
            for each in self.therapies
        ]
        last = lines[-1]
        joined = "" if len(lines) == 1 else f", {len(lines)} prescriptions joined"
        lines[-1] = Evidence(last.source, last.date, f"{last.shows}; {self.days} days in all{joined}")
        return tuple(lines)


def shows(therapy: Therapy) -> str:
    """What one medication was, in a reader's words."""
    how = "as needed" if therapy.as_needed else therapy.schedule or ("fixed schedule" if therapy.scheduled else "")
    stop = therapy.stop.isoformat() if therapy.stop else ("now" if therapy.status in RUNNING else "no end recorded")
    start = therapy.start.isoformat() if therapy.start else "unknown start"
    return f"{therapy.text}{f', {how}' if how else ''}, {start} to {stop}"


def is_running(therapy: Therapy, as_of: date) -> bool:
    """Taken on that day, as far as the chart says."""
    return (
        therapy.status in RUNNING
        and not therapy.proposal
        and (therapy.stop is None or therapy.stop >= as_of)
        and (therapy.start is None or therapy.start <= as_of)
    )


def join(therapies: Iterable[Therapy], as_of: date, gap_days: int) -> tuple[Course, ...]:
    """Courses in order of start. What has no start, or starts after ``as_of``, proves nothing."""
    spans = sorted(
        (
            (therapy.start, _last_day(therapy, therapy.start, as_of), therapy)
            for therapy in therapies
            if therapy.start is not None and therapy.start <= as_of
        ),
        key=lambda span: span[:2],
    )
    courses: list[Course] = []
    members: list[Therapy] = []
    for start, stop, therapy in spans:
        if members and (start - courses[-1].stop).days <= gap_days:
            first, last = courses[-1].start, max(courses[-1].stop, stop)
            members.append(therapy)
            courses[-1] = Course((last - first).days, first, last, tuple(members))
        else:
            members = [therapy]
            courses.append(Course((stop - start).days, start, stop, (therapy,)))
    return tuple(courses)


def _last_day(therapy: Therapy, start: date, as_of: date) -> date:
    if therapy.stop is not None:
        return max(start, min(therapy.stop, as_of))
    return as_of if therapy.status in RUNNING else start  # ended, but nobody wrote when: proves its start alone


def longest(courses: Iterable[Course]) -> Course | None:
    """The longest course; of equal ones the newest."""
    best: Course | None = None
    for course in courses:
        if best is None or course.days >= best.days:
            best = course
    return best

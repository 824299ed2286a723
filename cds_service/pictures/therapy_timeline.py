"""Therapies over time: what was tried, from when to when, and where the chart shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Literal

import msgspec

from cds_service.pictures.svg import (
    CAUTION,
    GOOD,
    INK,
    PALE,
    QUIET,
    SMALL,
    WIDTH,
    Picture,
    drawing,
    element,
    shortened,
    words,
)

Source = Literal["chart", "attestation"]

_STEP = 36
_AXIS = 26


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """One course of therapy. ``start`` None: not known. ``end`` None: still running, or not known (``ongoing``)."""

    label: str  # "Gabapentin, oral"
    kind: str  # "drug therapy", "physical therapy" ...: the group it counts into
    start: date | None = None
    end: date | None = None
    ongoing: bool = False
    told_by: Source = "chart"
    evidence: str = ""  # "MedicationRequest, 2026-01-04"


def therapy_timeline(
    courses: Sequence[Course],
    as_of: date,
    marks: Sequence[tuple[date, str]] = (),
    title: str = "Therapies over time",
) -> Picture:
    """A bar for each course on one time axis that ends on ``as_of``.

    Filled: shown by the chart; outlined: attested. An unknown beginning or end is drawn dashed and said in words.
    ``marks`` are further upright lines with a word ("trial").
    """
    dated = [course for course in courses if course.start or course.end]
    first = min([course.start or course.end or as_of for course in dated] + [day for day, _ in marks], default=as_of)
    last = max([as_of, *(course.end for course in dated if course.end), *(day for day, _ in marks)])
    axis = _Axis(first - timedelta(days=7), last + timedelta(days=7))
    parts = [*_mark(axis, as_of, "today", _AXIS), *_axis_parts(axis, marks, len(courses))]
    for position, course in enumerate(courses):
        parts += _course(course, axis, as_of, _AXIS + position * _STEP)
    return Picture(
        svg=drawing(title, summary := _summary(courses), _AXIS + max(1, len(courses)) * _STEP, parts),
        title=title,
        summary=summary,
        columns=("Therapy", "Kind", "From", "To", "Length", "Told by", "Evidence"),
        rows=tuple(_row(course, as_of) for course in courses),
    )


class _Axis(msgspec.Struct, frozen=True):
    first: date
    last: date

    def at(self, day: date) -> Fraction:
        return Fraction((day - self.first).days, max(1, (self.last - self.first).days)) * WIDTH


def _axis_parts(axis: _Axis, marks: Sequence[tuple[date, str]], count: int) -> list[str]:
    bottom = _AXIS + max(1, count) * _STEP
    parts = [
        words(axis.first.isoformat(), 0, 10, font_size=SMALL),
        words(axis.last.isoformat(), WIDTH, 10, text_anchor="end", font_size=SMALL),
        element("line", x1=0, y1=_AXIS - 4, x2=WIDTH, y2=_AXIS - 4, stroke=QUIET, stroke_width=1),
    ]
    for day, word in marks:
        parts += _mark(axis, day, word, bottom)
    return parts


def _mark(axis: _Axis, day: date, word: str, bottom: int) -> list[str]:
    """An upright line down to ``bottom`` with its word; today is a tick only, it would run through the lengths."""
    at = axis.at(day)
    anchor = "end" if at > WIDTH // 2 else "start"
    line = element(
        "line", x1=at, y1=_AXIS - 8, x2=at, y2=bottom, stroke=CAUTION, stroke_width=1.5, stroke_dasharray="3 3"
    )
    return [line, words(word, at, 21, text_anchor=anchor, font_size=SMALL)]


def _course(course: Course, axis: _Axis, as_of: date, top: int) -> list[str]:
    parts = [
        words(shortened(course.label, 38), 0, top + 11),
        words(_length(course, as_of), WIDTH, top + 11, text_anchor="end", font_size=SMALL),
    ]
    if not course.start and not course.end:
        return parts
    left = axis.at(course.start) if course.start else Fraction(0)
    right = axis.at(course.end or as_of)
    colour = GOOD if course.told_by == "chart" else QUIET
    parts.append(
        element(
            "rect",
            x=left,
            y=top + 16,
            width=max(right - left, Fraction(3)),
            height=11,
            rx=2,
            fill=colour,
            fill_opacity=None if course.told_by == "chart" else PALE,
            stroke=colour,
            stroke_width=1.5,
            stroke_dasharray=None if course.start and (course.end or course.ongoing) else "4 2",
        )
    )
    if course.ongoing:
        parts.append(element("path", d=_arrow(right, top + 21), fill=INK))
    return parts


def _arrow(x: Fraction, y: int) -> str:
    at = round(x)
    return f"M{at - 6} {y - 4}l6 4.5l-6 4.5z"


def _length(course: Course, as_of: date) -> str:
    if course.start is None:
        return "beginning not known" if course.end else "no dates"
    end = course.end or as_of
    days = (end - course.start).days + 1
    said = f"{days} day{'' if days == 1 else 's'}" if days < 14 else f"{days // 7} weeks"
    if course.end:
        return said
    return f"{said}, still running" if course.ongoing else f"{said} at most, end not known"


def _summary(courses: Sequence[Course]) -> str:
    if not courses:
        return "No therapy is on record."
    return f"{len(courses)} on record: " + "; ".join(
        f"{course.label}, {course.start or 'beginning not known'} to {_end(course)}" for course in courses
    )


def _end(course: Course) -> str:
    if course.end:
        return course.end.isoformat()
    return "still running" if course.ongoing else "end not known"


def _row(course: Course, as_of: date) -> tuple[str, ...]:
    start = course.start.isoformat() if course.start else "not known"
    return (course.label, course.kind, start, _end(course), _length(course, as_of), course.told_by, course.evidence)

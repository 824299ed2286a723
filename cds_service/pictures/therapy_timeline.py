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
    hatched,
    placed,
    shortened,
    words,
)

Source = Literal["chart", "attestation"]

_STEP = 54
_BAR = 19  # a course's bar below its name
_HEAD, _ROW = 13, 15  # the words over the axis
_NAME = 40  # characters of a name


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """One course of therapy. ``start`` None: not known. ``end`` None: still running, or not known (``ongoing``)."""

    label: str  # "Gabapentin, oral"
    kind: str  # "drug therapy", "physical therapy" ...: the group it counts into
    start: date | None = None
    end: date | None = None
    ongoing: bool = False
    as_needed: bool = False  # taken when needed: no fixed schedule
    told_by: Source = "chart"
    evidence: str = ""  # "MedicationRequest, 2026-01-04"


def therapy_timeline(
    courses: Sequence[Course],
    as_of: date,
    marks: Sequence[tuple[date, str]] = (),
    title: str = "Therapies over time",
) -> Picture:
    """A bar for each course on one time axis that ends on ``as_of``.

    Filled: shown by the chart; outlined: attested; hatched: only as needed. An unknown beginning or end is drawn
    dashed and said in words.
    ``marks`` are further upright lines with a word ("trial").
    """
    dated = [course for course in courses if course.start or course.end]
    first = min([course.start or course.end or as_of for course in dated] + [day for day, _ in marks], default=as_of)
    last = max([as_of, *(course.end for course in dated if course.end), *(day for day, _ in marks)])
    axis = _Axis(first - timedelta(days=7), last + timedelta(days=7))
    heads = _heads(axis, [(as_of, "today"), *marks])
    top = _HEAD + _ROW * max(row for *_, row in heads) + 6
    parts = [*_axis_parts(axis, heads, top), *_legend(courses, top)]
    for position, course in enumerate(courses):
        at = top + _legend_height(courses) + position * _STEP
        parts += _course(course, axis, as_of, at)
        parts += [_upright(axis.at(day), at + _BAR - 3, at + _BAR + 14) for day, _ in marks]
    height = top + _legend_height(courses) + max(1, len(courses)) * _STEP
    return Picture(
        svg=drawing(title, summary := _summary(courses), height, parts),
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


def _heads(axis: _Axis, marks: Sequence[tuple[date, str]]) -> list[tuple[date, str, Fraction, int]]:
    """The words over the axis, each with its middle and its row: the ends of the axis first, then the marks."""
    ends = [(axis.first, axis.first.isoformat()), (axis.last, axis.last.isoformat())]
    labels = [*ends, *marks]
    places = placed([(axis.at(day), text) for day, text in labels])
    return [(day, text, middle, row) for (day, text), (middle, row) in zip(labels, places, strict=True)]


def _axis_parts(axis: _Axis, heads: Sequence[tuple[date, str, Fraction, int]], top: int) -> list[str]:
    parts = [element("line", x1=0, y1=top - 4, x2=WIDTH, y2=top - 4, stroke=QUIET, stroke_width=1)]
    for place, (day, text, middle, row) in enumerate(heads):
        parts.append(words(text, middle, _HEAD - 3 + row * _ROW, text_anchor="middle", font_size=SMALL))
        if place > 1:  # the two ends of the axis need no line
            parts.append(_upright(axis.at(day), top - 9, top))
    return parts


def _upright(x: Fraction, top: int, bottom: int) -> str:
    """A mark's line: at the axis and across the bars, never through words."""
    return element("line", x1=x, y1=top, x2=x, y2=bottom, stroke=CAUTION, stroke_width=2)


def _legend(courses: Sequence[Course], top: int) -> list[str]:
    if not any(course.as_needed for course in courses):
        return []
    return [
        element("rect", x=0, y=top + 4, width=24, height=11, rx=2, fill=GOOD, fill_opacity=PALE, stroke=GOOD),
        *hatched(0, 24, top + 4, 11),
        words("hatched: only as needed", 30, top + 14, font_size=SMALL),
    ]


def _legend_height(courses: Sequence[Course]) -> int:
    return 20 if any(course.as_needed for course in courses) else 0


def _course(course: Course, axis: _Axis, as_of: date, top: int) -> list[str]:
    """A name, its bar, and below how long: each on a line of its own, so that long names meet nothing."""
    parts = [
        words(shortened(course.label, _NAME), 0, top + 13),
        words(_length(course, as_of), 0, top + 43, font_size=SMALL),
    ]
    if not course.start and not course.end:
        return parts
    left = axis.at(course.start) if course.start else Fraction(0)
    right = max(axis.at(course.end or as_of), left + 3)
    colour = GOOD if course.told_by == "chart" else QUIET
    pale = course.as_needed or course.told_by != "chart"
    parts.append(
        element(
            "rect",
            x=left,
            y=top + _BAR,
            width=right - left,
            height=11,
            rx=2,
            fill=colour,
            fill_opacity=PALE if pale else None,
            stroke=colour,
            stroke_width=1.5,
            stroke_dasharray=None if course.start and (course.end or course.ongoing) else "4 2",
        )
    )
    if course.as_needed:
        parts += hatched(left, right - (6 if course.ongoing else 0), top + _BAR, 11)
    if course.ongoing:
        parts.append(element("path", d=_arrow(right, top + _BAR + 5), fill=INK))
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

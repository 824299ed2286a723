"""Pain scores over time, before and after a trial, and how much relief they show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from typing import Literal

import msgspec

from cds_service.pictures.svg import (
    CAUTION,
    GOOD,
    INK,
    OVER,
    QUIET,
    SMALL,
    WIDTH,
    Picture,
    drawing,
    element,
    placed,
    words,
)

_TOP = 22
_HEIGHT = 120
_LEFT = 22
_WORST = 10


class PainPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One score, 0 (none) to 10 (worst)."""

    when: date | None
    score: Fraction
    moment: Literal["before", "after", ""] = ""  # of the trial; "" where that is not said
    told_by: Literal["chart", "attestation"] = "chart"
    evidence: str = ""


def pain_plot(
    points: Sequence[PainPoint],
    example_percent: Fraction | None = None,
    trial: date | None = None,
    title: str = "Pain before and after",
) -> Picture:
    """Scores in order of time. With a score before and one after, the relief in percent.

    ``example_percent``: the relief that the guideline names as an example (50 for half), drawn as a line; no floor.
    Undated scores stand in the order given.
    """
    ordered = sorted(points, key=lambda point: point.when or date.min) if all(p.when for p in points) else list(points)
    summary = _summary(ordered, example_percent)
    parts = _grid()
    before, after = _last(ordered, "before"), _last(ordered, "after")
    if before is not None and example_percent is not None:
        parts += _example(before.score * (1 - example_percent / 100), example_percent)
    parts += _line(ordered, trial)
    return Picture(
        svg=drawing(title, summary, _TOP + _HEIGHT + 36, [*parts, *_verdict(before, after)]),
        title=title,
        summary=summary,
        columns=("Date", "Score (0 to 10)", "Moment", "Told by", "Evidence"),
        rows=tuple(
            (
                point.when.isoformat() if point.when else "not known",
                _score(point.score),
                {"before": "before the trial", "after": "after the trial"}.get(point.moment, "not said"),
                point.told_by,
                point.evidence,
            )
            for point in ordered
        ),
    )


def relief_percent(before: Fraction, after: Fraction) -> Fraction | None:
    """How much of the pain went, in percent; negative when it grew; None where there was none before."""
    return (before - after) / before * 100 if before > 0 else None


def _last(points: Sequence[PainPoint], moment: str) -> PainPoint | None:
    return next((point for point in reversed(points) if point.moment == moment), None)


def _y(score: Fraction) -> Fraction:
    return _TOP + _HEIGHT - min(max(score, Fraction(0)), Fraction(_WORST)) / _WORST * _HEIGHT


def _grid() -> list[str]:
    parts = []
    for score in (0, 5, 10):
        y = _y(Fraction(score))
        parts.append(element("line", x1=_LEFT, y1=y, x2=WIDTH, y2=y, stroke=QUIET, stroke_width=0.75))
        parts.append(words(str(score), _LEFT - 6, y + 4, text_anchor="end", font_size=SMALL))
    return parts


def _example(score: Fraction, percent: Fraction) -> list[str]:
    y = _y(score)
    return [
        element("line", x1=_LEFT, y1=y, x2=WIDTH, y2=y, stroke=CAUTION, stroke_width=1.5, stroke_dasharray="5 3"),
        words(f"{_score(percent)} % relief", WIDTH // 2, y + 12, text_anchor="middle", font_size=SMALL),
    ]


def _line(points: Sequence[PainPoint], trial: date | None) -> list[str]:
    places = [(x, _y(point.score)) for x, point in zip(_across(points), points, strict=True)]
    parts = []
    if len(places) > 1:
        path = "M" + " L".join(f"{round(x)} {round(y)}" for x, y in places)
        parts.append(element("path", d=path, fill="none", stroke=QUIET, stroke_width=1.5))
    for (x, y), point in zip(places, points, strict=True):
        colour = {"before": OVER, "after": GOOD}.get(point.moment, QUIET)
        filled = point.told_by == "chart"
        parts.append(
            element("circle", cx=x, cy=y, r=5, fill=colour if filled else "none", stroke=colour, stroke_width=2)
        )
        parts.append(words(_score(point.score), x, y - 10, text_anchor="middle", font_size=SMALL))
    parts += _moments(points, [x for x, _ in places])
    dated = [point.when for point in points if point.when]
    if trial and len(dated) == len(points) and dated and dated[0] <= trial <= dated[-1]:
        x = _scaled(trial, dated[0], dated[-1])
        parts.append(element("line", x1=x, y1=_TOP, x2=x, y2=_TOP + _HEIGHT, stroke=INK, stroke_dasharray="2 3"))
        parts.append(words("trial", x, _TOP - 6, text_anchor="middle", font_size=SMALL))
    return parts


def _across(points: Sequence[PainPoint]) -> list[Fraction]:
    """Where each point stands: by date where every one has a date of its own, else evenly."""
    dates = [point.when for point in points if point.when]
    if len(dates) == len(points) and len(set(dates)) == len(points) and len(points) in {2, 3, 4}:
        return [_scaled(day, dates[0], dates[-1]) for day in dates]
    room = WIDTH - 2 * _LEFT - 40
    return [_LEFT + 24 + Fraction(room * place, max(1, len(points) - 1)) for place in range(len(points))]


def _scaled(day: date, first: date, last: date) -> Fraction:
    room = WIDTH - 2 * _LEFT - 40
    return _LEFT + 24 + Fraction((day - first).days, max(1, (last - first).days)) * room


def _moments(points: Sequence[PainPoint], across: Sequence[Fraction]) -> list[str]:
    """Under each score when it was; where there is no room for all of them, the table has the rest."""
    said = [point.moment or (point.when.isoformat() if point.when else "") for point in points]
    return [
        words(text, middle, _TOP + _HEIGHT + 15, text_anchor="middle", font_size=SMALL)
        for text, (middle, row) in zip(said, placed(list(zip(across, said, strict=True))), strict=True)
        if text and row == 0
    ]


def _verdict(before: PainPoint | None, after: PainPoint | None) -> list[str]:
    if before is None or after is None:
        return []
    relief = relief_percent(before.score, after.score)
    return [] if relief is None else [words(_relief(relief), _LEFT, _TOP + _HEIGHT + 31, font_weight="600")]


def _relief(relief: Fraction) -> str:
    about = "" if relief.denominator == 1 else "about "
    return f"Relief {about}{round(relief)} %" if relief >= 0 else f"Pain grew by {about}{round(-relief)} %"


def _score(score: Fraction) -> str:
    tenths = round(score * 10)
    return str(score) if score.denominator == 1 else f"{tenths // 10}.{tenths % 10}"


def _summary(points: Sequence[PainPoint], example: Fraction | None) -> str:
    if not points:
        return "No pain score is on record."
    before, after = _last(points, "before"), _last(points, "after")
    if before is None or after is None:
        return f"{len(points)} score{'' if len(points) == 1 else 's'} on record; before and after cannot be compared."
    relief = relief_percent(before.score, after.score)
    said = f"Score {_score(before.score)} before and {_score(after.score)} after the trial"
    if relief is None:
        return f"{said}; relief cannot be told from a score of 0."
    asked = f"; the guideline names {_score(example)} % as an example" if example is not None else ""
    return f"{said}: {_relief(relief).lower()}{asked}."

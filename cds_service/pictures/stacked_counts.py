"""Counts by group, each a bar of parts: approved, modified, not certified ..."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from cds_service.pictures.svg import (
    CAUTION,
    FONT,
    GOOD,
    INK,
    OVER,
    PALE,
    QUIET,
    SMALL,
    WIDTH,
    Picture,
    drawing,
    element,
    length,
    shortened,
    words,
)

_STEP = 40
_LEGEND = 24
_COLOURS = (GOOD, CAUTION, OVER, QUIET)


class CountRow(msgspec.Struct, frozen=True):
    """One group and the counts of its parts, in the order of the legend."""

    label: str
    counts: tuple[int, ...]


def stacked_counts(rows: Sequence[CountRow], parts: tuple[str, ...], title: str) -> Picture:
    """A bar for each row, as long as its total; at most four parts, told apart by number, order and colour."""
    most = max([sum(row.counts) for row in rows], default=0)
    drawn = _legend(parts)
    for position, row in enumerate(rows):
        drawn += _row(row, most, _LEGEND + position * _STEP)
    summary = "; ".join(
        f"{row.label}: " + ", ".join(f"{count} {part}" for part, count in zip(parts, row.counts, strict=True))
        for row in rows
    )
    summary = f"{summary}." if summary else "Nothing was decided."
    return Picture(
        svg=drawing(title, summary, _LEGEND + max(1, len(rows)) * _STEP, drawn),
        title=title,
        summary=summary,
        columns=("Group", *parts, "total"),
        rows=tuple((row.label, *map(str, row.counts), str(sum(row.counts))) for row in rows),
    )


def _legend(parts: tuple[str, ...]) -> list[str]:
    drawn: list[str] = []
    at = Fraction(0)
    for colour, part in zip(_COLOURS, parts, strict=False):
        drawn.append(element("rect", x=at, y=3, width=10, height=10, rx=2, fill=colour))
        drawn.append(words(part, at + 14, 12, font_size=SMALL))
        at += 26 + length(part, SMALL)
    return drawn


def _row(row: CountRow, most: int, top: int) -> list[str]:
    total = _sum(row.counts)
    room = WIDTH - length(total, FONT) - 8
    drawn = [
        words(shortened(row.label, int(room / length("x", FONT))), 0, top + 12),
        words(total, WIDTH, top + 12, text_anchor="end", font_weight="600"),
        element("rect", x=0, y=top + 18, width=WIDTH, height=14, rx=3, fill=QUIET, fill_opacity=PALE),
    ]
    at = Fraction(0)
    for place, count in enumerate(row.counts):
        if not count:
            continue
        width = Fraction(count, most) * WIDTH
        drawn.append(element("rect", x=at, y=top + 18, width=width, height=14, fill=_COLOURS[place]))
        drawn.append(element("line", x1=at, y1=top + 18, x2=at, y2=top + 32, stroke=INK, stroke_width=0.5))
        at += width
    return drawn


def _sum(counts: tuple[int, ...]) -> str:
    total = sum(counts)
    return f"{' + '.join(map(str, counts))} = {total}" if total and len(counts) > 1 else str(total)

"""Amounts held against the guideline's table, one bar each."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import msgspec

from cds_service.pictures.svg import (
    CAUTION,
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
    hatched,
    shortened,
    words,
)

Verdict = Literal["within", "exceeds", "no_limit_stated", "cannot_be_determined"]

VERDICT_WORDS: dict[str, str] = {
    "within": "within the limit",
    "exceeds": "above the limit",
    "no_limit_stated": "no limit stated",
    "cannot_be_determined": "cannot be determined",
}
_STEP = 76
_LINE = 44  # characters of a small line
_LONGEST = 3  # a bar of more than three limits is broken off: a slip of units would make its limit invisible


class DoseBar(msgspec.Struct, frozen=True, kw_only=True):
    """One amount and its limit, both in the same unit; texts as people are to read them ("15 mg/d")."""

    label: str  # "Morphine, daily dose"
    verdict: Verdict
    amount: Fraction | None = None
    amount_text: str = ""
    limit: Fraction | None = None
    limit_text: str = ""
    why: str = ""  # why it cannot be determined
    steps: tuple[str, ...] = ()  # the arithmetic, a line each
    cite: str = ""  # where the guideline states the limit


def dose_bars(bars: Sequence[DoseBar], title: str = "Dose against the guideline's table") -> Picture:
    """A bar for each amount: solid up to the limit, hatched beyond it, the limit as an upright line.

    What has no limit is drawn without one; what cannot be determined is an empty track and its reason in words.
    """
    parts: list[str] = []
    for position, bar in enumerate(bars):
        parts += _bar(bar, position * _STEP)
    return Picture(
        svg=drawing(title, summary := _summary(bars), max(1, len(bars)) * _STEP, parts),
        title=title,
        summary=summary,
        columns=("Amount", "Ordered", "Limit", "Result", "Arithmetic", "Source of the limit"),
        rows=tuple(_row(bar) for bar in bars),
    )


def _bar(bar: DoseBar, top: int) -> list[str]:
    says = VERDICT_WORDS[bar.verdict]
    colour = {"within": GOOD, "exceeds": OVER, "no_limit_stated": QUIET}.get(bar.verdict, CAUTION)
    parts = [
        words(shortened(bar.label, 36), 0, top + 13, font_weight="600"),
        element("rect", x=0, y=top + 20, width=WIDTH, height=14, rx=3, fill=QUIET, fill_opacity=PALE),
    ]
    full = _full(bar)
    if bar.amount is not None and full:
        parts += _filled(bar, full, top, colour)
    if bar.limit is not None and full:
        at = bar.limit / full * WIDTH
        parts.append(element("line", x1=at, y1=top + 16, x2=at, y2=top + 38, stroke=INK, stroke_width=2))
    parts.append(words(_caption(bar), 0, top + 51, font_size=SMALL))
    parts.append(words(shortened(f"{says}: {bar.why}" if bar.why else says, _LINE), 0, top + 66, font_size=SMALL))
    return parts


def _filled(bar: DoseBar, full: Fraction, top: int, colour: str) -> list[str]:
    amount = bar.amount or Fraction(0)
    length = min(amount / full, Fraction(1)) * WIDTH
    plain = length if bar.limit is None else min(length, bar.limit / full * WIDTH)
    parts = [element("rect", x=0, y=top + 20, width=plain, height=14, rx=3, fill=colour)]
    if length > plain:
        parts.append(
            element("rect", x=plain, y=top + 20, width=length - plain, height=14, fill=colour, fill_opacity="0.55")
        )
        parts += hatched(plain, length, top + 20, 14)
    if amount > full:
        parts.append(words("»", WIDTH - 9, top + 32, font_weight="700"))
    return parts


def _full(bar: DoseBar) -> Fraction | None:
    """What the whole width stands for; None where there is nothing to draw."""
    known = [value for value in (bar.amount, bar.limit) if value is not None and value > 0]
    if not known:
        return None
    widest = max(known) * Fraction(9, 8)
    return widest if not bar.limit else min(widest, bar.limit * _LONGEST)


def _caption(bar: DoseBar) -> str:
    ordered = bar.amount_text or "not known"
    limit = f"limit {bar.limit_text}" if bar.limit_text else "the guideline states no limit"
    return shortened(f"{ordered}; {limit}", _LINE)


def _summary(bars: Sequence[DoseBar]) -> str:
    if not bars:
        return "There is no amount to show."
    return " ".join(
        f"{bar.label}: {bar.amount_text or 'not known'}"
        + (f", limit {bar.limit_text}" if bar.limit_text else "")
        + f", {VERDICT_WORDS[bar.verdict]}."
        for bar in bars
    )


def _row(bar: DoseBar) -> tuple[str, ...]:
    said = VERDICT_WORDS[bar.verdict] + (f": {bar.why}" if bar.why else "")
    return (
        bar.label,
        bar.amount_text or "not known",
        bar.limit_text or "not stated",
        said,
        "\n".join(bar.steps),
        bar.cite,
    )

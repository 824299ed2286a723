"""The little SVG that the drawings need.

A drawing stands inside an HTML page under a Content-Security-Policy without inline styles: colours are presentation
attributes, mid tones that keep a contrast of 3:1 on white and on near-black paper; words take the page's own ink.
Coordinates are exact fractions, written with one decimal.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from html import escape

import msgspec

WIDTH = 320  # units; the narrowest phone shows about as many pixels, so that words keep their size there
FONT = 13
SMALL = 12
LETTER = "0.62"  # mean width of a letter, in font sizes: rather too wide than too narrow
INK = "currentColor"
GOOD = "#2f8a86"
OVER = "#cf4a40"
CAUTION = "#b3720a"
QUIET = "#7d8a83"
PALE = "0.28"  # opacity of a track behind a bar

Number = Fraction | int | float


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A drawing and the same in words.

    ``svg`` may be put into a page as it is: every text in it is escaped. ``columns`` and ``rows`` are a table that
    says all that the drawing shows; ``summary`` is one or two sentences, also the drawing's accessible name.
    """

    svg: str
    title: str
    summary: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def element(name: str, content: str = "", **attributes: object) -> str:
    """One element; ``content`` is markup already. ``stroke_width=2`` becomes ``stroke-width="2"``."""
    written = "".join(
        f' {key.strip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def words(text: str, x: Number, y: Number, **attributes: object) -> str:
    """A line of text in the page's own ink, escaped."""
    return element("text", escape(text), x=x, y=y, **{"fill": INK, "font_size": FONT, **attributes})


def drawing(title: str, summary: str, height: Number, parts: list[str], width: Number = WIDTH) -> str:
    """The whole drawing, named for those who do not see it."""
    return element(
        "svg",
        "".join(parts),
        class_="picture",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        width="100%",
        role="img",
        aria_label=f"{title}. {summary}",
        font_family="system-ui, sans-serif",
    )


def shortened(text: str, most: int) -> str:
    """At most ``most`` characters; what was cut is in the table under the drawing."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def hatched(left: Number, right: Number, top: int, height: int) -> list[str]:
    """Slanting strokes over a bar: told apart without colour."""
    return [
        element("line", x1=at, y1=top + height - 1, x2=at + 5, y2=top + 1, stroke=INK, stroke_width=1)
        for at in range(int(left) + 3, int(right) - 5, 7)
    ]


def length(text: str, size: Number) -> Fraction:
    """About how wide a line of text is, in units; letters are as wide as a reader's font makes them."""
    return len(text) * Fraction(LETTER) * Fraction(str(size))


def placed(labels: Sequence[tuple[Fraction, str]], size: Number = SMALL) -> list[tuple[Fraction, int]]:
    """Where labels stand that want to be centred at an x: their middles, and rows (from 0) on which none overlap.

    None leaves the drawing, unless it is wider than the drawing.
    """
    taken: list[list[tuple[Fraction, Fraction]]] = []
    found = []
    for at, text in labels:
        half = length(text, size) / 2
        middle = max(half, min(at, WIDTH - half))
        left, right = middle - half - 3, middle + half + 3
        row = 0
        while row < len(taken) and any(left < other[1] and other[0] < right for other in taken[row]):
            row += 1
        if row == len(taken):
            taken.append([])
        taken[row].append((left, right))
        found.append((middle, row))
    return found


def _value(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, Fraction | float):
        return str(value)
    tenths = round(value * 10)
    whole, rest = divmod(abs(tenths), 10)
    return f"{'-' if tenths < 0 else ''}{whole}" + (f".{rest}" if rest else "")

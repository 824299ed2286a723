"""The little SVG that the drawings need.

A drawing stands inside an HTML page under a Content-Security-Policy without inline styles: colours are presentation
attributes, mid tones that keep a contrast of 3:1 on white and on near-black paper; words take the page's own ink.
Coordinates are exact fractions, written with one decimal.
"""

from __future__ import annotations

from fractions import Fraction
from html import escape

import msgspec

WIDTH = 360  # units; a phone shows nearly as many pixels, so that words stay readable there
FONT = 12
SMALL = 10.5
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


def _value(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, Fraction | float):
        return str(value)
    tenths = round(value * 10)
    whole, rest = divmod(abs(tenths), 10)
    return f"{'-' if tenths < 0 else ''}{whole}" + (f".{rest}" if rest else "")

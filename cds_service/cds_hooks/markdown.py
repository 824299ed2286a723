"""Text from FHIR made inert in GitHub-flavoured Markdown (reliability 93).

What an EHR's user typed may hold HTML, links, images or control characters. In a card it is shown as the characters
it is made of, and nothing of it may become markup, a link or another line.
"""

from __future__ import annotations

import re
import unicodedata

# What needs no change, checked first because most text is of this kind: no markup, no start of a list, no address.
_PLAIN = re.compile(r"(?!\d+[.)](?:\s|$))(?=[A-Za-z0-9])(?:[A-Za-z0-9 ,;%()'=+-]++|/(?!/)|\.(?![A-Za-z])|:(?= ))*+")
_MARKUP = re.compile(r"[\\`*_\[\]<>|~&]")
_LINE_START = re.compile(r"^(?=[-+=#:.)])|^(\d+)(?=[.)](?:\s|$))")
# Linkifiers work on the parsed text, where a backslash is gone: only a character in between stops them.
_HOST = re.compile(r"(?i)(?:\.(?=[^\W\d_])|www(?=\.))")
_SCHEME = re.compile(r"(?<=[A-Za-z]):(?=\S)")
_SLASHES = re.compile(r"/(?=/)")
_GAP = "\u200b"
_CUT = "\N{HORIZONTAL ELLIPSIS}"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, bidi, surrogates, unassigned, separators


def plain_text(value: object, limit: int) -> str:
    """One line of visible characters, at most ``limit`` code points; for places that know no Markdown."""
    text = value if isinstance(value, str) else ""
    if len(text) > 4 * limit:
        text = text[: 4 * limit]
    if not (text.isascii() and text.isprintable()):
        text = "".join(" " if unicodedata.category(mark) in _HIDDEN else mark for mark in text)
    if "  " in text or text != text.strip() or not text.isprintable():
        text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + _CUT


def markdown_text(value: object, limit: int = 200) -> str:
    """``value`` as inert inline Markdown; at most ``limit`` visible code points, no HTML, link, image or line break."""
    text = plain_text(value, limit)
    if _PLAIN.fullmatch(text):
        return text
    if "." in text:
        text = _HOST.sub(r"\g<0>" + _GAP, text)
    if ":" in text:
        text = _SCHEME.sub(_GAP + ":", text)
    if "/" in text:
        text = _SLASHES.sub("/" + _GAP, text)
    text = _MARKUP.sub(r"\\\g<0>", text.replace("@", "@" + _GAP))
    return _LINE_START.sub(r"\1\\", text)

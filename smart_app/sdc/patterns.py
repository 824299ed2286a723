"""Regular expressions of strangers, in time that grows with the text and nothing else (reliability row 111)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

MAX_CHARACTERS = 2_000
_MEMORY = 1 << 20


class UnusablePattern(ValueError):
    """A pattern that cannot be run in linear time (look-ahead, back reference), or is none."""


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    if len(pattern) > MAX_CHARACTERS:
        raise UnusablePattern("the pattern is too long")
    try:
        return re2.compile(pattern, options=options)
    except re2.error:
        raise UnusablePattern("the pattern cannot be used here") from None


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text is what the pattern says. Raises UnusablePattern."""
    return _compiled(pattern).fullmatch(text) is not None


def searches(pattern: str, text: str) -> bool:
    """Whether the pattern is somewhere in the text. Raises UnusablePattern."""
    return _compiled(pattern).search(text) is not None


def replaced(pattern: str, by: str, text: str) -> str:
    """The text with every match replaced. Raises UnusablePattern."""
    return str(_compiled(pattern).sub(by.replace("\\", "\\\\"), text))

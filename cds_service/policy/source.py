"""What a configuration file holds, with positions, and what can be wrong with it.

A scalar stays the text that stands in the file: ``no`` is the word no, ``010`` is three characters. The shape that
reads it decides whether it is a number, a day or a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec


class Node(msgspec.Struct, frozen=True):
    """One value of a file and where it stands. ``value`` is a mapping, a sequence, text, or None for null."""

    value: dict[str, Node] | tuple[Node, ...] | str | None
    file: str
    line: int


class At(msgspec.Struct, frozen=True):
    """A position in a file."""

    file: str
    line: int


class Complaint(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong, said so that its author can mend it."""

    file: str
    line: int
    where: str  # path inside the file: "criteria[2].test"
    found: str
    allowed: str

    def __str__(self) -> str:
        """File and line first, as editors expect."""
        place = f"{self.where}: " if self.where else ""
        return f"{self.file}:{self.line}: {place}found {self.found}; allowed: {self.allowed}"


class Word(str):
    """Text that remembers where it stands."""

    __slots__ = ("at",)
    at: At

    def __new__(cls, text: str, at: At) -> Self:
        """``text`` at position ``at``."""
        self = super().__new__(cls, text)
        self.at = at
        return self


class Entry(dict[str, object]):
    """A record that was read, with the position of its first line."""

    at: At
    where: str


def plain(value: object) -> str:
    """The text itself, without its position."""
    return str.__str__(value) if isinstance(value, str) else str(value)


def several(words: Iterable[object]) -> str:
    """Words in a row for a message."""
    return ", ".join(str(word) for word in words)

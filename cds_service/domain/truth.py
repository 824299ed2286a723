"""Strong Kleene three-valued logic (guideline analysis 1.2): unknown is a value, never a guess."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Truth(Enum):
    """Status of a criterion, a section or a part of one; the value is the word used on the wire."""

    MET = "met"
    NOT_MET = "not_met"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        """Refused: ``if truth`` would silently read unknown as false."""
        raise TypeError("a Truth has three values; compare it with Truth.MET, NOT_MET or UNKNOWN")


def all_of(parts: Iterable[Truth]) -> Truth:
    """Kleene AND: not met if any part is, else unknown if any is, else met."""
    result = Truth.MET
    for part in parts:
        if part is Truth.NOT_MET:
            return Truth.NOT_MET
        if part is Truth.UNKNOWN:
            result = Truth.UNKNOWN
    return result


def negate(part: Truth) -> Truth:
    """Kleene NOT: the negation of unknown is unknown."""
    if part is Truth.UNKNOWN:
        return part
    return Truth.NOT_MET if part is Truth.MET else Truth.MET

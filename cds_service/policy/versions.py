"""Which version of a guideline decides on a day, where the configuration holds several."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from cds_service.policy.model import Guideline


def by_guideline(guidelines: Iterable[Guideline]) -> tuple[tuple[Guideline, ...], ...]:
    """The versions of each guideline, oldest first; guidelines in the order in which they came."""
    found: dict[str, list[Guideline]] = {}
    for guideline in guidelines:
        found.setdefault(guideline.id, []).append(guideline)
    return tuple(tuple(sorted(versions, key=lambda each: each.effective)) for versions in found.values())


def deciding(versions: tuple[Guideline, ...], day: date) -> Guideline:
    """The version in force; of several the newest. Where none is: the latest that had begun, else the first to come.

    Which of these it was can be told by ``Guideline.in_force``; ``evaluate.determine`` flags it.
    ``versions`` as ``by_guideline`` gives them, one at least.
    """
    begun = [each for each in versions if each.effective <= day]
    if not begun:
        return versions[0]
    return next((each for each in reversed(begun) if each.in_force(day)), begun[-1])

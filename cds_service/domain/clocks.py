"""When a request must be decided, and until when an approval holds. Tables are the payer's, see ``prior_auth.yaml``."""

from __future__ import annotations

import calendar
import re
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

import msgspec

_DURATION = re.compile(r"P([1-9][0-9]{0,3})([DWMY])")


class ClockRule(msgspec.Struct, frozen=True):
    """One row. Empty ``programs`` and ``plans`` fit all; ``drug`` or ``benefit`` None or "" fit either.

    ``extended_hours``: hours from receipt, not from the due time, that a standard request may take in all once its time
    was extended; 0 where the row allows no extension.
    """

    standard_hours: int
    expedited_hours: int
    programs: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    benefit: str = ""
    drug: bool | None = None
    extended_hours: int = 0
    cite: str = ""

    def hours(self, *, expedited: bool) -> int:
        """Hours from receipt."""
        return self.expedited_hours if expedited else self.standard_hours

    def fits(self, program: str, plans: Collection[str], benefit: str, *, drug: bool) -> bool:
        """Whether the row speaks of such a request; plans compare without case."""
        held = {plan.casefold() for plan in plans}
        return (
            (not self.programs or program in self.programs)
            and (not self.plans or any(plan.casefold() in held for plan in self.plans))
            and self.benefit in {"", benefit}
            and self.drug in {None, drug}
        )


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of the table look at."""

    program: str
    plans: Collection[str]
    benefit: str
    drug: bool
    expedited: bool


def due(rules: Sequence[ClockRule], received: datetime, asked: Asked) -> datetime:
    """The instant by which it must be decided; by the strictest row where none fits."""
    rule = _row(rules, asked)
    if rule is not None:
        return received + timedelta(hours=rule.hours(expedited=asked.expedited))
    return received + timedelta(hours=min((each.hours(expedited=asked.expedited) for each in rules), default=24))


def extended(rules: Sequence[ClockRule], received: datetime, asked: Asked) -> datetime | None:
    """The latest instant that an extension reaches; None where the table allows none. What is urgent never waits."""
    rule = _row(rules, asked)
    if rule is None or not rule.extended_hours or asked.expedited:
        return None
    return received + timedelta(hours=rule.extended_hours)


def _row(rules: Sequence[ClockRule], asked: Asked) -> ClockRule | None:
    fitting = (each for each in rules if each.fits(asked.program, asked.plans, asked.benefit, drug=asked.drug))
    return next(fitting, None)


def approval_end(start: date, duration: str) -> date:
    """The last day of an approval that begins on ``start``: P1M from 15 January ends on 14 February.

    It ends the day before the same day of a later month; where that month has no such day, on its last day (P1M from
    31 January: 28 or 29 February). Raises ValueError for no duration in days, weeks, months or years.
    """
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise ValueError("a duration such as P1M or P1Y")
    count, unit = int(found[1]), found[2]
    if unit in "DW":
        return start + timedelta(days=count * (7 if unit == "W" else 1) - 1)
    months = start.year * 12 + start.month - 1 + count * (12 if unit == "Y" else 1)
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    if start.day > last:
        return date(year, month + 1, last)
    return date(year, month + 1, start.day) - timedelta(days=1)

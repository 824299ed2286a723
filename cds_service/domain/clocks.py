"""When a request must be decided, and until when an approval holds. Tables are the payer's, see ``prior_auth.yaml``."""

from __future__ import annotations

import calendar
import re
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

import msgspec

_DURATION = re.compile(r"P([1-9][0-9]{0,3})([DWMY])")


class ClockRule(msgspec.Struct, frozen=True):
    """One row. Empty ``programs`` and ``plans`` fit all; ``drug`` or ``benefit`` None or "" fit either."""

    standard_hours: int
    expedited_hours: int
    programs: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    benefit: str = ""
    drug: bool | None = None
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


def due(
    rules: Sequence[ClockRule],
    received: datetime,
    *,
    program: str,
    plans: Collection[str],
    benefit: str,
    drug: bool,
    expedited: bool,
) -> datetime:
    """The instant by which it must be decided; by the strictest row where none fits."""
    for rule in rules:
        if rule.fits(program, plans, benefit, drug=drug):
            return received + timedelta(hours=rule.hours(expedited=expedited))
    return received + timedelta(hours=min((rule.hours(expedited=expedited) for rule in rules), default=24))


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

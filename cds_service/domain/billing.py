"""From milligrams to billing units, exactly: what a code may bill, and how many units an amount is."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from fractions import Fraction

import msgspec


class BillingCode(msgspec.Struct, frozen=True):
    """One HCPCS code of a drug, and the days on which it may be used."""

    code: str
    drug: str
    mg_per_unit: Fraction
    start: date
    end: date | None
    use: str = ""


class Crosswalk(msgspec.Struct, frozen=True):
    """All codes that are known. ``unclassified`` codes name no drug, so their units say nothing of an amount."""

    codes: tuple[BillingCode, ...] = ()
    unclassified: frozenset[str] = frozenset()

    def of_code(self, code: str, day: date) -> BillingCode | None:
        """The entry of a code that is valid on that day."""
        for each in self.codes:
            if each.code == code and each.start <= day and (each.end is None or day <= each.end):
                return each
        return None

    def fits(self, code: str, drugs: Collection[str], day: date) -> bool | None:
        """Whether a code may bill these drugs. None: the code is not known here, it is taken as it is."""
        if code in self.unclassified:
            return True
        known = [each for each in self.codes if each.code == code]
        if not known:
            return None
        held = self.of_code(code, day)
        return held is not None and held.drug in drugs


def units(milligrams: Fraction, mg_per_unit: Fraction) -> int:
    """Whole billing units that cover an amount: a part of a unit counts as one. 12.5 mg at 10 mg are 2."""
    if milligrams < 0 or mg_per_unit <= 0:
        raise ValueError("an amount is not negative, a unit is more than nothing")
    return -(-milligrams // mg_per_unit)

"""Units that a drug is billed by, and on which days a code names it."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from cds_service.domain.billing import BillingCode, Crosswalk, units

DAY = date(2026, 3, 2)

# Billing units: mg, mg per unit, units. A part of a unit is a whole one; nothing is rounded before.
UNITS = [("0", "10", 0), ("10", "10", 1), ("10.0001", "10", 2), ("155", "10", 16), ("0.35", "0.001", 350),
         ("1/3", "0.001", 334), ("12.5", "0.05", 250)]  # fmt: skip


@pytest.mark.parametrize(("milligrams", "unit", "count"), UNITS)
def test_billing_units_are_exact(milligrams: str, unit: str, count: int) -> None:
    assert units(Fraction(milligrams), Fraction(unit)) == count


def test_a_code_is_valid_on_certain_days_alone() -> None:
    code = BillingCode("J1170", "hydromorphone", Fraction(4), date(2020, 4, 1), date(2024, 9, 30))
    walk = Crosswalk((code,), frozenset({"J3490"}))
    assert walk.fits("J1170", ["hydromorphone"], date(2024, 9, 30)) is True
    assert walk.fits("J1170", ["hydromorphone"], date(2024, 10, 1)) is False
    assert walk.fits("J1170", ["morphine"], date(2024, 9, 30)) is False
    assert walk.fits("J3490", ["morphine"], DAY) is True
    assert walk.fits("12345678901", ["morphine"], DAY) is None  # an NDC: taken as it is

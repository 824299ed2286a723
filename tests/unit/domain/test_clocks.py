"""By when a request is answered (C01), and how long what is approved holds (analysis 1.4)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from cds_service.domain.clocks import Asked, ClockRule, approval_end, due, extended
from tests.support.e2e_service import NOON, shipped

DAY = date(2026, 3, 2)

# Approval periods: first day, duration, last day (analysis 1.4)
PERIODS = [
    ("2026-03-02", "P1M", "2026-04-01"),
    ("2026-01-31", "P1M", "2026-02-28"),  # February has no 31st: its last day
    ("2024-01-31", "P1M", "2024-02-29"),
    ("2026-01-01", "P1M", "2026-01-31"),
    ("2026-12-15", "P1M", "2027-01-14"),
    ("2026-03-02", "P1Y", "2027-03-01"),
    ("2024-02-29", "P1Y", "2025-02-28"),
    ("2026-03-02", "P6W", "2026-04-12"),
    ("2026-03-02", "P1D", "2026-03-02"),
]


@pytest.mark.parametrize(("start", "duration", "end"), PERIODS)
def test_approval_periods(start: str, duration: str, end: str) -> None:
    assert approval_end(date.fromisoformat(start), duration).isoformat() == end


def test_a_period_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="duration"):
        approval_end(DAY, "1 month")


# Clocks (C01): program, plan, drug?, expedited?, hours
CLOCKS = [
    ("medicare_advantage", "", True, False, 72), ("medicare_advantage", "", True, True, 24),
    ("medicare_advantage", "", False, False, 168), ("medicare_advantage", "", False, True, 72),
    ("standard", "Medicaid", True, False, 24), ("standard", "medicaid", False, False, 168),
    ("standard", "", True, False, 168), ("standard", "", False, True, 72),
    ("unknown", "", True, False, 24), ("unknown", "", True, True, 24),  # nothing fits: the strictest
]  # fmt: skip


@pytest.mark.parametrize(("program", "plan", "drug", "expedited", "hours"), CLOCKS)
def test_C01_due_times(program: str, plan: str, drug: bool, expedited: bool, hours: int) -> None:
    start = datetime.fromtimestamp(NOON, UTC)
    rules = shipped().prior_auth.clocks
    held = due(rules, start, Asked(program=program, plans=[plan], benefit="medical", drug=drug, expedited=expedited))
    assert held - start == timedelta(hours=hours)


@pytest.mark.parametrize(("program", "plan", "drug", "expedited", "hours"), CLOCKS)
def test_C01_only_a_standard_request_of_a_plan_that_allows_it_is_extended(
    program: str, plan: str, drug: bool, expedited: bool, hours: int
) -> None:
    start = datetime.fromtimestamp(NOON, UTC)
    asked = Asked(program=program, plans=[plan], benefit="medical", drug=drug, expedited=expedited)
    allowed = plan.casefold() == "medicaid" and not drug
    held = extended(shipped().prior_auth.clocks, start, asked)
    assert held == (start + timedelta(days=14) if allowed else None), hours
    urgent = msgspec.structs.replace(asked, expedited=True)
    assert extended(shipped().prior_auth.clocks, start, urgent) is None


def test_a_payer_without_clocks_has_a_day() -> None:
    start = datetime.fromtimestamp(NOON, UTC)
    asked = Asked(program="standard", plans=(), benefit="", drug=True, expedited=False)
    assert due([], start, asked) - start == timedelta(1)
    assert ClockRule(1, 2).hours(expedited=True) == 2

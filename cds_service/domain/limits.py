"""The guideline's dose table as values. All numbers come from ``config/policies``."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from cds_service.domain.vocabulary import RouteGroup


class Limit(msgspec.Struct, frozen=True):
    """One row: inclusive limits in mg/d and mg/mL, None where the guideline states none.

    The factors say from which multiple of the limit on a value looks like a unit error; None: never.
    """

    daily: Fraction | None
    concentration: Fraction | None
    daily_error_factor: Fraction | None
    concentration_error_factor: Fraction | None
    citation: str


class DoseTable(msgspec.Struct, frozen=True):
    """Rows by ingredient name, and the route groups for which the table is written."""

    rows: Mapping[str, Limit]
    routes: frozenset[RouteGroup]
    unit_exchange_factor: Fraction | None  # 1000: a value that is plausible again once divided by it (mg for ug)

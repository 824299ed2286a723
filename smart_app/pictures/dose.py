"""Daily dose and concentration of an order against the payer's limits."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from cds_service.domain.determination import DoseAssessment, DoseResult
from cds_service.domain.quantity import CONCENTRATION, MASS_RATE, Dimension, amount_text
from cds_service.pictures.dose_bars import DoseBar, dose_bars
from cds_service.pictures.svg import Picture
from smart_app.dtr.dose_limits import Limits


def dose_picture(
    assessment: DoseAssessment, limits: Limits, title: str = "This order against the payer's table"
) -> Picture | None:
    """Two bars for each drug of the order; None when the order names no drug."""
    bars = [bar for result in assessment.results for bar in _bars(result, limits)]
    return dose_bars(bars, title) if bars else None


def _bars(result: DoseResult, limits: Limits) -> Iterator[DoseBar]:
    name = limits.names.get(result.ingredient, result.ingredient).capitalize()
    row = limits.table.rows.get(result.ingredient)
    cite = row.citation if row is not None else ""
    for what, dimension, amount, limit, verdict in (
        ("daily dose", MASS_RATE, result.daily, result.daily_limit, result.daily_verdict),
        (
            "concentration",
            CONCENTRATION,
            result.concentration,
            result.concentration_limit,
            result.concentration_verdict,
        ),
    ):
        yield DoseBar(
            label=f"{name}, {what}",
            verdict=verdict.value,
            amount=amount,
            amount_text=_text(amount, dimension),
            limit=limit,
            limit_text=_text(limit, dimension),
            why="" if amount is not None else "the order does not say enough",
            steps=result.steps if what == "daily dose" else (),
            cite=cite,
        )


def _text(value: Fraction | None, dimension: Dimension) -> str:
    return "" if value is None else amount_text(value, dimension)

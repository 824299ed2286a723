"""The figures that a payer publishes: a page with a drawing, CSV and JSON of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from flask import Blueprint, request
from werkzeug.wrappers import Response

from cds_service.domain.review import Right
from cds_service.pictures.stacked_counts import CountRow, stacked_counts
from cds_service.policy.model import Guideline
from cds_service.review_ports import ReviewReads
from cds_service.use_cases.figures import ALL_PROGRAMS, Figures, as_csv, as_json, figures_of_year, hours, percent
from cds_service.use_cases.review_words import PROGRAM_WORDS
from cds_service.web.review.guard import Guard
from cds_service.web.review.pages import Renderer
from cds_service.web.review.sessions import Clock

_FIRST, _LAST = 2020, 2100
_HEADS: Final = (
    "Decided", "Approved", "Changed", "Not certified", "After appeal", "Extended", "Approved after extension",
    "By the engine", "Withdrawn", "Mean time", "Median time",
)  # fmt: skip


def add_figures(
    routes: Blueprint,
    guard: Guard,
    renderer: Renderer,
    reads: ReviewReads,
    guidelines: Sequence[Guideline],
    clock: Clock,
) -> None:
    """Add the routes to the blueprint of the workplace."""

    def year() -> int:
        """The year of the address, or this one."""
        given = request.args.get("year", "")
        usable = given.isascii() and given.isdigit() and len(given) == 4 and _FIRST <= int(given) <= _LAST
        return int(given) if usable else clock.now().year

    @guard.page(routes, "/figures", Right.READ_FIGURES)
    def figures() -> Response:
        rows = figures_of_year(reads, year())
        over_all = [row for row in rows if row.group.program == ALL_PROGRAMS]
        return renderer.page(
            "figures",
            here="figures",
            year=year(),
            rows=rows,
            drawn=_drawn(over_all),
            heads=_HEADS,
            tables=[
                (title, [_row(row) for row in rows if row.group.drug is drug])
                for title, drug in (("Items and services other than drugs", False), ("Drugs", True))
                if any(row.group.drug is drug for row in rows)
            ],
            guidelines=guidelines,
        )

    @guard.page(routes, "/figures.csv", Right.READ_FIGURES)
    def figures_csv() -> Response:
        text = as_csv(year(), figures_of_year(reads, year()))
        return _file(text.encode(), "text/csv; charset=utf-8", f"figures-{year()}.csv")

    @guard.page(routes, "/figures.json", Right.READ_FIGURES)
    def figures_json() -> Response:
        return _file(as_json(year(), figures_of_year(reads, year())), "application/json", f"figures-{year()}.json")


def _file(content: bytes, kind: str, name: str) -> Response:
    return Response(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _drawn(rows: Sequence[Figures]) -> Any:
    return stacked_counts(
        [CountRow(_label(row), (row.approved, row.modified, row.not_certified)) for row in rows],
        ("approved", "changed", "not certified"),
        "Decided requests",
    )


def _label(row: Figures) -> str:
    return f"{'Drugs' if row.group.drug else 'Other than drugs'}, {'expedited' if row.group.expedited else 'standard'}"


def _row(row: Figures) -> dict[str, object]:
    def counted(count: int) -> str:
        share = percent(row.share(count))
        return f"{count} ({share} %)" if share else str(count)

    program = row.group.program
    return {
        "program": "All programs" if program == ALL_PROGRAMS else PROGRAM_WORDS.get(program, program),
        "urgency": "expedited" if row.group.expedited else "standard",
        "cells": (
            str(row.decided),
            counted(row.approved),
            counted(row.modified),
            counted(row.not_certified),
            counted(row.approved_after_appeal),
            str(row.extended),
            counted(row.approved_after_extension),
            counted(row.without_a_person),
            str(row.withdrawn),
            _time(hours(row.mean_seconds)),
            _time(hours(row.median_seconds)),
        ),
    }


def _time(hours_text: str) -> str:
    return f"{hours_text} h" if hours_text else "none"

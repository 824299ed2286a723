"""The queue: a list that works with the keyboard, without JavaScript, and on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from cds_service.domain.review import Right
from cds_service.policy.model import Guideline
from cds_service.use_cases.review_queue import MINE, NOBODY, QueueFilter, ReviewQueue
from cds_service.use_cases.review_words import STATE_WORDS
from cds_service.web.review.guard import Guard, session_of_request
from cds_service.web.review.pages import Renderer

_STATES = tuple(state.value for state in STATE_WORDS)
_LONGEST = 64


def add_queue(
    routes: Blueprint, guard: Guard, renderer: Renderer, queue: ReviewQueue, guidelines: Sequence[Guideline]
) -> None:
    """Add the routes to the blueprint of the workplace."""
    names = {ident: each.criterion_name(ident) for each in guidelines for ident in each.criteria}
    drugs = sorted({drug for guideline in guidelines for drug in guideline.scope.drugs})

    @guard.page(routes, "", Right.READ_FIGURES)
    def start() -> Response:
        """The first page of every role: the queue, or the figures for those who see no patient."""
        session = session_of_request()
        if not guard.may(session.person, Right.READ_CASES):
            return redirect("/review/figures", 303)
        wanted = _filter()
        page = queue.page(wanted, session.person)
        return renderer.page(
            "queue",
            here="queue",
            wanted=wanted,
            page=page,
            drugs=drugs,
            criterion_names=names,
            programs=sorted({*page.programs, wanted.program} - {""}),
            page_link=lambda number: _link(wanted, number),
        )

    @guard.page(routes, "/cases/<case_id>/take", Right.WORK, "POST")
    def take(case_id: str) -> Response:
        queue.take(case_id, session_of_request().person)
        return _back(case_id)

    @guard.page(routes, "/cases/<case_id>/release", Right.WORK, "POST")
    def release(case_id: str) -> Response:
        queue.release(case_id, session_of_request().person)
        return _back(case_id)


def _back(case_id: str) -> Response:
    return redirect("/review" if request.form.get("back") == "queue" else f"/review/cases/{case_id}", 303)


def _filter() -> QueueFilter:
    """The filters of the address; what is not a choice is left open."""
    given = {name: request.args.get(name, "").strip()[:_LONGEST] for name in QueueFilter.__struct_fields__}
    page = given["page"]
    return QueueFilter(
        state=given["state"] if given["state"] in _STATES else _STATES[0],
        program=given["program"],
        urgency=given["urgency"] if given["urgency"] in {"expedited", "standard"} else "",
        drug=given["drug"],
        reason=given["reason"],
        assigned=given["assigned"] if given["assigned"] in {MINE, NOBODY} else "",
        number=given["number"],
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1,
    )


def _link(wanted: QueueFilter, page: int) -> str:
    """The same list at another page."""
    values = {name: getattr(wanted, name) for name in QueueFilter.__struct_fields__ if name != "page"}
    return f"/review?{urlencode({name: value for name, value in values.items() if value} | {'page': page})}"

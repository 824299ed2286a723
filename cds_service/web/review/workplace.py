"""The reviewers' workplace as one blueprint: own pages, own sessions, own headers, own error pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec
from flask import Blueprint, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from cds_service.delivery_ports import OutboxDesk, WaitingRows
from cds_service.domain.payer import Payer
from cds_service.domain.prior_auth import AuditEntry
from cds_service.domain.review import Person
from cds_service.errors import CdsServiceError
from cds_service.policy.model import Guideline
from cds_service.review_ports import ReviewReads
from cds_service.use_cases.review_case import ReviewCase
from cds_service.use_cases.review_queue import ReviewQueue
from cds_service.web.call_note import NOTE
from cds_service.web.review.audit_pages import Report, add_audit
from cds_service.web.review.case_pages import Desk, Extender, Settler, add_cases
from cds_service.web.review.delivery_pages import add_deliveries
from cds_service.web.review.document_pages import add_documents
from cds_service.web.review.figure_pages import add_figures
from cds_service.web.review.guard import HEADERS, Guard
from cds_service.web.review.pages import Renderer, sanitised
from cds_service.web.review.queue_pages import add_queue
from cds_service.web.review.sessions import Clock, SessionKeeper
from cds_service.web.review.sign_in_pages import Door, IdentityProvider, add_sign_in

log = logging.getLogger(__name__)


class Workplace(msgspec.Struct, frozen=True, kw_only=True):
    """All that the pages need, made by the composition root or by a test."""

    payer: Payer
    public_url: str
    keeper: SessionKeeper
    queue: ReviewQueue
    cases: ReviewCase
    reads: ReviewReads
    settler: Settler
    extender: Extender
    note: Callable[[AuditEntry], None]
    verify: Callable[[], Report]
    clock: Clock
    guidelines: Sequence[Guideline]
    provider: IdentityProvider | None = None
    demo_people: Sequence[Person] = ()
    outbox: OutboxDesk | None = None
    waiting: WaitingRows | None = None


def blueprint(workplace: Workplace) -> Blueprint:
    """Everything below ``/review``."""
    routes = Blueprint("review", __name__, url_prefix="/review", template_folder="../templates")
    rules = workplace.payer.review
    guard = Guard(workplace.keeper, rules, workplace.public_url)
    renderer = Renderer(workplace.payer.label, rules)
    add_sign_in(
        routes,
        Door(
            keeper=workplace.keeper,
            guard=guard,
            clock=workplace.clock,
            note=workplace.note,
            remember=workplace.reads.remember,
            render=renderer.page,
            provider=workplace.provider,
            demo_people=workplace.demo_people,
        ),
    )
    add_queue(routes, guard, renderer, workplace.queue, workplace.guidelines)
    add_cases(routes, _desk(workplace, guard, renderer))
    add_documents(routes, guard, workplace.cases)
    add_figures(routes, guard, renderer, workplace.reads, workplace.guidelines, workplace.clock)
    if workplace.outbox is not None and workplace.waiting is not None:
        add_deliveries(routes, guard, renderer, workplace.outbox, workplace.waiting, workplace.clock)
    add_audit(routes, guard, renderer, workplace.reads, workplace.verify, workplace.note, workplace.clock)
    routes.add_app_template_filter(sanitised, "sanitised")
    routes.after_request(_with_headers)
    routes.register_error_handler(CdsServiceError, renderer.refused)
    routes.register_error_handler(HTTPException, renderer.http)
    routes.register_error_handler(Exception, lambda error: renderer.failed(lambda number: _failed(error, number)))
    return routes


def _desk(workplace: Workplace, guard: Guard, renderer: Renderer) -> Desk:
    link = workplace.payer.policy_link

    def policy_link(ident: str) -> str:
        return link or f"{workplace.public_url}/policies/{ident}"

    return Desk(
        guard=guard,
        renderer=renderer,
        cases=workplace.cases,
        reads=workplace.reads,
        settler=workplace.settler,
        extender=workplace.extender,
        rules=workplace.payer.review,
        clock=workplace.clock,
        note=workplace.note,
        policy_link=policy_link,
    )


def _with_headers(answer: Response) -> Response:
    for name, value in HEADERS:
        answer.headers.setdefault(name, value)  # a document of a request has a stricter policy of its own
    return answer


def _failed(error: Exception, number: str) -> None:
    note = request.environ[NOTE]
    note.outcome, note.reason = "technical", "internal_error"
    log.error("internal_error", exc_info=error, extra={"request_id": number, "reason": "internal_error"})

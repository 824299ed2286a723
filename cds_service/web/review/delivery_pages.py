"""What is stuck on its way to the payer's systems and to subscribers: seen, replayed, discarded (D08)."""

from __future__ import annotations

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from cds_service.delivery_ports import OutboxDesk, WaitingRows
from cds_service.domain.prior_auth import AuditEntry
from cds_service.domain.review import Right
from cds_service.errors import Conflict, RuleBroken
from cds_service.web.review.guard import Guard, session_of_request
from cds_service.web.review.pages import Renderer
from cds_service.web.review.sessions import Clock

PAGE_LENGTH = 200
_LONGEST_REASON = 200
_PATH = "/review/deliveries"


def add_deliveries(
    routes: Blueprint, guard: Guard, renderer: Renderer, desk: OutboxDesk, waiting: WaitingRows, clock: Clock
) -> None:
    """Add the routes to the blueprint of the workplace."""

    def entry(action: str, subject: str, **detail: str) -> AuditEntry:
        person = session_of_request().person
        return AuditEntry(clock.now(), person.id, person.role.value, f"outbox_{action}", subject, detail)

    @guard.page(routes, "/deliveries", Right.MANAGE_DELIVERY)
    def deliveries() -> Response:
        rows = desk.rows(("dead",), "", "", PAGE_LENGTH, entry("list", "outbox", states="dead"))
        return renderer.page("deliveries", here="deliveries", rows=rows, waiting=waiting.waiting(), now=clock.now())

    @guard.page(routes, "/deliveries/<int:ident>/replay", Right.MANAGE_DELIVERY, "POST")
    def delivery_replay(ident: int) -> Response:
        if not desk.replay([ident], clock.now(), entry("replay", f"outbox/{ident}")):
            raise Conflict("somebody else was quicker: this one is no longer stuck")
        return redirect(_PATH, 303)

    @guard.page(routes, "/deliveries/<int:ident>/discard", Right.MANAGE_DELIVERY, "POST")
    def delivery_discard(ident: int) -> Response:
        reason = " ".join(request.form.get("reason", "").split())
        if not reason or len(reason) > _LONGEST_REASON:
            raise RuleBroken(f"say why, in at most {_LONGEST_REASON} characters", expression="reason")
        if not desk.discard(ident, reason, clock.now(), entry("discard", f"outbox/{ident}", reason=reason)):
            raise Conflict("somebody else was quicker: this one is no longer stuck")
        return redirect(_PATH, 303)

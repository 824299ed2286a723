"""The audit log for auditors: what was done, and whether the log is whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlencode

from flask import Blueprint, request
from werkzeug.wrappers import Response

from cds_service.domain.prior_auth import AuditEntry
from cds_service.domain.review import Right
from cds_service.review_ports import ReviewReads, StoredAudit
from cds_service.web.review.guard import Guard, session_of_request
from cds_service.web.review.pages import Renderer
from cds_service.web.review.sessions import Clock

PAGE_LENGTH = 100
_LONGEST = 200


class Report(Protocol):
    """What verifying found (``adapters.sql.audit.AuditReport``)."""

    @property
    def ok(self) -> bool:
        """Every line is as it was written."""
        ...


def add_audit(
    routes: Blueprint,
    guard: Guard,
    renderer: Renderer,
    reads: ReviewReads,
    verify: Callable[[], Report],
    note: Callable[[AuditEntry], None],
    clock: Clock,
) -> None:
    """Add the routes to the blueprint of the workplace."""

    def page(report: Report | None = None) -> Response:
        actor, act, subject = (request.args.get(name, "").strip()[:_LONGEST] for name in ("actor", "act", "subject"))
        rows = reads.audit_of(subject)[::-1] if subject else reads.audit(_before(), PAGE_LENGTH, actor, act)
        return renderer.page(
            "audit",
            here="audit",
            rows=rows,
            report=report,
            names=reads.names(),
            actor=actor,
            act=act,
            subject=subject,
            older="" if subject else _older(rows, actor, act),
        )

    @guard.page(routes, "/audit", Right.READ_AUDIT)
    def audit() -> Response:
        return page()

    @guard.page(routes, "/audit/verify", Right.READ_AUDIT, "POST")
    def audit_verify() -> Response:
        report = verify()
        person = session_of_request().person
        detail: dict[str, str | int | bool | None] = {"intact": report.ok}
        note(AuditEntry(clock.now(), person.id, person.role.value, "verify_audit", "audit", detail))
        return page(report)


def _before() -> datetime | None:
    """The instant of the address, in microseconds since 1970, before which lines are shown."""
    given = request.args.get("before", "")
    if not (given.isascii() and given.isdigit() and len(given) < 18):
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(given))


def _older(held: Sequence[StoredAudit], actor: str, act: str) -> str:
    if len(held) < PAGE_LENGTH:
        return ""
    last = (held[-1].at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return f"/review/audit?{urlencode({'actor': actor, 'act': act, 'before': last})}"

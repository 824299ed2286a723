"""``review_ports.ReviewReads`` on SQLite or PostgreSQL: reads over many cases, and proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql.case_rows import case_of
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import instant, microseconds
from cds_service.adapters.sql.prior_auth_tables import AUDIT_EVENT, CASE_EVENT, PA_CASE, PA_NUMBER
from cds_service.adapters.sql.review_tables import REVIEW_PERSON, REVIEW_PROPOSAL
from cds_service.domain.prior_auth import Case
from cds_service.domain.review import Person
from cds_service.review_ports import Proposal, QueueQuery, StoredAudit, StoredEvent

_REMEMBER = sa.text("""
INSERT INTO review_person (id, name, role, seen) VALUES (:id, :name, :role, :seen)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, seen = excluded.seen
""")
_DETAIL = msgspec.json.Decoder(dict[str, str | int | bool | None])


class SqlReviews:
    """See ``review_ports.ReviewReads``."""

    def __init__(self, database: Database) -> None:
        """``database`` is shared with the other stores of the process."""
        self._database = database

    def queue(self, query: QueueQuery) -> Sequence[Case]:
        """See ``review_ports.ReviewReads``."""
        # NULLs sort first in SQLite and last in PostgreSQL: both are told.
        order = (sa.case((PA_CASE.c.due.is_(None), 1), else_=0), PA_CASE.c.due, PA_CASE.c.received, PA_CASE.c.id)
        if query.state != "pended":
            order = (PA_CASE.c.received.desc(), PA_CASE.c.id)  # type: ignore[assignment]  # fewer
        chosen = sa.select(PA_CASE).where(*_wanted(query)).order_by(*order).limit(query.most)
        rows = self._database.read(lambda session: session.execute(chosen).mappings().all())
        return [case_of(row) for row in rows]

    def counts(self) -> Mapping[str, int]:
        """See ``review_ports.ReviewReads``."""
        query = sa.select(PA_CASE.c.state, sa.func.count()).group_by(PA_CASE.c.state)
        rows = self._database.read(lambda session: session.execute(query).all())
        return {state: count for state, count in rows}  # noqa: C416 - rows are no tuples to the type checker

    def events(self, since: datetime, before: datetime) -> Sequence[StoredEvent]:
        """See ``review_ports.ReviewReads``."""
        touched = sa.select(CASE_EVENT.c.case_id).where(
            CASE_EVENT.c.at >= microseconds(since), CASE_EVENT.c.at < microseconds(before)
        )
        query = (
            sa.select(CASE_EVENT)
            .where(CASE_EVENT.c.case_id.in_(touched))
            .order_by(CASE_EVENT.c.case_id, CASE_EVENT.c.seq)
        )
        return self._events(query)

    def events_of(self, case_id: str) -> Sequence[StoredEvent]:
        """See ``review_ports.ReviewReads``."""
        return self._events(sa.select(CASE_EVENT).where(CASE_EVENT.c.case_id == case_id).order_by(CASE_EVENT.c.seq))

    def audit_of(self, subject: str) -> Sequence[StoredAudit]:
        """See ``review_ports.ReviewReads``."""
        query = sa.select(AUDIT_EVENT).where(AUDIT_EVENT.c.subject == subject)
        return self._audit(query.order_by(AUDIT_EVENT.c.at, AUDIT_EVENT.c.chain, AUDIT_EVENT.c.seq))

    def audit(self, before: datetime | None, most: int, actor: str = "", action: str = "") -> Sequence[StoredAudit]:
        """See ``review_ports.ReviewReads``."""
        query = sa.select(AUDIT_EVENT)
        if before is not None:
            query = query.where(AUDIT_EVENT.c.at < microseconds(before))
        if actor:
            query = query.where(AUDIT_EVENT.c.actor == actor)
        if action:
            query = query.where(AUDIT_EVENT.c.action == action)
        latest = (AUDIT_EVENT.c.at.desc(), AUDIT_EVENT.c.chain, AUDIT_EVENT.c.seq.desc())
        return self._audit(query.order_by(*latest).limit(most))

    def remember(self, person: Person, at: datetime) -> None:
        """See ``review_ports.ReviewReads``."""
        row = {"id": person.id, "name": person.name, "role": person.role.value, "seen": microseconds(at)}
        self._database.session(lambda session: session.execute(_REMEMBER, row))

    def names(self) -> Mapping[str, str]:
        """See ``review_ports.ReviewReads``."""
        query = sa.select(REVIEW_PERSON.c.id, REVIEW_PERSON.c.name)
        return dict(self._database.read(lambda session: [(row.id, row.name) for row in session.execute(query)]))

    def proposal(self, case_id: str) -> Proposal | None:
        """See ``review_ports.ReviewReads``."""
        query = sa.select(REVIEW_PROPOSAL).where(REVIEW_PROPOSAL.c.case_id == case_id)
        row = self._database.read(lambda session: session.execute(query).mappings().first())
        if row is None:
            return None
        return Proposal(
            case_id=row["case_id"],
            version_seen=row["version_seen"],
            form=msgspec.json.decode(row["form"], type=dict[str, str]),
            author=msgspec.json.decode(row["author"], type=Person),
            at=instant(row["at"]),
        )

    def propose(self, proposal: Proposal) -> None:
        """See ``review_ports.ReviewReads``."""
        row = {
            "case_id": proposal.case_id,
            "version_seen": proposal.version_seen,
            "form": msgspec.json.encode(proposal.form).decode(),
            "author": msgspec.json.encode(proposal.author).decode(),
            "at": microseconds(proposal.at),
        }

        def write(session: sa.Connection) -> None:
            session.execute(sa.delete(REVIEW_PROPOSAL).where(REVIEW_PROPOSAL.c.case_id == proposal.case_id))
            session.execute(sa.insert(REVIEW_PROPOSAL).values(row))

        self._database.session(write, durable=True)

    def withdraw(self, case_id: str) -> None:
        """See ``review_ports.ReviewReads``."""
        removal = sa.delete(REVIEW_PROPOSAL).where(REVIEW_PROPOSAL.c.case_id == case_id)
        self._database.session(lambda session: session.execute(removal), durable=True)

    def _events(self, query: sa.Select[Any]) -> Sequence[StoredEvent]:
        rows = self._database.read(lambda session: session.execute(query).mappings().all())
        return [
            StoredEvent(
                row["seq"],
                row["case_id"],
                row["n"],
                instant(row["at"]),
                row["kind"],
                row["actor"],
                _DETAIL.decode(row["detail"]),
            )
            for row in rows
        ]

    def _audit(self, query: sa.Select[Any]) -> Sequence[StoredAudit]:
        rows = self._database.read(lambda session: session.execute(query).mappings().all())
        return [
            StoredAudit(
                row["chain"],
                row["seq"],
                instant(row["at"]),
                row["actor"],
                row["role"],
                row["action"],
                row["subject"],
                _DETAIL.decode(row["detail"]),
                row["hash"],
            )
            for row in rows
        ]


def _wanted(query: QueueQuery) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if query.state:
        wanted.append(PA_CASE.c.state == query.state)
    if query.program:
        wanted.append(PA_CASE.c.program == query.program)
    if query.expedited is not None:
        wanted.append(PA_CASE.c.expedited == int(query.expedited))
    if query.assigned:
        wanted.append(PA_CASE.c.assigned_to == ("" if query.assigned == "-" else query.assigned))
    if query.number:
        bearing = sa.select(PA_NUMBER.c.case_id).where(PA_NUMBER.c.number == query.number)
        wanted.append(sa.or_(PA_CASE.c.tracking_number == query.number, PA_CASE.c.id.in_(bearing)))
    return wanted

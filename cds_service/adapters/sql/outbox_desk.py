"""The outbox as an operator sees it: list, show, replay, discard; the audit log gets a line of each (D08)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cds_service.adapters.sql import audit as audit_log
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import instant, microseconds
from cds_service.adapters.sql.prior_auth_tables import DELIVERY_ATTEMPT, OUTBOX, PA_SIGNATURE, PA_VERSION
from cds_service.delivery_ports import Attempt, OutboxRow
from cds_service.domain.prior_auth import AuditEntry

_SHOWN = [column for column in OUTBOX.c if column.name != "payload"]
_AGAIN = ("dead", "discarded", "skipped")


class SqlOutboxDesk:
    """``delivery_ports.OutboxDesk``."""

    def __init__(self, database: Database) -> None:
        """``database`` may be shared with other stores of this process."""
        self._database = database

    def rows(
        self, states: Sequence[str], destination: str, case_id: str, most: int, audit: AuditEntry
    ) -> Sequence[OutboxRow]:
        """See ``delivery_ports.OutboxDesk``."""
        query = sa.select(*_SHOWN).order_by(OUTBOX.c.id).limit(most)
        if states:
            query = query.where(OUTBOX.c.state.in_(states))
        if destination:
            query = query.where(OUTBOX.c.destination == destination)
        if case_id:
            query = query.where(OUTBOX.c.case_id == case_id)

        def work(session: sa.Connection) -> Sequence[OutboxRow]:
            audit_log.append(session, [audit])
            return tuple(_row(found) for found in session.execute(query).mappings())

        return self._database.session(work, durable=True)

    def row(self, ident: int, audit: AuditEntry) -> tuple[OutboxRow, bytes, Sequence[Attempt]] | None:
        """See ``delivery_ports.OutboxDesk``."""
        query = (
            sa.select(OUTBOX, PA_VERSION.c.response)
            .outerjoin(PA_VERSION, sa.and_(PA_VERSION.c.case_id == OUTBOX.c.case_id, PA_VERSION.c.n == OUTBOX.c.n))
            .where(OUTBOX.c.id == ident)
        )
        tries = sa.select(DELIVERY_ATTEMPT).where(DELIVERY_ATTEMPT.c.outbox_id == ident).order_by(DELIVERY_ATTEMPT.c.n)

        def work(session: sa.Connection) -> tuple[OutboxRow, bytes, Sequence[Attempt]] | None:
            found = session.execute(query).mappings().first()
            if found is None:
                return None
            audit_log.append(session, [audit])
            payload = found["payload"] if found["payload"] is not None else found["response"]
            attempts = tuple(_attempt(each) for each in session.execute(tries).mappings())
            return _row(found), bytes(payload or b""), attempts

        return self._database.session(work, durable=True)

    def replay(self, idents: Sequence[int], now: datetime, audit: AuditEntry) -> int:
        """See ``delivery_ports.OutboxDesk``. The age of the row starts anew, or it would be given up at once."""
        moment = microseconds(now)
        statement = (
            sa.update(OUTBOX)
            .where(OUTBOX.c.id.in_(idents), OUTBOX.c.state.in_(_AGAIN))
            .values(state="ready", due_at=moment, created=moment, finished=None, last_error=None, last_status=None)
        )

        def work(session: sa.Connection) -> int:
            count = session.execute(statement).rowcount
            audit_log.append(session, [audit] if count else [])
            return count

        return self._database.session(work, durable=True)

    def discard(self, ident: int, reason: str, now: datetime, audit: AuditEntry) -> bool:
        """See ``delivery_ports.OutboxDesk``."""
        statement = (
            sa.update(OUTBOX)
            .where(OUTBOX.c.id == ident, OUTBOX.c.state.in_(("ready", "dead", "skipped")))
            .values(state="discarded", last_error=f"discarded: {reason}", finished=microseconds(now))
        )

        def work(session: sa.Connection) -> bool:
            changed = session.execute(statement).rowcount == 1
            if changed:
                audit_log.append(session, [audit])
            return changed

        return self._database.session(work, durable=True)


def kept_signature(database: Database, row: OutboxRow, sign: Callable[[], str], now: datetime) -> tuple[str, datetime]:
    """The signature over the response of a version: the one that was made first, whoever asks (D10)."""
    same = sa.and_(PA_SIGNATURE.c.case_id == row.case_id, PA_SIGNATURE.c.n == row.n)

    def work(session: sa.Connection) -> tuple[str, datetime]:
        values = {"case_id": row.case_id, "n": row.n, "at": microseconds(now), "jws": sign()}
        session.execute(_SIGN, values)
        found = session.execute(sa.select(PA_SIGNATURE).where(same)).one()
        return found.jws, instant(found.at)

    return database.session(work, durable=True)


_SIGN = sa.text("""
INSERT INTO pa_signature (case_id, n, at, jws) VALUES (:case_id, :n, :at, :jws) ON CONFLICT (case_id, n) DO NOTHING
""")


def _row(row: Mapping[Any, Any]) -> OutboxRow:
    return OutboxRow(
        id=row["id"],
        kind=row["kind"],
        destination=row["destination"],
        case_id=row["case_id"],
        seq=row["seq"],
        n=row["n"],
        idem_key=row["idem_key"],
        state=row["state"],
        attempts=row["attempts"],
        due=instant(row["due_at"]),
        created=instant(row["created"]),
        finished=None if row["finished"] is None else instant(row["finished"]),
        last_status=row["last_status"],
        last_error=row["last_error"] or "",
        remote_location=row["remote_location"] or "",
    )


def _attempt(row: Mapping[Any, Any]) -> Attempt:
    return Attempt(
        n=row["n"],
        at=instant(row["at"]),
        http_status=row["http_status"],
        latency_ms=row["latency_ms"],
        request_digest=row["request_digest"],
        response_excerpt=row["response_excerpt"],
    )

"""``prior_auth_ports.CaseStore`` on SQLite or PostgreSQL: one new version with all that belongs to it, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql import audit, authorizations
from cds_service.adapters.sql.case_rows import case_of, row_of, submission_of, version_of, version_row
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.outbox import enqueue
from cds_service.adapters.sql.prior_auth_tables import (
    CASE_EVENT,
    EXCHANGE,
    OUTBOX,
    PA_CASE,
    PA_NUMBER,
    PA_SUBMISSION,
    PA_VERSION,
)
from cds_service.adapters.sql.subscriptions import notify
from cds_service.adapters.sql.tables import DETERMINATION, INVOCATION
from cds_service.domain.prior_auth import AuditEntry, Case, CaseState, Submission, Version
from cds_service.prior_auth_ports import CaseChange, Committed, Exchange

_ENCODE: Final = msgspec.json.Encoder(order="sorted").encode
_CASE, _VERSION, _NUMBER, _SUBMISSION = PA_CASE.c, PA_VERSION.c, PA_NUMBER.c, PA_SUBMISSION.c
_UNDELIVERED: Final = ("ready", "leased")


class _Left(Exception):
    """Ends a transaction without writing."""

    def __init__(self, outcome: Committed) -> None:
        super().__init__(outcome.state)
        self.outcome = outcome


class SqlCaseStore:
    """Safe to share between threads and with a ``SqlStore`` on the same Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submission(self, sender: str, bundle_identifier: str) -> Submission | None:
        """See ``CaseStore``."""
        row = self._database.read(lambda connection: _submission(connection, sender, bundle_identifier))
        return None if row is None else submission_of(row)

    def commit(self, change: CaseChange) -> Committed:
        """See ``CaseStore``. The order of the statements keeps what others wait for to the end."""
        try:
            self._database.session(lambda connection: self._write(connection, change), durable=True)
        except _Left as left:
            return left.outcome
        return Committed("done")

    def _write(self, connection: sa.Connection, change: CaseChange) -> None:
        case, version = change.case, change.version
        if change.submission is not None:
            self._claim_identifier(connection, change.submission, microseconds(version.at))
        if change.others is not None:
            self._check_others(connection, change)
        self._put_case(connection, change)
        connection.execute(sa.insert(PA_VERSION), version_row(version))
        numbers = [
            {"number": each.number, "kind": each.kind, "case_id": case.id, "sequence": each.sequence, "n": version.n}
            for each in change.numbers
        ]
        if numbers:
            connection.execute(_KEEP_NUMBER, numbers)
        if change.drop_outbox:
            _drop(connection, case.id, change.drop_outbox, microseconds(version.at))
        enqueue(connection, case.id, change.outbox, version.at)
        if change.notice is not None:
            notify(connection, change.notice, version)
        if change.events:
            connection.execute(sa.insert(CASE_EVENT), [_event(change, each) for each in change.events])
        if change.authorizations:
            authorizations.put(connection, [(each, "") for each in change.authorizations], version.at)
        if change.context is not None:
            _keep_context(connection, change, change.context)
        if change.exchange is not None:
            connection.execute(sa.insert(EXCHANGE), _exchange_row(change.exchange))
        audit.append(connection, change.audit)

    def _claim_identifier(self, connection: sa.Connection, submission: Submission, at: int) -> None:
        """Only one transaction gets a Bundle's identifier; the others see what that one wrote."""
        row = {name: getattr(submission, name) for name in Submission.__struct_fields__} | {"at": at}
        if connection.execute(_TAKE_IDENTIFIER, row).rowcount:
            return
        first = _submission(connection, submission.sender, submission.bundle_identifier)
        if first is None:  # cannot be: nothing is ever deleted there
            raise _Left(Committed("stale"))
        raise _Left(Committed("repeated", submission_of(first)))

    def _check_others(self, connection: sa.Connection, change: CaseChange) -> None:
        """One new case of a member at a time, and only on the ground of the cases that were looked at."""
        if not self._database.sqlite:
            connection.execute(_LOCK_MEMBER, {"member": change.case.member_id})
        query = sa.select(sa.func.coalesce(sa.func.sum(_CASE.version), 0)).where(
            _CASE.member_id == change.case.member_id, _CASE.id != change.case.id
        )
        if connection.execute(query).scalar() != change.others:
            raise _Left(Committed("stale"))

    def _put_case(self, connection: sa.Connection, change: CaseChange) -> None:
        row = row_of(change.case)
        if change.expected == 0:
            connection.execute(sa.insert(PA_CASE), row)
            return
        ident = row.pop("id")
        update = sa.update(PA_CASE).where(_CASE.id == ident, _CASE.version == change.expected).values(row)
        if connection.execute(update).rowcount != 1:
            raise _Left(Committed("stale"))

    def case(self, case_id: str) -> Case | None:
        """See ``CaseStore``."""
        found = self._cases(sa.select(PA_CASE).where(_CASE.id == case_id))
        return found[0] if found else None

    def cases_of_number(self, number: str, kinds: Sequence[str] = ()) -> Sequence[Case]:
        """See ``CaseStore``."""
        ids = sa.select(_NUMBER.case_id).where(_NUMBER.number == number)
        if kinds:
            ids = ids.where(_NUMBER.kind.in_(kinds))
        return self._cases(sa.select(PA_CASE).where(_CASE.id.in_(ids)).order_by(_CASE.received.desc(), _CASE.id))

    def cases_of_member(self, member_id: str) -> Sequence[Case]:
        """See ``CaseStore``."""
        query = sa.select(PA_CASE).where(_CASE.member_id == member_id).order_by(_CASE.received.desc(), _CASE.id)
        return self._cases(query)

    def _cases(self, query: sa.Select[Any]) -> list[Case]:
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [case_of(row) for row in rows]

    def version(self, case_id: str, n: int) -> Version | None:
        """See ``CaseStore``."""
        found = self._versions(sa.select(PA_VERSION).where(_VERSION.case_id == case_id, _VERSION.n == n))
        return found[0] if found else None

    def versions(self, case_id: str) -> Sequence[Version]:
        """See ``CaseStore``."""
        return self._versions(sa.select(PA_VERSION).where(_VERSION.case_id == case_id).order_by(_VERSION.n))

    def _versions(self, query: sa.Select[Any]) -> list[Version]:
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [version_of(row) for row in rows]

    def assign(self, case_id: str, reviewer: str, entry: AuditEntry) -> bool:
        """See ``CaseStore``."""

        def work(connection: sa.Connection) -> bool:
            update = (
                sa.update(PA_CASE)
                .where(_CASE.id == case_id, _CASE.state == CaseState.PENDED.value)
                .values(assigned_to=reviewer)
            )
            if connection.execute(update).rowcount != 1:
                return False
            audit.append(connection, [entry])
            return True

        return self._database.session(work, durable=True)

    def note(self, entries: Sequence[AuditEntry]) -> None:
        """See ``CaseStore``."""
        self._database.session(lambda connection: audit.append(connection, entries))

    def note_exchange(self, exchange: Exchange) -> None:
        """See ``CaseStore``."""
        row = _exchange_row(exchange)
        self._database.session(lambda connection: connection.execute(sa.insert(EXCHANGE), row))


def _submission(connection: sa.Connection, sender: str, bundle_identifier: str) -> sa.RowMapping | None:
    query = sa.select(PA_SUBMISSION).where(
        _SUBMISSION.sender == sender, _SUBMISSION.bundle_identifier == bundle_identifier
    )
    return connection.execute(query).mappings().one_or_none()


def _exchange_row(exchange: Exchange) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(exchange, name) for name in Exchange.__struct_fields__}
    return row | {"at": microseconds(exchange.at)}


def _keep_context(connection: sa.Connection, change: CaseChange, context: tuple[str, bytes]) -> None:
    """What a form for this case is asked with, where order-sign keeps the same: beside a call that answered it."""
    ident, document = context
    call = {
        "id": ident,
        "client": change.case.sender,
        "service": "prior-auth",
        "hook": "prior-auth",
        "hook_instance": change.case.id,
        "jti": None,
        "jti_expires": None,
        "received": microseconds(change.version.at),
        "request_digest": change.version.request_sha256,
        "policy_digest": change.policy_digest,
        "patient_key": change.case.patient_key,
        "status": 200,
        "outcome": "quiet",
        "response": b"",
    }
    seq = connection.execute(sa.insert(INVOCATION).values(call).returning(INVOCATION.c.seq)).scalar()
    connection.execute(sa.insert(DETERMINATION), {"invocation": seq, "id": ident, "document": document})


def _event(change: CaseChange, event: Any) -> dict[str, Any]:
    return {
        "case_id": change.case.id,
        "n": change.version.n,
        "at": microseconds(event.at),
        "kind": event.kind,
        "actor": event.actor,
        "detail": _ENCODE(event.detail).decode(),
    }


def _drop(connection: sa.Connection, case_id: str, why: str, at: int) -> None:
    """Notices of earlier versions that have not gone out and are overtaken. What a worker holds goes on."""
    connection.execute(
        sa.update(OUTBOX)
        .where(OUTBOX.c.case_id == case_id, OUTBOX.c.state == "ready", OUTBOX.c.kind == "notification")
        .values(state="skipped", last_error=why, finished=at)
    )


_TAKE_IDENTIFIER: Final = sa.text("""
INSERT INTO pa_submission (sender, bundle_identifier, body_sha256, case_id, n, at)
VALUES (:sender, :bundle_identifier, :body_sha256, :case_id, :n, :at)
ON CONFLICT (sender, bundle_identifier) DO NOTHING
""")
_KEEP_NUMBER: Final = sa.text("""
INSERT INTO pa_number (number, kind, case_id, sequence, n) VALUES (:number, :kind, :case_id, :sequence, :n)
ON CONFLICT (number, kind, case_id) DO NOTHING
""")
_LOCK_MEMBER: Final = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:member, 7))")

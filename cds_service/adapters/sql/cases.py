"""``prior_auth_ports.CaseStore`` on SQLite or PostgreSQL: one new version with all that belongs to it, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cds_service.adapters.sql import audit
from cds_service.adapters.sql.batches import Statement, ask
from cds_service.adapters.sql.case_rows import case_of, submission_of, version_of
from cds_service.adapters.sql.case_statements import CaseStatements, exchange_row
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.prior_auth_tables import EXCHANGE, PA_CASE, PA_NUMBER, PA_SUBMISSION, PA_VERSION
from cds_service.adapters.sql.subscriptions import notify
from cds_service.domain.prior_auth import AuditEntry, Case, CaseState, Submission, Version
from cds_service.prior_auth_ports import CaseChange, Committed, Exchange

_CASE, _VERSION, _NUMBER, _SUBMISSION = PA_CASE.c, PA_VERSION.c, PA_NUMBER.c, PA_SUBMISSION.c


class _Left(Exception):
    """Ends a transaction without writing."""

    def __init__(self, outcome: Committed) -> None:
        super().__init__(outcome.state)
        self.outcome = outcome


class SqlCaseStore:
    """Safe to share between threads and with a ``SqlStore`` on the same Database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._texts = CaseStatements(for_sqlite=database.sqlite)

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
        """In three rounds: may it be written; everything but the audit log; the audit log, whose chain waits least."""
        self._check(connection, change)
        texts, chain = self._texts, audit.chain_of(change.audit)
        last = [texts.head(chain)] if change.notice is None else []
        new = [texts.case(change)] if change.expected == 0 else []
        done = self._ask(connection, [*new, *texts.rest(change), *last])
        if change.notice is not None:
            notify(connection, change.notice, change.version)
            done = self._ask(connection, [texts.head(chain)])
        seq, before = done[-1]
        self._ask(connection, texts.audit(audit.rows_after(audit.Head(chain, seq, before), change.audit)))

    def _check(self, connection: sa.Connection, change: CaseChange) -> None:
        """Only one transaction gets a Bundle's identifier; each stands on the cases that were looked at."""
        asked = []
        if change.submission is not None:
            asked.append(self._texts.claim(change.submission, microseconds(change.version.at)))
        if change.others is not None:
            asked += self._texts.others(change)
        if change.expected:
            asked.append(self._texts.case(change))
        done = self._ask(connection, asked) if asked else []
        if change.submission is not None and done[0] != 1:
            first = _submission(connection, change.submission.sender, change.submission.bundle_identifier)
            raise _Left(Committed("repeated", submission_of(first)) if first is not None else Committed("stale"))
        moved_on = change.expected and done[-1] != 1
        if moved_on or (change.others is not None and done[-1][0] != change.others):
            raise _Left(Committed("stale"))

    def _ask(self, connection: sa.Connection, statements: Sequence[Statement]) -> list[Any]:
        return ask(connection, statements, for_sqlite=self._database.sqlite)

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
        row = exchange_row(exchange)
        self._database.session(lambda connection: connection.execute(sa.insert(EXCHANGE), row))


def _submission(connection: sa.Connection, sender: str, bundle_identifier: str) -> sa.RowMapping | None:
    query = sa.select(PA_SUBMISSION).where(
        _SUBMISSION.sender == sender, _SUBMISSION.bundle_identifier == bundle_identifier
    )
    return connection.execute(query).mappings().one_or_none()

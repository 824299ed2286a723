"""``ports.Store`` on SQLite or PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from cds_service.adapters.sql import authorizations, feedback, forms, retention
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.failures import Failure, unavailable
from cds_service.adapters.sql.hook_calls import HookCalls
from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.tables import ACCESS_EVENT, CARD, DETERMINATION, HEAD, INVOCATION, RENEWALS
from cds_service.ports import (
    Authorization,
    FeedbackCount,
    FeedbackEntry,
    FormCall,
    FormError,
    Invocation,
    PrefetchSeen,
    Recalled,
)

_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))

_LATEST = 1000  # calls that tell how a client prefetches


class SqlStore:
    """Safe to share between threads; a process that forks gives its children stores with connections of their own."""

    def __init__(self, url: str, *, pool_size: int = 8, busy_seconds: float = 2.0) -> None:
        """Nothing is opened yet: a database that is down at boot is noticed by ``ping``, and forgiven when it is up.

        Args:
            url: ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/NAME``; prepared by ``migrate``.
            pool_size: connections kept per process; as many again are opened under load.
            busy_seconds: longest wait for a lock or a free connection.

        Raises:
            ConfigurationError: the URL names no supported database.
        """
        self._database = Database(url, pool_size=pool_size, busy_seconds=busy_seconds)
        self._hook_calls = HookCalls(self._database)

    @property
    def database(self) -> Database:
        """The connections, for stores of other things in the same database."""
        return self._database

    def recall(self, client: str, jti: str | None, hook_instance: str, request_digest: str) -> Sequence[Recalled]:
        """See ``ports.Store``; one round trip, the newest first."""
        return self._hook_calls.recall(client, jti, hook_instance, request_digest)

    def record(self, invocation: Invocation) -> Recalled | None:
        """See ``ports.Store``; one statement. Survives kill -9 of this process, on SQLite not a power loss."""
        return self._hook_calls.record(invocation)

    def authorizations(self, member_id: str) -> Sequence[Authorization]:
        """See ``ports.Store``; one indexed query."""
        return authorizations.of_member(self._database, member_id)

    def put_authorizations(self, entries: Sequence[tuple[Authorization, str]], at: datetime) -> Sequence[str]:
        """See ``ports.Store``; survives a power loss once it returns."""
        return self._database.session(lambda session: authorizations.put(session, entries, at), durable=True)

    def acknowledged(self, keys: Sequence[str], since: datetime, but_for: Sequence[str] = ()) -> frozenset[str]:
        """See ``ports.Store``."""
        if not keys:
            return frozenset()
        return self._database.read(lambda session: feedback.acknowledged(session, keys, since, but_for))

    def announced(self, keys: Sequence[str], but_for: Sequence[str] = ()) -> frozenset[str]:
        """See ``ports.Store``; an index of these cards alone serves it."""
        query = sa.select(CARD.c.ack_key).where(RENEWALS, CARD.c.ack_key.in_(keys), CARD.c.uuid.not_in(but_for))
        return frozenset(self._database.read(lambda session: session.execute(query).scalars().all()))

    def save_feedback(self, client: str, service: str, entries: Sequence[FeedbackEntry], received: datetime) -> int:
        """See ``ports.Store``; the same entry sent again adds nothing."""
        return self._database.session(lambda session: feedback.save(session, client, service, entries, received))

    def feedback_report(self, since: datetime) -> Sequence[FeedbackCount]:
        """See ``ports.Store``."""
        return self._database.read(lambda session: feedback.report(session, since))

    def prefetch_seen(self, client: str, since: datetime) -> PrefetchSeen:
        """See ``ports.Store``."""
        query = (
            sa.select(INVOCATION.c.prefetched)
            .where(
                INVOCATION.c.client == client,
                INVOCATION.c.received >= microseconds(since),
                INVOCATION.c.prefetched.is_not(None),
            )
            .order_by(INVOCATION.c.received.desc())
            .limit(_LATEST)
        )
        sent = self._database.read(lambda session: session.execute(query).scalars().all())
        return PrefetchSeen(len(sent), Counter(key for keys in sent for key in keys.split()))

    def determination(self, ident: str) -> bytes | None:
        """See ``ports.Store``."""
        query = (
            sa.select(DETERMINATION.c.document)
            .where(DETERMINATION.c.id == ident)
            .order_by(DETERMINATION.c.invocation.desc())
            .limit(1)
        )
        return self._database.read(lambda session: session.execute(query).scalar())

    def note_access(self, reader: str, action: str, record: str, at: datetime) -> None:
        """See ``ports.Store``."""
        row = {"at": microseconds(at), "reader": reader, "action": action, "record": record}
        self._database.session(lambda session: session.execute(sa.insert(ACCESS_EVENT).values(row)))

    def erase(self, what: str, before: datetime, most: int) -> int:
        """See ``ports.Store``."""
        return self._database.session(lambda session: retention.erase(session, what, before, most))

    def use_assertion(self, client: str, jti: str, expires: int, now: int) -> bool:
        """See ``ports.FormStore``."""
        return self._database.session(lambda session: forms.use_assertion(session, client, jti, expires, now))

    def note_form_call(self, call: FormCall) -> None:
        """See ``ports.FormStore``."""
        forms.note_call(self._database, call)

    def note_form_errors(self, client: str, errors: Sequence[FormError], at: datetime) -> None:
        """See ``ports.FormStore``."""
        self._database.session(lambda session: forms.note_errors(session, client, errors, at))

    def keep_form_result(self, context: str, client: str, document: bytes, at: datetime) -> None:
        """See ``ports.FormStore``."""
        self._database.session(lambda session: forms.keep_result(session, context, client, document, at))

    def form_result(self, context: str) -> bytes | None:
        """See ``ports.FormStore``."""
        return self._database.read(lambda session: forms.result(session, context))

    def ping(self) -> None:
        """See ``ports.Store``; also refuses a database that ``migrate`` has not brought to this version or later."""
        revision = self._database.read(lambda session: session.execute(sa.select(_VERSION)).scalar())
        if revision is None or revision < HEAD:
            raise unavailable(Failure.SCHEMA)

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones."""
        self._database.close()

"""``prior_auth_ports.Subscriptions``: subscribers, and the numbers of their events (P061-P066)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql import audit
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import instant, microseconds
from cds_service.adapters.sql.outbox import enqueue
from cds_service.adapters.sql.prior_auth_tables import OUTBOX, SUBSCRIPTION, SUBSCRIPTION_EVENT
from cds_service.domain.prior_auth import AuditEntry, Version
from cds_service.fhir.pas.notification import Event, event_notification
from cds_service.prior_auth_ports import Notice, OutboxEntry, SubscriptionRecord

_SUB, _EVENT = SUBSCRIPTION.c, SUBSCRIPTION_EVENT.c
_ENCODE: Final = msgspec.json.encode
_WORDS: Final = msgspec.json.Decoder(tuple[str, ...]).decode


class SqlSubscriptions:
    """Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, record: SubscriptionRecord, handshake: bytes, entry: AuditEntry, at: datetime) -> None:
        """See ``Subscriptions``; the numbers of its events go on where it is replaced."""
        row = _row_of(record)

        def work(connection: sa.Connection) -> None:
            changed = {name: value for name, value in row.items() if name not in {"id", "events", "created"}}
            if connection.execute(sa.update(SUBSCRIPTION).where(_SUB.id == record.id).values(changed)).rowcount == 0:
                connection.execute(sa.insert(SUBSCRIPTION), row)
            said = sa.select(sa.func.count()).where(OUTBOX.c.destination == record.id, OUTBOX.c.seq == 0)
            key = f"{record.id}:handshake:{connection.execute(said).scalar()}"
            enqueue(connection, "", [OutboxEntry("notification", record.id, 0, 0, key, handshake)], at)
            audit.append(connection, [entry])

        self._database.session(work, durable=True)

    def get(self, ident: str) -> SubscriptionRecord | None:
        """See ``Subscriptions``."""
        found = self._records(sa.select(SUBSCRIPTION).where(_SUB.id == ident))
        return found[0] if found else None

    def of_sender(self, sender: str) -> Sequence[SubscriptionRecord]:
        """See ``Subscriptions``."""
        return self._records(sa.select(SUBSCRIPTION).where(_SUB.sender == sender).order_by(_SUB.created, _SUB.id))

    def _records(self, query: sa.Select[Any]) -> list[SubscriptionRecord]:
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [record_of(row) for row in rows]

    def delete(self, ident: str, entry: AuditEntry) -> None:
        """See ``Subscriptions``."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.update(SUBSCRIPTION).where(_SUB.id == ident).values(status="off"))
            connection.execute(
                sa.update(OUTBOX)
                .where(OUTBOX.c.destination == ident, OUTBOX.c.kind == "notification", OUTBOX.c.state == "ready")
                .values(state="discarded", last_error="subscription deleted", finished=microseconds(entry.at))
            )
            audit.append(connection, [entry])

        self._database.session(work, durable=True)

    def events_since(self, ident: str, first: int, last: int) -> Sequence[tuple[int, datetime, str, int]]:
        """See ``Subscriptions``."""
        query = (
            sa.select(_EVENT.event, _EVENT.at, _EVENT.case_id, _EVENT.n)
            .where(_EVENT.subscription_id == ident, _EVENT.event.between(first, last))
            .order_by(_EVENT.event)
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [(row.event, instant(row.at), row.case_id, row.n) for row in rows]


def notify(connection: sa.Connection, notice: Notice, version: Version) -> None:
    """Number the event for each subscriber of these organizations, and put its notification into the outbox."""
    query = sa.select(_SUB.id, _SUB.organizations).where(_SUB.status == "active").order_by(_SUB.id)
    for row in connection.execute(query).all():
        if not wanted(_WORDS(row.organizations), notice.organizations):
            continue
        count = (
            sa.update(SUBSCRIPTION)
            .where(_SUB.id == row.id, _SUB.status == "active")
            .values(events=_SUB.events + 1)
            .returning(_SUB.events)
        )
        number = connection.execute(count).scalar()
        if number is None:
            continue
        logged = {
            "subscription_id": row.id,
            "event": number,
            "at": microseconds(version.at),
            "case_id": version.case_id,
            "n": version.n,
        }
        connection.execute(sa.insert(SUBSCRIPTION_EVENT), logged)
        event = Event(number, notice.instant, notice.focus, version.response)
        payload = event_notification(notice.base, row.id, notice.instant, event)
        entry = OutboxEntry("notification", row.id, number, version.n, f"{row.id}:{number}", payload)
        enqueue(connection, version.case_id, [entry], version.at)


def wanted(subscribed: Sequence[str], organizations: Sequence[str]) -> bool:
    """Whether one of the organizations is subscribed; a filter without system means the number alone."""
    numbers = {each.rsplit("|", 1)[-1] for each in organizations}
    return any(each in organizations or ("|" not in each and each in numbers) for each in subscribed)


def record_of(row: sa.RowMapping) -> SubscriptionRecord:
    """A row of ``subscription``."""
    values = {name: row[name] for name in SubscriptionRecord.__struct_fields__}
    return SubscriptionRecord(
        **values
        | {
            "organizations": _WORDS(row["organizations"]),
            "header": _WORDS(row["header"]),
            "created": instant(row["created"]),
            "until": None if row["until"] is None else instant(row["until"]),
        }
    )


def _row_of(record: SubscriptionRecord) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in SubscriptionRecord.__struct_fields__}
    return row | {
        "organizations": _ENCODE(record.organizations).decode(),
        "header": _ENCODE(record.header).decode(),
        "created": microseconds(record.created),
        "until": None if record.until is None else microseconds(record.until),
    }

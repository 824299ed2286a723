"""``review_ports.Sessions`` on SQLite or PostgreSQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import instant, microseconds
from cds_service.adapters.sql.review_tables import REVIEW_SESSION
from cds_service.review_ports import SessionRecord

_KEPT_AFTER_END = timedelta(hours=1)


class SqlSessions:
    """See ``review_ports.Sessions``."""

    def __init__(self, database: Database) -> None:
        """``database`` is shared with the other stores of the process."""
        self._database = database

    def put(self, record: SessionRecord) -> None:
        """See ``review_ports.Sessions``."""
        row = {
            "id_sha256": record.id_sha256,
            "kind": record.kind,
            "data": msgspec.json.encode(record.data).decode(),
            "created": microseconds(record.created),
            "seen": microseconds(record.seen),
            "until": microseconds(record.until),
        }
        ended = microseconds(record.created - _KEPT_AFTER_END)

        def write(session: sa.Connection) -> None:
            session.execute(sa.delete(REVIEW_SESSION).where(REVIEW_SESSION.c.until < ended))
            session.execute(sa.insert(REVIEW_SESSION).values(row))

        self._database.session(write)

    def get(self, id_sha256: str) -> SessionRecord | None:
        """See ``review_ports.Sessions``."""
        query = sa.select(REVIEW_SESSION).where(REVIEW_SESSION.c.id_sha256 == id_sha256)
        row = self._database.read(lambda session: session.execute(query).mappings().first())
        return None if row is None else _record(row)

    def touch(self, id_sha256: str, seen: datetime) -> None:
        """See ``review_ports.Sessions``."""
        change = sa.update(REVIEW_SESSION).where(REVIEW_SESSION.c.id_sha256 == id_sha256)
        self._database.session(lambda session: session.execute(change.values(seen=microseconds(seen))))

    def take(self, id_sha256: str) -> SessionRecord | None:
        """See ``review_ports.Sessions``."""
        removal = sa.delete(REVIEW_SESSION).where(REVIEW_SESSION.c.id_sha256 == id_sha256).returning(*REVIEW_SESSION.c)
        row = self._database.session(lambda session: session.execute(removal).mappings().first())
        return None if row is None else _record(row)


def _record(row: Any) -> SessionRecord:
    return SessionRecord(
        id_sha256=row["id_sha256"],
        kind=row["kind"],
        data=msgspec.json.decode(row["data"], type=dict[str, str]),
        created=instant(row["created"]),
        seen=instant(row["seen"]),
        until=instant(row["until"]),
    )

"""Authorizations on file: one per source and number, found by member."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.pool import PoolProxiedConnection

from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.tables import AUTHORIZATION_ON_FILE
from cds_service.domain.authorization import what_changes
from cds_service.ports import Authorization

_DECODE = msgspec.json.Decoder(Authorization).decode
_ENCODE = msgspec.json.Encoder(order="sorted").encode

# On the hook path: constant text, straight to the driver (see ``hook_calls``).
_OF_MEMBER_SQLITE = "SELECT document FROM authorization_on_file WHERE member_id = :member ORDER BY source, number"
_OF_MEMBER_POSTGRES = (
    'SELECT document FROM authorization_on_file WHERE member_id = %(member)s ORDER BY source COLLATE "C", number'
)

_KEEP = sa.text("""
INSERT INTO authorization_on_file (source, number, member_id, status, document, raw, changed)
VALUES (:source, :number, :member_id, :status, :document, :raw, :changed)
ON CONFLICT (source, number) DO UPDATE SET member_id = excluded.member_id, status = excluded.status,
  document = excluded.document, raw = excluded.raw, changed = excluded.changed
""")


def of_member(database: Database, member_id: str) -> tuple[Authorization, ...]:
    """See ``ports.Store.authorizations``."""
    query = _OF_MEMBER_SQLITE if database.sqlite else _OF_MEMBER_POSTGRES

    def work(connection: PoolProxiedConnection) -> list[tuple[bytes]]:
        cursor = connection.cursor()
        try:
            cursor.execute(query, {"member": member_id})
            return list(cursor.fetchall())
        finally:
            cursor.close()

    return tuple([_DECODE(document) for (document,) in database.run(work)])


def put(connection: sa.Connection, entries: Sequence[tuple[Authorization, str]], at: datetime) -> tuple[str, ...]:
    """See ``ports.Store.put_authorizations``."""
    return tuple(_put(connection, authorization, raw, at) for authorization, raw in entries)


def _put(connection: sa.Connection, authorization: Authorization, raw: str, at: datetime) -> str:
    table = AUTHORIZATION_ON_FILE
    same = sa.and_(table.c.source == authorization.source, table.c.number == authorization.number)
    # The row is held until the end of the transaction: of two messages at once the older one must see the newer one.
    held = connection.execute(sa.select(table.c.document).where(same).with_for_update()).scalar()
    before = None if held is None else _DECODE(held)
    outcome = what_changes(authorization, before)
    if outcome != "outdated" and authorization != before:
        connection.execute(_KEEP, authorization_row(authorization, raw, at))
    return outcome


def authorization_row(authorization: Authorization, raw: str, at: datetime) -> dict[str, Any]:
    """A row of ``authorization_on_file``; ``raw``: the text that it came in as."""
    return {
        "source": authorization.source,
        "number": authorization.number,
        "member_id": authorization.member_id,
        "status": authorization.status,
        "document": _ENCODE(authorization),
        "raw": raw,
        "changed": microseconds(at),
    }

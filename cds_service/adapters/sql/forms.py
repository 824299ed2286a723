"""``ports.FormStore`` in SQL: used assertions, and what systems did with forms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.pool import PoolProxiedConnection

from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.documentation_tables import ASSERTION_USED, FORM_ERROR, FORM_RESULT
from cds_service.adapters.sql.instants import microseconds
from cds_service.ports import FormCall, FormError


def use_assertion(connection: sa.Connection, client: str, jti: str, expires: int, now: int) -> bool:
    """See ``ports.FormStore``; of two machines that try at once the database lets one through."""
    connection.execute(sa.delete(ASSERTION_USED).where(ASSERTION_USED.c.expires < now))
    # Both dialects know this clause; the generic INSERT of SQLAlchemy has no word for it.
    insert = sa.text(
        "INSERT INTO assertion_used (client, jti, expires) VALUES (:client, :jti, :expires) ON CONFLICT DO NOTHING"
    )
    return connection.execute(insert, {"client": client, "jti": jti, "expires": expires}).rowcount == 1


_CALL = (
    "at", "client", "operation", "version", "status", "milliseconds", "context", "questionnaires", "items", "outcome",
)  # fmt: skip


def note_call(database: Database, call: FormCall) -> None:
    """See ``ports.FormStore``; one statement straight to the driver, because it stands behind every operation."""
    marks = [f":{name}" if database.sqlite else f"%({name})s" for name in _CALL]
    statement = f"INSERT INTO form_call ({', '.join(_CALL)}) VALUES ({', '.join(marks)})"  # noqa: S608 - names of ours
    row = {name: getattr(call, name) for name in _CALL} | {"at": microseconds(call.at)}

    def work(connection: PoolProxiedConnection) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(statement, row)
        finally:
            cursor.close()

    database.run(work)


def note_errors(connection: sa.Connection, client: str, errors: Sequence[FormError], at: datetime) -> None:
    """See ``ports.FormStore``."""
    rows = [
        {"at": microseconds(at), "client": client, **{name: getattr(error, name) for name in error.__struct_fields__}}
        for error in errors
    ]
    if rows:
        connection.execute(sa.insert(FORM_ERROR), rows)


def keep_result(connection: sa.Connection, context: str, client: str, document: bytes, at: datetime) -> None:
    """See ``ports.FormStore``."""
    connection.execute(
        sa.text(
            "INSERT INTO form_result (context, client, at, document) VALUES (:context, :client, :at, :document) "
            "ON CONFLICT (context) DO UPDATE SET client = excluded.client, at = excluded.at, "
            "document = excluded.document"
        ),
        {"context": context, "client": client, "at": microseconds(at), "document": document},
    )


def result(connection: sa.Connection, context: str) -> bytes | None:
    """See ``ports.FormStore``."""
    found = connection.execute(sa.select(FORM_RESULT.c.document).where(FORM_RESULT.c.context == context)).scalar()
    return None if found is None else bytes(found)

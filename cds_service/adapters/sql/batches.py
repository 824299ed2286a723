"""Several statements in one round trip: sent together on PostgreSQL (pipeline), one after the other on SQLite.

Constant texts, made of the tables once per database; values go as parameters always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Statement = tuple[str, Mapping[str, Any]]  # text with named parameters, and their values


def written(statement: Any, *, for_sqlite: bool) -> str:
    """The text of a statement for a driver."""
    dialect: Any = (
        sqlite.dialect(paramstyle="named") if for_sqlite else postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    )
    return str(statement.compile(dialect=dialect))


def insertion(table: sa.Table, columns: Sequence[str], *, for_sqlite: bool) -> str:
    """An INSERT of one row with these columns."""
    return written(sa.insert(table).values({name: sa.bindparam(name) for name in columns}), for_sqlite=for_sqlite)


def ask(connection: sa.Connection, statements: Sequence[Statement], *, for_sqlite: bool) -> list[Any]:
    """Do all of them within the transaction of a connection; the first row of each, or how many rows it changed."""
    driver: Any = connection.connection.driver_connection
    if for_sqlite:
        cursors = [driver.execute(text, values) for text, values in statements]
    else:
        with driver.pipeline():
            cursors = [driver.execute(text, values) for text, values in statements]
    return [cursor.fetchone() if cursor.description else cursor.rowcount for cursor in cursors]

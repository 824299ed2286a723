"""What went wrong in a database, in words that are safe to say and to count.

No text of a driver leaves this package: it quotes statements and values, and values are about patients.
"""

from __future__ import annotations

import enum
import sqlite3

from sqlalchemy import exc

from cds_service.errors import StoreUnavailable

# Those of PostgreSQL's driver come in addition where it is used (``Database.errors``).
DATABASE_ERRORS: tuple[type[Exception], ...] = (exc.SQLAlchemyError, sqlite3.Error, UnicodeEncodeError)


class Failure(enum.StrEnum):
    """Closed list for logs and metrics."""

    LOCKED = "locked"  # another writer holds it, or every connection is lent
    BROKEN = "broken"  # the connection ended under us: a new one may work
    UNREACHABLE = "unreachable"
    FULL = "full"
    READ_ONLY = "read_only"
    CORRUPT = "corrupt"
    SCHEMA = "schema"  # tables missing or of another version
    CONFLICT = "conflict"  # a uniqueness rule
    OTHER = "other"


_SQLITE = {
    sqlite3.SQLITE_BUSY: Failure.LOCKED,
    sqlite3.SQLITE_LOCKED: Failure.LOCKED,
    sqlite3.SQLITE_FULL: Failure.FULL,
    sqlite3.SQLITE_READONLY: Failure.READ_ONLY,
    sqlite3.SQLITE_PERM: Failure.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: Failure.UNREACHABLE,
    sqlite3.SQLITE_IOERR: Failure.FULL,
    sqlite3.SQLITE_CORRUPT: Failure.CORRUPT,
    sqlite3.SQLITE_NOTADB: Failure.CORRUPT,
    sqlite3.SQLITE_ERROR: Failure.SCHEMA,  # no such table or column; a syntax error would be our bug
    sqlite3.SQLITE_CONSTRAINT: Failure.CONFLICT,
}

# Classes of SQLSTATE (PostgreSQL appendix A), and single codes where a class mixes several.
_POSTGRES = {
    "23": Failure.CONFLICT,
    "08": Failure.BROKEN,
    "25006": Failure.READ_ONLY,
    "25": Failure.BROKEN,
    "28": Failure.UNREACHABLE,
    "3D": Failure.UNREACHABLE,
    "3F": Failure.SCHEMA,
    "42501": Failure.READ_ONLY,
    "42": Failure.SCHEMA,
    "40": Failure.LOCKED,
    "55": Failure.LOCKED,
    "57014": Failure.LOCKED,
    "57": Failure.BROKEN,
    "53100": Failure.FULL,
    "53": Failure.UNREACHABLE,
    "58": Failure.FULL,
    "XX": Failure.CORRUPT,
}

_SAID = {
    Failure.LOCKED: "the record of what was said is busy",
    Failure.BROKEN: "the connection to the record of what was said was lost",
    Failure.UNREACHABLE: "the record of what was said cannot be reached",
    Failure.FULL: "the record of what was said has no room or its disk fails",
    Failure.READ_ONLY: "the record of what was said cannot be written",
    Failure.CORRUPT: "the record of what was said is damaged",
    Failure.SCHEMA: "the record of what was said has not been prepared for this version",
    Failure.CONFLICT: "the record of what was said refused an entry",
    Failure.OTHER: "the record of what was said failed",
}


def failure_of(error: BaseException) -> Failure:
    """Which kind of failure an exception of SQLAlchemy or of a driver is."""
    if isinstance(error, exc.TimeoutError):
        return Failure.LOCKED
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        return failure_of(error.orig)
    if isinstance(error, sqlite3.Error):
        # A connection that was closed under us carries no code.
        return _SQLITE.get(getattr(error, "sqlite_errorcode", -1) & 0xFF, Failure.OTHER)
    if hasattr(error, "sqlstate"):  # psycopg's, known by this: it is not loaded where SQLite is used
        return _of_postgres(error, error.sqlstate)
    return Failure.OTHER


def cause_of(error: BaseException) -> str:
    """Class and code of the driver's error, for the log: neither can hold anything of a statement or a value."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__} {code or 'without code'}"


def _of_postgres(error: BaseException, state: str | None) -> Failure:
    if state is None:
        # The driver's own: without SQLSTATE the server did not answer, unless the driver refused our values.
        kinds = {kind.__name__ for kind in type(error).__mro__}
        return Failure.BROKEN if kinds & {"OperationalError", "InterfaceError"} else Failure.OTHER
    return _POSTGRES.get(state) or _POSTGRES.get(state[:2], Failure.OTHER)


def unavailable(failure: Failure) -> StoreUnavailable:
    """The error that callers see."""
    return StoreUnavailable(_SAID[failure], reason=failure.value)

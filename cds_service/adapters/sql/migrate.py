"""Brings a database to the schema of this version, also when several processes try at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from cds_service.adapters.sql.database import parse_url
from cds_service.adapters.sql.failures import DATABASE_ERRORS, Failure, failure_of, unavailable
from cds_service.adapters.sql.tables import HEAD

_ADVISORY_LOCK = 0x1D7C05  # any number, the same in every process of this product


def migrate(url: str) -> str:
    """Upgrade to the newest schema; creates a SQLite file (not its folder). Gives the revision reached.

    Processes that start together queue up: on a lock file beside the SQLite file, on an advisory lock in PostgreSQL.

    Raises:
        ConfigurationError: the URL names no supported database.
        StoreUnavailable: the database cannot be reached or changed.
    """
    parsed = parse_url(url)
    try:
        return _upgrade_sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _upgrade_postgres(parsed)
    except DATABASE_ERRORS as error:
        failure = failure_of(error)
        raise unavailable(Failure.UNREACHABLE if failure is Failure.BROKEN else failure) from None
    except OSError:
        raise unavailable(Failure.UNREACHABLE) from None


def scripts() -> ScriptDirectory:
    """The versions, for tests and for tools."""
    return ScriptDirectory.from_config(_configuration())


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return configuration


def _upgrade(connection: sa.Connection) -> str:
    """Run what is missing; a database that a later release has brought further is left as it is."""
    reached = MigrationContext.configure(connection).get_current_revision()
    if reached is not None and reached >= HEAD:
        return reached
    configuration = _configuration()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")
    return HEAD


def _upgrade_sqlite(url: sa.URL) -> str:
    path = Path(str(url.database)).absolute()
    with _only_one(path.with_name(path.name + ".migrating")):
        engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True)
        with engine.connect() as connection:
            # Lasting property of the file; two processes that set it at the same time fail.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                reached = _upgrade(connection)
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                connection.invalidate()
                raise
    return reached


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _upgrade_postgres(url: sa.URL) -> str:
    engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True, connect_args={"connect_timeout": 10})
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        return _upgrade(connection)

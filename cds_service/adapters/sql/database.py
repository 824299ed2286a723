"""Connections: how they are made, lent, tried again and given up.

Every connection is in autocommit: a single statement is a transaction, and longer ones say BEGIN themselves. On
SQLite the hook path writes with one statement (see ``hook_calls``), because Python gives its interpreter lock away in
every call to SQLite: a transaction of several calls keeps the file locked while its thread waits to go on.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import PoolProxiedConnection

from cds_service.adapters.sql.failures import DATABASE_ERRORS, Failure, cause_of, failure_of, unavailable
from cds_service.errors import ConfigurationError

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE = 0.0002  # a writer holds SQLite's lock for about 0.15 ms
_LONGEST_PAUSE = 0.005
# Pages in the log before a commit moves them into the file (16 MB). SQLite's own 1000 makes one call in 80 wait
# for two fsyncs (about 9 ms); 4000 makes it one in 300.
_CHECKPOINT_PAGES = 4000
_SQLITE_BEGIN = {
    True: ("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE"),
    False: ("BEGIN IMMEDIATE",),
}


def parse_url(url: str) -> sa.URL:
    """The database of a URL: ``sqlite:///path`` or ``postgresql://user@host/name``; anything else is refused."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigurationError("the database URL cannot be read; allowed: sqlite:///PATH, postgresql://...") from None
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        return parsed.set(drivername="sqlite+pysqlite")
    raise ConfigurationError("the database URL names no supported database; allowed: sqlite:///PATH, postgresql://...")


class Database:
    """One database, reachable from every thread and from every process that forks off later."""

    def __init__(self, url: str, *, pool_size: int, busy_seconds: float) -> None:
        """``busy_seconds`` bounds the wait for a lock, a free connection and a connect. Nothing is opened yet."""
        self.url = parse_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._pool_size = pool_size
        self._busy_seconds = busy_seconds
        self._engine: sa.Engine | None = None
        self._inherited: sa.Engine | None = None  # kept, so that nothing closes the parent's connections
        self._pid = -1
        self._opening = threading.Lock()
        self.errors = DATABASE_ERRORS
        if not self.sqlite:
            from cds_service.adapters.sql import postgres  # noqa: PLC0415 - loads the driver

            self._postgres = postgres
            self.errors = (*DATABASE_ERRORS, *postgres.ERRORS)

    @property
    def engine(self) -> sa.Engine:
        """The engine of this process. A forked child leaves its parent's connections alone and opens its own."""
        engine = self._engine
        if engine is not None and self._pid == os.getpid():
            return engine
        with self._opening:
            if self._engine is not None and self._pid != os.getpid():
                self._inherited, self._engine = self._engine, None
            if self._engine is None:
                self._engine = self._open()
                self._pid = os.getpid()
            return self._engine

    def _open(self) -> sa.Engine:
        how = {"creator": self._connect_sqlite, "paramstyle": "named"} if self.sqlite else {}
        engine = sa.create_engine(
            self.url,
            isolation_level="AUTOCOMMIT",
            poolclass=sa.QueuePool,
            pool_size=self._pool_size,
            max_overflow=self._pool_size,
            pool_timeout=self._busy_seconds,
            pool_reset_on_return=None,  # transactions end themselves, see ``_returnable`` and ``session``
            pool_use_lifo=True,
            hide_parameters=True,
            **how,
        )
        if not self.sqlite:
            sa.event.listen(engine, "do_connect", self._connect_postgres)
        return engine

    def _connect_sqlite(self) -> sqlite3.Connection:
        # timeout=0: SQLite's own waiting doubles its sleeps up to 100 ms; ``_attempt`` asks again after 0.2 ms.
        path = Path(str(self.url.database)).absolute().as_uri()
        connection = sqlite3.connect(
            f"{path}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA secure_delete=ON")  # what is purged is overwritten, not only unlinked
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES:d}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _connect_postgres(self, dialect: object, record: object, cargs: list[Any], cparams: dict[str, Any]) -> Any:
        del dialect, record
        return self._postgres.connect(cargs, cparams, self._busy_seconds)

    def run(self, work: Callable[[PoolProxiedConnection], T]) -> T:
        """Lend ``work`` a driver connection in autocommit; ``work`` may be done twice.

        Raises:
            StoreUnavailable: the work could not be done.
        """
        return self._attempt(lambda: self._lend(work))

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Statements of SQLAlchemy that only read, each for itself.

        Raises:
            StoreUnavailable: they could not be answered.
        """

        def whole() -> T:
            with self.engine.connect() as connection:
                return work(connection)

        return self._attempt(whole)

    def session(self, work: Callable[[sa.Connection], T], *, durable: bool = False) -> T:
        """One transaction of SQLAlchemy statements, for all that is not the hook path; ``work`` may be done twice.

        ``durable`` makes SQLite wait for the disk before the commit returns (``synchronous=FULL``): for what must
        survive a power loss. PostgreSQL always does.

        Raises:
            StoreUnavailable: nothing was changed.
        """

        def whole() -> T:
            with self.engine.connect() as connection, self._transaction(connection, durable=durable):
                return work(connection)

        return self._attempt(whole)

    def _attempt(self, work: Callable[[], T]) -> T:
        """Ask a busy SQLite file again until ``busy_seconds`` are over; open a lost connection again once."""
        deadline = time.monotonic() + self._busy_seconds
        pause = _FIRST_PAUSE
        reopened = False
        while True:
            try:
                return work()
            except self.errors as error:
                failure = failure_of(error)
                cause = cause_of(error)
            # A PostgreSQL that has become a standby refuses writes on connections made before.
            lost = failure is Failure.BROKEN or (failure is Failure.READ_ONLY and not self.sqlite)
            in_time = time.monotonic() + pause < deadline
            if lost and not reopened and in_time:
                reopened = True
                self.engine.dispose()  # its fellows in the pool are as old, and as dead
            elif failure is Failure.LOCKED and self.sqlite and in_time:
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            else:
                _LOG.warning("store: %s (%s)", failure.value, cause)
                raise unavailable(Failure.UNREACHABLE if failure is Failure.BROKEN else failure)

    def _lend(self, work: Callable[[PoolProxiedConnection], T]) -> T:
        connection = self.engine.raw_connection()
        try:
            return work(connection)
        except BaseException:
            if not self._returnable(connection):
                connection.invalidate()
            raise
        finally:
            connection.close()

    def _returnable(self, connection: PoolProxiedConnection) -> bool:
        """Whether a connection on which something failed is outside any transaction, and alive."""
        driver: Any = connection.driver_connection
        return not driver.in_transaction if self.sqlite else bool(driver.idle)

    @contextmanager
    def _transaction(self, connection: sa.Connection, *, durable: bool) -> Iterator[None]:
        for statement in _SQLITE_BEGIN[durable] if self.sqlite else self._postgres.BEGIN:
            connection.exec_driver_sql(statement)
        driver: Any = connection.connection.driver_connection
        with nullcontext() if self.sqlite else driver.patient():
            try:
                yield
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                connection.invalidate()  # that rolls back; after SQLITE_FULL a ROLLBACK of ours would hide the cause
                raise
        if self.sqlite and durable:
            connection.exec_driver_sql("PRAGMA synchronous=NORMAL")  # the hook path finds it as it was opened

    def close(self) -> None:
        """Close every connection of this process."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose(close=self._pid == os.getpid())
            self._engine = None

"""What only PostgreSQL needs; imported where one is used, because the driver takes 0.1 s to load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

T = TypeVar("T")

BULK_SECONDS = 60  # for imports, reports and purges
BEGIN = ("BEGIN", f"SET LOCAL statement_timeout = '{BULK_SECONDS}s'")
ERRORS = (psycopg.Error,)

_ANSWER_MARGIN = 0.5  # seconds that a server's own timeout message may take to arrive


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which no answer is awaited for ever: a server that hangs sends no timeout message either."""

    longest_wait = float(BULK_SECONDS)

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """See psycopg; raises OperationalError when the answer takes too long."""
        return super().wait(gen, interval, self.longest_wait if timeout is None else timeout)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Wait for bulk work."""
        usual, self.longest_wait = self.longest_wait, float(BULK_SECONDS) + _ANSWER_MARGIN
        try:
            yield
        finally:
            self.longest_wait = usual

    @property
    def idle(self) -> bool:
        """Whether it is alive and in no transaction."""
        return self.info.transaction_status == TransactionStatus.IDLE


def connect(cargs: list[Any], cparams: dict[str, Any], busy_seconds: float) -> BoundedConnection:
    """A connection that waits ``busy_seconds`` for a lock or an answer."""
    bound = int(busy_seconds * 1000)
    settings = {
        "connect_timeout": max(2, int(busy_seconds)),  # libpq knows no less than two seconds
        "options": f"-c lock_timeout={bound} -c statement_timeout={bound} -c timezone=UTC",
        "application_name": "cds-service",
        "tcp_user_timeout": max(2000, bound),
        "prepare_threshold": 2,
    }
    connection = BoundedConnection.connect(*cargs, **{**settings, **cparams})
    connection.longest_wait = busy_seconds + _ANSWER_MARGIN
    return connection

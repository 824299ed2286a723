"""Memory of the sandbox: FHIR resources, and the hook exchanges that a developer may look at (one SQLite file)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox_ehr.fhir_json import Resource, dumps, loads
from sandbox_ehr.search import patient_of

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    type TEXT NOT NULL, id TEXT NOT NULL, patient TEXT, sample INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (type, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_patient ON resources (patient, type);
CREATE TABLE IF NOT EXISTS exchanges (
    id TEXT PRIMARY KEY, patient TEXT NOT NULL, started TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
"""


class Store:
    """Each method is one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=5)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def load_samples(self, resources: Iterable[Resource]) -> None:
        """Replace all sample resources; what was signed or changed here stays."""
        rows = [_row(resource, sample=True) for resource in resources]
        with self._connection() as connection:
            connection.execute("DELETE FROM resources WHERE sample = 1")
            connection.executemany("INSERT OR IGNORE INTO resources VALUES (?, ?, ?, ?, ?)", rows)

    def save(self, resource: Resource) -> None:
        """Keep a resource that was made here."""
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?, ?)", _row(resource, sample=False))

    def read(self, resource_type: str, ident: str) -> Resource | None:
        """The resource, or None."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT body FROM resources WHERE type = ? AND id = ?", (resource_type, ident)
            ).fetchone()
        return loads(row[0]) if row else None

    def of_patient(self, patient: str, resource_type: str) -> list[Resource]:
        """All resources of one type of one patient, in order of id."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT body FROM resources WHERE patient = ? AND type = ? ORDER BY id", (patient, resource_type)
            ).fetchall()
        return [loads(row[0]) for row in rows]

    def shared(self, resource_type: str) -> list[Resource]:
        """All resources of one type that belong to no patient."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT body FROM resources WHERE patient IS NULL AND type = ? ORDER BY id", (resource_type,)
            ).fetchall()
        return [loads(row[0]) for row in rows]

    def start_over(self, patient: str) -> None:
        """Forget what was signed, changed and exchanged for one patient; then samples are to be loaded again."""
        with self._connection() as connection:
            connection.execute("DELETE FROM resources WHERE patient = ? AND sample = 0", (patient,))
            connection.execute("DELETE FROM exchanges WHERE patient = ?", (patient,))

    def save_exchange(self, ident: str, patient: str, started: str, body: str) -> None:
        """Keep one hook exchange."""
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?, ?)", (ident, patient, started, body))

    def exchange(self, ident: str) -> str | None:
        """One hook exchange, or None."""
        with self._connection() as connection:
            row = connection.execute("SELECT body FROM exchanges WHERE id = ?", (ident,)).fetchone()
        return row[0] if row else None

    def exchanges(self, patient: str) -> list[str]:
        """All hook exchanges of one patient, newest first."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT body FROM exchanges WHERE patient = ? ORDER BY started DESC", (patient,)
            ).fetchall()
        return [row[0] for row in rows]


def _row(resource: Resource, *, sample: bool) -> tuple[str, str, str | None, int, str]:
    return str(resource["resourceType"]), str(resource["id"]), patient_of(resource), int(sample), dumps(resource)

"""Memory of the sandbox: FHIR resources, and the hook exchanges that a developer may look at (one SQLite file)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sandbox_ehr.fhir_json import Resource, dumps, loads
from sandbox_ehr.search import patient_of
from sandbox_ehr.tables import Tables

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    type TEXT NOT NULL, id TEXT NOT NULL, patient TEXT, sample INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (type, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_patient ON resources (patient, type);
CREATE TABLE IF NOT EXISTS versions (
    type TEXT NOT NULL, id TEXT NOT NULL, n INTEGER NOT NULL, patient TEXT, body TEXT NOT NULL,
    PRIMARY KEY (type, id, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS exchanges (
    id TEXT PRIMARY KEY, patient TEXT NOT NULL, started TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
"""


class Conflict(Exception):
    """Somebody else was faster: the resource is not at the version that the writer had read."""


def version_of(resource: Resource) -> int:
    """Its version; what was never written through the FHIR API is at its first."""
    return int(resource.get("meta", {}).get("versionId", "1"))


class Store(Tables):
    """Each method is one transaction."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    def load_samples(self, resources: Iterable[Resource]) -> None:
        """Replace all sample resources; what was signed or changed here stays."""
        rows = [_row(resource, sample=True) for resource in resources]
        with self._transaction() as connection:
            connection.execute("DELETE FROM resources WHERE sample = 1")
            connection.executemany("INSERT OR IGNORE INTO resources VALUES (?, ?, ?, ?, ?)", rows)

    def save(self, resource: Resource) -> None:
        """Keep a resource that was made here."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?, ?)", _row(resource, sample=False))

    def create(
        self, resource: Resource, same: Callable[[list[Resource]], list[Resource]] = lambda _held: []
    ) -> list[Resource]:
        """Keep the first version of a resource that came through the FHIR API; gives what is kept.

        ``same`` picks, of the patient's resources of this type, those that are the same thing: then nothing is
        written, and they are given back.
        """
        row = _row(resource, sample=False)
        with self._transaction() as connection:
            connection.execute("BEGIN IMMEDIATE")
            held = connection.execute("SELECT body FROM resources WHERE type = ? AND patient IS ?", (row[0], row[2]))
            known = same([loads(body) for (body,) in held.fetchall()])
            if not known:
                connection.execute("INSERT INTO resources VALUES (?, ?, ?, ?, ?)", row)
                connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?)", _version(resource))
        return known or [resource]

    def update(self, resource: Resource, expected: int) -> None:
        """Keep the next version of a resource that is at version ``expected``. Raises Conflict."""
        key = (resource["resourceType"], resource["id"])
        with self._transaction() as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute("SELECT body FROM resources WHERE type = ? AND id = ?", key).fetchone()
            held = loads(row[0]) if row else None
            if held is None or version_of(held) != expected:
                raise Conflict
            connection.execute("INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, ?)", _version(held))
            connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?)", _version(resource))
            connection.execute("INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?, ?)", _row(resource, sample=False))

    def versions(self, resource_type: str, ident: str) -> list[Resource]:
        """Every version that is kept, newest first; the one in force alone where nothing was ever changed."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT body FROM versions WHERE type = ? AND id = ? ORDER BY n DESC", (resource_type, ident)
            ).fetchall()
        current = self.read(resource_type, ident)
        return [loads(row[0]) for row in rows] or ([current] if current else [])

    def current_encounter(self, patient: str) -> str:
        """Id of the visit that is going on, or ""."""
        held = self.of_patient(patient, "Encounter")
        return next((str(one["id"]) for one in held if one.get("status") == "in-progress"), "")

    def read(self, resource_type: str, ident: str) -> Resource | None:
        """The resource, or None."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT body FROM resources WHERE type = ? AND id = ?", (resource_type, ident)
            ).fetchone()
        return loads(row[0]) if row else None

    def of_patient(self, patient: str, resource_type: str) -> list[Resource]:
        """All resources of one type of one patient, in order of id."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT body FROM resources WHERE patient = ? AND type = ? ORDER BY id", (patient, resource_type)
            ).fetchall()
        return [loads(row[0]) for row in rows]

    def shared(self, resource_type: str) -> list[Resource]:
        """All resources of one type that belong to no patient."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT body FROM resources WHERE patient IS NULL AND type = ? ORDER BY id", (resource_type,)
            ).fetchall()
        return [loads(row[0]) for row in rows]

    def start_over(self, patient: str) -> None:
        """Forget what was signed, changed and exchanged for one patient; then samples are to be loaded again."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM resources WHERE patient = ? AND sample = 0", (patient,))
            connection.execute("DELETE FROM versions WHERE patient = ?", (patient,))
            connection.execute("DELETE FROM exchanges WHERE patient = ?", (patient,))

    def save_exchange(self, ident: str, patient: str, started: str, body: str) -> None:
        """Keep one hook exchange."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?, ?)", (ident, patient, started, body))

    def exchange(self, ident: str) -> str | None:
        """One hook exchange, or None."""
        with self._transaction() as connection:
            row = connection.execute("SELECT body FROM exchanges WHERE id = ?", (ident,)).fetchone()
        return row[0] if row else None

    def exchanges(self, patient: str) -> list[str]:
        """All hook exchanges of one patient, newest first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT body FROM exchanges WHERE patient = ? ORDER BY started DESC", (patient,)
            ).fetchall()
        return [row[0] for row in rows]


def _row(resource: Resource, *, sample: bool) -> tuple[str, str, str | None, int, str]:
    return str(resource["resourceType"]), str(resource["id"]), patient_of(resource), int(sample), dumps(resource)


def _version(resource: Resource) -> tuple[str, str, int, str | None, str]:
    kind, ident, patient, _, body = _row(resource, sample=False)
    return kind, ident, version_of(resource), patient, body

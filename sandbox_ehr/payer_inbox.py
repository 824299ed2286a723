"""What the payer's systems have received: each resource once, every receipt counted (SQLite)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from sandbox_ehr.fhir_json import Resource, dumps, loads

_SCHEMA = """
CREATE TABLE IF NOT EXISTS payer_resources (
    type TEXT NOT NULL, id TEXT NOT NULL, n INTEGER NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (type, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS payer_identifiers (
    type TEXT NOT NULL, token TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (type, token, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS payer_receipts (
    seq INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, at TEXT NOT NULL, way TEXT NOT NULL,
    idempotency TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS payer_receipts_of ON payer_receipts (type, id);
"""
_SERVERS_OWN = frozenset({"id", "meta"})


class Several(Exception):
    """More than one resource has this identifier."""


class Kept(msgspec.Struct, frozen=True):
    """A resource as it is kept, and whether this receipt made it or changed it."""

    resource: Resource
    version: int
    created: bool
    changed: bool


class Received(msgspec.Struct, frozen=True):
    """A resource with its receipts: ``times`` it came, ``version`` it is at (1: one effect, however often it came)."""

    resource: Resource
    version: int
    times: int
    first: str
    last: str


class Delivery(msgspec.Struct, frozen=True):
    """How something came: when, by which FHIR interaction, with which Idempotency-Key."""

    at: str
    way: str
    idempotency: str = ""


class Writing:
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection, delivery: Delivery, new_id: Callable[[], str]) -> None:
        self._connection, self._delivery, self._new_id = connection, delivery, new_id

    def put(self, kind: str, ident: str, body: Resource) -> Kept:
        """Keep under an id: what is there already with the same content stays as it is."""
        row = self._connection.execute(
            "SELECT n, body FROM payer_resources WHERE type = ? AND id = ?", (kind, ident)
        ).fetchone()
        held = loads(row[1]) if row else None
        changed = held is None or _content(held) != _content(body)
        version = (row[0] if row else 0) + changed
        kept = held if held is not None and not changed else self._store(kind, ident, version, body)
        self._connection.execute(
            "INSERT INTO payer_receipts (type, id, at, way, idempotency) VALUES (?, ?, ?, ?, ?)",
            (kind, ident, self._delivery.at, self._delivery.way, self._delivery.idempotency),
        )
        return Kept(kept, version, held is None, changed)

    def create(self, kind: str, body: Resource, token: str | None) -> Kept:
        """Keep as new; with ``token`` ("system|value") only if nothing has that identifier yet. Raises Several."""
        known = self.named(kind, token) if token else []
        if len(known) > 1:
            raise Several
        if known:
            held = self._connection.execute(
                "SELECT body FROM payer_resources WHERE type = ? AND id = ?", (kind, known[0])
            ).fetchone()
            return self.put(kind, known[0], loads(held[0]))
        return self.put(kind, self._new_id(), body)

    def named(self, kind: str, token: str) -> list[str]:
        """Ids of what has an identifier."""
        rows = self._connection.execute(
            "SELECT id FROM payer_identifiers WHERE type = ? AND token = ? ORDER BY id", (kind, token)
        ).fetchall()
        return [row[0] for row in rows]

    def _store(self, kind: str, ident: str, version: int, body: Resource) -> Resource:
        made = {**body, "id": ident, "meta": {**body.get("meta", {}), "versionId": str(version)}}
        made["meta"]["lastUpdated"] = self._delivery.at
        row = (kind, ident, version, self._delivery.at, dumps(made))
        self._connection.execute("INSERT OR REPLACE INTO payer_resources VALUES (?, ?, ?, ?, ?)", row)
        self._connection.execute("DELETE FROM payer_identifiers WHERE type = ? AND id = ?", (kind, ident))
        self._connection.executemany(
            "INSERT OR IGNORE INTO payer_identifiers VALUES (?, ?, ?)",
            [(kind, token, ident) for token in tokens(body)],
        )
        return made


class PayerInbox:
    """The payer's store."""

    def __init__(self, path: Path, new_id: Callable[[], str]) -> None:
        self._path, self._new_id = path, new_id
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=NORMAL")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def writing(self, delivery: Delivery) -> Iterator[Writing]:
        """One transaction: all of it or nothing."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Writing(connection, delivery, self._new_id)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def read(self, kind: str, ident: str) -> Resource | None:
        """The resource, or None."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT body FROM payer_resources WHERE type = ? AND id = ?", (kind, ident)
            ).fetchone()
        return loads(row[0]) if row else None

    def search(self, kind: str, token: str | None) -> list[Resource]:
        """All of a type, or those with one identifier."""
        narrowed = " AND id IN (SELECT id FROM payer_identifiers WHERE type = ? AND token = ?)" if token else ""
        values = (kind, kind, token) if token else (kind,)
        with self._connection() as connection:
            query = f"SELECT body FROM payer_resources WHERE type = ?{narrowed} ORDER BY id"  # noqa: S608 - fixed text
            return [loads(row[0]) for row in connection.execute(query, values).fetchall()]

    def received(self, kind: str) -> list[Received]:
        """Everything of a type with its receipts, newest first."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT r.body, r.n, count(*), min(c.at), max(c.at) FROM payer_resources r "
                "JOIN payer_receipts c ON c.type = r.type AND c.id = r.id WHERE r.type = ? "
                "GROUP BY r.type, r.id ORDER BY max(c.seq) DESC",
                (kind,),
            ).fetchall()
        return [Received(loads(row[0]), *row[1:]) for row in rows]


def tokens(resource: Mapping[str, Any]) -> list[str]:
    """Its identifiers as search tokens; FHIR has one in some types and a list in others."""
    held = resource.get("identifier", [])
    found = held if isinstance(held, list) else [held]
    return [f"{one.get('system', '')}|{one.get('value', '')}" for one in found if isinstance(one, dict)]


def _content(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name not in _SERVERS_OWN}

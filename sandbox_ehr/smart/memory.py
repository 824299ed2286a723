"""Memory of the authorization server: launches, codes, grants, refresh tokens, used assertions (SQLite).

Codes, refresh tokens and launch handles are kept as digests only. Everything that may be used once is used up by one
conditional UPDATE, so that two requests at the same moment cannot both succeed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from sandbox_ehr.tables import Tables

_SCHEMA = """
CREATE TABLE IF NOT EXISTS oauth_once (
    kind TEXT NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL, expires REAL NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (kind, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS oauth_grants (
    id TEXT PRIMARY KEY, body TEXT NOT NULL, revoked INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS oauth_assertions (
    client TEXT NOT NULL, jti TEXT NOT NULL, expires REAL NOT NULL, PRIMARY KEY (client, jti)) WITHOUT ROWID;
"""
KEEP_AFTER = 86_400  # seconds that what is over is still recognised as used before


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one authorization gave to one app. Context values are ids, or ""."""

    id: str
    client_id: str
    user: str  # Practitioner id
    scopes: str
    patient: str = ""
    encounter: str = ""
    fhir_context: tuple[dict[str, str], ...] = ()
    app_context: str | None = None
    banner: bool = True
    nonce: str = ""


class Once(msgspec.Struct, frozen=True):
    """Something that may be used once: ``fresh`` tells whether this was the first use, in time."""

    body: str
    fresh: bool


class OAuthMemory(Tables):
    """Each method is one transaction."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    def put(self, kind: str, secret: str, body: str, *, now: float, seconds: float) -> None:
        """Keep ``body`` under a secret that may be used once, within ``seconds``."""
        row = (kind, _digest(secret), body, now + seconds)
        with self._transaction() as connection:
            connection.execute("INSERT INTO oauth_once VALUES (?, ?, ?, ?, 0)", row)
            connection.execute("DELETE FROM oauth_once WHERE expires < ?", (now - KEEP_AFTER,))

    def peek(self, kind: str, secret: str, now: float) -> Once | None:
        """What is kept, without using it up; None: never kept."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT body, used = 0 AND expires > ? FROM oauth_once WHERE kind = ? AND digest = ?",
                (now, kind, _digest(secret)),
            ).fetchone()
        return Once(row[0], bool(row[1])) if row else None

    def use(self, kind: str, secret: str, now: float) -> Once | None:
        """Use it up; None: never kept."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE oauth_once SET used = 1 WHERE kind = ? AND digest = ? AND used = 0 AND expires > ?",
                (kind, _digest(secret), now),
            ).rowcount
            row = connection.execute(
                "SELECT body FROM oauth_once WHERE kind = ? AND digest = ?", (kind, _digest(secret))
            ).fetchone()
        return Once(row[0], changed == 1) if row else None

    def keep_grant(self, grant: Grant, expires: float) -> None:
        """Keep what was given."""
        body = msgspec.json.encode(grant).decode()
        with self._transaction() as connection:
            connection.execute("INSERT INTO oauth_grants VALUES (?, ?, 0, ?)", (grant.id, body, expires))

    def grant(self, ident: str, now: float) -> Grant | None:
        """A grant that is in force, or None."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT body FROM oauth_grants WHERE id = ? AND revoked = 0 AND expires > ?", (ident, now)
            ).fetchone()
        return msgspec.json.decode(row[0], type=Grant) if row else None

    def revoke(self, ident: str) -> None:
        """End a grant: its access and refresh tokens are worthless from now on."""
        with self._transaction() as connection:
            connection.execute("UPDATE oauth_grants SET revoked = 1 WHERE id = ?", (ident,))

    def first_use(self, client: str, jti: str, expires: float, now: float) -> bool:
        """Remember an assertion's id; False if it was seen before."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM oauth_assertions WHERE expires < ?", (now,))
            added = connection.execute(
                "INSERT OR IGNORE INTO oauth_assertions VALUES (?, ?, ?)", (client, jti, expires)
            ).rowcount
        return added == 1


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

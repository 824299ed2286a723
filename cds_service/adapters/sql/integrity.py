"""Is this database whole, and is it the one that we last saw? Asked before anything is handed out from it (F29).

An old backup that was put back looks like any other database; but its audit log is shorter than we remember, or goes
on differently. What is remembered stands in a small file outside of the database: the end of each audit chain.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql import audit
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.prior_auth_tables import AUDIT_EVENT, AUDIT_HEAD, SUBSCRIPTION
from cds_service.domain.prior_auth import AuditEntry
from cds_service.errors import ConfigurationError

EVENT_GAP = 1_000  # numbers that may have been used between the backup and its return
_HEADS = sa.select(AUDIT_HEAD.c.chain, AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash).order_by(AUDIT_HEAD.c.chain)


class Watermark(msgspec.Struct, frozen=True):
    """The end of each audit chain when it was last looked at: number and hash of its last event."""

    heads: tuple[tuple[int, int, str], ...]  # chain, seq, hash


def complaints(database: Database, remembered: Watermark | None) -> Sequence[str]:
    """What is wrong, as words of a closed list: ``damaged``, ``audit_head``, ``older_than_remembered``.

    Raises:
        StoreUnavailable: the database cannot be asked. A damaged one may answer so, too (reason ``corrupt``).
    """
    return database.read(lambda session: tuple(_complaints(session, database, remembered)))


def _complaints(session: sa.Connection, database: Database, remembered: Watermark | None) -> Sequence[str]:
    found = []
    # PostgreSQL has checksums of its own; SQLite looks through its pages when asked.
    if database.sqlite and session.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
        found.append("damaged")
    if any(_hash_at(session, chain, seq) != end for chain, seq, end in session.execute(_HEADS) if seq):
        found.append("audit_head")
    kept = remembered.heads if remembered else ()
    if any(_hash_at(session, chain, seq) != end for chain, seq, end in kept if seq):
        found.append("older_than_remembered")
    return found


def _hash_at(session: sa.Connection, chain: int, seq: int) -> str | None:
    query = sa.select(AUDIT_EVENT.c.hash).where(AUDIT_EVENT.c.chain == chain, AUDIT_EVENT.c.seq == seq)
    found: str | None = session.execute(query).scalar()
    return found


def look(database: Database) -> Watermark:
    """The ends of the audit chains as they are now."""
    rows = database.read(lambda session: session.execute(_HEADS).all())
    return Watermark(tuple((row.chain, row.seq, row.hash) for row in rows))


def accept(database: Database, actor: str, at: datetime) -> None:
    """An operator says that the backup stands: numbers that may have been used since are left out from now on.

    Ids and authorization numbers are random and cannot meet older ones; event numbers of subscribers count, so they
    leap, and the subscriber sees a gap. A version of a case that was delivered and forgotten is found out by its
    receiver, see ``claim_response_http``.
    """
    entry = AuditEntry(at, actor, "operator", "restore_accepted", "database", {"event_gap": EVENT_GAP})

    def work(session: sa.Connection) -> None:
        session.execute(sa.update(SUBSCRIPTION).values(events=SUBSCRIPTION.c.events + EVENT_GAP))
        audit.append(session, [entry])

    database.session(work, durable=True)


def remembered(path: Path) -> Watermark | None:
    """What stands in the file; None where there is none yet.

    Raises:
        ConfigurationError: it cannot be read, or holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Watermark)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError):
        raise ConfigurationError(f"CDS_WATERMARK_FILE: {path} cannot be read, or holds something else") from None


def remember(path: Path, watermark: Watermark) -> None:
    """Write the file anew, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(watermark))
    draft.replace(path)

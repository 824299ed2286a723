"""The audit log: append-only hash chains, written in the transaction of what they record (reliability row 120).

Each event's hash covers the one before it, so that an edit, a removal or another order shows. Eight chains, by what
the event is about, so that writers of different cases seldom wait for one another. Whoever can change the database
can also shorten a chain together with its head: against that, keep the heads that ``verify`` gives outside.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.prior_auth_tables import AUDIT_EVENT, AUDIT_HEAD
from cds_service.domain.prior_auth import AuditEntry

CHAINS: Final = 8
_ENCODE: Final = msgspec.json.Encoder(order="sorted").encode
_EVENT, _HEAD = AUDIT_EVENT.c, AUDIT_HEAD.c
_AT_ONCE: Final = 1000


class Head(msgspec.Struct, frozen=True):
    """The end of one chain: how many events, and the hash of the last."""

    chain: int
    seq: int
    hash: str


class BadRecord(msgspec.Struct, frozen=True):
    """The first record of a chain that is not as it was written; ``what`` is a word of a closed list."""

    chain: int
    seq: int
    what: str  # missing | changed | reordered | head | truncated


class AuditReport(msgspec.Struct, frozen=True):
    """What ``verify`` found."""

    events: int
    heads: tuple[Head, ...]
    bad: tuple[BadRecord, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every record is as it was written."""
        return not self.bad


def append(connection: sa.Connection, entries: Sequence[AuditEntry]) -> None:
    """Write events inside a transaction, all into the chain of the first one's subject; keep it short from here on."""
    if not entries:
        return
    chain = chain_of(entries)
    held = connection.execute(_LOCK, {"of": chain}).one()
    rows = rows_after(Head(chain, held.seq, held.hash), entries)
    connection.execute(_INSERT, rows)
    connection.execute(_MOVE, {"of": chain, "last": rows[-1]["seq"], "end": rows[-1]["hash"]})


def chain_of(entries: Sequence[AuditEntry]) -> int:
    """The chain that events of one transaction go into: that of the first one's subject."""
    return zlib.crc32(entries[0].subject.encode()) % CHAINS


def rows_after(head: Head, entries: Sequence[AuditEntry]) -> list[dict[str, Any]]:
    """Rows of ``audit_event`` that follow the end of a chain."""
    seq, before = head.seq, head.hash
    rows = []
    for entry in entries:
        seq += 1
        row: dict[str, Any] = {
            "chain": head.chain,
            "seq": seq,
            "at": microseconds(entry.at),
            "actor": entry.actor,
            "role": entry.role,
            "action": entry.action,
            "subject": entry.subject,
            "detail": _ENCODE(entry.detail).decode(),
        }
        row |= {"prev_hash": before, "hash": _hash(row, before)}
        before = row["hash"]
        rows.append(row)
    return rows


_LOCK: Final = sa.select(_HEAD.seq, _HEAD.hash).where(_HEAD.chain == sa.bindparam("of")).with_for_update()
_INSERT: Final = sa.insert(AUDIT_EVENT)
_MOVE: Final = (
    sa.update(AUDIT_HEAD)
    .where(_HEAD.chain == sa.bindparam("of"))
    .values(seq=sa.bindparam("last"), hash=sa.bindparam("end"))
)
_COVERED: Final = ("chain", "seq", "at", "actor", "role", "action", "subject", "detail")


def _hash(row: Mapping[str, Any], before: str) -> str:
    return sha256(_ENCODE({"prev": before, **{name: row[name] for name in _COVERED}})).hexdigest()


def verify(database: Database, kept: Sequence[Head] = ()) -> AuditReport:
    """Read every chain from its beginning; name the first bad record of each.

    ``kept``: heads that were written down outside earlier; a chain that does not hold them any more was truncated.
    """
    return database.read(lambda connection: _verify(connection, kept))


def _verify(connection: sa.Connection, kept: Sequence[Head]) -> AuditReport:
    heads, bad, events = [], [], 0
    wanted = {(head.chain, head.seq): head.hash for head in kept}
    for stored in connection.execute(sa.select(AUDIT_HEAD).order_by(_HEAD.chain)).all():
        seq, before, wrong = 0, "", None
        for row in _rows(connection, stored.chain):
            wrong = _wrong(row, seq, before)
            if wrong is None and wanted.pop((stored.chain, row.seq), row.hash) != row.hash:
                wrong = BadRecord(stored.chain, row.seq, "truncated")
            if wrong is not None:
                break
            seq, before = row.seq, row.hash
            events += 1
        if wrong is None and (seq, before) != (stored.seq, stored.hash):
            wrong = BadRecord(stored.chain, seq + 1, "missing" if seq < stored.seq else "head")
        if wrong is None:
            late = [head for head in kept if head.chain == stored.chain and head.seq > seq]
            wrong = BadRecord(stored.chain, seq + 1, "truncated") if late else None
        if wrong is not None:
            bad.append(wrong)
        heads.append(Head(stored.chain, seq, before))
    missing = sorted(set(range(CHAINS)) - {head.chain for head in heads})
    return AuditReport(events, tuple(heads), (*bad, *(BadRecord(chain, 0, "head") for chain in missing)))


def _wrong(row: Any, seq: int, before: str) -> BadRecord | None:
    if row.seq != seq + 1:
        return BadRecord(row.chain, seq + 1, "missing")
    if row.prev_hash != before:
        return BadRecord(row.chain, row.seq, "reordered")
    if _hash(row._mapping, before) != row.hash:  # noqa: SLF001 - SQLAlchemy's public name for a row as mapping
        return BadRecord(row.chain, row.seq, "changed")
    return None


def _rows(connection: sa.Connection, chain: int) -> Iterator[Any]:
    last = 0
    while True:
        query = (
            sa.select(AUDIT_EVENT).where(_EVENT.chain == chain, _EVENT.seq > last).order_by(_EVENT.seq).limit(_AT_ONCE)
        )
        held = connection.execute(query).all()
        if not held:
            return
        yield from held
        last = held[-1].seq

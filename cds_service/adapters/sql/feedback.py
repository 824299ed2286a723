"""What clinicians did with the cards: kept once, tied to the card's rule, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.tables import CARD, FEEDBACK, INVOCATION
from cds_service.ports import FeedbackCount, FeedbackEntry

_INSERT = sa.text("""
INSERT INTO feedback (client, service, card, rule, ack_key, outcome, outcome_at, received, suggestions,
  reason_system, reason_code, comment)
VALUES (:client, :service, :card, :rule, :ack_key, :outcome, :outcome_at, :received, :suggestions,
  :reason_system, :reason_code, :comment)
ON CONFLICT (card, client, outcome, outcome_at) DO NOTHING
""")

_AT_ONCE = 500  # values in one IN list


def save(
    connection: sa.Connection, client: str, service: str, entries: Sequence[FeedbackEntry], received: datetime
) -> int:
    """Keep entries that are not kept yet; the number of entries whose card this client was shown."""
    known = _known_cards(connection, client, sorted({entry.card for entry in entries}))
    rows = [_row(client, service, entry, known, received) for entry in entries]
    if rows:
        connection.execute(_INSERT, rows)
    return sum(entry.card in known for entry in entries)


def _known_cards(connection: sa.Connection, client: str, uuids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Card uuid -> (rule, acknowledgement key); of several calls that showed the card, the newest counts."""
    known: dict[str, tuple[str, str]] = {}
    for start in range(0, len(uuids), _AT_ONCE):
        query = (
            sa.select(CARD.c.uuid, CARD.c.rule, CARD.c.ack_key)
            .join(INVOCATION, INVOCATION.c.seq == CARD.c.invocation)
            .where(INVOCATION.c.client == client, CARD.c.uuid.in_(uuids[start : start + _AT_ONCE]))
            .order_by(CARD.c.invocation)
        )
        known.update({uuid: (rule, key) for uuid, rule, key in connection.execute(query)})
    return known


def _row(
    client: str, service: str, entry: FeedbackEntry, known: Mapping[str, tuple[str, str]], received: datetime
) -> dict[str, object]:
    rule, ack_key = known.get(entry.card, ("", ""))
    return {
        "client": client,
        "service": service,
        "card": entry.card,
        "rule": rule,
        "ack_key": ack_key,
        "outcome": entry.outcome,
        "outcome_at": microseconds(entry.when),
        "received": microseconds(received),
        "suggestions": msgspec.json.encode(entry.suggestions).decode(),
        "reason_system": entry.reason_system,
        "reason_code": entry.reason_code,
        "comment": entry.comment or None,
    }


def acknowledged(
    connection: sa.Connection, keys: Sequence[str], since: datetime, but_for: Sequence[str] = ()
) -> frozenset[str]:
    """See ``ports.Store.acknowledged``. Both the client's time and ours must be late enough: clocks err."""
    moment = microseconds(since)
    query = (
        sa.select(FEEDBACK.c.ack_key)
        .where(
            FEEDBACK.c.ack_key.in_(keys),
            FEEDBACK.c.ack_key != "",
            FEEDBACK.c.outcome == "overridden",
            FEEDBACK.c.reason_code != "",
            FEEDBACK.c.outcome_at >= moment,
            FEEDBACK.c.received >= moment,
            FEEDBACK.c.card.not_in(but_for),
        )
        .distinct()
    )
    return frozenset(connection.execute(query).scalars())


def report(connection: sa.Connection, since: datetime) -> tuple[FeedbackCount, ...]:
    """See ``ports.Store.feedback_report``."""
    group = (FEEDBACK.c.rule, FEEDBACK.c.outcome, FEEDBACK.c.reason_system, FEEDBACK.c.reason_code)
    query = sa.select(*group, sa.func.count()).where(FEEDBACK.c.received >= microseconds(since)).group_by(*group)
    # Sorted here: the databases differ in how they order text.
    return tuple(FeedbackCount(*row) for row in sorted(tuple(row) for row in connection.execute(query)))

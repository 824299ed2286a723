"""The outbox: rows are written with what they tell about, and lent to one worker at a time (D01, D06, D07, D13).

SQLite and PostgreSQL do the same with two statements. SQLite takes its one write lock before it looks
(``BEGIN IMMEDIATE``); PostgreSQL locks the rows that it chooses and passes over those of others. Order within
(destination, case) needs no more: a row is due only while nothing before it is undone, and a row that is lent, dead or
waiting is undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql import audit
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import instant, microseconds
from cds_service.adapters.sql.prior_auth_tables import OUTBOX, PA_CASE, PA_VERSION, SUBSCRIPTION
from cds_service.delivery_ports import Claim, Settled, Waiting
from cds_service.domain.delivery import NOTIFICATION, PAYER, TO_SUBSCRIBER, UNDONE, Delivery
from cds_service.domain.prior_auth import AuditEntry
from cds_service.prior_auth_ports import OutboxEntry, SubscriptionRecord

LOST_LEASE = "lease_expired"
LOST_LEASES = 20  # workers that ended with the same row in hand, one after another: then the row is the cause
LONGEST_LEASE = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(hours=1, minutes=5)  # longer than any pause between tries
_KEPT_EXCERPT = 1_000  # characters

# A dead row of a case holds back what comes after it, so that versions never arrive out of order. A dead notice does
# not: the subscriber sees the gap in the event numbers.
# Both are written as "the lowest one is this": PostgreSQL makes a join over all rows of NOT EXISTS, and with figures of
# a table that has just been filled it takes seconds where a look into the index takes microseconds.
_FIRST_OF_CASE = """o.seq = (SELECT e.seq FROM outbox e WHERE e.destination = o.destination AND e.case_id = o.case_id
    AND e.kind = 'payer' AND e.state IN ('ready', 'leased', 'dead') ORDER BY e.seq LIMIT 1)"""
_FIRST_OF_SUBSCRIBER = """o.seq = (SELECT e.seq FROM outbox e WHERE e.destination = o.destination
    AND e.kind = 'notification' AND e.state IN ('ready', 'leased') ORDER BY e.seq LIMIT 1)
  AND EXISTS (SELECT 1 FROM subscription s WHERE s.id = o.destination
    AND (s.status = 'active' OR (o.seq = 0 AND s.status = 'requested')))"""
# Constant texts throughout: nothing of a caller is ever put into one.
_CHOSEN = {
    PAYER: f"""SELECT o.id FROM outbox o WHERE o.state = 'ready' AND o.due_at <= :now AND o.kind = 'payer'
  AND o.destination = :destination AND {_FIRST_OF_CASE} ORDER BY o.due_at LIMIT :most""",  # noqa: S608
    NOTIFICATION: f"""SELECT o.id FROM outbox o WHERE o.state = 'ready' AND o.due_at <= :now
  AND o.kind = 'notification' AND {_FIRST_OF_SUBSCRIBER} ORDER BY o.due_at LIMIT :most""",  # noqa: S608
}
_LEND = "UPDATE outbox SET state = 'leased', attempts = attempts + 1, lease_owner = :owner, lease_until = :until"
_CLAIM_SQLITE = {kind: sa.text(f"{_LEND} WHERE id IN ({chosen}) RETURNING id") for kind, chosen in _CHOSEN.items()}
_CLAIM_POSTGRES = {
    kind: sa.text(
        f"WITH chosen AS MATERIALIZED ({chosen} FOR UPDATE OF o SKIP LOCKED) {_LEND} "
        "FROM chosen WHERE outbox.id = chosen.id RETURNING outbox.id"
    )
    for kind, chosen in _CHOSEN.items()
}
_SETTLE = sa.text("""
UPDATE outbox SET state = :state, due_at = :due, lease_owner = NULL, lease_until = NULL, last_status = :status,
  last_error = :error, remote_location = COALESCE(:location, remote_location), finished = :finished
WHERE id = :id AND state = 'leased' AND lease_owner = :owner AND attempts = :attempts
""")
_ATTEMPT = sa.text("""
INSERT INTO delivery_attempt (outbox_id, n, at, http_status, latency_ms, request_digest, response_excerpt)
VALUES (:outbox_id, :n, :at, :http_status, :latency_ms, :request_digest, :response_excerpt)
ON CONFLICT (outbox_id, n) DO NOTHING
""")
_SUPERSEDED = sa.text("""
UPDATE outbox SET state = 'skipped', last_error = 'superseded', finished = :now
WHERE kind = 'payer' AND destination = :destination AND state IN ('ready', 'dead') AND EXISTS (
  SELECT 1 FROM outbox l WHERE l.destination = outbox.destination AND l.case_id = outbox.case_id
    AND l.seq > outbox.seq AND l.kind = 'payer' AND l.state IN ('ready', 'leased', 'done'))
""")


def enqueue(connection: sa.Connection, case_id: str, entries: Sequence[OutboxEntry], at: datetime) -> None:
    """Write down what is to be delivered, in the caller's transaction (D01)."""
    rows = [
        {
            "kind": entry.kind,
            "destination": entry.destination,
            "case_id": case_id,
            "seq": entry.seq,
            "n": entry.n,
            "idem_key": entry.idem_key,
            "payload": entry.payload,
            "state": "ready",
            "attempts": 0,
            "due_at": microseconds(at),
            "created": microseconds(at),
        }
        for entry in entries
    ]
    if rows:
        connection.execute(sa.insert(OUTBOX), rows)


class SqlOutbox:
    """``delivery_ports.DeliveryQueue``. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        """``database`` may be shared with other stores of this process."""
        self._database = database

    def due(self, kind: str, destination: str, now: datetime) -> bool:
        """See ``delivery_ports.DeliveryQueue``; takes no lock, so that idle workers do not hold SQLite's."""
        query = sa.text(_CHOSEN[kind])
        values = _claim_values(kind, destination, 1, now)
        return self._database.read(lambda session: session.execute(query, values).first()) is not None

    def claim(self, claim: Claim, now: datetime) -> Sequence[Delivery]:
        """See ``delivery_ports.DeliveryQueue``."""
        statement = (_CLAIM_SQLITE if self._database.sqlite else _CLAIM_POSTGRES)[claim.kind]
        until = now + claim.lease
        values = _claim_values(claim.kind, claim.destination, claim.most, now)
        values |= {"owner": claim.owner, "until": microseconds(until)}

        def work(session: sa.Connection) -> list[Delivery]:
            chosen = session.execute(statement, values).scalars().all()
            return _deliveries(session, chosen) if chosen else []

        return self._database.session(work)

    def renew(self, delivery: Delivery, owner: str, until: datetime) -> bool:
        """See ``delivery_ports.DeliveryQueue``."""
        statement = sa.update(OUTBOX).where(*_held(delivery, owner)).values(lease_until=microseconds(until))
        return self._database.session(lambda session: session.execute(statement).rowcount == 1)

    def settle(self, results: Sequence[Settled], owner: str, now: datetime) -> int:
        """See ``delivery_ports.DeliveryQueue``. On the disk when it returns: the chained log must not lose its end."""
        moment = microseconds(now)

        def work(session: sa.Connection) -> int:
            held = session.execute(_SETTLE, [_settled(each, owner, moment) for each in results]).rowcount
            session.execute(_ATTEMPT, [_attempted(each, moment) for each in results])
            for each in results:
                if each.step.state == "ready":
                    _postpone_followers(session, each)
                if each.delivery.kind == NOTIFICATION:
                    _tell_subscription(session, each)
            audit.append(session, [_audited(each, owner, now) for each in results])
            return held

        return self._database.session(work, durable=True) if results else 0

    def release(self, deliveries: Sequence[Delivery], owner: str, due: datetime) -> None:
        """See ``delivery_ports.DeliveryQueue``."""

        def work(session: sa.Connection) -> None:
            for each in deliveries:
                values = {
                    "state": "ready",
                    "attempts": OUTBOX.c.attempts - 1,
                    "due_at": microseconds(due),
                    "lease_owner": None,
                    "lease_until": None,
                }
                session.execute(sa.update(OUTBOX).where(*_held(each, owner)).values(values))

        if deliveries:
            self._database.session(work)

    def tidy(self, now: datetime) -> int:
        """See ``delivery_ports.DeliveryQueue``."""
        moment = microseconds(now)
        never = microseconds(now + LONGEST_LEASE)  # no clock of now has set this (F22)
        lost = sa.select(OUTBOX.c.id, OUTBOX.c.last_error).where(
            OUTBOX.c.state == "leased", sa.or_(OUTBOX.c.lease_until <= moment, OUTBOX.c.lease_until > never)
        )
        stranded = sa.and_(OUTBOX.c.state == "ready", OUTBOX.c.due_at > microseconds(now + LONGEST_PAUSE))
        unheard = sa.select(OUTBOX.c.id, OUTBOX.c.destination).where(
            OUTBOX.c.state == "ready",
            OUTBOX.c.kind == NOTIFICATION,
            OUTBOX.c.created < microseconds(now - TO_SUBSCRIBER.give_up_after),
        )

        def work(session: sa.Connection) -> int:
            taken_back = session.execute(lost.with_for_update(skip_locked=True)).all()
            dead = []
            for ident, error in taken_back:
                values = _taken_back(error, moment)
                session.execute(sa.update(OUTBOX).where(OUTBOX.c.id == ident).values(values))
                if values["state"] == "dead":
                    dead.append((ident, str(values["last_error"])))
            given_up = session.execute(unheard.with_for_update(skip_locked=True)).all()
            for ident, subscription in given_up:
                values = {"state": "dead", "last_error": "gave_up:waiting", "finished": moment}
                session.execute(sa.update(OUTBOX).where(OUTBOX.c.id == ident).values(values))
                _flag(session, subscription, "gave_up:waiting")
                dead.append((ident, "gave_up:waiting"))
            found = session.execute(sa.update(OUTBOX).where(stranded).values(due_at=moment)).rowcount
            audit.append(session, [_buried(ident, reason, now) for ident, reason in dead])
            return len(taken_back) + len(given_up) + found

        found = (lost.whereclause, unheard.whereclause, stranded)
        query = sa.select(OUTBOX.c.id).where(sa.or_(*[each for each in found if each is not None])).limit(1)
        if self._database.read(lambda session: session.execute(query).first()) is None:
            return 0
        return self._database.session(work, durable=True)

    def skip_superseded(self, destination: str, now: datetime) -> int:
        """See ``delivery_ports.DeliveryQueue``."""
        values = {"destination": destination, "now": microseconds(now)}
        return self._database.session(lambda session: session.execute(_SUPERSEDED, values).rowcount)

    def hurry(self, destination: str, now: datetime) -> int:
        """See ``delivery_ports.DeliveryQueue``. Rows that the receiver itself postponed keep their time."""
        statement = (
            sa.update(OUTBOX)
            .where(
                OUTBOX.c.destination == destination,
                OUTBOX.c.state == "ready",
                OUTBOX.c.due_at > microseconds(now),
                OUTBOX.c.last_status.is_(None),
            )
            .values(due_at=microseconds(now))
        )
        return self._database.session(lambda session: session.execute(statement).rowcount)

    def subscriptions(self, idents: Sequence[str]) -> Mapping[str, SubscriptionRecord]:
        """See ``delivery_ports.DeliveryQueue``."""
        query = sa.select(SUBSCRIPTION).where(SUBSCRIPTION.c.id.in_(idents))
        rows = self._database.read(lambda session: session.execute(query).mappings().all())
        return {row["id"]: _subscription(row) for row in rows}

    def waiting(self) -> Sequence[Waiting]:
        """See ``delivery_ports.DeliveryQueue``."""
        group = (OUTBOX.c.kind, OUTBOX.c.destination, OUTBOX.c.state)
        query = (
            sa.select(*group, sa.func.count(), sa.func.min(OUTBOX.c.created))
            .where(OUTBOX.c.state.in_(UNDONE))
            .group_by(*group)
        )
        rows = self._database.read(lambda session: session.execute(query).all())
        return tuple(
            Waiting(kind=kind, destination=destination, state=state, count=count, oldest=instant(oldest))
            for kind, destination, state, count, oldest in sorted(tuple(row) for row in rows)
        )


def _claim_values(kind: str, destination: str, most: int, now: datetime) -> dict[str, object]:
    values: dict[str, object] = {"most": most, "now": microseconds(now)}
    if kind == PAYER:
        values["destination"] = destination
    return values


def _held(delivery: Delivery, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    """The row, as long as this owner holds it from this very claim."""
    table = OUTBOX.c
    mine = (table.id == delivery.id, table.state == "leased", table.lease_owner == owner)
    return (*mine, table.attempts == delivery.attempts)


def _deliveries(session: sa.Connection, chosen: Sequence[int]) -> list[Delivery]:
    """What was lent, with its bytes: its own, or the response of the version that it names."""
    query = (
        sa.select(OUTBOX, PA_VERSION.c.response, PA_CASE.c.due)
        .outerjoin(PA_VERSION, sa.and_(PA_VERSION.c.case_id == OUTBOX.c.case_id, PA_VERSION.c.n == OUTBOX.c.n))
        .outerjoin(PA_CASE, PA_CASE.c.id == OUTBOX.c.case_id)
        .where(OUTBOX.c.id.in_(chosen))
        .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
    )
    return [_delivery(row) for row in session.execute(query).mappings()]


def _delivery(row: Mapping[Any, Any]) -> Delivery:
    payload = row["payload"] if row["payload"] is not None else row["response"]
    return Delivery(
        id=row["id"],
        kind=row["kind"],
        destination=row["destination"],
        case_id=row["case_id"],
        seq=row["seq"],
        n=row["n"],
        idem_key=row["idem_key"],
        payload=bytes(payload or b""),
        attempts=row["attempts"],
        created=instant(row["created"]),
        lease_until=instant(row["lease_until"]),
        case_due=None if row["due"] is None else instant(row["due"]),
    )


def _settled(result: Settled, owner: str, moment: int) -> dict[str, object]:
    return {
        "id": result.delivery.id,
        "owner": owner,
        "attempts": result.delivery.attempts,
        "state": result.step.state,
        "due": microseconds(result.step.due),
        "status": result.sent.status,
        "error": result.step.reason,
        "location": result.sent.location or None,
        "finished": moment if result.step.state != "ready" else None,
    }


def _attempted(result: Settled, moment: int) -> dict[str, object]:
    sent = result.sent
    told = " ".join(part for part in (sent.method, sent.reason, sent.excerpt) if part)
    return {
        "outbox_id": result.delivery.id,
        "n": result.delivery.attempts,
        "at": moment,
        "http_status": sent.status,
        "latency_ms": sent.latency_ms,
        "request_digest": sent.request_digest,
        "response_excerpt": told[:_KEPT_EXCERPT].replace("\x00", ""),
    }


def _audited(result: Settled, owner: str, now: datetime) -> AuditEntry:
    """One try, in the chained log (P103): where it went, how it ended, never what it said."""
    delivery, dead = result.delivery, result.step.state == "dead"
    detail: dict[str, str | int | bool | None] = {
        "to": delivery.destination,
        "key": delivery.idem_key,
        "attempt": delivery.attempts,
        "status": result.sent.status,
        "reason": result.step.reason,
        "state": result.step.state,
    }
    action = "dead_letter" if dead else "notify" if delivery.kind == NOTIFICATION else "deliver"
    return AuditEntry(now, owner, "worker", action, f"outbox/{delivery.id}", detail)


def _buried(ident: int, reason: str, now: datetime) -> AuditEntry:
    """A message that is given up without a try."""
    return AuditEntry(now, "deliver", "worker", "dead_letter", f"outbox/{ident}", {"reason": reason, "state": "dead"})


def _postpone_followers(session: sa.Connection, result: Settled) -> None:
    """What waits behind a row cannot go before it: it is not looked at until then, however much it is."""
    delivery, due = result.delivery, microseconds(result.step.due)
    same = OUTBOX.c.case_id == delivery.case_id if delivery.kind == PAYER else OUTBOX.c.kind == NOTIFICATION
    behind = (OUTBOX.c.destination == delivery.destination, OUTBOX.c.seq > delivery.seq, same)
    statement = sa.update(OUTBOX).where(*behind, OUTBOX.c.state == "ready", OUTBOX.c.due_at < due)
    session.execute(statement.values(due_at=due))


def _tell_subscription(session: sa.Connection, result: Settled) -> None:
    """A handshake that was answered opens the subscription; what failed for good closes it, visibly (P064, F28)."""
    if result.step.state == "dead":
        _flag(session, result.delivery.destination, result.step.reason)
    elif result.step.state == "done" and result.delivery.seq == 0:
        session.execute(
            sa.update(SUBSCRIPTION)
            .where(SUBSCRIPTION.c.id == result.delivery.destination, SUBSCRIPTION.c.status == "requested")
            .values(status="active", error="")
        )


def _flag(session: sa.Connection, subscription: str, reason: str) -> None:
    session.execute(
        sa.update(SUBSCRIPTION)
        .where(SUBSCRIPTION.c.id == subscription, SUBSCRIPTION.c.status.in_(("requested", "active")))
        .values(status="error", error=reason)
    )


def _taken_back(error: str | None, moment: int) -> dict[str, object]:
    """A row whose worker ended: due again at once, unless it ended workers so often that it must be the cause (D07)."""
    word, _, count = (error or "").partition(":")
    lost = (int(count) if word == LOST_LEASE and count.isdecimal() else 0) + 1
    values: dict[str, object] = {"lease_owner": None, "lease_until": None, "last_error": f"{LOST_LEASE}:{lost}"}
    if lost < LOST_LEASES:
        return values | {"state": "ready", "due_at": moment}
    return values | {"state": "dead", "finished": moment}


def _subscription(row: Mapping[Any, Any]) -> SubscriptionRecord:
    return SubscriptionRecord(
        id=row["id"],
        sender=row["sender"],
        organizations=tuple(msgspec.json.decode(row["organizations"], type=list[str])),
        endpoint=row["endpoint"],
        payload=row["payload"],
        header=tuple(msgspec.json.decode(row["header"], type=list[str])),
        status=row["status"],
        error=row["error"],
        events=row["events"],
        created=instant(row["created"]),
        until=None if row["until"] is None else instant(row["until"]),
    )

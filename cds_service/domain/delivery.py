"""A message that must certainly reach somebody: what it is, and what becomes of it after each try.

Two kinds: ``payer`` (a ClaimResponse for the payer's systems) and ``notification`` (a changed case for a subscriber).
Sending happens at least once; the receiver can recognise a repeat, so the effect happens once (pas D02).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

PAYER = "payer"
NOTIFICATION = "notification"

READY = "ready"
LEASED = "leased"
DONE = "done"
DEAD = "dead"  # given up; kept with its reason until somebody replays or discards it
SKIPPED = "skipped"  # a later version stands in for it, or nobody is subscribed any more
DISCARDED = "discarded"  # by a person, with a reason
UNDONE = (READY, LEASED, DEAD)

_BASE = timedelta(seconds=2)
_DOUBLINGS = 20  # what is above meets every cap
_LONGEST_ASKED = timedelta(hours=1)  # a Retry-After beyond that is not believed
_LEAST_LIFE = timedelta(hours=1)  # a message gets so long even where the clock of its case has nearly run out


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message lent to one worker. ``attempts`` counts this one."""

    id: int
    kind: str
    destination: str  # id of a payer endpoint, or of a subscription
    case_id: str  # "" for a handshake
    seq: int  # order within destination and case; a subscriber's event number
    n: int
    idem_key: str
    payload: bytes
    attempts: int
    created: datetime
    lease_until: datetime
    case_due: datetime | None = None  # when the case must be answered, where it has such a time


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one try. ``reason`` is a word of a closed list, safe for logs and metrics."""

    state: str  # done | retry | dead
    reason: str = ""
    status: int | None = None  # HTTP; None: no answer
    retry_after: timedelta | None = None
    location: str = ""
    method: str = ""  # how it was sent: put, conditional_create ...
    latency_ms: int = 0
    request_digest: str = ""  # sha256 of the body, hex
    excerpt: str = ""  # start of the other side's answer: kept with the try, never logged


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a message is tried."""

    longest_pause: timedelta = timedelta(minutes=15)
    give_up_after: timedelta = timedelta(hours=72)
    safety: timedelta = timedelta(hours=1)  # before the case's own time runs out, a person must know


TO_PAYER = Patience()
TO_SUBSCRIBER = Patience(longest_pause=timedelta(hours=1), give_up_after=timedelta(days=7))  # F28


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is written down after a try: the new state, when it is due again, and why."""

    state: str  # ready | done | dead
    due: datetime
    reason: str


def next_step(delivery: Delivery, sent: Sent, patience: Patience, now: datetime, chance: int) -> Step:
    """What becomes of a message after a try (D04, D05, D07).

    ``chance``: a random number of 0 to 999, for full jitter: the pause is that share of the longest one allowed.
    """
    if sent.state != "retry":
        return Step(state=DONE if sent.state == "done" else DEAD, due=now, reason=sent.reason)
    until = gives_up(delivery, patience)
    due = now + _pause(delivery.attempts, sent.retry_after, patience, chance)
    if now >= until:
        return Step(state=DEAD, due=now, reason=f"gave_up:{sent.reason}")
    return Step(state=READY, due=min(due, until), reason=sent.reason)


def gives_up(delivery: Delivery, patience: Patience) -> datetime:
    """The instant after which a message is not tried again: its age, or the clock of its case less a margin (D05)."""
    until = delivery.created + patience.give_up_after
    if delivery.case_due is None:
        return until
    return min(until, max(delivery.case_due - patience.safety, delivery.created + _LEAST_LIFE))


def _pause(attempts: int, asked: timedelta | None, patience: Patience, chance: int) -> timedelta:
    """Full jitter: between nothing and 2 s doubled with every try, up to the cap; what the other side asks counts."""
    doubled = _BASE * (1 << min(max(attempts - 1, 0), _DOUBLINGS))
    jittered = min(doubled, patience.longest_pause) * chance / 1000
    return jittered if asked is None else max(jittered, min(asked, _LONGEST_ASKED))

"""Forgetting what has been kept long enough: what clinicians wrote first, then calls, feedback, accesses and forms."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from cds_service.ports import Store

_OF_FORMS = ("form_call", "form_error", "form_result")
_AT_ONCE = 50  # calls removed per transaction: a hook call waits about 5 ms for one

# Without a rest, the next transaction nearly always takes SQLite's lock before a hook call asks again.
_REST_SECONDS = 0.02


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How many days each kind of record is kept. Feedback and accesses stay as long as the calls they speak of."""

    comment_days: int
    record_days: int


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """How much was removed."""

    comments: int
    invocations: int
    feedback: int
    accesses: int
    forms: int


def purge(store: Store, retention: Retention, now: datetime, rest: Callable[[float], None] = time.sleep) -> Purged:
    """Remove what is older than its retention, comments first, in small transactions with ``rest`` between them.

    Raises:
        ValueError: a retention is not at least one day.
        StoreUnavailable: what was removed before stays removed; run it again.
    """
    if min(retention.comment_days, retention.record_days) < 1:
        raise ValueError("a retention must be at least one day")
    comments = now - timedelta(days=min(retention.comment_days, retention.record_days))
    records = now - timedelta(days=retention.record_days)
    return Purged(
        comments=_all(store, "comment", comments, rest),
        invocations=_all(store, "invocation", records, rest),
        feedback=_all(store, "feedback", records, rest),
        accesses=_all(store, "access", records, rest),
        forms=sum(_all(store, kind, records, rest) for kind in _OF_FORMS),
    )


def _all(store: Store, what: str, before: datetime, rest: Callable[[float], None]) -> int:
    total = 0
    while removed := store.erase(what, before, _AT_ONCE):
        total += removed
        rest(_REST_SECONDS)
    return total

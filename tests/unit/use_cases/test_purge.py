"""Retention: comments first, everything in small transactions, nothing young."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.adapters.memory import MemoryStore
from cds_service.use_cases.purge import Purged, Retention, purge
from tests.support.stores import NOON, a_call, overridden

DAY = timedelta(days=1)


class Watched(MemoryStore):
    """Notes what was erased, in which order and how much at once."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []

    def erase(self, what, before, most):
        self.asked.append((what, most))
        return super().erase(what, before, most)


def filled(ages: range) -> Watched:
    store = Watched()
    for age in ages:
        received = NOON - age * DAY
        call = a_call(received=received)
        store.record(call)
        entry = overridden(call.cards[0][0], comment="about a patient", when=received)
        store.save_feedback(call.client, call.service, [entry], received)
        store.note_access("reviewer", "read", "d", received)
    return store


def test_what_is_older_than_its_retention_goes() -> None:
    store = filled(range(10))  # received today, yesterday, ... nine days ago
    purged = purge(store, Retention(comment_days=2, record_days=5), NOON)
    # A day that is exactly as old as the retention stays.
    assert purged == Purged(comments=7, invocations=4, feedback=4, accesses=4, forms=0)
    assert purge(store, Retention(comment_days=2, record_days=5), NOON) == Purged(
        comments=0, invocations=0, feedback=0, accesses=0, forms=0
    )


def test_comments_go_before_anything_else() -> None:
    store = filled(range(3))
    purge(store, Retention(comment_days=1, record_days=1), NOON)
    assert [what for what, _ in store.asked if what == "comment"] == [what for what, _ in store.asked][:2]


def test_comments_never_outlive_the_records() -> None:
    store = filled(range(10))
    assert purge(store, Retention(comment_days=3650, record_days=5), NOON).comments == 4


def test_each_transaction_is_small_and_others_get_a_turn_between_them() -> None:
    store = filled(range(120))
    rests: list[float] = []
    purged = purge(store, Retention(comment_days=1, record_days=1), NOON, rests.append)
    assert purged.invocations == 118
    assert all(most <= 50 for _, most in store.asked)
    assert rests == [0.02] * (4 * 3)


@pytest.mark.parametrize(("comments", "records"), [(0, 5), (5, 0), (-1, 5)])
def test_a_retention_of_nothing_is_a_mistake(comments: int, records: int) -> None:
    store = filled(range(3))
    with pytest.raises(ValueError, match="at least one day"):
        purge(store, Retention(comment_days=comments, record_days=records), NOON)
    assert store.asked == []

"""What becomes of a message after a try (D04, D05, D07)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.adapters.retry_after import retry_after
from cds_service.domain.delivery import TO_PAYER, TO_SUBSCRIBER, Delivery, Patience, Sent, gives_up, next_step

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AGAIN = Sent(state="retry", reason="status_503", status=503)


def delivery(attempts: int = 1, due: datetime | None = None) -> Delivery:
    return Delivery(
        id=1,
        kind="payer",
        destination="core",
        case_id="c1",
        seq=1,
        n=1,
        idem_key="k",
        payload=b"",
        attempts=attempts,
        created=NOON,
        lease_until=NOON,
        case_due=due,
    )


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 2), (2, 4), (3, 8), (8, 256), (9, 512), (10, 900), (11, 900), (1_000_000, 900)],  # capped at 15 minutes
)
def test_D05_the_longest_pause_doubles_up_to_the_cap(attempts: int, seconds: int) -> None:
    step = next_step(delivery(attempts), AGAIN, TO_PAYER, NOON, 999)
    assert step.state == "ready"
    assert step.due - NOON == timedelta(seconds=seconds) * 999 / 1000


@given(st.integers(1, 5_000), st.integers(0, 999), st.integers(0, 100))
def test_D05_jitter_is_full_and_a_try_never_lies_in_the_past(attempts: int, chance: int, hours: int) -> None:
    now = NOON + hours * HOUR
    step = next_step(delivery(attempts), AGAIN, TO_PAYER, now, chance)
    assert now <= step.due <= now + TO_PAYER.longest_pause
    assert (step.state == "dead") is (hours >= 72)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (timedelta(0), 2 * 0.5),
        (timedelta(seconds=90), 90),
        (timedelta(days=1), 3600),  # more than an hour is not believed
    ],
)
def test_D05_what_the_receiver_asks_for_is_waited(asked: timedelta, seconds: float) -> None:
    step = next_step(delivery(), msgspec.structs.replace(AGAIN, retry_after=asked), TO_PAYER, NOON, 500)
    assert (step.due - NOON).total_seconds() == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("due", "until"),
    [
        (None, 72 * HOUR),
        (NOON + 14 * 24 * HOUR, 72 * HOUR),
        (NOON + 24 * HOUR, 23 * HOUR),  # an hour before the case's own time runs out somebody must know
        (NOON + HOUR, HOUR),  # decided at the last moment: it still gets an hour
        (NOON - HOUR, HOUR),
    ],
)
def test_D05_when_a_message_is_given_up(due: datetime | None, until: timedelta) -> None:
    assert gives_up(delivery(due=due), TO_PAYER) - NOON == until
    last = next_step(delivery(due=due), AGAIN, TO_PAYER, NOON + until, 999)
    assert (last.state, last.reason) == ("dead", "gave_up:status_503")
    before = next_step(delivery(attempts=20, due=due), AGAIN, TO_PAYER, NOON + until - timedelta(seconds=1), 999)
    assert (before.state, before.due) == ("ready", NOON + until)  # one last try at that very moment


def test_D04_what_was_delivered_or_refused_is_final() -> None:
    assert next_step(delivery(), Sent(state="done"), TO_PAYER, NOON, 0).state == "done"
    refused = next_step(delivery(), Sent(state="dead", reason="status_422"), TO_PAYER, NOON, 0)
    assert (refused.state, refused.reason) == ("dead", "status_422")


def test_fault_F28_subscribers_are_waited_for_longer() -> None:
    assert Patience(longest_pause=HOUR, give_up_after=168 * HOUR) == TO_SUBSCRIBER


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("99999999999999", 86_400),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2126 11:00:00 GMT", 86_400),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("\u0665", None),
    ],
)
def test_retry_after_is_read_or_ignored(text: str, seconds: int | None) -> None:
    assert retry_after(text, NOON) == (None if seconds is None else timedelta(seconds=seconds))

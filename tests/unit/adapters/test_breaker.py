"""The breaker and the budget of second tries, moment by moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cds_service.adapters.breaker import Breaker, RetryBudget


class Steady:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_opens_after_five_failures_in_a_row() -> None:
    breaker = Breaker(Steady())
    opened = [breaker.failed("a") for _ in range(5)]
    assert opened == [False, False, False, False, True]
    assert not breaker.allows("a")
    assert breaker.allows("b")


def test_a_success_between_failures_starts_the_count_anew() -> None:
    breaker = Breaker(Steady())
    for _ in range(4):
        breaker.failed("a")
    breaker.succeeded("a")
    for _ in range(4):
        breaker.failed("a")
    assert breaker.allows("a")


def test_one_probe_at_a_time_decides() -> None:
    clock = Steady()
    breaker = Breaker(clock, failures=1, open_seconds=10)
    breaker.failed("a")
    clock.at += 9.9
    assert not breaker.allows("a")
    clock.at += 0.1
    assert [breaker.allows("a") for _ in range(10)].count(True) == 1
    assert breaker.failed("a") is False  # was open: not opened anew, but for another ten seconds
    clock.at += 9.9
    assert not breaker.allows("a")
    clock.at += 0.1
    assert breaker.allows("a")
    breaker.succeeded("a")
    assert all(breaker.allows("a") for _ in range(10))


def test_stragglers_do_not_lengthen_the_opening() -> None:
    clock = Steady()
    breaker = Breaker(clock, failures=1, open_seconds=10)
    breaker.failed("a")
    clock.at += 9
    breaker.failed("a")
    clock.at += 1
    assert breaker.allows("a")


def test_a_probe_that_never_reports_is_given_up() -> None:
    clock = Steady()
    breaker = Breaker(clock, failures=1, open_seconds=10)
    breaker.failed("a")
    clock.at += 10
    assert breaker.allows("a")
    clock.at += 9.9
    assert not breaker.allows("a")
    clock.at += 0.1
    assert breaker.allows("a")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["ask", "ok", "fail", "wait"]))))
def test_servers_do_not_touch_each_other_and_none_is_shut_out_for_ever(steps: list[tuple[str, str]]) -> None:
    clock = Steady()
    both, alone = Breaker(clock, failures=2, open_seconds=1), Breaker(clock, failures=2, open_seconds=1)
    for server, step in steps:
        if step == "wait":
            clock.at += 0.6
        elif step == "ask":
            assert server != "a" or both.allows("a") == alone.allows("a")
        else:
            for breaker in (both, alone) if server == "a" else (both,):
                (breaker.succeeded if step == "ok" else breaker.failed)(server)
    clock.at += 2
    assert both.allows("a")
    assert both.allows("b")


def test_second_tries_are_a_tenth_after_a_few_free_ones() -> None:
    budget = RetryBudget()
    assert [budget.take("a") for _ in range(11)].count(True) == 10
    for _ in range(100):
        budget.sent("a")
    assert 9 <= [budget.take("a") for _ in range(20)].count(True) <= 10
    assert budget.take("b")

"""Our engine and a second, literal reading of the guideline analysis agree on thousands of random orders."""

from __future__ import annotations

from collections import Counter

import pytest

from cds_service.domain.dosing import assess
from tests.support import dose_oracle
from tests.support.dose_setting import TABLE, order
from tests.support.random_orders import Orders


def _ours(draft, drafts, chart):
    alongside = [order(one) for one in drafts] + [order(one, draft=False) for one in chart]
    return {
        result.ingredient: (
            result.daily,
            result.daily_verdict.value,
            result.concentration,
            result.concentration_verdict.value,
        )
        for result in assess(order(draft), alongside, TABLE).results
    }


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_second_reading_on_random_orders(seed):
    """A thousand situations per seed: mixtures, steps, caps, broken units, neighbours of every kind."""
    source, seen = Orders(seed), Counter()
    for number in range(1000):
        draft, drafts, chart = source.situation()
        expected = dose_oracle.judge(draft, drafts, chart)
        assert _ours(draft, drafts, chart) == expected, f"seed {seed}, situation {number}: {draft}"
        seen.update(verdict for _, verdict, _, _ in expected.values())
    # The comparison is worth something only if all verdicts occur often.
    assert min(seen[word] for word in ("within", "exceeds", "no_limit_stated", "cannot_be_determined")) > 50

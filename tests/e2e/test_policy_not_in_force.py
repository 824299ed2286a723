"""On a day before the guideline took effect its first version is used, and the card says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.support.e2e_patient import answered, call, chart, coverage
from tests.support.e2e_service import Service, WallClock


@pytest.mark.parametrize(("day", "said"), [((2016, 2, 14), True), ((2016, 2, 15), False)])
def test_a_guideline_not_yet_in_force_is_named_so(
    start: Callable[..., Service], day: tuple[int, int, int], *, said: bool
) -> None:
    service = start(clock=WallClock(datetime(*day, 12, tzinfo=UTC).timestamp()))
    held = chart(
        coverage=[coverage(period={"start": "2016-01-01"})],
        questionnaireResponses=[answered(authored="2016-02-10T09:00:00Z")],
    )
    [card] = service.post(call(held=held)).check().cards
    assert ("No version of the guideline is in force on this day" in card["detail"]) is said

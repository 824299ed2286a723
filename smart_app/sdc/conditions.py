"""One ``enableWhen`` against the answers of the question that it names (SD-08)."""

from __future__ import annotations

from collections.abc import Sequence

from smart_app.sdc.comparison import equal, order
from smart_app.sdc.shapes import EnableWhen, Fragment
from smart_app.sdc.texts import value_of


def holds(condition: EnableWhen, answers: Sequence[Fragment]) -> bool:
    """One ``enableWhen``. ``!=`` holds when no answer is equal, so also without any; comparisons need one answer."""
    wanted = condition.answer
    if condition.operator == "exists":
        return bool(answers) is (value_of(wanted) is True)
    if condition.operator == "=":
        return any(equal(one, wanted) is True for one in answers)
    if condition.operator == "!=":
        return not any(equal(one, wanted) is True for one in answers)
    orders = [order(one, wanted) for one in answers]
    allowed = {">": {1}, "<": {-1}, ">=": {0, 1}, "<=": {-1, 0}}.get(condition.operator, set())
    return any(one in allowed for one in orders)

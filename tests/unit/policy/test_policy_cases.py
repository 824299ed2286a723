"""The guideline's case files: each sentence holds, and together they leave no criterion and no threshold untried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.policy_cases import CONFIG, all_cases, judge, read, shipped, simple
from tests.support.policy_expectations import shown

CASES = all_cases("09-J1000-31")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_sentence_holds(case: Mapping[str, Any]) -> None:
    result = judge(case, shipped())
    assert shown(result, case["expect"]) == case["expect"]


def test_every_criterion_is_seen_met_not_met_and_unknown() -> None:
    seen = {(name, status) for case in CASES for name, status in case["expect"].get("criteria", {}).items()}
    wanted = {(name, status) for name in shipped().guidelines[0].criteria for status in ("met", "not_met", "unknown")}
    assert wanted - seen == set()


def test_every_threshold_is_tried_on_both_sides() -> None:
    tried = {
        (threshold, case["holds"])
        for case in CASES
        if "threshold" in case
        for threshold in _thresholds(case["threshold"])
    }
    wanted = {(threshold, side) for threshold in set(_stated()) for side in ("yes", "no")}
    assert wanted - tried == set()
    assert {threshold for threshold, _ in tried} <= set(_stated()), "a threshold that the data does not state"


def _thresholds(text: str) -> list[str]:
    return [text] if " at_least " in text else text.split()


def _data(name: str) -> Any:
    path = CONFIG / "policies" / "09-J1000-31" / name
    node = read(path.read_text("utf-8"), name, [])
    assert node is not None
    return simple(node)


NUMBERS = ("max_age_days", "gap_days", "enough_days", "at_least_percent", "before_days", "after_days")
# An attestation's own age cannot be tried where the determination rests on nothing but its date.
NOT_DECIDING = {"preservative_free_confirmed.max_age_days"}


def _stated() -> Iterator[str]:
    """Every number of the data that can turn an outcome."""
    facts = _data("facts.yaml")
    for name, course in facts["courses"].items():
        yield from (f"{name}.{key}" for key in course if key in NUMBERS)
    for fact in facts["facts"]:
        for key in [key for key in fact if key in NUMBERS] + [
            key for source in fact.get("chart", ()) for entry in source.values() for key in entry if key in NUMBERS
        ]:
            if f"{fact['name']}.{key}" not in NOT_DECIDING:
                yield f"{fact['name']}.{key}"
    for criterion in _data("policy.yaml")["criteria"]:
        yield from _at_least(criterion["test"])
    for row in _data("dosing.yaml")["rows"]:
        yield from (f"{row['drug']}.{key}" for key in ("daily", "concentration") if row[key] is not None)


def _at_least(test: Any) -> Iterator[str]:
    ((kind, entry),) = test.items()
    if kind in {"all", "any"}:
        for part in entry:
            yield from _at_least(part)
    elif kind in {"at_least", "at_most"}:
        yield f"{entry['fact']} {kind} {entry['value']}"

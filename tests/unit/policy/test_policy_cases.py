"""The guideline's case files: each sentence holds, and together they leave no criterion and no threshold untried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cds_service.domain.determination import OrderDetermination
from tests.support.policy_cases import CONFIG, all_cases, judge, read, shipped, simple

CASES = all_cases("09-J1000-31")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_sentence_holds(case: Mapping[str, Any]) -> None:
    result = judge(case, shipped())
    expect = case["expect"]
    assert set(expect) <= set(SEEN), "an expectation that nothing checks"
    assert {name: SEEN[name](result, wanted) for name, wanted in expect.items()} == expect


def _dose(result: OrderDetermination, wanted: Any) -> Any:
    if not result.dose:
        return "none"
    return {each.ingredient: [each.daily_verdict.value, each.concentration_verdict.value] for each in result.dose}


SEEN = {
    "decision": lambda result, _: result.decision.value,
    "approval_duration": lambda result, _: result.approval_duration,
    "request_type": lambda result, _: result.request_type,
    "in_scope": lambda result, _: {True: "yes", False: "no", None: "unknown"}[result.in_scope],
    "criteria": lambda result, wanted: {name: result.criteria[name].status.value for name in wanted},
    "sections": lambda result, wanted: {name: result.sections[name].value for name in wanted},
    "missing": lambda result, _: list(result.missing_facts),
    "flags": lambda result, wanted: _flags(result, wanted),
    "tier": lambda result, _: result.tier.tier,
    "caveats": lambda result, _: list(result.tier.caveats),
    "icd": lambda result, _: {"status": result.icd.status, "codes": list(result.icd.codes)},
    "billing": lambda result, _: list(result.billing),
    "rationale_on_file": lambda result, _: "yes" if result.rationale_on_file else "no",
    "dose": _dose,
}


def _flags(result: OrderDetermination, wanted: Any) -> Any:
    return [[each.code, each.subject] for each in result.flags]


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

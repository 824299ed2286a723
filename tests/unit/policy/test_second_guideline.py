"""A made-up guideline for other drugs runs through the same code: data decides, Python knows no guideline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cds_service.policy.predicates import PREDICATES
from tests.support.policy_cases import ROOT, judge, load_cases, second, shipped, simple
from tests.support.policy_cases import read as read_yaml
from tests.support.policy_expectations import shown

CASES = load_cases(ROOT / "tests" / "second_guideline" / "cases.yaml")
ORDER = {
    "second": "yes",
    "route": "systemic",
    "drugs": {"examplinib": {"rxcui": "9900002", "mg_per_ml": "4", "mg_per_day": "8"}},
    "reasons": ["icd10:M99.01"],
}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_sentence_holds(case: Mapping[str, Any]) -> None:
    result = judge({"order": ORDER, **case}, second())
    assert shown(result, case["expect"]) == case["expect"]


def test_python_names_nothing_of_either_guideline() -> None:
    words = set()
    for configuration in (shipped(), second()):
        guideline = configuration.guidelines[0]
        words |= {*guideline.facts, *guideline.scope.drugs, guideline.id, *(set(guideline.criteria) - {"stem"})}
        words |= {each.code for each in (*guideline.icd, *guideline.hcpcs)}
    words -= {"concentration", "daily_dose", "compounded", "request_type"}  # also keys of the files and the document
    for path in sorted((ROOT / "cds_service" / "policy").glob("*.py")):
        text = path.read_text("utf-8")
        code = "\n".join(line for line in text.splitlines() if '"' in line and '"""' not in line)
        assert [word for word in sorted(words) if f'"{word}"' in code] == [], path.name


def test_every_kind_of_test_is_used_by_a_guideline_of_the_tests() -> None:
    used: set[str] = set()
    for folder in ("config", "tests/second_guideline/config"):
        for path in (ROOT / folder / "policies").rglob("policy.yaml"):
            for criterion in _criteria(path):
                used |= set(_kinds(criterion["test"]))
    assert set(PREDICATES) - used == {"concentration_at_most"}  # tried alone in test_predicates


def _criteria(path: Path) -> Any:
    node = read_yaml(path.read_text("utf-8"), path.name, [])
    assert node is not None
    return simple(node)["criteria"]


def _kinds(test: Any) -> list[str]:
    ((kind, entry),) = test.items()
    parts = entry if isinstance(entry, list) else [entry] if kind == "not" else []
    return [kind, *(name for part in parts for name in _kinds(part))]

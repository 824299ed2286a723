"""Kinds of tests alone, where the two guidelines do not reach."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from cds_service.adapters.strict_yaml import read
from cds_service.domain.determination import DoseAssessment, DoseResult, Verdict
from cds_service.domain.truth import Truth
from cds_service.policy.predicates import TEST, Surroundings, build_test
from cds_service.policy.shapes import Reading
from cds_service.policy.source import At
from cds_service.policy.view import View
from tests.support.policy_cases import MORPHINE, case_of, day, shipped

GUIDELINE = shipped().guidelines[0]


def outcome(
    text: str, case: dict[str, Any] | None = None, dose: DoseAssessment | None = None
) -> tuple[Truth, tuple[str, ...]]:
    """What a test written as YAML gives for a case."""
    complaints: list[Any] = []
    node = read(text, "t.yaml", complaints)
    assert node is not None
    tagged = TEST.read(node, "", Reading(complaints))
    around = Surroundings(
        criterion="C",
        at=At("t.yaml", 1),
        options={
            name: tuple(option.code for option in fact.options)
            for name, fact in GUIDELINE.facts.items()
            if fact.options
        },
        kinds={name: fact.kind for name, fact in GUIDELINE.facts.items()},
        labels={},
        words={},
        units={},
        titles={},
        value_sets=frozenset(shipped().vocabulary.value_sets),
        courses={},
        drugs=GUIDELINE.scope.drugs,
        sections={},
        dose_fact="daily_dose",
        concentration_fact="concentration",
        wrong=lambda at, found, allowed: complaints.append((at, found, allowed)),
        named=[],
        named_sections=[],
        types=[],
    )
    assert tagged is not None
    test, _ = build_test(tagged, around)
    assert complaints == []
    built = case_of({"answers": {}, "order": MORPHINE, **(case or {})}, shipped())
    if dose is not None:
        built = msgspec.structs.replace(built, dose=dose)
    today = day("2026-03-02")
    assert today is not None
    view = View(built, today, shipped().vocabulary, GUIDELINE.plan.codes, GUIDELINE.plan.facts)
    result: tuple[Truth, tuple[str, ...]] = test(view)
    return result


def morphine(daily: str | None, concentration: str | None, daily_verdict: Verdict = Verdict.WITHIN) -> DoseAssessment:
    """One dose result."""
    return DoseAssessment(
        (
            DoseResult(
                "morphine",
                "7052",
                (),
                None if daily is None else Fraction(daily),
                None,
                daily_verdict,
                None if concentration is None else Fraction(concentration),
                None,
                Verdict.WITHIN,
            ),
        )
    )


@pytest.mark.parametrize(
    ("text", "dose", "expected"),
    [
        ("concentration_at_most: {drug: morphine, value: 20}", morphine("1", "20"), (Truth.MET, ())),  # inclusive
        ("concentration_at_most: {drug: morphine, value: 20}", morphine("1", "20.1"), (Truth.NOT_MET, ())),
        (
            "concentration_at_most: {drug: morphine, value: 20}",
            morphine("1", None),
            (Truth.UNKNOWN, ("concentration",)),
        ),
        ("daily_amount_at_most: {drug: morphine, value: 12}", morphine("12", "20"), (Truth.MET, ())),
        ("daily_amount_at_most: {drug: morphine, value: 12}", morphine("12.001", "20"), (Truth.NOT_MET, ())),
        ("daily_amount_at_most: {drug: morphine, value: 12}", morphine(None, "20"), (Truth.UNKNOWN, ("daily_dose",))),
        (  # the known part is above already
            "daily_amount_at_most: {drug: morphine, value: 12}",
            morphine("13", "20", Verdict.EXCEEDS),
            (Truth.NOT_MET, ()),
        ),
        (  # the known part is below, and there is more that is not known
            "daily_amount_at_most: {drug: morphine, value: 12}",
            morphine("8", "20", Verdict.CANNOT_BE_DETERMINED),
            (Truth.UNKNOWN, ("daily_dose",)),
        ),
        ("daily_amount_at_most: {drug: fentanyl, value: 12}", morphine("8", "20"), (Truth.UNKNOWN, ("daily_dose",))),
    ],
)
def test_dose_tests(text: str, dose: DoseAssessment, expected: tuple[Truth, tuple[str, ...]]) -> None:
    assert outcome(text, dose=dose) == expected


YES = "chosen: {fact: systemic_opioid_included, met: [yes], not_met: [no], unknown: [cannot_determine]}"
OTHER = "chosen: {fact: intraspinal_trial_done, met: [yes], not_met: [no], unknown: [cannot_determine]}"
WORD = {Truth.MET: "yes", Truth.NOT_MET: "no", Truth.UNKNOWN: "cannot_determine"}


@pytest.mark.parametrize("first", Truth)
@pytest.mark.parametrize("other", Truth)
@pytest.mark.parametrize(("kind", "strongest"), [("all", Truth.NOT_MET), ("any", Truth.MET)])
def test_kleene_tables_of_all_and_any(kind: str, strongest: Truth, first: Truth, other: Truth) -> None:
    answers = {"systemic_opioid_included": WORD[first], "intraspinal_trial_done": WORD[other]}
    status, missing = outcome(f"{kind}:\n  - {YES}\n  - {OTHER}\n", {"answers": answers})
    if strongest in {first, other}:
        assert (status, missing) == (strongest, ())
    elif Truth.UNKNOWN in {first, other}:
        assert status is Truth.UNKNOWN
        assert len(missing) == [first, other].count(Truth.UNKNOWN)
    else:
        assert (status, missing) == (first, ())


@pytest.mark.parametrize("first", Truth)
def test_kleene_table_of_not(first: Truth) -> None:
    status, missing = outcome(f"not:\n  {YES}\n", {"answers": {"systemic_opioid_included": WORD[first]}})
    assert status is {Truth.MET: Truth.NOT_MET, Truth.NOT_MET: Truth.MET, Truth.UNKNOWN: Truth.UNKNOWN}[first]
    assert bool(missing) is (first is Truth.UNKNOWN)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"code": "icd10:D68.9"}, Truth.MET),
        ({"code": "icd10:D68.9", "active": "no"}, Truth.UNKNOWN),  # resolved: absence proves nothing
        ({"code": "icd10:D68.9", "confirmed": "no"}, Truth.UNKNOWN),
        ({"code": "icd10:I10"}, Truth.UNKNOWN),
    ],
)
def test_active_condition(condition: dict[str, str], expected: Truth) -> None:
    case = {"chart": {"conditions": [condition]}}
    assert outcome("active_condition: {value_set: coagulopathy}", case) == (expected, ())

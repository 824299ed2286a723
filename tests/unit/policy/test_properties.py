"""Laws of three-valued logic, tried on the shipped guideline with random answers."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cds_service.domain.determination import OrderDetermination
from cds_service.domain.truth import Truth
from tests.support.policy_cases import judge, shipped

GUIDELINE = shipped().guidelines[0]
ASKED = {
    name: [option.code for option in fact.options]
    for name, fact in GUIDELINE.facts.items()
    if fact.kind == "choice" and fact.feeds[0].startswith(("I", "stem")) and name != "request_type"
}
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.sampled_from(codes) for name, codes in ASKED.items()},
        "noninvasive_trial_weeks": st.sampled_from(["0", "5", "5.99", "6", "52"]),
        "intraspinal_trial_pain_baseline": st.sampled_from(["0", "4", "8"]),
        "intraspinal_trial_pain_after": st.sampled_from(["0", "2", "4", "7"]),
    },
)
COURSE = st.fixed_dictionaries(
    {
        "drug": st.sampled_from(["oxycodone", "morphine", "gabapentin"]),
        "by": st.sampled_from(["mouth", "spine"]),
        "schedule": st.sampled_from(["twice a day", "as needed"]),
        "from": st.sampled_from(["2025-08-01", "2025-09-01", "2025-10-01"]),
        "to": st.sampled_from(["2025-10-05", "2025-10-20", "2025-11-20"]),
    }
)
CHARTS = st.fixed_dictionaries(
    {
        "medications": st.lists(COURSE, max_size=3),
        "conditions": st.lists(
            st.fixed_dictionaries(
                {"code": st.sampled_from(["icd10:D68.9", "icd10:Z51.5", "icd10:A41.9", "icd10:I10"])}
            ),
            max_size=2,
        ),
    }
)


def permanent(answers: dict[str, str], chart: dict[str, object] | None = None) -> OrderDetermination:
    """Everything of both sections under these answers."""
    return judge({"answers": {"request_type": "permanent", **answers}, "chart": chart or {}}, shipped())


@given(ANSWERS, ANSWERS)
def test_a_further_answer_never_turns_what_was_settled(first: dict[str, str], more: dict[str, str]) -> None:
    before = permanent(first)
    after = permanent({**more, **{name: word for name, word in first.items() if word != "cannot_determine"}})
    for name, result in before.criteria.items():
        if result.status is not Truth.UNKNOWN:
            assert after.criteria[name].status is result.status


@given(ANSWERS, ANSWERS, CHARTS)
def test_only_a_missing_fact_settles_an_unknown_criterion(
    first: dict[str, str], more: dict[str, str], chart: dict[str, object]
) -> None:
    before = permanent(first, chart)
    for name, result in before.criteria.items():
        if result.status is Truth.UNKNOWN and result.missing:
            idle = {fact: word for fact, word in more.items() if fact not in result.missing and fact not in first}
            idle = {fact: word for fact, word in idle.items() if not fact.startswith("intraspinal_trial_pain")}
            assert permanent({**idle, **first}, chart).criteria[name].status is Truth.UNKNOWN


@given(ANSWERS)
def test_nothing_answered_is_asked_again(answers: dict[str, str]) -> None:
    settled = {name for name, word in answers.items() if word != "cannot_determine"}
    assert settled.isdisjoint(permanent(answers).missing_facts)


@given(ANSWERS, CHARTS)
def test_missing_facts_are_in_questionnaire_order_and_each_once(
    answers: dict[str, str], chart: dict[str, object]
) -> None:
    missing = permanent(answers, chart).missing_facts
    order = list(GUIDELINE.facts)
    assert list(missing) == sorted(set(missing), key=order.index)


@given(ANSWERS, CHARTS)
def test_sections_follow_from_their_criteria(answers: dict[str, str], chart: dict[str, object]) -> None:
    result = permanent(answers, chart)
    for name, section in GUIDELINE.sections.items():
        statuses = [result.criteria[criterion].status for criterion in section.criteria]
        if Truth.NOT_MET in statuses:
            assert result.sections[name] is Truth.NOT_MET
        elif Truth.UNKNOWN in statuses:
            assert result.sections[name] is Truth.UNKNOWN
        else:
            assert result.sections[name] is Truth.MET


@given(ANSWERS, st.lists(COURSE, min_size=1, max_size=4))
def test_the_order_of_prescriptions_does_not_matter(answers: dict[str, str], courses: list[dict[str, str]]) -> None:
    results = {
        permanent(answers, {"medications": list(each)}).criteria["I.2"].status
        for each in itertools.islice(itertools.permutations(courses), 6)
    }
    assert len(results) == 1


@given(ANSWERS, COURSE, CHARTS)
def test_a_further_prescription_never_disproves(
    answers: dict[str, str], course: dict[str, str], chart: dict[str, list[object]]
) -> None:
    before = permanent(answers, chart).criteria["I.2"].status
    more = {**chart, "medications": [*chart["medications"], course]}
    after = permanent(answers, more).criteria["I.2"].status
    if before is not Truth.NOT_MET:
        assert after is not Truth.NOT_MET

"""Findings of several orders: what is the same stands once, what differs says of which lines it is."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.domain.prior_auth import CaseLine, LineKind
from cds_service.use_cases.review_criteria import Findings, findings


def line(sequence: int, order: str) -> CaseLine:
    return CaseLine(sequence=sequence, kind=LineKind.OTHER, system="", code="", text="", order=order)


def result(status: str, *shows: str) -> dict[str, Any]:
    evidence = [{"source": "QuestionnaireResponse/q", "date": None, "shows": each} for each in shows]
    return {"status": status, "evidence": evidence, "missing": []}


def order(
    name: str, flags: tuple[tuple[str, str], ...] = (), icd: str = "supported", **criteria: Any
) -> dict[str, Any]:
    return {
        "order": name,
        "request_type": "trial",
        "decision": "meets",
        "sections": {},
        "criteria": criteria,
        "dose": [],
        "flags": [{"code": code, "subject": subject} for code, subject in flags],
        "tier": {"tier": "not_addressed", "caveats": []},
        "icd": {"status": icd, "codes": []},
        "billing": [],
        "missing_facts": [],
    }


def told(found: Findings) -> list[tuple[str, str, str]]:
    return [(each.what.id, each.what.status, each.of) for each in found.criteria]


LINES = [line(1, "A/1"), line(2, "B/1"), line(3, "C/1")]


def test_what_is_the_same_for_every_line_is_said_once_and_of_none() -> None:
    orders = [order(name, a=result("met", "yes")) for name in ("A/1", "B/1", "C/1")]
    found = findings(orders, LINES, None)
    assert told(found) == [("a", "met", "")]
    assert [each.of for each in found.results] == [""]


def test_another_status_or_other_evidence_is_a_row_of_its_own() -> None:
    orders = [
        order("A/1", a=result("met", "yes"), b=result("met", "6 weeks")),
        order("B/1", a=result("met", "yes"), b=result("met", "8 weeks")),
        order("C/1", a=result("unknown"), b=result("met", "6 weeks")),
    ]
    found = findings(orders, LINES, None)
    assert told(found) == [
        ("a", "met", "lines 1 and 2"),
        ("a", "unknown", "line 3"),
        ("b", "met", "lines 1 and 3"),
        ("b", "met", "line 2"),
    ]
    assert [found.of_line(n)["a"].status for n in (1, 2, 3)] == ["met", "met", "unknown"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # A renewal of which everything is met: the guideline is silent, the chart is not.
        ({"request_type": "refill_or_renewal", "sections": {"II": "met"}}, "states no criteria for this"),
        ({"request_type": "refill_or_renewal", "sections": {"II": "unknown"}}, "not enough is known"),
        ({"sections": {"I": "met"}, "missing_facts": ["drug_route"]}, "not enough is known"),
        ({"request_type": "unknown", "sections": {}}, "not enough is known"),
    ],
)
def test_an_order_that_is_not_decided_says_whether_facts_or_criteria_are_missing(
    changes: dict[str, Any], words: str
) -> None:
    told = order("A/1") | {"decision": "insufficient_information"} | changes
    assert words in findings([told], LINES, None).results[0].what[0]


def test_two_lines_of_one_order_are_both_named() -> None:
    lines = [line(1, "A/1"), line(2, "A/1"), line(3, "B/1")]
    found = findings([order("A/1", a=result("met")), order("B/1", a=result("unknown"))], lines, None)
    assert told(found) == [("a", "met", "lines 1 and 2"), ("a", "unknown", "line 3")]


def test_an_order_that_no_line_names_is_shown_without_a_line() -> None:
    found = findings([order("X/9", a=result("unknown"))], LINES, None)
    assert told(found) == [("a", "unknown", "")]
    assert found.of_line(1) == {}


def test_a_remark_about_its_own_order_is_the_same_remark() -> None:
    orders = [order(name, (("route_missing", name), ("anticoagulant", "warfarin"))) for name in ("A/1", "C/1")]
    found = findings([*orders, order("B/1", icd="unknown")], LINES, None)
    assert [(each.what, each.of) for each in found.remarks] == [
        ("no route is stated", "lines 1 and 3"),
        ("an anticoagulant is taken (warfarin)", "lines 1 and 3"),
    ]
    assert [(each.what, each.of) for each in found.advice] == [
        ("diagnosis: on the guideline's list", "lines 1 and 3"),
        ("diagnosis: none that could be read", "line 2"),
    ]


def test_a_remark_on_the_kind_of_request_names_it_in_words() -> None:
    flags = (("renewal_criteria_not_stated", "refill_or_renewal"),)
    found = findings([order("A/1", flags)], LINES, None)
    assert [each.what for each in found.remarks] == [
        "the guideline states no criteria for a renewal (refill or renewal)"
    ]

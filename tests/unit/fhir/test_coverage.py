"""Whose member, which Coverage, which program (decisions 3; contract: determination, its end)."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cds_service.domain.determination import Program
from cds_service.domain.payer import Payer, ProgramRules
from cds_service.fhir.chart import Chart
from cds_service.fhir.coverage import CoverageChoice, choose, know, read_coverages
from cds_service.ports import Fetched
from tests.unit.fhir.charts import SUBJECT, chart_of, concept, order

AS_OF = date(2026, 3, 2)
SOPT = "https://nahdo.org/sopt"
NAIC = "urn:oid:2.16.840.1.113883.6.300"
OURS = {"system": NAIC, "value": "11111"}
THEIRS = {"system": NAIC, "value": "99999"}
PAYER = Payer(
    names=("Sample Blue", "Sample Blue of Example"),
    identifiers=((NAIC, "11111"),),
    generic_names=("insurance", "payer", "unknown"),
    label="Sample Blue",
    programs={
        Program.FEP: ProgramRules(Program.FEP, ("FEP-104", "FEP"), ("Federal Employee Program",)),
        Program.SAO: ProgramRules(Program.SAO, ("SAO",), ("State Account Organization",)),
        Program.MEDICARE_ADVANTAGE: ProgramRules(
            Program.MEDICARE_ADVANTAGE, (), ("Medicare Advantage",), ((SOPT, "1*"), ("x", "MCR"))
        ),
    },
)
NAMED = [{"display": "Sample Blue"}]


def coverage(ident: str = "cov", **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Coverage",
        "id": ident,
        "status": "active",
        "beneficiary": SUBJECT,
        "subscriberId": "W1",
        "period": {"start": "2026-01-01", "end": "2026-12-31"},
        "payor": NAMED,
        **elements,
    }


def chosen(chart: Chart, draft: dict[str, Any]) -> CoverageChoice:
    return choose(chart, read_coverages(chart, know(PAYER), AS_OF), draft)


def pick(*stored: dict[str, Any], insurance: tuple[str, ...] = ()) -> CoverageChoice:
    draft = order(insurance=[{"reference": reference} for reference in insurance])
    return chosen(chart_of(*stored, drafts=[draft]), draft)


def organization(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Organization", "id": "org", **elements}


REFERRED = {"payor": [{"reference": "Organization/org"}]}

PAYORS = [
    # (comment, Coverage elements, Organization elements, state)
    ("name", {}, None, "ours"),
    ("name in other case, spaces, punctuation", {"payor": [{"display": "SAMPLE-blue,  of example."}]}, None, "ours"),
    ("never by substring", {"payor": [{"display": "Sample Blue Cross"}]}, None, "foreign"),
    ("identifier on the reference", {"payor": [{"identifier": OURS}]}, None, "ours"),
    ("identifier wins over an unfamiliar name", {"payor": [{"identifier": OURS, "display": "SB Inc"}]}, None, "ours"),
    ("right value, other system", {"payor": [{"identifier": {"system": "x", "value": "11111"}}]}, None, "foreign"),
    ("value without system proves nothing", {"payor": [{"identifier": {"value": "99999"}}]}, None, "unknown"),
    ("Organization by identifier", REFERRED, {"identifier": [{"value": "x"}, OURS], "name": "SB Inc"}, "ours"),
    ("Organization by name", REFERRED, {"name": "Sample Blue"}, "ours"),
    ("Organization by alias", REFERRED, {"name": "SB Inc", "alias": ["Sample Blue"]}, "ours"),
    ("contained Organization",
     {"payor": [{"reference": "#o"}], "contained": [organization(id="o", name="Sample Blue")]}, None, "ours"),
    ("our name, numbered by the EHR", REFERRED,
     {"identifier": [{"system": "urn:ehr", "value": "7"}], "name": "Sample Blue"}, "ours"),
    ("unfamiliar name", {"payor": [{"display": "Example Health Plan"}]}, None, "foreign"),
    ("foreign identifier, generic name", REFERRED, {"identifier": [THEIRS], "name": "Insurance"}, "foreign"),
    ("foreign identifier, no name", {"payor": [{"identifier": THEIRS}]}, None, "foreign"),
    ("generic name", {"payor": [{"display": "Insurance"}]}, None, "unknown"),
    ("empty name", {"payor": [{"display": " - "}]}, None, "unknown"),
    ("Organization without a name", REFERRED, {}, "unknown"),
    ("Organization that is nowhere", REFERRED, None, "unknown"),
    ("Organization that is nowhere, with display",
     {"payor": [{"reference": "Organization/x", "display": "Sample Blue"}]}, None, "ours"),
    ("no payor", {"payor": []}, None, "unknown"),
    ("paid by the patient", {"payor": [{"reference": "Patient/p1"}]}, None, "foreign"),
    ("two payors, one ours", {"payor": [{"display": "Example Health Plan"}, *NAMED]}, None, "ours"),
    ("wrong shapes", {"payor": "Sample Blue", "class": 7, "type": [], "identifier": {}}, None, "unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("elements", "org", "state"), [row[1:] for row in PAYORS], ids=[row[0] for row in PAYORS])
def test_whose_member(elements: dict[str, Any], org: dict[str, Any] | None, state: str) -> None:
    stored = [coverage(**elements)] if org is None else [coverage(**elements), organization(**org)]
    choice = pick(*stored)
    assert choice.state == state
    assert (choice.program is Program.OTHER_PAYER) == (state == "foreign")
    assert (choice.program is Program.UNKNOWN) == (state == "unknown")
    assert choice.reference == "Coverage/cov"


def classed(value: str = "", name: str = "") -> dict[str, Any]:
    return {"class": [{"type": concept("x", "plan"), "value": value, "name": name}]}


PROGRAMS = [
    ("standard", {}, Program.STANDARD),
    ("group value", classed("fep 104"), Program.FEP),
    ("never by substring", classed("FEP-1045"), Program.STANDARD),
    ("class name", classed("7", "Federal Employee Program"), Program.FEP),
    ("type text", {"type": {"text": "State account organization"}}, Program.SAO),
    ("type display", {"type": concept("x", "MA", "Medicare Advantage")}, Program.MEDICARE_ADVANTAGE),
    ("type code", {"type": concept(SOPT, "1")}, Program.MEDICARE_ADVANTAGE),
    ("type code below it", {"type": concept(SOPT, "111")}, Program.MEDICARE_ADVANTAGE),
    ("another type code", {"type": concept(SOPT, "511")}, Program.STANDARD),
    ("the code of another list", {"type": concept("y", "1")}, Program.STANDARD),
    ("a whole code", {"type": concept("x", "MCR")}, Program.MEDICARE_ADVANTAGE),
    ("never by the beginning of a whole code", {"type": concept("x", "MCR2")}, Program.STANDARD),
    ("two programs", {**classed("FEP"), "type": {"text": "Medicare Advantage"}}, Program.UNKNOWN),
    ("two words of one program", {**classed("FEP"), "type": {"text": "Federal Employee Program"}}, Program.FEP),
]


@pytest.mark.parametrize(("elements", "program"), [row[1:] for row in PROGRAMS], ids=[row[0] for row in PROGRAMS])
def test_program(elements: dict[str, Any], program: Program) -> None:
    assert pick(coverage(**elements)).program is program


FORCE = [
    ("in period", {}, True),
    ("first day", {"period": {"start": "2026-03-02"}}, True),
    ("last day", {"period": {"end": "2026-03-02"}}, True),
    ("ended yesterday", {"period": {"end": "2026-03-01"}}, False),
    ("begins tomorrow", {"period": {"start": "2026-03-03"}}, False),
    ("end of the month", {"period": {"end": "2026-03"}}, True),
    ("no period", {"period": None}, True),
    ("cancelled", {"status": "cancelled"}, False),
    ("draft", {"status": "draft"}, False),
    ("status missing", {"status": None}, True),
]


@pytest.mark.parametrize(("elements", "active"), [row[1:] for row in FORCE], ids=[row[0] for row in FORCE])
def test_in_force(elements: dict[str, Any], *, active: bool) -> None:
    choice = pick(coverage(**elements))
    assert (choice.state, choice.active) == ("ours", active)


FOREIGN = coverage("foreign", payor=[{"display": "Example Health Plan"}])
ENDED = {"period": {"end": "2025-12-31"}}

WHICH = [
    # (comment, stored Coverages, what the order names, state, reference)
    ("the order names it", [coverage("a"), coverage("b", subscriberId="W2")], ("Coverage/b",), "ours", "Coverage/b"),
    ("the order names another payer's", [coverage("a"), FOREIGN], ("Coverage/foreign",), "ours", "Coverage/a"),
    ("another payer's is ignored", [FOREIGN, coverage("a")], (), "ours", "Coverage/a"),
    ("lowest order", [coverage("a", order=2), coverage("b", order=1)], (), "ours", "Coverage/b"),
    ("one with order before one without", [coverage("a"), coverage("b", order=9)], (), "ours", "Coverage/b"),
    ("two members", [coverage("a"), coverage("b", subscriberId="W2")], (), "ambiguous", ""),
    ("two members, same order", [coverage("a", order=1), coverage("b", order=1, subscriberId="W2")], (), "ambiguous",
     ""),
    ("order decides between members", [coverage("a", order=1), coverage("b", order=2, subscriberId="W2")], (), "ours",
     "Coverage/a"),
    ("same member twice: the later end", [coverage("a"), coverage("b", period={"end": "2027-12-31"})], (), "ours",
     "Coverage/b"),
    ("ended one is ignored", [coverage("a", **ENDED, subscriberId="W2"), coverage("b")], (), "ours", "Coverage/b"),
    ("only an ended one", [coverage("a", **ENDED)], (), "ours", "Coverage/a"),
    ("order names last year's of the same member", [coverage("a", **ENDED), coverage("b")], ("Coverage/a",), "ours",
     "Coverage/b"),
    ("order names another member's ended one", [coverage("a", **ENDED, subscriberId="W2"), coverage("b")],
     ("Coverage/a",), "ours", "Coverage/a"),
    ("ours ended, order names the new payer", [coverage("a", **ENDED), FOREIGN], ("Coverage/foreign",), "foreign",
     "Coverage/foreign"),
    ("order names what is not there", [coverage("a")], ("Coverage/zzz", "../x"), "ours", "Coverage/a"),
    ("unknown payer before a foreign one", [FOREIGN, coverage("u", payor=[])], (), "unknown", "Coverage/u"),
    ("active foreign before an ended unknown", [FOREIGN, coverage("u", payor=[], **ENDED)], (), "foreign",
     "Coverage/foreign"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "insurance", "state", "reference"), [r[1:] for r in WHICH], ids=[r[0] for r in WHICH]
)
def test_which_coverage(stored: list[dict[str, Any]], insurance: tuple[str, ...], state: str, reference: str) -> None:
    choice = pick(*stored, insurance=insurance)
    assert (choice.state, choice.reference) == (state, reference)


def test_an_ended_coverage_is_said_to_be_so() -> None:
    choice = pick(coverage(**ENDED))
    assert (choice.active, choice.period_end, choice.why) == (False, date(2025, 12, 31), "not_in_force")


def test_same_member_in_two_programs_is_no_known_program() -> None:
    choice = pick(coverage("a"), coverage("b", **classed("FEP")))
    assert (choice.state, choice.program, choice.why) == ("ours", Program.UNKNOWN, "several_programs")


@pytest.mark.parametrize(
    ("prefetch", "fetched", "state"),
    [
        ({"coverage": None}, {}, "none"),
        ({"coverage": {"resourceType": "Bundle", "type": "searchset"}}, {}, "none"),
        ({}, {"coverage": Fetched("absent")}, "none"),
        ({}, {}, "not_readable"),  # neither sent nor asked for
        ({}, {"coverage": Fetched("denied")}, "not_readable"),
        ({}, {"coverage": Fetched("late")}, "not_readable"),
        ({}, {"coverage": Fetched("partial")}, "not_readable"),  # the missing page may hold it
        ({}, {"coverage": Fetched("failed", (coverage(),))}, "ours"),
        ({"coverage": {"resourceType": "OperationOutcome", "issue": []}}, {}, "not_readable"),
    ],
)
def test_crd_40_112_none_is_not_the_same_as_not_seen(
    prefetch: dict[str, Any], fetched: dict[str, Fetched], state: str
) -> None:
    chart = chart_of(drafts=[order()], prefetch=prefetch, fetched=fetched)
    assert chosen(chart, order()).state == state


def test_a_coverage_of_nobody_known_is_not_taken_for_none() -> None:
    chart = chart_of(coverage(beneficiary={"display": "Sample, Pat"}))
    assert chosen(chart, order()).state == "not_readable"


MEMBER = {"type": concept("http://terminology.hl7.org/CodeSystem/v2-0203", "MB"), "value": "M7"}


@pytest.mark.parametrize(
    ("elements", "member"),
    [
        ({"identifier": [{"value": "other"}, MEMBER]}, "M7"),
        ({"identifier": [{"value": "other"}]}, "W1"),
        ({"subscriberId": None}, ""),
    ],
)
def test_member_id(elements: dict[str, Any], member: str) -> None:
    assert pick(coverage(**elements)).member_id == member


def test_plans_and_evidence() -> None:
    choice = pick(coverage(**classed("PPO-GOLD")))
    assert choice.plans == ("PPO-GOLD",)
    assert [(each.source, each.date, each.shows) for each in choice.evidence] == [
        ("Coverage/cov", "2026-12-31", "payer known by name")
    ]

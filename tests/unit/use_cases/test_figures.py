"""The published figures, computed by hand from a synthetic log of case events."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import count
from typing import Any

import pytest

from cds_service.review_ports import StoredEvent
from cds_service.use_cases.figures import Figures, Group, as_csv, as_json, figures, percent, safe_cell

START = datetime(2026, 5, 4, 8, tzinfo=UTC)
YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
_numbers = count(1)


def case(ident: str, *steps: tuple[float, str, dict[str, Any]], **received: Any) -> list[StoredEvent]:
    """A case's log: it came in at START, each step is so many hours later."""
    first = {"program": "standard", "expedited": False, "has_drug": True, **received}
    told = [(0.0, "received", first), *steps]
    return [
        StoredEvent(next(_numbers), ident, 1, START + timedelta(hours=hours), kind, "somebody", detail)
        for hours, kind, detail in told
    ]


def line(hours: float, action: str, sequence: int = 1, *, drug: bool = True, machine: bool = False):
    detail = {"sequence": sequence, "kind": "drug", "drug": drug, "action": action, "machine": machine}
    return hours, "line_decided", detail


def done(hours: float, *, machine: bool = False):
    return hours, "decided", {"machine": machine}


def of(events: list[StoredEvent], program: str = "all", *, drug: bool = True, expedited: bool = False) -> Figures:
    group = Group(program, drug, expedited)
    return next(row for row in figures(events, *YEAR) if row.group == group)


def test_counts_shares_and_times_are_exact() -> None:
    log = [
        *case("a", line(0, "A1", machine=True), done(0, machine=True)),
        *case("b", line(10, "A1"), done(10)),
        *case("c", line(20, "A3"), done(20)),
        *case("d", line(41, "A6"), done(41)),
    ]
    found = of(log)
    assert (found.decided, found.approved, found.modified, found.not_certified) == (4, 2, 1, 1)
    assert found.share(found.approved) == Fraction(1, 2)
    assert sum(found.share(each) for each in (found.approved, found.modified, found.not_certified)) == 1
    assert found.mean_seconds == Fraction(71 * 3600, 4)
    assert found.median_seconds == Fraction(15 * 3600)
    assert found.without_a_person == 1


def test_a_third_stays_a_third() -> None:
    log = [*case("a", line(1, "A1"), done(1)), *case("b", line(1, "A3"), done(1)), *case("c", line(2, "A3"), done(2))]
    found = of(log)
    assert found.share(found.approved) == Fraction(1, 3)
    assert found.mean_seconds == Fraction(4 * 3600, 3)
    assert percent(found.share(found.approved)) == "33.33"


@pytest.mark.parametrize(
    ("actions", "outcome"),
    [
        (["A1", "A1"], "approved"),
        (["A1", "A3"], "modified"),  # something was approved, not all as asked for
        (["A6", "A3"], "modified"),
        (["A3", "A3"], "not_certified"),
        (["A1", "C"], "approved"),  # a cancelled line is asked for no more
    ],
)
def test_a_request_of_several_lines_has_one_outcome(actions: list[str], outcome: str) -> None:
    found = of(case("a", *(line(1, action, number) for number, action in enumerate(actions, 1)), done(1)))
    assert found.decided == 1
    assert getattr(found, outcome) == 1


def test_drugs_stand_apart_and_each_has_its_own_time() -> None:
    log = case("a", line(2, "A1", 1), line(30, "A3", 2, drug=False), done(30))
    drugs, others = of(log), of(log, drug=False)
    assert (drugs.approved, drugs.mean_seconds) == (1, 2 * 3600)
    assert (others.not_certified, others.mean_seconds) == (1, 30 * 3600)


def test_expedited_and_programs_are_told_apart_and_summed() -> None:
    log = [
        *case("a", line(1, "A1"), done(1), expedited=True),
        *case("b", line(2, "A1"), done(2), program="medicare_advantage", expedited=True),
        *case("c", line(3, "A1"), done(3)),
    ]
    assert of(log, expedited=True).decided == 2
    assert of(log, "medicare_advantage", expedited=True).mean_seconds == 2 * 3600
    assert of(log).decided == 1


def test_an_appeal_leaves_the_first_decision_and_is_counted_beside_it() -> None:
    log = [
        *case("a", line(5, "A3"), done(5), (50, "appeal", {}), line(60, "A1"), done(60)),
        *case("b", line(5, "A3"), done(5), (50, "appeal", {}), line(60, "A3"), done(60)),
        *case("c", line(5, "A3"), done(5)),
        *case("d", line(5, "A1"), done(5), (50, "updated", {}), line(60, "A1"), done(60)),
    ]
    found = of(log)
    assert (found.not_certified, found.approved, found.appealed, found.approved_after_appeal) == (3, 1, 2, 1)
    assert found.mean_seconds == 5 * 3600


def test_an_extension_counts_when_it_came_before_the_decision() -> None:
    log = [
        *case("a", (3, "extended", {"reason": "records"}), line(200, "A1"), done(200)),
        *case("b", (3, "extended", {"reason": "records"}), line(200, "A3"), done(200)),
        *case("c", line(2, "A1"), done(2), (9, "extended", {"reason": "late"})),
    ]
    found = of(log)
    assert (found.extended, found.approved_after_extension) == (2, 1)


@pytest.mark.parametrize(
    ("steps", "decided", "withdrawn"),
    [
        ([], 0, 0),  # nothing happened yet
        ([line(1, "A1", 1)], 0, 0),  # another line still waits
        ([(4, "cancelled", {})], 0, 1),
        ([line(4, "C", 1), (4, "cancelled", {}), done(4)], 0, 1),
    ],
)
def test_what_is_open_or_withdrawn_is_in_no_share(steps: list[Any], decided: int, withdrawn: int) -> None:
    rows = figures(case("a", *steps), *YEAR)
    assert sum(row.decided for row in rows if row.group.program == "all") == decided
    assert sum(row.withdrawn for row in rows if row.group.program == "all") == withdrawn
    assert all(row.mean_seconds is None for row in rows)


def test_a_request_counts_in_the_year_of_its_first_decision() -> None:
    log = case("a", line(24 * 300, "A1"), done(24 * 300))
    assert figures(log, *YEAR) == ()
    assert len(figures(log, YEAR[1], datetime(2028, 1, 1, tzinfo=UTC))) == 2


def test_the_same_log_gives_the_same_figures_in_json_and_csv() -> None:
    log = [*case("a", line(1, "A1"), done(1)), *case("b", line(2, "A3"), done(2), program="sao")]
    rows = figures(log, *YEAR)
    assert as_json(2026, rows) == as_json(2026, figures(log, *YEAR))
    document = json.loads(as_json(2026, rows))
    table = list(csv.DictReader(io.StringIO(as_csv(2026, rows))))
    assert [entry["decided"] for entry in document["groups"]] == [int(row["decided"]) for row in table]
    overall = document["groups"][0]
    assert overall["program"] == "all"
    assert overall["shares"]["approved"] == "1/2"
    assert overall["percent"]["approved"] == table[0]["percent_approved"] == "50.00"
    assert overall["median_seconds"] == "5400.000"
    assert table[0]["median_hours"] == "1.5"


@pytest.mark.parametrize(
    ("typed", "cell"),
    [
        ("=cmd()|' /C calc'!A0", "'=cmd()|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@sum(a1)", "'@sum(a1)"),
        ("\t=1", "' =1"),
        ("a\r\nb", "a  b"),
        ("standard", "standard"),
        ("12.5", "12.5"),
    ],
)
def test_bad_input_110_no_cell_of_the_csv_is_a_formula(typed: str, cell: str) -> None:
    assert safe_cell(typed) == cell


def test_bad_input_110_a_program_of_a_foreign_file_stays_text_in_csv() -> None:
    rows = figures(case("a", line(1, "A1"), done(1), program="=HYPERLINK(1)"), *YEAR)
    assert [row["program"] for row in csv.DictReader(io.StringIO(as_csv(2026, rows)))] == ["all", "'=HYPERLINK(1)"]

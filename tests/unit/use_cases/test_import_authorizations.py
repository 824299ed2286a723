"""Files of authorizations: each line for itself, complaints with line and column, and no second effect."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime

import pytest

from cds_service.adapters.memory import MemoryStore
from cds_service.errors import ConfigurationError, StoreUnavailable
from cds_service.ports import Authorization
from cds_service.use_cases.import_authorizations import ImportReport, Refusal, import_authorizations

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DRUGS = ("baclofen", "bupivacaine", "morphine")
HEADER = "number,member_id,status,drugs,route,start,end,max_daily,codes,billing,quantity,due"
FULL = "PA-1,M-1,active,morphine;bupivacaine,intrathecal,2026-02-01,2027-01-31,morphine=15 mg/d; bupivacaine=20 mg/d,"
FULL += '62322;62350,J2274,"30 days, refills",'
EXPECTED = Authorization(
    number="PA-1",
    member_id="M-1",
    status="active",
    drugs=("morphine", "bupivacaine"),
    route="intrathecal",
    start=date(2026, 2, 1),
    end=date(2027, 1, 31),
    max_daily={"morphine": "15 mg/d", "bupivacaine": "20 mg/d"},
    codes=("62322", "62350"),
    billing=("J2274",),
    quantity="30 days, refills",
    source="plan-a",
)
OBJECT = {
    "number": "PA-1",
    "member_id": "M-1",
    "status": "active",
    "drugs": ["morphine", "bupivacaine"],
    "route": "intrathecal",
    "start": "2026-02-01",
    "end": "2027-01-31",
    "max_daily": {"morphine": "15 mg/d", "bupivacaine": "20 mg/d"},
    "codes": ["62322", "62350"],
    "billing": ["J2274"],
    "quantity": "30 days, refills",
}


def run(store: MemoryStore, lines: Iterable[str | bytes], form: str = "csv", **more: object) -> ImportReport:
    raw = [line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines]
    return import_authorizations(store, raw, form=form, drugs=DRUGS, source="plan-a", at=AT, **more)  # type: ignore[arg-type]


def test_a_csv_row_with_every_column() -> None:
    store = MemoryStore()
    assert run(store, [HEADER, FULL]) == ImportReport(added=1, changed=0, unchanged=0, refused=())
    assert list(store.authorizations("M-1")) == [EXPECTED]


def test_an_ndjson_object_says_the_same() -> None:
    store = MemoryStore()
    assert run(store, [json.dumps(OBJECT)], "ndjson").added == 1
    assert list(store.authorizations("M-1")) == [EXPECTED]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_the_least_that_a_line_must_say(form: str) -> None:
    store = MemoryStore()
    least = {"number": "PA-1", "member_id": "M-1", "status": "pending", "start": "2026-02-01"}
    lines = [",".join(least), ",".join(least.values())] if form == "csv" else [json.dumps(least)]
    assert run(store, lines, form).added == 1
    found = store.authorizations("M-1")[0]
    assert (found.drugs, found.route, found.end, found.max_daily, found.due) == ((), "", None, {}, "")


def test_a_second_run_changes_nothing_and_a_new_state_changes_one() -> None:
    store = MemoryStore()
    other = FULL.replace("PA-1", "PA-2")
    assert run(store, [HEADER, FULL, other]).added == 2
    again = run(store, [HEADER, FULL, other])
    assert (again.added, again.changed, again.unchanged) == (0, 0, 2)
    third = run(store, [HEADER, FULL.replace("active", "revoked"), other])
    assert (third.added, third.changed, third.unchanged) == (0, 1, 1)
    assert [found.status for found in store.authorizations("M-1")] == ["revoked", "active"]


def test_the_source_belongs_to_the_identity() -> None:
    store = MemoryStore()
    lines = [HEADER + ",source", FULL + ",", FULL + ",plan-b"]
    assert run(store, lines).added == 2
    assert [found.source for found in store.authorizations("M-1")] == ["plan-a", "plan-b"]


WRONG_CELLS = [
    ("number", "", "must be stated"),
    ("number", "two words", "visible ASCII"),
    ("number", "x" * 65, "1 to 64"),
    ("member_id", "   ", "must be stated"),
    ("member_id", "M\u0000", "visible ASCII"),
    ("status", "approved", "one of active, pending, revoked"),
    ("drugs", "morphium", "names of the guideline: baclofen, bupivacaine, morphine"),
    ("route", "oral", "one of (empty), intrathecal, epidural, intraspinal"),
    ("start", "02/01/2026", "a date YYYY-MM-DD"),
    ("start", "2026-02-30", "a date YYYY-MM-DD"),
    ("start", "20260201", "a date YYYY-MM-DD"),
    ("end", "2026-01-31", "not before start"),
    (
        "max_daily",
        "baclofen=1 mg/d",
        "only drugs of this entry, each once",
    ),  # a limit for a drug that is not authorized
    ("max_daily", "morphine=15 mg/d;morphine=20 mg/d", "only drugs of this entry, each once"),
    ("max_daily", "morphine=15", "15 mg/d"),
    ("max_daily", "morphine=15 ug/d", "15 mg/d"),
    ("max_daily", "morphine=0 mg/d", "above zero"),
    ("max_daily", "morphine=-1 mg/d", "above zero"),
    ("max_daily", "morphine=1/3 mg/d", "15 mg/d"),
    ("codes", "62322-59", "HCPCS or CPT codes"),
    ("billing", "j2274", "HCPCS or CPT codes"),
    ("quantity", "x" * 201, "at most 200 characters"),
    ("quantity", "tab\there", "of one line"),
    ("due", "tomorrow", "an instant with zone"),
    ("due", "2026-03-02T12:00:00", "an instant with zone"),
]


def test_every_mistake_of_a_line_is_told_at_once() -> None:
    store = MemoryStore()
    wrong = "two words,,approved,morphium,oral,02/01/2026,,morphine=15,62322-59,,,tomorrow"
    report = run(store, [HEADER, wrong, FULL])
    assert [refusal.line for refusal in report.refused] == [2] * 9
    columns = ["number", "member_id", "status", "drugs", "route", "start", "max_daily", "codes", "due"]
    assert [refusal.column for refusal in report.refused] == columns
    assert (report.added, report.refused_lines) == (1, 1)


def test_an_unknown_column_hides_no_other_mistake() -> None:
    report = run(MemoryStore(), [json.dumps({**OBJECT, "patient": "Example", "status": "approved"})], "ndjson")
    assert [refusal.column for refusal in report.refused] == ["", "status"]


@pytest.mark.parametrize(("column", "text", "allowed"), WRONG_CELLS)
def test_a_wrong_cell_is_named_by_line_and_column_and_the_rest_is_kept(column: str, text: str, allowed: str) -> None:
    store = MemoryStore()
    names = HEADER.split(",")
    cells = ["PA-2", "M-2", "active", "morphine", "", "2026-02-01", "", "", "", "", "", ""]
    cells[names.index(column)] = text
    report = run(store, [HEADER, ",".join(cells), FULL])
    assert (report.added, len(report.refused)) == (1, 1)
    refusal = report.refused[0]
    assert (refusal.line, refusal.column) == (2, column)
    assert allowed in refusal.allowed
    if len(text.strip()) > 2:
        assert text.strip() not in refusal.allowed, "what was written may be about a patient"
    assert not store.authorizations("M-2")


@pytest.mark.parametrize(
    ("changes", "column", "allowed"),
    [
        ({"number": 17}, "number", "text"),
        ({"start": None}, "start", "must be stated"),
        ({"drugs": {"morphine": 1}}, "drugs", "a list of texts"),
        ({"drugs": ["morphine", 1]}, "drugs", "a list of texts"),
        ({"max_daily": ["morphine"]}, "max_daily", "drug=amount, or an object"),
        ({"max_daily": {"morphine": 15}}, "max_daily", "amounts as 15 mg/d"),
        ({"patient": "Example"}, "", "an unknown column"),
    ],
)
def test_a_wrong_member_is_named(changes: dict[str, object], column: str, allowed: str) -> None:
    report = run(MemoryStore(), [json.dumps({**OBJECT, **changes})], "ndjson")
    assert [(refusal.line, refusal.column) for refusal in report.refused] == [(1, column)]
    assert allowed in report.refused[0].allowed
    assert "Example" not in report.refused[0].allowed


@pytest.mark.parametrize(
    "line",
    [
        b"PA-9,M-9\n",  # too few cells
        FULL.encode() + b",one more\n",
        b'PA-9,M-9,active,"open quote,,2026-01-01,,,,,,\n',  # must not swallow what follows
        b"PA-9,M-\xff,active,,,2026-01-01,,,,,,\n",  # not UTF-8
        b"PA-9," + b"M" * 70_000 + b",active,,,2026-01-01,,,,,,\n",
    ],
)
def test_a_line_that_cannot_be_read_costs_that_line_alone(line: bytes) -> None:
    store = MemoryStore()
    report = run(store, [HEADER, line, FULL])
    assert [refusal.line for refusal in report.refused] == [2]
    assert report.added == 1


@pytest.mark.parametrize("line", ["{", "[]", '"text"', '{"number":"a","number":"b"}', '{"a":NaN}', "[" * 100])
def test_bad_input_46_47_49_a_line_that_is_no_json_object_costs_that_line_alone(line: str) -> None:
    report = run(MemoryStore(), [line, json.dumps(OBJECT)], "ndjson")
    assert [(refusal.line, refusal.column) for refusal in report.refused] == [(1, "")]
    assert report.added == 1


def test_blank_lines_bom_and_crlf_are_what_spreadsheets_write() -> None:
    store = MemoryStore()
    lines = [b"\xef\xbb\xbf" + HEADER.encode() + b"\r\n", b"\r\n", FULL.encode() + b"\r\n"]
    assert run(store, lines).added == 1
    assert list(store.authorizations("M-1")) == [EXPECTED]


def test_a_number_twice_in_one_file_is_refused_the_second_time() -> None:
    report = run(MemoryStore(), [HEADER, FULL, FULL.replace("active", "revoked")])
    assert report.refused == (Refusal(3, "number", "once per file and source; it stands in line 2 already"),)
    assert report.added == 1


@pytest.mark.parametrize(
    "header",
    [
        "",
        "number,member_id,status",  # no start
        HEADER + ",number",
        HEADER + ",name",
        '"number,member_id',
    ],
)
def test_a_header_with_other_columns_stops_the_import(header: str) -> None:
    store = MemoryStore()
    with pytest.raises(ConfigurationError, match="the header must name each of number, member_id, status, start"):
        run(store, [header, FULL])
    assert not store.authorizations("M-1")


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="one of csv, ndjson"):
        run(MemoryStore(), [], "xlsx")


def test_progress_is_told_after_each_transaction_of_five_hundred() -> None:
    seen: list[int] = []
    lines = [FULL.replace("PA-1", f"PA-{index}") for index in range(1001)]
    report = run(MemoryStore(), [HEADER, *lines], progress=seen.append)
    assert report.added == 1001
    assert seen == [501, 1001, 1002]


def test_an_empty_file_of_objects_adds_nothing() -> None:
    assert run(MemoryStore(), [], "ndjson") == ImportReport(added=0, changed=0, unchanged=0, refused=())


class Failing(MemoryStore):
    """Loses its disk after the first transaction."""

    def put_authorizations(self, entries, at):
        if self._authorizations:
            raise StoreUnavailable("gone")
        return super().put_authorizations(entries, at)


def test_a_store_that_fails_midway_is_said_and_the_next_run_goes_on() -> None:
    store = Failing()
    lines = [HEADER, *(FULL.replace("PA-1", f"PA-{index:04}") for index in range(600))]
    with pytest.raises(StoreUnavailable):
        run(store, lines)
    store.__class__ = MemoryStore
    report = run(store, lines)
    assert (report.added, report.unchanged) == (100, 500)

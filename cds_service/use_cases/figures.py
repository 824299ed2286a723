"""The figures that a payer must publish each year (CMS-0057-F), computed from the log of case events alone.

What is counted is a *request*: the lines of one case that are drugs, or the lines that are not, because the rule
leaves drugs out and a payer wants both. A request belongs to the period in which it was first decided:

- approved: every line as asked for; modified: something was approved, not all as asked for; not certified: no line.
  The three make up all decided requests, so their shares add up to one;
- an appeal counts with the request that it is about: ``appealed``, and ``approved_after_appeal`` where a line that was
  not certified was approved or modified after it. The first decision keeps its place in the counts above;
- extended: the time was extended before the first decision;
- time: from ``received`` to the last line of the first decision, exact, in seconds;
- withdrawn: cancelled before it was decided. It is in no share.

The same events give the same figures on any day: no clock and no configuration goes in.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import groupby
from statistics import median
from typing import Any

import msgspec

from cds_service.review_ports import ReviewReads, StoredEvent

ALL_PROGRAMS = "all"
_MICROSECOND = timedelta(microseconds=1)
_GRANTED = frozenset({"A1", "A6"})


class Group(msgspec.Struct, frozen=True, order=True):
    """What figures are told apart by."""

    program: str
    drug: bool
    expedited: bool


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one group, and its times in seconds (None where nothing was decided)."""

    group: Group
    decided: int
    approved: int
    modified: int
    not_certified: int
    withdrawn: int
    appealed: int
    approved_after_appeal: int
    extended: int
    approved_after_extension: int
    without_a_person: int  # decided wholly by the engine: approvals, by rule
    mean_seconds: Fraction | None
    median_seconds: Fraction | None

    def share(self, count: int) -> Fraction | None:
        """A count as a part of all decided requests, exact."""
        return Fraction(count, self.decided) if self.decided else None


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request as its events tell it."""

    group: Group
    at: datetime  # of the first decision, or of the withdrawal
    outcome: str  # approved | modified | not_certified | withdrawn
    seconds: Fraction
    appealed: bool
    after_appeal: bool
    extended: bool
    machine: bool


def figures_of_year(reads: ReviewReads, year: int) -> tuple[Figures, ...]:
    """The figures of one calendar year, by its days in UTC."""
    since, before = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    return figures(reads.events(since, before), since, before)


def figures(events: Iterable[StoredEvent], since: datetime, before: datetime) -> tuple[Figures, ...]:
    """Figures of all groups that occur, those over all programs first.

    ``events``: whole cases, in order of case and of their numbers.
    """
    requests: list[_Request] = []
    for _, held in groupby(events, key=lambda event: event.case_id):
        requests += [request for request in _requests(list(held)) if since <= request.at < before]
    grouped: dict[Group, list[_Request]] = {}
    for request in requests:
        grouped.setdefault(request.group, []).append(request)
        over_all = msgspec.structs.replace(request.group, program=ALL_PROGRAMS)
        grouped.setdefault(over_all, []).append(request)
    order = sorted(grouped, key=lambda group: (group.program != ALL_PROGRAMS, group))
    return tuple(_figures(group, grouped[group]) for group in order)


def _requests(events: Sequence[StoredEvent]) -> list[_Request]:
    """The one or two requests of a case; none while nothing of it is settled."""
    received = next((event for event in events if event.kind == "received"), None)
    if received is None:
        return []
    decided_at = next((place for place, event in enumerate(events) if event.kind == "decided"), None)
    until = len(events) if decided_at is None else decided_at + 1
    first, later = events[:until], events[until:]
    if decided_at is None and not any(event.kind == "cancelled" for event in first):
        return []
    lines = [event for event in first if event.kind == "line_decided"]
    kinds = sorted({event.detail.get("drug") is True for event in lines}) or [received.detail.get("has_drug") is True]
    return [_request(received, first, later, drug) for drug in kinds]


def _request(received: StoredEvent, first: Sequence[StoredEvent], later: Sequence[StoredEvent], drug: bool) -> _Request:
    lines = _newest([event for event in first if _is_line(event, drug)])
    settled = [event for event in lines.values() if event.detail.get("action") != "C"]
    last = max((event.at for event in settled or lines.values()), default=first[-1].at)
    refused = {sequence for sequence, event in lines.items() if event.detail.get("action") == "A3"}
    appeal = next((place for place, event in enumerate(later) if event.kind == "appeal"), None)
    after = [] if appeal is None else [event for event in later[appeal:] if _is_line(event, drug)]
    return _Request(
        group=Group(str(received.detail.get("program") or "unknown"), drug, received.detail.get("expedited") is True),
        at=last,
        outcome=_outcome([str(event.detail.get("action")) for event in settled]),
        seconds=Fraction((last - received.at) // _MICROSECOND, 1_000_000),
        appealed=appeal is not None and bool(refused),
        after_appeal=any(
            event.detail.get("sequence") in refused and event.detail.get("action") in _GRANTED for event in after
        ),
        extended=any(event.kind == "extended" and event.at <= last for event in first),
        machine=bool(settled) and all(event.detail.get("machine") is True for event in settled),
    )


def _is_line(event: StoredEvent, drug: bool) -> bool:
    return event.kind == "line_decided" and (event.detail.get("drug") is True) is drug


def _newest(lines: Sequence[StoredEvent]) -> dict[object, StoredEvent]:
    """By line number; of two decisions of one line the later one stands."""
    return {event.detail.get("sequence"): event for event in lines}


def _outcome(actions: Sequence[str]) -> str:
    if not actions:
        return "withdrawn"
    if all(action == "A1" for action in actions):
        return "approved"
    return "modified" if any(action in _GRANTED for action in actions) else "not_certified"


def _figures(group: Group, requests: Sequence[_Request]) -> Figures:
    decided = [request for request in requests if request.outcome != "withdrawn"]
    times = [request.seconds for request in decided]

    def count(outcome: str) -> int:
        return sum(request.outcome == outcome for request in requests)

    extended = [request for request in decided if request.extended]
    return Figures(
        group=group,
        decided=len(decided),
        approved=count("approved"),
        modified=count("modified"),
        not_certified=count("not_certified"),
        withdrawn=count("withdrawn"),
        appealed=sum(request.appealed for request in decided),
        approved_after_appeal=sum(request.after_appeal for request in decided),
        extended=len(extended),
        approved_after_extension=sum(request.outcome == "approved" for request in extended),
        without_a_person=sum(request.machine for request in decided),
        mean_seconds=sum(times, Fraction(0)) / len(times) if times else None,
        median_seconds=Fraction(median(times)) if times else None,
    )


_COUNTS = (
    "decided", "approved", "modified", "not_certified", "withdrawn", "appealed", "approved_after_appeal", "extended",
    "approved_after_extension", "without_a_person",
)  # fmt: skip
_SHARES = ("approved", "modified", "not_certified", "approved_after_appeal", "approved_after_extension")


def as_json(year: int, rows: Sequence[Figures]) -> bytes:
    """The figures for machines. Shares are exact fractions beside percents with two decimals; times are in seconds."""
    return msgspec.json.format(msgspec.json.encode({"year": year, "groups": [_document(row) for row in rows]})) + b"\n"


def _document(row: Figures) -> dict[str, Any]:
    shares = {name: row.share(getattr(row, name)) for name in _SHARES}
    return {
        "program": row.group.program,
        "drugs": row.group.drug,
        "urgency": "expedited" if row.group.expedited else "standard",
        **{name: getattr(row, name) for name in _COUNTS},
        "shares": {name: None if share is None else str(share) for name, share in shares.items()},
        "percent": {name: percent(share) for name, share in shares.items()},
        "mean_seconds": _seconds(row.mean_seconds),
        "median_seconds": _seconds(row.median_seconds),
    }


def as_csv(year: int, rows: Sequence[Figures]) -> str:
    """The figures as a table for spreadsheets; no cell can be taken for a formula."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([
        "year", "program", "drugs", "urgency", *_COUNTS, *(f"percent_{name}" for name in _SHARES), "mean_hours",
        "median_hours",
    ])  # fmt: skip
    for row in rows:
        cells: list[object] = [
            year,
            row.group.program,
            "drugs" if row.group.drug else "other than drugs",
            "expedited" if row.group.expedited else "standard",
            *(getattr(row, name) for name in _COUNTS),
            *(percent(row.share(getattr(row, name))) for name in _SHARES),
            hours(row.mean_seconds),
            hours(row.median_seconds),
        ]
        writer.writerow([safe_cell(str(cell)) for cell in cells])
    return file.getvalue()


def safe_cell(text: str) -> str:
    """A text that a spreadsheet shows and never computes (reliability 110)."""
    plain = "".join(" " if letter in "\r\n\t" else letter for letter in text)
    return f"'{plain}" if plain.lstrip()[:1] in {"=", "+", "-", "@", "|", "%"} else plain


def percent(share: Fraction | None) -> str:
    """With two decimals, rounded half to even; "" for none."""
    return "" if share is None else _decimals(share * 100, 2)


def hours(seconds: Fraction | None) -> str:
    """With one decimal; "" for none."""
    return "" if seconds is None else _decimals(seconds / 3600, 1)


def _seconds(value: Fraction | None) -> str | None:
    return None if value is None else _decimals(value, 3)


def _decimals(value: Fraction, places: int) -> str:
    scaled = round(value * 10**places)
    whole, rest = divmod(scaled, 10**places)
    return f"{whole}.{rest:0{places}d}"

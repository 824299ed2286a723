"""Authorizations as files state them: the columns, what each may hold, and what is wrong with a line.

CSV has a header line and the columns below in any order; a list is separated by ``;``, limits read
``morphine=15 mg/d; bupivacaine=20 mg/d``. NDJSON has one object per line with the same names, lists as arrays and
limits as an object. Complaints name line and column and never repeat what was written there: it is about a patient.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar

from cds_service.domain.authorization import Authorization
from cds_service.domain.vocabulary import RouteGroup

T = TypeVar("T")

COLUMNS = (
    "number",
    "member_id",
    "status",
    "drugs",
    "route",
    "start",
    "end",
    "max_daily",
    "codes",
    "billing",
    "quantity",
    "due",
    "source",
)
REQUIRED = ("number", "member_id", "status", "start")
STATUSES = ("active", "pending", "revoked")
ROUTES = tuple(group.value for group in (RouteGroup.INTRATHECAL, RouteGroup.EPIDURAL, RouteGroup.INTRASPINAL))

_IDENTIFIER = re.compile(r"[!-~]{1,64}")
_CODE = re.compile(r"[A-Z0-9]{4,7}")
_LIMIT = re.compile(r"(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,9})? mg/d")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,200}")


class Refused(Exception):
    """One complaint about one entry: the column ("" for the line as a whole) and what is allowed there."""

    def __init__(self, column: str, allowed: str) -> None:
        super().__init__(column, allowed)
        self.column = column
        self.allowed = allowed


class RefusedEntry(Exception):
    """Every complaint about one entry."""

    def __init__(self, complaints: Sequence[Refused]) -> None:
        super().__init__(*complaints)
        self.complaints = tuple(complaints)


def read_entry(values: Mapping[str, object], *, drugs: Collection[str], source: str) -> Authorization:
    """One authorization of one CSV row or NDJSON object.

    Args:
        values: column -> text (CSV), or JSON value (NDJSON); an absent, null or empty one is not stated.
        drugs: the names that the guidelines know.
        source: where the entry comes from, unless it says so itself.

    Raises:
        RefusedEntry: columns are unknown, missing or hold something else than they may; with every complaint, in the
            order of the columns.
    """
    told = _Complaints()
    if not values.keys() <= set(COLUMNS):
        told.complaints.append(Refused("", "an unknown column; the columns are " + ", ".join(COLUMNS)))
    nothing: tuple[str, ...] = ()
    named = told.tried(lambda: _names(values, "drugs", drugs), nothing)
    start = told.tried(lambda: _start(values), date.min)
    entry = Authorization(
        number=told.tried(lambda: _identifier(values, "number"), ""),
        member_id=told.tried(lambda: _identifier(values, "member_id"), ""),
        status=told.tried(lambda: _one_of(values, "status", STATUSES), ""),
        drugs=named,
        route=told.tried(lambda: _one_of(values, "route", ("", *ROUTES)), ""),
        start=start,
        end=told.tried(lambda: _end(values, start), None),
        max_daily=told.tried(lambda: _limits(values, named or drugs), {}),
        codes=told.tried(lambda: _codes(values, "codes"), ()),
        billing=told.tried(lambda: _codes(values, "billing"), ()),
        quantity=told.tried(lambda: _matching(values, "quantity", _TEXT, "at most 200 characters of one line"), ""),
        due=told.tried(lambda: _instant(values, "due"), ""),
        source=told.tried(lambda: _identifier(values, "source", source), ""),
    )
    if told.complaints:
        raise RefusedEntry(sorted(told.complaints, key=lambda each: ("", *COLUMNS).index(each.column)))
    return entry


class _Complaints:
    """Goes on after a complaint, so that all of them are told at once."""

    def __init__(self) -> None:
        self.complaints: list[Refused] = []

    def tried(self, read: Callable[[], T], instead: T) -> T:
        try:
            return read()
        except Refused as complaint:
            self.complaints.append(complaint)
            return instead


def _identifier(values: Mapping[str, object], column: str, default: str = "") -> str:
    if column in REQUIRED and not _text(values, column):
        raise Refused(column, "must be stated")
    return _matching(values, column, _IDENTIFIER, "1 to 64 visible ASCII characters without blanks", default)


def _start(values: Mapping[str, object]) -> date:
    start = _day(values, "start")
    if start is None:
        raise Refused("start", "must be stated")
    return start


def _end(values: Mapping[str, object], start: date) -> date | None:
    end = _day(values, "end")
    if end is not None and end < start:
        raise Refused("end", "not before start")
    return end


def _text(values: Mapping[str, object], column: str) -> str:
    value = values.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused(column, "text")
    return value.strip()


def _matching(
    values: Mapping[str, object], column: str, pattern: re.Pattern[str], allowed: str, default: str = ""
) -> str:
    text = _text(values, column) or default
    if pattern.fullmatch(text) is None:
        raise Refused(column, allowed)
    return text


def _one_of(values: Mapping[str, object], column: str, allowed: Collection[str]) -> str:
    text = _text(values, column)
    if not text and column in REQUIRED:
        raise Refused(column, "must be stated")
    if text not in allowed:
        raise Refused(column, "one of " + ", ".join(word or "(empty)" for word in allowed))
    return text


def _day(values: Mapping[str, object], column: str) -> date | None:
    text = _text(values, column)
    if not text:
        return None
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise Refused(column, "a date YYYY-MM-DD")
    return day


def _instant(values: Mapping[str, object], column: str) -> str:
    text = _text(values, column)
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused(column, "an instant with zone, as 2026-01-31T17:00:00Z")
    return text


def _items(values: Mapping[str, object], column: str) -> tuple[str, ...]:
    value = values.get(column)
    if value is None:
        return ()
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(";")]
    elif isinstance(value, list) and all(isinstance(part, str) for part in value):
        parts = value
    else:
        raise Refused(column, "a list of texts")
    return tuple(dict.fromkeys(part for part in parts if part))


def _names(values: Mapping[str, object], column: str, drugs: Collection[str]) -> tuple[str, ...]:
    names = _items(values, column)
    if any(name not in drugs for name in names):
        raise Refused(column, "names of the guideline: " + ", ".join(sorted(drugs)))
    return names


def _codes(values: Mapping[str, object], column: str) -> tuple[str, ...]:
    codes = _items(values, column)
    if any(_CODE.fullmatch(code) is None for code in codes):
        raise Refused(column, "HCPCS or CPT codes: 4 to 7 capital letters and digits each")
    return codes


def _limits(values: Mapping[str, object], drugs: Collection[str]) -> dict[str, str]:
    limits: dict[str, str] = {}
    for name, limit in _pairs(values.get("max_daily")):
        if name not in drugs or name in limits:
            raise Refused("max_daily", "only drugs of this entry, each once")
        if not isinstance(limit, str) or _LIMIT.fullmatch(limit) is None:
            raise Refused("max_daily", "amounts as 15 mg/d, above zero")
        limits[name] = limit
    return limits


def _pairs(value: object) -> list[tuple[str, object]]:
    """Drug and amount of each limit; an amount that is not separated by ``=`` comes out empty."""
    if value is None:
        return []
    if isinstance(value, dict):
        return list(value.items())
    if not isinstance(value, str):
        raise Refused("max_daily", "drug=amount, or an object")
    items = [item.partition("=") for item in value.split(";") if item.strip()]
    return [(name.strip(), limit.strip()) for name, _, limit in items]

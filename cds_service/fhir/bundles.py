"""What a search result or an OperationOutcome says of its own completeness (reliability rows 74, 75)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.domain.record import Availability
from cds_service.fhir.concepts import dicts, word

_COMPLETE, _PARTIAL, _NOT_READABLE = Availability.COMPLETE, Availability.PARTIAL, Availability.NOT_READABLE

# Issue codes by which a server says, even in a warning, that a result is not the whole one.
_INCOMPLETE = frozenset({"incomplete", "suppressed", "too-costly", "timeout", "forbidden", "throttled", "exception"})
RANK = {_COMPLETE: 0, _PARTIAL: 1, _NOT_READABLE: 2, Availability.NOT_ASKED: 3}


class Contents(msgspec.Struct, frozen=True):
    """The resources of one Bundle with their ``fullUrl``, how whole it is, and how many entries held none."""

    resources: tuple[tuple[dict[str, Any], Any], ...]
    availability: Availability
    malformed: int = 0


NOTHING_READABLE = Contents((), _NOT_READABLE)


def contents(bundle: Mapping[str, Any], kind: str) -> Contents:
    """Read a Bundle that should hold ``kind``: matches, includes and outcomes.

    A next link, an unreached total, an empty entry or an error outcome make it partial; other types alone, or nothing
    in a Bundle that is no search result, make it unreadable. An empty search result is a whole answer.
    """
    entries = bundle.get("entry", [])
    if type(entries) is not list or (not entries and bundle.get("type") != "searchset"):
        return NOTHING_READABLE
    found: list[tuple[dict[str, Any], Any]] = []
    state, matches, strangers, malformed = _COMPLETE, 0, 0, 0
    for entry in entries:
        resource = entry.get("resource") if type(entry) is dict else None
        if type(resource) is not dict:
            malformed += 1
            continue
        got = resource.get("resourceType")
        if got == kind:
            matches += 1
        elif got == "OperationOutcome":
            state = worse(state, outcome(resource))
            continue
        elif not _included(entry):
            strangers += 1
        found.append((resource, entry.get("fullUrl")))
    if state is _NOT_READABLE or (strangers and not matches):
        state = _PARTIAL if matches else _NOT_READABLE
    elif malformed or _goes_on(bundle, matches):
        state = _PARTIAL
    return Contents(tuple(found), state, malformed)


def outcome(resource: Mapping[str, Any]) -> Availability:
    """What an OperationOutcome among search results says of them; plain warnings and hints say nothing."""
    state = _COMPLETE
    for issue in dicts(resource.get("issue")):
        if word(issue.get("severity")) in {"error", "fatal"}:
            return _NOT_READABLE
        if word(issue.get("code")) in _INCOMPLETE:
            state = _PARTIAL
    return state


def worse(one: Availability, other: Availability) -> Availability:
    """The less complete of two."""
    return one if RANK[one] >= RANK[other] else other


def better(one: Availability, other: Availability) -> Availability:
    """The more complete of two: a read completes what prefetch began, a failed one takes nothing away."""
    return one if RANK[one] <= RANK[other] else other


def joint(one: Availability, other: Availability) -> Availability:
    """Two answers about one type, such as two searches: whole only if both are."""
    if Availability.NOT_ASKED in {one, other}:
        return better(one, other)
    return one if one is other else _PARTIAL


def _goes_on(bundle: Mapping[str, Any], matches: int) -> bool:
    """There is more than these entries: a next link, or a total that they do not reach."""
    total = bundle.get("total")
    if type(total) is int and total > matches:
        return True
    return any(link.get("relation") == "next" for link in dicts(bundle.get("link")))


def _included(entry: Mapping[str, Any]) -> bool:
    search = entry.get("search")
    return type(search) is dict and search.get("mode") == "include"

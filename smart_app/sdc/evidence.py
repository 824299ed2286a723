"""What an answer rests on, in words: the resource, its date, what it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smart_app.sdc.coercion import title
from smart_app.sdc.context import Resource
from smart_app.sdc.filling import Note
from smart_app.sdc.texts import shown

MOST_NOTES = 5

_DATES = (
    "authoredOn",
    "effectiveDateTime",
    "performedDateTime",
    "onsetDateTime",
    "recordedDate",
    "occurrenceDateTime",
    "dateAsserted",
    "issued",
    "date",
    "created",
    "authored",
)
_PERIODS = ("effectivePeriod", "performedPeriod", "onsetPeriod", "period")
_PEOPLE = frozenset({"Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person", "Organization"})


def notes(resources: Iterable[Resource]) -> tuple[Note, ...]:
    """One note for each resource, at most MOST_NOTES; the rest is counted."""
    every = [one for one in resources if isinstance(one.get("id"), str)]
    made = [Note(f"{one['resourceType']}/{one['id']}", _date(one), _shows(one)) for one in every[:MOST_NOTES]]
    if len(every) > MOST_NOTES:
        made.append(Note("", "", f"and {len(every) - MOST_NOTES} more"))
    return tuple(made)


def _date(resource: Resource) -> str:
    for member in _DATES:
        if isinstance(resource.get(member), str):
            return str(resource[member])
    for member in _PERIODS:
        period = resource.get(member)
        if isinstance(period, Mapping) and isinstance(period.get("start"), str):
            return str(period["start"])
    return ""


def _shows(resource: Resource) -> str:
    """Name, value and status; nothing of a person: the page shows whose chart it is anyway."""
    if resource.get("resourceType") in _PEOPLE:
        return "as registered"
    parts = [title(resource), _value(resource), _status(resource)]
    return ", ".join(part for part in parts if part)


def _value(resource: Resource) -> str:
    for member, value in resource.items():
        if member.startswith("value"):
            return shown({member: value})
    return ""


def _status(resource: Resource) -> str:
    status: Any = resource.get("clinicalStatus") or resource.get("status")
    return shown({"value": status}) if status else ""

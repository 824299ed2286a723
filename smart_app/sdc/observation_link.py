"""``observationLinkPeriod``: the newest Observation with the item's code, inside its window (SD-12)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from smart_app.sdc.amounts import converted_value, measure_of
from smart_app.sdc.comparison import interval
from smart_app.sdc.context import Context, Resource
from smart_app.sdc.shapes import Fragment, Item

_SETTLED = frozenset({"final", "amended", "corrected"})
_LONGEST = 365_250  # days: a thousand years stands for "ever"


def query(item: Item, context: Context) -> str | None:
    """The search for an item, None without a code or a patient."""
    patient = context.launch.get("patient", {}).get("id")
    since = _since(item, context)
    codes = [f"{one.get('system', '')}|{one['code']}" for one in item.codes if isinstance(one.get("code"), str)]
    if not codes or not isinstance(patient, str) or since is None:
        return None
    wanted = ",".join(quote(one, safe="") for one in codes)
    return f"Observation?patient={quote(patient, safe='')}&code={wanted}&date=ge{since:%Y-%m-%d}&_sort=-date"


def _since(item: Item, context: Context) -> datetime | None:
    amount = measure_of(item.sources.observation_period or {})
    days = converted_value(amount, "d") if amount else None
    if days is None:
        return None
    try:
        return context.as_of - timedelta(days=min(int(days), _LONGEST))
    except OverflowError:
        return datetime(1, 1, 1, tzinfo=UTC)


def newest(item: Item, context: Context, observations: tuple[Resource, ...]) -> Resource | None:
    """The newest that counts: settled, of this patient and nobody else, inside the window."""
    since = _since(item, context)
    usable = [(when, one) for one in observations if since and (when := _when(one)) and _counts(item, context, one)]
    fresh = [(when, one) for when, one in usable if since and when >= since]
    return max(fresh, key=lambda pair: pair[0])[1] if fresh else None


def _counts(item: Item, context: Context, observation: Resource) -> bool:
    me = f"Patient/{context.launch.get('patient', {}).get('id')}"
    focus = [one.get("reference") for one in observation.get("focus") or ()]
    return (
        observation.get("resourceType") == "Observation"
        and observation.get("status") in _SETTLED
        and all(one == me for one in focus)
        and matches(item, observation.get("code"))
    )


def _when(observation: Resource) -> datetime | None:
    period = observation.get("effectivePeriod")
    text = observation.get("effectiveDateTime") or (period.get("end") or period.get("start") if period else None)
    found = interval(text or observation.get("issued"))
    return found[0] if found else None


def matches(item: Item, concept: Any) -> bool:
    """Whether a CodeableConcept has one of the item's codes."""
    codings = concept.get("coding") or () if isinstance(concept, Mapping) else ()
    mine = {(one.get("system"), one.get("code")) for one in item.codes}
    return any((one.get("system"), one.get("code")) in mine for one in codings)


def value(observation: Mapping[str, Any]) -> Fragment | None:
    """The value of an Observation or of one of its components."""
    for member, found in observation.items():
        if member.startswith("value"):
            return {member: found}
    return None


def part(item: Item, observation: Resource, others: tuple[Resource, ...]) -> Mapping[str, Any] | None:
    """The component, or the member, of the parent's Observation that has the item's code."""
    for component in observation.get("component") or ():
        if isinstance(component, Mapping) and matches(item, component.get("code")):
            return component
    members = {one.get("reference") for one in observation.get("hasMember") or ()}
    for other in others:
        if f"Observation/{other.get('id')}" in members and matches(item, other.get("code")):
            return other
    return None

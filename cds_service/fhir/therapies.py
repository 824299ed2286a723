"""Medications that were ordered, stated, dispensed or given, as therapies with dates and schedule (guideline I.2).

An end is never invented: ``stop`` is a stated end, or the start plus a stated duration (42 days of supply: 42 days
from ``start`` to ``stop``), or None.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from cds_service.domain.record import Code, Therapy
from cds_service.fhir.chart import Chart, Resource, source
from cds_service.fhir.concepts import codes, codes_of_all, dicts, label, number, word
from cds_service.fhir.dates import day, end_of, period
from cds_service.fhir.references import HOP_LIMIT
from cds_service.fhir.systems import SNOMED, STATUS_CHANGED

_PROPOSALS = frozenset({"proposal", "plan", "option"})
_NOT_DISPENSED = frozenset({"preparation", "cancelled", "declined", "on-hold"})
_UNIT_WORDS = {"s": "s", "min": "min", "h": "h", "d": "day", "wk": "week", "mo": "month", "a": "year"}
# Coded timings that fix the times of day; a site's own words may say "as needed" and prove nothing.
_TIMING_CODES = frozenset({
    "BID", "TID", "QID", "AM", "PM", "QD", "QOD", "BED", "WK", "MO", "Q1H", "Q2H", "Q3H", "Q4H", "Q6H", "Q8H", "Q12H",
})  # fmt: skip
_TIMES = {1: "once", 2: "twice"}
TRANSDERMAL = Code(SNOMED, "45890007")

Dropped = list[tuple[str, str]]


def read_therapies(chart: Chart, dropped: Dropped) -> tuple[Therapy, ...]:
    """All therapies of the chart; drafts are orders, not therapies. What says nothing was taken goes to ``dropped``."""
    found: list[Therapy] = []
    for kind, read in _READERS.items():
        for resource in chart.of(kind):
            outcome = read(chart, resource)
            if isinstance(outcome, Therapy):
                found.append(outcome)
            else:
                dropped.append((kind, outcome))
    return tuple(found)


def medication(chart: Chart, resource: Resource) -> tuple[tuple[Code, ...], str]:
    """Codes of product and ingredients together, and what a person calls it."""
    concept = resource.get("medicationCodeableConcept")
    if type(concept) is dict:
        return codes(concept), label(concept)
    reference = resource.get("medicationReference")
    product = chart.resolve(reference, resource)
    if product is None:
        return (), word(reference.get("display")) if type(reference) is dict else ""
    return tuple(dict.fromkeys(_product_codes(chart, product, resource, HOP_LIMIT))), label(product.get("code"))


def _product_codes(chart: Chart, product: Resource, container: Resource, hops: int) -> Iterable[Code]:
    """Codes of a Medication and of what it is made of, at most ``hops`` links deep (reliability row 77)."""
    yield from codes(product.get("code"))
    for ingredient in dicts(product.get("ingredient")):
        yield from codes(ingredient.get("itemCodeableConcept"))
        reference = ingredient.get("itemReference")
        if hops and type(reference) is dict:
            item = chart.resolve(reference, container) or chart.resolve(reference, product)
            if item is not None:
                yield from _product_codes(chart, item, container, hops - 1)


def _request(chart: Chart, resource: Resource) -> Therapy | str:
    if resource.get("doNotPerform") is True:
        return "do_not_perform"
    dosages = dicts(resource.get("dosageInstruction"))
    authored = day(resource.get("authoredOn"))
    start, stop = _bounds(dosages, authored)
    status = word(resource.get("status"))
    if stop is None:
        stop = _stated_stop(resource, status, start or authored)
    requester = resource.get("requester")
    prior = chart.normal(resource.get("priorPrescription"))
    return _therapy(
        chart,
        resource,
        dosages,
        status=status,
        proposal=word(resource.get("intent")) in _PROPOSALS,
        interval=(start or authored, stop),
        reason=resource.get("statusReason"),
        author=requester,
        prior=(prior,) if prior else (),
    )


def _stated_stop(resource: Resource, status: str, start: date | None) -> date | None:
    """When an order without bounds ended: the day its status changed, or the supply of a completed one."""
    if status in {"stopped", "completed", "cancelled"}:
        for extension in dicts(resource.get("extension")):
            if extension.get("url") == STATUS_CHANGED:
                return day(extension.get("valueDateTime"), last=True)
    if status == "completed":
        supply = resource.get("dispenseRequest")
        return end_of(start, supply.get("expectedSupplyDuration")) if type(supply) is dict else None
    return None


def _statement(chart: Chart, resource: Resource) -> Therapy | str:
    status = word(resource.get("status"))
    if status == "not-taken":
        return "not_taken"
    start, stop = period(resource.get("effectivePeriod"))
    start = start or day(resource.get("effectiveDateTime"))
    dosages = dicts(resource.get("dosage"))
    if start is None:
        start, bound = _bounds(dosages, None)
        stop = stop or bound
    return _therapy(
        chart,
        resource,
        dosages,
        status=status,
        proposal=status == "intended",
        interval=(start, stop),
        reason=resource.get("statusReason"),
        author=resource.get("informationSource"),
    )


def _dispense(chart: Chart, resource: Resource) -> Therapy | str:
    status = word(resource.get("status"))
    if status in _NOT_DISPENSED:
        return "not_dispensed"
    start = day(resource.get("whenHandedOver"))
    prescriptions = (chart.normal(reference) for reference in dicts(resource.get("authorizingPrescription")))
    return _therapy(
        chart,
        resource,
        dicts(resource.get("dosageInstruction")),
        status=status,
        proposal=False,
        interval=(start, end_of(start, resource.get("daysSupply"))),
        reason=resource.get("statusReasonCodeableConcept"),
        author=None,
        prior=tuple([name for name in prescriptions if name]),
    )


def _administration(chart: Chart, resource: Resource) -> Therapy | str:
    status = word(resource.get("status"))
    if status == "not-done":
        return "not_done"
    start, stop = period(resource.get("effectivePeriod"))
    if resource.get("effectiveDateTime") is not None:
        start = stop = day(resource["effectiveDateTime"])
    dosage = resource.get("dosage")
    return _therapy(
        chart,
        resource,
        (dosage,) if type(dosage) is dict else (),
        status=status,
        proposal=False,
        interval=(start, stop),
        reason=resource.get("statusReason"),
        author=None,
    )


_READERS = {
    "MedicationRequest": _request,
    "MedicationStatement": _statement,
    "MedicationDispense": _dispense,
    "MedicationAdministration": _administration,
}


def _therapy(  # noqa: PLR0913 - one keyword per thing that the four resources spell differently
    chart: Chart,
    resource: Resource,
    dosages: Iterable[Resource],
    *,
    status: str,
    proposal: bool,
    interval: tuple[date | None, date | None],
    reason: Any,
    author: Any,
    prior: tuple[str, ...] = (),
) -> Therapy:
    drug, text = medication(chart, resource)
    routes: tuple[Code, ...] = ()
    as_needed, schedule = False, ""
    for dosage in dosages:
        here = _routes(dosage.get("route"))
        routes = routes + here if routes else here
        if dosage.get("asNeededBoolean") is True or dosage.get("asNeededCodeableConcept"):
            as_needed = True
        elif not schedule:
            schedule = _schedule(dosage, here)
    reasons = [reason] if type(reason) is dict else reason
    return Therapy(
        source(resource),
        resource["resourceType"],
        drug,
        text,
        routes,
        status,
        proposal,
        as_needed and not schedule,  # a fixed dose with a rescue dose beside it is a fixed schedule
        bool(schedule),
        schedule,
        interval[0],
        interval[1],
        ", ".join([label(one) for one in dicts(reasons)]) if reasons else "",
        codes_of_all(reasons) if reasons else (),
        word(author.get("display") or author.get("reference")) if type(author) is dict else "",
        prior,
    )


def _routes(concept: Any) -> tuple[Code, ...]:
    """Codes of a route; without one of SNOMED CT its words as well, as a code without system for whole-text look-up."""
    found = codes(concept)
    for code in found:
        if code.system == SNOMED:
            return found
    text = " ".join(label(concept).lower().split())
    return (*found, Code("", text)) if text else found


def _bounds(dosages: Iterable[Resource], authored: date | None) -> tuple[date | None, date | None]:
    """First and last day over all instructions that state bounds; an open one leaves the end open."""
    start: date | None = None
    stops: list[date | None] = []
    for dosage in dosages:
        repeat = _repeat(dosage)
        if repeat is None:
            continue
        if "boundsPeriod" in repeat:
            first, last = period(repeat["boundsPeriod"])
        elif "boundsDuration" in repeat:
            first, last = authored, end_of(authored, repeat["boundsDuration"])
        else:
            continue
        if first is not None and (start is None or first < start):
            start = first
        stops.append(last)
    known = [stop for stop in stops if stop is not None]
    return start, max(known) if known and len(known) == len(stops) else None


def _repeat(dosage: Resource) -> Resource | None:
    timing = dosage.get("timing")
    repeat = timing.get("repeat") if type(timing) is dict else None
    return repeat if type(repeat) is dict else None


def _schedule(dosage: Resource, routes: tuple[Code, ...]) -> str:
    """The fixed schedule as a person writes it, ``""`` when none is stated (guideline analysis I.2)."""
    timing = dosage.get("timing")
    if type(timing) is dict:
        repeat = timing.get("repeat")
        if type(repeat) is dict:
            said = _frequency(repeat)
            if said:
                return said
        for code in codes(timing.get("code")):
            if code.code.upper() in _TIMING_CODES:
                return code.code.upper()
    for rate in dicts(dosage.get("doseAndRate")) or (dosage,):
        if rate.get("rateQuantity") or rate.get("rateRatio") or rate.get("rateRange"):
            return "continuous"
    return "transdermal system" if TRANSDERMAL in routes else ""


def _frequency(repeat: Resource) -> str:
    times, every, unit = (
        repeat.get("frequency"),
        number(repeat.get("period")),
        _UNIT_WORDS.get(word(repeat.get("periodUnit"))),
    )
    if every is not None and every > 0 and unit:
        if type(times) is not int:
            times = 1
        if every == 1:
            return (
                f"{_TIMES.get(times, f'{times} times')} a {unit}"
                if unit not in {"s", "min", "h"}
                else f"every 1 {unit}"
            )
        span = f"every {_short(every)} {unit}{'s' if unit not in {'s', 'min', 'h'} else ''}"
        return span if times == 1 else f"{_TIMES.get(times, f'{times} times')} {span}"
    clock = repeat.get("timeOfDay") or repeat.get("when") or repeat.get("dayOfWeek")
    return ", ".join([item for item in clock if type(item) is str]) if type(clock) is list else ""


def _short(value: Any) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"

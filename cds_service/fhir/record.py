"""FHIR resources of one chart as the Record that criteria rest on (US Core 3.1.1, 6.1.0, 7.0.0 shapes).

Reads what is there and nothing else. Entries marked entered-in-error or refuted, and entries of other patients, were
left out when the chart was built.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from cds_service.domain.record import (
    Condition,
    Device,
    Encounter,
    Intolerance,
    Procedure,
    Record,
    Score,
    ServiceOrder,
)
from cds_service.fhir.answers import read_answers
from cds_service.fhir.chart import Chart, Resource, source
from cds_service.fhir.concepts import codes, codes_of_all, codings, dicts, has_code, label, number, word
from cds_service.fhir.dates import day, period
from cds_service.fhir.therapies import read_therapies

_ACTIVE = frozenset({"active", "recurrence", "relapse"})
_UNPROVEN = frozenset({"unconfirmed", "provisional", "differential"})
_ABATEMENTS = ("abatementDateTime", "abatementAge", "abatementPeriod", "abatementRange", "abatementString")
_REPORTED = frozenset({"final", "amended", "corrected", "preliminary"})
_WISHES = frozenset({"proposal", "plan", "option"})


def read_record(
    chart: Chart,
    *,
    questionnaire: str,
    signature_required: bool = False,
    dropped: list[tuple[str, str]] | None = None,
) -> Record:
    """Everything seen of the patient.

    Args:
        chart: the call's resources behind the patient gate.
        questionnaire: canonical of the coverage questionnaire, without version.
        signature_required: the payer asks for an electronic signature on answers.
        dropped: collects (type, reason) of entries that say nothing; closed words, for metrics.
    """
    left_out: list[tuple[str, str]] = [] if dropped is None else dropped
    return Record(
        patient_id=chart.patient_id,
        conditions=tuple([_condition(resource) for resource in chart.of("Condition")]),
        therapies=read_therapies(chart, left_out),
        scores=_scores(chart, left_out),
        procedures=_procedures(chart, left_out),
        devices=_devices(chart, left_out),
        intolerances=tuple([_intolerance(resource) for resource in chart.of("AllergyIntolerance")]),
        service_orders=_service_orders(chart, left_out),
        encounters=_encounters(chart, left_out),
        answers=read_answers(chart, questionnaire, signature_required=signature_required),
        birth_date=_birth_date(chart),
        availability=chart.availability,
    )


def _condition(resource: Resource) -> Condition:
    status = resource.get("clinicalStatus")
    active = has_code(status, _ACTIVE) if type(status) is dict else True
    if active:
        for element in _ABATEMENTS:
            if resource.get(element) is not None:
                active = False
    recorded = _onset(resource) or day(resource.get("recordedDate"))
    code = resource.get("code")
    confirmed = not has_code(resource.get("verificationStatus"), _UNPROVEN)
    return Condition(source(resource), codes(code), label(code), active, confirmed, recorded)


def _onset(resource: Resource) -> date | None:
    onset = resource.get("onsetDateTime")
    if onset is not None:
        return day(onset)
    return period(resource.get("onsetPeriod"))[0]


def _scores(chart: Chart, dropped: list[tuple[str, str]]) -> tuple[Score, ...]:
    """Numeric results with a date; components (a panel's items and total) one by one."""
    found: list[Score] = []
    for resource in chart.of("Observation"):
        if word(resource.get("status")) not in _REPORTED:
            dropped.append(("Observation", "not_final"))
            continue
        when = _effective(resource)
        if when is None:
            dropped.append(("Observation", "undated"))
            continue
        for part in (resource, *dicts(resource.get("component"))):
            amount = _amount(part)
            if amount is not None:
                value, unit = amount
                code = part.get("code")
                found.append(Score(source(resource), codes(code), label(code), value, unit, when))
    return tuple(found)


def _amount(part: Resource) -> tuple[Any, str] | None:
    """An exact value and its unit; ranges, comparators and text are no value."""
    quantity = part.get("valueQuantity")
    if type(quantity) is dict:
        value = number(quantity.get("value"))
        if value is None or quantity.get("comparator"):
            return None
        return value, word(quantity.get("code")) or word(quantity.get("unit"))
    value = number(part.get("valueInteger"))
    return None if value is None else (value, "")


def _effective(resource: Resource) -> date | None:
    for element in ("effectiveDateTime", "effectiveInstant"):
        if resource.get(element) is not None:
            return day(resource[element])
    start, end = period(resource.get("effectivePeriod"))
    return start or end or day(resource.get("issued"))


def _procedures(chart: Chart, dropped: list[tuple[str, str]]) -> tuple[Procedure, ...]:
    found: list[Procedure] = []
    for resource in chart.of("Procedure"):
        status = resource.get("status")
        if status == "not-done":
            dropped.append(("Procedure", "not_done"))
            continue
        code = resource.get("code")
        when = day(resource.get("performedDateTime")) or period(resource.get("performedPeriod"))[0]
        outcome = label(resource.get("outcome"))
        found.append(Procedure(source(resource), codes(code), label(code), status == "completed", when, outcome))
    return tuple(found)


def _devices(chart: Chart, dropped: list[tuple[str, str]]) -> tuple[Device, ...]:
    """Devices, and their uses: a device whose every stated use has ended is no longer in the patient."""
    found: list[Device] = []
    in_use: dict[str, bool] = {}
    for resource in chart.of("DeviceUseStatement"):
        status = resource.get("status")
        if status == "intended":
            dropped.append(("DeviceUseStatement", "intended"))
            continue
        reference = resource.get("device")
        device = chart.resolve(reference, resource)
        active = status == "active"
        name = chart.normal(reference)
        if name:
            in_use[name] = active or in_use.get(name, False)
        kind = device.get("type") if device else None
        text = label(kind) or (word(reference.get("display")) if type(reference) is dict else "")
        start, end = period(resource.get("timingPeriod"))
        when = start or day(resource.get("timingDateTime")) or day(resource.get("recordedOn"))
        found.append(Device(source(resource), codes(kind), text, active and end is None, when))
    for resource in chart.of("Device"):
        name, kind = source(resource), resource.get("type")
        active = resource.get("status") != "inactive" and in_use.get(name, True)
        found.append(Device(name, codes(kind), label(kind) or _device_name(resource), active, None))
    return tuple(found)


def _device_name(resource: Resource) -> str:
    for name in dicts(resource.get("deviceName")):
        return word(name.get("name"))
    return word(resource.get("distinctIdentifier"))


def _intolerance(resource: Resource) -> Intolerance:
    code = resource.get("code")
    held = list(codes(code))
    for reaction in dicts(resource.get("reaction")):
        held.extend(codes(reaction.get("substance")))
    status = resource.get("clinicalStatus")
    return Intolerance(
        source(resource),
        tuple(held),
        label(code),
        word(resource.get("type")),
        has_code(status, _ACTIVE) if type(status) is dict else True,
        _onset(resource) or day(resource.get("recordedDate")),
    )


def _service_orders(chart: Chart, dropped: list[tuple[str, str]]) -> tuple[ServiceOrder, ...]:
    found: list[ServiceOrder] = []
    kinds = ("ServiceRequest", "DeviceRequest")
    drafts = [(held.reference, held.resource, True) for held in chart.drafts if held.bound]
    stored = [(source(resource), resource, False) for kind in kinds for resource in chart.of(kind)]
    for name, resource, draft in drafts + stored:
        if resource.get("resourceType") not in kinds:
            continue
        if resource.get("doNotPerform") is True:
            dropped.append((resource["resourceType"], "do_not_perform"))
            continue
        code = resource.get("code") or resource.get("codeCodeableConcept")
        if code is None:
            device = chart.resolve(resource.get("codeReference"), resource)
            code = device.get("type") if device else None
        active = draft or (resource.get("status") == "active" and word(resource.get("intent")) not in _WISHES)
        when = day(resource.get("authoredOn"))
        found.append(ServiceOrder(name, codes(code), label(code), draft, active, when))
    return tuple(found)


def _encounters(chart: Chart, dropped: list[tuple[str, str]]) -> tuple[Encounter, ...]:
    found: list[Encounter] = []
    for resource in chart.of("Encounter"):
        if resource.get("status") == "cancelled":
            dropped.append(("Encounter", "cancelled"))
            continue
        kind = {"coding": [resource.get("class")]}
        classes = tuple([code for coding in codings(kind) if (code := word(coding.get("code")))])
        held = codes(kind) + codes_of_all(resource.get("type")) + codes_of_all(resource.get("reasonCode"))
        found.append(Encounter(source(resource), classes, held, period(resource.get("period"))[0]))
    return tuple(found)


def _birth_date(chart: Chart) -> date | None:
    for patient in chart.of("Patient"):
        text = patient.get("birthDate")
        return day(text) if type(text) is str and len(text) == 10 else None
    return None

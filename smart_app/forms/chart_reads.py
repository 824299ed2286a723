"""One plan for what is read of the EHR when a form is opened: two rounds, each all at once.

The first round asks what the launch names; the second what that refers to, and the prescriptions for the timeline,
while the payer is asked for its package. What cannot be seen is said, never an error: the form stays usable (SM-42).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.patient_gate import PatientGate
from cds_service.fhir.references import host_of, normal
from smart_app.adapters.ehr_client import EhrClient, Seen
from smart_app.dtr.context import ORDER_TYPES, Wanted
from smart_app.errors import Trouble
from smart_app.sessions import Launch

Resource = dict[str, Any]
_T = TypeVar("_T")
_AT_ONCE = 6

_COULD_NOT = {
    "denied": "The EHR does not let this app read {what}.",
    "failed": "The EHR could not give {what}.",
    "late": "The EHR took too long to give {what}.",
    "partial": "The EHR gave only a part of {what}.",
}


class FirstRound(msgspec.Struct, frozen=True):
    """What the launch names. ``orders`` are those that could be read, by ``Type/id``; ``unread`` the others."""

    patient: Resource
    user: Resource
    roles: tuple[Resource, ...]
    encounter: Resource
    orders: dict[str, Resource]
    unread: tuple[str, ...]
    coverages: tuple[Resource, ...]
    responses: tuple[Resource, ...]
    not_seen: tuple[str, ...]
    coverages_hidden: bool = False  # whether the EHR did not answer which coverages there are


def at_once(tasks: Mapping[str, Callable[[], _T]]) -> dict[str, _T]:
    """The results of all tasks, run together. The first exception of one of them is raised when all have ended."""
    if not tasks:
        return {}
    with ThreadPoolExecutor(min(len(tasks), _AT_ONCE)) as pool:
        running = {name: pool.submit(task) for name, task in tasks.items()}
    return {name: future.result() for name, future in running.items()}


def first_round(launch: Launch, ehr: EhrClient, wanted: Wanted) -> FirstRound:
    """Reads everything that the launch names, in parallel. Raises Relaunch, and Trouble for another patient's data."""
    host = host_of(ehr.profile.iss)
    user = launch.user.reference if launch.user is not None else ""
    names = [name for order in wanted.orders for name in _spelt(order)]
    tasks: dict[str, Callable[[], Seen]] = {
        "patient": lambda: ehr.read(launch.patient_reference),
        "coverages": lambda: ehr.search("Coverage", {"patient": launch.patient}),
        "responses": lambda: ehr.search("QuestionnaireResponse", {"patient": launch.patient, "_sort": "-authored"}),
    }
    if user:
        tasks["user"] = lambda: ehr.read(user)
    if user.startswith("Practitioner/"):
        tasks["roles"] = lambda: ehr.search("PractitionerRole", {"practitioner": user.partition("/")[2]})
    encounter = wanted.encounter or launch.encounter_reference
    for key, name in (("encounter", encounter), ("coverage", wanted.coverage), ("response", wanted.response)):
        if name:
            tasks[key] = _reading(ehr, name)
    tasks |= {name: _reading(ehr, name) for name in names}
    seen = at_once(tasks)
    gate = PatientGate(launch.patient, host, {})
    orders = {name: found for name in names if (found := _one(seen[name])) is not None}
    insured = (*_all(seen.get("coverage")), *_of_kind(seen, "coverages", "Coverage"))
    coverages = _of_patient(gate, insured, named=wanted.coverage)
    saved = (*_all(seen.get("response")), *_of_kind(seen, "responses", "QuestionnaireResponse"))
    responses = _of_patient(gate, saved, named=wanted.response)
    _of_patient(gate, orders.values(), named=" ".join(orders))
    return FirstRound(
        patient=_one(seen["patient"]) or {},
        user=_one(seen.get("user")) or {},
        roles=_of_kind(seen, "roles", "PractitionerRole"),
        encounter=_one(seen.get("encounter")) or {},
        orders=orders,
        unread=tuple(order for order in wanted.orders if not any(name in orders for name in _spelt(order))),
        coverages=coverages,
        responses=responses,
        not_seen=tuple(
            _unseen(
                {
                    "the patient": seen["patient"],
                    "the coverages": seen["coverages"],
                    "forms that were saved before": seen["responses"],
                }
            )
        ),
        coverages_hidden=seen["coverages"].state not in {"complete", "partial"},
    )


def related(ehr: EhrClient, resources: Iterable[Resource]) -> dict[str, Resource]:
    """Medications of orders and payors of coverages that are resources of their own, by reference."""
    names = dict.fromkeys(name for resource in resources for name in _referred(resource, host_of(ehr.profile.iss)))
    seen = at_once({name: _reading(ehr, name) for name in names})
    return {name: found for name, each in seen.items() if (found := _one(each)) is not None}


def prescriptions(launch: Launch, ehr: EhrClient) -> Mapping[str, Seen]:
    """Everything that may be a prescription of this patient, for the timeline."""
    most = {"patient": launch.patient, "_count": "200"}
    return ehr.search_many(
        {
            "MedicationRequest": ("MedicationRequest", {**most, "_include": "MedicationRequest:medication"}),
            "MedicationStatement": ("MedicationStatement", most),
        }
    )


def unseen_words(seen: Mapping[str, Seen]) -> tuple[str, ...]:
    """A sentence for each read that was not whole; the keys are the words for what was asked."""
    return tuple(_unseen(seen))


def _unseen(seen: Mapping[str, Seen]) -> Iterable[str]:
    for what, each in seen.items():
        if each.state in _COULD_NOT:
            yield _COULD_NOT[each.state].format(what=what)


def _reading(ehr: EhrClient, name: str) -> Callable[[], Seen]:
    return lambda: ehr.read(name)


def _spelt(order: str) -> tuple[str, ...]:
    """``Type/id``; a bare id may be any kind of order that this product knows."""
    return (order,) if "/" in order else tuple(f"{kind}/{order}" for kind in ORDER_TYPES[:3])


def _one(seen: Seen | None) -> Resource | None:
    return seen.resources[0] if seen is not None and seen.resources else None


def _all(seen: Seen | None) -> tuple[Resource, ...]:
    return tuple(seen.resources) if seen is not None else ()


def _of_kind(seen: Mapping[str, Seen], name: str, kind: str) -> tuple[Resource, ...]:
    """What a search found, without what the EHR includes unasked."""
    return tuple(each for each in _all(seen.get(name)) if each.get("resourceType") == kind)


def _of_patient(gate: PatientGate, resources: Iterable[Resource], *, named: str) -> tuple[Resource, ...]:
    """Each once, this patient's only; one that the launch named and that is another's ends it (reliability 99)."""
    found: dict[str, Resource] = {}
    for resource in resources:
        kind, ident = word(resource.get("resourceType")), word(resource.get("id"))
        if kind == "OperationOutcome":
            continue
        name = f"{kind}/{ident}"
        if gate.refusal(kind, resource):
            if name in named.split():
                raise Trouble("patient_mismatch", "another_patient")
            continue
        found.setdefault(name, resource)
    return tuple(found.values())


def _referred(resource: Resource, host: str | None) -> Iterable[str]:
    for reference in (resource.get("medicationReference"), *dicts(resource.get("payor"))):
        text = word(reference.get("reference")) if isinstance(reference, dict) else ""
        if not (normal(text, host) or "#").startswith(("#", "urn:", "http")):
            yield text

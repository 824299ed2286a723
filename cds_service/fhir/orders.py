"""Request resources as orders (MedicationRequest, ServiceRequest, DeviceRequest)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cds_service.domain.dosage import Drug, Instruction, contribution, drugs_of
from cds_service.domain.dosing import NOT_ORDERED, NOT_RUNNING
from cds_service.domain.order import Contribution, Order, OrderKind
from cds_service.domain.quantity import MASS_RATE, VOLUME_RATE
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.dates import day
from cds_service.fhir.dosage import UNUSUAL, read_instruction
from cds_service.fhir.drug_words import most_per_day
from cds_service.fhir.quantities import CONFLICT
from cds_service.fhir.references import normal
from cds_service.fhir.routes import NEURAXIAL, elsewhere, order_route, route_group
from cds_service.fhir.solutions import (
    NOTHING,
    Medicine,
    Resolve,
    Resource,
    codes_of,
    members_of,
    read_medicine,
    text_of,
)
from cds_service.fhir.systems import BILLING_OPTIONS

_KINDS = {kind.value: kind for kind in (OrderKind.DRUG, OrderKind.SERVICE, OrderKind.DEVICE)}
# What may travel in draftOrders without being ordered itself.
_REFERRED_TO = frozenset({
    "Medication", "Substance", "Device", "Condition", "Observation", "Encounter", "Coverage", "Patient",
    "Practitioner", "PractitionerRole", "Organization", "Location",
})  # fmt: skip
_DOSAGE_TEXTS = ("text", "patientInstruction")
_PRIORS = {"MedicationRequest": "priorPrescription", "ServiceRequest": "replaces", "DeviceRequest": "priorRequest"}


def read_order(
    resource: Resource, resolve: Resolve, vocabulary: Vocabulary, *, draft: bool, source: str, host: str | None = None
) -> Order:
    """Read one request resource; what cannot be read is unknown in the order, never an error.

    Args:
        resource: MedicationRequest, ServiceRequest or DeviceRequest; other types give ``OrderKind.OTHER``, which has
            a drug and a route where stated, but never counts in a dose.
        resolve: ``(reference, container)`` -> the resource meant, or None.
        vocabulary: Codes and words.
        draft: It is among the draft orders of this request.
        source: ``Type/id`` as evidence and as the order's name.
        host: ``references.host_of`` the EHR's FHIR server, so that absolute references get their normal form.
    """
    kind = _KINDS.get(_text(resource, "resourceType"), OrderKind.OTHER)
    if kind in {OrderKind.SERVICE, OrderKind.DEVICE}:
        return _without_drug(resource, kind, resolve, draft=draft, source=source, host=host)
    medicine = read_medicine(resource, resolve, vocabulary)
    dosages = members_of(resource, "dosageInstruction" if kind is OrderKind.DRUG else "dosage")
    route, unclear, route_text, instructions = _instructions(dosages, vocabulary)
    contributions = _contributions(medicine, instructions)
    return Order(
        source=source,
        kind=kind,
        status=_text(resource, "status"),
        draft=draft,
        codes=medicine.codes,
        text=medicine.text,
        route=route,
        route_unclear=unclear,
        route_text=route_text,
        solution=medicine.solution,
        contributions=contributions,
        pump_like=any(instruction.rate for instruction in instructions),
        dose_form=medicine.dose_form,
        reasons=_reasons(resource, resolve),
        category=_category(resource),
        authored=day(resource.get("authoredOn")),
        prior=_prior(resource, host),
        encounter=_reference(resource.get("encounter"), host),
        requester=_reference(resource.get("requester"), host),
        patient_bolus=any(instruction.as_needed for instruction in instructions),
        flags=_flags(medicine, instructions, source)
        + _said_otherwise(resource, dosages, contributions, instructions)
        + _told_twice(
            dosages, instructions, route, drugs_of(medicine.solution.parts) if medicine.solution else (), vocabulary
        ),
        intent=_text(resource, "intent"),
        prohibited=resource.get("doNotPerform") is True,
    )


def is_order(resource: Resource) -> bool:
    """Whether an entry of draftOrders is an order, or only what an order there refers to."""
    return resource.get("resourceType") not in _REFERRED_TO


def may_cumulate(
    resource: Resource, vocabulary: Vocabulary, routes: Collection[RouteGroup] = tuple(RouteGroup)
) -> bool:
    """Whether a MedicationRequest of the chart may cumulate with drafts of ``routes`` (``dosing.routes_alongside``).

    Cheap: status, intent and route only, so that a chart full of tablets is not read drug by drug.
    """
    if resource.get("resourceType") != "MedicationRequest" or _text(resource, "status") in NOT_RUNNING:
        return False
    if _text(resource, "intent") in NOT_ORDERED or resource.get("doNotPerform") is True:
        return False
    return any(
        type(dosage) is dict and "route" in dosage and route_group(dosage["route"], vocabulary) in routes
        for dosage in members_of(resource, "dosageInstruction")
    )


def _instructions(dosages: list[Any], vocabulary: Vocabulary) -> tuple[RouteGroup | None, bool, str, list[Instruction]]:
    """The order's route and the instructions that follow it.

    An instruction for another, known route (tablets beside the pump) says nothing about what goes in by this one.
    """
    if len(dosages) == 1:
        dosage = dosages[0]
        stated = [dosage["route"]] if type(dosage) is dict and "route" in dosage else []
        route, unclear, text = order_route(stated, vocabulary)
        return route, unclear, text, [read_instruction(dosage, vocabulary, route)]
    stated = [dosage["route"] for dosage in dosages if type(dosage) is dict and "route" in dosage]
    route, unclear, text = order_route(stated, vocabulary)
    found = []
    for dosage in dosages:
        own = route_group(dosage["route"], vocabulary) if type(dosage) is dict and "route" in dosage else None
        if own is None or route is None or own is route or own in NEURAXIAL:
            found.append(read_instruction(dosage, vocabulary, own))
    return route, unclear, text, found


def _contributions(medicine: Medicine, instructions: list[Instruction]) -> tuple[Contribution, ...]:
    if medicine.solution is None:
        return ()
    return tuple(contribution(drug, instructions) for drug in drugs_of(medicine.solution.parts))


def _flags(medicine: Medicine, instructions: list[Instruction], source: str) -> tuple[tuple[str, str], ...]:
    """Flags by drug where one is named, else by the order."""
    codes = [flag for instruction in instructions for flag in instruction.flags]
    if not codes and not medicine.flags and all(instruction.cap is None for instruction in instructions):
        return ()
    drugs = drugs_of(medicine.solution.parts) if medicine.solution is not None else ()
    if any(not drug.alone for drug in drugs) and any(
        instruction.cap is not None and instruction.cap.dimension == MASS_RATE for instruction in instructions
    ):
        codes.append(UNUSUAL)  # a maximum mass of a mixture: of which drug is not said, so it limits nothing
    subjects = [drug.name for drug in drugs] or [source]
    found = [(code, subject) for code in codes for subject in subjects]
    found += [(code, subject or source) for code, subject in medicine.flags]
    return tuple(dict.fromkeys(found))


def _said_otherwise(
    resource: Resource, dosages: list[Any], contributions: tuple[Contribution, ...], instructions: list[Instruction]
) -> tuple[tuple[str, str], ...]:
    """A conflict where words of the order name more mg, or more mL, per day than its dosage comes to.

    Text is no dose and is not computed with; but whoever fills the pump reads it.
    """
    texts = [word(dosage.get(key)) for dosage in dosages if type(dosage) is dict for key in _DOSAGE_TEXTS]
    for dosage in dosages:
        more = dosage.get("additionalInstruction") if type(dosage) is dict else None
        texts += [text_of(concept) for concept in more] if type(more) is list else []
    texts += [word(note.get("text")) for note in dicts(resource.get("note"))]
    mass, volume = most_per_day(text for text in texts if text)
    given = [one.mg_per_day for one in contributions if one.mg_per_day is not None]
    volumes = [each.daily.value for each in instructions if each.daily and each.daily.dimension == VOLUME_RATE]
    more_said = (given and mass > max(given)) or (volumes and volume > sum(volumes))
    return ((CONFLICT, contributions[0].ingredient),) if more_said and contributions else ()


def _told_twice(
    dosages: list[Any],
    instructions: list[Instruction],
    route: RouteGroup | None,
    drugs: tuple[Drug, ...],
    vocabulary: Vocabulary,
) -> tuple[tuple[str, str], ...]:
    """What a neuraxial order says in two ways.

    An instruction, or words, for a route elsewhere; a steady rate beside a maximum that is another amount.
    """
    if route not in NEURAXIAL or not drugs:
        return ()
    steady = [each for each in instructions if each.rate and not each.as_needed]
    apart = len(instructions) < len(dosages) or any(_capped_elsewhere(each, drugs) for each in steady)
    found = [UNUSUAL] if apart else []
    if any(elsewhere(dosage, vocabulary) for dosage in dosages):
        found.append(CONFLICT)
    return tuple((flag, drugs[0].name) for flag in found)


def _capped_elsewhere(instruction: Instruction, drugs: tuple[Drug, ...]) -> bool:
    """Rate and maximum are known to be two amounts, as volumes or as masses of the one drug."""
    daily, cap = instruction.daily, instruction.cap
    if daily is None or cap is None:
        return False
    if daily.dimension == cap.dimension:
        return daily.value != cap.value
    concentration = drugs[0].concentration if len(drugs) == 1 else None
    mass, volume = (cap, daily) if daily.dimension == VOLUME_RATE else (daily, cap)
    return concentration is not None and mass.value != volume.value * concentration


def _without_drug(
    resource: Resource, kind: OrderKind, resolve: Resolve, *, draft: bool, source: str, host: str | None
) -> Order:
    """A service or device order: pump, catheter, trial or refill procedure."""
    concept = resource.get("code" if kind is OrderKind.SERVICE else "codeCodeableConcept")
    if concept is None and type(resource.get("codeReference")) is dict:
        device = resolve(resource["codeReference"], resource)
        concept = device.get("type") if device is not None else {"text": resource["codeReference"].get("display")}
    return Order(
        source=source,
        kind=kind,
        status=_text(resource, "status"),
        draft=draft,
        codes=codes_of(concept) + _billing_options(concept),
        text=text_of(concept),
        route=None,
        route_unclear=False,
        route_text="",
        solution=NOTHING.solution,
        contributions=(),
        pump_like=False,
        reasons=_reasons(resource, resolve),
        category=_category(resource),
        authored=day(resource.get("authoredOn")),
        prior=_prior(resource, host),
        encounter=_reference(resource.get("encounter"), host),
        requester=_reference(resource.get("requester"), host),
        intent=_text(resource, "intent"),
        prohibited=resource.get("doNotPerform") is True,
    )


def _billing_options(concept: Any) -> tuple[Code, ...]:
    """Codes under which the client may bill a service or device (cds-hooks-crd 187)."""
    extensions = concept.get("extension") if type(concept) is dict else None
    if type(extensions) is not list:
        return ()
    options = [each for each in extensions if type(each) is dict and each.get("url") == BILLING_OPTIONS]
    return tuple([code for each in options for code in codes_of(each.get("valueCodeableConcept"))])


def _reasons(resource: Resource, resolve: Resolve) -> tuple[Code, ...]:
    """Codes of reasonCode, and of the Conditions that reasonReference names."""
    found = [code for concept in members_of(resource, "reasonCode") for code in codes_of(concept)]
    for reference in members_of(resource, "reasonReference"):
        condition = resolve(reference, resource) if type(reference) is dict else None
        if condition is not None and condition.get("resourceType") == "Condition":
            found.extend(codes_of(condition.get("code")))
    return tuple(dict.fromkeys(found))


def _category(resource: Resource) -> tuple[Code, ...]:
    stated = resource.get("category")
    return tuple(code for concept in stated for code in codes_of(concept)) if type(stated) is list else ()


def _prior(resource: Resource, host: str | None) -> tuple[str, ...]:
    """Orders that this one replaces, in normal form."""
    stated = resource.get(_PRIORS.get(_text(resource, "resourceType"), ""))
    references = stated if type(stated) is list else [stated]
    return tuple(name for name in (_reference(one, host) for one in references) if name)


def _reference(reference: Any, host: str | None) -> str:
    """Normal form of a Reference, "" when there is none."""
    return (normal(reference.get("reference"), host) or "") if type(reference) is dict else ""


def _text(resource: Resource, key: str) -> str:
    value = resource.get(key)
    return value if type(value) is str else ""

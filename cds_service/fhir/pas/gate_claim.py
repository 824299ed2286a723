"""The gate's rules of the Claim itself (PAS rows P020-P028, P031, P035, P080-P084 as far as structure goes)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.concepts import number as amount
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import Entry, PasBundle, extensions, has_code, identifier_of
from cds_service.fhir.pas.issues import Issue

CLAIM: Final = "Bundle.entry[0].resource"
_TYPES: Final = frozenset({"institutional", "professional", "oral"})
_TARGETS: Final = {
    "patient": frozenset({"Patient"}),
    "insurer": frozenset({"Organization"}),
    "provider": frozenset({"Organization", "PractitionerRole", "Practitioner"}),
}
_EXTENSIONS: Final = (
    ("serviceItemRequestType", systems.REQUEST_TYPE),
    ("certificationType", systems.CERTIFICATION_TYPE),
)
_MOST: Final = 2**31 - 1  # of FHIR's positiveInt
_ORDERS: Final = frozenset({"MedicationRequest", "ServiceRequest", "DeviceRequest", "NutritionOrder"})


def claim_issues(bundle: PasBundle, version: str) -> Iterator[Issue]:
    """Everything wrong with the first Claim."""
    claim = bundle.claim.resource
    update = bool(claim.get("related"))
    yield from header_issues(bundle, most_identifiers=2 if version != "2.0.1" else 1)
    yield from _related(bundle, version)
    items = claim.get("item")
    if not dicts_of(items) and not (update and is_cancellation(claim)):
        yield Issue("P024", "required", "a request needs an item", f"{CLAIM}.item")
    yield from _sequences(items, f"{CLAIM}.item", "P024")
    for number, item in enumerate(dicts_of(items)):
        yield from _item(bundle, claim, item, f"{CLAIM}.item[{number}]", version)
    for number, diagnosis in enumerate(dicts_of(claim.get("diagnosis"))):
        yield from _diagnosis(diagnosis, f"{CLAIM}.diagnosis[{number}]")
    yield from _sequences(claim.get("supportingInfo"), f"{CLAIM}.supportingInfo", "P028")
    if version != "2.0.1":
        for number, info in enumerate(dicts_of(claim.get("supportingInfo"))):
            yield from _supporting(info, f"{CLAIM}.supportingInfo[{number}]")


def dicts_of(value: Any) -> list[dict[str, Any]]:
    """The objects of a repeating element as a list."""
    return list(dicts(value))


def is_cancellation(claim: dict[str, Any]) -> bool:
    """P084: the whole request is cancelled by the certification type of the Claim."""
    return certification_of(claim) == systems.CANCEL


def certification_of(holder: dict[str, Any]) -> str:
    """The X12 certification type of a Claim or item, "" where none is stated."""
    for each in extensions(holder, systems.CERTIFICATION):
        concept = each.get("valueCodeableConcept")
        for coding in dicts(concept.get("coding")) if type(concept) is dict else ():
            if coding.get("system") == systems.CERTIFICATION_TYPE:
                return word(coding.get("code"))
    return ""


def header_issues(bundle: PasBundle, *, most_identifiers: int) -> Iterator[Issue]:
    """P020-P022: what every Claim states, a submitted one and one that inquires."""
    claim = bundle.claim.resource
    if claim.get("status") != "active":
        yield Issue("P020", "value", "status must be active, also where a request is cancelled", f"{CLAIM}.status")
    if claim.get("use") != "preauthorization":
        yield Issue("P020", "value", "use must be preauthorization", f"{CLAIM}.use")
    if not any(has_code(claim.get("type"), systems.CLAIM_TYPE, code) for code in _TYPES):
        text = "type must be institutional, professional or oral"
        yield Issue("P020", "code-invalid", text, f"{CLAIM}.type")
    listed = claim.get("identifier")
    held = dicts_of(listed)
    if not held or len(held) > most_identifiers:
        yield Issue("P021", "required", f"identifier: 1 to {most_identifiers} are needed", f"{CLAIM}.identifier")
    for number, identifier in enumerate(held):
        if not identifier_of(identifier):
            yield Issue("P021", "required", "an identifier needs system and value", f"{CLAIM}.identifier[{number}]")
    for element, kinds in _TARGETS.items():
        yield from _target(bundle, claim, element, kinds)
    yield from _insurance(bundle, claim)


def _target(bundle: PasBundle, claim: dict[str, Any], element: str, kinds: frozenset[str]) -> Iterator[Issue]:
    reference = claim.get(element)
    where = f"{CLAIM}.{element}"
    if not _names_entry(bundle, reference):
        yield Issue("P022", "required", f"{element} must name an entry of this Bundle", where)
        return
    found = bundle.one(reference, bundle.claim)
    if found is not None and found.kind not in kinds:
        yield Issue("P022", "value", f"{element} must be {' or '.join(sorted(kinds))}", where)


def _names_entry(bundle: PasBundle, reference: Any) -> bool:
    """Whether a Reference names entries at all, there or not (P013): not by identifier alone, nor what is contained."""
    return type(reference) is dict and bundle.found(reference, bundle.claim) is not None


def _insurance(bundle: PasBundle, claim: dict[str, Any]) -> Iterator[Issue]:
    where = f"{CLAIM}.insurance"
    focal = [
        (number, each) for number, each in enumerate(dicts_of(claim.get("insurance"))) if each.get("focal") is True
    ]
    if len(focal) != 1:
        yield Issue("P022", "required", "exactly one insurance is focal", where)
        return
    number, held = focal[0]
    reference = held.get("coverage")
    if not _names_entry(bundle, reference):
        yield Issue("P022", "required", "coverage must name an entry of this Bundle", f"{where}[{number}].coverage")
        return
    found = bundle.one(reference, bundle.claim)
    if found is not None and found.kind != "Coverage":
        yield Issue("P022", "value", "coverage must be a Coverage", f"{where}[{number}].coverage")
    elif found is not None and _of_another(bundle, found, "beneficiary"):
        path = f"Bundle.entry[{found.index}].resource.beneficiary"
        yield Issue("P022", "conflict", "the Coverage is another patient's", path)


def _related(bundle: PasBundle, version: str) -> Iterator[Issue]:
    """P023, P080: one prior Claim on an update; from 2.1 on it is in the Bundle."""
    claim = bundle.claim.resource
    if "related" not in claim:
        if is_cancellation(claim):
            yield Issue("P084", "required", "a cancellation names the request that it cancels", f"{CLAIM}.related")
        return
    related = dicts_of(claim["related"])
    if len(related) != 1:
        yield Issue("P023", "structure", "exactly one related Claim", f"{CLAIM}.related")
        return
    where = f"{CLAIM}.related[0]"
    if not has_code(related[0].get("relationship"), systems.RELATED_CLAIM, "prior"):
        yield Issue("P023", "code-invalid", "the relationship must be prior", f"{where}.relationship")
    reference = related[0].get("claim")
    if type(reference) is not dict or not (reference.get("reference") or identifier_of(reference.get("identifier"))):
        yield Issue("P023", "required", "related must name the Claim that is updated", f"{where}.claim")
        return
    found = bundle.one(reference, bundle.claim) if type(reference.get("reference")) is str else None
    if found is not None and (found.kind != "Claim" or found.index == 0):
        yield Issue("P023", "value", "related must name another Claim", f"{where}.claim")
    if found is None and version != "2.0.1" and type(reference.get("reference")) is not str:
        yield Issue("P080", "required", "the Claim that is updated must be in the Bundle", f"{where}.claim")


def _sequences(listed: Any, where: str, rule: str) -> Iterator[Issue]:
    """Sequence numbers are positive, no larger than FHIR has them, and unique."""
    seen: set[int] = set()
    for number, each in enumerate(dicts_of(listed)):
        sequence = each.get("sequence")
        if type(sequence) is not int or not 1 <= sequence <= _MOST:
            text = f"sequence must be a positive number, at most {_MOST}"
            yield Issue(rule, "required", text, f"{where}[{number}].sequence")
        elif sequence in seen:
            yield Issue(rule, "duplicate", "this sequence stands twice", f"{where}[{number}].sequence")
        else:
            seen.add(sequence)


def _item(bundle: PasBundle, claim: dict[str, Any], item: dict[str, Any], where: str, version: str) -> Iterator[Issue]:
    if version != "2.0.1":
        for name, system in (
            ("serviceItemRequestType", systems.REQUEST_TYPE),
            ("certificationType", systems.CERTIFICATION_TYPE),
        ):
            held = extensions(item, systems.extension(name))
            if len(held) != 1 or not _coded(held[0].get("valueCodeableConcept"), system):
                yield Issue("P024", "required", f"{name} needs a code of X12", f"{where}.extension")
        if type(item.get("locationCodeableConcept")) is not dict:
            yield Issue("P024", "required", "location must be a code of a place of service", f"{where}.location")
    if not _coded(item.get("category"), systems.SERVICE_TYPE):
        yield Issue("P024", "required", "category needs a service type of X12", f"{where}.category")
    if not service_coded(item.get("productOrService")):
        text = "productOrService needs a code of HCPCS, CPT, NDC, ICD or an X12 service type"
        yield Issue("P025", "code-invalid", text, f"{where}.productOrService")
    yield from _requested(bundle, item, where)
    if version != "2.0.1" and "quantity" in item:
        yield from quantity_issues(item["quantity"], f"{where}.quantity")
    if certification_of(item) == systems.APPEAL and not (
        extensions(item, systems.LEVEL) or extensions(claim, systems.LEVEL)
    ):
        text = "an immediate appeal needs a level of service"
        yield Issue("P035", "invariant", text, f"{where}.extension")


def _coded(concept: Any, system: str) -> bool:
    """A code that is not empty, of this system. The list itself is licensed and not looked into."""
    if type(concept) is not dict:
        return False
    return any(each.get("system") == system and word(each.get("code")).strip() for each in dicts(concept.get("coding")))


def service_coded(concept: Any) -> bool:
    """P025: one of the codings is of a list that may name a service."""
    if type(concept) is not dict:
        return False
    return any(
        word(each.get("system")) in systems.SERVICE_SYSTEMS and word(each.get("code")).strip()
        for each in dicts(concept.get("coding"))
    )


def _requested(bundle: PasBundle, item: dict[str, Any], where: str) -> Iterator[Issue]:
    """P026: the order behind a line is signed and active."""
    for each in extensions(item, systems.REQUESTED_SERVICE):
        found = bundle.one(each.get("valueReference"), bundle.claim)
        if found is None:
            continue  # P013 speaks of it
        path = f"Bundle.entry[{found.index}].resource"
        if found.kind not in _ORDERS:
            text = "requestedService must be a MedicationRequest, ServiceRequest, DeviceRequest or NutritionOrder"
            yield Issue("P026", "value", text, f"{where}.extension")
            continue
        yield from order_issues(found, path)
        yield from _whose(bundle, found, path)


def _whose(bundle: PasBundle, order: Entry, path: str) -> Iterator[Issue]:
    """An order that says whose it is names the Claim's patient: by entry, so that it is certain."""
    element = "patient" if order.kind == "NutritionOrder" else "subject"
    if _of_another(bundle, order, element):
        yield Issue("P026", "conflict", "the requested order is another patient's", f"{path}.{element}")
    elif element in order.resource and bundle.found(order.resource[element], order) is None:
        text = "the requested order must name the patient's entry of this Bundle"
        yield Issue("P026", "conflict", text, f"{path}.{element}")


def _of_another(bundle: PasBundle, entry: Entry, element: str) -> bool:
    """Whether a resource names an entry of the Bundle that is not the Claim's patient."""
    patient = bundle.one(bundle.claim.resource.get("patient"), bundle.claim)
    named = bundle.one(entry.resource.get(element), entry)
    return patient is not None and named is not None and named is not patient


def order_issues(found: Entry, path: str) -> Iterator[Issue]:
    """P026: intent order, status active."""
    if found.resource.get("intent") != "order":
        yield Issue("P026", "value", "the requested order must have intent order", f"{path}.intent")
    if found.resource.get("status") != "active":
        text = "the requested order must be active: sign it, then send it"
        yield Issue("P026", "value", text, f"{path}.status")


def quantity_issues(quantity: Any, where: str) -> Iterator[Issue]:
    """P031: a value, and a unit or a code; a code is X12's."""
    held = quantity if type(quantity) is dict else {}
    value = amount(held.get("value"))
    if value is None or value <= 0:
        yield Issue("P031", "required", "a quantity needs a value, a number above zero", f"{where}.value")
    if "comparator" in held:
        yield Issue("P031", "structure", "a quantity that is asked for has no comparator", f"{where}.comparator")
    code = held.get("code")
    if code is not None and held.get("system") != systems.UNITS:
        yield Issue(
            "P031", "code-invalid", "a unit code must be of X12 list 673; state other units in unit", f"{where}.code"
        )


def _diagnosis(diagnosis: dict[str, Any], where: str) -> Iterator[Issue]:
    """P027: a code of ICD-10-CM, ICD-9 or a DRG list."""
    concept = diagnosis.get("diagnosisCodeableConcept")
    if concept is None and type(diagnosis.get("diagnosisReference")) is dict:
        return  # the Condition that it names is read, and must be in the Bundle
    coded = type(concept) is dict and any(
        word(each.get("system")) in systems.DIAGNOSIS_SYSTEMS and word(each.get("code")).strip()
        for each in dicts(concept.get("coding"))
    )
    if not coded:
        text = "a diagnosis needs a code of ICD-10-CM, ICD-9 or a DRG list"
        yield Issue("P027", "code-invalid", text, f"{where}.diagnosis")


def _supporting(info: dict[str, Any], where: str) -> Iterator[Issue]:
    """P028: a document says what it is, and is there."""
    if not has_code(info.get("category"), systems.TEMP_CODES, "additionalInformation"):
        return
    held = extensions(info, systems.extension("documentInformation"))
    kinds = [part for each in held for part in extensions(each, "reportTypeCode")]
    if len(held) != 1 or not kinds:
        text = "additional information needs documentInformation with a reportTypeCode"
        yield Issue("P028", "required", text, f"{where}.extension")
    reference = info.get("valueReference")
    if type(reference) is not dict or type(reference.get("reference")) is not str:
        yield Issue("P028", "required", "additional information names a resource of the Bundle", f"{where}.value")

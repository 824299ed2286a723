"""What a request for authorization says: who asks for which services, for whom, on what ground (PAS P020-P034)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, Final

import msgspec

from cds_service.fhir.concepts import dicts, label, number, word
from cds_service.fhir.dates import day, period
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import Entry, PasBundle, extensions, has_code, identifier_of
from cds_service.fhir.pas.gate_claim import certification_of, is_cancellation
from cds_service.fhir.pas.inquiry import member_of, npis, npis_of, organizations_of
from cds_service.fhir.pas.localize import Localized, localize

Resource = dict[str, Any]
_ORDERS: Final = frozenset({"MedicationRequest", "ServiceRequest", "DeviceRequest"})


class RequestedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One Claim item. ``order``: "Type/id" of what it asks for; an order made of the item where it names none."""

    sequence: int
    system: str
    code: str
    text: str
    order: str
    stated: bool  # the item names an order
    services: tuple[tuple[str, str], ...]  # (system, code): every code that the line names, also the end of a range
    quantity: Fraction | None  # None: not stated, or not as a plain number
    quantity_stated: bool
    units: tuple[str, ...]  # what it is a number of, in words and as code
    trace: tuple[Resource, ...]  # Identifiers, to be echoed
    certification: str
    previous: str  # authorization number of before
    changed: str  # "" | changed | added
    cancelled: bool
    diagnoses: tuple[str, ...]
    start: date | None
    end: date | None
    raw: Resource


class PasRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request Bundle, read. Entries are those of ``bundle``; ``local`` has their resources by "Type/id"."""

    bundle: PasBundle
    local: Localized
    version: str
    identifier: str  # of the Bundle: the sender's transaction
    claim_identifiers: tuple[str, ...]
    kind: str  # submit | update | cancel
    prior_identifiers: tuple[str, ...]  # of the Claim that is updated
    prior_reference: str
    lines: tuple[RequestedLine, ...]
    orders: tuple[tuple[str, Resource], ...]  # "Type/id" and resource of each line's order, each once
    patient: Entry
    patient_id: str
    patient_name: str
    birth_date: str
    insurer: Entry
    provider: Entry
    requester_name: str
    coverage: Entry
    members: tuple[str, ...]
    organizations: tuple[str, ...]
    ordering_npi: str
    rendering_npi: str
    expedited: bool
    appeal: bool
    diagnoses: tuple[str, ...]
    service_end: date | None
    sequences: frozenset[int]  # of supportingInfo


def read_request(bundle: PasBundle, version: str) -> PasRequest:
    """Read a Bundle that passed the gate."""
    local = localize(bundle)
    claim = local.resources[0]
    patient, insurer = bundle.one(claim_ref(bundle, "patient"), bundle.claim), _named(bundle, "insurer")
    provider, coverage = _named(bundle, "provider"), _coverage(bundle)
    if patient is None or insurer is None or provider is None or coverage is None:
        raise ValueError("the gate lets only resolved references through")
    diagnoses = _diagnoses(bundle, local)
    lines, orders = _lines(bundle, local, diagnoses, local.names[patient.index])
    related = next(iter(dicts(claim.get("related"))), None)
    cancel = related is not None and is_cancellation(claim)
    prior = bundle.one(_claim_of(bundle), bundle.claim) if related is not None else None
    person = local.resources[patient.index]
    ends = [line.end or line.start for line in lines if line.end or line.start]
    return PasRequest(
        bundle=bundle,
        local=local,
        version=version,
        identifier=identifier_of(bundle.raw.get("identifier")),
        claim_identifiers=_identifiers(claim),
        kind="cancel" if cancel else "update" if related is not None else "submit",
        prior_identifiers=_prior_identifiers(prior, related),
        prior_reference=prior.url if prior else "",
        lines=lines,
        orders=orders,
        patient=patient,
        patient_id=local.names[patient.index].partition("/")[2],
        patient_name=name_of(person),
        birth_date=word(person.get("birthDate")),
        insurer=insurer,
        provider=provider,
        requester_name=_provider_name(bundle, provider),
        coverage=coverage,
        members=_members(bundle, coverage),
        organizations=tuple(organizations_of(bundle)),
        ordering_npi=_ordering(bundle, lines),
        rendering_npi=next(iter(npis_of(bundle)), ""),
        expedited=_expedited(claim),
        appeal=any(line.certification == systems.APPEAL for line in lines),
        diagnoses=tuple(dict.fromkeys(diagnoses.values())),
        service_end=max((end for end in ends if end), default=None),
        sequences=frozenset(
            each["sequence"] for each in dicts(claim.get("supportingInfo")) if type(each.get("sequence")) is int
        ),
    )


def changes_lines(bundle: PasBundle) -> bool:
    """Whether a Bundle changes an earlier request: by related, or (2.0.1) by what its items say."""
    if not bundle.entries or bundle.claim.kind != "Claim":
        return False
    claim = bundle.claim.resource
    if claim.get("related"):
        return True
    items = dicts(claim.get("item"))
    return any(extensions(item, systems.INFO_CHANGED) or _cancelled(item) for item in items)


def claim_ref(bundle: PasBundle, element: str) -> Any:
    """A reference of the Claim as it was sent."""
    return bundle.claim.resource.get(element)


def _named(bundle: PasBundle, element: str) -> Entry | None:
    return bundle.one(claim_ref(bundle, element), bundle.claim)


def _coverage(bundle: PasBundle) -> Entry | None:
    for each in dicts(claim_ref(bundle, "insurance")):
        if each.get("focal") is True:
            return bundle.one(each.get("coverage"), bundle.claim)
    return None


def _claim_of(bundle: PasBundle) -> Any:
    return next((each.get("claim") for each in dicts(claim_ref(bundle, "related"))), None)


def _identifiers(claim: Resource) -> tuple[str, ...]:
    held = (identifier_of(each) for each in dicts(claim.get("identifier")))
    return tuple(each for each in held if each)


def _prior_identifiers(prior: Entry | None, related: Resource | None) -> tuple[str, ...]:
    if prior is not None:
        return _identifiers(prior.resource)
    reference = related.get("claim") if related else None
    held = identifier_of(reference.get("identifier")) if type(reference) is dict else ""
    return (held,) if held else ()


def _lines(
    bundle: PasBundle, local: Localized, diagnoses: dict[int, str], patient: str
) -> tuple[tuple[RequestedLine, ...], tuple[tuple[str, Resource], ...]]:
    lines = []
    orders: dict[str, Resource] = {}
    for item in dicts(bundle.claim.resource.get("item")):
        named = _order_of(bundle, item)
        sequence = item["sequence"]
        if named is not None and named.kind in _ORDERS:
            name = local.names[named.index]
            orders[name] = local.resources[named.index]
        else:
            made = _made(item, sequence, patient, diagnoses)
            name = f"ServiceRequest/{made['id']}"
            orders[name] = made
        lines.append(_line(item, name, diagnoses, stated=named is not None))
    return tuple(lines), tuple(orders.items())


def _order_of(bundle: PasBundle, item: Resource) -> Entry | None:
    for each in extensions(item, systems.REQUESTED_SERVICE):
        return bundle.one(each.get("valueReference"), bundle.claim)
    return None


def _made(item: Resource, sequence: int, patient: str, diagnoses: dict[int, str]) -> Resource:
    """A line without an order: what its code alone asks for."""
    reasons = [diagnoses[each] for each in item.get("diagnosisSequence") or diagnoses if each in diagnoses]
    return {
        "resourceType": "ServiceRequest",
        "id": f"line-{sequence}",
        "status": "active",
        "intent": "order",
        "code": item.get("productOrService"),
        "subject": {"reference": patient},
        "reasonCode": [systems.concept(systems.ICD10CM, code) for code in reasons],
    }


def _line(item: Resource, order: str, diagnoses: dict[int, str], *, stated: bool) -> RequestedLine:
    coding = _service(item)
    quantity = item.get("quantity")
    quantity = quantity if type(quantity) is dict else {}
    start, end = period(item.get("servicedPeriod"))
    listed = item.get("diagnosisSequence")
    wanted = listed if type(listed) is list else list(diagnoses)
    return RequestedLine(
        sequence=item["sequence"],
        system=word(coding.get("system")),
        code=word(coding.get("code")),
        text=label(item.get("productOrService")),
        order=order,
        stated=stated,
        services=tuple(_services(item)),
        quantity=None if "comparator" in quantity else number(quantity.get("value")),
        quantity_stated="quantity" in item,
        units=(word(quantity.get("unit")), word(quantity.get("code"))),
        trace=tuple(
            each["valueIdentifier"]
            for each in extensions(item, systems.TRACE_NUMBER)
            if type(each.get("valueIdentifier")) is dict
        ),
        certification=certification_of(item),
        previous=_text_extension(item, systems.AUTHORIZATION_NUMBER),
        changed=next((word(each.get("valueCode")) for each in extensions(item, systems.INFO_CHANGED)), ""),
        cancelled=_cancelled(item),
        diagnoses=tuple(diagnoses[each] for each in wanted if type(each) is int and each in diagnoses),
        start=day(item.get("servicedDate")) or start,
        end=day(item.get("servicedDate"), last=True) or end,
        raw=item,
    )


def _text_extension(holder: Resource, url: str) -> str:
    return next((word(each.get("valueString")).strip() for each in extensions(holder, url)), "")


def _cancelled(item: Resource) -> bool:
    """P083: by the modifier extension, or by the certification type alone."""
    for each in dicts(item.get("modifierExtension")):
        if each.get("url") == systems.INFO_CANCELLED:
            return each.get("valueBoolean") is True
    return certification_of(item) == systems.CANCEL


def _service(item: Resource) -> Resource:
    concept = item.get("productOrService")
    held = list(dicts(concept.get("coding"))) if type(concept) is dict else []
    return next((each for each in held if word(each.get("system")) in systems.SERVICE_SYSTEMS), held[0] if held else {})


def _services(item: Resource) -> Iterator[tuple[str, str]]:
    concepts = [item.get("productOrService")]
    concepts += [each.get("valueCodeableConcept") for each in extensions(item, systems.CODE_END)]
    for each in (coding for concept in concepts for coding in _codings(concept)):
        if word(each.get("system")) in systems.SERVICE_SYSTEMS:
            yield word(each.get("system")), word(each.get("code"))


def _diagnoses(bundle: PasBundle, local: Localized) -> dict[int, str]:
    """ICD-10-CM code by sequence; of a diagnosisReference the Condition's."""
    found: dict[int, str] = {}
    for each in dicts(bundle.claim.resource.get("diagnosis")):
        concept = each.get("diagnosisCodeableConcept")
        condition = local.entry(bundle.one(each.get("diagnosisReference"), bundle.claim))
        for coding in _codings(concept) or _codings(condition.get("code") if condition else None):
            sequence = each.get("sequence")
            if coding.get("system") == systems.ICD10CM and type(sequence) is int and sequence not in found:
                found[sequence] = word(coding.get("code"))
    return found


def _codings(concept: Any) -> list[Resource]:
    return list(dicts(concept.get("coding"))) if type(concept) is dict else []


def _members(bundle: PasBundle, coverage: Entry) -> tuple[str, ...]:
    """The member's numbers, that of the Coverage first: it is the one that authorizations are filed under."""
    held = [
        word(each.get("value")).strip()
        for each in dicts(coverage.resource.get("identifier"))
        if has_code({"coding": _codings(each.get("type"))}, "http://terminology.hl7.org/CodeSystem/v2-0203", "MB")
    ]
    held.append(word(coverage.resource.get("subscriberId")).strip())
    return tuple(dict.fromkeys(each for each in (*held, *member_of(bundle)) if each))


def _ordering(bundle: PasBundle, lines: Sequence[RequestedLine]) -> str:
    """NPI of the person who signed the first order, else of the Claim's provider."""
    for line in lines:
        order = _order_of(bundle, line.raw)
        if order is not None:
            found = npis(bundle, bundle.one(order.resource.get("requester"), order))
            if found:
                return found[0]
    return next(iter(npis_of(bundle)), "")


def _expedited(claim: Resource) -> bool:
    """P034: by the level of service, or by the priority; either is enough."""
    level = any(
        has_code(each.get("valueCodeableConcept"), systems.LEVEL_OF_SERVICE, systems.URGENT)
        for holder in (claim, *dicts(claim.get("item")))
        for each in extensions(holder, systems.LEVEL)
    )
    priority = {word(each.get("code")).lower() for each in _codings(claim.get("priority"))}
    return level or bool(priority & {"stat", "urgent", "asap"})


def name_of(person: Resource) -> str:
    """A name as people write it."""
    for name in dicts(person.get("name")):
        if word(name.get("text")):
            return word(name.get("text"))
        given = name.get("given")
        parts = [word(part) for part in given] if type(given) is list else []
        return " ".join(part for part in (*parts, word(name.get("family"))) if part)
    return ""


def _provider_name(bundle: PasBundle, provider: Entry) -> str:
    if provider.kind != "PractitionerRole":
        return word(provider.resource.get("name")) if provider.kind == "Organization" else name_of(provider.resource)
    practitioner = bundle.one(provider.resource.get("practitioner"), provider)
    organization = bundle.one(provider.resource.get("organization"), provider)
    person = name_of(practitioner.resource) if practitioner else ""
    return person or (word(organization.resource.get("name")) if organization else "")

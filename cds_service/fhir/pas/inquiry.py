"""What an inquiry asks for: whose cases, by which numbers, for which services (P067-P073)."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import msgspec

from cds_service.fhir.concepts import dicts, has_code, word
from cds_service.fhir.dates import period
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import Entry, PasBundle, extensions, identifier_of

_MEMBER: Final = frozenset({"MB"})


class Inquiry(msgspec.Struct, frozen=True):
    """One inquiry. ``services`` empty: whatever service. ``numbers``: of authorizations or pended requests."""

    identifier: str
    members: tuple[str, ...]
    birth_date: str
    organizations: tuple[str, ...]  # "system|value" of the one who asks
    npis: tuple[str, ...]  # ordering or rendering providers named
    authorization_numbers: tuple[str, ...]
    reference_numbers: tuple[str, ...]
    services: tuple[str, ...]
    period: tuple[date | None, date | None] = (None, None)


def read_inquiry(bundle: PasBundle) -> Inquiry:
    """Read an inquiry that passed the gate. ``Claim.identifier`` is deliberately not a search key (P068)."""
    claim = bundle.claim.resource
    patient = bundle.one(claim.get("patient"), bundle.claim)
    items = list(dicts(claim.get("item")))
    holders = [claim, *items]
    return Inquiry(
        identifier=identifier_of(bundle.raw.get("identifier")),
        members=member_of(bundle),
        birth_date=word(patient.resource.get("birthDate")) if patient else "",
        organizations=tuple(organizations_of(bundle)),
        npis=tuple(dict.fromkeys(npis_of(bundle))),
        authorization_numbers=_numbers(holders, systems.AUTHORIZATION_NUMBER),
        reference_numbers=_numbers(holders, systems.REFERENCE_NUMBER),
        services=tuple(dict.fromkeys(code for item in items for code in _service(item))),
        period=period(claim.get("billablePeriod")),
    )


def _numbers(holders: list[dict[str, Any]], url: str) -> tuple[str, ...]:
    found = (word(each.get("valueString")).strip() for holder in holders for each in extensions(holder, url))
    return tuple(dict.fromkeys(number for number in found if number))


def _service(item: dict[str, Any]) -> list[str]:
    """P073: not-applicable asks for whatever service."""
    concept = item.get("productOrService")
    held = dicts(concept.get("coding")) if type(concept) is dict else ()
    return [word(each.get("code")) for each in held if word(each.get("system")) in systems.SERVICE_SYSTEMS]


def member_of(bundle: PasBundle) -> tuple[str, ...]:
    """The member's numbers: the Patient's identifier of type MB (else those it has), and those of its Coverage.

    Empty where the Patient bears no identifier at all: the Coverage alone does not say who is asked about.
    """
    claim = bundle.claim
    patient = bundle.one(claim.resource.get("patient"), claim)
    if patient is None:
        return ()
    held = [each for each in dicts(patient.resource.get("identifier")) if word(each.get("value")).strip()]
    typed = [each for each in held if has_code(each.get("type"), _MEMBER)] or held
    found = [word(each.get("value")).strip() for each in typed]
    if found:
        found += _of_coverage(bundle)
    return tuple(dict.fromkeys(found))


def _of_coverage(bundle: PasBundle) -> list[str]:
    found = []
    for insurance in dicts(bundle.claim.resource.get("insurance")):
        coverage = bundle.one(insurance.get("coverage"), bundle.claim)
        if coverage is None or coverage.kind != "Coverage":
            continue
        typed = [each for each in dicts(coverage.resource.get("identifier")) if has_code(each.get("type"), _MEMBER)]
        found += [word(each.get("value")).strip() for each in typed]
        found.append(word(coverage.resource.get("subscriberId")).strip())
    return [number for number in found if number]


def organizations_of(bundle: PasBundle) -> list[str]:
    """Identifiers "system|value" of the Organization that requests or asks, its own or that of its role."""
    provider = bundle.one(bundle.claim.resource.get("provider"), bundle.claim)
    if provider is not None and provider.kind == "PractitionerRole":
        provider = bundle.one(provider.resource.get("organization"), provider)
    if provider is None or provider.kind != "Organization":
        return []
    found = [identifier_of(each) for each in dicts(provider.resource.get("identifier"))]
    return [each for each in found if each]


def npis_of(bundle: PasBundle) -> list[str]:
    """NPIs of the providers that the Claim names: its provider and its care team."""
    claim = bundle.claim
    named = [claim.resource.get("provider")]
    named += [member.get("provider") for member in dicts(claim.resource.get("careTeam"))]
    return [npi for reference in named for npi in npis(bundle, bundle.one(reference, claim))]


def npis(bundle: PasBundle, entry: Entry | None) -> list[str]:
    """NPIs of one provider; of a role also its practitioner's and its organization's."""
    if entry is None:
        return []
    found = [
        word(each.get("value")).strip()
        for each in dicts(entry.resource.get("identifier"))
        if each.get("system") == systems.NPI
    ]
    if entry.kind == "PractitionerRole":
        for element in ("practitioner", "organization"):
            found += npis(bundle, bundle.one(entry.resource.get(element), entry))
    return [npi for npi in found if npi]

"""From signed orders and a finished form to a PAS request Bundle (P010-P035), in the shapes of 2.0.1 and 2.2.1.

Nothing of an order is changed: what the payer decides on is the resource as it was signed, and its numbers keep their
digits. What PAS asks for beside the chart (categories, places, request types) is a published code of its guide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from smart_app.pas.closure import Resource, gather
from smart_app.pas.systems import (
    BILLABLE,
    CRD_COVERAGE_INFORMATION,
    HCPCS,
    ICD10CM,
    PAS,
    PAS_CODES,
    PLACE_OF_SERVICE,
    TERMINOLOGY,
    X12,
)

ORDER_TYPES = ("MedicationRequest", "ServiceRequest", "DeviceRequest")
_MEMBER = {"coding": [{"system": f"{TERMINOLOGY}v2-0203", "code": "MB"}]}
_CRD_HCPCS = ("https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", HCPCS)  # two spellings of one system


class CodeNeeded(msgspec.Struct, frozen=True):
    """An order whose billing code nothing says: a person has to."""

    order: str  # "MedicationRequest/x"
    words: str


class Line(msgspec.Struct, frozen=True):
    """One order as a line of the request."""

    order: Resource
    code: Mapping[str, str]  # Coding: system and code


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one request is made of. Resources are as the EHR gave them."""

    base: str  # the EHR's FHIR base, without final slash
    patient: Resource
    coverage: Resource
    lines: tuple[Line, ...]
    responses: tuple[Resource, ...]  # completed QuestionnaireResponses
    supporting: tuple[Resource, ...] = ()  # conditions, observations, therapies that answers rest on
    provider: Resource  # Organization or PractitionerRole that asks (P022)
    provider_is_ours: bool = False  # it stands in the registration of the EHR, not in the EHR
    insurer_name: str
    insurer_identifier: Mapping[str, str] | None = None
    expedited: bool = False
    place: str = "11"  # place of service, public CMS code
    sender: Mapping[str, str] = {}  # system of our own identifiers


def billing_code(order: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The code under which an order is billed: the payer's own word in coverage-information, else the order's coding.

    None where neither says one that a Claim may hold (P025): a person is asked, nothing is guessed.
    """
    for extension in _dicts(order.get("extension")):
        if extension.get("url") == CRD_COVERAGE_INFORMATION:
            for part in _dicts(extension.get("extension")):
                coding = part.get("valueCoding")
                if part.get("url") == "billingCode" and isinstance(coding, dict) and coding.get("code"):
                    billed_in = HCPCS if coding.get("system") in _CRD_HCPCS else str(coding.get("system"))
                    return {"system": billed_in, "code": str(coding["code"])}
    for concept in ("code", "codeCodeableConcept", "medicationCodeableConcept"):
        held = order.get(concept)
        for coding in _dicts(held.get("coding") if isinstance(held, dict) else None):
            system = HCPCS if coding.get("system") in _CRD_HCPCS else str(coding.get("system"))
            if system in BILLABLE and coding.get("code"):
                return {"system": system, "code": str(coding["code"])}
    return None


def lines_of(
    orders: Sequence[Resource], chosen: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[Line, ...], tuple[CodeNeeded, ...]]:
    """A line per order, with codes that are known or were ``chosen`` (by "Type/id"); and what is still to be said."""
    lines, open_ones = [], []
    for order in orders:
        name = f"{order['resourceType']}/{order['id']}"
        code = chosen.get(name) or billing_code(order)
        if code is None:
            open_ones.append(CodeNeeded(name, words_of(order)))
        else:
            lines.append(Line(order, code))
    return tuple(lines), tuple(open_ones)


def words_of(order: Mapping[str, Any], medications: Mapping[str, Resource] | None = None) -> str:
    """What a person calls the order. ``medications``: those that orders name, by reference."""
    for element in ("medicationReference", "medicationCodeableConcept", "code", "codeCodeableConcept"):
        held = order.get(element)
        if isinstance(held, dict):
            first: Mapping[str, Any] = next(iter(_dicts(held.get("coding"))), {})
            words = held.get("display") or held.get("text") or first.get("display") or first.get("code")
            if words:
                return str(words)
    medicine = order.get("medicationReference")
    name = str(medicine.get("reference", "")) if isinstance(medicine, dict) else ""
    inside = {f"#{each.get('id')}": each for each in _dicts(order.get("contained"))}
    found = inside.get(name) or (medications or {}).get(name)
    if found is not None and isinstance(found.get("code"), dict):
        return words_of({"resourceType": "a medication", "code": found["code"]})
    return str(order.get("resourceType", "Order"))


def build(
    what: Submission, read: Callable[[str], Resource | None], now: datetime, new_id: Callable[[], str]
) -> Resource:
    """The request Bundle: Claim first, then everything that it names, once each.

    ``read`` gives a resource of the EHR by "Type/id", or None. Ids are UUIDs of version 4 (P012).
    """
    claim_id, insurer_id = new_id(), new_id()
    insurer = _insurer(what, insurer_id)
    coverage = _coverage(what.coverage, f"urn:uuid:{insurer_id}")
    orders = [line.order for line in what.lines]
    roots = [what.patient, coverage, *orders, *what.responses, *what.supporting]
    gathered = gather(
        roots if what.provider_is_ours else [*roots, what.provider], what.base, read, patient=str(what.patient["id"])
    )
    held = dict(gathered.resources)
    if what.provider_is_ours:
        held[_provider(what)] = what.provider
    address = f"{what.base}/Coverage/{coverage['id']}"
    held[address] = {**held[address], "payor": [{"reference": f"urn:uuid:{insurer_id}"}]}
    claim = _claim(what, claim_id, f"urn:uuid:{insurer_id}", held, now)
    entries = [(f"urn:uuid:{claim_id}", claim), (f"urn:uuid:{insurer_id}", insurer), *held.items()]
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [f"{PAS}profile-pas-request-bundle"]},
        "identifier": {"system": what.sender.get("system", "urn:ietf:rfc:3986"), "value": f"urn:uuid:{new_id()}"},
        "type": "collection",
        "timestamp": now.isoformat(timespec="seconds"),
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }


def _claim(what: Submission, ident: str, insurer: str, held: Mapping[str, Resource], now: datetime) -> Resource:
    diagnoses = _diagnoses(what, held)
    claim: Resource = {
        "resourceType": "Claim",
        "id": ident,
        "meta": {"profile": [f"{PAS}profile-claim"]},
        "identifier": [{"system": what.sender.get("system", "urn:ietf:rfc:3986"), "value": f"urn:uuid:{ident}"}],
        "status": "active",
        "type": {"coding": [{"system": f"{TERMINOLOGY}claim-type", "code": "professional"}]},
        "use": "preauthorization",
        "patient": {"reference": _address(what, what.patient)},
        "created": now.isoformat(timespec="seconds"),
        "insurer": {"reference": insurer},
        "provider": {"reference": _provider(what)},
        "priority": {
            "coding": [{"system": f"{TERMINOLOGY}processpriority", "code": "stat" if what.expedited else "normal"}]
        },
    }
    if what.expedited:
        claim["extension"] = [_extension("extension-levelOfServiceCode", _x12("1338", "U"))]
    if diagnoses:
        claim["diagnosis"] = [
            {"sequence": number, "diagnosisCodeableConcept": {"coding": [coding]}}
            for number, coding in enumerate(diagnoses, 1)
        ]
    information = [*what.responses, *what.supporting]
    if information:
        claim["supportingInfo"] = [
            document_of(number, _address(what, each)) for number, each in enumerate(information, 1)
        ]
    claim["insurance"] = [{"sequence": 1, "focal": True, "coverage": {"reference": _address(what, what.coverage)}}]
    claim["item"] = [
        _item(number, what, line, diagnoses=len(diagnoses), information=len(information))
        for number, line in enumerate(what.lines, 1)
    ]
    return claim


def _item(number: int, what: Submission, line: Line, *, diagnoses: int, information: int) -> Resource:
    item: Resource = {
        "extension": [
            _extension("extension-serviceItemRequestType", _x12("1525", "HS")),
            _extension("extension-certificationType", _x12("1322", "I")),
            {
                "url": f"{PAS}extension-requestedService",
                "valueReference": {"reference": _address(what, line.order)},
            },
        ],
        "sequence": number,
    }
    if information:
        item["informationSequence"] = list(range(1, information + 1))
    if diagnoses:
        item["diagnosisSequence"] = list(range(1, diagnoses + 1))
    item |= {
        "category": _x12("1365", "1"),
        "productOrService": {"coding": [dict(line.code)]},
        "locationCodeableConcept": {"coding": [{"system": PLACE_OF_SERVICE, "code": what.place}]},
    }
    if when := _serviced(line.order):
        item |= when
    return item


def _serviced(order: Mapping[str, Any]) -> Resource:
    """When the service is wanted, as far as the order says."""
    dispense = order.get("dispenseRequest")
    period = dispense.get("validityPeriod") if isinstance(dispense, dict) else None
    if isinstance(period, dict) and period.get("start"):
        return {"servicedPeriod": dict(period)}
    if isinstance(order.get("occurrenceDateTime"), str):
        return {"servicedDate": str(order["occurrenceDateTime"])[:10]}
    if isinstance(order.get("authoredOn"), str):  # from then on: the day of signing is not that of the service
        return {"servicedPeriod": {"start": str(order["authoredOn"])[:10]}}
    return {}


def document_of(number: int, address: str) -> Resource:
    """A document as the Claim names it: what it is (P028) and where it stands in the Bundle."""
    about = [{"url": "reportTypeCode", "valueCodeableConcept": _x12("755", "PY")}]  # a report of the physician's
    return {
        "extension": [{"url": f"{PAS}extension-documentInformation", "extension": about}],
        "sequence": number,
        "category": {"coding": [{"system": PAS_CODES, "code": "additionalInformation"}]},
        "valueReference": {"reference": address},
    }


def _diagnoses(what: Submission, held: Mapping[str, Resource]) -> list[dict[str, str]]:
    """ICD-10-CM codes of the orders' reasons, in order, once each (P027)."""
    found: dict[str, None] = {}
    for line in what.lines:
        order = held[_address(what, line.order)]
        concepts = [*_dicts(order.get("reasonCode"))]
        for reason in _dicts(order.get("reasonReference")):
            condition = held.get(f"{what.base}/{reason.get('reference')}", {})
            concepts += [each for each in [condition.get("code")] if isinstance(each, dict)]
        for concept in concepts:
            for coding in _dicts(concept.get("coding")):
                if coding.get("system") == ICD10CM and coding.get("code"):
                    found.setdefault(str(coding["code"]))
    return [{"system": ICD10CM, "code": code} for code in found]


def _insurer(what: Submission, ident: str) -> Resource:
    organization: Resource = {
        "resourceType": "Organization",
        "id": ident,
        "meta": {"profile": [f"{PAS}profile-insurer"]},
        "active": True,
        "type": [_x12("98", "PR")],
        "name": what.insurer_name,
    }
    if what.insurer_identifier:
        organization["identifier"] = [dict(what.insurer_identifier)]
    return organization


def _coverage(coverage: Resource, insurer: str) -> Resource:
    """A copy in the profile's terms: the member id typed MB and self as X12's 18, both from what it says (P033)."""
    copy = {name: value for name, value in coverage.items() if name != "contained"}
    copy["payor"] = [{"reference": insurer}]
    member = coverage.get("subscriberId")
    typed = [each for each in _dicts(coverage.get("identifier")) if _is_member(each)]
    if not typed and isinstance(member, str):
        copy["identifier"] = [*_dicts(coverage.get("identifier")), {"type": _MEMBER, "value": member}]
    relationship = coverage.get("relationship")
    codings = _dicts(relationship.get("coding") if isinstance(relationship, dict) else None)
    if any(coding.get("code") == "self" for coding in codings):
        copy["relationship"] = {"coding": [*codings, {"system": f"{X12}1069", "code": "18"}]}
    return copy


def _is_member(identifier: Mapping[str, Any]) -> bool:
    kind = identifier.get("type")
    return any(coding.get("code") == "MB" for coding in _dicts(kind.get("coding") if isinstance(kind, dict) else None))


def _address(what: Submission, resource: Mapping[str, Any]) -> str:
    return f"{what.base}/{resource['resourceType']}/{resource['id']}"


def _provider(what: Submission) -> str:
    return f"urn:uuid:{what.provider['id']}" if what.provider_is_ours else _address(what, what.provider)


def _extension(name: str, concept: Resource) -> Resource:
    return {"url": f"{PAS}{name}", "valueCodeableConcept": concept}


def _x12(system: str, code: str) -> Resource:
    return {"coding": [{"system": f"{X12}{system}", "code": code}]}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

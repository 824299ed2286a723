"""Authorizations from outside: FHIR feed and NDJSON of ClaimResponses; they answer order-sign as our own do."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from cds_service.fhir.pas.authorization_feed import THERAPY, Unreadable, read_authorizations
from cds_service.use_cases.import_authorizations import import_authorizations
from tests.support import e2e_patient as patient
from tests.support.e2e_service import SYSTEM, Service, shipped

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
HCPCS = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
DEFINITION = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition"
MEMBER_TYPE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MB"}]}
MORPHINE = {"system": RXNORM, "code": "7052"}
HYDROMORPHONE = {"system": RXNORM, "code": "3423"}
J2274 = {"system": HCPCS, "code": "J2274"}
J1170 = {"system": HCPCS, "code": "J1170"}


def review(action: str, number: str | None = "PA-FEED-1") -> dict[str, Any]:
    code = {"coding": [{"system": "https://codesystem.x12.org/005010/306", "code": action}]}
    parts: list[dict[str, Any]] = [
        {"url": f"{DEFINITION}/extension-reviewActionCode", "valueCodeableConcept": code},
    ]
    if number is not None:
        parts.append({"url": "number", "valueString": number})
    held = {"url": f"{DEFINITION}/extension-reviewAction", "extension": parts}
    return {"extension": [held], "category": {"coding": [{"code": "submitted"}]}}


def therapy(
    value: str = "15", unit: str = "mg/d", route: str = "72607000", drug: dict[str, str] = MORPHINE
) -> dict[str, Any]:
    quantity = {"value": float(value), "system": "http://unitsofmeasure.org", "code": unit}
    way = {"coding": [{"system": "http://snomed.info/sct", "code": route}]}
    parts = [
        {"url": "drug", "valueCoding": drug},
        {"url": "daily", "valueQuantity": quantity},
        {"url": "route", "valueCodeableConcept": way},
    ]
    return {"url": THERAPY, "extension": parts}


def period(start: str = "2026-01-01", end: str = "2026-06-30") -> dict[str, Any]:
    return {"url": f"{DEFINITION}/extension-itemPreAuthPeriod", "valuePeriod": {"start": start, "end": end}}


def detail(*coding: dict[str, str]) -> dict[str, Any]:
    parts = [{"url": "productOrServiceCode", "valueCodeableConcept": {"coding": list(coding)}}]
    return {"url": f"{DEFINITION}/extension-itemAuthorizedDetail", "extension": parts}


def instead(product: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
    """An ``addItem`` for line 1: one month from February."""
    return {
        "itemSequence": [1],
        "extension": [period("2026-02-01", "2026-03-01"), *more],
        "productOrService": product,
        "adjudication": [review("A1", "PA-7")],
    }


def item(**changes: Any) -> dict[str, Any]:
    usual = {
        "itemSequence": 1,
        "extension": [period(), detail(MORPHINE, {"system": HCPCS, "code": "J2274"}), therapy()],
        "adjudication": [review("A1")],
    }
    return usual | changes


def claim_response(**changes: Any) -> dict[str, Any]:
    """Morphine, intrathecal, up to 15 mg/d, this half year; as the payer's own system writes it."""
    usual = {
        "resourceType": "ClaimResponse",
        "id": "cr-1",
        "status": "active",
        "use": "preauthorization",
        "patient": {"identifier": {"type": MEMBER_TYPE, "system": "urn:plan", "value": patient.MEMBER}},
        "outcome": "complete",
        "item": [item()],
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def feed(service: Service, resource: Any, ident: str | None = None, token: str | None = None) -> Any:
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    path = "/feed/ClaimResponse" + (f"/{ident}" if ident else "")
    if token is None:
        token = service.system_token("system/ClaimResponse.cu")
    return service.web.open(
        path,
        method="PUT" if ident else "POST",
        data=body,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"},
    )


def satisfied(service: Service, *orders: Any) -> str | None:
    answer = service.post(patient.call(*orders), "2.2")
    return answer.information().get("satisfied-pa-id") if answer.actions else None


def test_a_fed_authorization_answers_order_sign_and_a_revoked_one_does_not(service: Service) -> None:
    assert satisfied(service) is None
    assert feed(service, claim_response()).status_code == 201
    assert satisfied(service) == "PA-FEED-1"
    assert feed(service, claim_response()).status_code == 200  # the same again: nothing changes
    assert feed(service, claim_response(status="cancelled"), "cr-1").status_code == 200
    assert satisfied(service) is None


def test_a_message_that_was_overtaken_revives_nothing(service: Service) -> None:
    """At-least-once senders repeat, and queues reorder: the grant may come again after its revocation."""

    def at(moment: str | None, **changes: Any) -> Any:
        return claim_response(meta={"lastUpdated": moment} if moment else None, **changes)

    assert feed(service, at("2026-02-01T10:00:00-05:00")).status_code == 201
    assert feed(service, at("2026-02-01T15:00:01Z", status="entered-in-error")).status_code == 200
    late = feed(service, at("2026-02-01T10:00:00-05:00"))  # 15:00:00Z
    assert (late.status_code, "1 outdated" in late.get_json()["issue"][0]["diagnostics"]) == (200, True)
    assert satisfied(service) is None
    # Said anew later, it counts; the same later statement again changes nothing but its time.
    assert feed(service, at("2026-02-02T08:00:00Z")).status_code == 200
    assert satisfied(service) == "PA-FEED-1"
    feed(service, at("2026-02-04T08:00:00Z"))
    feed(service, at("2026-02-03T08:00:00Z", status="cancelled"))
    assert satisfied(service) == "PA-FEED-1"
    # Who says no time is taken as it comes.
    assert feed(service, at(None, status="cancelled")).status_code == 200
    assert satisfied(service) is None


def test_import_of_the_same_claim_response_says_the_same(service: Service) -> None:
    configuration = shipped()
    drugs = sorted({drug for each in configuration.guidelines for drug in each.scope.drugs})
    lines = [json.dumps(claim_response()).encode(), json.dumps(claim_response(status="draft", patient={})).encode()]
    report = import_authorizations(
        service.store,
        lines,
        form="ndjson",
        drugs=drugs,
        source="portal",
        at=service.clock.now(),
        vocabulary=configuration.vocabulary,
    )
    assert (report.added, [refusal.line for refusal in report.refused]) == (1, [2, 2])
    assert satisfied(service) == "PA-FEED-1"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"drugs": ("morphine",), "route": "intrathecal", "max_daily": {"morphine": "15.0 mg/d"}}),
        # one number for the whole of it, and the period, too
        (
            {
                "preAuthRef": "PA-9",
                "preAuthPeriod": {"start": "2026-01-01"},
                "item": [item(adjudication=[review("A1", None)], extension=[detail(MORPHINE)])],
            },
            {"number": "PA-9", "end": None, "route": ""},
        ),
        # modified: what was authorized stands in addItem
        (
            {
                "item": [item(adjudication=[review("A6", None)], extension=[])],
                "addItem": [
                    {
                        "itemSequence": [1],
                        "extension": [period("2026-02-01", "2026-03-01"), therapy("10")],
                        "productOrService": {"coding": [MORPHINE]},
                        "adjudication": [review("A1", "PA-7")],
                    }
                ],
            },
            {"number": "PA-7", "max_daily": {"morphine": "10.0 mg/d"}},
        ),
        # asked for hydromorphone, up to 20 mg/d and a year; authorized morphine, less and shorter: only that
        (
            {
                "item": [
                    item(
                        adjudication=[review("A6", None)],
                        extension=[period("2026-02-01", "2027-01-31"), therapy("20", drug=HYDROMORPHONE)],
                        productOrService={"coding": [HYDROMORPHONE, J1170]},
                    )
                ],
                "addItem": [instead({"coding": [MORPHINE, J2274]}, therapy("10"))],
            },
            {
                "drugs": ("morphine",),
                "billing": ("J2274",),
                "max_daily": {"morphine": "10.0 mg/d"},
                "end": date(2026, 3, 1),
            },
        ),
        # asked for as J2274 of morphine; authorized another billing code, no drug named: nothing covers morphine
        (
            {
                "item": [
                    item(
                        adjudication=[review("A6", None)],
                        extension=[],
                        productOrService={"coding": [MORPHINE, J2274]},
                    )
                ],
                "addItem": [instead({"coding": [J1170]})],
            },
            {"drugs": (), "services_only": True, "codes": ("J1170",)},
        ),
        # the same billing code, fewer units: it is still the morphine that was asked for
        (
            {
                "item": [
                    item(
                        adjudication=[review("A6", None)],
                        extension=[],
                        productOrService={"coding": [MORPHINE, J2274]},
                    )
                ],
                "addItem": [instead({"coding": [J2274]})],
            },
            {"drugs": ("morphine",), "billing": ("J2274",)},
        ),
        # approved with a detail that names another drug than the line: the detail is what was authorized
        (
            {
                "item": [
                    item(
                        extension=[period(), detail(MORPHINE, J2274)],
                        productOrService={"coding": [HYDROMORPHONE, J1170]},
                    )
                ]
            },
            {"drugs": ("morphine",), "billing": ("J2274",)},
        ),
        # the detail repeats the billing code, as PAS has it, and the line names the drug
        (
            {"item": [item(extension=[period(), detail(J2274)], productOrService={"coding": [MORPHINE, J2274]})]},
            {"drugs": ("morphine",), "billing": ("J2274",)},
        ),
        ({"item": [item(adjudication=[review("A4")])]}, {"status": "pending"}),
        ({"item": [item(adjudication=[review("A3")])]}, {"status": "revoked"}),
        ({"status": "entered-in-error"}, {"status": "revoked", "drugs": ("morphine",)}),
        # withdrawn, with nothing left of it but whose it is and its number
        (
            {"status": "entered-in-error", "preAuthRef": "PA-FEED-1", "preAuthPeriod": None, "item": []},
            {"status": "revoked", "number": "PA-FEED-1", "drugs": ()},
        ),
        ({"status": "cancelled", "item": [item(productOrService=None, extension=[])]}, {"status": "revoked"}),
        ({"item": [item(adjudication=[review("A3")], extension=[])]}, {"status": "revoked"}),
        # a service alone: it covers that service, and never a drug
        (
            {"item": [item(extension=[period(), detail({"system": HCPCS, "code": "62322"})])]},
            {"codes": ("62322",), "drugs": (), "services_only": True},
        ),
        # the member on a contained Patient
        (
            {
                "patient": {"reference": "#p"},
                "contained": [
                    {
                        "resourceType": "Patient",
                        "id": "p",
                        "identifier": [{"value": "MRN-1"}, {"type": MEMBER_TYPE, "value": "M-2"}],
                    }
                ],
            },
            {"member_id": "M-2"},
        ),
    ],
)
def test_what_is_read_of_a_claim_response(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    from cds_service.fhir.json import parse  # noqa: PLC0415 - numbers as the service reads them

    resource = parse(json.dumps(claim_response(**changes)).encode(), max_bytes=100_000)
    [found] = read_authorizations(resource, shipped().vocabulary, "feed")
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"use": "claim"}, ["ClaimResponse.use"]),
        ({"status": "draft"}, ["ClaimResponse.status"]),
        ({"patient": {"reference": "Patient/1"}}, ["ClaimResponse.patient"]),
        (
            {"patient": {"identifier": {"value": "two words"}}, "use": None},  # all mistakes at once
            ["ClaimResponse.use", "ClaimResponse.patient"],
        ),
        ({"item": []}, ["ClaimResponse.preAuthRef"]),
        ({"item": [item(adjudication=[review("ZZ")])]}, ["ClaimResponse.item[0].adjudication"]),
        ({"item": [item(adjudication=[review("A1", "two words")])]}, ["ClaimResponse.item[0].adjudication"]),
        ({"item": [item(), item(itemSequence=2)]}, ["ClaimResponse.item"]),
        ({"item": [item(extension=[detail(MORPHINE)])]}, ["ClaimResponse.preAuthPeriod"]),
        (
            {"item": [item(extension=[detail(MORPHINE), period("2026-02-01", "2026-01-01")])]},
            ["ClaimResponse.preAuthPeriod"],
        ),
        ({"item": [item(extension=[period()])]}, ["ClaimResponse.item[0].productOrService"]),
        (  # a drug that no guideline of ours knows: not one drug less, but a mistake
            {"item": [item(extension=[period(), detail(MORPHINE, {"system": RXNORM, "code": "1"})])]},
            ["ClaimResponse.item[0].productOrService"],
        ),
        (
            {"item": [item(extension=[period(), detail(MORPHINE), therapy(unit="ug/d")])]},
            ["ClaimResponse.item[0].extension(authorized-therapy)"],
        ),
        (
            {"item": [item(extension=[period(), detail(MORPHINE), therapy("-1")])]},
            ["ClaimResponse.item[0].extension(authorized-therapy)"],
        ),
        (  # oral
            {"item": [item(extension=[period(), detail(MORPHINE), therapy(route="26643006")])]},
            ["ClaimResponse.item[0].extension(authorized-therapy)"],
        ),
    ],
)
def test_every_mistake_is_named_and_nothing_is_kept(
    service: Service, changes: dict[str, Any], where: list[str]
) -> None:
    from cds_service.fhir.json import parse  # noqa: PLC0415 - numbers as the service reads them

    resource = parse(json.dumps(claim_response(**changes)).encode(), max_bytes=100_000)
    with pytest.raises(Unreadable) as raised:
        read_authorizations(resource, shipped().vocabulary, "feed")
    assert [each.where for each in raised.value.mistakes] == where
    answer = feed(service, claim_response(**changes))
    assert answer.status_code == 422
    text = answer.get_json()["issue"][0]["diagnostics"]
    assert all(each in text for each in where)
    assert "two words" not in text  # input is never repeated
    assert service.store.authorizations(patient.MEMBER) == ()


@pytest.mark.parametrize(
    ("body", "ident", "status"),
    [
        (b"{", None, 400),
        (b"[]", None, 400),
        ({"resourceType": "Claim"}, None, 400),
        (claim_response(), "another-id", 400),
        (b" " * 300_000, None, 413),
    ],
)
def test_what_is_no_claim_response_is_refused(service: Service, body: Any, ident: str | None, status: int) -> None:
    assert feed(service, body, ident).status_code == status


def test_the_feed_needs_its_own_scope(service: Service) -> None:
    assert feed(service, claim_response(), token=service.system_token("system/Claim.cu")).status_code == 403
    assert feed(service, claim_response(), token="none").status_code == 401
    assert service.store.authorizations(patient.MEMBER) == ()


def test_a_client_changes_its_own_authorizations_only(service: Service) -> None:
    """The source is who sends: what was imported from elsewhere under the same number stays."""
    feed(service, claim_response())
    [found] = service.store.authorizations(patient.MEMBER)
    assert found.source == SYSTEM

"""Who may sign, which stored order a draft has become, which payer a coverage belongs to."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from smart_app.dtr.context import Wanted
from smart_app.dtr.drafts import draft_for, in_progress
from smart_app.dtr.payer_choice import payer_of
from smart_app.dtr.signed_order import Draft, find, sketch
from smart_app.dtr.signer import may_sign, role_of
from smart_app.registry import PayerProfile

DOC = "Practitioner/doc-1"
ROLE = "http://terminology.hl7.org/CodeSystem/practitioner-role"
DEGREE = "http://terminology.hl7.org/CodeSystem/v2-0360"
NUCC = "http://nucc.org/provider-taxonomy"
NPI = {"identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}]}


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def role(system: str, code: str) -> dict[str, Any]:
    return {"resourceType": "PractitionerRole", "code": [concept(system, code)]}


def degree(code: str) -> dict[str, Any]:
    return {"qualification": [{"code": concept(DEGREE, code)}]}


SIGNERS = [
    (DOC, None, [], [DOC], True),  # who ordered it
    (DOC, None, [role(ROLE, "doctor")], [], True),
    (DOC, NPI, [role(ROLE, "nurse")], [], False),  # a nurse with an NPI is a nurse
    (DOC, None, [role(ROLE, "nurse"), role(ROLE, "doctor")], [], True),  # one of several roles is enough
    (DOC, degree("MD"), [], [], True),
    (DOC, degree("NP"), [], [], True),
    (DOC, {**NPI, **degree("RN")}, [], [], False),
    (DOC, None, [role(NUCC, "208VP0014X")], [], True),  # pain medicine
    (DOC, None, [role(NUCC, "163W00000X")], [], False),  # registered nurse
    (DOC, NPI, [role("urn:own", "x")], [], True),  # nothing that we understand: the NPI
    (DOC, None, [], [], False),  # nothing at all
    ("Patient/p", NPI, [role(ROLE, "doctor")], ["Patient/p"], False),  # a patient never signs for the prescriber
    ("RelatedPerson/r", NPI, [], [], False),
]


@pytest.mark.parametrize(("user", "practitioner", "roles", "requesters", "expected"), SIGNERS)
def test_AP29_who_may_sign(user: str, practitioner: Any, roles: Any, requesters: Any, *, expected: bool) -> None:
    assert may_sign(user, practitioner, roles, requesters) is expected


def test_AP29_the_role_beside_an_answer_is_that_of_the_practitioner_role_else_the_degree() -> None:
    assert role_of([role(ROLE, "doctor")], degree("RN")) == concept(ROLE, "doctor")
    assert role_of([], degree("RN")) == concept(DEGREE, "RN")
    assert role_of([], None) == {}


INTRATHECAL = {"coding": [{"system": "http://snomed.info/sct", "code": "72607000"}]}
EPIDURAL = {"coding": [{"system": "http://snomed.info/sct", "code": "404820008"}]}
RX = "http://www.nlm.nih.gov/research/umls/rxnorm"


def order(
    ident: str, drug: str = "7052", route: Any = INTRATHECAL, day: str = "2026-11-25", **more: Any
) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": ident,
        "status": "active",
        "authoredOn": f"{day}T09:00:00Z",
        "medicationCodeableConcept": concept(RX, drug),
        "dosageInstruction": [{"route": route}],
    } | more


def with_assertion(ident: str, assertion: str) -> dict[str, Any]:
    url = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
    parts = [{"url": "coverage-assertion-id", "valueString": assertion}]
    return order(ident, extension=[{"url": url, "extension": parts}])


SINCE = date(2026, 11, 25)
DRAFT = Draft(("MedicationRequest/draft-1",), "as-1")
DRAWN = sketch(order("draft-1"), None)

ORDERS = [
    (DRAFT, [with_assertion("a", "as-1"), order("b")], "a", 0),  # what the payer wrote on it
    (DRAFT, [order("a", identifier=[{"value": "draft-1"}]), order("b")], "a", 0),  # the EHR keeps the draft's id
    (DRAFT, [order("draft-1", day="2026-01-01")], "draft-1", 0),  # the EHR kept it as its own id
    (Draft(identifiers=(("urn:x", "7"),)), [order("a", identifier=[{"system": "urn:x", "value": "7"}])], "a", 0),
    (DRAWN, [order("a"), order("b", drug="1815"), order("c", route=EPIDURAL)], "a", 0),  # drug, route and day
    (DRAWN, [order("a", day="2026-11-24")], "", 0),  # it was there before the draft
    (DRAWN, [order("a"), order("b")], "", 2),  # two fit equally: the person picks
    (DRAFT, [order("a"), order("b")], "", 2),  # nothing known of the drug: the person picks, even of one
    (DRAFT, [order("a")], "", 1),
    (DRAFT, [order("a", status="draft"), order("b", status="cancelled")], "", 0),  # sign the order first
    (DRAFT, [], "", 0),
]


@pytest.mark.parametrize(("draft", "stored", "sure", "choices"), ORDERS)
def test_AP01_the_signed_order_is_known_again(draft: Draft, stored: Any, sure: str, choices: int) -> None:
    found = find(draft, stored, SINCE)
    assert (found.sure["id"] if found.sure else "", len(found.choices)) == (sure, choices)


def profile(ident: str, *names: str, identifiers: tuple[str, ...] = ()) -> PayerProfile:
    return PayerProfile(id=ident, names=names, identifiers=identifiers, dtr_base="https://p.example.net", client_id="a")


PAYERS = (profile("one", "Payer One", identifiers=("urn:naic|1",)), profile("two", "Payer Two", "PT"))


@pytest.mark.parametrize(
    ("coverage", "expected"),
    [
        ({"payor": [{"display": "  payer  ONE "}]}, "one"),
        ({"payor": [{"identifier": {"system": "urn:naic", "value": "1"}, "display": "Payer Two"}]}, "one"),
        ({"payor": [{"reference": "#o"}], "contained": [{"id": "o", "name": "PT"}]}, "two"),
        ({"payor": [{"reference": "Organization/x"}]}, "two"),
        ({"payor": [{"display": "Payer"}]}, None),  # a part of a name is no name
        ({"payor": [{"display": "Payer One"}, {"display": "Payer Two"}]}, None),  # two
        ({}, None),
    ],
)
def test_AP34_which_registered_payer_a_coverage_belongs_to(coverage: dict[str, Any], expected: str | None) -> None:
    organizations = {"Organization/x": {"resourceType": "Organization", "alias": ["Payer Two"]}}
    found = payer_of(coverage, organizations, PAYERS)
    assert (found.id if found else None) == expected


def response(
    ident: str, status: str = "in-progress", canonical: str = "https://p/Q|2", order_id: str = ""
) -> dict[str, Any]:
    url = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
    linked = [{"url": url, "valueReference": {"reference": f"MedicationRequest/{order_id}"}}] if order_id else []
    return {
        "id": ident,
        "status": status,
        "questionnaire": canonical,
        "authored": f"2026-11-0{ident}",
        "extension": linked,
    }


def test_AP10_a_completed_response_is_never_taken_up_again() -> None:
    held = [response("1", "completed"), response("2"), response("3", "stopped"), response("4", "amended")]
    assert [each["id"] for each in in_progress(held)] == ["2"]


@pytest.mark.parametrize(
    ("drafts", "wanted", "expected"),
    [
        ([response("1"), response("2")], Wanted(), "2"),  # the latest
        ([response("1"), response("2")], Wanted(response="QuestionnaireResponse/1"), "1"),  # the one that is named
        ([response("1", canonical="https://p/Other|2")], Wanted(), None),
        ([response("1", canonical="https://p/Q|1")], Wanted(), "1"),  # another version of the same form
        ([response("1", order_id="a")], Wanted(orders=("MedicationRequest/b",)), None),  # another order's
        ([response("1", order_id="a")], Wanted(orders=("a",)), "1"),
    ],
)
def test_AP05_which_draft_belongs_to_a_form(drafts: Any, wanted: Wanted, expected: str | None) -> None:
    found = draft_for("https://p/Q|2", drafts, wanted)
    assert (found["id"] if found else None) == expected

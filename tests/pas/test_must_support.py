"""Every element that PAS marks must-support on a ClaimResponse appears in an answer of ours (row P059, conf-6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cds_service.fhir.models import complaints
from tests.pas.test_changes import CANCELLED, info, whole_cancelled
from tests.pas.test_settle import AGREED, SPAN, approve, denial
from tests.support.pas_bundles import COMPLETE, EXT, PAS, X12, concept, item, morphine, request, update_of
from tests.support.pas_service import Pas, claim_response

MISSING = {key: value for key, value in COMPLETE.items() if key != "noninvasive_trial_weeks"}
TEMP = f"{PAS}/CodeSystem/PASTempCodes"
MONEY = {"value": 120, "currency": "USD"}


def _extension(name: str, **value: Any) -> dict[str, Any]:
    return {"url": f"{EXT}{name}", **value}


def everything() -> dict[str, Any]:
    """A request whose line uses every element that an answer may repeat."""
    line = item(
        extension=[
            _extension("itemTraceNumber", valueIdentifier={"system": "https://c.example.org/t", "value": "T-1"}),
            _extension("authorizationNumber", valueString="OLD-1"),
            _extension("epsdtIndicator", valueBoolean=False),
            _extension("nursingHomeResidentialStatus", valueCodeableConcept=concept(f"{X12}1345", "2")),
            _extension("nursingHomeLevelOfCare", valueCodeableConcept=concept(f"{X12}1337", "2")),
            _extension(
                "productOrServiceCodeEnd", valueCodeableConcept=concept("http://www.ama-assn.org/go/cpt", "62370")
            ),
            _extension("revenueUnitRateLimit", valueDecimal=100),
        ],
        revenue=concept("https://www.nubc.org/CodeSystem/RevenueCodes", "0202"),
        modifier=[concept("http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "KD")],
        servicedPeriod={"start": "2026-03-02", "end": "2026-04-01"},
        unitPrice=MONEY,
        quantity={"value": 10, "unit": "units"},
    )
    transmission = {
        "url": f"{EXT}TransmissionIdentifiers",
        "extension": [
            {"url": "applicationSenderCode", "valueString": "CLINIC"},
            {"url": "applicationReceiverCode", "valueString": "PAYER"},
            {"url": "interchangeSenderID", "valueString": "C1"},
            {"url": "interchangeReceiverID", "valueString": "P1"},
        ],
    }
    stays = [
        {
            "sequence": 2,
            "category": concept(TEMP, "admissionDates"),
            "timingPeriod": {"start": "2026-03-02", "end": "2026-03-04"},
        },
        {"sequence": 3, "category": concept(TEMP, "dischargeDates"), "timingDate": "2026-03-04"},
    ]
    bundle = request(order=morphine("1.6"), items=[line], claim={"extension": [transmission]})
    bundle["entry"][0]["resource"]["supportingInfo"] += stays
    return bundle


def answers(pas: Pas) -> Iterator[dict[str, Any]]:
    """A fixed set of answers: approved, pended, modified, not certified, cancelled, and not ours."""
    import msgspec  # noqa: PLC0415

    from cds_service.domain.prior_auth import Authorized, LineDecision, ReviewAction  # noqa: PLC0415

    yield pas.submit(request()).json
    yield pas.submit(request(number=2, values=MISSING)).json
    modified = LineDecision(
        sequence=1,
        action=ReviewAction.MODIFIED,
        reason=AGREED,
        authorized=Authorized(*SPAN, daily={"morphine": "10"}, quantity="31"),
    )
    large = everything()
    for entry in large["entry"][1:3]:
        entry["resource"]["identifier"][0]["value"] = "M0000003"
    large["identifier"]["value"], large["entry"][0]["resource"]["identifier"][0]["value"] = "B3", "C3"
    case = pas.case_of(pas.submit(large))
    yield json.loads(pas.settle(case, modified).response)
    dated = everything()
    for entry in dated["entry"][1:3]:
        entry["resource"]["identifier"][0]["value"] = "M0000007"
    dated["identifier"]["value"], dated["entry"][0]["resource"]["identifier"][0]["value"] = "B7", "C7"
    case = pas.case_of(pas.submit(dated))
    yield json.loads(pas.settle(case, msgspec.structs.replace(approve(), sequence=1)).response)
    case = pas.case_of(pas.submit(request(number=4, values=MISSING)))
    yield json.loads(pas.settle(case, denial()).response)
    gone = item(1, extension=[info("changed")], modifierExtension=CANCELLED)
    pas.submit(request(number=5))
    yield pas.submit(update_of(request(number=5), identifier="B5U", claim={"item": [gone]})).json
    pas.submit(request(number=6))
    yield pas.submit(update_of(request(number=6), identifier="B6U", claim=whole_cancelled())).json
    foreign = request(number=8)
    foreign["entry"][3]["resource"]["name"] = "Some Other Plan"
    yield pas.submit(foreign).json


ITEM_EXTENSIONS = (
    "itemTraceNumber", "itemPreAuthIssueDate", "itemPreAuthPeriod", "authorizationNumber",
    "administrationReferenceNumber", "itemRequestedServiceDate", "itemAuthorizedProvider", "itemAuthorizedDetail",
    "admissionDates", "dischargeDate", "communicatedDiagnosis",
)  # fmt: skip
ADDED_EXTENSIONS = (
    "itemTraceNumber", "itemPreAuthIssueDate", "itemPreAuthPeriod", "authorizationNumber",
    "administrationReferenceNumber", "epsdtIndicator", "nursingHomeResidentialStatus", "nursingHomeLevelOfCare",
    "productOrServiceCodeEnd", "revenueCode", "revenueUnitRateLimit", "requestedService", "serviceItemRequestType",
    "certificationType", "itemCategory", "admissionDates", "dischargeDate",
)  # fmt: skip
WANTED = {
    *(f"extension({name})" for name in ("TransmissionIdentifiers", "claimResponseReviewer")),
    "identifier", "identifier.system", "identifier.value", "status", "type", "use", "patient", "created", "insurer",
    "requestor", "request", "outcome", "preAuthPeriod", "item", "item.itemSequence", "item.noteNumber",
    "item.adjudication", "item.adjudication.extension(reviewAction)", "item.adjudication.category",
    *(f"item.extension({name})" for name in ITEM_EXTENSIONS),
    "addItem", "addItem.itemSequence", "addItem.provider", "addItem.provider.extension(authorizedProviderType)",
    "addItem.productOrService", "addItem.modifier", "addItem.servicedPeriod", "addItem.locationCodeableConcept",
    "addItem.quantity", "addItem.unitPrice", "addItem.adjudication", "addItem.adjudication.extension(reviewAction)",
    "addItem.adjudication.category",
    *(f"addItem.extension({name})" for name in ADDED_EXTENSIONS),
    "adjudication", "adjudication.extension(reviewAction)", "adjudication.category",
    "processNote", "processNote.number", "processNote.text", "communicationRequest",
    "error", "error.code", "error.extension(errorFollowupAction)", "error.extension(errorElement)",
    "error.extension(errorPath)",
}  # fmt: skip


def seen(value: Any, path: str = "") -> Iterator[str]:
    """Paths of a resource; extensions by their name."""
    if isinstance(value, list):
        for each in value:
            yield from seen(each, path)
    elif isinstance(value, dict):
        for key, each in value.items():
            below = f"{path}.{key}" if path else key
            if key == "extension":
                for extension in each:
                    name = extension["url"].rpartition("extension-")[2]
                    yield f"{below}({name})"
                continue
            yield below
            yield from seen(each, below)


def test_P059_every_must_support_element_appears_in_the_fixed_set(pas: Pas) -> None:
    found: set[str] = set()
    for bundle in answers(pas):
        assert complaints(bundle) == ()
        found |= set(seen(claim_response(bundle)))
    assert WANTED - found == set()
    assert len(WANTED) >= 72


def test_P054_P053_what_is_added_belongs_to_the_line_that_was_asked_for(pas: Pas) -> None:
    sequences = {
        tuple(each["itemSequence"]) for bundle in answers(pas) for each in claim_response(bundle).get("addItem", [])
    }
    assert sequences == {(1,)}

"""A request that was sent, sent again: with more answers, without lines that are no longer wanted, or taken back.

The first entry is the new Claim, the second the one that it replaces (P011, P080). Lines and documents keep their
sequence numbers (P081); what is new or changed says so (P082), what is cancelled stays as a cancelled line (P083).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

from smart_app.pas.closure import Resource
from smart_app.pas.request import document_of
from smart_app.pas.systems import PAS, TERMINOLOGY, X12

_CANCEL = {"coding": [{"system": f"{X12}1322", "code": "3"}]}


def with_documents(
    sent: Resource,
    documents: Sequence[Resource],
    base: str,
    now: datetime,
    new_id: Callable[[], str],
    named: Mapping[str, Resource] | None = None,
) -> Resource:
    """The request with further documents (finished forms), or newer versions of them, each named by every line.

    ``named``: what the documents refer to, by full address; what the request has already stays as it was sent.
    """
    bundle, claim, held = _copied(sent, now, new_id)
    information = claim.setdefault("supportingInfo", [])
    for document in documents:
        address = f"{base}/{document['resourceType']}/{document['id']}"
        same = [each for each in information if each.get("valueReference") == {"reference": address}]
        number = same[0]["sequence"] if same else 1 + max((each["sequence"] for each in information), default=0)
        for each in same:
            _mark(each, "changed")
        if not same:
            information.append(document_of(number, address))
        held[address] = document
        for item in claim["item"]:
            if number not in item.get("informationSequence", []):
                item["informationSequence"] = [*item.get("informationSequence", []), number]
            _mark(item, "changed")
    for address, resource in (named or {}).items():
        held.setdefault(address, resource)
    return _joined(bundle, held)


def cancelled(
    sent: Resource, now: datetime, new_id: Callable[[], str], *, lines: Collection[int] | None = None
) -> Resource:
    """The request taken back; with ``lines`` only those (their sequence numbers)."""
    bundle, claim, held = _copied(sent, now, new_id)
    for item in claim["item"]:
        if lines is None or item["sequence"] in lines:
            _mark(item, "changed")
            others = [each for each in item["extension"] if each["url"] != f"{PAS}extension-certificationType"]
            item["extension"] = [
                *others,
                {"url": f"{PAS}extension-certificationType", "valueCodeableConcept": deepcopy(_CANCEL)},
            ]
            item["modifierExtension"] = [{"url": f"{PAS}modifierextension-infoCancelled", "valueBoolean": True}]
    if lines is None:
        claim["extension"] = [
            *claim.get("extension", []),
            {"url": f"{PAS}extension-certificationType", "valueCodeableConcept": deepcopy(_CANCEL)},
        ]
    return _joined(bundle, held)


def _copied(sent: Resource, now: datetime, new_id: Callable[[], str]) -> tuple[Resource, Resource, dict[str, Resource]]:
    """A new Bundle, its new Claim (already filed first), and all entries by address; only the newest Claim stays."""
    before = sent["entry"][0]
    ident = new_id()
    claim: Resource = deepcopy(before["resource"])
    system = claim["identifier"][0]["system"]
    claim |= {
        "id": ident,
        "meta": {"profile": [f"{PAS}profile-claim-update"]},
        "identifier": [{"system": system, "value": f"urn:uuid:{ident}"}],
        "created": now.isoformat(timespec="seconds"),
        "related": [
            {
                "claim": {"reference": before["fullUrl"]},
                "relationship": {"coding": [{"system": f"{TERMINOLOGY}ex-relatedclaimrelationship", "code": "prior"}]},
            }
        ],
    }
    for each in (*claim["item"], *claim.get("supportingInfo", [])):
        each["extension"] = [held for held in each["extension"] if held["url"] != f"{PAS}extension-infoChanged"]
    earlier = {name: value for name, value in before["resource"].items() if name != "related"}  # not the grandparent
    held = {f"urn:uuid:{ident}": claim, before["fullUrl"]: earlier}
    held |= {
        entry["fullUrl"]: entry["resource"]
        for entry in sent["entry"][1:]
        if entry["resource"]["resourceType"] != "Claim"
    }
    bundle = {name: value for name, value in sent.items() if name != "entry"}
    bundle["identifier"] = {"system": sent["identifier"]["system"], "value": f"urn:uuid:{new_id()}"}
    bundle["timestamp"] = now.isoformat(timespec="seconds")
    return bundle, claim, held


def _joined(bundle: Resource, held: dict[str, Resource]) -> Resource:
    return {**bundle, "entry": [{"fullUrl": url, "resource": resource} for url, resource in held.items()]}


def _mark(item: dict[str, Any], how: str) -> None:
    others = [each for each in item["extension"] if each["url"] != f"{PAS}extension-infoChanged"]
    item["extension"] = [*others, {"url": f"{PAS}extension-infoChanged", "valueCode": how}]

"""A question about a request that was sent (``$inquire``, P067-P071): whose it is and how the payer knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import datetime

from smart_app.pas.closure import Resource, references
from smart_app.pas.systems import PAS

_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_ASKED = ("patient", "insurer", "provider")


def build_inquiry(
    sent: Resource, references_known: Sequence[str], now: datetime, new_id: Callable[[], str]
) -> Resource:
    """The inquiry Bundle about the request ``sent``, with the numbers under which the payer keeps it.

    ``references_known`` are administration reference numbers of its answers. No service is named: all lines are meant.
    """
    before: Resource = sent["entry"][0]["resource"]
    held = {entry["fullUrl"]: entry["resource"] for entry in sent["entry"][1:]}
    ident = new_id()
    item: Resource = {
        "extension": [
            {"url": f"{PAS}extension-administrationReferenceNumber", "valueString": number}
            for number in references_known[:1]
        ],
        "sequence": 1,
        "category": deepcopy(before["item"][0]["category"]),
        "productOrService": {"coding": [{"system": _ABSENT, "code": "not-applicable"}]},
    }
    claim: Resource = {
        "resourceType": "Claim",
        "id": ident,
        "meta": {"profile": [f"{PAS}profile-claim-inquiry"]},
        "identifier": [deepcopy(before["identifier"][0])],
        "status": "active",
        "type": deepcopy(before["type"]),
        "use": "preauthorization",
        **{name: deepcopy(before[name]) for name in _ASKED},
        "created": now.isoformat(timespec="seconds"),
        "priority": deepcopy(before["priority"]),
        "insurance": deepcopy(before["insurance"]),
        "item": [{name: value for name, value in item.items() if value}],
    }
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [f"{PAS}profile-pas-inquiry-request-bundle"]},
        "identifier": {"system": sent["identifier"]["system"], "value": f"urn:uuid:{new_id()}"},
        "type": "collection",
        "timestamp": now.isoformat(timespec="seconds"),
        "entry": [
            {"fullUrl": f"urn:uuid:{ident}", "resource": claim},
            *({"fullUrl": url, "resource": resource} for url, resource in _named(claim, held).items()),
        ],
    }


def _named(claim: Resource, held: dict[str, Resource]) -> dict[str, Resource]:
    """The entries of the request that the inquiry needs, and those that these need."""
    found: dict[str, Resource] = {}
    waiting = list(references(claim))
    while waiting:
        url = waiting.pop(0)
        if url in found or url not in held:
            continue
        found[url] = held[url]
        base = url.rsplit("/", 2)[0]
        waiting += [each if ":" in each else f"{base}/{each}" for each in references(held[url])]
    return found

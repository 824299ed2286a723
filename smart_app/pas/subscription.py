"""How the app asks to be told of decisions (P061, P062, P075)."""

from __future__ import annotations

from typing import Final

from smart_app.pas.closure import Resource
from smart_app.pas.systems import PAS

TOPIC: Final = "http://hl7.org/fhir/us/davinci-pas/SubscriptionTopic/PASSubscriptionTopic"
_BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"


def subscription(endpoint: str, number: str, secret: str) -> Resource:
    """A rest-hook subscription of the clinic with this NPI; ``secret`` comes back with each notification."""
    return {
        "resourceType": "Subscription",
        "meta": {"profile": [f"{PAS}profile-subscription"]},
        "status": "requested",
        "reason": "To be told of decisions on prior authorizations.",
        "criteria": TOPIC,
        "_criteria": {
            "extension": [{"url": f"{_BACKPORT}backport-filter-criteria", "valueString": f"org-identifier={number}"}]
        },
        "channel": {
            "type": "rest-hook",
            "endpoint": endpoint,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{_BACKPORT}backport-payload-content", "valueCode": "full-resource"}]},
            "header": [f"Authorization: Bearer {secret}"],
        },
    }

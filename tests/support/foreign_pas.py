"""A payer's PAS server that is not ours: it keeps the bytes that it got, knows a repeat, and answers as it is told.

    with ForeignPas(app_keys=lambda: {...}, version="2.2.1") as payer:
        payer.answer = lambda request: payer.response(request, line(1, "A4"))
        payer.inquiry = lambda request: http(503, retry_after="3")

It knows nothing of the product's code.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.support.foreign_payer import ForeignPayer

PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/"
REVIEW_ACTIONS = "https://codesystem.x12.org/005010/306"
TOPIC = "http://hl7.org/fhir/us/davinci-pas/SubscriptionTopic/PASSubscriptionTopic"
LOST = "lost"  # the request was taken, and the connection is gone before the answer

Said = Mapping[str, Any] | Response | str


@dataclass
class ForeignPas(ForeignPayer):
    """See the module. Every attribute may be changed while it runs."""

    version: str = "2.2.1"
    answer: Callable[[dict[str, Any]], Said] | None = None  # to $submit
    inquiry: Callable[[dict[str, Any]], Said] | None = None  # to $inquire
    subscribing: Callable[[dict[str, Any]], Said] | None = None  # to POST Subscription; None: it has none
    reading: Callable[[str], Said] | None = None  # to GET Subscription/<id>
    events: Callable[[Mapping[str, str]], Said] | None = None  # to $events
    sent: list[tuple[str, bytes]] = field(default_factory=list)  # operation or path, and body, as they came
    repeats: dict[str, list[bytes]] = field(default_factory=dict)  # Bundle identifier -> every body that came under it
    subscriptions: list[dict[str, Any]] = field(default_factory=list)

    def bodies(self, operation: str = "Claim/$submit") -> list[dict[str, Any]]:
        """What came, in order."""
        return [json.loads(body) for path, body in self.sent if path == operation]

    @property
    def secret(self) -> str:
        """That the newest subscription asks notifications to carry."""
        return str(self.subscriptions[-1]["channel"]["header"][0])

    def _answer(self, request: Request) -> Response:
        path = request.path.removeprefix(f"{self.path}/")
        if not path.startswith(("Claim/$", "Subscription")):
            return super()._answer(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return http(401, told("login first"))
        body = request.get_data()
        self.sent.append((path if request.method == "POST" else f"{request.method} {path}", body))
        said = self._said(request, path, json.loads(body) if body else {})
        if isinstance(said, Response):
            return said
        if said == LOST:
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return Response(status=500)
        return http(201 if path == "Subscription" else 200, said)

    def _said(self, request: Request, path: str, body: dict[str, Any]) -> Said:
        if path == "Claim/$submit" and self.answer is not None:
            known = self.repeats.setdefault(body["identifier"]["value"], [])
            known.append(request.get_data())
            return self.answer(body)
        if path == "Claim/$inquire" and self.inquiry is not None:
            return self.inquiry(body)
        if path == "Subscription" and self.subscribing is not None:
            self.subscriptions.append(body)
            return self.subscribing(body)
        if path.endswith("/$events"):
            return self.events(dict(request.args)) if self.events is not None else http(404, told("not offered here"))
        if request.method == "GET" and path.startswith("Subscription/") and self.reading is not None:
            return self.reading(path.partition("/")[2])
        return http(404, told("not offered here"))

    def response(self, request: Mapping[str, Any], /, *items: Mapping[str, Any], **members: Any) -> dict[str, Any]:
        """A response Bundle to a request's Claim, in the shape of this version."""
        claim = request["entry"][0]["resource"]
        resource = {
            "resourceType": "ClaimResponse",
            "id": "cr-1",
            "status": "active",
            "use": "preauthorization",
            "created": "2026-11-20T10:00:00+00:00",
            "outcome": "complete",
            "patient": dict(claim["patient"]),
            "request": {"identifier": claim["identifier"][0]},
            "item": list(items),
        } | members
        resource = {name: value for name, value in resource.items() if value is not ...}
        bundle = {
            "resourceType": "Bundle",
            "type": "collection",
            "timestamp": resource.get("created"),
            "entry": [{"fullUrl": f"{self.base}/ClaimResponse/cr-1", "resource": resource}],
        }
        if self.version != "2.0.1":
            bundle["identifier"] = request["identifier"]
        return bundle

    def found(self, *bundles: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to ``$inquire`` in the shape of this version."""
        if self.version == "2.0.1":
            entries = [entry for bundle in bundles for entry in bundle["entry"]]
            return {"resourceType": "Bundle", "type": "collection", "entry": entries}
        return {"resourceType": "Parameters", "parameter": [{"name": "return", "resource": each} for each in bundles]}


def line(sequence: int, code: str, number: str = "", *, reference: str = "", **members: Any) -> dict[str, Any]:
    """An item with its review action; the parts of the extension stand in another order than the profile's."""
    action = {"coding": [{"system": REVIEW_ACTIONS, "code": code}]}
    parts: list[dict[str, Any]] = [{"url": f"{PAS}extension-reviewActionCode", "valueCodeableConcept": action}]
    if number:
        parts.append({"url": "number", "valueString": number})
    review = {"url": f"{PAS}extension-reviewAction", "extension": parts[::-1]}
    item = {"itemSequence": sequence, "adjudication": [{"extension": [review]}], **members}
    if reference:
        known = {"url": f"{PAS}extension-administrationReferenceNumber", "valueString": reference}
        item["extension"] = [*item.get("extension", []), known]
    return item


def wanting(context: str, *notes: str, **members: Any) -> dict[str, Any]:
    """An entry: a CommunicationRequest for a form."""
    resource = {
        "resourceType": "CommunicationRequest",
        "id": "more",
        "status": "active",
        "identifier": [{"value": context}],
        "payload": [{"contentString": "102089-0"}],
        "note": [{"text": each} for each in notes],
    } | members
    return {"fullUrl": "https://payer.example.net/CommunicationRequest/more", "resource": resource}


def notification(
    *events: tuple[int, dict[str, Any] | None],
    kind: str = "event-notification",
    status: str = "active",
    newest: int = 0,
) -> dict[str, Any]:
    """A notification Bundle of the backport; an event of None tells only that something happened."""
    parameter: list[dict[str, Any]] = [
        {"name": "topic", "valueCanonical": TOPIC},
        {"name": "status", "valueCode": status},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(newest or max([0, *(n for n, _ in events)]))},
    ]
    entries: list[dict[str, Any]] = []
    for number, answer in events:
        focus = f"https://payer.example.net/Bundle/{number}"
        parts = [
            {"name": "event-number", "valueString": str(number)},
            {"name": "focus", "valueReference": {"reference": focus}},
        ]
        parameter.append({"name": "notification-event", "part": parts})
        if answer is not None:
            entries.append({"fullUrl": focus, "resource": answer})
    first = {"fullUrl": "urn:uuid:status", "resource": {"resourceType": "Parameters", "parameter": parameter}}
    return {"resourceType": "Bundle", "type": "history", "entry": [first, *entries]}


def told(text: str) -> dict[str, Any]:
    """An OperationOutcome."""
    issue = {"severity": "error", "code": "processing", "details": {"text": text}}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def http(status: int, body: object = "", *, retry_after: str = "", location: str = "") -> Response:
    """An answer with another status, or with what is no JSON."""
    headers = {name: value for name, value in (("Retry-After", retry_after), ("Location", location)) if value}
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if text.startswith("<") else "application/fhir+json"
    return Response(text, status, headers, mimetype=kind)

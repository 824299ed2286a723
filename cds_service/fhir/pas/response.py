"""The answer to a request: a Bundle with one ClaimResponse and everything that it names (PAS rows P040-P059).

Built as plain dictionaries; the bytes are made once, and stored, sent, signed and delivered as they are. What is
echoed keeps the request's fullUrl and its numbers as they were written.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from cds_service.domain.prior_auth import CaseLine, CaseState, ReviewAction, Reviewer
from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import Entry, base_of, extensions, references
from cds_service.fhir.pas.request import PasRequest
from cds_service.fhir.pas.response_lines import Notes, added_lines, adjudication, line_item
from cds_service.fhir.systems import OUR_BASE

IDENTIFIER_SYSTEM: Final = f"{OUR_BASE}/NamingSystem/claim-response"
_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode


class ResponseError(msgspec.Struct, frozen=True):
    """Why nothing was adjudicated. ``code`` is X12's of list 901, "" where none of the public ones fits."""

    text: str
    code: str = ""
    path: str = ""
    element: str = ""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the response says beside the request. ``ident`` is a version-4 UUID, new for each version."""

    ident: str
    bundle_ident: str
    case_id: str
    n: int
    created: datetime
    state: CaseState
    lines: tuple[CaseLine, ...]
    note: str = ""
    due: datetime | None = None  # of the decision, while a line waits
    wanted: tuple[str, ...] = ()  # texts of what is still asked for
    context: str = ""
    reviewer: Reviewer | None = None
    error: ResponseError | None = None
    whole_cancelled: bool = False
    partial: bool = False  # 2.0.1: only the lines of a differential update


def build_response(request: PasRequest, said: Said) -> bytes:
    """The response Bundle's bytes."""
    return _ENCODE(response_bundle(request, said))


def response_bundle(request: PasRequest, said: Said) -> dict[str, Any]:
    """The response Bundle."""
    echo = _Echo(request)
    base = base_of(request.bundle.claim)
    ident = said.ident
    response = _claim_response(request, said, echo)
    entries = [{"fullUrl": f"{base}ClaimResponse/{ident}" if base else f"urn:uuid:{ident}", "resource": response}]
    if said.context and said.wanted:
        asked = _communication(request, said, echo)
        url = f"{base}CommunicationRequest/{said.bundle_ident}" if base else f"urn:uuid:{said.bundle_ident}"
        response["communicationRequest"] = [{"reference": f"CommunicationRequest/{said.bundle_ident}" if base else url}]
        entries.append({"fullUrl": url, "resource": asked})
    entries += echo.entries()
    return {
        "resourceType": "Bundle",
        "id": said.bundle_ident,
        "meta": {"profile": [f"{systems.DEFINITION}/profile-pas-response-bundle"]},
        "identifier": request.bundle.raw.get("identifier"),
        "type": "collection",
        "timestamp": instant(said.created),
        "entry": entries,
    }


def instant(moment: datetime) -> str:
    """An instant as FHIR writes it, in UTC to the millisecond."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class _Echo:
    """Entries of the request that the response names; each is taken along once, as it was sent."""

    def __init__(self, request: PasRequest) -> None:
        self._request = request
        self._base = base_of(request.bundle.claim)
        self._held: dict[int, Entry] = {}

    def reference(self, entry: Entry) -> dict[str, str]:
        """A reference that resolves in the response, and the entry along with what it names itself."""
        self._take(entry)
        url = entry.url
        return {"reference": url.removeprefix(self._base) if self._base and url.startswith(self._base) else url}

    def _take(self, entry: Entry) -> None:
        if entry.index in self._held:
            return
        self._held[entry.index] = entry
        bundle = self._request.bundle
        for _, text in references(entry.resource, ""):
            found = bundle.one(text, entry)
            if found is not None and found.kind != "Claim":
                self._take(found)

    def entries(self) -> list[dict[str, Any]]:
        return [
            {"fullUrl": self._held[index].url, "resource": self._held[index].resource} for index in sorted(self._held)
        ]


def _claim_response(request: PasRequest, said: Said, echo: _Echo) -> dict[str, Any]:
    claim = request.bundle.claim.resource
    modern = request.version != "2.0.1"
    notes = Notes()
    response: dict[str, Any] = {
        "resourceType": "ClaimResponse",
        "id": said.ident,
        "meta": _meta(said),
        "extension": _extensions(request, said, modern=modern),
        "identifier": [
            {"system": IDENTIFIER_SYSTEM, "value": f"{said.case_id}.{said.n}"},
            *dicts(claim.get("identifier")),
        ],
        "status": "active",
        "type": claim.get("type"),
        "use": "preauthorization",
        "patient": echo.reference(request.patient),
        "created": instant(said.created),
        "insurer": echo.reference(request.insurer),
        "requestor": echo.reference(request.provider),
        "request": _request_reference(request),
        "outcome": _outcome(said),
    }
    disposition = " ".join(words for words in (said.note or _disposition(said), _due(said)) if words)
    if disposition:
        response["disposition"] = disposition
    _numbers(response, said)
    items = {line.sequence: line for line in request.lines}
    shown = [line for line in said.lines if line.sequence in items or not said.partial]
    if said.error is None and shown:
        response["item"] = [line_item(request, items.get(line.sequence), line, echo.reference, notes) for line in shown]
        added = added_lines(request, items, shown, echo.reference)
        if added:
            response["addItem"] = added
    if said.whole_cancelled:
        response["adjudication"] = [adjudication(ReviewAction.CANCELLED, "", ())]
    if said.error is not None:
        response["error"] = [_error(said.error, notes, modern=modern)]
    if notes.listed:
        response["processNote"] = notes.listed
    return {key: value for key, value in response.items() if value not in (None, [], "")}


def _meta(said: Said) -> dict[str, Any]:
    meta: dict[str, Any] = {"profile": [f"{systems.DEFINITION}/profile-claimresponse"]}
    if said.partial:
        meta["tag"] = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}]
    return meta


def _request_reference(request: PasRequest) -> dict[str, Any]:
    """P043: the Claim by its URL (it need not be in the Bundle), and by its identifier."""
    base, url = base_of(request.bundle.claim), request.bundle.claim.url
    reference: dict[str, Any] = {"reference": url.removeprefix(base) if base else url}
    identifier = next(iter(dicts(request.bundle.claim.resource.get("identifier"))), None)
    if identifier is not None:
        reference["identifier"] = identifier
    return reference


def _outcome(said: Said) -> str:
    """P046: never queued; partial while a line waits."""
    if said.error is not None:
        return "error"
    return "partial" if any(line.action is ReviewAction.PENDED for line in said.lines) else "complete"


def _disposition(said: Said) -> str:
    if said.error is not None:
        return said.error.text
    waiting = sum(line.action is ReviewAction.PENDED for line in said.lines)
    if waiting == len(said.lines) > 0:
        return "The request waits for a decision."
    if waiting:
        others = len(said.lines) - waiting
        return f"{others} of {len(said.lines)} lines settled; {waiting} still {'waits' if waiting == 1 else 'wait'}."
    return ""


def _due(said: Said) -> str:
    """By when a person decides: no element of the profile holds it, and those who wait want to know."""
    if said.due is None or not any(line.action is ReviewAction.PENDED for line in said.lines):
        return ""
    return f"A decision is due by {said.due.astimezone(UTC):%Y-%m-%d %H:%M} UTC."


def _numbers(response: dict[str, Any], said: Said) -> None:
    """Base elements of FHIR that readers other than PAS look at: number and period where all lines share them."""
    approved = [line for line in said.lines if line.number and line.authorized is not None]
    if not approved or said.error is not None:
        return
    response["preAuthRef"] = approved[0].number
    spans = {(line.authorized.start, line.authorized.end) for line in approved if line.authorized is not None}
    if len(spans) == 1:
        start, end = next(iter(spans))
        response["preAuthPeriod"] = {"start": start.isoformat(), "end": end.isoformat()}


def _extensions(request: PasRequest, said: Said, *, modern: bool) -> list[dict[str, Any]]:
    if not modern:
        return []
    found = [_turned(each) for each in extensions(request.bundle.claim.resource, systems.TRANSMISSION)]
    if said.error is None:
        by_person = said.reviewer is not None
        parts: list[dict[str, Any]] = [{"url": "wasHumanReviewedFlag", "valueBoolean": by_person}]
        if said.reviewer is not None and said.reviewer.npi:
            parts.append({"url": "reviewerNPI", "valueIdentifier": {"system": systems.NPI, "value": said.reviewer.npi}})
        found.append({"url": systems.extension("claimResponseReviewer"), "extension": parts})
    return found


_TURNED: Final = {
    "applicationSenderCode": "applicationReceiverCode",
    "applicationReceiverCode": "applicationSenderCode",
    "interchangeSenderID": "interchangeReceiverID",
    "interchangeReceiverID": "interchangeSenderID",
}


def _turned(extension: dict[str, Any]) -> dict[str, Any]:
    """Transmission identifiers the other way round: who sent is who receives now."""
    parts = [
        each | {"url": _TURNED.get(word(each.get("url")), word(each.get("url")))}
        for each in dicts(extension.get("extension"))
    ]
    return {"url": systems.TRANSMISSION, "extension": parts}


def _error(error: ResponseError, notes: Notes, *, modern: bool) -> dict[str, Any]:
    """P057: what is wrong with the request as a whole, as X12's rejections are told."""
    number = notes.add(error.text)
    held: list[dict[str, Any]] = []
    if modern:
        parts: list[dict[str, Any]] = [{"url": "processNote", "valuePositiveInt": number}]
        if error.element:
            parts.insert(0, {"url": "error", "valueString": error.element})
        held.append({"url": systems.extension("errorElement"), "extension": parts})
    elif error.element:
        held.append({"url": systems.extension("errorElement"), "valueString": error.element})
    if error.path:
        held.append({"url": systems.extension("errorPath"), "valueString": error.path})
    action = systems.concept(systems.FOLLOW_UP, systems.CORRECT_AND_RESUBMIT)
    held.append({"url": systems.extension("errorFollowupAction"), "valueCodeableConcept": action})
    code: dict[str, Any] = {"text": error.text}
    if error.code:
        code |= systems.concept(systems.REJECT_REASON, error.code)
    return {"extension": held, "code": code}


def _communication(request: PasRequest, said: Said, echo: _Echo) -> dict[str, Any]:
    """P052: a questionnaire is wanted; the DTR context is its trace number, so that its form can be opened."""
    modern = request.version != "2.0.1"
    waiting = [line.sequence for line in said.lines if line.action is ReviewAction.PENDED]
    payload: dict[str, Any] = {"contentString": systems.DTR_DOCUMENTS}
    resource: dict[str, Any] = {
        "resourceType": "CommunicationRequest",
        "id": said.bundle_ident,
        "meta": {"profile": [f"{systems.DEFINITION}/profile-communicationrequest"]},
        "identifier": [{"system": systems.CONTEXT_NUMBER, "value": said.context}],
        "status": "active",
        "subject": echo.reference(request.patient),
        "payload": [payload],
        "requester": echo.reference(request.insurer),
        "recipient": [echo.reference(request.provider)],
        "sender": echo.reference(request.insurer),
        "note": [{"text": text} for text in said.wanted],
    }
    if waiting:
        line = {"url": systems.extension("serviceLineNumber"), "valuePositiveInt": waiting[0]}
        if modern:
            resource["extension"] = [line]
        else:
            payload["extension"] = [line]
    return resource

"""Answer an inquiry: where do this member's requests stand (PAS rows P067-P074; reliability row 112).

Whoever submitted a request may ask; so may another provider that knows the member's number and the ordering or the
rendering provider. To everybody else a case does not exist: the same empty answer as for an unknown one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any, Final

import msgspec

from cds_service.backend_clients import BackendCaller
from cds_service.domain.prior_auth import AuditEntry, Case, CaseState
from cds_service.errors import NotAllowed, StoreUnavailable
from cds_service.fhir.json import parse
from cds_service.fhir.pas import systems
from cds_service.fhir.pas.bundle import read_bundle
from cds_service.fhir.pas.gate import check_inquiry, refused
from cds_service.fhir.pas.inquiry import Inquiry, read_inquiry
from cds_service.fhir.pas.issues import RequestRefused
from cds_service.fhir.pas.request import read_request
from cds_service.fhir.pas.response import Said, instant, response_bundle
from cds_service.use_cases.prior_auth_parts import PriorAuthParts

_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode
_MOST: Final = 50  # cases in one answer, the newest first


class Inquired(msgspec.Struct, frozen=True):
    """The answer to ``$inquire``."""

    body: bytes
    cases: tuple[str, ...]


class InquirePriorAuth:
    """The use case. Thread-safe."""

    def __init__(self, parts: PriorAuthParts) -> None:
        self._cases = parts.cases
        self._clock = parts.clock
        self._new_id = parts.new_id
        self._max_bytes = parts.max_bytes

    def inquire(self, body: bytes, version: str, caller: BackendCaller) -> Inquired:
        """Answer one inquiry Bundle: Parameters in 2.2, one Bundle in 2.0.1.

        Raises:
            MalformedRequest, TooLarge, RequestRefused: it cannot be read, or does not say who asks about whom.
            NotAllowed: the client may not ask for this organization.
        """
        raw = parse(body, max_bytes=self._max_bytes)
        bundle = read_bundle(raw if isinstance(raw, dict) else {})
        found = check_inquiry(bundle, version)
        if refused(found):
            raise RequestRefused([each for each in found if each.severity == "error"])
        inquiry = read_inquiry(bundle)
        may = caller.client.organizations
        if may and not set(inquiry.organizations) & set(may):
            raise NotAllowed("this client is not registered for the organization that asks")
        cases = [case for case in self._candidates(inquiry) if _may_see(case, inquiry, caller)][:_MOST]
        self._audit(cases, inquiry, caller)
        answers = [self._answer(case, raw, version) for case in cases]
        if version != "2.0.1":
            parameters: dict[str, Any] = {"resourceType": "Parameters"}
            if answers:  # FHIR knows no empty list
                parameters["parameter"] = [{"name": "return", "resource": each} for each in answers]
            return Inquired(_ENCODE(parameters), tuple(case.id for case in cases))
        single = _together(answers) if answers else self._nothing(raw)
        return Inquired(_ENCODE(single), tuple(case.id for case in cases))

    def _candidates(self, inquiry: Inquiry) -> list[Case]:
        """By the numbers of the inquiry where it has some, superseded ones too (P069); else the member's."""
        found: dict[str, Case] = {}
        numbered = (
            *((number, ("authorization",)) for number in inquiry.authorization_numbers),
            *((number, ("reference", "trace")) for number in inquiry.reference_numbers),
        )
        for number, kinds in numbered:
            found |= {case.id: case for case in self._cases.cases_of_number(number, kinds)}
        if not numbered:
            for member in inquiry.members:
                found |= {case.id: case for case in self._cases.cases_of_member(member)}
        return [case for case in found.values() if _asked_for(case, inquiry)]

    def _answer(self, case: Case, raw: dict[str, Any], version: str) -> dict[str, Any]:
        """The case as it stands now, all lines that were ever sent, under the inquiry's own identifier."""
        versions = self._cases.versions(case.id)
        newest = versions[-1]
        request = next(
            (each for each in reversed(versions) if each.request is not None and each.kind != "cancel"), None
        )
        if request is None or request.request is None:
            raise StoreUnavailable("the request could not be read; try again", reason="other")
        read = read_request(read_bundle(parse(request.request, max_bytes=self._max_bytes)), version)
        stored = parse(newest.response, max_bytes=self._max_bytes)
        answered = stored["entry"][0]["resource"]
        bundle = response_bundle(
            read,
            Said(
                ident=answered["id"],
                bundle_ident=self._new_id(),
                case_id=case.id,
                n=case.version,
                created=newest.at,
                state=case.state,
                lines=case.summary.lines,
                note=case.summary.note,
                due=case.due,
                whole_cancelled=case.state is CaseState.CANCELLED,
                context=case.summary.context,
                wanted=_still_wanted(stored),
            ),
        )
        response = bundle["entry"][0]["resource"]
        for element in ("extension", "adjudication"):
            if element in answered:
                response[element] = answered[element]
        response["meta"] = {"profile": [f"{systems.DEFINITION}/profile-claiminquiryresponse"]}
        return bundle | {
            "meta": {"profile": [f"{systems.DEFINITION}/profile-pas-inquiry-response-bundle"]},
            "identifier": raw.get("identifier"),
            "timestamp": instant(self._clock.now()),
        }

    def _nothing(self, raw: dict[str, Any]) -> dict[str, Any]:
        """2.0.1 knows no empty Parameters: a Bundle that says that there is nothing."""
        outcome = {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "information", "code": "not-found", "details": {"text": "no request was found"}}],
        }
        return {
            "resourceType": "Bundle",
            "identifier": raw.get("identifier"),
            "type": "collection",
            "timestamp": instant(self._clock.now()),
            "entry": [{"fullUrl": f"urn:uuid:{self._new_id()}", "resource": outcome}],
        }

    def _audit(self, cases: Sequence[Case], inquiry: Inquiry, caller: BackendCaller) -> None:
        now, npi = self._clock.now(), next(iter(inquiry.npis), "")
        detail: dict[str, str | int | bool | None] = {"found": len(cases), "npi": npi}
        entries = [AuditEntry(now, caller.client.id, "client", "inquire", f"case/{case.id}", detail) for case in cases]
        self._cases.note(entries or [AuditEntry(now, caller.client.id, "client", "inquire", "case/none", detail)])


def _together(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One Bundle with all responses, the newest first, then what they name; of one address the newest text stands."""
    entries: dict[str, dict[str, Any]] = {}
    for answer in answers:
        for entry in answer["entry"]:
            entries.setdefault(entry["fullUrl"], entry)
    told = sorted(entries.values(), key=lambda entry: entry["resource"]["resourceType"] != "ClaimResponse")
    return {**answers[0], "entry": told}


def _still_wanted(stored: dict[str, Any]) -> tuple[str, ...]:
    """Texts of what the newest answer asks for: who asks where a request stands is not to lose the question."""
    resources = [entry["resource"] for entry in stored["entry"]]
    asked = [each for each in resources if each["resourceType"] == "CommunicationRequest"]
    return tuple(note["text"] for each in asked for note in each.get("note", []))


def _may_see(case: Case, inquiry: Inquiry, caller: BackendCaller) -> bool:
    """The member must be known by number in any case; and one's own request, or its provider, too."""
    if case.member_id not in inquiry.members:
        return False
    if inquiry.birth_date and case.summary.birth_date and inquiry.birth_date != case.summary.birth_date:
        return False
    own = case.sender == caller.client.id and case.provider_organization in inquiry.organizations
    return own or bool({case.ordering_npi, case.rendering_npi} & set(inquiry.npis) - {""})


def _asked_for(case: Case, inquiry: Inquiry) -> bool:
    if case.state is CaseState.ERROR:
        return False
    if inquiry.services and not any(line.code in inquiry.services for line in case.summary.lines):
        return False
    start, end = inquiry.period
    first = case.received
    last = case.service_end or first
    if end is not None and first > datetime.combine(end, time.max, UTC):
        return False
    return start is None or last >= datetime.combine(start, time.min, UTC)

"""Answer a request for authorization: replay, gate, judge, write down, send, in this order (PAS 7.1).

What is answered is committed first, with case, trace, audit, log and deliveries, in one durable transaction. The
client never waits for the payer's systems: the outbox does.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

from cds_service.backend_clients import BackendCaller
from cds_service.domain.prior_auth import AuditEntry, Case, CaseEvent, CaseState, Submission
from cds_service.errors import Conflict, NotAllowed, NotFound, StoreUnavailable
from cds_service.fhir.json import parse
from cds_service.fhir.pas.bundle import PasBundle, identifier_of, read_bundle
from cds_service.fhir.pas.gate import check_submit, refused
from cds_service.fhir.pas.issues import RequestRefused
from cds_service.fhir.pas.request import PasRequest, changes_lines, read_request
from cds_service.use_cases.case_composing import (
    Composed,
    asked_twice,
    compose,
    member_of_request,
    not_decided_here,
    waits_for,
)
from cds_service.use_cases.case_writing import Writing, change_of, code_of, state_of
from cds_service.use_cases.change_prior_auth import cancel, update
from cds_service.use_cases.judge_request import assess
from cds_service.use_cases.order_sign_memory import contexts_of
from cds_service.use_cases.prior_auth_lines import settled_line
from cds_service.use_cases.prior_auth_parts import Call, PriorAuthParts
from cds_service.use_cases.submission_writing import Stands, key_of_update, submission_of, written

_TRIES: Final = 40  # each time somebody else was quicker, and only one can be
_LATE: Final = "it was not decided in the time that one call has: a person looks at it"


class Submitted(msgspec.Struct, frozen=True):
    """The answer to ``$submit``."""

    body: bytes
    case_id: str
    n: int
    replayed: bool
    outcome: str  # pended | decided | cancelled | error | replay


class SubmitPriorAuth:
    """The use case. Thread-safe: nothing of a call is kept on it."""

    def __init__(self, parts: PriorAuthParts) -> None:
        self._parts = parts
        self._cases = parts.cases

    def submit(self, body: bytes, version: str, caller: BackendCaller, *, started: float) -> Submitted:
        """Answer one request Bundle; ``version`` of the base, "2.0.1" or "2.2"; ``started`` is monotonic.

        Raises:
            MalformedRequest, TooLarge: no JSON that can be read.
            RequestRefused: rules of PAS are broken, each one an issue.
            Conflict: the Bundle's identifier stands for another Bundle already (P091).
            NotFound: an update of a request that is not this sender's, or unknown (row 116).
            NotAllowed: the sender may not speak for this organization.
            StoreUnavailable: it could not be written down, and was not answered.
        """
        raw = parse(body, max_bytes=self._parts.max_bytes)
        bundle = read_bundle(raw if isinstance(raw, dict) else {})
        digest = sha256(body).hexdigest()
        earlier = self._earlier(bundle, caller, digest)
        if earlier is not None:
            return self._again(earlier, caller)
        found = check_submit(bundle, version)
        if refused(found):
            raise RequestRefused([each for each in found if each.severity == "error"])
        request = read_request(bundle, version)
        _check_sender(request, caller)
        call = Call(request, body, digest, caller, started)
        for _ in range(_TRIES):
            answered = self._answer(call)
            if answered is not None:
                return answered
        raise StoreUnavailable("the request is being worked on elsewhere; try again", reason="locked")

    def _earlier(self, bundle: PasBundle, caller: BackendCaller, digest: str) -> Submission | None:
        """What stands for this Bundle already; raises Conflict where that had another content."""
        identifier = identifier_of(bundle.raw.get("identifier"))
        found = self._cases.submission(caller.client.id, identifier) if identifier else None
        if found is None or found.body_sha256 == digest:
            return found
        if not changes_lines(bundle):
            text = "this identifier stands for another Bundle already: give a new request a new identifier"
            raise Conflict(text, expression="Bundle.identifier")
        return self._cases.submission(caller.client.id, key_of_update(identifier, digest))

    def _again(self, earlier: Submission, caller: BackendCaller) -> Submitted:
        version = self._cases.version(earlier.case_id, earlier.n)
        if version is None:
            raise StoreUnavailable("the earlier answer could not be read; try again", reason="other")
        now, subject = self._parts.clock.now(), f"case/{earlier.case_id}"
        self._cases.note([AuditEntry(now, caller.client.id, "client", "replay", subject, {"n": earlier.n})])
        return Submitted(version.response, earlier.case_id, earlier.n, replayed=True, outcome="replay")

    def _answer(self, call: Call) -> Submitted | None:
        """One try; None where another one was quicker and everything is to be looked at again."""
        now = self._parts.clock.now()
        prior = self._prior(call.request, call.caller)
        if prior is None:
            writing = self._new_case(call, now)
        elif call.request.kind == "cancel":
            writing = cancel(self._parts, call, prior, now, submission_of(self._parts, call, prior))
        else:
            writing = update(self._parts, call, prior, now, self._late(call))
        base = self._parts.base(call.request.version)
        change = change_of(writing, self._parts.new_id, self._parts.destinations, base)
        done = self._cases.commit(change)
        if done.state == "repeated" and done.submission is not None:
            if done.submission.body_sha256 != call.digest:
                raise Conflict("this identifier stands for another Bundle already", expression="Bundle.identifier")
            return self._again(done.submission, call.caller)
        if done.state != "done":
            return None
        case = writing.case
        return Submitted(change.version.response, case.id, case.version, replayed=False, outcome=case.state.value)

    def _prior(self, request: PasRequest, caller: BackendCaller) -> Case | None:
        """The case that a request changes; raises NotFound where it is unknown, or another sender's."""
        identifiers = request.prior_identifiers
        if request.kind == "submit":
            if request.version != "2.0.1" or not changes_lines(request.bundle):
                return None
            identifiers = request.claim_identifiers  # 2.0.1 updates bear the identifier of what they change
        for identifier in identifiers:
            for case in self._cases.cases_of_number(identifier, ("claim",)):
                if case.sender == caller.client.id:
                    return case
        if request.kind == "submit":
            return None
        raise NotFound("no request of this sender is known under the identifier of the related Claim")

    def _late(self, call: Call) -> str:
        """P098: what is not decided in time waits for a person."""
        spent = self._parts.clock.monotonic() - call.started
        return _LATE if spent > self._parts.pas.deadline_seconds else ""

    def _new_case(self, call: Call, now: datetime) -> Writing:
        parts, request, day = self._parts, call.request, now.date()
        assessment = assess(
            parts.rules, parts.pas, request, day, contexts=contexts_of(request, parts.remembered, parts.key)
        )
        members = self._cases.cases_of_member(member_of_request(request, assessment))
        code, late = code_of(parts.new_id()), self._late(call)
        error = not_decided_here(parts, request, assessment)
        lines = tuple(
            settled_line(
                each,
                number=f"{parts.pas.number_prefix}-{code}-{each.line.sequence}",
                reference=f"P-{code}-{each.line.sequence}",
                as_of=day,
                waits_for=late
                or asked_twice(each, assessment.lines[:place])
                or waits_for(parts, each, members, call.caller, day),
            )
            for place, each in enumerate(assessment.lines)
        )
        state = CaseState.ERROR if error else state_of(lines)
        made = Composed(call=call, assessment=assessment, now=now, lines=lines, code=code, state=state)
        case = compose(parts, made)
        stands = Stands(
            kind="renewal" if any(line.previous for line in request.lines) else "submit",
            error=error,
            events=_received(call, case, now),
            others=sum(each.version for each in members),
        )
        return written(parts, made, case, stands)


def _check_sender(request: PasRequest, caller: BackendCaller) -> None:
    """A client that is registered for certain organizations sends for no other one (P063, HRex)."""
    may = caller.client.organizations
    if may and request.organizations and not set(request.organizations) & set(may):
        raise NotAllowed("this client is not registered for the organization of the request")


def _received(call: Call, case: Case, now: datetime) -> tuple[CaseEvent, ...]:
    """The start of the clock, with what the figures are told apart by."""
    detail: dict[str, str | int | bool | None] = {
        "expedited": case.expedited,
        "program": case.program,
        "benefit": case.benefit,
        "has_drug": case.has_drug,
        "request_type": case.request_type,
        "lines": len(case.summary.lines),
    }
    client = call.caller.client.id
    appeal = (CaseEvent(now, "appeal", client),) if call.request.appeal else ()
    return (CaseEvent(now, "received", client, detail), *appeal)

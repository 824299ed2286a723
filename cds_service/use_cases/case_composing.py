"""From a judged request to the case as it stands after it: state, due time, what it waits for, the call's figures."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Final

import msgspec

from cds_service.backend_clients import BackendCaller
from cds_service.domain.authorization import look_up
from cds_service.domain.clocks import Asked, due, extended
from cds_service.domain.prior_auth import Case, CaseLine, CaseState, CaseSummary, LineKind, ReviewAction
from cds_service.fhir.pas.request import PasRequest
from cds_service.fhir.pas.response import ResponseError
from cds_service.fhir.pas.systems import REQUEST_ERROR
from cds_service.policy.model import Guideline
from cds_service.prior_auth_ports import Exchange
from cds_service.use_cases.case_writing import SOURCE
from cds_service.use_cases.decide import in_force
from cds_service.use_cases.judge_request import Assessed, Assessment
from cds_service.use_cases.prior_auth_parts import Call, PriorAuthParts

_ENCODE: Final = msgspec.json.Encoder(order="sorted").encode
_GRANTED: Final = frozenset({ReviewAction.APPROVED, ReviewAction.MODIFIED})


def member_of_request(request: PasRequest, assessment: Assessment) -> str:
    """The number that authorizations are filed under: as order-sign reads it off the Coverage."""
    return assessment.coverage.member_id or next(iter(request.members), "")


def not_decided_here(parts: PriorAuthParts, request: PasRequest, assessment: Assessment) -> ResponseError | None:
    """Why a request is understood, and not to be decided here (P096); None where it is."""
    if assessment.coverage.state == "foreign":
        path = f"Bundle.entry[{request.insurer.index}].resource.name"
        text = "the Coverage is another payer's: send the request to that payer"
        return ResponseError(text, REQUEST_ERROR, path)
    drugs = [each for each in assessment.lines if each.kind is LineKind.DRUG]
    if assessment.benefit == "pharmacy" and drugs:
        return ResponseError(parts.pas.benefit.instructions, path="Bundle.entry[0].resource.item")
    return None


def waits_for(parts: PriorAuthParts, each: Assessed, members: Sequence[Case], caller: BackendCaller, day: date) -> str:
    """P092: an open case on the same service, or an authorization in force; none of them is silently doubled.

    ``members``: other cases of the same member. Numbers of another sender's case are not told.
    """
    for case in members:
        if case.state in {CaseState.ERROR, CaseState.CANCELLED}:
            continue
        own = f": {case.tracking_number}" if case.sender == caller.client.id else ""
        for line in case.summary.lines:
            if not _same_service(each, line):
                continue
            if line.action is ReviewAction.PENDED:
                return f"a request for the same service is open already{own}"
            in_force_now = line.authorized is not None and line.authorized.start <= day <= line.authorized.end
            if line.action in _GRANTED and in_force_now and line.number != each.line.previous:
                return f"the same service is authorized already{own}"
    return _on_file_already(parts, each, day) or _renews_nothing(parts, each, members)


def _renews_nothing(parts: PriorAuthParts, each: Assessed, members: Sequence[Case]) -> str:
    """A number of before that stands for no authorization of this member that was granted and not taken back."""
    known = {line.number for case in members for line in case.summary.lines if line.action in _GRANTED}
    known |= (
        {found.number for found in parts.on_file(each.member) if found.status == "active"} if each.member else set()
    )
    return "" if each.line.previous in known | {""} else "the number of before is none of this member's authorizations"


def asked_twice(each: Assessed, before: Sequence[Assessed]) -> str:
    """P092 within one request: a line that asks again for what an earlier line of it asks for."""
    for other in before:
        if not other.line.cancelled and _same_line(each, other):
            return f"line {other.line.sequence} of this request asks for the same service already"
    return ""


def asked_before(each: Assessed, held: Mapping[int, CaseLine], sent: Collection[int]) -> str:
    """The same by a line of the case that an update does not name (2.0.1): it stands, and is not asked for twice."""
    for sequence, line in held.items():
        if sequence not in sent and line.action in {ReviewAction.PENDED, *_GRANTED} and _same_service(each, line):
            return f"line {sequence} of this request asks for the same service already"
    return ""


def _same_line(each: Assessed, other: Assessed) -> bool:
    """As between cases; but a mixture may be billed drug by drug, each by its own code."""
    if each.kind is not LineKind.DRUG or not each.drugs:
        return (each.line.system, each.line.code) == (other.line.system, other.line.code)
    if each.billing is not None and other.billing is not None and each.line.order == other.line.order:
        return each.billing.drug == other.billing.drug
    return bool(set(each.drugs) & set(other.drugs)) and each.route == other.route


def _on_file_already(parts: PriorAuthParts, each: Assessed, day: date) -> str:
    """An authorization from elsewhere that covers the order: order-sign says satisfied, so nothing is issued twice."""
    if each.order is None or each.judged is None or not each.member:
        return ""
    held = [found for found in parts.on_file(each.member) if found.source != SOURCE]
    granted = look_up(held, each.order, each.judged.determination.dose, day).granted
    return "" if granted is None else "an authorization on file covers the order already"


def _same_service(each: Assessed, line: CaseLine) -> bool:
    """A drug in common by the same route, or the same code."""
    if each.kind is LineKind.DRUG and each.drugs:
        return bool(set(each.drugs) & set(line.drugs)) and each.route == line.route
    return bool(each.line.code) and (each.line.system, each.line.code) == (line.system, line.code)


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """What a case is composed of. ``code``: of its tracking number; ``prior``: the case as it stood before."""

    call: Call
    assessment: Assessment
    now: datetime
    lines: tuple[CaseLine, ...]
    code: str
    state: CaseState
    prior: Case | None = None


def compose(parts: PriorAuthParts, made: Composed) -> Case:
    """The case as it stands after this call."""
    request, prior, waits = made.call.request, made.prior, made.state is CaseState.PENDED
    member = prior.member_id if prior else member_of_request(request, made.assessment)
    n = prior.version + 1 if prior else 1
    wanted = made.assessment.wanted if waits else ()
    ends = [line.authorized.end for line in made.lines if line.authorized]
    end = request.service_end or max(ends, default=None)
    return Case(
        id=prior.id if prior else parts.new_id(),
        tracking_number=prior.tracking_number if prior else f"T-{made.code}",
        sender=made.call.caller.client.id,
        provider_organization=_organization(made.call),
        ordering_npi=request.ordering_npi,
        rendering_npi=request.rendering_npi,
        member_id=member,
        patient_key=prior.patient_key if prior else _patient_key(parts.key, member, request.birth_date),
        program=made.assessment.coverage.program.value,
        benefit=made.assessment.benefit,
        expedited=request.expedited or (prior.expedited if prior else False),
        has_drug=any(line.kind is LineKind.DRUG for line in made.lines),
        request_type=made.assessment.request_type,
        state=made.state,
        summary=_summary(made, wanted, n),
        received=prior.received if prior else made.now,
        due=_due(parts, made) if waits else None,
        decided=None if waits or made.state is CaseState.ERROR else made.now,
        version=n,
        assigned_to=prior.assigned_to if prior else "",
        service_end=datetime.combine(end, time(), UTC) if end else None,
    )


def _organization(call: Call) -> str:
    """As whom the sender speaks: of several identifiers the one that it is registered for (P063)."""
    named, may = call.request.organizations, call.caller.client.organizations
    return next((each for each in named if each in may), next(iter(named), ""))


def _summary(made: Composed, wanted: tuple[str, ...], n: int) -> CaseSummary:
    request = made.call.request
    return CaseSummary(
        patient_name=request.patient_name,
        birth_date=request.birth_date,
        requester=request.requester_name,
        lines=made.lines,
        diagnoses=request.diagnoses,
        wanted=wanted,
        context=f"T-{made.code}.{n}" if wanted else "",
        version=request.version,
        extended=made.prior is not None and made.prior.state is CaseState.PENDED and made.prior.summary.extended,
    )


def _due(parts: PriorAuthParts, made: Composed) -> datetime:
    """The strictest clock of the lines that wait; an earlier one of the same case goes on, a new one runs from now."""
    prior, request = made.prior, made.call.request
    running = prior is not None and prior.state is CaseState.PENDED
    start = prior.received if prior is not None and running else made.now
    instants = []
    for drug in {line.kind is LineKind.DRUG for line in made.lines if line.action is ReviewAction.PENDED}:
        asked = Asked(
            program=made.assessment.coverage.program.value,
            plans=made.assessment.coverage.plans,
            benefit=made.assessment.benefit,
            drug=drug,
            expedited=request.expedited or (prior is not None and prior.expedited),
        )
        more = extended(parts.pas.clocks, start, asked) if running and prior and prior.summary.extended else None
        instants.append(more or due(parts.pas.clocks, start, asked))
    if prior is not None and running and prior.due is not None:
        instants.append(prior.due)
    return min(instants)


def _patient_key(key: bytes, member: str, birth_date: str) -> str:
    return hmac.digest(key, f"prior authorization\0{member}\0{birth_date}".encode(), "sha256").hex()


def guideline_of(parts: PriorAuthParts, assessment: Assessment | None, day: date) -> Guideline:
    """The guideline that the request was held against."""
    for each in assessment.lines if assessment is not None else ():
        if each.judged is not None:
            return each.judged.rules.guideline
    return in_force(parts.rules, day)[0].guideline


def labels_of(guideline: Guideline, wanted: Sequence[str]) -> tuple[str, ...]:
    """Facts as people read them."""
    return tuple(guideline.facts[name].label if name in guideline.facts else name for name in wanted)


def exchange_of(parts: PriorAuthParts, call: Call, now: datetime) -> Callable[[Case], Exchange]:
    """The fields of PASMetricData for one call of ``$submit`` (P104)."""
    request, started = call.request, call.started

    def made(case: Case) -> Exchange:
        detail = {
            "source": "payer-src",
            "providerId": request.rendering_npi,
            "groupId": next(iter(request.organizations), ""),
            "payerId": case.program,
            "exchange": "claim-submit",
            "kind": request.kind,
            "issues": [],
            "items": [
                {
                    "sequence": line.sequence,
                    "result": line.action.value,
                    "denialReason": [each.code for each in line.reasons if each.code],
                }
                for line in case.summary.lines
            ],
            "requestedDocuments": list(case.summary.wanted),
        }
        return Exchange(
            at=now,
            kind="submit",
            sender=call.caller.client.id,
            http_status=200,
            milliseconds=int((parts.clock.monotonic() - started) * 1000),
            case_id=case.id,
            detail=_ENCODE(detail).decode(),
        )

    return made

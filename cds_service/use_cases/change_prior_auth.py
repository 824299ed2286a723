"""Updates and cancellations of a request: what of the case stays, what is judged anew (PAS rows P080-P088)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import msgspec

from cds_service.domain.prior_auth import Case, CaseEvent, CaseLine, CaseState, ReviewAction, Submission
from cds_service.fhir.json import parse
from cds_service.fhir.pas.bundle import read_bundle
from cds_service.fhir.pas.issues import Issue, RequestRefused
from cds_service.fhir.pas.request import PasRequest, RequestedLine, read_request
from cds_service.fhir.pas.response import ResponseError
from cds_service.use_cases.case_composing import (
    Composed,
    asked_before,
    asked_twice,
    compose,
    exchange_of,
    guideline_of,
    not_decided_here,
    waits_for,
)
from cds_service.use_cases.case_writing import Writing, state_of, trace_of
from cds_service.use_cases.judge_request import Assessed, Assessment, assess
from cds_service.use_cases.order_sign_memory import contexts_of
from cds_service.use_cases.prior_auth_lines import cancelled_line, case_line, reopened_line
from cds_service.use_cases.prior_auth_parts import Call, PriorAuthParts
from cds_service.use_cases.submission_writing import Stands, written
from cds_service.use_cases.update_rules import (
    by_sequence,
    failing,
    same_member,
    touched,
    update_issues,
    version_issue,
)


def update(parts: PriorAuthParts, call: Call, prior: Case, now: datetime, late: str) -> Writing:
    """A new version by an update; raises RequestRefused for what an update may not change."""
    request, day = call.request, now.date()
    _check_version(prior, request)
    before = last_request(parts, prior)
    found = update_issues(prior, request, before)
    if prior.state is CaseState.CANCELLED:
        text = "the request was cancelled: send a new one"
        found.append(Issue("P088", "business-rule", text, "Bundle.entry[0].resource"))
    if found:
        raise RequestRefused(found)
    assessment = _judged(parts, request, day)
    error = not_decided_here(parts, request, assessment)
    if error is None and parts.pas.updates == "refuse":
        error = ResponseError("this payer takes no updates: send a new request, and cancel the earlier one")
    if error is not None:
        lines, state = prior.summary.lines, prior.state
    else:
        earlier = _judged(parts, before, day) if before is not None else None
        lines = _updated(parts, call, prior, earlier, assessment, now, late)
        state = state_of(lines)
    made = Composed(
        call=call,
        assessment=assessment,
        now=now,
        lines=lines,
        code=prior.tracking_number.partition("-")[2],
        state=state,
        prior=prior,
    )
    stands = Stands(
        kind="renewal" if any(line.previous for line in request.lines) else "update",
        error=error,
        events=(CaseEvent(now, "updated", call.caller.client.id),),
        partial=request.version == "2.0.1" and len(request.lines) < len(lines),
    )
    return written(parts, made, compose(parts, made), stands)


def _check_version(prior: Case, request: PasRequest) -> None:
    wrong = version_issue(prior, request)
    if wrong is not None:
        raise RequestRefused([wrong])


def _judged(parts: PriorAuthParts, request: PasRequest, day: date) -> Assessment:
    return assess(parts.rules, parts.pas, request, day, contexts=contexts_of(request, parts.remembered, parts.key))


def _updated(
    parts: PriorAuthParts,
    call: Call,
    prior: Case,
    before: Assessment | None,
    assessment: Assessment,
    now: datetime,
    late: str,
) -> tuple[CaseLine, ...]:
    """Earlier lines stay as they are unless they are changed, cancelled, spoken against, or still wait.

    ``before``: the request that is updated, as it would be judged today.
    """
    found = {line.sequence: line for line in prior.summary.lines}
    earlier = by_sequence(before)
    members = [each for each in parts.cases.cases_of_member(prior.member_id) if each.id != prior.id]
    code, day = prior.tracking_number.partition("-")[2], now.date()
    sent = {each.line.sequence for each in assessment.lines}
    wanted = _asked_for(parts, prior)
    for place, each in enumerate(assessment.lines):
        asked = each.line
        held = found.get(asked.sequence)
        if asked.cancelled:
            found[asked.sequence] = cancelled_line(held or case_line(each, number="", reference="", as_of=day))
        elif touched(each, held, earlier.get(asked.sequence)):
            line = case_line(
                each,
                number=f"{parts.pas.number_prefix}-{code}-{_suffix(asked, held, prior)}",
                reference=f"P-{code}-{asked.sequence}",
                as_of=day,
                waits_for=late
                or _unanswered(each, wanted)
                or asked_twice(each, assessment.lines[:place])
                or asked_before(each, found, sent)
                or waits_for(parts, each, members, call.caller, day),
            )
            found[asked.sequence] = msgspec.structs.replace(line, former=held.number or held.former if held else "")
    # An update of 2.0.1 names what changes alone; what speaks against all lines speaks against the others too.
    against = failing(assessment.shared, before.shared if before is not None else {})
    for sequence in (found.keys() - sent) if against else ():
        if found[sequence].authorized is not None:
            found[sequence] = reopened_line(found[sequence], against, reference=f"P-{code}-{sequence}")
    return tuple(found.values())  # in the order of the request; what is added comes after


def _asked_for(parts: PriorAuthParts, case: Case) -> Sequence[str]:
    """The facts that a person asked for last, whatever came since."""
    newest = next((each for each in reversed(parts.cases.versions(case.id)) if each.human), None)
    wanted: Sequence[str] = msgspec.json.decode(newest.trace).get("wanted", ()) if newest is not None else ()
    return wanted


def _unanswered(each: Assessed, wanted: Sequence[str]) -> str:
    """What a reviewer asked for is answered before a machine decides, though it could do without."""
    answers = each.judged.view.answers if each.judged is not None else {}
    if all(any(answer.counts for answer in answers.get(fact, ())) for fact in wanted):
        return ""
    return "a reviewer asked for answers that are not there yet: the reviewer's message says for which"


def _suffix(asked: RequestedLine, held: CaseLine | None, prior: Case) -> str:
    """A number is never given twice: after the first one it tells the version."""
    given = held is not None and bool(held.number or held.former)
    return f"{asked.sequence}.{prior.version + 1}" if given else f"{asked.sequence}"


def cancel(parts: PriorAuthParts, call: Call, prior: Case, now: datetime, submission: Submission) -> Writing:
    """P084: everything that was not finally refused is taken back; clock and undelivered notices end (P088)."""
    _check_version(prior, call.request)
    if prior.state is CaseState.CANCELLED:
        text = "the request was cancelled already"
        raise RequestRefused([Issue("P084", "business-rule", text, "Bundle.entry[0].resource")])
    if not same_member(prior, call.request):
        text = "a cancellation is about the member of the request that it cancels"
        raise RequestRefused([Issue("P084", "conflict", text, "Bundle.entry[0].resource.patient")])
    lines = tuple(
        line if line.action is ReviewAction.NOT_CERTIFIED else cancelled_line(line) for line in prior.summary.lines
    )
    summary = msgspec.structs.replace(prior.summary, lines=lines, wanted=(), context="", note="")
    case = msgspec.structs.replace(
        prior, state=CaseState.CANCELLED, summary=summary, version=prior.version + 1, due=None, decided=now
    )
    guideline = guideline_of(parts, None, now.date())
    return Writing(
        case=case,
        before=prior,
        request=call.request,
        kind="cancel",
        at=now,
        actor=call.caller.client.id,
        role="client",
        action="cancel",
        trace=trace_of(b"null", lines, {}, ()),
        policy=(guideline.id, guideline.version, guideline.digest),
        body=call.body,
        submission=msgspec.structs.replace(submission, case_id=case.id, n=case.version),
        whole_cancelled=True,
        events=(CaseEvent(now, "cancelled", call.caller.client.id),),
        exchange=exchange_of(parts, call, now),
    )


def last_request(parts: PriorAuthParts, case: Case) -> PasRequest | None:
    """The newest request of a case, read again."""
    for version in reversed(parts.cases.versions(case.id)):
        if version.request is not None and version.kind != "cancel":
            raw = parse(version.request, max_bytes=parts.max_bytes)
            return read_request(read_bundle(raw), case.summary.version)
    return None

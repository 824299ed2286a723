"""What a version by a request writes, beside the case itself."""

from __future__ import annotations

import msgspec

from cds_service.domain.prior_auth import Case, CaseEvent, Submission
from cds_service.fhir.pas.request import changes_lines
from cds_service.fhir.pas.response import ResponseError
from cds_service.use_cases.case_composing import Composed, exchange_of, guideline_of, labels_of
from cds_service.use_cases.case_writing import Writing, trace_of
from cds_service.use_cases.prior_auth_context import context_of
from cds_service.use_cases.prior_auth_parts import Call, PriorAuthParts


class Stands(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of version it is. ``others``: versions of other cases of the member that were looked at."""

    kind: str
    error: ResponseError | None = None
    events: tuple[CaseEvent, ...] = ()
    partial: bool = False
    others: int | None = None


def written(parts: PriorAuthParts, made: Composed, case: Case, stands: Stands) -> Writing:
    """Everything of a version that a request makes."""
    call, now, assessment = made.call, made.now, made.assessment
    conditions = {each.line.sequence: dict(each.conditions) for each in assessment.lines}
    guideline = guideline_of(parts, assessment, now.date())
    wanted = case.summary.wanted
    asks = bool(wanted) and stands.error is None
    return Writing(
        case=case,
        before=made.prior,
        request=call.request,
        kind=stands.kind,
        at=now,
        actor=call.caller.client.id,
        role="client",
        action="submit" if made.prior is None else "update",
        trace=trace_of(assessment.document, case.summary.lines, conditions, wanted),
        policy=(guideline.id, guideline.version, guideline.digest),
        body=call.body,
        submission=submission_of(parts, call, case),
        wanted=labels_of(guideline, wanted),
        error=stands.error,
        deliver=stands.error is None,
        partial=stands.partial,
        events=stands.events,
        others=stands.others,
        context=context_of(case, assessment, call.request, parts.key, now.date()) if asks else None,
        exchange=exchange_of(parts, call, now),
    )


def submission_of(parts: PriorAuthParts, call: Call, case: Case) -> Submission:
    """That this Bundle is answered by this version. An update may bear an identifier that was used before."""
    identifier = call.request.identifier
    changes = changes_lines(call.request.bundle)
    taken = changes and parts.cases.submission(call.caller.client.id, identifier) is not None
    key = key_of_update(identifier, call.digest) if taken else identifier
    return Submission(call.caller.client.id, key, call.digest, case.id, case.version)


def key_of_update(identifier: str, digest: str) -> str:
    """Senders repeat the identifier of the request in its updates: those are told apart by their content."""
    return f"{identifier}#{digest[:32]}"

"""What an update of a request may change, line by line (PAS rows P080-P087)."""

from __future__ import annotations

from collections.abc import Mapping

from cds_service.domain.prior_auth import Case, CaseLine, ReviewAction
from cds_service.fhir.pas.gate_claim import CLAIM
from cds_service.fhir.pas.issues import Issue
from cds_service.fhir.pas.request import PasRequest, RequestedLine
from cds_service.use_cases.judge_request import Assessed, Assessment


def update_issues(case: Case, request: PasRequest, before: PasRequest | None) -> list[Issue]:
    """What is wrong with an update. ``before``: the request that it changes, None where none is kept."""
    lines = {line.sequence: line for line in case.summary.lines}
    found: list[Issue] = []
    if not same_member(case, request):
        text = "an update is about the member of the request that it changes; for another one send a new request"
        found.append(Issue("P080", "conflict", text, f"{CLAIM}.patient"))
    whole = request.version != "2.0.1"
    sent = {line.sequence for line in request.lines}
    if whole and request.kind == "update":
        missing = sorted(lines.keys() - sent)
        if missing:
            text = "an update holds every earlier item with its sequence; some are not there"
            found.append(Issue("P081", "required", text, f"{CLAIM}.item"))
        if before is not None and not before.sequences <= request.sequences:
            text = "an update holds every earlier supportingInfo with its sequence; some are not there"
            found.append(Issue("P081", "required", text, f"{CLAIM}.supportingInfo"))
    for number, asked in enumerate(request.lines):
        earlier = lines.get(asked.sequence)
        if earlier is not None:
            found += _line(asked, earlier, f"{CLAIM}.item[{number}]")
        elif asked.changed == "changed" and not asked.cancelled:
            continue  # spec-72 says changed for added lines, the code system says added: both are taken (P082)
    return found


def same_member(case: Case, request: PasRequest) -> bool:
    """Whether a request is about the member of a case, by number and, where both are known, date of birth."""
    born = (case.summary.birth_date, request.birth_date)
    return (not case.member_id or case.member_id in request.members) and (not all(born) or born[0] == born[1])


def _line(asked: RequestedLine, earlier: CaseLine, where: str) -> list[Issue]:
    if earlier.action is ReviewAction.NOT_CERTIFIED and (asked.changed or asked.cancelled or _other(asked, earlier)):
        text = "this line was not certified and cannot be updated: send a new request, or an appeal"
        return [Issue("P085", "business-rule", text, where)]
    if _other(asked, earlier) and not asked.changed and not asked.cancelled:
        text = "this sequence stood for another service: sequences are not used again, and changes say so (infoChanged)"
        return [Issue("P081", "business-rule", text, f"{where}.sequence")]
    return []


def _other(asked: RequestedLine, earlier: CaseLine) -> bool:
    return (asked.system, asked.code) != (earlier.system, earlier.code)


def version_issue(case: Case, request: PasRequest) -> Issue | None:
    """What is wrong with the base that a change was sent to; None where it is that of the request.

    The versions are not compatible (P006): a whole update of the one is half an update of the other.
    """
    version = case.summary.version
    if request.version == version:
        return None
    text = (
        f"the request came by the base of PAS {version}, and so do its updates and its cancellation; to go on by this "
        "base cancel it there and send a new request"
    )
    return Issue("P006", "business-rule", text, CLAIM)


def touched(asked: Assessed, earlier: CaseLine | None, before: Assessed | None) -> bool:
    """Whether a line is to be judged anew.

    It is new, changed, or still waits; or it was granted, and its order is another one now, or something speaks against
    it that did not do so in the request ``before``. What only time has changed touches nothing.
    """
    line = asked.line
    if earlier is None or earlier.action is ReviewAction.PENDED or line.changed:
        return True
    if earlier.action in {ReviewAction.NOT_CERTIFIED, ReviewAction.CANCELLED}:
        return False
    if before is None:
        return not asked.approvable
    return (
        line.raw != before.line.raw or asked.order != before.order or bool(failing(asked.conditions, before.conditions))
    )


def failing(now: Mapping[str, bool], before: Mapping[str, bool]) -> tuple[str, ...]:
    """The conditions that do not hold now, and did before."""
    return tuple(name for name, holds in now.items() if not holds and before.get(name, True))


def by_sequence(assessment: Assessment | None) -> Mapping[int, Assessed]:
    """The lines of a judged request by sequence."""
    return {each.line.sequence: each for each in assessment.lines} if assessment is not None else {}

"""What is known of a request that was sent: what the payer decided, what it left open, what may come next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from cds_service.errors import CdsServiceError
from cds_service.fhir.json import parse
from smart_app.adapters.payer_client import MAX_BYTES
from smart_app.adapters.submissions import Exchange, Submission
from smart_app.pas.closure import Resource
from smart_app.pas.decision import Decision, LineDecision, Standing, Unreadable, read_decision
from smart_app.pas.matching import bundles_in, claims_named, of_another_person, own_numbers, response_bundle

# The payer has looked at it and not taken it, or not let us in: it is not under way, whatever comes later.
NOT_TAKEN = frozenset({"declined", "refused"})
ENCODE = msgspec.json.Encoder(decimal_format="number").encode
_NOTHING = Decision(identifier="", created="", lines=())


def decision_of(submission: Submission) -> Decision:
    """The newest decision; one without lines where there is none yet. Each line of the request has its line in it."""
    if submission.decision is None:
        return _NOTHING
    try:
        decision = read_decision(read(submission.decision))
    except (Unreadable, CdsServiceError):
        return _NOTHING
    if not decision.lines and submission.exchanges[-1].kind == "cancel" and _settles(submission, decision):
        whole = LineDecision(sequence=0, standing=Standing.CANCELLED, code="")
        return msgspec.structs.replace(decision, lines=(whole,))
    told = {line.sequence for line in decision.lines}
    if not told or told == {0}:
        return decision
    missing = Standing.PENDED if decision.outcome in {"queued", "partial"} else Standing.UNSAID
    silent = (
        LineDecision(sequence=number, standing=missing, code="")
        for number in range(1, len(submission.words) + 1)
        if number not in told
    )
    lines = sorted((*decision.lines, *silent), key=lambda line: (line.sequence == 0, line.sequence))
    return msgspec.structs.replace(decision, lines=tuple(lines))


def _settles(submission: Submission, decision: Decision) -> bool:
    """A whole cancellation is answered without lines (P084)."""
    return (
        submission.exchanges[-1].answer == submission.decision
        and decision.outcome == "complete"
        and not decision.not_taken
    )


def label_of(submission: Submission) -> str:
    """How it stands, in words."""
    if submission.decision is not None:
        return decision_of(submission).label
    return "Not taken by the payer" if submission.exchanges[-1].trouble == "declined" else "No answer yet"


def is_over(submission: Submission) -> bool:
    """Whether it was taken back, sent back or never taken, so that the same orders may be asked for again."""
    if submission.decision is None:
        return submission.exchanges[-1].trouble == "declined"
    decision = decision_of(submission)
    return decision.not_taken or decision.standing is Standing.CANCELLED


def unanswered(submission: Submission) -> bool:
    """Whether nobody knows what became of the last that was sent: it must be sent again before anything else."""
    last = submission.exchanges[-1]
    return last.answer is None and last.trouble not in NOT_TAKEN


def in_force(submission: Submission) -> Exchange | None:
    """The newest exchange that the payer has taken; None: none."""
    return next((each for each in reversed(submission.exchanges) if each.answer is not None), None)


def references_of(submission: Submission) -> list[str]:
    """Numbers under which the payer knows lines, the newest first; later answers need not repeat them."""
    kept = [submission.decision, *(each.answer for each in reversed(submission.exchanges))]
    lines = [line for each in kept if each is not None for line in read_decision(read(each)).lines]
    return list(dict.fromkeys(line.reference for line in lines if line.reference))


def for_the_chart(submission: Submission) -> Resource | None:
    """The ClaimResponse where it holds something that a chart should keep."""
    decision = decision_of(submission)
    decided = {Standing.APPROVED, Standing.MODIFIED, Standing.NOT_CERTIFIED, Standing.CANCELLED}
    if decision.standing is Standing.PENDED or not any(line.standing in decided for line in decision.lines):
        return None
    bundle = read(submission.decision or b"{}")
    resources = [entry.get("resource") for entry in bundle.get("entry") or [] if isinstance(entry, dict)]
    return next(
        (each for each in resources if isinstance(each, dict) and each.get("resourceType") == "ClaimResponse"), None
    )


def read(kept: bytes) -> Resource:
    """A Bundle as it was sent or came."""
    bundle: Resource = parse(kept, max_bytes=MAX_BYTES)
    return bundle


def claim_of(bundle: Mapping[str, Any]) -> str:
    """The identifier of a request's Claim."""
    return str(bundle["entry"][0]["resource"]["identifier"][0]["value"])


def names_of(bundle: Mapping[str, Any]) -> list[str]:
    """Every name by which a payer's answer speaks of the request: its Claim, the payer's numbers."""
    return [*_clear_names(bundle), *own_numbers(bundle)]


def meant_by(bundle: Mapping[str, Any]) -> list[str]:
    """The names that tell which request an answer is about: where it names one, a number of its own does not count."""
    return _clear_names(bundle) or own_numbers(bundle)


def _clear_names(bundle: Mapping[str, Any]) -> list[str]:
    try:
        lines = read_decision(bundle).lines
    except Unreadable:
        return []
    return [*claims_named(bundle), *(f"reference {line.reference}" for line in lines if line.reference)]


def answer_to(request: Resource, body: Any) -> Resource:
    """The answer to this request; of several the one that names it. Raises Unreadable."""
    found = [each for each in bundles_in(body) if claim_of(request) in claims_named(each)]
    response = found[0] if len(found) == 1 else response_bundle(body)
    read_decision(response)
    if of_another_person(response, request):
        raise Unreadable("the answer is about another person")
    return response


def settled(submission: Submission, bundle: Resource, now: datetime) -> dict[str, Any]:
    """The last exchange answered, where its answer was lost and this one names its Claim."""
    last = submission.exchanges[-1]
    if last.answer is not None or claim_of(read(last.request)) not in claims_named(bundle):
        return {}
    done = msgspec.structs.replace(last, answer=ENCODE(bundle), answered=now, trouble="", said=())
    return {"exchanges": (*submission.exchanges[:-1], done)}


def with_requests(bundle: Resource, current: Resource) -> Resource:
    """An inquiry's answer does not tell what the payer asks for: while it waits, what it asked for before stands."""
    said = read_decision(bundle)
    if said.wanted or said.standing is not Standing.PENDED:
        return bundle
    kinds = {"CommunicationRequest", "Task"}
    asked = [each for each in current.get("entry") or [] if each["resource"].get("resourceType") in kinds]
    return {**bundle, "entry": [*bundle["entry"], *asked]}


def edition_of(form: Mapping[str, Any]) -> tuple[str, str, str]:
    """By which one version of a form differs from another."""
    meta = form.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else ""
    return str(version or ""), str(form.get("authored", "")), str(form.get("status", ""))


def is_about(bundle: Mapping[str, Any], submission: Submission) -> bool:
    """Whether a response is to this request, or to an earlier form of it."""
    requests = [read(each.request) for each in submission.exchanges]
    ours = {claim_of(each) for each in requests}
    ours |= set(names_of(read(submission.decision))) if submission.decision else set()
    return bool(ours & set(meant_by(bundle))) and not of_another_person(bundle, requests[0])

"""One new version of a case, whoever makes it: response bytes, trace, numbers, deliveries, log and audit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from cds_service.domain.authorization import Authorization
from cds_service.domain.prior_auth import (
    FINAL,
    AuditEntry,
    Case,
    CaseEvent,
    CaseLine,
    CaseState,
    LineKind,
    Number,
    ReviewAction,
    Reviewer,
    Submission,
    Version,
)
from cds_service.fhir.pas.request import PasRequest
from cds_service.fhir.pas.response import ResponseError, Said, build_response, instant
from cds_service.ports import NewId
from cds_service.prior_auth_ports import CaseChange, Exchange, Notice, OutboxEntry

_ENCODE: Final = msgspec.json.Encoder(order="sorted").encode
_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SOURCE: Final = "pas"  # of our own authorizations on file
NO_DRUG: Final = "no drug"  # as the route of a service or device: without drugs an entry would speak of every drug

Destinations = Callable[[str], Sequence[str]]  # program -> names of payer endpoints


class Writing(msgspec.Struct, frozen=True, kw_only=True):
    """What a new version is made of. ``case`` is the case as it will stand, with ``version`` counted on already."""

    case: Case
    before: Case | None
    request: PasRequest
    kind: str
    at: datetime
    actor: str
    role: str
    action: str  # of the audit entry
    trace: dict[str, Any]
    policy: tuple[str, str, str]  # id, version, digest of what decided
    body: bytes | None = None  # the request, where one made this version
    submission: Submission | None = None
    reviewer: Reviewer | None = None
    note: str = ""
    wanted: tuple[str, ...] = ()  # texts
    error: ResponseError | None = None
    whole_cancelled: bool = False
    partial: bool = False
    deliver: bool = True
    notify: bool = False
    events: tuple[CaseEvent, ...] = ()
    others: int | None = None
    context: tuple[str, bytes] | None = None
    exchange: Callable[[Case], Exchange] | None = None
    audit: dict[str, str | int | bool | None] = {}


def code_of(ident: str) -> str:
    """Ten letters and digits out of a random id, none of them easily taken for another."""
    number = int(ident.replace("-", ""), 16)  # its last 50 bits are all random
    found = ""
    for _ in range(10):
        number, rest = divmod(number, 32)
        found = _LETTERS[rest] + found
    return found


def response_of(writing: Writing, ident: str, bundle_ident: str) -> bytes:
    """The response Bundle's bytes."""
    case = writing.case
    return build_response(
        writing.request,
        Said(
            ident=ident,
            bundle_ident=bundle_ident,
            case_id=case.id,
            n=case.version,
            created=writing.at,
            state=case.state,
            lines=case.summary.lines,
            note=writing.note,
            due=case.due,
            wanted=writing.wanted,
            context=case.summary.context,
            reviewer=writing.reviewer,
            error=writing.error,
            whole_cancelled=writing.whole_cancelled,
            partial=writing.partial,
        ),
    )


def change_of(writing: Writing, new_id: NewId, destinations: Destinations, base: str) -> CaseChange:
    """Everything to be written in one transaction. ``base``: address of the PAS server of the case's version."""
    case, bundle_ident = writing.case, new_id()
    response = response_of(writing, new_id(), bundle_ident)
    version = Version(
        case_id=case.id,
        n=case.version,
        kind=writing.kind,
        at=writing.at,
        request=writing.body,
        request_sha256=sha256(writing.body).hexdigest() if writing.body is not None else "",
        response=response,
        response_sha256=sha256(response).hexdigest(),
        policy_id=writing.policy[0],
        policy_version=writing.policy[1],
        policy_digest=writing.policy[2],
        trace=_ENCODE(writing.trace),
        actor=writing.actor,
        human=writing.reviewer is not None,
    )
    return CaseChange(
        case=case,
        expected=writing.before.version if writing.before else 0,
        version=version,
        submission=writing.submission,
        numbers=_numbers(writing),
        outbox=_deliveries(writing, destinations),
        notice=_notice(writing, base, bundle_ident) if writing.notify else None,
        drop_outbox="cancelled" if case.state is CaseState.CANCELLED else "",
        audit=(_audit(writing, version),),
        events=(*writing.events, *line_events(writing)),
        authorizations=tuple(_on_file(writing)),
        others=writing.others,
        context=writing.context,
        policy_digest=writing.policy[2],
        exchange=writing.exchange(case) if writing.exchange is not None else None,
    )


def _numbers(writing: Writing) -> tuple[Number, ...]:
    case = writing.case
    found = [Number(case.tracking_number, "trace", 0)]
    found += [Number(identifier, "claim", 0) for identifier in writing.request.claim_identifiers]
    for line in case.summary.lines:
        if line.number:
            found.append(Number(line.number, "authorization", line.sequence))
        if line.reference:
            found.append(Number(line.reference, "reference", line.sequence))
    return tuple(dict.fromkeys(found))


def _deliveries(writing: Writing, destinations: Destinations) -> tuple[OutboxEntry, ...]:
    if not writing.deliver:
        return ()
    case = writing.case
    return tuple(
        OutboxEntry("payer", name, case.version, case.version, f"{name}:{case.id}.{case.version}")
        for name in destinations(case.program)
    )


def _notice(writing: Writing, base: str, bundle_ident: str) -> Notice:
    case = writing.case
    organizations = dict.fromkeys((case.provider_organization, *writing.request.organizations))
    held = tuple(each for each in organizations if each)
    return Notice(held, base, instant(writing.at), f"{base}/Bundle/{bundle_ident}")


def _audit(writing: Writing, version: Version) -> AuditEntry:
    detail: dict[str, str | int | bool | None] = {
        "n": version.n,
        "request": version.request_sha256,
        "response": version.response_sha256,
        "policy": version.policy_digest,
        "human": version.human,
        **writing.audit,
    }
    return AuditEntry(writing.at, writing.actor, writing.role, writing.action, f"case/{writing.case.id}", detail)


def line_events(writing: Writing) -> tuple[CaseEvent, ...]:
    """What this version settled of each line, and whether anything waits now."""
    before = {line.sequence: line for line in writing.before.summary.lines} if writing.before else {}
    machine = writing.reviewer is None
    found = []
    for line in writing.case.summary.lines:
        earlier = before.get(line.sequence)
        settled = line.action in FINAL or line.action is ReviewAction.CANCELLED
        if not settled or (earlier is not None and earlier.action is line.action and earlier.number == line.number):
            continue
        detail: dict[str, str | int | bool | None] = {
            "sequence": line.sequence,
            "kind": line.kind.value,
            "drug": line.kind is LineKind.DRUG,
            "action": line.action.value,
            "machine": machine,
        }
        found.append(CaseEvent(writing.at, "line_decided", writing.actor, detail))
    waiting = sum(line.action is ReviewAction.PENDED for line in writing.case.summary.lines)
    if waiting:
        found.append(CaseEvent(writing.at, "pended", writing.actor, {"lines": waiting}))
    elif writing.case.state is CaseState.DECIDED:
        found.append(CaseEvent(writing.at, "decided", writing.actor, {"machine": machine}))
    return tuple(found)


def _on_file(writing: Writing) -> list[Authorization]:
    """What order-sign finds from now on: granted, pending, or gone (decisions 4)."""
    case = writing.case
    if writing.error is not None or not case.member_id:
        return []
    before = {line.sequence: line for line in writing.before.summary.lines} if writing.before else {}
    found: dict[str, Authorization] = {}
    for line in case.summary.lines:
        earlier = before.get(line.sequence)
        decided = line.action is not ReviewAction.PENDED
        for held in (earlier, line):
            if held is None:
                continue
            for number in (held.number, held.former):
                if number and number != line.number and decided:
                    found[number] = _entry(case, held, number, "revoked")
            if held.reference and decided:
                found[held.reference] = _entry(case, held, held.reference, "revoked")
        if line.number and line.action in {ReviewAction.APPROVED, ReviewAction.MODIFIED}:
            found[line.number] = _entry(case, line, line.number, "active")
        elif line.reference and not decided:
            found[line.reference] = _entry(case, line, line.reference, "pending")
    return list(found.values())


def _entry(case: Case, line: CaseLine, number: str, status: str) -> Authorization:
    granted = line.authorized
    start = granted.start if granted is not None else case.received.date()
    return Authorization(
        number=number,
        member_id=case.member_id,
        status=status,
        drugs=line.drugs,
        route=line.route if line.drugs else NO_DRUG,
        start=start,
        end=granted.end if granted is not None else None,
        max_daily={drug: f"{amount} mg/d" for drug, amount in granted.daily.items()} if granted is not None else {},
        codes=(line.code,) if line.code and line.kind is not LineKind.DRUG else (),
        billing=(line.code,) if line.code else (),
        quantity=f"{granted.quantity} billing units" if granted is not None and granted.quantity else "",
        due=case.due.isoformat() if case.due is not None and status == "pending" else "",
        source=SOURCE,
    )


def state_of(lines: Sequence[CaseLine]) -> CaseState:
    """The state of a case by its lines."""
    if any(line.action is ReviewAction.PENDED for line in lines):
        return CaseState.PENDED
    if lines and all(line.action is ReviewAction.CANCELLED for line in lines):
        return CaseState.CANCELLED
    return CaseState.DECIDED


def trace_of(
    document: bytes, lines: Sequence[CaseLine], conditions: dict[int, dict[str, bool]], wanted: Sequence[str]
) -> dict[str, Any]:
    """What the decision rests on, to be read by people and by a replay."""
    return {
        "determination": msgspec.Raw(document),
        "lines": [
            {
                "sequence": line.sequence,
                "kind": line.kind.value,
                "order": line.order,
                "action": line.action.value,
                "machine": not line.by_person,
                "number": line.number,
                "reference": line.reference,
                "reasons": line.reasons,
                "conditions": [
                    {"condition": name, "holds": holds} for name, holds in conditions.get(line.sequence, {}).items()
                ],
            }
            for line in lines
        ],
        "wanted": list(wanted),
    }

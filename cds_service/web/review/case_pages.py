"""One case: everything on a page, the answer as it stands, the letter; and deciding, in two steps.

A decision is looked at as it would be sent (``draft``) and only then sent (``decide``). The form travels with the
draft; the server reads it again, so that what is sent is what was read, by whoever is signed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from cds_service.domain.payer import ReviewRules
from cds_service.domain.prior_auth import (
    AuditEntry,
    Case,
    Extension,
    HumanDecision,
    Reason,
    ReviewAction,
    Version,
)
from cds_service.domain.review import Person, Right
from cds_service.errors import Conflict, NotAllowed, NotFound, RuleBroken
from cds_service.fhir.pas.answer_reading import read_answer
from cds_service.review_ports import Proposal, ReviewReads
from cds_service.use_cases.review_case import CaseView, ReviewCase
from cds_service.use_cases.review_criteria import against
from cds_service.use_cases.review_queue import asked_for
from cds_service.use_cases.review_words import ACTION_WORDS
from cds_service.web.review.decision_form import Filled, FormTrouble, plain_text, read_decision, reviewer_of
from cds_service.web.review.guard import Guard, session_of_request
from cds_service.web.review.pages import Renderer
from cds_service.web.review.sessions import Clock

_NOT_KEPT: Final = frozenset({"form_token", "act", "proposal_at"})
_MAX_FIELDS: Final = 500
_FORM: Final = "102089-0"  # LOINC: a questionnaire is asked for; which questions, the facts say
_BY: Final = {True: "Marked as reviewed by a person.", False: "Marked as not reviewed by a person.", None: ""}


class Settler(Protocol):
    """Decides (``use_cases.settle_prior_auth``)."""

    def draft(self, decision: HumanDecision) -> bytes:
        """The response Bundle as it would be sent. Raises Conflict, RuleBroken."""
        ...

    def settle(self, decision: HumanDecision) -> Version:
        """Decide. Raises Conflict, RuleBroken."""
        ...


class Extender(Protocol):
    """Takes more time (``use_cases.extend_prior_auth``)."""

    def until(self, case: Case) -> datetime | None:
        """The due time that an extension would give; None where the case may not be extended."""
        ...

    def extend(self, extension: Extension) -> Version:
        """Extend. Raises Conflict, RuleBroken."""
        ...


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What the pages of a case need."""

    guard: Guard
    renderer: Renderer
    cases: ReviewCase
    reads: ReviewReads
    settler: Settler
    extender: Extender
    rules: ReviewRules
    clock: Clock
    note: Callable[[AuditEntry], None]
    policy_link: Callable[[str], str]  # address of a guideline's page by its id


class _Signing(msgspec.Struct, frozen=True):
    """What this person may do with this decision: send, propose or nothing; and why, in words."""

    may: str
    why: str = ""
    words: str = "Send this answer"


def add_cases(routes: Blueprint, desk: Desk) -> None:
    """Add the routes to the blueprint of the workplace."""

    @desk.guard.page(routes, "/cases/<case_id>", Right.READ_CASES)
    def case(case_id: str) -> Response:
        return _case_page(desk, case_id)

    @desk.guard.page(routes, "/cases/<case_id>/response", Right.READ_CASES)
    def response(case_id: str) -> Response:
        return _response_page(desk, case_id)

    @desk.guard.page(routes, "/cases/<case_id>/letter", Right.READ_CASES)
    def letter(case_id: str) -> Response:
        return _letter_page(desk, case_id)

    @desk.guard.page(routes, "/cases/<case_id>/draft", Right.WORK, "POST")
    def draft(case_id: str) -> Response:
        return _draft_page(desk, case_id)

    @desk.guard.page(routes, "/cases/<case_id>/decide", Right.WORK, "POST")
    def decide(case_id: str) -> Response:
        return _decide(desk, case_id)

    @desk.guard.page(routes, "/cases/<case_id>/extend", Right.WORK, "POST")
    def extend(case_id: str) -> Response:
        return _extend(desk, case_id)

    @desk.guard.page(routes, "/cases/<case_id>/withdraw", Right.WORK, "POST")
    def withdraw(case_id: str) -> Response:
        desk.reads.withdraw(case_id)
        _write_down(desk, "withdraw", case_id)
        return redirect(f"/review/cases/{case_id}", 303)


def _case_page(
    desk: Desk,
    case_id: str,
    filled: Mapping[str, str] | None = None,
    troubles: tuple[FormTrouble, ...] = (),
    extension_trouble: str = "",
) -> Response:
    person = session_of_request().person
    view = desk.cases.open(case_id, person)
    signing = _signing_proposal(desk, view, person)
    return desk.renderer.page(
        "case",
        here="queue",
        status=422 if troubles or extension_trouble else 200,
        view=view,
        filled=filled or {},
        troubles=troubles,
        extend_until=desk.extender.until(view.case) if desk.guard.may(person, Right.WORK) else None,
        extension_trouble=extension_trouble,
        signers=" or ".join(desk.rules.adverse_signers),
        second_reviewer=desk.rules.second_reviewer,
        may_sign_proposal=signing.may == "send",
        proposal_why=signing.why,
    )


def _draft_page(desk: Desk, case_id: str) -> Response:
    person = session_of_request().person
    view, proposal, filled = _read_form(desk, case_id, person)
    if filled.decision is None:
        return _case_page(desk, case_id, request.form, filled.troubles)
    try:
        bundle = desk.settler.draft(filled.decision)
    except Conflict:
        return _moved_on(desk, case_id, filled.decision.version_seen)
    except RuleBroken as broken:
        return _case_page(desk, case_id, request.form, (FormTrouble("what", _sentence(broken.diagnostics)),))
    signing = _signing(desk, filled, proposal, person)
    return desk.renderer.page(
        "draft",
        here="queue",
        case=view.case,
        answer=_shown(bundle, view, filled.decision.wanted_facts),
        against=_against(view, filled.decision, proposal.form if proposal else request.form),
        filled=_kept(),
        may=signing.may,
        why=signing.why,
        send_words=signing.words,
        proposal=proposal,
    )


def _against(view: CaseView, decision: HumanDecision, form: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is decided against the engine's own finding, and what the form says of it."""
    return [
        {"sequence": sequence, "criterion": criterion, "despite": form.get(f"despite-{sequence}", "").strip()}
        for sequence, criterion in against(view.findings, decision)
    ]


def _decide(desk: Desk, case_id: str) -> Response:
    person = session_of_request().person
    _, proposal, filled = _read_form(desk, case_id, person)
    if filled.decision is None:
        return _case_page(desk, case_id, request.form, filled.troubles)
    if proposal and request.form.get("proposal_at") != proposal.at.isoformat():
        return _moved_on(desk, case_id, filled.decision.version_seen)  # another proposal than the one looked at
    signing = _signing(desk, filled, proposal, person)
    if request.form.get("act") == "propose" and signing.may == "propose":
        return _propose(desk, case_id, filled.decision, person)
    if request.form.get("act") != "send" or signing.may != "send":
        raise NotAllowed(signing.why or "this decision cannot be sent by you")
    try:
        desk.settler.settle(filled.decision)
    except Conflict:
        return _moved_on(desk, case_id, filled.decision.version_seen)
    except RuleBroken as broken:
        return _case_page(desk, case_id, request.form, (FormTrouble("what", _sentence(broken.diagnostics)),))
    desk.reads.withdraw(case_id)
    return redirect(f"/review/cases/{case_id}", 303)


def _extend(desk: Desk, case_id: str) -> Response:
    person = session_of_request().person
    seen = request.form.get("version", "")
    n = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else 0
    reason = plain_text(request.form.get("extension", ""))
    try:
        desk.extender.extend(Extension(case_id, n, reviewer_of(person), reason))
    except Conflict:
        return _moved_on(desk, case_id, n)
    except RuleBroken as broken:
        return _case_page(desk, case_id, request.form, extension_trouble=f"{_sentence(broken.diagnostics)}.")
    return redirect(f"/review/cases/{case_id}", 303)


def _read_form(desk: Desk, case_id: str, person: Person) -> tuple[CaseView, Proposal | None, Filled]:
    """The decision of the form. Of a proposal by another signer both sign: its author decides, this person seconds."""
    if len(request.form) > _MAX_FIELDS:
        raise NotAllowed("the form holds more than a case has lines for")
    view = desk.cases.view(case_id)
    proposal = view.proposal if request.form.get("proposed") == "yes" else None
    if proposal is None:
        facts = tuple(request.form.getlist("facts"))
        return view, None, read_decision(request.form, facts, view.case, person, met=view.met)
    form, facts = proposal.form, tuple(proposal.form.get("facts", "").split())
    first, second = person, None
    if (
        desk.rules.second_reviewer
        and proposal.author.id != person.id
        and desk.guard.may(proposal.author, Right.SIGN_ADVERSE)
    ):
        first, second = proposal.author, person
    return view, proposal, read_decision(form, facts, view.case, first, second, view.met)


def _signing(desk: Desk, filled: Filled, proposal: Proposal | None, person: Person) -> _Signing:
    if not filled.adverse:
        return _Signing("send")
    signers = " or ".join(desk.rules.adverse_signers)
    if not desk.guard.may(person, Right.SIGN_ADVERSE):
        return _Signing("propose", f"An answer that gives less than was asked for is signed by a {signers}.")
    if not desk.rules.second_reviewer:
        return _Signing("send", words="Sign and send this answer")
    return _second_signing(desk, proposal, person)


def _second_signing(desk: Desk, proposal: Proposal | None, person: Person) -> _Signing:
    """Where two must sign: the first one proposes, another one sends."""
    if proposal is None:
        return _Signing("propose", "This payer wants two signers: you sign first, another one after you.")
    if proposal.author.id == person.id:
        return _Signing("nothing", "You proposed this: another signer must look at it.")
    if not desk.guard.may(proposal.author, Right.SIGN_ADVERSE):
        said = "This payer wants two signers: make the proposal yours, another one signs after you."
        return _Signing("propose", said)
    return _Signing("send", words="Sign as the second and send this answer")


def _signing_proposal(desk: Desk, view: CaseView, person: Person) -> _Signing:
    """Whether this person may look at the waiting proposal in order to sign it."""
    if view.proposal is None:
        return _Signing("nothing")
    if not desk.guard.may(person, Right.SIGN_ADVERSE):
        return _Signing("nothing", f"It waits for a {' or '.join(desk.rules.adverse_signers)}.")
    if view.proposal.author.id == person.id and desk.rules.second_reviewer:
        return _Signing("nothing", "It waits for another signer than you.")
    return _Signing("send")


def _propose(desk: Desk, case_id: str, decision: HumanDecision, person: Person) -> Response:
    form = {name: value for name, value in _kept() if name != "proposed"} | {"facts": " ".join(decision.wanted_facts)}
    desk.reads.propose(
        Proposal(case_id=case_id, version_seen=decision.version_seen, form=form, author=person, at=desk.clock.now())
    )
    _write_down(desk, "propose", case_id)
    return redirect(f"/review/cases/{case_id}", 303)


def _kept() -> list[tuple[str, str]]:
    """The fields of the form that make the decision."""
    held = request.form.items(multi=True)
    return [(name, plain_text(value)) for name, value in held if name not in _NOT_KEPT and name.isprintable()]


def _moved_on(desk: Desk, case_id: str, seen: int) -> Response:
    view = desk.cases.view(case_id)
    made = [each for each in view.history if each.n > seen]
    return desk.renderer.page(
        "moved_on", here="queue", status=409, case=view.case, seen=seen, last=made[0] if made else None
    )


def _response_page(desk: Desk, case_id: str) -> Response:
    person = session_of_request().person
    view = desk.cases.view(case_id)
    asked = request.args.get("version", "")
    n = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else view.case.version
    version = desk.cases.response(case_id, n, person)
    wanted = view.case.summary.wanted if n == view.case.version else ()
    return desk.renderer.page(
        "response", here="queue", case=view.case, version=version, answer=_shown(version.response, view, wanted)
    )


def _letter_page(desk: Desk, case_id: str) -> Response:
    person = session_of_request().person
    view = desk.cases.view(case_id)
    if not view.has_letter:
        raise NotFound("there is no letter before a decision")
    desk.cases.note(person, "read_letter", case_id, view.case.version)
    lines = [_letter_line(line, view) for line in view.case.summary.lines]
    adverse = any(line["adverse"] for line in lines)
    decided = view.version.human
    return desk.renderer.page(
        "letter",
        case=view.case,
        lines=lines,
        adverse=adverse,
        title="Decision on your request" if not adverse else "Decision on your request, and how to appeal",
        asked=asked_for(view.case.summary.lines),
        date=(view.case.decided or view.version.at).date().isoformat(),
        decided_by="A person reviewed this request and decided." if decided else "",
        address=desk.rules.address,
        appeal=desk.rules.appeal,
        policy_link=desk.policy_link(view.version.policy_id),
    )


def _letter_line(line: Any, view: CaseView) -> dict[str, Any]:
    return {
        "text": line.text or line.kind.value,
        "words": ACTION_WORDS[line.action],
        "number": line.number,
        "authorized": line.authorized,
        "adverse": line.action in {ReviewAction.NOT_CERTIFIED, ReviewAction.MODIFIED},
        "reasons": [
            {"text": reason.text, "basis": _basis(reason, view)}
            for reason in line.reasons
            if line.action is not ReviewAction.APPROVED
        ],
    }


def _basis(reason: Reason, view: CaseView) -> str:
    if reason.criterion:
        name, text = view.named.get(reason.criterion, (reason.criterion, ""))
        return f"Criterion {name} of {view.policy}: {text}"
    return f"Based on: {reason.provision}" if reason.provision else ""


def _shown(bundle: bytes, view: CaseView, wanted: Sequence[str]) -> dict[str, Any]:
    """An answer as the pages show it. ``wanted``: the facts that it asks for."""
    read = read_answer(bundle)
    names = {action.value: action for action in ReviewAction}
    questions = {fact.name: fact.text for fact in view.facts}
    return {
        "lines": [
            {
                "sequence": line.sequence,
                "name": names[line.action].name.lower() if line.action in names else "none",
                "words": ACTION_WORDS[names[line.action]] if line.action in names else line.action,
                "number": line.number,
                "start": line.start,
                "end": line.end,
                "notes": line.notes,
            }
            for line in read.lines
        ],
        "disposition": read.disposition,
        "notes": read.notes,
        "wanted": [questions.get(each, each) for each in wanted] or [each for each in read.wanted if each != _FORM],
        "by": _BY[read.by_person],
        "json": read.json,
    }


def _write_down(desk: Desk, action: str, case_id: str) -> None:
    person = session_of_request().person
    desk.note(AuditEntry(desk.clock.now(), person.id, person.role.value, action, f"case/{case_id}"))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"

"""A person decides a pended case: what would be sent (``draft``), and the decision itself (``settle``).

What decisions 6 forbids cannot be written: an adverse decision without a specific reason tied to a criterion, a
provision or the prescriber's agreement; one that rests on the dose table alone; less than the current dose without
saying how it comes down; one signed by somebody who may not sign it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

import msgspec

from cds_service.domain.prior_auth import (
    ADVERSE,
    FINAL,
    Case,
    CaseEvent,
    CaseLine,
    CaseState,
    HumanDecision,
    LineDecision,
    LineKind,
    ReviewAction,
    Version,
)
from cds_service.errors import Conflict, NotAllowed, NotFound, RuleBroken, StoreUnavailable
from cds_service.fhir.json import parse
from cds_service.fhir.pas.bundle import read_bundle
from cds_service.fhir.pas.request import PasRequest, read_request
from cds_service.use_cases.case_writing import Writing, change_of, response_of, state_of
from cds_service.use_cases.judge_request import assess
from cds_service.use_cases.prior_auth_context import context_of
from cds_service.use_cases.prior_auth_parts import PriorAuthParts
from cds_service.use_cases.review_criteria import against, stored_findings

_MAY: Final = frozenset({ReviewAction.APPROVED, ReviewAction.PENDED, *ADVERSE})
_LEAST_REASON: Final = 20  # characters: a specific reason is a sentence
_TABLE: Final = re.compile(  # the guideline's dose table by whatever name; it is informational
    r"(the )?(guideline'?s?[ _]|informational[ _])*"
    r"(dos(e|age|ing)[ _]?(table|limits?)|dosage\s*(/|and)\s*administration([ _]table)?)",
    re.IGNORECASE,
)
AGREEMENT: Final = "prescriber agreement"  # as a provision: the prescriber agreed to the change


class SettlePriorAuth:
    """The use case. Thread-safe: nothing of a decision is kept on it."""

    def __init__(self, parts: PriorAuthParts) -> None:
        self._parts = parts
        self._rules = parts.rules
        self._cases = parts.cases

    def draft(self, decision: HumanDecision) -> bytes:
        """The response Bundle as it would be sent; writes nothing.

        Refuses what ``settle`` refuses, but for who signs: whoever may propose a decision may look at it.
        """
        writing = self._writing(decision, self._parts.clock.now())
        return response_of(writing, self._parts.new_id(), self._parts.new_id())

    def settle(self, decision: HumanDecision) -> Version:
        """Write the decision: version, response bytes, audit, event, deliveries and notices in one transaction.

        Raises:
            NotFound: there is no such case.
            Conflict: the case is not at ``version_seen`` any more, or is not pended (cancelled: P088).
            RuleBroken: what decisions 6 forbids; ``expression`` names the line, e.g. ``items[0].reason``.
            NotAllowed: this person may not sign it alone.
        """
        self._check_signers(decision)
        writing = self._writing(decision, self._parts.clock.now())
        base = self._parts.base(writing.case.summary.version)
        change = change_of(writing, self._parts.new_id, self._parts.destinations, base)
        if self._cases.commit(change).state != "done":
            raise Conflict("the case has changed meanwhile: look at it again")
        return change.version

    def _writing(self, decision: HumanDecision, now: datetime) -> Writing:
        case = self._cases.case(decision.case_id)
        if case is None:
            raise NotFound("no such case")
        if case.state is not CaseState.PENDED:
            raise Conflict(f"the case is {case.state.value}: nothing is to be decided")
        if case.version != decision.version_seen:
            raise Conflict("the case has changed meanwhile: look at it again")
        lines = self._decided(case, decision, now)
        newest, request = self._request(case)
        state = state_of(lines)
        waits = state is CaseState.PENDED
        wanted = decision.wanted_facts if waits else ()
        n = case.version + 1
        summary = msgspec.structs.replace(
            case.summary,
            lines=lines,
            wanted=wanted,
            note=decision.note,
            context=f"{case.tracking_number}.{n}" if wanted else "",
        )
        ends = [line.authorized.end for line in lines if line.authorized is not None]
        after = msgspec.structs.replace(
            case,
            state=state,
            summary=summary,
            version=n,
            due=case.due if waits else None,
            decided=None if waits else now,
            service_end=case.service_end or (datetime.combine(max(ends), now.timetz()) if ends else None),
        )
        context = None
        if wanted:
            judged = assess(self._rules, self._parts.pas, request, now.date())
            context = context_of(after, judged, request, self._parts.key, now.date(), wanted)
        reviewer = decision.reviewer
        events = [CaseEvent(now, "information_wanted", reviewer.id, {"facts": len(wanted)})] if wanted else []
        return Writing(
            case=after,
            before=case,
            request=request,
            kind="information" if wanted and not any(each.action in FINAL for each in decision.items) else "decision",
            at=now,
            actor=reviewer.id,
            role=reviewer.role,
            action="ask for more" if wanted else "decide",
            trace=_trace(newest, lines, wanted),
            policy=(newest.policy_id, newest.policy_version, newest.policy_digest),
            reviewer=reviewer,
            note=decision.note,
            wanted=self._labels(wanted),
            notify=True,
            events=tuple(events),
            context=context,
            audit={
                "lines": ", ".join(f"{each.sequence}:{each.action.value}" for each in decision.items),
                "seconded_by": decision.seconded_by.id if decision.seconded_by else None,
                **_against(newest, case, decision),
            },
        )

    def _check_signers(self, decision: HumanDecision) -> None:
        """A3 and A6 are adverse: who may sign them, and whether two must, is the payer's rule."""
        if not any(each.action in ADVERSE for each in decision.items):
            return
        review = self._rules.payer.review
        signers = [decision.reviewer, *([decision.seconded_by] if decision.seconded_by else [])]
        if not any(each.role in review.adverse_signers for each in signers):
            allowed = " or ".join(review.adverse_signers)
            raise NotAllowed(f"what is not, or not fully, certified is signed by a {allowed}")
        if review.second_reviewer and (decision.seconded_by is None or decision.seconded_by.id == decision.reviewer.id):
            raise NotAllowed("what is not, or not fully, certified needs a second reviewer")

    def _decided(self, case: Case, decision: HumanDecision, now: datetime) -> tuple[CaseLine, ...]:
        held = {line.sequence: line for line in case.summary.lines}
        settled = dict(held)
        for number, each in enumerate(decision.items):
            where = f"items[{number}]"
            line = held.get(each.sequence)
            if line is None or line.action is not ReviewAction.PENDED:
                raise RuleBroken("this line does not wait for a decision", expression=f"{where}.sequence")
            _check(line, each, where)
            self._check_criterion(case, each, where)
            if each.reason is not None and each.reason.code and not self._parts.knows_reason(each.reason.code):
                raise RuleBroken("the licensed list of reasons has no such code", expression=f"{where}.reason.code")
            settled[each.sequence] = self._line(case, line, each, now)
        if len({each.sequence for each in decision.items}) != len(decision.items):
            raise RuleBroken("a line is decided once", expression="items")
        if not decision.items and not decision.wanted_facts:
            raise RuleBroken("nothing is decided and nothing is asked for", expression="items")
        self._check_facts(decision.wanted_facts)
        if decision.wanted_facts and not any(line.action is ReviewAction.PENDED for line in settled.values()):
            raise RuleBroken("more is asked for, but no line waits for it", expression="wanted_facts")
        return tuple(settled.values())  # in the order of the request

    def _line(self, case: Case, line: CaseLine, decision: LineDecision, now: datetime) -> CaseLine:
        action = decision.action
        granted = action in {ReviewAction.APPROVED, ReviewAction.MODIFIED}
        code = case.tracking_number.partition("-")[2]
        suffix = f"{line.sequence}" if not (line.number or line.former) else f"{line.sequence}.{case.version + 1}"
        reasons = (decision.reason,) if decision.reason is not None else ()
        authorized = decision.authorized if granted else None
        if authorized is not None and not authorized.daily and line.kind is LineKind.DRUG:
            authorized = msgspec.structs.replace(authorized, daily=line.daily)
        return msgspec.structs.replace(
            line,
            action=action,
            number=f"{self._parts.pas.number_prefix}-{code}-{suffix}" if granted else "",
            reasons=reasons or (() if granted else line.reasons),
            authorized=authorized,
            issued=now.date() if granted else None,
            by_person=action in FINAL,
        )

    def _check_criterion(self, case: Case, decision: LineDecision, where: str) -> None:
        """An adverse reason is tied to a criterion that there is, or was when the request was judged."""
        named = decision.reason.criterion.strip() if decision.reason is not None else ""
        if decision.action not in ADVERSE or not named:
            return
        known = {name for each in self._rules.guidelines for name in each.guideline.criteria}
        judged_by = {reason.criterion for line in case.summary.lines for reason in line.reasons}
        if named not in known | judged_by:
            raise RuleBroken("the guideline has no such criterion", expression=f"{where}.reason.criterion")

    def _check_facts(self, wanted: Sequence[str]) -> None:
        known = {name for each in self._rules.guidelines for name in each.guideline.facts}
        if not set(wanted) <= known:
            raise RuleBroken("a wanted fact is not a question of the guideline", expression="wanted_facts")

    def _labels(self, wanted: Sequence[str]) -> tuple[str, ...]:
        facts = {name: fact.label for each in self._rules.guidelines for name, fact in each.guideline.facts.items()}
        return tuple(facts.get(name, name) for name in wanted)

    def _request(self, case: Case) -> tuple[Version, PasRequest]:
        """The newest version, and the newest request, read again."""
        versions = self._cases.versions(case.id)
        for version in reversed(versions):
            if version.request is not None:
                raw = parse(version.request, max_bytes=len(version.request))
                return versions[-1], read_request(read_bundle(raw), case.summary.version)
        raise StoreUnavailable("the request of this case could not be read; try again", reason="other")


def _against(newest: Version, case: Case, decision: HumanDecision) -> dict[str, str]:
    """For the audit log: lines that get less on a criterion that the engine shows as met."""
    found = against(stored_findings(newest.trace, case.summary.lines, None), decision)
    return {"against_met": ", ".join(f"{sequence}:{criterion.id}" for sequence, criterion in found)} if found else {}


def _check(line: CaseLine, decision: LineDecision, where: str) -> None:
    """What decisions 6 forbids."""
    action, authorized = decision.action, decision.authorized
    if action not in _MAY:
        raise RuleBroken("a reviewer decides A1, A3, A4 or A6", expression=f"{where}.action")
    if action in {ReviewAction.APPROVED, ReviewAction.MODIFIED}:
        if authorized is None:
            raise RuleBroken("an authorization needs its first and last day", expression=f"{where}.authorized")
        if authorized.end < authorized.start:
            raise RuleBroken("the last day is not before the first", expression=f"{where}.authorized.end")
    elif authorized is not None:
        raise RuleBroken("nothing is authorized by this decision", expression=f"{where}.authorized")
    if action in ADVERSE:
        _check_reason(decision, where)
    if action is ReviewAction.APPROVED and authorized is not None:
        _check_whole(line, authorized.daily, where)
    if action is ReviewAction.MODIFIED and authorized is not None:
        _check_modified(line, authorized.daily, authorized.taper, where)


def _check_reason(decision: LineDecision, where: str) -> None:
    reason = decision.reason
    if reason is None or len(reason.text.strip()) < _LEAST_REASON:
        raise RuleBroken("a specific reason in words is needed", expression=f"{where}.reason.text")
    if not (reason.criterion.strip() or reason.provision.strip()):
        text = "the reason names a criterion, a contract or label provision, or the prescriber's agreement"
        raise RuleBroken(text, expression=f"{where}.reason")
    grounds = [each for each in (reason.criterion.strip(), reason.provision.strip()) if each]
    if all(_TABLE.fullmatch(each) for each in grounds):
        raise RuleBroken("the dose table is informational: it is no ground by itself", expression=f"{where}.reason")


def _amounts(daily: Mapping[str, str], where: str) -> dict[str, Fraction]:
    try:
        found = {name: Fraction(amount) for name, amount in daily.items()}
    except (ValueError, ZeroDivisionError):
        raise RuleBroken(
            "an amount is a decimal number of mg per day", expression=f"{where}.authorized.daily"
        ) from None
    if any(amount < 0 for amount in found.values()):
        raise RuleBroken("an amount is not negative", expression=f"{where}.authorized.daily")
    return found


def _check_whole(line: CaseLine, daily: Mapping[str, str], where: str) -> None:
    """A1 is what was asked for; anything else is A6. A drug that is left out of the amounts is not granted."""
    amounts = _amounts(daily, where)
    for name, asked in line.daily.items() if amounts else ():
        if amounts.get(name, Fraction(0)) < Fraction(asked):
            raise RuleBroken("less than was requested is a modification (A6)", expression=f"{where}.authorized.daily")


def _check_modified(line: CaseLine, daily: Mapping[str, str], taper: str, where: str) -> None:
    """Never below the current dose without saying how it comes down; a drug that is left out comes down to nothing."""
    amounts = _amounts(daily, where)
    if not amounts.keys() <= set(line.drugs):
        raise RuleBroken("a drug that the line does not ask for", expression=f"{where}.authorized.daily")
    if amounts and not any(amounts.values()):
        raise RuleBroken("what authorizes nothing is not certified (A3)", expression=f"{where}.authorized.daily")
    for name, current in line.current_daily.items() if amounts else ():
        if amounts.get(name, Fraction(0)) < Fraction(current) and not taper.strip():
            text = "less than the patient receives now needs a taper note"
            raise RuleBroken(text, expression=f"{where}.authorized.taper")


def _trace(newest: Version, lines: Sequence[CaseLine], wanted: Sequence[str]) -> dict[str, Any]:
    """The trace of the version before, with the lines as they stand now."""
    held = msgspec.json.decode(newest.trace)
    conditions = {each["sequence"]: each.get("conditions", []) for each in held.get("lines", [])}
    return {
        "determination": held.get("determination"),
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
                "conditions": conditions.get(line.sequence, []),
            }
            for line in lines
        ],
        "wanted": list(wanted),
    }

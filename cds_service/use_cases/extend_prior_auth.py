"""A reviewer takes more time for a pended case, where the payer's table of clocks allows it (C01).

Once, for standard requests alone, before the time is over, and with a reason: the requester is told it in a new version
of the answer, the payer's systems and subscribers get that version, and the figures count the request as extended.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from cds_service.domain.clocks import Asked, extended
from cds_service.domain.prior_auth import Case, CaseEvent, CaseState, Extension, LineKind, ReviewAction, Version
from cds_service.errors import Conflict, NotFound, RuleBroken, StoreUnavailable
from cds_service.fhir.pas.request import PasRequest
from cds_service.use_cases.case_writing import Writing, change_of
from cds_service.use_cases.change_prior_auth import last_request
from cds_service.use_cases.judge_request import read_chart
from cds_service.use_cases.prior_auth_parts import PriorAuthParts

LEAST_REASON: Final = 20  # characters: a sentence
MOST_REASON: Final = 1_000


class ExtendPriorAuth:
    """The use case. Thread-safe."""

    def __init__(self, parts: PriorAuthParts) -> None:
        self._parts = parts

    def until(self, case: Case) -> datetime | None:
        """The due time that an extension would give the case; None where it may not be extended (any more)."""
        if not self._may(case):
            return None
        request = last_request(self._parts, case)
        return None if request is None else self._latest(case, request)

    def extend(self, extension: Extension) -> Version:
        """Write the extension.

        Raises:
            NotFound: there is no such case.
            Conflict: the case is not at ``version_seen`` any more, or does not wait.
            RuleBroken: the reason is no sentence, or the table allows no extension; ``expression`` names which.
        """
        case = self._parts.cases.case(extension.case_id)
        if case is None:
            raise NotFound("no such case")
        if case.state is not CaseState.PENDED or case.version != extension.version_seen:
            raise Conflict("the case has changed meanwhile: look at it again")
        reason = extension.reason.strip()
        if not LEAST_REASON <= len(reason) <= MOST_REASON:
            text = f"say in a sentence why more time is needed ({LEAST_REASON} to {MOST_REASON} characters)"
            raise RuleBroken(text, expression="reason")
        request = last_request(self._parts, case)
        if request is None:
            raise StoreUnavailable("the request of this case could not be read; try again", reason="other")
        until = self._latest(case, request) if self._may(case) else None
        if until is None:
            raise RuleBroken("the time of this case cannot be extended", expression="due")
        change = change_of(
            self._writing(case, request, extension, reason, until),
            self._parts.new_id,
            self._parts.destinations,
            self._parts.base(case.summary.version),
        )
        if self._parts.cases.commit(change).state != "done":
            raise Conflict("the case has changed meanwhile: look at it again")
        return change.version

    def _may(self, case: Case) -> bool:
        """Whether there is any use in reading the request: most cases are of no plan with an extension."""
        running = case.state is CaseState.PENDED and case.due is not None and self._parts.clock.now() < case.due
        allowed = any(each.extended_hours for each in self._parts.pas.clocks)
        return running and allowed and not case.expedited and not case.summary.extended

    def _latest(self, case: Case, request: PasRequest) -> datetime | None:
        """The least that any waiting kind of line allows."""
        choices = read_chart(self._parts.rules, request, self._parts.clock.now().date()).choices
        plans = next((each.plans for each in choices.values()), ())
        found = [
            extended(
                self._parts.pas.clocks,
                case.received,
                Asked(program=case.program, plans=plans, benefit=case.benefit, drug=drug, expedited=case.expedited),
            )
            for drug in {
                line.kind is LineKind.DRUG for line in case.summary.lines if line.action is ReviewAction.PENDED
            }
        ]
        known = [each for each in found if each is not None]
        if len(known) != len(found) or not known or case.due is None or min(known) <= case.due:
            return None
        return min(known)

    def _writing(self, case: Case, request: PasRequest, said: Extension, reason: str, until: datetime) -> Writing:
        now = self._parts.clock.now()
        versions = self._parts.cases.versions(case.id)
        newest = versions[-1]
        note = f"More time is needed: the request is decided by {until.strftime('%Y-%m-%d %H:%M')} UTC. {reason}"
        summary = msgspec.structs.replace(case.summary, note=note, extended=True)
        after = msgspec.structs.replace(case, summary=summary, version=case.version + 1, due=until)
        return Writing(
            case=after,
            before=case,
            request=request,
            kind="extension",
            at=now,
            actor=said.reviewer.id,
            role=said.reviewer.role,
            action="extend",
            trace=msgspec.json.decode(newest.trace, type=dict[str, Any]),
            policy=(newest.policy_id, newest.policy_version, newest.policy_digest),
            reviewer=said.reviewer if any(line.by_person for line in case.summary.lines) else None,
            note=note,
            wanted=self._labels(case),
            notify=True,
            events=(CaseEvent(now, "extended", said.reviewer.id, {"reason": reason, "until": until.isoformat()}),),
            audit={"until": until.isoformat()},
        )

    def _labels(self, case: Case) -> tuple[str, ...]:
        """What the earlier answer asks for is still asked for."""
        facts = {
            name: fact.label for each in self._parts.rules.guidelines for name, fact in each.guideline.facts.items()
        }
        return tuple(facts.get(name, name) for name in case.summary.wanted)

"""From the determination of one order to the payer's answer: the table of situations, tried in its order.

Pure and total: every draft order gets a situation, and every situation its one answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

import msgspec

from cds_service.cds_hooks import answer_values as values
from cds_service.cds_hooks.answer_values import AnswerRules
from cds_service.domain.authorization import NOTHING_ON_FILE, Authorization, OnFile
from cds_service.domain.coverage_answer import CoverageAnswer
from cds_service.domain.determination import Decision, OrderDetermination, Program
from cds_service.domain.payer import Payer
from cds_service.errors import CoverageNotUsable, PrefetchMissing
from cds_service.fhir.coverage import CoverageChoice
from cds_service.policy.details import above_table, not_shown


class Situation(Enum):
    """Where an order stands; a closed list, safe for logs and metrics."""

    OUTSIDE = "outside"  # nothing is said
    OUTSIDE_SAID = "outside-said"  # the payer's option
    INACTIVE = "inactive"
    REDIRECT = "redirect"
    MEDICARE = "medicare"
    AUTHORIZED = "authorized"
    ENDING = "ending"  # authorized, and soon no longer
    PENDING = "pending"
    TECHNICAL = "technical"
    CANNOT_TELL = "cannot-tell"
    NO_AUTH = "no-auth"
    READY = "ready"
    MISSING_FACTS = "missing-facts"
    RATIONALE = "rationale"  # not met or above the table, and no rationale on file
    REVIEWER = "reviewer"  # complete; a person decides


GRANTED = frozenset({Situation.AUTHORIZED, Situation.ENDING})


class OrderAnswer(msgspec.Struct, frozen=True):
    """One order, where it stands, and what is said of it (None: nothing)."""

    order: str
    situation: Situation
    answer: CoverageAnswer | None
    determination: OrderDetermination | None = None  # None: there is none, for technical reasons
    authorization: Authorization | None = None


def coverage_usable(choice: CoverageChoice, version: str) -> bool:
    """Whether there is a Coverage to answer for; False means 200 with no cards (2.0 only).

    Raises PrefetchMissing where Coverage could not be seen, and CoverageNotUsable for a 2.2 client where it was seen
    and none of ours, or more than one, was there (cds-hooks-crd 40, 112, 150).
    """
    if choice.state == "not_readable":
        raise PrefetchMissing("Coverage was neither in prefetch.coverage nor readable", expression="prefetch.coverage")
    if choice.state in {"none", "foreign", "ambiguous"} or not choice.reference:
        if version == "2.0":
            return False
        raise CoverageNotUsable("no single Coverage of this payer was found", expression="prefetch.coverage")
    return True


def prior_authorization_rule(payer: Payer, program: Program, plans: Sequence[str]) -> str:
    """One of "yes", "no" and "unknown": what the payer settled for the plan, else for the program, else yes."""
    for plan in plans:
        if plan in payer.pa_required_by_plan:
            return payer.pa_required_by_plan[plan]
    rules = payer.programs.get(program)
    return rules.pa_required if rules else "yes"


class Standing(msgspec.Struct, frozen=True):
    """All that the table looks at. ``failed``: resource types whose read failed."""

    rules: AnswerRules
    determination: OrderDetermination
    coverage: CoverageChoice
    on_file: OnFile = NOTHING_ON_FILE
    failed: frozenset[str] = frozenset()


def answer(standing: Standing, version: str) -> OrderAnswer:
    """The answer for one order, ``version`` "2.0" or "2.2" (``coverage_usable`` was asked before)."""
    place = next(situation for fits, situation in ROWS if fits(standing))
    determination, on_file = standing.determination, standing.on_file
    used = on_file.granted if place in GRANTED else on_file.pending if place is Situation.PENDING else None
    said = values.VALUES[place.value](standing.rules, determination, used, version)
    return OrderAnswer(determination.order, place, said, determination, used)


def technical_answer(
    orders: Iterable[str], version: str, why: str = "The answer could not be prepared for technical reasons."
) -> tuple[OrderAnswer, ...]:
    """The answer for orders (their "Type/id") that we could not judge through no fault of theirs (107, 148)."""
    said = values.technical(version, why)
    return tuple(OrderAnswer(order, Situation.TECHNICAL, said) for order in orders)


def _outside(standing: Standing) -> bool:
    return standing.determination.in_scope is False


def _outside_said(standing: Standing) -> bool:
    """The payer wants a word on orders beside the guideline; acute care stays silent all the same."""
    acute = any(flag.code == "acute_care_setting" for flag in standing.determination.flags)
    return _outside(standing) and standing.rules.payer.outside_guideline == "conditional" and not acute


def _inactive(standing: Standing) -> bool:
    return standing.coverage.state == "ours" and not standing.coverage.active


def _redirect(standing: Standing) -> bool:
    return standing.determination.program in {Program.FEP, Program.SAO}


def _medicare(standing: Standing) -> bool:
    return standing.determination.program is Program.MEDICARE_ADVANTAGE


def _authorized(standing: Standing) -> bool:
    return standing.on_file.granted is not None


def _ending(standing: Standing) -> bool:
    return standing.on_file.granted is not None and standing.on_file.ending


def _pending(standing: Standing) -> bool:
    return standing.on_file.pending is not None


def _hidden(standing: Standing) -> bool:
    """A failed read hides the drug, or the payer and program."""
    determination = standing.determination
    drug = determination.in_scope is None and "Medication" in standing.failed
    program = determination.program is Program.UNKNOWN and not standing.failed.isdisjoint({"Coverage", "Organization"})
    return drug or program


def _cannot_tell(standing: Standing) -> bool:
    determination = standing.determination
    return determination.in_scope is None or determination.program is Program.UNKNOWN or _needed(standing) == "unknown"


def _no_auth(standing: Standing) -> bool:
    return _needed(standing) == "no"


def _needed(standing: Standing) -> str:
    return prior_authorization_rule(standing.rules.payer, standing.determination.program, standing.coverage.plans)


def _missing_facts(standing: Standing) -> bool:
    return bool(standing.determination.missing_facts)


def _rationale(standing: Standing) -> bool:
    determination = standing.determination
    return not determination.rationale_on_file and (above_table(determination) or not_shown(determination))


def _ready(standing: Standing) -> bool:
    determination = standing.determination
    return determination.decision is Decision.MEETS and not above_table(determination)


def _otherwise(_standing: Standing) -> bool:
    return True


ROWS: tuple[tuple[Callable[[Standing], bool], Situation], ...] = (
    (_outside_said, Situation.OUTSIDE_SAID),
    (_outside, Situation.OUTSIDE),
    (_inactive, Situation.INACTIVE),
    (_redirect, Situation.REDIRECT),
    (_medicare, Situation.MEDICARE),
    (_ending, Situation.ENDING),
    (_authorized, Situation.AUTHORIZED),
    (_pending, Situation.PENDING),
    (_hidden, Situation.TECHNICAL),
    (_cannot_tell, Situation.CANNOT_TELL),
    (_no_auth, Situation.NO_AUTH),
    (_missing_facts, Situation.MISSING_FACTS),
    (_rationale, Situation.RATIONALE),
    (_ready, Situation.READY),
    (_otherwise, Situation.REVIEWER),
)

"""Answers that by themselves make a criterion not met: giving one of them opens the question for a rationale.

Found by trying: each answer is given together with the answers that show its question, everything else unknown, and
the guideline's own tests say what becomes of its criteria.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from fractions import Fraction

from cds_service.domain.determination import DoseAssessment, Program
from cds_service.domain.order import Order, OrderKind
from cds_service.domain.record import Answer, Record
from cds_service.domain.truth import Truth
from cds_service.domain.vocabulary import Vocabulary
from cds_service.policy.case import Case
from cds_service.policy.model import Guideline
from cds_service.policy.plan import Plan
from cds_service.policy.view import View

_DAY = date(2000, 1, 1)
_NOTHING = Vocabulary({}, {}, {}, {}, {}, {})
_NO_ORDER = Order("", OrderKind.OTHER, "", True, (), "", None, False, "", None, (), False)  # noqa: FBT003 - by place
_STEP = Fraction(1, 1000)

Failing = tuple[str, str, str | Fraction]  # item, operator, value


def failing_answers(guideline: Guideline) -> tuple[Failing, ...]:
    """Each such answer once, in the form's order."""
    found: dict[Failing, None] = {}
    for fact in guideline.facts.values():
        for option in fact.options:
            if _fails(guideline, fact.name, option.code):
                found[fact.name, "=", option.code] = None
        for bound in _bounds(guideline, fact.name):
            found[bound] = None
    return tuple(found)


def _bounds(guideline: Guideline, name: str) -> Iterator[Failing]:
    for criterion in guideline.criteria.values():
        for bound in criterion.bounds:
            beyond = bound.value - _STEP if bound.operator == "<" else bound.value + _STEP
            if bound.fact == name and _fails(guideline, name, beyond):
                yield name, bound.operator, bound.value


def _fails(guideline: Guideline, name: str, value: str | Fraction) -> bool:
    plan: Plan = guideline.plan
    answers = {name: value, **_shown_by(guideline, name)}
    record = Record("", answers=tuple(Answer(fact, held, "", _DAY, True, True) for fact, held in answers.items()))  # noqa: FBT003
    view = View(Case(_NO_ORDER, Program.STANDARD, DoseAssessment(()), record), _DAY, _NOTHING, plan.codes, plan.facts)
    steps = {step.id: step for reported in plan.steps.values() for step in reported if not _refers(guideline, step.id)}
    return any(step.test(view)[0] is Truth.NOT_MET for step in steps.values())


def _refers(guideline: Guideline, criterion: str) -> bool:
    """A criterion that only repeats others names no fact of its own."""
    return not guideline.criteria[criterion].facts


def _shown_by(guideline: Guideline, name: str) -> dict[str, str]:
    """The answers that show this question, back to one that is always shown."""
    found: dict[str, str] = {}
    pending = [name]
    while pending:
        for one in guideline.facts[pending.pop()].shown_when[:1]:
            if one.fact not in found:
                found[one.fact] = one.answers[0]
                pending.append(one.fact)
    return found

"""A guideline that remembers: what a chart showed on the day of an order, beside the answers that have come since.

The walk over criteria stays the same; only the places where facts are looked for hold, in front of the guideline's own,
what was remembered. So a form is judged exactly as the order was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from fractions import Fraction

import msgspec

from cds_service.domain.determination import DoseAssessment
from cds_service.domain.documentation import DocumentedOrder, Remembered
from cds_service.domain.record import Answer, Record
from cds_service.policy.case import Case
from cds_service.policy.facts import FactPlan, Proof, Source
from cds_service.policy.model import Guideline
from cds_service.policy.plan import Plan


def remembering(guideline: Guideline, facts: Mapping[str, Remembered]) -> Guideline:
    """The guideline with what one chart showed."""
    plan: Plan = guideline.plan
    plans = {name: _plan(held, facts.get(name)) for name, held in plan.facts.items()}
    return msgspec.structs.replace(guideline, plan=msgspec.structs.replace(plan, facts=plans))


def case_of(documented: DocumentedOrder, answers: Iterable[Answer], guideline: Guideline) -> Case:
    """The order with earlier answers and those that have come since, which are newer."""
    earlier = [
        Answer(name, value, "", held.attested_on, counts=True, signed=False)
        for name, held in documented.facts.items()
        if held.answered and name in guideline.facts and (value := value_of(guideline.facts[name].kind, held.value))
    ]
    return Case(
        order=documented.order,
        program=documented.program,
        dose=DoseAssessment(documented.dose),
        record=Record("", answers=(*earlier, *answers)),
        authorization_in_force=documented.authorized,
    )


def value_of(kind: str, text: str) -> str | Fraction | date | None:
    """A remembered value in the type of its fact; None for none."""
    if not text:
        return None
    if kind == "decimal":
        return Fraction(text)
    return date.fromisoformat(text) if kind == "date" else text


def _plan(plan: FactPlan, held: Remembered | None) -> FactPlan:
    if held is None:
        return plan
    given = None if held.answered or plan.kind != "choice" else held.value or None
    proof = Proof(given, held.at_least, held.contradicts, held.evidence)
    return msgspec.structs.replace(plan, sources=(Source(lambda _view: proof, ()), *plan.sources))

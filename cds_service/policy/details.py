"""What an order leaves open, as the form's question about it answers: it decides which further questions are asked."""

from __future__ import annotations

from cds_service.domain.determination import OrderDetermination, Verdict
from cds_service.domain.order import OrderKind
from cds_service.domain.truth import Truth
from cds_service.policy.advice import is_compounded
from cds_service.policy.model import Fact, Guideline
from cds_service.policy.view import View


def above_table(determination: OrderDetermination) -> bool:
    """Whether any daily amount or concentration is above the guideline's table."""
    exceeds = Verdict.EXCEEDS
    return any(exceeds in {dose.daily_verdict, dose.concentration_verdict} for dose in determination.dose)


def not_shown(determination: OrderDetermination) -> bool:
    """Whether any criterion, the stem included, is not met."""
    return any(result.status is Truth.NOT_MET for result in determination.criteria.values())


def details_needed(guideline: Guideline, determination: OrderDetermination, view: View) -> tuple[str, ...]:
    """Codes of the questions that this order needs beside those that every order is asked, in the form's order."""
    return tuple(
        fact.detail.code
        for fact in guideline.facts.values()
        if fact.detail is not None and _needed(guideline, fact, determination, view)
    )


def _needed(guideline: Guideline, fact: Fact, determination: OrderDetermination, view: View) -> bool:
    if fact.name == guideline.rationale_fact:
        return not determination.rationale_on_file and (above_table(determination) or not_shown(determination))
    if fact.name in determination.missing_facts:
        return True
    if fact.detail is None or view.state(fact.name).value is not None:
        return False
    if fact.name == guideline.billing.compounded_fact:
        return _compounding_open(guideline, view)
    drugs = {part.name for part in view.drugs()}
    return not drugs.isdisjoint(fact.detail.drugs) or determination.tier.tier in fact.detail.tiers


def _compounding_open(guideline: Guideline, view: View) -> bool:
    parts = view.drugs()
    if view.case.order.kind is not OrderKind.DRUG or not any(part.name in guideline.scope.drugs for part in parts):
        return False
    return is_compounded(guideline, parts, view) is None

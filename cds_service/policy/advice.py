"""Advice beside the determination: line of therapy, diagnosis support, billing codes. It never changes a decision."""

from __future__ import annotations

from cds_service.domain.determination import IcdSupport, Tier
from cds_service.domain.order import OrderKind, Part
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import ICD10CM, icd_text
from cds_service.policy.model import Guideline, ListedCode
from cds_service.policy.scope import running_drugs
from cds_service.policy.view import View

_NOT_ADDRESSED = Tier("not_addressed")
_NO_ICD = IcdSupport("unknown")


def tier_of(guideline: Guideline, view: View) -> Tier:
    """Line of therapy of the draft's own solution; a drug that the guideline does not name makes it not addressed."""
    order, parts = view.case.order, view.drugs()
    if not parts or any(part.name is None for part in parts):
        return _NOT_ADDRESSED
    regimen = frozenset(part.name for part in parts if part.name is not None)
    tier = guideline.tier_of.get(regimen, _NOT_ADDRESSED)
    for flag in guideline.plan.regimen_flags.get(regimen, ()):
        view.flag(flag, order.source)
    for drug in sorted(regimen):
        for flag, subject in guideline.plan.annotation_flags.get(drug, ()):
            view.flag(flag, subject)
    for source, drug in running_drugs(guideline.scope.drugs, guideline.scope.routes, view):
        if drug not in regimen and source not in order.prior and source != order.source:
            view.flag("other_drug_running", source)
    return tier


def icd_support(guideline: Guideline, view: View) -> IcdSupport:
    """Diagnosis codes of the guideline's list, from the order's reasons first, else from the problem list."""
    listed = guideline.plan.icd
    order = view.case.order
    if not listed:
        return _NO_ICD
    stated = _icd(order.reasons)
    found = [listed[code] for code in stated if code in listed]
    if not found:
        for code in stated:
            view.flag("icd_not_listed", icd_text(code))
        problems = (each for each in view.record.conditions if each.active and each.confirmed)
        found = [listed[code] for each in problems for code in _icd(each.codes) if code in listed]
        if found:
            view.flag("dx_not_linked_to_order", order.source)
        elif stated:
            return IcdSupport("not_listed")
        else:
            view.flag("icd_missing", order.source)
            return _NO_ICD
    found = list({each.code: each for each in found}.values())
    _flag_mismatch(guideline, found, view)
    return IcdSupport("supported", tuple(icd_text(each.code) for each in found))


def _icd(codes: tuple[Code, ...]) -> list[str]:
    return [code.code.upper().replace(".", "") for code in codes if code.system == ICD10CM]


def _flag_mismatch(guideline: Guideline, found: list[ListedCode], view: View) -> None:
    """No diagnosis is of a family that goes with a drug of the order."""
    expected = guideline.mismatch.expected
    drugs = [part.name for part in view.drugs() if part.name in expected]
    families = {each.family for each in found}
    if drugs and families and all(expected[drug].isdisjoint(families) for drug in drugs if drug is not None):
        view.flag(guideline.mismatch.flag, drugs[0] or "")


def billing_of(guideline: Guideline, view: View) -> tuple[str, ...]:
    """HCPCS codes that are established; neither the compounded nor a commercial code while that is unknown."""
    order = view.case.order
    rules = guideline.billing
    if order.kind is not OrderKind.DRUG:
        listed = guideline.plan.hcpcs
        return tuple(dict.fromkeys(code.code for code in order.codes if code in listed))
    parts = view.drugs()
    drugs = [part.name for part in parts if part.name in guideline.scope.drugs]
    if not drugs or not rules.compounded_code:
        return ()
    compounded = is_compounded(guideline, parts, view)
    if compounded is None:
        return ()
    if compounded:
        if rules.confirm_flag and rules.certain_drugs.isdisjoint(drugs):
            view.flag(rules.confirm_flag, drugs[0] or "")
        return (rules.compounded_code,)
    return tuple(rules.commercial[drug] for drug in drugs if drug in rules.commercial)


def is_compounded(guideline: Guideline, parts: tuple[Part, ...], view: View) -> bool | None:
    """Several drugs, a strength that is not on the market, or an answer; a name proves nothing."""
    if len(parts) > 1:
        return True
    fact = guideline.billing.compounded_fact
    answered = view.state(fact).value if fact else None
    part = parts[0]
    strengths = guideline.plan.strengths.get(part.name or "", frozenset())
    not_on_sale = part.concentration is not None and bool(strengths) and part.concentration not in strengths
    if answered == "no" and not_on_sale:
        view.flag("conflict", fact)  # neither side wins silently (analysis 1.2)
        return None
    if answered in {"yes", "no"}:
        return answered == "yes"
    if not_on_sale:
        return True
    solution = view.case.order.solution
    return False if solution is not None and solution.product is not None else None

"""One draft order held against one guideline: the walk that makes a determination."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import msgspec

from cds_service.domain.determination import (
    CriterionResult,
    Decision,
    DoseResult,
    Flag,
    IcdSupport,
    OrderDetermination,
    Program,
    Tier,
    Verdict,
)
from cds_service.domain.order import OrderKind
from cds_service.domain.payer import Payer
from cds_service.domain.record import Availability, Evidence
from cds_service.domain.truth import Truth, all_of
from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.policy.advice import billing_of, icd_support, tier_of
from cds_service.policy.case import Case
from cds_service.policy.model import Guideline, RequestType
from cds_service.policy.plan import CriterionStep, Plan
from cds_service.policy.scope import ScopeResult, scope_of
from cds_service.policy.view import View

_UNTESTED: Final = CriterionResult(Truth.UNKNOWN)
_NO_TIER: Final = Tier("not_addressed")
_NO_ICD: Final = IcdSupport("unknown")


def determine(
    guideline: Guideline, vocabulary: Vocabulary, payer: Payer, case: Case, as_of: date
) -> OrderDetermination:
    """Judge ``case`` as of one day."""
    return examine(guideline, vocabulary, payer, case, as_of)[0]


def examine(
    guideline: Guideline, vocabulary: Vocabulary, payer: Payer, case: Case, as_of: date
) -> tuple[OrderDetermination, View]:
    """Judge ``case`` as of one day; also gives what was looked at, of which further facts may be asked.

    Every criterion of the reported sections is tested, whatever the decision. Only an order out of scope is left
    untested: its criteria stay unknown, with nothing missing.
    """
    plan: Plan = guideline.plan
    view = View(case, as_of, vocabulary, plan.codes, plan.facts)
    scope = scope_of(guideline, payer, view)
    if scope.in_scope is False:
        return _untouched(guideline, case, scope), view
    if not case.patient_known:
        return _of_nobody(guideline, view, scope), view
    request = _request_type(guideline, view)
    steps = plan.steps[request.reports if request else guideline.reported_while_unknown]
    criteria = _test(steps, view, plan)
    dose = case.dose.results if case.order.kind is OrderKind.DRUG else ()
    decision = _decide(guideline, payer, case, scope, request, view)
    tier, icd, billing = tier_of(guideline, view), icd_support(guideline, view), billing_of(guideline, view)
    missing = _missing(guideline, view, scope, request, criteria, dose, decision)
    duration = None
    if decision is Decision.MEETS and request is not None:
        duration = guideline.sections[request.decided_by].approval_duration
    _flags(guideline, view, scope, request, steps)
    found = OrderDetermination(
        order=case.order.source,
        in_scope=scope.in_scope,
        program=case.program,
        request_type=request.code if request else "unknown",
        criteria=criteria,
        sections=view.sections,
        decision=decision,
        approval_duration=duration,
        dose=dose,
        tier=tier,
        icd=icd,
        billing=billing,
        missing_facts=missing,
        flags=_ordered_flags(view),
        rationale_on_file=_answered(guideline, guideline.rationale_fact, view),
    )
    return found, view


def open_facts(guideline: Guideline, vocabulary: Vocabulary, case: Case, as_of: date) -> tuple[tuple[str, ...], View]:
    """What would settle the criteria where nothing is known of the order itself: facts alone, in the form's order."""
    plan: Plan = guideline.plan
    view = View(case, as_of, vocabulary, plan.codes, plan.facts)
    request = _request_type(guideline, view)
    steps = plan.steps[request.reports if request else guideline.reported_while_unknown]
    missing = {name for result in _test(steps, view, plan).values() for name in result.missing}
    if request is None:
        missing.add(guideline.request_fact)
    missing -= plan.advisory
    return tuple(sorted(missing, key=plan.position.__getitem__)), view


def _untouched(guideline: Guideline, case: Case, scope: ScopeResult) -> OrderDetermination:
    """An order that the guideline does not speak of: silent, nothing is asked. Acute care is named as the reason."""
    steps: tuple[CriterionStep, ...] = guideline.plan.steps[guideline.reported_while_unknown]
    decision = Decision.OTHER_PAYER if case.program is Program.OTHER_PAYER else Decision.NOT_APPLICABLE
    return OrderDetermination(
        order=case.order.source,
        in_scope=False,
        program=case.program,
        request_type="unknown",
        criteria={step.id: _UNTESTED for step in steps},
        sections=dict.fromkeys(guideline.reported_while_unknown, Truth.UNKNOWN),
        decision=decision,
        approval_duration=None,
        dose=case.dose.results if scope.acute_care else (),
        tier=_NO_TIER,
        icd=_NO_ICD,
        billing=(),
        missing_facts=(),
        flags=(Flag("acute_care_setting", case.order.source),) if scope.acute_care else (),
    )


def _of_nobody(guideline: Guideline, view: View, scope: ScopeResult) -> OrderDetermination:
    """An order that does not say whose it is: its own arithmetic, and no judgement (reliability row 69)."""
    view.flag("patient_unknown", view.case.order.source)
    return msgspec.structs.replace(
        _untouched(guideline, view.case, scope),
        in_scope=None,
        decision=Decision.INSUFFICIENT_INFORMATION,
        dose=view.case.dose.results if view.case.order.kind is OrderKind.DRUG else (),
        flags=_ordered_flags(view),
    )


def _request_type(guideline: Guideline, view: View) -> RequestType | None:
    """As answered, else as the chart shows it; a conflict or nothing is unknown, never the easier one."""
    state = view.state(guideline.request_fact)
    if state.conflict:
        view.flag("conflict", guideline.request_fact)
    value = state.value
    return guideline.request_types.get(value) if isinstance(value, str) else None


def _test(steps: tuple[CriterionStep, ...], view: View, plan: Plan) -> Mapping[str, CriterionResult]:
    """Test each criterion in the guideline's order; sections as soon as their criteria are there."""
    forgiven = plan.asked_once if view.case.authorization_in_force else frozenset[str]()
    results = view.results
    for step in steps:
        view.evidence = []
        status, missing = step.test(view)
        found: tuple[Evidence, ...] = ()
        for fact in step.facts:
            found += view.state(fact).evidence
        if view.evidence:
            found += tuple(view.evidence)
        if missing:
            missing = _in_order(missing, forgiven, plan)
        results[step.id] = CriterionResult(status, _once(found) if len(found) > 1 else found, missing)
        for section, members in step.closes:
            view.sections[section] = all_of(results[member].status for member in members)
    return results


def _once(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    return tuple({(each.source, each.shows): each for each in evidence}.values())


def _in_order(missing: tuple[str, ...], forgiven: frozenset[str], plan: Plan) -> tuple[str, ...]:
    """Each fact once, in questionnaire order, without those that an authorization already rested on."""
    return tuple(sorted({name for name in missing if name not in forgiven}, key=plan.position.__getitem__))


def _decide(
    guideline: Guideline, payer: Payer, case: Case, scope: ScopeResult, request: RequestType | None, view: View
) -> Decision:
    """Gates in their order: payer, program; then what is unknown, the stem, the section of the request."""
    exception = guideline.programs.get(case.program)
    if case.program is Program.OTHER_PAYER:
        decision = Decision.OTHER_PAYER
    elif exception is not None:
        decision = Decision(exception.decision)
    elif scope.in_scope is None or case.program is Program.UNKNOWN or request is None:
        decision = Decision.INSUFFICIENT_INFORMATION
    else:
        decision = _by_criteria(guideline, payer, request, view)
    return decision


def _by_criteria(guideline: Guideline, payer: Payer, request: RequestType, view: View) -> Decision:
    stem = view.results[guideline.stem].status if guideline.stem else Truth.MET
    if stem is Truth.NOT_MET:
        return Decision.NOT_APPLICABLE
    status = view.sections[request.decided_by]
    if stem is Truth.UNKNOWN or status is Truth.UNKNOWN:
        return Decision.INSUFFICIENT_INFORMATION
    if status is Truth.NOT_MET:
        return Decision.DOES_NOT_MEET
    stated = request.stated or payer.renewal == "as_section_II"
    return Decision.MEETS if stated else Decision.INSUFFICIENT_INFORMATION


def _missing(
    guideline: Guideline,
    view: View,
    scope: ScopeResult,
    request: RequestType | None,
    criteria: Mapping[str, CriterionResult],
    dose: tuple[DoseResult, ...],
    decision: Decision,
) -> tuple[str, ...]:
    """The facts that would settle what is unknown for this request, in questionnaire order."""
    if decision in _NOTHING_TO_ASK:
        return ()
    missing: set[str] = set()
    for result in criteria.values():
        missing.update(result.missing)
    if request is None:
        missing.add(guideline.request_fact)
    order = view.case.order
    if scope.route_missing or (order.kind is OrderKind.DRUG and order.route is RouteGroup.INTRASPINAL):
        missing.add(guideline.route_fact)
    unknown = Verdict.CANNOT_BE_DETERMINED
    if any(each.daily_verdict is unknown and each.daily is None for each in dose):
        missing.add(guideline.dose_fact)
    if any(each.concentration_verdict is unknown and each.concentration is None for each in dose):
        missing.add(guideline.concentration_fact)
    # An amount that a clinician wrote into the form is for a person to read: it is not computed, nor asked again.
    for name in (guideline.dose_fact, guideline.concentration_fact):
        if name in missing and _answered(guideline, name, view):
            missing.discard(name)
    plan: Plan = guideline.plan
    missing -= plan.advisory
    missing.discard("")
    return tuple(sorted(missing, key=plan.position.__getitem__))


_NOTHING_TO_ASK: Final = frozenset(
    {Decision.OTHER_PAYER, Decision.NOT_APPLICABLE, Decision.REDIRECT_FEP, Decision.REDIRECT_SAO}
)


def _flags(
    guideline: Guideline, view: View, scope: ScopeResult, request: RequestType | None, steps: tuple[CriterionStep, ...]
) -> None:
    """Remarks on the order as a whole."""
    order, case = view.case.order, view.case
    if scope.route_missing:
        view.flag("route_missing", order.source)
    if case.program is Program.UNKNOWN:
        view.flag("coverage_unknown", order.source)
    if not guideline.in_force(view.as_of):
        view.flag("policy_not_in_force", guideline.id)
    exception = guideline.programs.get(case.program)
    if exception is not None and exception.flag:
        view.flag(exception.flag, exception.subject or order.source)
    if request is not None and request.flag:
        view.flag(request.flag, request.code)
    for gap in _gaps(view, steps, guideline.plan):
        view.flag("incomplete_data", gap)


_COMPLETE: Final = Availability.COMPLETE
_CUT_SHORT: Final = (Availability.PARTIAL, Availability.NOT_READABLE)


def _gaps(view: View, steps: tuple[CriterionStep, ...], plan: Plan) -> list[str]:
    """Resource types not wholly seen on which a criterion could rest: what is unknown, or could speak against it."""
    seen = view.record.availability.get
    gaps: dict[str, None] = {}
    for step in steps:
        result = view.results[step.id]
        if result.status is Truth.NOT_MET:
            continue
        for name in step.types:
            if seen(name) is not _COMPLETE:
                gaps[name] = None
        for fact in result.missing if result.status is Truth.UNKNOWN else step.facts:
            always, also = plan.types[fact]
            for name in always:
                if seen(name) is not _COMPLETE:
                    gaps[name] = None
            for name in also:
                if seen(name) in _CUT_SHORT:
                    gaps[name] = None
    return list(gaps)


def _ordered_flags(view: View) -> tuple[Flag, ...]:
    """Each once: of the dose, of the order as it was read, then of the determination."""
    order = view.case.order
    found: dict[tuple[str, str], None] = {}
    if order.kind is OrderKind.DRUG:
        for flag in view.case.dose.flags:
            found[flag.code, flag.subject] = None
    for code, subject in order.flags:
        found[code, subject] = None
    found.update(view.flags)
    return tuple(Flag(code, subject) for code, subject in found)


def _answered(guideline: Guideline, name: str, view: View) -> bool:
    """A completed, current answer to a question of several items, such as the clinical rationale."""
    fact = guideline.facts.get(name)
    if fact is None:
        return False
    for each in (fact.name, *(item.name for item in fact.items)):
        for answer in view.answers.get(each, ()):
            if not answer.counts or (fact.max_age_days is not None and answer.attested_on is None):
                continue
            age = (view.as_of - answer.attested_on).days if answer.attested_on else 0
            if fact.max_age_days is None or age <= fact.max_age_days:
                return True
    return False

"""What a machine may say of each line of a request for authorization (decisions 6): approve, or leave it to a person.

The guideline is held against the lines exactly as order-sign holds it against drafts: same readers, same evaluation.
There is no machine denial, and no machine modification: what is not approved waits, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, Final

import msgspec

from cds_service.cds_hooks.prefetch import WANTED
from cds_service.domain.authorization import Authorization
from cds_service.domain.billing import BillingCode, units
from cds_service.domain.clocks import approval_end
from cds_service.domain.determination import Decision, Flag, OrderDetermination, Program, Verdict
from cds_service.domain.documentation import DocumentationContext
from cds_service.domain.order import Order, OrderKind
from cds_service.domain.prior_auth import LineKind
from cds_service.domain.prior_auth_rules import PriorAuthRules
from cds_service.domain.record import Answer, Code
from cds_service.fhir.answers import read_answers
from cds_service.fhir.chart import build_chart
from cds_service.fhir.coverage import CoverageChoice
from cds_service.fhir.pas.request import PasRequest, RequestedLine
from cds_service.fhir.pas.systems import CANCEL, ICD10CM, INITIAL
from cds_service.use_cases.billing_fit import classified_as_advised, code_fits, quantity_fits
from cds_service.use_cases.circumstances import (
    answers_fit,
    circumstances,
    covered_throughout,
    ends_within,
    still_current,
)
from cds_service.use_cases.contradictions import (
    answers_plain,
    dates_fit,
    diagnoses_meet,
    medical_policy,
    member_told_once,
    no_allergy,
    nobody_else_pays,
    nothing_else_runs,
    of_age,
    order_by_prescriber,
)
from cds_service.use_cases.decide import Judged, Reading, Rules, encode_determination, file_orders, judge
from cds_service.use_cases.order_sign_memory import chart_agrees

_IN_ORDER: Final = frozenset({Verdict.WITHIN, Verdict.NO_LIMIT_STATED})
_NOTHING: Final = CoverageChoice("not_readable", Program.UNKNOWN)


class Assessed(msgspec.Struct, frozen=True, kw_only=True):
    """One line. ``conditions``: what an approval by machine needs, in its order, and whether it holds."""

    line: RequestedLine
    kind: LineKind
    order: Order | None
    judged: Judged | None
    conditions: Mapping[str, bool]
    drugs: tuple[str, ...]
    route: str
    daily: Mapping[str, Fraction]
    current_daily: Mapping[str, Fraction]
    period: tuple[date, date] | None  # of an approval on this day
    billing: BillingCode | None
    most_units: int | None  # billing units that dose and period come to
    coverage_ends: date | None = None  # where that is before the period's end
    member: str = ""  # as order-sign looks authorizations up
    doubts: tuple[Flag, ...] = ()  # flags with which a machine approves nothing

    @property
    def approvable(self) -> bool:
        """Whether every condition holds."""
        return all(self.conditions.values())


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """A whole request, judged as of one day."""

    lines: tuple[Assessed, ...]
    coverage: CoverageChoice
    benefit: str  # medical | pharmacy
    request_type: str
    shared: Mapping[str, bool]  # the conditions that all lines share
    document: bytes  # the determination, as order-sign stores it
    wanted: tuple[str, ...]
    reading: Reading


def assess(
    rules: Rules,
    pas: PriorAuthRules,
    request: PasRequest,
    as_of: date,
    authorizations: Sequence[Authorization] = (),
    contexts: Sequence[DocumentationContext] = (),
) -> Assessment:
    """Judge a request. Raises PatientMismatch where an order or the Coverage is another patient's.

    ``contexts``: what order-sign saw of the same orders (``order_sign_memory``).
    """
    reading = read_chart(rules, request, as_of)
    judged = judge(rules, reading, as_of, authorizations)
    coverage = next(iter(reading.choices.values()), _NOTHING)
    answers = _answers(rules, reading, judged)
    benefit = _benefit(pas, coverage, answers)
    shared = circumstances(request, reading.chart, rules.known_payer, as_of)
    shared |= {
        "coverage_in_force": coverage.state == "ours" and coverage.active and bool(coverage.member_id),
        "chart_agrees": chart_agrees(contexts, answers),
        "member_told_once": member_told_once(request),
        "medical_policy": medical_policy(request, pas.other_policies),
        "of_age": of_age(request, as_of, pas.least_age),
        "answers_plain": answers_plain(pas, answers, as_of),
    }
    shared["no_other_insurance"] &= nobody_else_pays(request, reading.chart, rules.known_payer)
    ground = _Ground(rules, pas, request, reading, coverage, benefit, answers, shared, as_of)
    lines = tuple(_assessed(ground, line, judged.get(line.order)) for line in request.lines)
    return Assessment(
        lines=lines,
        coverage=coverage,
        benefit=benefit,
        request_type=_request_type(judged),
        shared=shared,
        document=encode_determination(rules, judged.values(), as_of),
        wanted=tuple(dict.fromkeys(fact for each in judged.values() for fact in each.determination.missing_facts)),
        reading=reading,
    )


def read_chart(rules: Rules, request: PasRequest, as_of: date) -> Reading:
    """The Bundle as a chart: what is asked for as drafts, the rest as what was sent along, and nothing else is missing.

    A request is its sender's whole word: a type that is not in it was not left unread, it was not sent.
    """
    local = request.local
    held: dict[str, list[dict[str, Any]]] = {}
    for entry, resource in zip(request.bundle.entries, local.resources, strict=True):
        own = entry.kind not in {"Patient", "Coverage", "Claim", "Bundle"} or entry.index in {
            request.patient.index,
            request.coverage.index,
        }
        if own:
            held.setdefault(entry.kind, []).append({"resource": resource})
    for response in local.inner:
        held.setdefault("QuestionnaireResponse", []).append({"resource": response})
    prefetch: dict[str, Any] = {
        key: {"resourceType": "Bundle", "type": "searchset", "entry": held.pop(kind, [])}
        for key, kind in WANTED.items()
    }
    others = [each | {"search": {"mode": "include"}} for group in held.values() for each in group]
    prefetch["coverage"]["entry"].extend(others)
    chart = build_chart(
        patient_id=request.patient_id,
        fhir_server=local.base,
        drafts=[(resource, "") for _, resource in request.orders],
        prefetch=prefetch,
        fetched={},
        wanted=WANTED,
    )
    return file_orders(rules, chart, request.orders, as_of)


def _answers(rules: Rules, reading: Reading, judged: Mapping[str, Judged]) -> tuple[Answer, ...]:
    canonicals = dict.fromkeys(each.rules.guideline.canonical for each in judged.values())
    signed = rules.payer.electronic_signature
    return tuple(
        answer
        for canonical in canonicals
        for answer in read_answers(reading.chart, canonical, signature_required=signed)
    )


def _benefit(pas: PriorAuthRules, coverage: CoverageChoice, answers: Sequence[Answer]) -> str:
    """The answer to the one question where there is one, else the member's program."""
    rules = pas.benefit
    told = [each.value for each in answers if each.fact == rules.question and each.counts]
    if told:
        return "pharmacy" if told[-1] in rules.pharmacy_answers else "medical"
    return "pharmacy" if coverage.program.value in rules.pharmacy_programs else "medical"


def _request_type(judged: Mapping[str, Judged]) -> str:
    known = [each.determination.request_type for each in judged.values()]
    return next((each for each in known if each != "unknown"), "unknown")


class _Ground(msgspec.Struct, frozen=True):
    """What all lines of a request share."""

    rules: Rules
    pas: PriorAuthRules
    request: PasRequest
    reading: Reading
    coverage: CoverageChoice
    benefit: str
    answers: Sequence[Answer]
    shared: Mapping[str, bool]  # conditions
    as_of: date

    @property
    def held(self) -> dict[str, Any]:
        """The Coverage as it was sent."""
        return self.request.local.resources[self.request.coverage.index]


def _assessed(ground: _Ground, line: RequestedLine, judged: Judged | None) -> Assessed:
    order = ground.reading.orders.get(line.order)
    determination = judged.determination if judged else None
    drugs = _drugs(order)
    dose = determination.dose if determination else ()
    daily = {each.ingredient: each.daily for each in dose if each.daily is not None}
    period = _period(determination, ground.as_of)
    billing = ground.pas.crosswalk.of_code(line.code, ground.as_of)
    most = _most_units(billing, drugs, daily, period)
    kind = kind_of(ground.rules, ground.pas, order, line)
    if order is None or judged is None:
        conditions = {"order_understood": False}
    else:
        conditions = _conditions(ground, line, order, judged, period) | {
            "code_fits": code_fits(ground.pas.crosswalk, ground.rules.vocabulary, line, kind, order, ground.as_of)
            and classified_as_advised(ground.pas.crosswalk, line, judged.determination.billing),
            "quantity_fits": quantity_fits(line, kind, most, period),
        }
    return Assessed(
        line=line,
        kind=kind,
        order=order,
        judged=judged,
        conditions=conditions,
        drugs=drugs,
        route=order.route.value if order is not None and order.route is not None else "",
        daily=daily,
        current_daily=_current(ground.reading, order, drugs),
        period=period,
        billing=billing,
        most_units=most,
        coverage_ends=ends_within(ground.held, period) if period else None,
        member=ground.coverage.member_id,
        doubts=tuple(flag for flag in determination.flags if flag.code in ground.pas.blocking_flags)
        if determination
        else (),
    )


def kind_of(rules: Rules, pas: PriorAuthRules, order: Order | None, line: RequestedLine) -> LineKind:
    """What a line asks for: by its order, else by its code."""
    if order is None:
        return LineKind.OTHER
    if order.kind is OrderKind.DRUG or pas.crosswalk.fits(line.code, (), line.start or date.min) is not None:
        return LineKind.DRUG
    holds = rules.vocabulary.holds
    if any(holds(name, order.codes) for name in pas.refill_sets):
        return LineKind.REFILL
    if order.kind is OrderKind.DEVICE or any(holds(name, order.codes) for name in pas.pump_sets):
        return LineKind.PUMP
    return LineKind.PROCEDURE if order.kind is OrderKind.SERVICE else LineKind.OTHER


def _drugs(order: Order | None) -> tuple[str, ...]:
    if order is None or order.solution is None:
        return ()
    return tuple(dict.fromkeys(part.name for part in order.solution.drugs() if part.name))


def _current(reading: Reading, order: Order | None, drugs: tuple[str, ...]) -> dict[str, Fraction]:
    """What runs now by the same route, as far as the request shows it."""
    found: dict[str, Fraction] = {}
    for other in reading.running:
        if order is None or other.route is not order.route:
            continue
        for part in other.contributions:
            if part.ingredient in drugs and part.mg_per_day is not None:
                found[part.ingredient] = found.get(part.ingredient, Fraction(0)) + part.mg_per_day
    return found


def _period(determination: OrderDetermination | None, as_of: date) -> tuple[date, date] | None:
    if determination is None or determination.approval_duration is None:
        return None
    return as_of, approval_end(as_of, determination.approval_duration)


def _most_units(
    billing: BillingCode | None,
    drugs: tuple[str, ...],
    daily: Mapping[str, Fraction],
    period: tuple[date, date] | None,
) -> int | None:
    """Billing units of the daily amount over the whole period; None where the code does not count this one drug."""
    if billing is None or period is None or drugs != (billing.drug,) or billing.drug not in daily:
        return None
    days = (period[1] - period[0]).days + 1
    return units(daily[billing.drug] * days, billing.mg_per_unit)


def _conditions(
    ground: _Ground, line: RequestedLine, order: Order, judged: Judged, period: tuple[date, date] | None
) -> dict[str, bool]:
    """Decisions 6, one word for each condition of an approval by machine."""
    determination, guideline = judged.determination, judged.rules.guideline
    payer = ground.rules.payer
    request = guideline.request_types.get(determination.request_type)
    renewal = bool(line.previous) or (request is not None and not request.stated)
    stated = request is not None and (not renewal or payer.renewal == "as_section_II")
    resource, chart = dict(ground.request.orders)[line.order], ground.reading.chart
    vocabulary, record = ground.rules.vocabulary, judged.view.record
    doubtful = any(flag.code in ground.pas.blocking_flags for flag in determination.flags)
    return {
        "in_scope": determination.in_scope is True,
        "request_type_stated": stated,
        "criteria_met": determination.decision is Decision.MEETS and not determination.missing_facts,
        "program_standard": determination.program is Program.STANDARD,
        "coverage_in_force": ground.shared["coverage_in_force"],
        "covered_throughout": period is None or covered_throughout(ground.held, _to_be_covered(ground, line, period)),
        "benefit_medical": ground.benefit == "medical",
        "order_active": order.status == "active"
        and order.intent == "order"
        and not order.prohibited
        and resource.get("reportedBoolean") is not True
        and "reportedReference" not in resource,
        "dose_within_table": _dose_in_order(determination, advise=payer.dose_limit_effect == "advise"),
        "nothing_doubtful": not doubtful,
        "attested": attested(ground.answers, ground.as_of, ground.pas.attestation_days),
        "not_appealed": line.certification in {INITIAL, CANCEL, ""},
        **ground.shared,
        "still_current": still_current(line, resource, ground.as_of),
        "dates_fit": dates_fit(ground.request, line, resource, period, ground.as_of, ground.pas.order_days),
        "order_by_prescriber": order_by_prescriber(chart, resource),
        "no_allergy": no_allergy(record.intolerances, order, vocabulary),
        "nothing_else_runs": nothing_else_runs(chart, order, determination, vocabulary),
        "diagnoses_meet": diagnoses_meet(line, order),
        "no_rationale": not determination.rationale_on_file,
        "answers_fit_diagnoses": answers_fit(
            ground.pas.contrary_diagnoses, ground.rules.vocabulary, ground.answers, _diagnoses(ground, order, judged)
        ),
    }


def _to_be_covered(ground: _Ground, line: RequestedLine, period: tuple[date, date]) -> tuple[date, date]:
    """All that would be authorized; or up to the day of service, where the payer approves beyond the plan year."""
    if ground.pas.coverage_ending == "wait":
        return period
    return period[0], max(period[0], line.start or period[0])


def _diagnoses(ground: _Ground, order: Order, judged: Judged) -> tuple[Code, ...]:
    """Of the Claim, of the order, and what is active in the chart."""
    chart = (code for each in judged.view.record.conditions if each.active for code in each.codes)
    return (*(Code(ICD10CM, code) for code in ground.request.diagnoses), *order.reasons, *chart)


def _dose_in_order(determination: OrderDetermination, *, advise: bool) -> bool:
    """Every verdict within the table or without a limit; what exceeds it only where the payer takes it for advice."""
    allowed = _IN_ORDER | {Verdict.EXCEEDS} if advise else _IN_ORDER
    return all({each.daily_verdict, each.concentration_verdict} <= allowed for each in determination.dose)


def attested(answers: Sequence[Answer], as_of: date, most_days: int) -> bool:
    """The form is complete, signed by a prescriber, and the signature is of the last ``most_days``.

    An answer that counts without such a signature speaks against it: a fact may rest on that one. So does a form that
    says that it is written on a day to come.
    """
    counted = [each for each in answers if each.counts]
    days = [each.attested_on for each in counted if each.attested_on is not None]
    if not counted or not days or not all(each.signed for each in counted):
        return False
    if any(each.written is not None and (each.written - as_of).days > 1 for each in counted):
        return False
    return -1 <= (as_of - max(days)).days <= most_days

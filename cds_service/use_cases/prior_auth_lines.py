"""From a judged line to what stands of it in the case: action, numbers, period, and reasons in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from fractions import Fraction

import msgspec

from cds_service.domain.determination import Decision, DoseResult, OrderDetermination, Verdict
from cds_service.domain.prior_auth import Authorized, CaseLine, LineKind, Reason, ReviewAction
from cds_service.domain.quantity import decimal_text
from cds_service.domain.truth import Truth
from cds_service.policy.model import Guideline
from cds_service.use_cases.judge_request import Assessed
from cds_service.use_cases.review_criteria import remark

_LONGEST = 900  # characters of one reason; a processNote is read by people


def case_line(assessed: Assessed, *, number: str, reference: str, as_of: date, waits_for: str = "") -> CaseLine:
    """The line as a machine leaves it: approved where every condition holds, else pended with the reasons.

    ``waits_for``: a reason outside the line itself, such as an open case on the same service; it then waits.
    """
    asked = assessed.line
    approved = assessed.approvable and assessed.period is not None and not waits_for
    reasons = approval_reasons(assessed) if approved else waiting_reasons(assessed, waits_for)
    return CaseLine(
        sequence=asked.sequence,
        kind=assessed.kind,
        system=asked.system,
        code=asked.code,
        text=_text(assessed),
        order=asked.order if asked.stated else "",
        drugs=assessed.drugs,
        route=assessed.route,
        daily=exact(assessed.daily),
        current_daily=exact(assessed.current_daily),
        action=ReviewAction.APPROVED if approved else ReviewAction.PENDED,
        number=number if approved else "",
        reference="" if approved else reference,
        reasons=reasons,
        authorized=_authorized(assessed) if approved else None,
        trace_numbers=tuple(str(each.get("value", "")) for each in asked.trace),
        issued=as_of if approved else None,
    )


def settled_line(assessed: Assessed, *, number: str, reference: str, as_of: date, waits_for: str = "") -> CaseLine:
    """``case_line``; but a line that is sent as cancelled (P083) gets nothing, also in a first request."""
    line = case_line(assessed, number=number, reference=reference, as_of=as_of, waits_for=waits_for)
    return cancelled_line(msgspec.structs.replace(line, number="")) if assessed.line.cancelled else line


def cancelled_line(line: CaseLine) -> CaseLine:
    """The line after its sender took it back."""
    return CaseLine(
        sequence=line.sequence,
        kind=line.kind,
        system=line.system,
        code=line.code,
        text=line.text,
        order=line.order,
        drugs=line.drugs,
        route=line.route,
        daily=line.daily,
        current_daily=line.current_daily,
        action=ReviewAction.CANCELLED,
        former=line.number or line.former,
        reference=line.reference,
        reasons=(Reason("cancelled by the requester"),),
        trace_numbers=line.trace_numbers,
        cancelled=True,
    )


def exact(amounts: Mapping[str, Fraction]) -> dict[str, str]:
    """Amounts in mg per day as decimal text; one that does not end is rounded up in its twelfth place."""
    return {name: upward(amount) for name, amount in amounts.items()}


def upward(amount: Fraction) -> str:
    """Decimal text that is never less than the amount, so that what was asked for stays within what was granted."""
    text = decimal_text(amount)
    if Fraction(text) >= amount:
        return text
    return decimal_text(Fraction(text) + Fraction(1, 10**12))


def reopened_line(line: CaseLine, failing: Iterable[str], *, reference: str) -> CaseLine:
    """A granted line that an update does not name, but of which it says something that a person must look at."""
    return msgspec.structs.replace(
        line,
        action=ReviewAction.PENDED,
        number="",
        former=line.number or line.former,
        reference=reference,
        reasons=tuple(Reason(_PLAIN[name]) for name in failing),
        authorized=None,
        issued=None,
        by_person=False,
    )


def _text(assessed: Assessed) -> str:
    if assessed.order is not None and assessed.order.text:
        return assessed.order.text[:200]
    return assessed.line.text[:200] or assessed.line.code


def _authorized(assessed: Assessed) -> Authorized:
    start, end = assessed.period or (date.min, date.min)
    quantity = assessed.line.quantity
    if quantity is None and assessed.most_units is not None:
        quantity = Fraction(assessed.most_units)
    return Authorized(
        start=start,
        end=end,
        daily=exact(assessed.daily) if assessed.kind is LineKind.DRUG else {},
        quantity=decimal_text(quantity) if quantity is not None else "",
    )


def approval_reasons(assessed: Assessed) -> tuple[Reason, ...]:
    """On what the approval rests: the section with its criteria, the dose, and how billing units come about."""
    judged = assessed.judged
    if judged is None:
        return ()
    determination, guideline = judged.determination, judged.rules.guideline
    named = f"guideline {guideline.id}, version {guideline.version}"
    met = [name for name, result in determination.criteria.items() if result.status is Truth.MET]
    words = ", ".join(guideline.criterion_name(name) for name in met)
    found = [Reason(f"meets {named}: {words}", criterion=", ".join(met))]
    found += [Reason(_dose_text(each)) for each in determination.dose if each.daily is not None]
    units = _units_text(assessed)
    if units:
        found.append(Reason(units))
    if assessed.coverage_ends:
        found.append(Reason(f"holds while the member is covered: the coverage sent ends on {assessed.coverage_ends}"))
    return tuple(found)


def _dose_text(dose: DoseResult) -> str:
    limit = f", within {decimal_text(dose.daily_limit)} mg/d" if dose.daily_limit is not None else ""
    return f"{dose.ingredient} {decimal_text(dose.daily or Fraction(0))} mg/d{limit}"


def _units_text(assessed: Assessed) -> str:
    billing, most = assessed.billing, assessed.most_units
    if billing is None or most is None or assessed.period is None:
        return ""
    days = (assessed.period[1] - assessed.period[0]).days + 1
    daily = assessed.daily[billing.drug]
    return (
        f"{decimal_text(daily)} mg/d for {days} days is {decimal_text(daily * days)} mg: at most {most} units of "
        f"{billing.code} ({decimal_text(billing.mg_per_unit)} mg each)"
    )


_PLAIN = {
    "order_understood": "the line names no order that can be read: send the signed order with it",
    "in_scope": "the guideline does not speak of this service: a person looks at it",
    "request_type_stated": "it is not settled whether this is a trial, permanent therapy or a renewal",
    "program_standard": "another rule comes first for this member's program: a person decides",
    "coverage_in_force": "no coverage of this payer in force, with the number of its member, could be told",
    "covered_throughout": "the coverage does not hold as long as it would have to: a person decides",
    "benefit_medical": "the drug is supplied under the pharmacy benefit",
    "order_active": "the order is not an active, signed one",
    "nothing_doubtful": "something in the request speaks against itself or could not be read",
    "attested": "the form is not signed by a prescriber, or its signature is too old or dated after the form itself",
    "not_appealed": "an appeal, or anything but an initial request, is decided by a person",
    "dates_fit": "a date of the request lies in the future or too far back, or begins after what would be authorized",
    "order_by_prescriber": "the order is by somebody who is not known to prescribe",
    "member_told_once": "the request bears several member numbers",
    "medical_policy": "the coverage is of a type that does not pay for medical care, or where somebody else is liable",
    "of_age": "the patient is no adult by the date of birth that was sent: a person looks at it",
    "no_allergy": "the chart holds an allergy or intolerance to what is ordered: a person looks at it",
    "nothing_else_runs": "the chart shows more of the same drug running than was ordered or could be counted",
    "diagnoses_meet": "the diagnosis of the line is another one than the order's",
    "answers_plain": "an answer of the form is one that a person looks at",
    "no_rationale": "the form gives a rationale in words: a person reads it",
    "insurer_ours": "the insurer that the Claim names is another payer than the Coverage's",
    "no_other_insurance": "another insurance, or somebody else, may have to pay too: a person looks at who pays first",
    "patient_living": "the patient is recorded as deceased",
    "patient_record_active": "the patient's record is marked as no longer in use",
    "rules_known": "a part of the request follows rules of its own (implicitRules) that are not known here",
    "still_current": "the order or its date of service has ended already: send one that still holds",
    "answers_fit_diagnoses": "a diagnosis speaks against an answer of the form, as cancer pain beside non-malignant",
    "chart_agrees": "an answer says what the chart spoke against when the order was signed: a person looks at both",
    "code_fits": "the billing code does not name the ordered drug or service, or is not known to",
    "quantity_fits": "the number of units is not one that dose and period are known to come to",
}


# What is asked of an order that the guideline speaks of; of another one it would only be noise.
_OF_THE_GUIDELINE = frozenset(
    {"request_type_stated", "attested", "of_age", "answers_plain", "no_rationale", "answers_fit_diagnoses"}
)
_RENEWAL = "this is a refill or renewal: the guideline states no criteria for it, a person decides"
_SCOPE_UNKNOWN = "it cannot be told whether the guideline speaks of this: the drug or its route is not known"
_NO_ORDER = "the line names no order (requestedService), and its code alone is not known to be of the guideline"


def _plain(assessed: Assessed, name: str) -> str:
    """A condition that does not hold, in the words that fit the line."""
    if name == "request_type_stated" and (_type_known(assessed) or assessed.line.previous):
        return _RENEWAL
    if name == "in_scope" and assessed.judged is not None and assessed.judged.determination.in_scope is None:
        return _SCOPE_UNKNOWN
    return _NO_ORDER if name == "in_scope" and not assessed.line.stated else _PLAIN[name]


def _type_known(assessed: Assessed) -> bool:
    return assessed.judged is not None and assessed.judged.determination.request_type != "unknown"


def waiting_reasons(assessed: Assessed, waits_for: str) -> tuple[Reason, ...]:
    """Why a person decides, most telling first; each names its criterion and what was looked at."""
    found = [Reason(waits_for)] if waits_for else []
    judged = assessed.judged
    if judged is not None:
        determination, guideline = judged.determination, judged.rules.guideline
        if determination.in_scope is not False:
            found += _criteria(determination, guideline)
            found += _doses(determination, met=determination.decision is Decision.MEETS)
    doubt = _doubt(assessed)
    outside = judged is not None and judged.determination.in_scope is False
    for name, holds in assessed.conditions.items():
        if not holds and name in _PLAIN and not (outside and name in _OF_THE_GUIDELINE):
            text = _plain(assessed, name)
            found.append(Reason(f"{text}: {doubt}" if name == "nothing_doubtful" and doubt else text))
    if not assessed.conditions.get("quantity_fits", True):
        found += [Reason(text) for text in (_units_text(assessed),) if text]
    return tuple(found) or (Reason("a person looks at this request"),)


def _criteria(determination: OrderDetermination, guideline: Guideline) -> list[Reason]:
    found = []
    for name, result in determination.criteria.items():
        if result.status is Truth.MET or name not in guideline.criteria:
            continue
        state = "is not shown to be met" if result.status is Truth.NOT_MET else "is not known to be met"
        seen = "; ".join(f"{each.shows} ({each.source})" for each in result.evidence[:3])
        wanted = ", ".join(guideline.facts[fact].label for fact in result.missing if fact in guideline.facts)
        called = "the indication" if name == guideline.stem else f"criterion {name}"
        text = f"{called} {state}: {guideline.criteria[name].text}"
        text += f". Seen: {seen}" if seen else ""
        text += f". Wanted: {wanted}" if wanted else ""
        found.append(Reason(text[:_LONGEST], criterion=name))
    return found


def _doses(determination: OrderDetermination, *, met: bool) -> list[Reason]:
    """The table is informational: what exceeds it is looked at by a person, and never a ground by itself."""
    beside = "the criteria are met, and " if met else ""
    found = []
    for dose in determination.dose:
        for what, value, limit, verdict, unit in (
            ("", dose.daily, dose.daily_limit, dose.daily_verdict, "mg/d"),
            ("concentration ", dose.concentration, dose.concentration_limit, dose.concentration_verdict, "mg/mL"),
        ):
            if verdict is Verdict.EXCEEDS and value is not None and limit is not None:
                amount = f"{dose.ingredient} {what}{decimal_text(value)} {unit}"
                table = f"{decimal_text(limit)} {unit} of the guideline's informational table"
                found.append(Reason(f"{beside}{amount} is above the {table}: a person looks at it"))
            elif verdict is Verdict.CANNOT_BE_DETERMINED:
                found.append(Reason(f"the {what or 'daily dose '}of {dose.ingredient} cannot be told from the order"))
    return found


def _doubt(assessed: Assessed) -> str:
    guideline = assessed.judged.rules.guideline if assessed.judged else None
    flags = {remark(flag.code, flag.subject, assessed.line.order, guideline) for flag in assessed.doubts}
    return ", ".join(sorted(flags))[:300]

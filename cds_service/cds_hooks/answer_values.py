"""The answer that goes with each situation, with its reasons in words (cds-hooks-crd B.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from cds_service.cds_hooks.order_words import (
    numbered,
    open_points,
    open_question,
    partly,
    rationale_for,
    readable_instant,
)
from cds_service.domain.authorization import Authorization, daily_limit
from cds_service.domain.coverage_answer import (
    Amount,
    CoverageAnswer,
    Covered,
    Detail,
    DetailCode,
    DocNeeded,
    DocPurpose,
    InfoNeeded,
    PaNeeded,
    Reason,
    ReasonCode,
    Span,
)
from cds_service.domain.determination import OrderDetermination, Program
from cds_service.domain.payer import Payer
from cds_service.domain.record import Code
from cds_service.domain.truth import Truth

BILLING_SYSTEM = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"  # preferred URI of HCPCS level II in THO

_NEEDED = "Prior authorization is needed."


class AnswerRules(msgspec.Struct, frozen=True):
    """What answers need of configuration; made once at load."""

    payer: Payer
    guideline: str  # "09-J1000-31"
    questionnaire: str  # versioned canonical


Builder = Callable[[AnswerRules, OrderDetermination, Authorization | None, str], CoverageAnswer | None]


def technical(version: str, why: str) -> CoverageAnswer:
    """Trouble of ours or of a read: indeterminate from 2.2, conditional before."""
    if version == "2.0":
        return _conditional(why)
    reasons = (Reason(why, ReasonCode.TECHNICAL),)
    return CoverageAnswer(covered=Covered.INDETERMINATE, pa_needed=PaNeeded.INDETERMINATE, reasons=reasons)


def _silent(_rules: AnswerRules, _order: OrderDetermination, _found: Authorization | None, _version: str) -> None:
    return None


def _outside(rules: AnswerRules, _o: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    return _conditional(
        f"Guideline {rules.guideline} does not address this order; its coverage depends on other rules."
    )


def _inactive(_r: AnswerRules, _o: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    reason = Reason("The member's coverage is not active on this date.", ReasonCode.NO_ACTIVE_COVERAGE)
    return CoverageAnswer(covered=Covered.NOT_COVERED, pa_needed=None, reasons=(reason,))


def _redirect(rules: AnswerRules, order: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    how = instructions(rules.payer, order.program)
    reason = f"Coverage depends on other rules. {how} Guideline {rules.guideline} is not used for this program."
    return _conditional(reason, details=(Detail(DetailCode.INSTRUCTIONS, how),))


def _medicare(rules: AnswerRules, order: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    how = instructions(rules.payer, order.program)
    return _conditional(
        f"{how} A person decides; guideline {rules.guideline} is shown as information.",
        pa_needed=PaNeeded.AUTH_NEEDED if rules.payer.medicare_pa == "auth-needed" else PaNeeded.CONDITIONAL,
        details=(Detail(DetailCode.INSTRUCTIONS, how),),
        questionnaire=rules.questionnaire,
        billing=_billing(order.billing),
    )


def instructions(payer: Payer, program: Program) -> str:
    """Whose guideline applies, in the payer's words; a question to the payer where it settled none."""
    rules = payer.programs.get(program)
    return (rules.instructions if rules else "") or "Ask the payer whose guideline applies."


def _authorized(
    _r: AnswerRules, order: OrderDetermination, found: Authorization | None, _version: str
) -> CoverageAnswer:
    if found is None:
        raise ValueError("an authorized order has its authorization")
    return CoverageAnswer(
        covered=Covered.COVERED,
        pa_needed=PaNeeded.SATISFIED,
        satisfied_pa_id=found.number,
        expiry=found.end,
        details=tuple(_limits(found)),
        billing=_billing(found.billing or order.billing),
    )


def _limits(found: Authorization) -> list[Detail]:
    """Every limit under which the authorization holds (cds-hooks-crd 146)."""
    details = [Detail(DetailCode.ALLOWED_PERIOD, Span(found.start, found.end))]
    for drug, stated in sorted(found.max_daily.items()):
        limit = daily_limit(stated)
        value = stated if limit is None else Amount(limit, "mg/d")
        details.append(Detail(DetailCode.ALLOWED_QUANTITY, value, f"{drug}, daily amount"))
    if found.quantity:
        details.append(Detail(DetailCode.ALLOWED_QUANTITY, found.quantity))
    return details


def _pending(_r: AnswerRules, order: OrderDetermination, found: Authorization | None, _v: str) -> CoverageAnswer:
    due = f" A decision is due by {readable_instant(found.due)}." if found and found.due else ""
    return _covered(order, f"A prior authorization request for this order is pending.{due}")


def _cannot_tell(_r: AnswerRules, order: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    what = open_question(order)
    reason = f"Coverage cannot be told yet. {what}"
    return _conditional(reason, details=(Detail(DetailCode.INSTRUCTIONS, what),), billing=_billing(order.billing))


def _technical_read(_r: AnswerRules, _o: OrderDetermination, _f: Authorization | None, version: str) -> CoverageAnswer:
    return technical(version, "A part of the record that decides the answer could not be read.")


def _no_auth(rules: AnswerRules, order: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    return CoverageAnswer(
        covered=Covered.COVERED,
        pa_needed=PaNeeded.NO_AUTH,
        reasons=(Reason(f"This plan needs no prior authorization; guideline {rules.guideline} is advice."),),
        billing=_billing(order.billing),
    )


def _ready(rules: AnswerRules, order: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    met = f"The criteria of guideline {rules.guideline} appear to be met; the request can be submitted."
    return _covered(order, f"{_NEEDED} {met}")


def _reviewer(rules: AnswerRules, order: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    text = f"{_NEEDED} The request can be submitted; a reviewer decides. {open_points(rules.guideline, order)}"
    return _covered(order, text.rstrip())


def _missing(rules: AnswerRules, order: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    where = numbered(order, Truth.UNKNOWN)
    count = len(order.missing_facts)
    facts = "1 fact that" if count == 1 else f"{count} facts that"
    open_ones = f" ({'criterion' if len(where) == 1 else 'criteria'} {', '.join(where)})" if where else ""
    reason = (
        f"{_NEEDED} The chart does not settle {facts} guideline {rules.guideline} asks for{open_ones}."
        f"{' A part of the record was not available.' if partly(order) else ''}"
    )
    return _documented(rules, order, reason)


def _rationale(rules: AnswerRules, order: OrderDetermination, _f: Authorization | None, _v: str) -> CoverageAnswer:
    text = f"{_NEEDED} It takes a clinical rationale for {rationale_for(order)}. {open_points(rules.guideline, order)}"
    return _documented(rules, order, text.rstrip())


def _covered(order: OrderDetermination, reason: str) -> CoverageAnswer:
    return CoverageAnswer(
        covered=Covered.COVERED,
        pa_needed=PaNeeded.AUTH_NEEDED,
        reasons=(Reason(reason),),
        billing=_billing(order.billing),
    )


def _documented(rules: AnswerRules, order: OrderDetermination, reason: str) -> CoverageAnswer:
    return CoverageAnswer(
        covered=Covered.COVERED,
        pa_needed=PaNeeded.AUTH_NEEDED,
        doc_needed=DocNeeded.CLINICAL,
        doc_purpose=(DocPurpose.WITH_PA,),
        questionnaires=(rules.questionnaire,),
        reasons=(Reason(reason),),
        billing=_billing(order.billing),
    )


def _conditional(
    reason: str,
    *,
    pa_needed: PaNeeded = PaNeeded.CONDITIONAL,
    details: tuple[Detail, ...] = (),
    questionnaire: str = "",
    billing: tuple[Code, ...] = (),
) -> CoverageAnswer:
    return CoverageAnswer(
        covered=Covered.CONDITIONAL,
        pa_needed=pa_needed,
        doc_needed=DocNeeded.CLINICAL if questionnaire else None,
        doc_purpose=(DocPurpose.WITH_PA,) if questionnaire else (),
        questionnaires=(questionnaire,) if questionnaire else (),
        info_needed=(InfoNeeded.OTHER,),
        reasons=(Reason(reason),),
        details=details,
        billing=billing,
    )


def _billing(codes: tuple[str, ...]) -> tuple[Code, ...]:
    return tuple([Code(BILLING_SYSTEM, code) for code in codes])


VALUES: Mapping[str, Builder] = {
    "outside": _silent,
    "outside-said": _outside,
    "inactive": _inactive,
    "redirect": _redirect,
    "medicare": _medicare,
    "authorized": _authorized,
    "ending": _authorized,
    "pending": _pending,
    "technical": _technical_read,
    "cannot-tell": _cannot_tell,
    "no-auth": _no_auth,
    "ready": _ready,
    "missing-facts": _missing,
    "rationale": _rationale,
    "reviewer": _reviewer,
}

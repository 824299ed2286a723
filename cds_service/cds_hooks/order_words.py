"""What a determination leaves open, in words that answers and cards share."""

from __future__ import annotations

from datetime import datetime

from cds_service.domain.determination import DoseResult, OrderDetermination, Program, Verdict
from cds_service.domain.quantity import decimal_text
from cds_service.domain.truth import Truth


def open_question(order: OrderDetermination) -> str:
    """What has to be told before an answer is possible."""
    codes = {flag.code for flag in order.flags}
    if order.in_scope is None and "route_missing" in codes:
        return "The route of administration is not stated; give it on the order."
    if order.in_scope is None:
        return "The drug or route of this order cannot be told from its codes; give them coded."
    if order.program is Program.UNKNOWN:
        return "The member's payer or program cannot be told from the Coverage."
    return "Whether this plan needs prior authorization cannot be told here; ask the payer."


def rationale_for(order: OrderDetermination) -> str:
    """What a clinical rationale has to explain, in few words; empty where nothing needs one."""
    daily = any(result.daily_verdict is Verdict.EXCEEDS for result in order.dose)
    strength = any(result.concentration_verdict is Verdict.EXCEEDS for result in order.dose)
    points = [*(["the dose"] if daily else []), *(["the concentration"] if strength else [])]
    unmet = [key for key, result in order.criteria.items() if result.status is Truth.NOT_MET]
    if len(unmet) > 1:
        points.append(f"{len(unmet)} criteria")
    elif unmet:
        points.append("the indication" if unmet[0].isalpha() else f"criterion {unmet[0]}")
    return " and ".join(points) if len(points) < 3 else f"{', '.join(points[:-1])} and {points[-1]}"


def open_points(guideline: str, order: OrderDetermination) -> str:
    """What a reviewer will look at, limit and value included."""
    points = [line for result in order.dose for line in exceeding(result)]
    unmet = [key for key, result in order.criteria.items() if result.status is Truth.NOT_MET]
    if unmet:
        names = ", ".join("the indication" if key.isalpha() else key for key in unmet)
        points.append(f"not shown by what was found: {names} of guideline {guideline}")
    if renewal_not_stated(order):
        points.append("renewal criteria are not stated in the guideline")
    text = "; ".join(points)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def exceeding(result: DoseResult) -> list[str]:
    """As "morphine 16 mg/d is above the guideline table's 15 mg/d", for the daily amount and for the concentration."""
    lines = []
    if result.daily_verdict is Verdict.EXCEEDS and result.daily is not None and result.daily_limit is not None:
        amount, limit = decimal_text(result.daily), decimal_text(result.daily_limit)
        lines.append(f"{result.ingredient} {amount} mg/d is above the guideline table's {limit} mg/d")
    strength, top = result.concentration, result.concentration_limit
    if result.concentration_verdict is Verdict.EXCEEDS and strength is not None and top is not None:
        amount, limit = decimal_text(strength), decimal_text(top)
        lines.append(f"{result.ingredient} {amount} mg/mL is above the guideline table's {limit} mg/mL")
    return lines


def partly(order: OrderDetermination) -> bool:
    """Whether a part of the record that matters was not available."""
    return any(flag.code == "incomplete_data" for flag in order.flags)


def numbered(order: OrderDetermination, status: Truth) -> list[str]:
    """Numbers of the criteria with this status; the precondition has none."""
    return [key for key, result in order.criteria.items() if result.status is status and not key.isalpha()]


def renewal_not_stated(order: OrderDetermination) -> bool:
    """Whether the guideline is silent on this kind of request."""
    return any(flag.code == "renewal_criteria_not_stated" for flag in order.flags)


def readable_instant(text: str) -> str:
    """An ISO instant as "2026-03-05 17:00 UTC", in the zone that it was given in; what is none stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.tzinfo is None else f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"

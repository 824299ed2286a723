"""The words of the reviewers' pages: due times, flags, states. Plain, and never only a colour."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from cds_service.domain.prior_auth import CaseState, ReviewAction

STATE_WORDS = {
    CaseState.PENDED: "waits for a decision",
    CaseState.DECIDED: "decided",
    CaseState.CANCELLED: "cancelled by the provider",
    CaseState.ERROR: "not ours to decide",
}
ACTION_WORDS = {
    ReviewAction.APPROVED: "approved",
    ReviewAction.NOT_CERTIFIED: "not certified",
    ReviewAction.PENDED: "waits",
    ReviewAction.MODIFIED: "approved with a change",
    ReviewAction.CANCELLED: "cancelled",
}
PROGRAM_WORDS = {
    "standard": "Standard",
    "fep": "Federal Employee Program",
    "sao": "State Account Organization",
    "medicare_advantage": "Medicare Advantage",
    "other_payer": "Another payer",
    "unknown": "Not known",
}
REQUEST_WORDS = {
    "trial": "preliminary trial",
    "permanent": "permanent administration",
    "refill_or_renewal": "refill or renewal",
    "unknown": "kind of request not known",
}
STATUS_WORDS = {"met": "appears met", "not_met": "not shown", "unknown": "open"}
DECISION_WORDS = {
    "meets": "appears to meet the criteria",
    "does_not_meet": "a criterion is not shown to be met",
    "insufficient_information": "not enough is known",
    "not_applicable": "the guideline does not speak of this",
    "redirect_fep": "the FEP guidelines apply",
    "redirect_sao": "the SAO guidelines apply",
    "refer_medicare_policy": "Medicare's own policy applies",
    "other_payer": "another payer's member",
}
NO_CRITERIA_WORDS = "the guideline states no criteria for this; a person decides"
_FLAGS = {
    "dose_exceeds": "daily dose above the guideline's table",
    "concentration_exceeds": "concentration above the guideline's table",
    "possible_unit_error": "possible slip of units",
    "non_ucum_unit": "a unit that is not written as the standard asks",
    "dose_shape_unusual": "the dosage is written in an unusual way",
    "conflict": "two statements disagree",
    "contrary_evidence": "the chart shows something that speaks against it",
    "anticoagulant": "an anticoagulant is taken",
    "active_infection": "an active infection",
    "stale_attestation": "an attestation that is too old",
    "icd_missing": "no diagnosis with the order",
    "icd_not_listed": "the diagnosis is not in the guideline's list (advice only)",
    "dx_not_linked_to_order": "the diagnosis comes from the problem list, not from the order",
    "drug_dx_mismatch": "drug and diagnosis do not usually go together (advice only)",
    "code_conflict": "a billing code that is printed with another drug",
    "pain_reduction_below_50_percent": "pain went down by less than half",
    "trial_drug_not_opioid": "the trial was not done with an opioid",
    "second_line_acceptable_first_if_neuropathic": "second line; first line where pain is neuropathic",
    "route_missing": "no route is stated",
    "coverage_unknown": "it is not known whose member this is",
    "medicare": "Medicare Advantage",
    "incomplete_data": "not everything could be seen",
    "acute_care_setting": "acute care",
    "renewal_criteria_not_stated": "the guideline states no criteria for a renewal",
}
_CHANGED_KINDS = {
    "submit": "request received",
    "update": "request changed by the provider",
    "cancel": "request cancelled by the provider",
    "renewal": "renewal asked for",
    "decision": "decided by a reviewer",
    "information": "question sent to the provider",
    "extension": "extension sent to the provider",
}
_EVENTS = {
    "received": "request received",
    "line_decided": "a line was decided",
    "pended": "waits for a reviewer",
    "information_wanted": "more was asked for",
    "updated": "request changed by the provider",
    "cancelled": "cancelled by the provider",
    "decided": "every line is decided",
    "extended": "time extended",
    "appeal": "appealed",
}


_CONDITIONS = {
    "order_understood": "the line names an order that can be read",
    "in_scope": "the guideline speaks of this service",
    "request_type_stated": "the guideline states criteria for this kind of request",
    "criteria_met": "all criteria appear met and nothing is missing",
    "program_standard": "the member's program is Standard",
    "coverage_in_force": "the coverage is in force",
    "covered_throughout": "the coverage lasts as long as it has to",
    "benefit_medical": "the medical benefit pays",
    "order_active": "the order is active and signed",
    "dose_within_table": "dose and concentration are within the guideline's table",
    "nothing_doubtful": "nothing in the request is in doubt",
    "attested": "the form is signed by a prescriber, and not too long ago",
    "not_appealed": "this is no appeal",
    "insurer_ours": "the request is addressed to this payer",
    "no_other_insurance": "no other insurance may have to pay too",
    "patient_living": "the patient is not recorded as deceased",
    "patient_record_active": "the patient's record is in use",
    "rules_known": "no part of the request follows rules of its own",
    "still_current": "order and date of service still hold",
    "answers_fit_diagnoses": "diagnoses and answers agree",
    "chart_agrees": "the answers agree with the chart as it was at signing",
    "code_fits": "the billing code fits what is ordered",
    "quantity_fits": "the number of units fits dose and period",
}
FORM_WORDS = {
    "completed": "finished",
    "amended": "finished, then changed",
    "in-progress": "not finished",
    "stopped": "given up",
    "entered-in-error": "entered in error",
}


class Due(msgspec.Struct, frozen=True):
    """How a case stands to its clock. ``level``: overdue, soon (a fifth left or less), half or early; none."""

    level: str
    words: str  # "due in 5 h"
    at: datetime | None


def due_of(received: datetime, due: datetime | None, now: datetime) -> Due:
    """The clock of a case that waits. Alerts at half, at four fifths and at the whole of the time."""
    if due is None:
        return Due("none", "no due time", None)
    left, whole = due - now, due - received
    if left < timedelta(0):
        return Due("overdue", f"overdue by {span(-left)}", due)
    if left * 5 <= whole:
        return Due("soon", f"urgent: due in {span(left)}", due)
    return Due("half" if left * 2 <= whole else "early", f"due in {span(left)}", due)


def span(time: timedelta) -> str:
    """A length of time in the unit that a person would use: 40 min, 5 h, 3 days."""
    minutes = time // timedelta(minutes=1)
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h"
    return f"{hours // 24} days"


def flag_words(code: str) -> str:
    """A flag of a determination for a person; one that is new here is shown by its code."""
    return _FLAGS.get(code, code.replace("_", " "))


def condition_words(condition: str) -> str:
    """A condition of an approval by machine, as it should be."""
    return _CONDITIONS.get(condition, condition.replace("_", " "))


def version_words(kind: str) -> str:
    """What made a version of a case."""
    return _CHANGED_KINDS.get(kind, kind)


def event_words(kind: str) -> str:
    """One step of a case."""
    return _EVENTS.get(kind, kind.replace("_", " "))

"""The parts of a card's detail, each a list of GitHub-flavoured Markdown lines (cds-hooks-crd 48, 161).

Most important first: what to do, what is missing, the criteria with their evidence, the arithmetic, advice, and the
two sentences that no card may go without. Everything that came from FHIR passes through ``markdown_text``.
"""

from __future__ import annotations

from collections.abc import Sequence

from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.markdown import markdown_text
from cds_service.domain.determination import CriterionResult, DoseResult, OrderDetermination, Verdict
from cds_service.domain.order import Order
from cds_service.domain.quantity import decimal_text
from cds_service.domain.truth import Truth

_SHOWN = 3  # pieces of evidence per criterion
_STATUS = {Truth.MET: "appears met", Truth.NOT_MET: "not shown", Truth.UNKNOWN: "not known yet"}
_VERDICT = {
    Verdict.WITHIN: "within",
    Verdict.EXCEEDS: "**above**",
    Verdict.NO_LIMIT_STATED: "no limit stated in the guideline",
    Verdict.CANNOT_BE_DETERMINED: "cannot be determined from the order",
}
_TIER = {
    "first": "First line in the guideline.",
    "second": "Second line in the guideline.",
    "third": "Third line in the guideline.",
    "not_tiered": "The guideline gives this regimen no line of therapy.",
    "not_addressed": "The guideline does not speak of this combination.",
}
# Remarks that a person should see; the other flags are already visible in table, dose lines or missing facts.
_REMARKS = {
    "conflict": "Answers and chart contradict each other; the point stays open.",
    "contrary_evidence": "There is evidence to the contrary; please look.",
    "anticoagulant": "An anticoagulant is on the medication list; that alone is no contraindication here.",
    "active_infection": "An active infection is on the problem list.",
    "stale_attestation": "An earlier answer is too old to count.",
    "drug_dx_mismatch": "Drug and diagnosis are an unusual pair (advice; the guideline states no rule).",
    "code_conflict": "A billing code is printed with another drug than its national meaning; confirm before billing.",
    "pain_reduction_below_50_percent": "Pain fell by less than 50 % in the trial; the clinician judges the relief.",
    "trial_drug_not_opioid": "The trial drug was not an opioid; the guideline speaks of an opioid trial.",
    "incomplete_data": "A part of the record was not available, so something may be missing above.",
    "non_ucum_unit": "A unit is not written in UCUM; please check how it was read.",
    "dose_shape_unusual": "The dose is written in an unusual form; please check how it was read.",
    "dx_not_linked_to_order": "The diagnosis was taken from the problem list; it is not linked to the order.",
    "renewal_criteria_not_stated": "Renewal criteria are not stated in the guideline; a reviewer decides.",
}


def criteria_table(texts: CardTexts, determination: OrderDetermination) -> list[str]:
    """Criterion, status and evidence with dates, in the guideline's order."""
    if not determination.criteria:
        return []
    lines = ["", "| Criterion | Status | Evidence |", "|---|---|---|"]
    for key, result in determination.criteria.items():
        lines.append(f"| {texts.criteria.get(key, key)} | {_STATUS[result.status]} | {_evidence(result)} |")
    return lines


def _evidence(result: CriterionResult) -> str:
    parts = [
        f"{markdown_text(each.date, 10)} {markdown_text(each.shows, 160)} ({markdown_text(each.source, 100)})".lstrip()
        for each in result.evidence[:_SHOWN]
    ]
    if len(result.evidence) > _SHOWN:
        parts.append(f"and {len(result.evidence) - _SHOWN} more")
    return "; ".join(parts) or "nothing found"


def missing_list(texts: CardTexts, determination: OrderDetermination) -> list[str]:
    """The facts still to be given, in the words of the form."""
    if not determination.missing_facts:
        return []
    return ["", "Still missing:", "", *(f"- {texts.facts.get(name, name)}" for name in determination.missing_facts)]


def distinct(doses: Sequence[Sequence[DoseResult]]) -> list[DoseResult]:
    """Dose results of several orders, one that they share named once."""
    return list(doses[0]) if len(doses) == 1 else list(dict.fromkeys(dose for each in doses for dose in each))


def dose_lines(texts: CardTexts, results: Sequence[DoseResult]) -> list[str]:
    """Daily amount and concentration against the table, with the arithmetic and where the limit stands."""
    lines: list[str] = [""] if results else []
    for result in results:
        drug = markdown_text(result.ingredient, 80)
        lines.append(f"- {drug}: {_daily(result)}; {_concentration(result)}{_source(texts, result)}")
        lines += [f"  - {markdown_text(step)}" for step in result.steps[:6] if "=" in step]  # arithmetic, no repetition
    return lines


def _daily(result: DoseResult) -> str:
    amount = "daily amount" if result.daily is None else f"{decimal_text(result.daily)} mg/d"
    limit = "" if result.daily_limit is None else f" (table: {decimal_text(result.daily_limit)} mg/d)"
    return f"{amount} {_VERDICT[result.daily_verdict]}{limit}"


def _concentration(result: DoseResult) -> str:
    strength, top = result.concentration, result.concentration_limit
    amount = "concentration" if strength is None else f"{decimal_text(strength)} mg/mL"
    limit = "" if top is None else f" (table: {decimal_text(top)} mg/mL, written for compounded solutions)"
    return f"{amount} {_VERDICT[result.concentration_verdict]}{limit}"


def _source(texts: CardTexts, result: DoseResult) -> str:
    citation = texts.dose_citations.get(result.ingredient)
    return f" [{texts.guideline}, {citation}]" if citation else ""


def advice_lines(texts: CardTexts, determination: OrderDetermination, order: Order | None) -> list[str]:
    """Line of therapy, diagnosis, billing, remarks, precaution: advice, never a criterion."""
    solution = order.solution if order is not None else None
    drugs = frozenset(part.name for part in solution.drugs() if part.name) if solution else frozenset()
    codes = dict.fromkeys(flag.code for flag in determination.flags)
    parts = [*texts.programs.get(determination.program, ())]
    line = " ".join([_TIER.get(determination.tier.tier, ""), texts.regimens.get(drugs, "")]).strip()
    if drugs and line:
        parts.append(line)
    parts += [note for drug in sorted(drugs) for note in texts.drug_notes.get(drug, ())]
    parts += _diagnosis(determination) + _billing(texts, determination, drugs)
    for code in codes:
        parts += texts.flag_notes.get(code) or ((_REMARKS[code],) if code in _REMARKS else ())
    if order is not None and order.prior and texts.precaution:
        parts.append(texts.precaution)
    return ["", *(f"- {part}" for part in parts)] if parts else []


def _diagnosis(determination: OrderDetermination) -> list[str]:
    codes = ", ".join(markdown_text(code, 20) for code in determination.icd.codes)
    if determination.icd.status == "supported":
        return [f"Diagnosis code on the guideline's list: {codes}."]
    if determination.icd.status == "not_listed":
        return ["No diagnosis code of the order is on the guideline's list (advice, not a criterion)."]
    return []


def _billing(texts: CardTexts, determination: OrderDetermination, drugs: frozenset[str]) -> list[str]:
    """The codes, or what they depend on while it is not known whether the drug is compounded."""
    codes = [markdown_text(code, 20) for code in determination.billing]
    lines = [f"Billing: {', '.join(codes)}."] if codes else []
    if texts.compounded_code in determination.billing:
        return [*lines, texts.related] if texts.related else lines
    otherwise = [texts.commercial[drug] for drug in sorted(drugs) if drug in texts.commercial]
    if drugs and texts.compounded_code and not set(otherwise) & set(determination.billing):
        other = " and ".join(otherwise) or "the guideline lists no code"
        lines.append(f"Billing if the drug is compounded: {texts.compounded_code}; if it is not: {other}.")
    return lines


def closing_lines(texts: CardTexts, *, dose: bool) -> list[str]:
    """The quoted disclaimers, and where to read the guideline."""
    lines = ["", *(f"> {line}" for line in (texts.card_disclaimer, texts.dose_disclaimer if dose else "") if line)]
    return [*lines, "", f"[Guideline {texts.guideline}]({texts.policy_url})"]

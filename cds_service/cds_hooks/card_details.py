"""The parts of a card's detail, each a list of GitHub-flavoured Markdown lines (cds-hooks-crd 48, 161).

The questions still open, the arithmetic, advice, and the two sentences that no card may go without. Everything that
came from FHIR passes through ``markdown_text``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.markdown import markdown_text
from cds_service.cds_hooks.order_words import partly
from cds_service.domain.determination import DoseResult, OrderDetermination, Verdict
from cds_service.domain.order import Order
from cds_service.domain.quantity import decimal_text

_TIER = {
    "first": "first line in the guideline",
    "second": "second line in the guideline",
    "third": "third line in the guideline",
    "not_tiered": "no line of therapy in the guideline",
}
_NOT_ADDRESSED = "The guideline does not speak of this combination of drugs."
# Why a question that was answered before is asked again.
_WHY = {
    "conflict": " (answer and chart contradict each other)",
    "stale_attestation": " (the answer on file is too old to count)",
}
_NOT_AVAILABLE = "A part of the record was not available; it may hold some of these answers."
# Remarks that a person should see; the other flags are already visible in table, dose lines or missing facts.
_REMARKS = {
    "conflict": "Answers and chart, or words and codes of an order, contradict each other; the point stays open.",
    "contrary_evidence": "There is evidence to the contrary; please look.",
    "anticoagulant": "An anticoagulant is on the medication list; that alone is no contraindication here.",
    "active_infection": "An active infection is on the problem list.",
    "stale_attestation": "An earlier answer is too old to count.",
    "drug_dx_mismatch": "Drug and diagnosis are an unusual pair (advice; the guideline states no rule).",
    "code_conflict": "A billing code is printed with another drug than its national meaning; confirm before billing.",
    "pain_reduction_below_50_percent": "Pain fell by less than 50 % in the trial; the clinician judges the relief.",
    "trial_drug_not_opioid": "The trial drug was not an opioid; the guideline speaks of an opioid trial.",
    "non_ucum_unit": "A unit is not written in UCUM; please check how it was read.",
    "dose_shape_unusual": "The dose is written in an unusual form; please check how it was read.",
    "policy_not_in_force": "No version of the guideline is in force on this day; the nearest one was used.",
    "dx_not_linked_to_order": "The diagnosis was taken from the problem list; it is not linked to the order.",
}


def missing_list(texts: CardTexts, determination: OrderDetermination) -> list[str]:
    """The facts still to be given, in the words of the form."""
    names = determination.missing_facts
    if not names:
        return []
    why = _why_again(determination)
    lines = ["", "**Questions still open**", ""]
    lines += [f"- {texts.facts.get(name, name)}{why.get(name, '')}" for name in names]
    return [*lines, "", _NOT_AVAILABLE] if partly(determination) else lines


def _why_again(determination: OrderDetermination) -> dict[str, str]:
    """Missing facts that were answered before, with why they are asked again; a criterion stands for its one fact."""
    why = {}
    for flag in determination.flags:
        if flag.code in _WHY:
            criterion = determination.criteria.get(flag.subject)
            names = criterion.missing if criterion else (flag.subject,)
            if len(names) == 1 and names[0] in determination.missing_facts:
                why[names[0]] = _WHY[flag.code]
    return why


def distinct(doses: Sequence[Sequence[DoseResult]]) -> list[DoseResult]:
    """Dose results of several orders, one that they share named once."""
    return list(doses[0]) if len(doses) == 1 else list(dict.fromkeys(dose for each in doses for dose in each))


def dose_lines(texts: CardTexts, results: Sequence[DoseResult]) -> list[str]:
    """Daily amount with its arithmetic and concentration, each against the table, and where the limits stand."""
    if not results:
        return []
    lines = ["", "**Dose and concentration** against the guideline's table, which is informational", ""]
    for result in results:
        drug = markdown_text(result.ingredient, 80)
        daily = _held(result, result.daily, result.daily_limit, result.daily_verdict, "mg/d")
        lines.append(f"- {drug} {daily or 'daily dose: cannot be told from the order'}")
        lines += [f"  - {markdown_text(_read_aloud(step))}" for step in result.steps[:6] if "=" in step]
        strength = _held(
            result, result.concentration, result.concentration_limit, result.concentration_verdict, "mg/mL"
        )
        lines.append(f"- {drug} {strength or 'concentration: cannot be told from the order'}")
    return lines + _limits(texts, results)


def _held(result: DoseResult, value: Fraction | None, limit: Fraction | None, verdict: Verdict, unit: str) -> str:
    """A value against its limit, as "16 mg/d: **above** the table's 15 mg/d"; empty where there is no value."""
    if value is None:
        return ""
    amount = f"{decimal_text(value)} {unit}"
    if limit is None or verdict is Verdict.NO_LIMIT_STATED:
        if verdict is Verdict.CANNOT_BE_DETERMINED:
            return f"{amount}: not compared with the table, because the route is not clear"
        other = result.daily_limit is None and result.concentration_limit is None
        return f"{amount}: no limit stated in the guideline{' for this route' if other else ''}"
    top = f"the table's {decimal_text(limit)} {unit}"
    if verdict is not Verdict.EXCEEDS:
        return f"{amount}: within {top}"
    times = value / limit if limit else Fraction(0)
    over = "over " if times.denominator > 1 else ""
    return f"{amount}: **above** {top}{f' ({over}{int(times)} times that)' if int(times) > 1 else ''}"


def _read_aloud(step: str) -> str:
    """A step of the arithmetic with the microgram as prescribers may write it."""
    return step.replace(" ug", " mcg") if " ug" in step else step


def _limits(texts: CardTexts, results: Sequence[DoseResult]) -> list[str]:
    """Where the limits that were used stand; nothing where none was."""
    used = [each for each in results if each.daily_limit is not None or each.concentration_limit is not None]
    cites = dict.fromkeys(cite for each in used if (cite := texts.dose_citations.get(each.ingredient)))
    if not cites:
        return []
    note = " The table's concentrations are for compounded solutions."
    strengths = note if any(each.concentration_limit is not None for each in used) else ""
    return ["", f"Limits from guideline {texts.guideline}: {'; '.join(cites)}.{strengths}"]


def advice_lines(texts: CardTexts, determination: OrderDetermination, order: Order | None) -> list[str]:
    """Line of therapy, diagnosis, billing, remarks, precaution: advice, never a criterion."""
    solution = order.solution if order is not None else None
    drugs = frozenset(part.name for part in solution.drugs() if part.name) if solution else frozenset()
    codes = dict.fromkeys(flag.code for flag in determination.flags)
    parts = [*texts.programs.get(determination.program, ())]
    if drugs:
        parts += _therapy(texts, determination.tier.tier, texts.regimens.get(drugs, ""))
    parts += [note for drug in sorted(drugs) for note in texts.drug_notes.get(drug, ())]
    parts += _diagnosis(determination) + _billing(texts, determination, drugs)
    explained = _why_again(determination).values()
    for code in codes:
        if _WHY.get(code) in explained:
            continue  # stands with the question
        parts += texts.flag_notes.get(code) or ((_REMARKS[code],) if code in _REMARKS else ())
    if order is not None and order.prior and texts.precaution:
        parts.append(texts.precaution)
    return ["", "**Good to know** (advice, not criteria)", "", *(f"- {part}" for part in parts)] if parts else []


def _therapy(texts: CardTexts, tier: str, regimen: str) -> list[str]:
    """The regimen in the guideline's view, with its line of therapy where the guideline knows lines."""
    if tier == "not_addressed" and texts.regimens:
        return [_NOT_ADDRESSED]
    line = _TIER.get(tier, "")
    if not regimen:
        return [f"{line.capitalize()}."] if line else []
    return [f"{regimen} ({line})." if line else regimen]


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
        return [*lines, f"For compounded drugs see also {texts.related}."] if texts.related else lines
    otherwise = [texts.commercial[drug] for drug in sorted(drugs) if drug in texts.commercial]
    if drugs and texts.compounded_code and not set(otherwise) & set(determination.billing):
        other = " and ".join(otherwise) or "the guideline lists no code"
        lines.append(f"Billing if the drug is compounded: {texts.compounded_code}; if it is not: {other}.")
    return lines


def closing_lines(texts: CardTexts, *, dose: bool, link: bool = True) -> list[str]:
    """Where to read the guideline, and last the quoted disclaimers."""
    lines = ["", f"[Guideline {texts.guideline}]({texts.policy_url})"] if link else []
    return [
        *lines,
        "",
        *(f"> {line}" for line in (texts.card_disclaimer, texts.dose_disclaimer if dose else "") if line),
    ]

"""The words of cards that depend on configuration alone, escaped once at load."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cds_service.cds_hooks.markdown import markdown_text, plain_text
from cds_service.domain.payer import Payer
from cds_service.policy.model import Guideline, Statement

_LONG = 1_000  # of one text of the guideline's


class CardTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything here is Markdown, but for ``label`` and the addresses."""

    guideline: str  # "09-J1000-31"
    label: str  # source.label
    policy_url: str  # absolute, of the public page
    smart_app_url: str | None  # None: no SMART link is shown
    reasons_system: str  # CodeSystem of the override reasons
    criteria: Mapping[str, str]
    facts: Mapping[str, str]
    durations: Mapping[str, str]  # "P1M" -> "1 month"
    dose_citations: Mapping[str, str]
    notes: Mapping[str, str]  # statement id -> text, for caveats and advice
    card_disclaimer: str  # one line, on every card
    dose_disclaimer: str  # one line more, where a dose is shown
    precaution: str
    compounded_code: str
    commercial: Mapping[str, str]


def card_texts(
    guideline: Guideline, payer: Payer, *, policy_url: str, smart_app_url: str | None, canonical_base: str
) -> CardTexts:
    """Prepare the words of one guideline. ``canonical_base`` as in "https://cds.example.org/fhir"."""
    printed = {row.cite for row in guideline.dose_rows}
    disclaimers = guideline.statements_of("disclaimer")
    return CardTexts(
        guideline=markdown_text(guideline.id),
        label=plain_text(payer.label, 80),
        policy_url=policy_url,
        smart_app_url=smart_app_url,
        reasons_system=f"{canonical_base}/CodeSystem/dose-override-reasons",
        criteria={key: markdown_text(each.text, _LONG) for key, each in guideline.criteria.items()},
        facts={name: markdown_text(fact.text, _LONG) for name, fact in guideline.facts.items()},
        durations={
            section.approval_duration: _duration(section.approval_duration)
            for section in guideline.sections.values()
            if section.approval_duration
        },
        dose_citations={drug: markdown_text(row.citation) for drug, row in guideline.dose_table.rows.items()},
        notes={each.id: markdown_text(each.text, _LONG) for each in guideline.statements},
        card_disclaimer=_quotes(guideline, [each for each in disclaimers if each.cite not in printed]),
        dose_disclaimer=_quotes(guideline, [each for each in disclaimers if each.cite in printed]),
        precaution=_quotes(guideline, guideline.statements_of("precaution")),
        compounded_code=guideline.billing.compounded_code,
        commercial=guideline.billing.commercial,
    )


def _quotes(guideline: Guideline, statements: list[Statement] | tuple[Statement, ...]) -> str:
    parts = []
    for each in statements:
        text = markdown_text(each.text, _LONG)
        shown = f"\N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}" if each.quoted else text
        parts.append(f"{shown} ({markdown_text(guideline.id)}, {markdown_text(each.cite)})")
    return " ".join(parts)


def _duration(iso: str) -> str:
    """P1M as "1 month"; other forms as they are."""
    number, unit = iso[1:-1], {"D": "day", "W": "week", "M": "month", "Y": "year"}.get(iso[-1:])
    if not number.isdigit() or unit is None:
        return markdown_text(iso)
    return f"{number} {unit}" + ("" if number == "1" else "s")

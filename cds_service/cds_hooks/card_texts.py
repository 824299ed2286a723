"""The words of cards that depend on configuration alone, escaped once at load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import msgspec

from cds_service.cds_hooks.answer_values import instructions
from cds_service.cds_hooks.markdown import markdown_text, plain_text
from cds_service.domain.determination import Program
from cds_service.domain.payer import Payer
from cds_service.policy.model import Annotation, Guideline, ProgramException, Statement

_LONG = 1_000  # of one text of the guideline's


class CardTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything here is Markdown, but for ``label``, codes and addresses."""

    guideline: str  # "09-J1000-31"
    label: str  # source.label
    policy_url: str  # absolute, of the public page
    smart_app_url: str | None  # None: no SMART link is shown
    reasons_system: str  # CodeSystem of the override reasons
    criteria: Mapping[str, str]  # id -> number and text
    facts: Mapping[str, str]
    asked_after: Mapping[str, frozenset[str]]  # fact -> those of which one must be answered before it is asked
    durations: Mapping[str, str]  # "P1M" -> "1 month"
    dose_citations: Mapping[str, str]
    regimens: Mapping[frozenset[str], str]  # drugs of a solution -> what the guideline says of it
    drug_notes: Mapping[str, tuple[str, ...]]  # footnotes and findings about one drug
    flag_notes: Mapping[str, tuple[str, ...]]  # findings shown with a flag
    programs: Mapping[Program, tuple[str, ...]]  # what to read instead
    instructions: Mapping[Program, str]  # whose guideline applies, in the payer's words; plain text
    card_disclaimer: str  # on every card
    dose_disclaimer: str  # one more, where a dose is shown
    precaution: str
    related: str  # beside codes for compounded drugs
    compounded_code: str
    commercial: Mapping[str, str]  # drug -> code where nothing is compounded


def card_texts(
    guideline: Guideline, payer: Payer, *, policy_url: str, smart_app_url: str | None, canonical_base: str
) -> CardTexts:
    """Prepare the words of one guideline. ``canonical_base`` as in "https://cds.example.org/fhir"."""
    table = [row.cite for row in guideline.dose_rows]
    disclaimers = guideline.statements_of("disclaimer")
    beside_table = [each for each in disclaimers if any(cite.startswith(each.cite) for cite in table)]
    found = [each for each in guideline.annotations if each.shown == "card"]
    about_drugs: list[Statement | Annotation] = list(guideline.statements_of("footnote"))
    about_drugs += [each for each in found if not each.flag]
    return CardTexts(
        guideline=markdown_text(guideline.id),
        label=plain_text(payer.label, 80),
        policy_url=policy_url,
        smart_app_url=smart_app_url,
        reasons_system=f"{canonical_base}/CodeSystem/dose-override-reasons",
        criteria={key: _criterion(guideline, key) for key in guideline.criteria},
        facts={name: markdown_text(fact.text, _LONG) for name, fact in guideline.facts.items()},
        asked_after={
            name: frozenset(one.fact for one in fact.shown_when)
            for name, fact in guideline.facts.items()
            if fact.shown_when
        },
        durations={
            section.approval_duration: _duration(section.approval_duration)
            for section in guideline.sections.values()
            if section.approval_duration
        },
        dose_citations={drug: markdown_text(row.citation) for drug, row in guideline.dose_table.rows.items()},
        regimens=_regimens(guideline),
        drug_notes=_grouped((drug, _note(guideline, each)) for each in about_drugs for drug in each.drugs),
        flag_notes=_grouped((each.flag, _note(guideline, each)) for each in found if each.flag),
        programs={program: _program(each) for program, each in guideline.programs.items()},
        instructions={program: instructions(payer, program) for program in Program},
        card_disclaimer=" ".join(_note(guideline, each) for each in disclaimers if each not in beside_table),
        dose_disclaimer=" ".join(_note(guideline, each) for each in beside_table),
        precaution=" ".join(_note(guideline, each) for each in guideline.statements_of("precaution")),
        related=" ".join(_note(guideline, each) for each in guideline.statements_of("related")),
        compounded_code=guideline.billing.compounded_code,
        commercial=guideline.billing.commercial,
    )


def _criterion(guideline: Guideline, key: str) -> str:
    """Number and text; the precondition has no number."""
    text = markdown_text(guideline.criteria[key].text, _LONG)
    return text if key == guideline.stem else f"{markdown_text(key)} {text}"


def _note(guideline: Guideline, each: Statement | Annotation) -> str:
    """A text with its citation; the guideline's own words in quotation marks, before our finding about them."""
    if isinstance(each, Annotation):
        text = f"{_quoted(each.printed)}: {markdown_text(each.remark, _LONG)}"
    else:
        text = _quoted(each.text) if each.quoted else markdown_text(each.text, _LONG)
    return f"{text} ({markdown_text(guideline.id)}, {markdown_text(each.cite)})"


def _quoted(text: str) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{markdown_text(text, _LONG)}\N{RIGHT DOUBLE QUOTATION MARK}"


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for key, text in pairs:
        groups[key] = (*groups.get(key, ()), text)
    return groups


def _regimens(guideline: Guideline) -> dict[frozenset[str], str]:
    """Each set of drugs with the text of the first regimen that it makes."""
    texts: dict[frozenset[str], str] = {}
    for regimen in guideline.regimens:
        for drugs in product(*regimen.one_from_each):
            texts.setdefault(frozenset(drugs), markdown_text(regimen.text, _LONG))
    return texts


def _program(each: ProgramException) -> tuple[str, ...]:
    return tuple(f"{markdown_text(label)} ({markdown_text(remark)})" for label, remark in each.links)


def _duration(iso: str) -> str:
    """P1M as "1 month"; other forms as they are."""
    number, unit = iso[1:-1], {"D": "day", "W": "week", "M": "month", "Y": "year"}.get(iso[-1:])
    if not number.isdigit() or unit is None:
        return markdown_text(iso)
    return f"{number} {unit}" + ("" if number == "1" else "s")

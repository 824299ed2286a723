"""What the public page of a guideline shows: everything that it states, in its order, with citations and dates."""

from __future__ import annotations

import msgspec

from cds_service.policy.model import (
    Annotation,
    Criterion,
    Guideline,
    ListedCode,
    RequestType,
    Section,
    Statement,
)


class SectionView(msgspec.Struct, frozen=True):
    """A section with its criteria, and how long an approval lasts in words."""

    section: Section
    criteria: tuple[Criterion, ...]
    duration: str


class DoseLine(msgspec.Struct, frozen=True):
    """One row of the dose table as printed, with what is to be known about it."""

    drug: str
    name: str
    vials: str
    concentration: str
    daily: str
    cite: str
    remarks: tuple[str, ...]


class Page(msgspec.Struct, frozen=True):
    """The page; ``guideline`` for what needs no arranging."""

    guideline: Guideline
    stem: Criterion | None
    sections: tuple[SectionView, ...]
    requests: tuple[RequestType, ...]
    dose: tuple[DoseLine, ...]
    undosed: tuple[str, ...]  # drugs of the guideline without a row
    footnotes: tuple[Statement, ...]
    disclaimers: tuple[Statement, ...]
    precautions: tuple[Statement, ...]
    notes: tuple[Statement, ...]
    definitions: tuple[Statement, ...]
    related: tuple[Statement, ...]
    hcpcs: tuple[ListedCode, ...]
    icd: tuple[ListedCode, ...]
    annotations: tuple[Annotation, ...]


_UNITS = {"D": "day", "W": "week", "M": "month", "Y": "year"}


def page(guideline: Guideline) -> Page:
    """Arrange a guideline for reading."""
    rowed = {row.drug for row in guideline.dose_rows}
    return Page(
        guideline=guideline,
        stem=guideline.criteria[guideline.stem] if guideline.stem else None,
        sections=tuple(
            SectionView(
                section,
                tuple(guideline.criteria[ident] for ident in section.criteria),
                duration_text(section.approval_duration),
            )
            for section in guideline.sections.values()
        ),
        requests=tuple(guideline.request_types.values()),
        dose=tuple(
            DoseLine(
                row.drug,
                row.printed_name,
                row.printed_vials,
                row.printed_concentration,
                row.printed_daily,
                row.cite,
                _remarks(guideline, row.drug),
            )
            for row in guideline.dose_rows
        ),
        undosed=tuple(sorted(guideline.scope.drugs - rowed)),
        footnotes=guideline.statements_of("footnote"),
        disclaimers=guideline.statements_of("disclaimer"),
        precautions=guideline.statements_of("precaution"),
        notes=guideline.statements_of("note"),
        definitions=guideline.statements_of("definition"),
        related=guideline.statements_of("related"),
        hcpcs=guideline.hcpcs,
        icd=guideline.icd,
        annotations=guideline.annotations,
    )


def duration_text(duration: str | None) -> str:
    """An ISO duration of one unit in words: P1M is "1 month"; "" for none."""
    if duration is None:
        return ""
    count, unit = duration[1:-1], _UNITS[duration[-1]]
    return f"{count} {unit}" if count == "1" else f"{count} {unit}s"


def _remarks(guideline: Guideline, drug: str) -> tuple[str, ...]:
    return tuple(each.remark for each in guideline.annotations if drug in each.drugs and each.cite.startswith("DOSAGE"))

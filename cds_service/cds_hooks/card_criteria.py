"""The table of criteria on a card: status and evidence by source and date, each reference once below it."""

from __future__ import annotations

from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.markdown import markdown_text
from cds_service.domain.determination import CriterionResult, OrderDetermination
from cds_service.domain.record import Evidence
from cds_service.domain.truth import Truth

_SHOWN = 8  # pieces of evidence per criterion
_STATUS = {Truth.MET: "appears met", Truth.NOT_MET: "**not shown**", Truth.UNKNOWN: "**open**"}
# What a clinician calls the place in the chart; another type is named as FHIR names it.
_PLACES = {
    "QuestionnaireResponse": "Questionnaire",
    "Condition": "Problem list",
    "MedicationRequest": "Medication order",
    "MedicationStatement": "Medication list",
    "MedicationDispense": "Dispensed",
    "MedicationAdministration": "Given",
    "AllergyIntolerance": "Allergy list",
    "Observation": "Observation",
    "Procedure": "Procedure",
    "ServiceRequest": "Order",
    "DeviceRequest": "Device order",
    "DeviceUseStatement": "Device",
}


class _Sources:
    """Names of what the evidence comes from, as "Questionnaire 2026-02-20"; of two alike the second is numbered."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str | None], str] = {}
        self._alike: dict[str, int] = {}

    def name(self, evidence: Evidence) -> str:
        """Without the date where the text gives it."""
        date = None if evidence.date is None or evidence.date in evidence.shows else evidence.date
        key = (evidence.source, date)
        name = self.names.get(key)
        if name is None:
            kind = evidence.source.partition("/")[0]
            name = _PLACES.get(kind) or markdown_text(kind, 40)
            name = f"{name} {markdown_text(date, 10)}" if date else name
            alike = self._alike[name] = self._alike.get(name, 0) + 1
            name = self.names[key] = f"{name} ({alike})" if alike > 1 else name
        return name

    def line(self) -> str:
        """Every reference once, with the names that it has in the table."""
        held: dict[str, list[str]] = {}
        for (source, _), name in self.names.items():
            held.setdefault(source, []).append(name)
        return "; ".join(f"{', '.join(names)} ({markdown_text(source, 100)})" for source, names in held.items())


def criteria_table(texts: CardTexts, determination: OrderDetermination, subject: str = "") -> list[str]:
    """Criterion, status and evidence in the guideline's order. ``subject``: the order it is about, as Markdown."""
    if not determination.criteria:
        return []
    heading = f"**Criteria of guideline {texts.guideline}**{f' for {subject}' if subject else ''}"
    lines = ["", heading, "", "| Criterion | Status | Evidence |", "|---|---|---|"]
    sources, seen = _Sources(), set[tuple[str, str]]()
    for key, result in determination.criteria.items():
        found = _evidence(result, sources, seen)
        lines.append(f"| {texts.criteria.get(key, key)} | {_STATUS[result.status]} | {found} |")
    return [*lines, "", f"Sources: {sources.line()}"] if sources.names else lines


def _evidence(result: CriterionResult, sources: _Sources, seen: set[tuple[str, str]]) -> str:
    """What was found, joined per source; only a reference to the rows above where nothing is new in it."""
    pieces = result.evidence
    if not pieces:
        return "nothing found"
    keys = [(each.source, each.shows) for each in pieces]
    if seen.issuperset(keys):
        return "as above"
    seen.update(keys)
    groups: dict[str, list[str]] = {}
    for each in pieces[:_SHOWN]:
        groups.setdefault(sources.name(each), []).append(markdown_text(each.shows, 160))
    text = ". ".join(f"{name}: {'; '.join(shown)}" for name, shown in groups.items())
    return f"{text}; and {len(pieces) - _SHOWN} more" if len(pieces) > _SHOWN else text

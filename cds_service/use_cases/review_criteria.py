"""What a stored determination says of a whole case: each criterion, result and remark once, with the lines it is of.

The orders of one request rest on the same patient and mostly on the same evidence; where they differ, both are shown.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from cds_service.domain.prior_auth import ADVERSE, CaseLine, HumanDecision
from cds_service.policy.model import Guideline
from cds_service.use_cases.review_words import (
    DECISION_WORDS,
    NO_CRITERIA_WORDS,
    REQUEST_WORDS,
    STATUS_WORDS,
    flag_words,
)

_MET = "met"
_TIERS = {"not_tiered": "in none of the guideline's lines", "not_addressed": "the guideline does not speak of it"}
_DIAGNOSES = {
    "supported": "on the guideline's list",
    "not_listed": "not on the guideline's list",
    "unknown": "none that could be read",
}
Thing = TypeVar("Thing", bound=Hashable)


class Told(msgspec.Struct, frozen=True):
    """One piece of evidence. ``by``: chart (a fact of the record), attestation, or computed (from other facts)."""

    by: str
    source: str
    date: str
    shows: str


class CriterionView(msgspec.Struct, frozen=True, kw_only=True):
    """One criterion with what it rests on."""

    id: str
    name: str  # as people know it
    text: str
    cite: str
    status: str  # met | not_met | unknown
    told: tuple[Told, ...]
    missing: tuple[str, ...]  # questions that would settle it


class OfLines(msgspec.Struct, frozen=True):
    """Something that is the same for several lines. ``of``: "lines 1 and 3"; "" where it is of the whole case."""

    what: Any
    of: str
    sequences: tuple[int, ...]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page says about criteria. ``what`` of the parts: CriterionView, or a sentence."""

    results: tuple[OfLines, ...]
    criteria: tuple[OfLines, ...]  # as the guideline has them
    remarks: tuple[OfLines, ...]
    advice: tuple[OfLines, ...]  # line of therapy, diagnosis, billing

    @property
    def open(self) -> int:
        """How many rows are not met."""
        return sum(each.what.status != _MET for each in self.criteria)

    def of_line(self, sequence: int) -> Mapping[str, CriterionView]:
        """The criteria as they stand for a line, by their ids."""
        return {each.what.id: each.what for each in self.criteria if sequence in each.sequences}

    def met_of(self, sequence: int) -> frozenset[str]:
        """Ids of the criteria that appear met for a line."""
        return frozenset(key for key, each in self.of_line(sequence).items() if each.status == _MET)


def findings(orders: Sequence[Mapping[str, Any]], lines: Sequence[CaseLine], guideline: Guideline | None) -> Findings:
    """``orders``: those of a stored determination document that were held against criteria."""
    places = {key: place for place, key in enumerate(guideline.criteria if guideline else ())}
    named = _Lines(orders, lines)
    criteria = named.grouped(
        (order["order"], criterion(key, result, guideline))
        for order in orders
        for key, result in order["criteria"].items()
    )
    return Findings(
        results=named.grouped((order["order"], _result(order)) for order in orders),
        criteria=tuple(sorted(criteria, key=lambda each: (places.get(each.what.id, len(places)), each.what.id))),
        remarks=named.grouped(
            (order["order"], remark(flag["code"], flag["subject"], order["order"], guideline))
            for order in orders
            for flag in order["flags"]
        ),
        advice=named.grouped((order["order"], sentence) for order in orders for sentence in _advice(order)),
    )


def stored_findings(trace: bytes, lines: Sequence[CaseLine], guideline: Guideline | None) -> Findings | None:
    """The same from the trace of a version; None where nothing was held against criteria."""
    document = msgspec.json.decode(trace, type=dict[str, Any]).get("determination") or {}
    orders = [each for each in document.get("orders", ()) if each.get("criteria")]
    return findings(orders, lines, guideline) if orders else None


def against(found: Findings | None, decision: HumanDecision) -> tuple[tuple[int, CriterionView], ...]:
    """The lines that get less on a criterion that appears met for them: a person may, and should say why."""
    told = []
    for item in decision.items if found else ():
        criterion = found.of_line(item.sequence).get(item.reason.criterion) if found and item.reason else None
        if criterion is not None and criterion.status == _MET and item.action in ADVERSE:
            told.append((item.sequence, criterion))
    return tuple(told)


class _Lines:
    """Which lines of the case an order is of."""

    def __init__(self, orders: Sequence[Mapping[str, Any]], lines: Sequence[CaseLine]) -> None:
        self._of = {
            order["order"]: tuple(line.sequence for line in lines if line.order == order["order"]) for order in orders
        }
        self._all = {line.sequence for line in lines}

    def grouped(self, said: Iterable[tuple[str, Thing]]) -> tuple[OfLines, ...]:
        """What is said of orders, each once, in the order in which it came up."""
        held: dict[Thing, set[int]] = {}
        for order, what in said:
            held.setdefault(what, set()).update(self._of[order])
        return tuple(OfLines(what, self._words(of), tuple(sorted(of))) for what, of in held.items())

    def _words(self, of: set[int]) -> str:
        if not of or of == self._all:
            return ""
        numbers = [str(each) for each in sorted(of)]
        if len(numbers) == 1:
            return f"line {numbers[0]}"
        return f"lines {', '.join(numbers[:-1])} and {numbers[-1]}"


def criterion(key: str, result: Mapping[str, Any], guideline: Guideline | None) -> CriterionView:
    """One criterion of a stored determination, in the guideline's words."""
    stated = guideline.criteria.get(key) if guideline else None
    facts = guideline.facts if guideline else {}
    return CriterionView(
        id=key,
        name=guideline.criterion_name(key) if guideline else key,
        text=stated.text if stated else "",
        cite=stated.cite if stated else "",
        status=result["status"],
        told=tuple(told(each) for each in result["evidence"]),
        missing=tuple(facts[name].text if name in facts else name for name in result["missing"]),
    )


def told(evidence: Mapping[str, Any]) -> Told:
    """Evidence told apart by who says it: an answer of a form, the chart, or arithmetic over the chart.

    A length over several prescriptions, a relief in percent, an age: no single entry of the chart says it.
    """
    source, shows = evidence["source"], evidence["shows"]
    if source.startswith("QuestionnaireResponse"):
        by = "attestation"
    elif "/" not in source or " days in all" in shows or "%" in shows or shows.endswith(" years old"):
        by = "computed"
    else:
        by = "chart"
    return Told(by, source, evidence["date"] or "", shows)


def _result(order: Mapping[str, Any]) -> tuple[str, str]:
    """The decision, and what it was decided as. With all met and nothing open it is the criteria that are missing."""
    sections = order["sections"].values()
    met = bool(sections) and all(status == _MET for status in sections) and not order["missing_facts"]
    undecided = met and order["decision"] == "insufficient_information"
    decision = NO_CRITERIA_WORDS if undecided else DECISION_WORDS.get(order["decision"], order["decision"])
    asked = REQUEST_WORDS.get(order["request_type"], order["request_type"])
    found = [f"section {key}: {STATUS_WORDS[status]}" for key, status in sorted(order["sections"].items())]
    return decision, "; ".join([asked, *found])


def remark(code: str, subject: str, order: str, guideline: Guideline | None) -> str:
    """A flag in words, with what it is about where that is not the order itself."""
    if not subject or subject == order:
        return flag_words(code)
    if guideline and subject in guideline.facts:
        subject = guideline.facts[subject].label
    elif guideline and subject in guideline.criteria:
        subject = guideline.criterion_name(subject)
    return f"{flag_words(code)} ({REQUEST_WORDS.get(subject, subject)})"


def _advice(order: Mapping[str, Any]) -> list[str]:
    """What the guideline says beside its criteria."""
    tier, icd = order["tier"], order["icd"]
    said = []
    if order["dose"] or tier["tier"] != "not_addressed":
        caveats = f" ({'; '.join(_plain(each) for each in tier['caveats'])})" if tier["caveats"] else ""
        said.append(f"line of therapy: {_TIERS.get(tier['tier'], _plain(tier['tier']))}{caveats}")
    codes = f" ({', '.join(icd['codes'])})" if icd["codes"] else ""
    said.append(f"diagnosis: {_DIAGNOSES.get(icd['status'], _plain(icd['status']))}{codes}")
    return said + ([f"billing codes of the guideline: {', '.join(order['billing'])}"] if order["billing"] else [])


def _plain(word: str) -> str:
    return word.replace("_", " ")

"""What a payer's response says, in the terms of a clinician: per line and as a whole (P040-P059).

Reads any payer's: the decision is the review action of each line, never ``outcome`` (servers disagree about that, and
older ones still say ``queued``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from typing import Any

import msgspec

from smart_app.pas.systems import DTR_CONTEXT_LOINC, PAS, REVIEW_ACTION


class Standing(Enum):
    """Where a line stands. ``label`` is for people; nobody is told "denied" by a program."""

    APPROVED = "approved"
    MODIFIED = "modified"
    PENDED = "pended"
    NOT_CERTIFIED = "not_certified"
    CANCELLED = "cancelled"
    OTHER = "other"  # a review action that the published guide does not show

    @property
    def label(self) -> str:
        """In words."""
        return _LABELS[self]


_LABELS = {
    Standing.APPROVED: "Approved",
    Standing.MODIFIED: "Approved with a change",
    Standing.PENDED: "Being reviewed",
    Standing.NOT_CERTIFIED: "Not approved",
    Standing.CANCELLED: "Cancelled",
    Standing.OTHER: "Answered",
}
_ACTIONS = {
    "A1": Standing.APPROVED,
    "A2": Standing.MODIFIED,
    "A6": Standing.MODIFIED,
    "A4": Standing.PENDED,
    "A3": Standing.NOT_CERTIFIED,
    "C": Standing.CANCELLED,
}


class LineDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one line; dates are whole days. ``notes`` are the payer's words, plain text."""

    sequence: int
    standing: Standing
    code: str  # the review action as sent
    number: str = ""
    issued: date | None = None
    start: date | None = None
    end: date | None = None
    reference: str = ""  # under which a pended line is known to the payer
    reasons: tuple[str, ...] = ()  # reason codes as sent
    notes: tuple[str, ...] = ()
    authorized: tuple[str, ...] = ()  # what is approved instead or in detail, in words


class Wanted(msgspec.Struct, frozen=True):
    """Something that the payer still wants: a form (its DTR context) or a document (its LOINC code), in words."""

    context: str
    loinc: str
    words: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The whole response. ``errors`` are application errors: the payer understood the request and could not take it."""

    identifier: str
    created: str
    lines: tuple[LineDecision, ...]
    errors: tuple[str, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    human: bool | None = None  # whether a person looked, where it is said
    disposition: str = ""
    waits: bool = False  # the payer says that it is not done yet, and decides on no line

    @property
    def standing(self) -> Standing:
        """As a whole: what still waits first, then what went against the request, then the rest."""
        held = {line.standing for line in self.lines}
        for each in (
            Standing.PENDED,
            Standing.NOT_CERTIFIED,
            Standing.MODIFIED,
            Standing.OTHER,
            Standing.APPROVED,
            Standing.CANCELLED,
        ):
            if each in held:
                return each
        return Standing.PENDED if self.waits else Standing.OTHER

    @property
    def not_taken(self) -> bool:
        """Whether the payer found the request wrong and decided on nothing."""
        return bool(self.errors) and not self.lines

    @property
    def label(self) -> str:
        """How it stands, in words; lines that were decided apart are not called by the worst of them."""
        if self.not_taken:
            return "Sent back by the payer"
        if self.standing is not Standing.PENDED and len({line.standing for line in self.lines}) > 1:
            return "Decided line by line"
        return self.standing.label


class Unreadable(Exception):
    """No ClaimResponse is in what came back."""


def read_decision(bundle: Mapping[str, Any]) -> Decision:
    """The decision of a response Bundle.

    Raises:
        Unreadable: it holds no ClaimResponse.
    """
    resources = [entry.get("resource") for entry in _dicts(bundle.get("entry"))]
    response = next(
        (each for each in resources if isinstance(each, dict) and each.get("resourceType") == "ClaimResponse"), None
    )
    if response is None:
        raise Unreadable("the payer's answer holds no ClaimResponse")
    notes = {note.get("number"): str(note.get("text", "")) for note in _dicts(response.get("processNote"))}
    added = _dicts(response.get("addItem"))
    lines = [_line(item, notes, added) for item in _dicts(response.get("item"))]
    reviewer = _extension(response, "extension-claimResponseReviewer")
    return Decision(
        identifier=next((str(each.get("value", "")) for each in _dicts(response.get("identifier"))), ""),
        created=str(response.get("created", "")),
        lines=tuple(sorted(lines, key=lambda line: line.sequence)),
        errors=tuple(_error(each) for each in _dicts(response.get("error"))),
        wanted=tuple(
            wanted
            for each in resources
            if isinstance(each, dict) and each.get("resourceType") == "CommunicationRequest"
            for wanted in _wanted(each)
        ),
        human=_part(reviewer, "wasHumanReviewedFlag").get("valueBoolean") if reviewer else None,
        disposition=str(response.get("disposition", "")),
        waits=not lines and response.get("outcome") in {"queued", "partial"} and not _dicts(response.get("error")),
    )


def _line(item: Mapping[str, Any], notes: Mapping[Any, str], added: list[dict[str, Any]]) -> LineDecision:
    review = _review(item)
    code = _review_code(review)
    period = _extension(item, "extension-itemPreAuthPeriod").get("valuePeriod", {})
    sequence = item.get("itemSequence")
    mine = [each for each in added if sequence in (each.get("itemSequence") or [])]
    return LineDecision(
        sequence=sequence if isinstance(sequence, int) else 0,
        standing=_ACTIONS.get(code, Standing.OTHER),
        code=code,
        number=str(_part(review, "number").get("valueString", "") or next(_numbers(mine), "")),
        issued=_day(_extension(item, "extension-itemPreAuthIssueDate").get("valueDate")),
        start=_day(period.get("start")),
        end=_day(period.get("end")),
        reference=str(_extension(item, "extension-administrationReferenceNumber").get("valueString", "")),
        reasons=tuple(_reason_codes(review)),
        notes=tuple(
            notes[number] for holder in [item, *mine] for number in holder.get("noteNumber") or [] if number in notes
        ),
        authorized=tuple(words for each in mine for words in _added_words(each)),
    )


def _review(item: Mapping[str, Any]) -> Mapping[str, Any]:
    for adjudication in _dicts(item.get("adjudication")):
        found = _extension(adjudication, "extension-reviewAction")
        if found:
            return found
    return {}


def _review_code(review: Mapping[str, Any]) -> str:
    concept = _extension(review, "extension-reviewActionCode").get("valueCodeableConcept", {})
    for coding in _dicts(concept.get("coding")):
        if coding.get("system") == REVIEW_ACTION:
            return str(coding.get("code", ""))
    return ""


def _reason_codes(review: Mapping[str, Any]) -> Iterator[str]:
    for part in _dicts(review.get("extension")):
        if part.get("url") == "reasonCode":
            for coding in _dicts((part.get("valueCodeableConcept") or {}).get("coding")):
                yield str(coding.get("display") or coding.get("code", ""))


def _numbers(added: list[dict[str, Any]]) -> Iterator[str]:
    for each in added:
        number = _part(_review(each), "number").get("valueString")
        if number:
            yield str(number)


def _added_words(added: Mapping[str, Any]) -> Iterator[str]:
    concept = added.get("productOrService") or {}
    code = next((coding.get("display") or coding.get("code") for coding in _dicts(concept.get("coding"))), "")
    name = concept.get("text") or code or "Service"
    quantity = added.get("quantity") or {}
    amount = f"{quantity.get('value')} {quantity.get('unit') or quantity.get('code') or 'units'}" if quantity else ""
    yield f"{name}: {amount}" if amount else str(name)


def _error(error: Mapping[str, Any]) -> str:
    """An application error in the payer's words, else its code."""
    for extension in _dicts(error.get("extension")):
        for part in [extension, *_dicts(extension.get("extension"))]:
            if part.get("valueString"):
                return str(part["valueString"])
    concept = error.get("code") or {}
    first: Mapping[str, Any] = next(iter(_dicts(concept.get("coding"))), {})
    return str(concept.get("text") or first.get("display") or f"Error {first.get('code', '')}".strip())


def _wanted(request: Mapping[str, Any]) -> Iterator[Wanted]:
    context = next((str(each.get("value", "")) for each in _dicts(request.get("identifier"))), "")
    for payload in _dicts(request.get("payload")):
        loincs, words, trace = [], str(payload.get("contentString", "")), context
        for extension in _dicts(payload.get("extension")):
            codings = _dicts((extension.get("valueCodeableConcept") or {}).get("coding"))
            loincs += [str(coding.get("code", "")) for coding in codings]
            trace = str(extension.get("valueString") or (extension.get("valueIdentifier") or {}).get("value") or trace)
        for loinc in loincs or [words if words == DTR_CONTEXT_LOINC else ""]:
            told = "" if words == loinc else words
            yield Wanted(trace if loinc in {DTR_CONTEXT_LOINC, ""} else "", loinc, told)


def _extension(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next((each for each in _dicts(holder.get("extension")) if each.get("url") == f"{PAS}{name}"), {})


def _part(holder: Mapping[str, Any], url: str) -> dict[str, Any]:
    return next((each for each in _dicts(holder.get("extension")) if each.get("url") == url), {})


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(str(value)[:10]) if value else None
    except ValueError:
        return None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

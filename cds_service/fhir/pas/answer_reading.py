"""A response Bundle as a person reads it: line by line, with dates, numbers and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word

Resource = dict[str, Any]

REVIEW_ACTION = "extension-reviewAction"
REVIEW_ACTION_CODE = "extension-reviewActionCode"
NUMBER = "number"
PERIOD = "extension-itemPreAuthPeriod"
REVIEWER = "extension-claimResponseReviewer"
REFERENCE = "extension-administrationReferenceNumber"


class AnswerLine(msgspec.Struct, frozen=True):
    """One line of the answer; ``sequence`` is the request's, with "new" for what was added to it."""

    sequence: str
    action: str  # A1, A3 ..., "" where the line says none
    number: str
    start: str
    end: str
    notes: tuple[str, ...]


class ReadAnswer(msgspec.Struct, frozen=True):
    """The whole of it. ``by_person`` None: not said."""

    outcome: str
    lines: tuple[AnswerLine, ...]
    disposition: str  # what is said of the whole, the reviewer's note above all
    notes: tuple[str, ...]  # those that belong to no line
    wanted: tuple[str, ...]
    by_person: bool | None
    json: str


def read_answer(bundle: bytes) -> ReadAnswer:
    """Read a stored or drafted response; what is not there is empty."""
    document = msgspec.json.decode(bundle)
    entries = [entry.get("resource") for entry in dicts(document.get("entry"))]
    resources = [each for each in entries if type(each) is dict]
    response = next((each for each in resources if each.get("resourceType") == "ClaimResponse"), {})
    notes = {each.get("number"): word(each.get("text")) for each in dicts(response.get("processNote"))}
    lines, used = [], set()
    for name in ("item", "addItem"):
        for item in dicts(response.get(name)):
            numbers = [each for each in item.get("noteNumber") or () if each in notes]
            used.update(numbers)
            lines.append(_line(item, name, tuple(notes[each] for each in numbers)))
    return ReadAnswer(
        outcome=word(response.get("outcome")),
        lines=tuple(lines),
        disposition=word(response.get("disposition")),
        notes=tuple(text for number, text in notes.items() if number not in used and text),
        wanted=tuple(_wanted(resources)),
        by_person=_by_person(response),
        json=msgspec.json.format(bundle, indent=2).decode(),
    )


def _line(item: Resource, name: str, notes: tuple[str, ...]) -> AnswerLine:
    sequences = item.get("itemSequence")
    said = ", ".join(map(str, sequences)) if type(sequences) is list else str(sequences or "")
    action, number = "", ""
    for adjudication in dicts(item.get("adjudication")):
        review = _extension(adjudication, REVIEW_ACTION)
        if review is not None:
            code = _extension(review, REVIEW_ACTION_CODE) or {}
            concept = code.get("valueCodeableConcept") or {}
            action = next((word(each.get("code")) for each in dicts(concept.get("coding"))), "")
            number = word((_extension(review, NUMBER) or {}).get("valueString"))
    period = (_extension(item, PERIOD) or {}).get("valuePeriod") or {}
    reference = word((_extension(item, REFERENCE) or {}).get("valueString"))
    return AnswerLine(
        sequence=f"{said}, as authorized".strip(", ") if name == "addItem" else said,
        action=action,
        number=number or reference,
        start=word(period.get("start"))[:10],
        end=word(period.get("end"))[:10],
        notes=notes,
    )


def _wanted(resources: list[Resource]) -> Iterator[str]:
    for each in resources:
        if each.get("resourceType") == "CommunicationRequest":
            for payload in dicts(each.get("payload")):
                text = word(payload.get("contentString"))
                if text:
                    yield text


def _by_person(response: Resource) -> bool | None:
    flag = _extension(_extension(response, REVIEWER) or {}, "wasHumanReviewedFlag")
    value = (flag or {}).get("valueBoolean")
    return value if type(value) is bool else None


def _extension(holder: Mapping[str, Any], name: str) -> Resource | None:
    """The extension whose address ends so; PAS spells some with its whole address and some without."""
    for each in dicts(holder.get("extension")):
        if word(each.get("url")).rpartition("/")[2] == name:
            return each
    return None

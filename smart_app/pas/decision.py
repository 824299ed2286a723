"""What a payer's response says, in the terms of a clinician: per line and as a whole (P040-P059).

Reads any payer's: the decision is the review action of each line, never ``outcome`` (servers disagree about that, and
older ones still say ``queued``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Any

import msgspec

from cds_service.fhir.concepts import codings, dicts, word
from smart_app.dtr.package import messages_of
from smart_app.pas.systems import DTR_CONTEXT_LOINC, PAS, REVIEW_ACTION


class Standing(Enum):
    """Where a line stands. ``label`` is for people; nobody is told "denied" by a program."""

    APPROVED = "approved"
    MODIFIED = "modified"
    PENDED = "pended"
    NOT_CERTIFIED = "not_certified"
    CANCELLED = "cancelled"
    CONTACT = "contact"  # the payer wants to be spoken to
    OTHER = "other"  # a review action that the published guide does not show
    UNSAID = "unsaid"  # the answer decides nothing about the line

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
    Standing.CONTACT: "The payer asks to be contacted",
    Standing.OTHER: "Answered",
    Standing.UNSAID: "No decision in this answer",
}
_ACTIONS = {
    "A1": Standing.APPROVED,
    "A2": Standing.MODIFIED,
    "A6": Standing.MODIFIED,
    "A4": Standing.PENDED,
    "A3": Standing.NOT_CERTIFIED,
    "C": Standing.CANCELLED,
    "CT": Standing.CONTACT,
}
_LOINC = re.compile(r"[0-9]{1,7}-[0-9]")
_ANSWERED = frozenset({"completed", "revoked", "cancelled", "rejected", "entered-in-error"})  # wanted no longer


class LineDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one line; dates are whole days. ``notes`` are the payer's words, plain text."""

    sequence: int  # 0: no line of the request, but one that the payer added, or the request as a whole
    standing: Standing
    code: str  # the review action as sent; "": none
    said: str = ""  # what the payer calls the review action
    name: str = ""  # of a line that the payer added
    number: str = ""
    issued: date | None = None
    start: date | None = None
    end: date | None = None
    reference: str = ""  # under which a pended line is known to the payer
    reasons: tuple[str, ...] = ()  # reason codes as sent
    notes: tuple[str, ...] = ()
    authorized: tuple[str, ...] = ()  # what is approved instead or in detail, in words


class Wanted(msgspec.Struct, frozen=True):
    """Something that the payer still wants: a form (its DTR context, its canonical) or a document (its LOINC code)."""

    context: str
    loinc: str
    words: str
    questionnaire: str = ""

    @property
    def is_form(self) -> bool:
        """Whether it is answered in a form; a document goes another way."""
        return bool(self.context or self.questionnaire) or self.loinc in {"", DTR_CONTEXT_LOINC}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The whole response. ``errors`` are application errors: the payer understood the request and could not take it."""

    identifier: str
    created: str
    lines: tuple[LineDecision, ...]
    outcome: str = ""
    errors: tuple[str, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    human: bool | None = None  # whether a person looked, where it is said
    disposition: str = ""
    notes: tuple[str, ...] = ()  # what the payer says about no line in particular
    number: str = ""  # of the authorization as a whole (preAuthRef), as payers give it that number no lines
    start: date | None = None
    end: date | None = None
    waits: bool = False  # the payer says that it is not done yet, and decides on no line

    @property
    def standing(self) -> Standing:
        """As a whole: what still waits first, then what went against the request, then the rest."""
        held = {line.standing for line in self.lines}
        for each in (
            Standing.PENDED,
            Standing.CONTACT,
            Standing.NOT_CERTIFIED,
            Standing.MODIFIED,
            Standing.OTHER,
            Standing.UNSAID,
            Standing.APPROVED,
            Standing.CANCELLED,
        ):
            if each in held:
                return each
        return Standing.PENDED if self.waits else Standing.OTHER

    @property
    def not_taken(self) -> bool:
        """Whether the payer found the request wrong and decided on nothing."""
        failed = bool(self.errors) or self.outcome == "error"
        return failed and not any(line.code for line in self.lines)

    @property
    def mixed(self) -> bool:
        """Whether nothing waits and lines were decided apart: no single word fits all of them."""
        return self.standing is not Standing.PENDED and len({line.standing for line in self.lines}) > 1

    @property
    def label(self) -> str:
        """How it stands, in words; lines that were decided apart are not called by the worst of them."""
        if self.not_taken:
            return "Sent back by the payer"
        return "Decided line by line" if self.mixed else self.standing.label


class Unreadable(Exception):
    """No ClaimResponse is in what came back."""


def read_decision(bundle: Mapping[str, Any]) -> Decision:
    """The decision of a response Bundle.

    Raises:
        Unreadable: it holds no ClaimResponse.
    """
    resources = [held for entry in dicts(bundle.get("entry")) if isinstance(held := entry.get("resource"), dict)]
    response = next((each for each in resources if each.get("resourceType") == "ClaimResponse"), None)
    if response is None:
        raise Unreadable("the payer's answer holds no ClaimResponse")
    notes = _Notes(response)
    errors = tuple(_error(each, notes) for each in dicts(response.get("error")))
    outcome = word(response.get("outcome"))
    lines = tuple(_lines(response, notes, unfinished=outcome in {"queued", "partial"} and not errors))
    reviewer = _extension(response, "extension-claimResponseReviewer")
    human = _part(reviewer, "wasHumanReviewedFlag").get("valueBoolean")
    period = _dict(response.get("preAuthPeriod"))
    outcomes = [each for each in resources if each.get("resourceType") == "OperationOutcome"]
    remarks = [text for each in outcomes for _, text in messages_of(each)]
    return Decision(
        identifier=next((word(each.get("value")) for each in dicts(response.get("identifier"))), ""),
        created=word(response.get("created")),
        lines=lines,
        outcome=outcome,
        errors=errors,
        wanted=tuple(dict.fromkeys(wanted for each in resources for wanted in _wanted(each))),
        human=human if isinstance(human, bool) else None,
        disposition=word(response.get("disposition")),
        notes=(*notes.unused(), *remarks),
        number=word(response.get("preAuthRef")),
        start=_day(period.get("start")),
        end=_day(period.get("end")),
        waits=not lines and outcome in {"queued", "partial"} and not errors,
    )


class _Notes:
    """The process notes of a response; those that nothing points to are told of the whole."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        texts = [(each.get("number"), word(each.get("text"))) for each in dicts(response.get("processNote"))]
        self._texts = [(number if isinstance(number, int) else None, text) for number, text in texts if text]
        self._used: set[int] = set()

    def of(self, numbers: Any) -> Iterator[str]:
        """The notes with these numbers, in this order."""
        for wanted in numbers if isinstance(numbers, list) else [numbers]:
            for number, text in self._texts:
                if number is not None and number == wanted:
                    self._used.add(number)
                    yield text

    def unused(self) -> tuple[str, ...]:
        """What nothing has asked for so far."""
        return tuple(text for number, text in self._texts if number is None or number not in self._used)


def _lines(response: Mapping[str, Any], notes: _Notes, *, unfinished: bool) -> Iterator[LineDecision]:
    """The lines of the request in its order, then what the payer added; without any, what it says of the whole."""
    items, added = list(dicts(response.get("item"))), list(dicts(response.get("addItem")))
    found = []
    for item in items:
        sequence = item.get("itemSequence")
        mine = [each for each in added if sequence in _numbers_in(each)]
        found.append(_line(item, mine, notes, unfinished=unfinished))
    known = {line.sequence for line in found}
    apart = [each for each in added if not known & set(_numbers_in(each))]
    for each in apart:
        line = _line(each, [], notes, unfinished=unfinished)
        name, amount = _added_words(each)
        sequence = next(iter(_numbers_in(each)), 0)
        found.append(
            msgspec.structs.replace(
                line,
                sequence=sequence,
                name=name,
                authorized=(*line.authorized, *([f"{name}: {amount}"] if amount else [])),
            )
        )
    if not found and _review(response):
        found = [_line({"adjudication": response.get("adjudication")}, [], notes, unfinished=unfinished)]
    yield from sorted(found, key=lambda line: (line.sequence == 0, line.sequence))


def _numbers_in(added: Mapping[str, Any]) -> list[int]:
    """The lines of the request that an added line stands for."""
    given = added.get("itemSequence")
    return [each for each in (given if isinstance(given, list) else [given]) if isinstance(each, int)]


def _line(
    item: Mapping[str, Any], added: Sequence[Mapping[str, Any]], notes: _Notes, *, unfinished: bool
) -> LineDecision:
    review = _review(item)
    code, said = _review_code(review)
    period = _dict(_extension(item, "extension-itemPreAuthPeriod").get("valuePeriod"))
    sequence = item.get("itemSequence")
    known = Standing.OTHER if code else Standing.PENDED if unfinished else Standing.UNSAID
    numbers = [_part(_review(each), "number").get("valueString") for each in (item, *added)]
    detail = _extension(item, "extension-itemAuthorizedDetail")
    told = [*([_detail_words(detail)] if detail else []), *(_added_words(each) for each in added)]
    return LineDecision(
        sequence=sequence if isinstance(sequence, int) else 0,
        standing=_ACTIONS.get(code, known),
        code=code,
        said=said,
        number=", ".join(dict.fromkeys(word(each) for each in numbers if word(each))),
        issued=_day(_extension(item, "extension-itemPreAuthIssueDate").get("valueDate")),
        start=_day(period.get("start")),
        end=_day(period.get("end")),
        reference=word(_extension(item, "extension-administrationReferenceNumber").get("valueString")),
        reasons=tuple(_reason_codes(review)),
        notes=tuple(text for holder in (item, *added) for text in notes.of(holder.get("noteNumber"))),
        authorized=tuple(f"{name}: {amount}" if amount else name for name, amount in told),
    )


def _review(item: Mapping[str, Any]) -> Mapping[str, Any]:
    for adjudication in dicts(item.get("adjudication")):
        found = _extension(adjudication, "extension-reviewAction")
        if found:
            return found
    return {}


def _review_code(review: Mapping[str, Any]) -> tuple[str, str]:
    """The code, and what the payer calls it."""
    concept = _extension(review, "extension-reviewActionCode").get("valueCodeableConcept")
    for coding in codings(concept):
        if coding.get("system") == REVIEW_ACTION:
            return word(coding.get("code")), word(coding.get("display")) or word(_dict(concept).get("text"))
    return "", ""


def _reason_codes(review: Mapping[str, Any]) -> Iterator[str]:
    for part in dicts(review.get("extension")):
        if part.get("url") == "reasonCode":
            concept = part.get("valueCodeableConcept")
            told = [word(each.get("display")) or word(each.get("code")) for each in codings(concept)]
            yield from [each for each in told if each] or [each for each in [word(_dict(concept).get("text"))] if each]


def _detail_words(detail: Mapping[str, Any]) -> tuple[str, str]:
    """What is authorized in detail (2.0.1 says it on the line itself): name and amount."""
    code = _part(detail, "productOrServiceCode").get("valueCodeableConcept")
    return _named(code), _amount(_part(detail, "quantity").get("valueQuantity"))


def _added_words(added: Mapping[str, Any]) -> tuple[str, str]:
    return _named(added.get("productOrService")), _amount(added.get("quantity"))


def _named(concept: Any) -> str:
    told = [word(each.get("display")) or word(each.get("code")) for each in codings(concept)]
    return word(_dict(concept).get("text")) or next((each for each in told if each), "Service")


def _amount(quantity: Any) -> str:
    held = _dict(quantity)
    unit = word(held.get("unit")) or word(held.get("code")) or "units"
    return f"{held['value']} {unit}" if "value" in held else ""


def _error(error: Mapping[str, Any], notes: _Notes) -> str:
    """An application error in the payer's words, else its code; then what of the request it is about."""
    element = _extension(error, "extension-errorElement")
    said = [*notes.of(_part(element, "processNote").get("valuePositiveInt"))]
    where = [_part(element, "error").get("valueString"), element.get("valueString")]
    where.append(_extension(error, "extension-errorPath").get("valueString"))
    place = next((word(each) for each in where if word(each)), "")
    concept = error.get("code")
    first: Mapping[str, Any] = next(iter(codings(concept)), {})
    words = word(_dict(concept).get("text")) or next(iter(said), "") or word(first.get("display"))
    words = words or f"Error {word(first.get('code'))}".strip()
    return f"{words} ({place})" if place else words


def _wanted(resource: Mapping[str, Any]) -> Iterator[Wanted]:
    """What a CommunicationRequest or a Task asks for (P052)."""
    if resource.get("status") in _ANSWERED:
        return
    if resource.get("resourceType") == "CommunicationRequest":
        yield from _wanted_by_request(resource)
    elif resource.get("resourceType") == "Task":
        yield from _wanted_by_task(resource)


def _wanted_by_request(request: Mapping[str, Any]) -> Iterator[Wanted]:
    context = next((word(each.get("value")) for each in dicts(request.get("identifier"))), "")
    notes = [word(each.get("text")) for each in dicts(request.get("note"))]
    for payload in list(dicts(request.get("payload"))) or [{}]:
        text, trace, coded = word(payload.get("contentString")), context, ""
        for extension in dicts(payload.get("extension")):
            name = word(extension.get("url")).removeprefix(PAS)
            if name in {"extension-contentModifier", "extension-communicatedDiagnosis"}:
                continue  # how and why it is wanted, not what
            first: Mapping[str, Any] = next(iter(codings(extension.get("valueCodeableConcept"))), {})
            coded = coded or word(first.get("code"))
            given = word(extension.get("valueString")) or word(_dict(extension.get("valueIdentifier")).get("value"))
            trace = given or trace
        loinc = text if _LOINC.fullmatch(text) else coded
        told = " ".join(each for each in ["" if text == loinc else text, *notes] if each)
        yield Wanted(trace if loinc in {DTR_CONTEXT_LOINC, ""} else "", loinc, told)


def _wanted_by_task(task: Mapping[str, Any]) -> Iterator[Wanted]:
    words = " ".join(
        each
        for each in [word(task.get("description")), *(word(n.get("text")) for n in dicts(task.get("note")))]
        if each
    )
    found = []
    for given in dicts(task.get("input")):
        kinds = {word(each.get("code")) for each in codings(given.get("type"))}
        value = next((value for name, value in given.items() if name.startswith("value")), None)
        if "attachments-needed" in kinds:
            first: Mapping[str, Any] = next(iter(codings(value)), {})
            found.append(Wanted("", word(first.get("code")), words or _named(value)))
        elif "questionnaire-context" in kinds:
            found.append(Wanted(word(value), DTR_CONTEXT_LOINC, words))
        elif kinds & {"questionnaires-needed", "questionnaire"}:
            found.append(Wanted("", DTR_CONTEXT_LOINC, words, word(value)))
    yield from found or [Wanted("", "", words)]


def _extension(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    return _part(holder, f"{PAS}{name}")


def _part(holder: Mapping[str, Any], url: str) -> dict[str, Any]:
    return next((each for each in dicts(holder.get("extension")) if each.get("url") == url), {})


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(word(value)[:10]) if word(value) else None
    except ValueError:
        return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

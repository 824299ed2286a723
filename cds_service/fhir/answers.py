"""Answers of the coverage questionnaire (contract: questionnaire)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from cds_service.domain.record import Answer
from cds_service.fhir.chart import Chart, Resource, source
from cds_service.fhir.concepts import dicts, number, word
from cds_service.fhir.dates import day, moment
from cds_service.fhir.prescribers import name_may_prescribe, person_may_prescribe, person_never_prescribes
from cds_service.fhir.systems import SIGNATURE

_COUNTING = frozenset({"completed", "amended"})
_NO_NAME = frozenset({"", "na", "none", "nobody", "unknown", "test", "x"})  # of letters alone
_ORIGIN = "information-origin"  # last part of the extension's address, in every version of DTR
_ZONES = timedelta(days=1)  # the day of the signer's clock may be one ahead of the EHR's

ADAPTIVE_SUFFIX = "-adaptive"  # of the canonical of a form that is asked question by question

Value = str | Fraction | date


def read_answers(chart: Chart, questionnaire: str, *, signature_required: bool = False) -> tuple[Answer, ...]:
    """Every answer to ``questionnaire`` (canonical without version), those of nested groups too.

    Answers of unfinished forms are there to be shown; only completed or amended ones count.
    """
    found: list[Answer] = []
    for response in chart.of("QuestionnaireResponse"):
        if not _is_for(response, questionnaire):
            continue
        pairs = tuple(answers_in(response))
        attested = _attestation(pairs)
        counts = word(response.get("status")) in _COUNTING
        signers = _signers(response)
        by_hand = any(person_may_prescribe(chart, each, response) for each in signers)
        signed = (
            counts
            and attested is not None
            and not _postdated(response.get("authored"), attested)
            and _by_prescriber(chart, response, pairs, signed=by_hand)
            and (by_hand or not signature_required)
        )
        # What was written down before it was attested, or attested before it was written down: it is as old as that.
        written = day(response.get("authored"))
        when = min(filter(None, (attested, written)), default=None)
        author = response.get("author")
        name = word(author.get("display") or author.get("reference")) if type(author) is dict else ""
        authored = moment(response.get("authored"))
        found.extend(
            Answer(fact, value, source(response), when, counts, signed, name, authored, written)
            for fact, value in pairs
        )
    return tuple(found)


def _is_for(response: Resource, questionnaire: str) -> bool:
    """Whether a response answers this questionnaire, whole or question by question.

    An adaptive form travels inside its response, derived from the questionnaire's adaptive twin.
    """
    named = word(response.get("questionnaire"))
    if not named.startswith("#"):
        return named.split("|", 1)[0] in {questionnaire, f"{questionnaire}{ADAPTIVE_SUFFIX}"}
    for held in dicts(response.get("contained")):
        if held.get("resourceType") == "Questionnaire" and held.get("id") == named[1:]:
            derived = held.get("derivedFrom")
            names = [word(held.get("url")), *map(word, derived if type(derived) is list else ())]
            if any(name.split("|", 1)[0] in {questionnaire, f"{questionnaire}{ADAPTIVE_SUFFIX}"} for name in names):
                return True
    return False


def answers_in(holder: Resource) -> Iterator[tuple[str, Value]]:
    """(linkId, value) of a QuestionnaireResponse, item or answer, depth first; the parser bounds the depth."""
    for item in dicts(holder.get("item")):
        name = word(item.get("linkId"))
        for answer in dicts(item.get("answer")):
            value = _value(answer)
            if value is not None and name:
                yield name, value
            yield from answers_in(answer)
        yield from answers_in(item)


def _value(answer: Resource) -> Value | None:
    coding = answer.get("valueCoding")
    if type(coding) is dict:
        return word(coding.get("code")) or None
    if "valueBoolean" in answer:
        return {True: "yes", False: "no"}.get(answer["valueBoolean"]) if type(answer["valueBoolean"]) is bool else None
    if "valueDecimal" in answer or "valueInteger" in answer:
        return number(answer.get("valueDecimal", answer.get("valueInteger")))
    if "valueDate" in answer or "valueDateTime" in answer:
        return day(answer.get("valueDate", answer.get("valueDateTime")))
    return word(answer.get("valueString")).strip() or None


def _attestation(pairs: tuple[tuple[str, Value], ...]) -> date | None:
    """Of several days the first: nothing is attested later than somebody says."""
    return min((value for fact, value in pairs if fact == "attestation_date" and isinstance(value, date)), default=None)


def _postdated(authored: Any, attested: date) -> bool:
    """An attestation of a day on which the form had long been written: it says of no answer that it still holds."""
    if authored is None:
        return False
    written = day(authored, last=True)
    return written is None or attested > written + _ZONES


def _by_prescriber(chart: Chart, response: Resource, pairs: tuple[tuple[str, Value], ...], *, signed: bool) -> bool:
    """A prescriber attests: as the author, or by name in ``attestation_name`` under a form that no other person wrote.

    Whoever is known not to prescribe may fill in a form and write a prescriber's name under it; it is attested when
    the prescriber's own electronic signature is on it (``signed``).
    """
    names = [str(value) for fact, value in pairs if fact == "attestation_name"]
    if not all(name_may_prescribe(name) and _is_name(name, chart) for name in names):
        return False
    author = response.get("author")
    if signed or person_may_prescribe(chart, author, response):
        return True
    writers = [author, *_origins(response, "attestation_name")]
    return bool(names) and not any(person_never_prescribes(chart, each, response) for each in writers)


def _is_name(name: str, chart: Chart) -> bool:
    """Somebody's name, and not the patient's own."""
    words = {"".join(filter(str.isalpha, each)).casefold() for each in name.split()} - {""}
    own = [_words(each) for patient in chart.of("Patient") for each in dicts(patient.get("name"))]
    return "".join(sorted(words)) not in _NO_NAME and words not in own


def _words(name: Resource) -> set[str]:
    given = name.get("given")
    parts = [*(map(word, given) if type(given) is list else ()), word(name.get("family"))]
    text = " ".join(parts) if any(parts) else word(name.get("text"))
    return {"".join(filter(str.isalpha, each)).casefold() for each in text.split()} - {""}


def _origins(holder: Resource, fact: str) -> Iterator[Any]:
    """Who gave the answers to one question, as DTR writes it down beside them."""
    for item in dicts(holder.get("item")):
        for answer in dicts(item.get("answer")):
            if item.get("linkId") == fact:
                yield from _authors(answer)
            yield from _origins(answer, fact)
        yield from _origins(item, fact)


def _authors(answer: Resource) -> Iterator[Any]:
    for extension in dicts(answer.get("extension")):
        if word(extension.get("url")).rpartition("/")[2] != _ORIGIN:
            continue
        for part in dicts(extension.get("extension")):
            if part.get("url") == "author":
                yield from (each.get("valueReference") for each in dicts(part.get("extension")))


def _signers(response: Resource) -> list[Any]:
    """Whose electronic signatures are on a form."""
    found = [each.get("valueSignature") for each in dicts(response.get("extension")) if each.get("url") == SIGNATURE]
    return [each.get("who") for each in found if type(each) is dict]

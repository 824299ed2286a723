"""Answers of the coverage questionnaire (contract: questionnaire)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from typing import Any

from cds_service.domain.record import Answer
from cds_service.fhir.chart import Chart, Resource, source
from cds_service.fhir.concepts import dicts, number, word
from cds_service.fhir.dates import day, moment
from cds_service.fhir.prescribers import may_prescribe, name_may_prescribe
from cds_service.fhir.systems import SIGNATURE

_COUNTING = frozenset({"completed", "amended"})

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
        signed = counts and attested is not None and _by_prescriber(chart, response, pairs)
        if signature_required:
            signed = signed and _electronically_signed(response)
        when = attested or day(response.get("authored"))
        author = response.get("author")
        name = word(author.get("display") or author.get("reference")) if type(author) is dict else ""
        authored = moment(response.get("authored"))
        found.extend(
            Answer(fact, value, source(response), when, counts, signed, name, authored) for fact, value in pairs
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
    for fact, value in pairs:
        if fact == "attestation_date" and isinstance(value, date):
            return value
    return None


def _by_prescriber(chart: Chart, response: Resource, pairs: tuple[tuple[str, Value], ...]) -> bool:
    """A prescriber's name is given in ``attestation_name``, else the author is one."""
    names = [str(value) for fact, value in pairs if fact == "attestation_name"]
    if names:
        return all(map(name_may_prescribe, names))
    author = response.get("author")
    if type(author) is not dict:
        return False
    name, resource = chart.normal(author) or "", chart.resolve(author, response)
    kind = (
        name.rsplit("/", 2)[-2]
        if "/" in name
        else word(resource.get("resourceType") if resource else author.get("type"))
    )
    return may_prescribe(resource, kind)


def _electronically_signed(response: Resource) -> bool:
    def signature(extension: Any) -> bool:
        return extension.get("url") == SIGNATURE and type(extension.get("valueSignature")) is dict

    return any(signature(extension) for extension in dicts(response.get("extension")))

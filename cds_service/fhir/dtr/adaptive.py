"""The response of an adaptive form: what it answers so far, and how it comes back (PS-27 to PS-29, PS-34)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.errors import AnswersNotUsable, MalformedRequest
from cds_service.fhir.answers import Value, answers_in
from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.coverage_information import URL as COVERAGE_INFORMATION
from cds_service.fhir.dates import day
from cds_service.fhir.dtr.draft import CONTEXT_EXTENSION
from cds_service.fhir.questionnaire import INSIDE
from cds_service.fhir.systems import OUR_BASE
from cds_service.policy.form import SECTION, Form, Item, walk

Resource = dict[str, Any]

CONTEXT_SYSTEM = f"{OUR_BASE}/NamingSystem/documentation-context"
_RESPONSE = "QuestionnaireResponse"
_OPEN = frozenset({"in-progress"})
_SPOKEN = {"choice", "open_choice"}


class Adaptive(msgspec.Struct, frozen=True):
    """A response that asks for its next question. ``grown``: the Questionnaire inside it, None at the first call."""

    resource: Resource
    canonical: str
    grown: Resource | None
    context: str
    patient: str  # reference of its subject

    @property
    def asked(self) -> frozenset[str]:
        """The questions that the form has asked so far; its groups are no questions."""
        return frozenset(name for name in _links(self.grown or {}) if not name.startswith(SECTION))


def read_adaptive(response: Resource) -> Adaptive:
    """Read a response; raises MalformedRequest where it is no adaptive form in progress."""
    if word(response.get("status")) not in _OPEN:
        raise MalformedRequest("the response must be in-progress", expression=f"{_RESPONSE}.status")
    name = word(response.get("questionnaire"))
    if not name:
        raise MalformedRequest(
            "the response must name its questionnaire", expression="QuestionnaireResponse.questionnaire"
        )
    grown = None
    if name.startswith("#"):
        grown = _inside(response, name[1:])
        derived = [word(one) for one in grown.get("derivedFrom") or () if word(one)]
        url, version = word(grown.get("url")), word(grown.get("version"))
        name = derived[0] if derived else f"{url}|{version}" if version else url
    subject = response.get("subject")
    patient = word(subject.get("reference")) if type(subject) is dict else ""
    return Adaptive(response, name, grown, _context(response, grown), patient)


def _inside(response: Resource, ident: str) -> Resource:
    for held in dicts(response.get("contained")):
        if held.get("resourceType") == "Questionnaire" and held.get("id") == ident:
            return held
    raise MalformedRequest("the Questionnaire that the response contains is missing", expression="contained")


def _context(response: Resource, grown: Resource | None) -> str:
    """The assertion that the form belongs to, wherever it travelled."""
    for extension in dicts(response.get("extension")):
        if extension.get("url") == CONTEXT_EXTENSION and word(extension.get("valueString")):
            return word(extension.get("valueString"))
    for identifier in dicts((grown or {}).get("identifier")):
        if identifier.get("system") == CONTEXT_SYSTEM and word(identifier.get("value")):
            return word(identifier.get("value"))
    for extension in dicts(response.get("extension")):
        if extension.get("url") == COVERAGE_INFORMATION:
            for part in dicts(extension.get("extension")):
                if part.get("url") == "coverage-assertion-id":
                    return word(part.get("valueString"))
    return ""


def _links(holder: Resource) -> Iterator[str]:
    for item in dicts(holder.get("item")):
        if word(item.get("linkId")):
            yield word(item.get("linkId"))
        yield from _links(item)


def read_given(response: Resource, form: Form, asked: frozenset[str], answers_system: str) -> Mapping[str, list[Value]]:
    """The answers by question; raises AnswersNotUsable with one issue for each that is not of its kind.

    Answers to what was not asked are left alone: the form does not need them.
    """
    items = {item.name: item for item in walk(form.items)}
    given: dict[str, list[Value]] = {}
    issues: list[tuple[str, str, str]] = []
    for name, answer in _raw(response):
        item = items.get(name)
        if item is None or name not in asked:
            continue
        wrong = _wrong(item, answer, answers_system)
        if wrong:
            issues.append(("value", wrong, _where(name)))
    for name, value in answers_in(response):
        if name in asked:
            given.setdefault(name, []).append(value)
    issues += [("required", "this question needs an answer", _where(name)) for name in _unanswered(form, asked, given)]
    if issues:
        raise AnswersNotUsable(tuple(dict.fromkeys(issues)))
    return given


def _unanswered(form: Form, asked: frozenset[str], given: Mapping[str, list[Value]]) -> Iterator[str]:
    """Questions that were asked, must be answered and are not; neither they nor their group were said to be unknown."""
    for group in form.items:
        for item in group.items:
            escapes = [condition.item for condition in item.conditions if condition.operator == "exists"]
            if any(escape in given for escape in escapes):
                continue
            for each in (item, *item.items):
                if each.required and each.name in asked and each.name not in given:
                    yield each.name


def _where(name: str) -> str:
    return f"QuestionnaireResponse.descendants().where(linkId='{name}').answer"


def _raw(holder: Resource) -> Iterator[tuple[str, Resource]]:
    for item in dicts(holder.get("item")):
        for answer in dicts(item.get("answer")):
            yield word(item.get("linkId")), answer
            yield from _raw(answer)
        yield from _raw(item)


def _wrong(item: Item, answer: Resource, answers_system: str) -> str:
    """What is wrong with an answer; "" for nothing. A boolean stands for yes and no, as the contract says."""
    if item.kind in _SPOKEN:
        return _wrong_choice(item, answer, answers_system)
    if item.kind == "decimal":
        return _wrong_number(item, answer)
    if item.kind == "date":
        text = answer.get("valueDate", answer.get("valueDateTime"))
        return "" if day(text) is not None else "the answer must be a date"
    return "" if word(answer.get("valueString")).strip() else "the answer must be a text"


def _wrong_choice(item: Item, answer: Resource, answers_system: str) -> str:
    codes = {one.code for one in item.options}
    coding = answer.get("valueCoding")
    if type(coding) is dict:
        known = coding.get("code") in codes and coding.get("system", answers_system) == answers_system
        if known or item.kind == "open_choice":
            return ""
        return f"the answer must be one of {', '.join(sorted(codes))}"
    if type(answer.get("valueBoolean")) is bool and {"yes", "no"} <= codes:
        return ""
    if item.kind == "open_choice" and word(answer.get("valueString")).strip():
        return ""
    return "the answer must be a Coding"


def _wrong_number(item: Item, answer: Resource) -> str:
    found = answer.get("valueDecimal", answer.get("valueInteger"))
    if isinstance(found, bool) or found is None or isinstance(found, str | dict | list):
        return "the answer must be a number"
    value = Fraction(found)
    if item.minimum is not None and value < item.minimum:
        return f"the answer must be at least {item.minimum}"
    if item.maximum is not None and value > item.maximum:
        return f"the answer must be at most {item.maximum}"
    return ""


def grown_response(
    adaptive: Adaptive, questionnaire: Resource, *, completed: bool, coverage_information: Resource | None = None
) -> Resource:
    """The response as it comes back: answers untouched, the Questionnaire inside it grown, the state it has now."""
    if adaptive.context:
        identifier = {"system": CONTEXT_SYSTEM, "value": adaptive.context}
        questionnaire = {**questionnaire, "identifier": [identifier]}
    others = [
        held
        for held in dicts(adaptive.resource.get("contained"))
        if adaptive.grown is None or held.get("id") != adaptive.grown.get("id")
    ]
    extensions = list(dicts(adaptive.resource.get("extension")))
    if coverage_information is not None:
        extensions = [one for one in extensions if one.get("url") != COVERAGE_INFORMATION] + [coverage_information]
    response = {
        **adaptive.resource,
        "contained": [questionnaire, *others],
        "questionnaire": f"#{INSIDE}",
        "status": "completed" if completed else "in-progress",
    }
    return response | ({"extension": extensions} if extensions else {})

"""What a stored request Bundle shows of the patient, for a person who reviews it: chart, forms and documents.

The request went through the structural gate and the patient gate when it came in; here it is only read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cds_service.domain.record import Availability, Record
from cds_service.fhir.chart import Chart
from cds_service.fhir.concepts import dicts, number, word
from cds_service.fhir.json import parse
from cds_service.fhir.pas.documents import MAX_BYTES, Document, author_of, by_address, documents_of
from cds_service.fhir.record import read_record

EVIDENCE = "https://cds.example.org/fhir/StructureDefinition/answer-evidence"
ORIGIN = "information-origin"  # last part of the extension's address, in every version of DTR
_ORIGINS = {
    "auto-client": "from the chart, by the app",
    "auto-server": "from what the payer knew",
    "auto": "from the chart",
    "override": "from the chart, changed by a person",
    "manual": "typed in",
}

Resource = dict[str, Any]


class FormAnswer(msgspec.Struct, frozen=True):
    """One answered question, as text. ``question`` is what the form says, or its linkId."""

    question: str
    answer: str
    origin: str = ""
    evidence: tuple[str, ...] = ()
    depth: int = 0


class Form(msgspec.Struct, frozen=True):
    """A QuestionnaireResponse of the request."""

    source: str
    questionnaire: str
    status: str
    authored: str
    author: str
    answers: tuple[FormAnswer, ...]
    narrative: str  # XHTML as sent: to be sanitised before it is shown


class RequestSeen(msgspec.Struct, frozen=True):
    """All of it."""

    record: Record
    forms: tuple[Form, ...]
    documents: tuple[Document, ...]


def read_seen(request: bytes, questionnaire: str) -> RequestSeen:
    """Read a stored request. ``questionnaire``: canonical of the coverage questionnaire, without version."""
    bundle = parse(request, max_bytes=MAX_BYTES)
    entries = list(dicts(bundle.get("entry"))) if type(bundle) is dict else []
    resources: dict[str, list[Resource]] = {}
    index: dict[str, Resource] = {}
    for resource in (entry.get("resource") for entry in entries):
        if type(resource) is dict:
            kind = word(resource.get("resourceType"))
            resources.setdefault(kind, []).append(resource)
            index[f"{kind}/{word(resource.get('id'))}"] = resource
    patients = resources.get("Patient", [])
    chart = Chart(
        patient_id=word(patients[0].get("id")) if patients else "",
        host=None,
        drafts=(),
        resources=resources,
        index=index,
        availability=dict.fromkeys(resources, Availability.COMPLETE),
    )
    named = by_address(entries)
    return RequestSeen(
        record=read_record(chart, questionnaire=questionnaire),
        forms=tuple(_form(each, named) for each in resources.get("QuestionnaireResponse", [])),
        documents=documents_of(entries),
    )


def _form(response: Resource, named: dict[str, Resource]) -> Form:
    author, text = response.get("author"), response.get("text")
    return Form(
        source=f"QuestionnaireResponse/{word(response.get('id'))}",
        questionnaire=word(response.get("questionnaire")),
        status=word(response.get("status")),
        authored=word(response.get("authored")),
        author=author_of(author, response, named) if type(author) is dict else "",
        answers=tuple(_answers(response, 0)),
        narrative=word(text.get("div")) if type(text) is dict else "",
    )


def _answers(holder: Resource, depth: int) -> Iterator[FormAnswer]:
    for item in dicts(holder.get("item")):
        question = word(item.get("text")) or word(item.get("linkId"))
        answers = list(dicts(item.get("answer")))
        for answer in answers:
            yield FormAnswer(question, _value(answer), _origin(answer), _evidence(answer), depth)
            yield from _answers(answer, depth + 1)
        if not answers and item.get("item"):
            yield FormAnswer(question, "", depth=depth)
        yield from _answers(item, depth + 1)


def _value(answer: Resource) -> str:
    """An answer of any type as text; one of an unknown type is said to be there."""
    for name, value in answer.items():
        if not name.startswith("value"):
            continue
        if name == "valueCoding" and type(value) is dict:
            return word(value.get("display")) or word(value.get("code"))
        if name == "valueQuantity" and type(value) is dict:
            return f"{value.get('value')} {word(value.get('unit') or value.get('code'))}".strip()
        if name == "valueBoolean":
            return "yes" if value is True else "no"
        if name in {"valueReference", "valueAttachment"} and type(value) is dict:
            return word(value.get("display") or value.get("title") or value.get("reference"))
        if number(value) is not None or type(value) is str:
            return str(value)
    return "an answer of another kind"


def _origin(answer: Resource) -> str:
    for extension in dicts(answer.get("extension")):
        if word(extension.get("url")).rpartition("/")[2] == ORIGIN:
            for part in dicts(extension.get("extension")):
                code = word(part.get("valueCode"))
                if part.get("url") == "source" and code:
                    return _ORIGINS.get(code, "")
    return ""


def _evidence(answer: Resource) -> tuple[str, ...]:
    found = []
    for extension in dicts(answer.get("extension")):
        if extension.get("url") != EVIDENCE:
            continue
        parts = {word(part.get("url")): part for part in dicts(extension.get("extension"))}
        said = [_part(parts.get(name)) for name in ("shows", "source", "date")]
        found.append(", ".join(text for text in said if text))
    return tuple(text for text in found if text)


def _part(part: Resource | None) -> str:
    if part is None:
        return ""
    reference = part.get("valueReference")
    return word(reference.get("reference")) if type(reference) is dict else word(part.get("valueString"))

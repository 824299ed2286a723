"""StructureDefinitions of our own extensions: what they mean, where they stand, what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cds_service.fhir import form_urls as urls
from cds_service.fhir.dtr.draft import CONTEXT_EXTENSION
from cds_service.fhir.pas.authorization_feed import THERAPY

Resource = dict[str, Any]
Head = Callable[[str, str, str], Resource]

_BASE = "http://hl7.org/fhir/StructureDefinition/Extension"
# url, title, what it means, where it stands, (part, least, type) of each part or the type of its own value
_EXTENSIONS: tuple[tuple[str, str, str, str, str, tuple[tuple[str, int, str], ...] | str], ...] = (
    (
        urls.DOSE_LIMIT,
        "Limit of a dose table",
        "One row of the guideline's informational dose table. An app may draw amounts against it; nothing more.",
        "Questionnaire",
        "*",
        (
            ("ingredient", 1, "Coding"),
            ("daily", 0, "Quantity"),
            ("concentration", 0, "Quantity"),
            ("cite", 1, "string"),
        ),
    ),
    (
        urls.SERVES,
        "Criterion that a question serves",
        "Id of a criterion of the guideline that the answer helps to settle.",
        "Questionnaire.item",
        "*",
        "string",
    ),
    (
        urls.ANSWERED_BY,
        "Who answers a question",
        "prescriber, nurse or pharmacist: who can usually answer. Anybody may; the prescriber signs.",
        "Questionnaire.item",
        "1",
        "code",
    ),
    (
        urls.EVIDENCE,
        "What an answer rests on",
        "A resource of the chart, its date and what it shows, behind an answer that was filled in.",
        "QuestionnaireResponse.item.answer",
        "*",
        (("source", 1, "string"), ("date", 0, "string"), ("shows", 1, "string")),
    ),
    (
        CONTEXT_EXTENSION,
        "Documentation context",
        "Id under which the payer knows the order that a form is filled in for: the coverage-assertion-id.",
        "QuestionnaireResponse",
        "1",
        "string",
    ),
    (
        THERAPY,
        "Authorized therapy",
        "One drug of an authorization, the most of it that is covered in a day, and its route: what PAS cannot say.",
        "ClaimResponse.item",
        "*",
        (("drug", 1, "Coding"), ("daily", 0, "Quantity"), ("route", 0, "CodeableConcept")),
    ),
)


def extensions(head: Head) -> Iterator[Resource]:
    """Every extension of ours."""
    for url, title, meaning, where, most, content in _EXTENSIONS:
        ident = url.rpartition("/")[2]
        yield {
            **head("StructureDefinition", ident, title),
            "description": meaning,
            "fhirVersion": "4.0.1",
            "kind": "complex-type",
            "abstract": False,
            "context": [{"type": "element", "expression": where}],
            "type": "Extension",
            "baseDefinition": _BASE,
            "derivation": "constraint",
            "differential": {"element": list(_elements(url, title, meaning, most, content))},
        }


def _elements(
    url: str, title: str, meaning: str, most: str, content: tuple[tuple[str, int, str], ...] | str
) -> Iterator[Resource]:
    yield {"id": "Extension", "path": "Extension", "short": title, "definition": meaning, "min": 0, "max": most}
    if isinstance(content, str):
        yield {"id": "Extension.extension", "path": "Extension.extension", "max": "0"}
        yield {"id": "Extension.url", "path": "Extension.url", "fixedUri": url}
        value = {"min": 1, "type": [{"code": content}]}
        yield {"id": "Extension.value[x]", "path": "Extension.value[x]", **value}
        return
    for name, least, kind in content:
        slice_id = f"Extension.extension:{name}"
        path = "Extension.extension"
        yield {"id": slice_id, "path": path, "sliceName": name, "min": least, "max": "1"}
        yield {"id": f"{slice_id}.url", "path": f"{path}.url", "fixedUri": name}
        yield {"id": f"{slice_id}.value[x]", "path": f"{path}.value[x]", "min": 1, "type": [{"code": kind}]}
    yield {"id": "Extension.url", "path": "Extension.url", "fixedUri": url}
    yield {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"}

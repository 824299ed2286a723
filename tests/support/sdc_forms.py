"""Small questionnaires of invented payers, and a chart to fill them from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from smart_app.sdc.context import Context, Found
from smart_app.sdc.filling import Author
from smart_app.sdc.form import read_form
from smart_app.sdc.shapes import Form

SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-"
CORE = "http://hl7.org/fhir/StructureDefinition/"
NURSE = Author("Practitioner/nurse-sample", "Nora Nurse")
DOCTOR = Author("Practitioner/dr-sample", "Dora Doctor")
AS_OF = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
PATIENT = {
    "resourceType": "Patient",
    "id": "sample",
    "birthDate": "1970-11-23",
    "gender": "female",
    "name": [{"given": ["Sam"], "family": "Sample"}],
}
UCUM = "http://unitsofmeasure.org"


def item(link_id: str, kind: str = "string", *items: dict[str, Any], **members: Any) -> dict[str, Any]:
    """One item. ``ext`` is a list of extensions."""
    made: dict[str, Any] = {"linkId": link_id, "type": kind, "text": f"Question {link_id}", **members}
    if items:
        made["item"] = list(items)
    if "ext" in made:
        made["extension"] = made.pop("ext")
    return made


def fhirpath(name: str, text: str, *, language: str = "text/fhirpath", as_name: str = "") -> dict[str, Any]:
    """An SDC extension that holds an expression."""
    value = {"language": language, "expression": text, **({"name": as_name} if as_name else {})}
    return {"url": f"{SDC}{name}", "valueExpression": value}


def variable(name: str, text: str, language: str = "text/fhirpath") -> dict[str, Any]:
    """The ``variable`` extension."""
    return {"url": f"{CORE}variable", "valueExpression": {"name": name, "language": language, "expression": text}}


def core(name: str, **value: Any) -> dict[str, Any]:
    """An extension of the core."""
    return {"url": f"{CORE}{name}", **value}


def rule(key: str, text: str, human: str, severity: str = "error", language: str = "text/fhirpath") -> dict[str, Any]:
    """A ``targetConstraint``."""
    return {
        "url": f"{CORE}targetConstraint",
        "extension": [
            {"url": "key", "valueId": key},
            {"url": "severity", "valueCode": severity},
            {"url": "human", "valueString": human},
            {"url": "expression", "valueExpression": {"language": language, "expression": text}},
        ],
    }


def questionnaire(*items: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A questionnaire of a payer that does not exist."""
    made: dict[str, Any] = {
        "resourceType": "Questionnaire",
        "url": "https://payer.example/fhir/Questionnaire/sample",
        "version": "3",
        "status": "active",
        "title": "Sample",
        "item": list(items),
        **members,
    }
    if "ext" in made:
        made["extension"] = made.pop("ext")
    return made


def form(*items: dict[str, Any], **members: Any) -> Form:
    """The same, read."""
    return read_form(questionnaire(*items, **members))


def context(**launch: Mapping[str, Any]) -> Context:
    """The sample patient on the sample day; more launch resources by name."""
    return Context(AS_OF, {"patient": PATIENT, **launch})


class Chart:
    """An EHR that answers by query and remembers what it was asked; ``states`` overrides how completely."""

    def __init__(self, answers: Mapping[str, Sequence[Any]] = {}, states: Mapping[str, str] = {}) -> None:
        """``answers``: resources by the beginning of a query."""
        self.asked: list[str] = []
        self._answers, self._states = answers, states

    def __call__(self, queries: Sequence[str]) -> Mapping[str, Found]:
        """A look-up."""
        self.asked += queries
        return {query: self._one(query) for query in queries}

    def _one(self, query: str) -> Found:
        for start, state in self._states.items():
            if query.startswith(start):
                return Found(state, (), "for the test")
        for start, resources in self._answers.items():
            if query.startswith(start):
                return Found("complete", tuple(resources))
        return Found("absent")


def choice(link_id: str, *codes: str, **members: Any) -> dict[str, Any]:
    """A choice with options of one invented code system."""
    options = [{"valueCoding": {"system": "urn:sample", "code": code, "display": code.capitalize()}} for code in codes]
    return item(link_id, "choice", answerOption=options, **members)


def coding(code: str) -> dict[str, Any]:
    """The answer that one of these options is."""
    return {"valueCoding": {"system": "urn:sample", "code": code, "display": code.capitalize()}}

"""Calls of DTR operations, and what tests look at in their answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from werkzeug.test import Client

from tests.support import e2e_patient as sample
from tests.support.e2e_service import Answer, Service

VERSIONS = ("2.0.1", "2.2")
CANONICAL = sample.QUESTIONNAIRE
ADAPTIVE = CANONICAL.replace("|", "-adaptive|")
PACKAGE = {"2.0.1": "PackageBundle", "2.2": "packagebundle"}
OUTCOME = {"2.0.1": "operationOutcome", "2.2": "outcome"}
DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition"


class Dtr:
    """One service, called as a registered app calls it."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def post(self, operation: str, body: Any, version: str = "2.2", token: str | None = None) -> Answer:
        """POST to an operation on Questionnaire."""
        return self.send("POST", f"/dtr/{version}/Questionnaire/${operation}", body, token)

    def send(self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str) -> Answer:
        """Any request with a fresh token, or the token given ("" for none)."""
        token = self.service.system_token() if token is None else token
        sent = {"Content-Type": "application/fhir+json", **headers}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) or body is None else sample.encode(body)
        with Client(self.service.application).open(path, method=method, data=data, headers=sent) as response:
            return Answer(response)

    def package(self, version: str = "2.2", **parts: Any) -> Answer:
        """``$questionnaire-package`` with the parameters of ``request``."""
        return self.post("questionnaire-package", request(**parts), version)

    def signed(self, *drafts: Mapping[str, Any], held: Any = None, version: str = "2.2", **changes: Any) -> Answer:
        """An order-sign call before it, as the EHR makes it."""
        return self.service.post(sample.call(*drafts, held=held, **changes), version).check()

    def context(self, *drafts: Mapping[str, Any], held: Any = None) -> dict[str, Any]:
        """The appContext of the card that such a call leads to."""
        return app_context(self.signed(*drafts, held=held))


def app_context(answer: Answer) -> dict[str, Any]:
    """The appContext of the SMART link of an order-sign answer."""
    return json.loads(form_links(answer)[0]["appContext"])


def form_links(answer: Answer) -> list[dict[str, Any]]:
    """The SMART links that lead to a form."""
    links = [link for card in answer.cards for link in card.get("links", ()) if link["type"] == "smart"]
    return [link for link in links if "questionnaire" in json.loads(link["appContext"])]


def request(
    coverage: Any = None, order: Any = (), questionnaire: Any = (), context: str = "", **others: Any
) -> dict[str, Any]:
    """Parameters; ``coverage`` None is the sample's, () leaves it out."""
    coverages = [sample.coverage()] if coverage is None else _many(coverage)
    parts = [{"name": "coverage", "resource": one} for one in coverages]
    parts += [{"name": "order", "resource": one} for one in _many(order)]
    parts += [{"name": "questionnaire", "valueCanonical": one} for one in _many(questionnaire)]
    if context:
        parts.append({"name": "context", "valueString": context})
    parts += [{"name": name, **value} for name, value in others.items()]
    return {"resourceType": "Parameters", "parameter": parts}


def _many(value: Any) -> list[Any]:
    return [value] if isinstance(value, dict | str) else list(value)


def packages(answer: Answer, version: str = "2.2") -> list[dict[str, Any]]:
    """The package Bundles of an answer."""
    assert answer.status == 200, answer.bytes
    return [part["resource"] for part in answer.json.get("parameter", ()) if part["name"] == PACKAGE[version]]


def issues(answer: Answer, version: str = "2.2") -> list[dict[str, Any]]:
    """The issues that come with packages."""
    held = [part["resource"] for part in answer.json.get("parameter", ()) if part["name"] == OUTCOME[version]]
    return [issue for outcome in held for issue in outcome["issue"]]


def of_type(bundle: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def items(holder: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every item of a Questionnaire or response, depth first."""
    for item in holder.get("item", ()):
        yield item
        yield from items(item)
        for answer in item.get("answer", ()):
            yield from items(answer)


def answers(response: Mapping[str, Any]) -> dict[str, Any]:
    """Map linkId to the first answer's value, or all of them where there are several."""
    found: dict[str, Any] = {}
    for item in items(response):
        values = [_value(answer) for answer in item.get("answer", ())]
        if values:
            found[item["linkId"]] = values[0] if len(values) == 1 else values
    return found


def _value(answer: Mapping[str, Any]) -> Any:
    (name,) = (key for key in answer if key.startswith("value"))
    return answer[name]["code"] if name == "valueCoding" else answer[name]


def extension(element: Mapping[str, Any], url: str) -> list[dict[str, Any]]:
    return [each for each in element.get("extension", ()) if each["url"] == url]


def open_questions(questionnaire: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Required, enabled and unanswered questions (written apart from the code under test)."""
    types = {item["linkId"]: item["type"] for item in items(questionnaire)}
    found: list[str] = []

    def enabled(item: Mapping[str, Any]) -> bool:
        tests = [_holds(condition, given) for condition in item.get("enableWhen", ())]
        return not tests or (all(tests) if item.get("enableBehavior") == "all" else any(tests))

    def walk(holder: Mapping[str, Any]) -> None:
        for item in holder.get("item", ()):
            if not enabled(item):
                continue
            if item.get("required") and types[item["linkId"]] != "group" and item["linkId"] not in given:
                found.append(item["linkId"])
            walk(item)

    walk(questionnaire)
    return found


def _holds(condition: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    said = given.get(condition["question"])
    said = said if isinstance(said, list) else [] if said is None else [said]
    operator = condition["operator"]
    if operator == "exists":
        return bool(said) is condition["answerBoolean"]
    wanted = condition["answerCoding"]["code"] if "answerCoding" in condition else condition["answerDecimal"]
    compare = {"=": lambda one: one == wanted, "<": lambda one: one < wanted, ">": lambda one: one > wanted}
    return any(compare[operator](one) for one in said)


def answer_items(response: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The response with these answers at its end; texts are codes, other values as FHIR would hold them."""
    changed = copy.deepcopy(response)
    held = changed.setdefault("item", [])
    for name, value in values.items():
        held.append({"linkId": name, "answer": [_fragment(value)]})
    return changed


def _fragment(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"valueCoding": {"system": sample.ANSWERS, "code": value}}
    return {"valueDecimal": value}

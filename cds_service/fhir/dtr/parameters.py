"""What systems send to DTR operations (PS-03, PS-26, PS-27): Parameters by any of the names that versions gave them.

Unknown parameters are ignored; a missing or wrong one that is needed is refused by its name, never with its content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from cds_service.domain.documentation import FormError
from cds_service.errors import MalformedRequest
from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.dates import moment
from cds_service.fhir.json import parse

Resource = dict[str, Any]

ORDER_TYPES = frozenset(
    {
        "MedicationRequest", "ServiceRequest", "DeviceRequest", "NutritionOrder", "VisionPrescription",
        "CommunicationRequest", "Appointment", "Encounter", "MedicationDispense", "Task",
    }
)  # fmt: skip
MAX_ORDERS = 100
MAX_ERRORS = 100
_RESPONSE_NAMES = frozenset({"questionnaire-response", "questionnaire-response-in", "in"})


class PackageRequest(msgspec.Struct, frozen=True):
    """``$questionnaire-package``: ``context`` is an assertion id of ours, or a trace number of a pended request."""

    coverages: tuple[Resource, ...]
    orders: tuple[Resource, ...]
    referenced: tuple[Resource, ...]
    questionnaires: tuple[str, ...]
    context: str
    changed_since: datetime | None


def read_package_request(body: bytes, version: str, max_bytes: int) -> PackageRequest:
    """Read ``$questionnaire-package``; raises MalformedRequest (dtr-1 among it) or TooLarge."""
    held = _parameters(body, max_bytes)
    coverages = tuple(_resources(held, "coverage", frozenset({"Coverage"})))
    orders = tuple(_resources(held, "order", ORDER_TYPES))
    canonicals = tuple(dict.fromkeys(_texts(held, "questionnaire", ("valueCanonical", "valueUri", "valueString"))))
    contexts = tuple(dict.fromkeys(_texts(held, "context", ("valueString", "valueId"))))
    if not coverages or (version != "2.0.1" and len(coverages) > 1):
        count = "one parameter" if version != "2.0.1" else "at least one parameter"
        raise MalformedRequest(f"{count} coverage with a Coverage is needed", expression=_where("coverage"))
    if len(contexts) > 1:
        raise MalformedRequest("at most one parameter context is taken", expression=_where("context"))
    if not (orders or canonicals or contexts):
        raise MalformedRequest(
            "one of the parameters order, questionnaire and context is needed (dtr-1)",
            expression="Parameters.parameter",
        )
    if len(orders) > MAX_ORDERS:
        raise MalformedRequest(f"at most {MAX_ORDERS} orders are taken", expression=_where("order"))
    referenced = tuple(_resources(held, "referenced", None))
    return PackageRequest(coverages, orders, referenced, canonicals, "".join(contexts), _changed_since(held))


def read_next_question(body: bytes, max_bytes: int) -> Resource:
    """The QuestionnaireResponse of ``$next-question``: in Parameters, or bare (PS-27)."""
    resource = _object(body, max_bytes)
    if resource.get("resourceType") == "QuestionnaireResponse":
        return resource
    if resource.get("resourceType") != "Parameters":
        raise MalformedRequest("the body must be Parameters or a QuestionnaireResponse", expression="resourceType")
    for part in dicts(resource.get("parameter")):
        held = part.get("resource")
        if word(part.get("name")).lower() in _RESPONSE_NAMES and type(held) is dict:
            if held.get("resourceType") != "QuestionnaireResponse":
                break
            return held
    raise MalformedRequest(
        "a parameter questionnaire-response with a QuestionnaireResponse is needed",
        expression=_where("questionnaire-response"),
    )


def read_errors(body: bytes, max_bytes: int) -> tuple[tuple[str, ...], tuple[FormError, ...]]:
    """``$log-questionnaire-errors``: the questionnaires concerned, and what is wrong with them; always together."""
    held = _parameters(body, max_bytes)
    canonicals = tuple(dict.fromkeys(_texts(held, "questionnaire", ("valueCanonical", "valueUri", "valueString"))))
    outcomes = list(_resources(held, "operationoutcome", frozenset({"OperationOutcome"})))
    if not canonicals:
        raise MalformedRequest(
            "a parameter questionnaire with a canonical is needed", expression=_where("questionnaire")
        )
    if not outcomes:
        raise MalformedRequest(
            "a parameter operationOutcome with an OperationOutcome is needed", expression=_where("operationOutcome")
        )
    found = tuple(
        FormError(
            canonical,
            word(issue.get("severity")),
            word(issue.get("code")),
            " ".join(filter(None, map(word, _list(issue.get("expression"))))),
            _said(issue),
        )
        for canonical in canonicals
        for outcome in outcomes
        for issue in dicts(outcome.get("issue"))
    )
    if len(found) > MAX_ERRORS:
        raise MalformedRequest(f"at most {MAX_ERRORS} issues are taken", expression=_where("operationOutcome"))
    return canonicals, found


def read_expand(body: bytes, max_bytes: int) -> Mapping[str, str]:
    """The parameters of ``$expand`` as texts."""
    held = _parameters(body, max_bytes)
    found = {}
    for name in ("url", "filter", "count", "offset", "valueSetVersion"):
        for part in held.get(name.lower(), ()):
            for key, value in part.items():
                if key.startswith("value") and type(value) in {str, int}:
                    found[name] = str(value)
    return found


def _said(issue: Resource) -> str:
    details = issue.get("details")
    text = word(details.get("text")) if type(details) is dict else ""
    return " ".join(filter(None, (word(issue.get("diagnostics")), text)))


def _list(value: Any) -> list[Any]:
    return value if type(value) is list else []


def _object(body: bytes, max_bytes: int) -> Resource:
    resource = parse(body, max_bytes=max_bytes)
    if type(resource) is not dict:
        raise MalformedRequest("the body must be one FHIR resource")
    return resource


def _parameters(body: bytes, max_bytes: int) -> dict[str, list[Resource]]:
    """Parameters by name in small letters: 2.0.1's operation and profile write the same name in two ways."""
    resource = _object(body, max_bytes)
    if resource.get("resourceType") != "Parameters":
        raise MalformedRequest("the body must be Parameters", expression="resourceType")
    parameter = resource.get("parameter", [])
    if type(parameter) is not list:
        raise MalformedRequest("parameter must be a list", expression="Parameters.parameter")
    held: dict[str, list[Resource]] = {}
    for number, part in enumerate(parameter):
        name = part.get("name") if type(part) is dict else None
        if type(name) is not str or not name:
            raise MalformedRequest("a parameter needs a name", expression=f"Parameters.parameter[{number}].name")
        held.setdefault(name.lower(), []).append(part)
    return held


def _resources(held: Mapping[str, list[Resource]], name: str, kinds: frozenset[str] | None) -> Iterator[Resource]:
    for part in held.get(name, ()):
        resource = part.get("resource")
        kind = resource.get("resourceType") if type(resource) is dict else None
        if type(resource) is not dict or type(kind) is not str or (kinds is not None and kind not in kinds):
            wanted = "a resource" if kinds is None else f"one of {', '.join(sorted(kinds))}"
            raise MalformedRequest(f"the parameter {name} must hold {wanted}", expression=_where(name))
        yield resource


def _texts(held: Mapping[str, list[Resource]], name: str, keys: tuple[str, ...]) -> Iterator[str]:
    for part in held.get(name, ()):
        text = next((part[key] for key in keys if key in part), None)
        if type(text) is not str or not text.strip():
            raise MalformedRequest(f"the parameter {name} must hold {keys[0]}", expression=_where(name))
        yield text


def _changed_since(held: Mapping[str, list[Resource]]) -> datetime | None:
    for part in held.get("changedsince", ()):
        at = moment(part.get("valueInstant", part.get("valueDateTime")))
        if at is None:
            raise MalformedRequest(
                "the parameter changedsince must hold a moment with its zone", expression=_where("changedsince")
            )
        return at
    return None


def _where(name: str) -> str:
    return f"Parameters.parameter.where(name='{name}')"

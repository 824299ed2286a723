"""The coverage-information extension in plain words, for the panel beside the order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from sandbox_ehr.fhir_json import Resource

URL = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"

_COVERED = {
    "covered": "Covered by the plan",
    "not-covered": "Not covered",
    "conditional": "Coverage depends on what is said below",
    "indeterminate": "Coverage could not be determined",
}
_AUTHORIZATION = {
    "no-auth": "No prior authorization needed",
    "auth-needed": "Prior authorization needed",
    "satisfied": "Prior authorization already on file",
    "performpa": "Prior authorization is needed from the one who performs this",
    "conditional": "Prior authorization depends on what is said below",
    "indeterminate": "The need for prior authorization could not be determined",
}
_DOCUMENTS = {
    "clinical": "Clinical documentation needed",
    "admin": "Administrative information needed",
    "both": "Clinical and administrative documentation needed",
    "patient": "Information from the patient needed",
    "conditional": "Documentation depends on what is said below",
}
_PURPOSE = {
    "withpa": "with the prior authorization",
    "withclaim": "with the claim",
    "withorder": "with the order",
    "retain-doc": "to be kept on file",
}
_INFORMATION = {
    "performer": "who performs it",
    "location": "where it is done",
    "timeframe": "when it is done",
    "contract-window": "whether it falls in the contract period",
    "detail-code": "a more detailed code",
    "OTH": "what the reason names",
}
_TONE = {"satisfied": "good", "no-auth": "good", "auth-needed": "todo", "not-covered": "bad"}


class Assertion(msgspec.Struct, frozen=True):
    """What one payer says of one order: a headline pair, then rows of (term, text)."""

    covered: str  # code, for tests and styling
    pa_needed: str
    headline: str
    authorization: str
    tone: str  # good | todo | bad | open
    rows: tuple[tuple[str, str], ...]
    billing: str
    fine_print: tuple[tuple[str, str], ...]  # for those who look after claims, not for prescribers


def assertions(resource: Resource) -> tuple[Assertion, ...]:
    """Every coverage-information on an order."""
    return tuple(
        _assertion(extension) for extension in _objects(resource.get("extension")) if extension.get("url") == URL
    )


def without_coverage_information(resource: Resource) -> Resource:
    """The resource as it was before any payer spoke."""
    held = resource.get("extension")
    rest = {name: value for name, value in resource.items() if name != "extension"}
    if not isinstance(held, list):
        return rest if held is None else resource
    kept = [item for item in held if not (isinstance(item, dict) and item.get("url") == URL)]
    return {**rest, "extension": kept} if kept else rest


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; whatever a payer sends, nothing here may raise."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _assertion(extension: Mapping[str, Any]) -> Assertion:
    parts: dict[str, list[Any]] = {}
    for part in _objects(extension.get("extension")):
        parts.setdefault(str(part.get("url")), []).append(part)
    covered, pa = _first(parts, "covered"), _first(parts, "pa-needed")
    tone = _TONE.get(covered) or _TONE.get(pa) or "open"
    return Assertion(
        covered=covered,
        pa_needed=pa,
        headline=_COVERED.get(covered, covered),
        authorization=_AUTHORIZATION.get(pa, pa),
        tone=tone,
        rows=tuple((term, text) for term, text in _rows(parts) if text),
        billing=", ".join(_all(parts, "billingCode")),
        fine_print=tuple((term, text) for term, text in _fine_print(parts) if text),
    )


def _rows(parts: Mapping[str, list[Any]]) -> Iterator[tuple[str, str]]:
    yield "Authorization number", _first(parts, "satisfied-pa-id")
    purposes = ", ".join(_PURPOSE.get(code, code) for code in _all(parts, "doc-purpose"))
    for code in _all(parts, "doc-needed"):
        yield "Documentation", f"{_DOCUMENTS.get(code, code)}{f', {purposes}' if purposes else ''}"
    yield "Still to be known", ", ".join(_INFORMATION.get(code, code) for code in _all(parts, "info-needed"))
    yield "Reason", "; ".join(_all(parts, "reason"))
    for detail in parts.get("detail", []):
        yield _detail(detail)
    yield "Holds until", _first(parts, "expiry-date")


def _fine_print(parts: Mapping[str, list[Any]]) -> Iterator[tuple[str, str]]:
    yield "Questionnaire", ", ".join(_all(parts, "questionnaire"))
    yield "Assertion", _first(parts, "coverage-assertion-id")
    yield "Date", _first(parts, "date")


def _detail(detail: Mapping[str, Any]) -> tuple[str, str]:
    inner = {str(part.get("url")): part for part in _objects(detail.get("extension"))}
    code = _value(inner.get("code", {})) or "Detail"
    qualification = _value(inner.get("qualification", {}))
    text = _value(inner.get("value", {}))
    return code.replace("-", " ").capitalize(), f"{text} ({qualification})" if qualification else text


def _first(parts: Mapping[str, list[Any]], name: str) -> str:
    return next(iter(_all(parts, name)), "")


def _all(parts: Mapping[str, list[Any]], name: str) -> list[str]:
    return [text for text in (_value(part) for part in parts.get(name, [])) if text]


def _value(part: Mapping[str, Any]) -> str:
    value = next((value for name, value in part.items() if name.startswith("value")), "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, dict):
        return str(value)
    if "start" in value or "end" in value:
        return f"{value.get('start', '...')} to {value.get('end', '...')}"
    if "value" in value:
        return f"{value['value']} {value.get('unit', value.get('code', ''))}".strip()
    named = next((one.get("display") or one.get("code") for one in _objects(value.get("coding"))), None)
    return str(value.get("text") or named or value.get("display") or value.get("code") or value.get("reference") or "")

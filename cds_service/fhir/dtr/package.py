"""A package and the answer that carries it (PS-10, PS-13): Questionnaire, draft, Libraries, ValueSets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cds_service.fhir import form_urls as urls

Resource = dict[str, Any]

_PACKAGE = {"2.0.1": "PackageBundle", "2.2": "packagebundle"}
_OUTCOME = {"2.0.1": "operationOutcome", "2.2": "outcome"}


def package_bundle(
    questionnaire: tuple[str, Any], draft: tuple[str, Any], others: Sequence[tuple[str, Any]] = ()
) -> Resource:
    """One package; each entry is (fullUrl, resource), where a resource may be text that is written already."""
    entries = [{"fullUrl": url, "resource": resource} for url, resource in (questionnaire, draft, *others)]
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [urls.PACKAGE_PROFILE]},
        "type": "collection",
        "entry": entries,
    }


def output(packages: Sequence[Resource], issues: Sequence[tuple[str, str, str]], version: str) -> Resource:
    """The answer of ``$questionnaire-package``; ``issues`` are (severity, code, text)."""
    parts: list[Resource] = [{"name": _PACKAGE[version], "resource": package} for package in packages]
    if issues:
        parts.append({"name": _OUTCOME[version], "resource": outcome(issues)})
    return {"resourceType": "Parameters"} | ({"parameter": parts} if parts else {})


def outcome(issues: Sequence[tuple[str, str, str]]) -> Resource:
    """An OperationOutcome that comes with an answer: information and warnings."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": severity, "code": code, "details": {"text": text}, "diagnostics": text}
            for severity, code, text in issues
        ],
    }


def reference(resource: Mapping[str, Any]) -> Resource:
    """A reference to a resource that has an id."""
    return {"reference": f"{resource.get('resourceType')}/{resource.get('id')}"}


def unsigned(source: str) -> Resource:
    """A draft order that no FHIR server holds yet: named, not referred to, so that nothing dangles."""
    kind, _, ident = source.rpartition("/")
    return {"type": kind or "MedicationRequest", "identifier": {"value": ident}, "display": "order not signed yet"}

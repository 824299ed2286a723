"""The invariants of coverage-information, read from the extension as a receiver would (cds-hooks-crd 128-137).

Written apart from ``domain/coverage_answer.py``, in the strictest form that is legal in every CRD version.
"""

from __future__ import annotations

from typing import Any

URL = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"


def broken(resource: dict[str, Any]) -> set[str]:
    """Names of the invariants that an order's coverage-information breaks."""
    held = [each for each in resource.get("extension", []) if each.get("url") == URL]
    if not held:
        return {"crd-respci1"}
    return {f"crd-ci-{rule}" for each in held for rule in _rules(each["extension"])}


def _rules(parts: list[dict[str, Any]]) -> set[str]:
    values: dict[str, list[Any]] = {}
    for part in parts:
        values.setdefault(part["url"], []).extend(value for key, value in part.items() if key.startswith("value"))
    words = values.get("covered", []) + values.get("pa-needed", []) + values.get("doc-needed", [])
    pa_needed, reasons = values.get("pa-needed", []), values.get("reason", [])
    settled = "satisfied" in pa_needed or "no-auth" in pa_needed or "not-covered" in values.get("covered", [])
    holds = {
        "q1": "questionnaire" not in values or "doc-needed" in values,
        "q2": ("not-covered" in values.get("covered", [])) != bool(pa_needed),
        "q3": ("conditional" in words) == ("info-needed" in values),
        "q4": not (settled and "withpa" in values.get("doc-purpose", [])),
        "q5": ("satisfied" in pa_needed) == ("satisfied-pa-id" in values),
        "q6": "OTH" not in values.get("info-needed", []) or bool(reasons),
        "q7": all(reason.get("text") for reason in reasons),
        "q8": "doc-purpose" not in values or bool(reasons),
        "q9": "indeterminate" not in words or bool(reasons),
    }
    return {rule for rule, held in holds.items() if not held}

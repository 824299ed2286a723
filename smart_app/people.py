"""Names and numbers of people in FHIR resources, for the banner and the author of answers (SM-40)."""

from __future__ import annotations

from typing import Any

from smart_app.sessions import PatientBanner

NPI = "http://hl7.org/fhir/sid/us-npi"

Resource = dict[str, Any]


def banner_of(patient: Resource | None) -> PatientBanner:
    """Name, birth date and record number of a Patient (SM-40)."""
    if patient is None:
        return PatientBanner()
    birth = patient.get("birthDate")
    return PatientBanner(name_in(patient), birth if isinstance(birth, str) else "", _record_number(patient))


def name_in(resource: Resource | None) -> str:
    """The official or else the first name, in one line."""
    names = [each for each in _list(resource, "name") if isinstance(each, dict) and each.get("use") != "old"]
    for name in sorted(names, key=lambda each: each.get("use") != "official"):
        if isinstance(name.get("text"), str) and name["text"].strip():
            return " ".join(name["text"].split())[:200]
        parts = [*_texts(name, "prefix"), *_texts(name, "given"), name.get("family"), *_texts(name, "suffix")]
        text = " ".join(each for each in parts if isinstance(each, str) and each.strip())
        if text:
            return text[:200]
    return ""


def npi_in(resource: Resource | None) -> str:
    """The National Provider Identifier, where one is shown."""
    for each in _list(resource, "identifier"):
        if isinstance(each, dict) and each.get("system") == NPI and isinstance(each.get("value"), str):
            return str(each["value"])[:20]
    return ""


def _record_number(patient: Resource) -> str:
    found = [each for each in _list(patient, "identifier") if isinstance(each, dict)]
    found.sort(key=lambda each: "MR" not in _type_codes(each))
    values = (each.get("value") for each in found)
    return next((value[:64] for value in values if isinstance(value, str) and value), "")


def _type_codes(identifier: Resource) -> tuple[Any, ...]:
    kind = identifier.get("type")
    return tuple(
        each.get("code") for each in _list(kind if isinstance(kind, dict) else None, "coding") if isinstance(each, dict)
    )


def _list(resource: Resource | None, name: str) -> list[Any]:
    value = (resource or {}).get(name)
    return value if isinstance(value, list) else []


def _texts(resource: Resource, name: str) -> list[str]:
    return [each for each in _list(resource, name) if isinstance(each, str)]

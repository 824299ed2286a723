"""FHIR type search over plain resources: token, reference, date and uri parameters, joined by AND and OR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sandbox_ehr.fhir_json import Resource

# Parameter -> (kind, element paths). A parameter that is not listed is refused, never ignored: a search that silently
# drops a filter would tell the asker more than it asked for.
_EVERYWHERE = {"_id": ("id", ("id",)), "_lastUpdated": ("date", ("meta.lastUpdated",))}
_SUBJECT = dict.fromkeys(("patient", "subject"), ("reference", ("subject",)))
_DRUG = {"code": ("token", ("medicationCodeableConcept",)), "medication": ("reference", ("medicationReference",))}
PARAMETERS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "Patient": {"identifier": ("token", ("identifier",))},
    "Coverage": {
        "patient": ("reference", ("beneficiary",)),
        "beneficiary": ("reference", ("beneficiary",)),
        "status": ("token", ("status",)),
        "type": ("token", ("type",)),
    },
    "Encounter": {
        **_SUBJECT,
        "status": ("token", ("status",)),
        "class": ("token", ("class",)),
        "type": ("token", ("type",)),
        "date": ("date", ("period",)),
    },
    "Condition": {
        **_SUBJECT,
        "code": ("token", ("code",)),
        "category": ("token", ("category",)),
        "clinical-status": ("token", ("clinicalStatus",)),
        "verification-status": ("token", ("verificationStatus",)),
        "onset-date": ("date", ("onsetDateTime", "onsetPeriod")),
        "recorded-date": ("date", ("recordedDate",)),
        "encounter": ("reference", ("encounter",)),
    },
    "MedicationRequest": {
        **_SUBJECT,
        **_DRUG,
        "status": ("token", ("status",)),
        "intent": ("token", ("intent",)),
        "authoredon": ("date", ("authoredOn",)),
        "encounter": ("reference", ("encounter",)),
    },
    "MedicationStatement": {
        **_SUBJECT,
        **_DRUG,
        "status": ("token", ("status",)),
        "effective": ("date", ("effectiveDateTime", "effectivePeriod")),
    },
    "MedicationDispense": {
        **_SUBJECT,
        **_DRUG,
        "status": ("token", ("status",)),
        "whenhandedover": ("date", ("whenHandedOver",)),
    },
    "MedicationAdministration": {
        **_SUBJECT,
        **_DRUG,
        "status": ("token", ("status",)),
        "effective-time": ("date", ("effectiveDateTime", "effectivePeriod")),
    },
    "Medication": {"code": ("token", ("code",))},
    "Observation": {
        **_SUBJECT,
        "code": ("token", ("code",)),
        "category": ("token", ("category",)),
        "status": ("token", ("status",)),
        "date": ("date", ("effectiveDateTime", "effectivePeriod")),
    },
    "Procedure": {
        **_SUBJECT,
        "code": ("token", ("code",)),
        "status": ("token", ("status",)),
        "date": ("date", ("performedDateTime", "performedPeriod")),
    },
    "Device": {
        "patient": ("reference", ("patient",)),
        "type": ("token", ("type",)),
        "status": ("token", ("status",)),
    },
    "DeviceUseStatement": {**_SUBJECT, "status": ("token", ("status",))},
    "AllergyIntolerance": {
        "patient": ("reference", ("patient",)),
        "code": ("token", ("code",)),
        "clinical-status": ("token", ("clinicalStatus",)),
        "date": ("date", ("recordedDate",)),
    },
    "QuestionnaireResponse": {
        **_SUBJECT,
        "questionnaire": ("uri", ("questionnaire",)),
        "status": ("token", ("status",)),
        "authored": ("date", ("authored",)),
    },
    "ServiceRequest": {
        **_SUBJECT,
        "code": ("token", ("code",)),
        "status": ("token", ("status",)),
        "intent": ("token", ("intent",)),
        "authored": ("date", ("authoredOn",)),
    },
    "DeviceRequest": {
        **_SUBJECT,
        "code": ("token", ("codeCodeableConcept",)),
        "status": ("token", ("status",)),
        "intent": ("token", ("intent",)),
        "authored-on": ("date", ("authoredOn",)),
    },
    "Practitioner": {"identifier": ("token", ("identifier",))},
    "Organization": {"identifier": ("token", ("identifier",))},
}
TYPES = tuple(PARAMETERS)
# Types that belong to no patient: reachable by scope alone.
SHARED_TYPES = frozenset({"Medication", "Practitioner", "Organization"})
_CONTROL = frozenset({"_count", "_offset", "_sort", "_include", "_format", "_total", "_summary"})
_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le")


class SearchRefused(ValueError):
    """The search cannot be answered as asked; the text says which parameter and what is allowed."""


def matches(resource_type: str, resources: Iterable[Resource], query: Sequence[tuple[str, str]]) -> list[Resource]:
    """Those ``resources`` that satisfy every parameter of ``query``; repeated parameters AND, commas OR."""
    known = {**_EVERYWHERE, **PARAMETERS[resource_type]}
    tests = []
    for name, value in query:
        if name in _CONTROL:
            continue
        if name not in known:
            allowed = ", ".join(sorted(known))
            raise SearchRefused(f"{resource_type} has no search parameter of this name; allowed: {allowed}")
        tests.append((*known[name], value.split(",")))
    return [resource for resource in resources if all(_holds(resource, *test) for test in tests)]


def patient_of(resource: Resource) -> str | None:
    """Id of the patient that a resource is about, or None for shared ones."""
    if resource["resourceType"] == "Patient":
        return str(resource["id"])
    for element in ("subject", "patient", "beneficiary"):
        target = resource.get(element)
        if isinstance(target, dict) and str(target.get("reference", "")).startswith("Patient/"):
            return str(target["reference"]).removeprefix("Patient/")
    return None


def at(value: Any, path: str) -> Iterator[Any]:
    """Every value at a dotted element path, lists flattened."""
    if not path:
        yield from value if isinstance(value, list) else (value,)
        return
    head, _, rest = path.partition(".")
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, dict) and head in item:
            yield from at(item[head], rest)


def _holds(resource: Resource, kind: str, paths: tuple[str, ...], wanted: list[str]) -> bool:
    found = [value for path in paths for value in at(resource, path)]
    return any(_one(kind, value, want) for value in found for want in wanted)


def _one(kind: str, value: Any, want: str) -> bool:
    match kind:
        case "id":
            return bool(value == want)
        case "reference":
            return isinstance(value, dict) and _same_reference(str(value.get("reference", "")), want)
        case "uri":
            return str(value).partition("|")[0] == want.partition("|")[0]
        case "date":
            return _date(value, want)
        case _:
            return any(_token(coding, want) for coding in _codings(value))


def _same_reference(reference: str, want: str) -> bool:
    return reference == want or ("/" not in want and reference.rpartition("/")[2] == want)


def _codings(value: Any) -> Iterator[tuple[str | None, str]]:
    if isinstance(value, str | bool):
        yield None, str(value).lower() if isinstance(value, bool) else value
    elif isinstance(value, dict):
        if "coding" in value:
            yield from ((coding.get("system"), str(coding.get("code", ""))) for coding in value["coding"])
        else:
            yield value.get("system"), str(value.get("code", value.get("value", "")))


def _token(coding: tuple[str | None, str], want: str) -> bool:
    system, bar, code = want.rpartition("|")
    if not bar:
        return coding[1] == code
    return (coding[0] or "") == system and (not code or coding[1] == code)


def _date(value: Any, want: str) -> bool:
    prefix = want[:2] if want[:2] in _PREFIXES else "eq"
    day = (want[2:] if want[:2] in _PREFIXES else want)[:10]
    if isinstance(value, dict):
        start, end = str(value.get("start", "0000"))[:10], str(value.get("end", "9999"))[:10]
    else:
        start = end = str(value)[:10]
    match prefix:
        case "ge":
            return end >= day
        case "gt":
            return end > day
        case "le":
            return start <= day
        case "lt":
            return start < day
        case "ne":
            return not start.startswith(day)
        case _:
            return start.startswith(day) or start <= day <= end

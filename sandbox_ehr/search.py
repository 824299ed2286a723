"""FHIR type search over plain resources: token, reference, date and uri parameters, joined by AND and OR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.search_parameters import EVERYWHERE, PARAMETERS, SHARED_TYPES, TYPES

__all__ = ["PARAMETERS", "SHARED_TYPES", "TYPES", "SearchRefused", "at", "matches", "ordered", "patient_of"]

_CONTEXT = tuple(
    f"http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/{name}" for name in ("qr-context", "qr-coverage")
)
_CONTROL = frozenset({"_count", "_offset", "_sort", "_include", "_format", "_total", "_summary"})
_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le")


class SearchRefused(ValueError):
    """The search cannot be answered as asked; the text says which parameter and what is allowed."""


def matches(resource_type: str, resources: Iterable[Resource], query: Sequence[tuple[str, str]]) -> list[Resource]:
    """Those ``resources`` that satisfy every parameter of ``query``; repeated parameters AND, commas OR."""
    known = {**EVERYWHERE, **PARAMETERS[resource_type]}
    tests = []
    for name, value in query:
        if name in _CONTROL:
            continue
        if name not in known:
            allowed = ", ".join(sorted(known))
            raise SearchRefused(f"{resource_type} has no search parameter of this name; allowed: {allowed}")
        tests.append((*known[name], value.split(",")))
    return [resource for resource in resources if all(_holds(resource, *test) for test in tests)]


def ordered(resource_type: str, found: list[Resource], query: Sequence[tuple[str, str]]) -> list[Resource]:
    """``found`` as ``_sort`` wants it: the first parameter counts most; what has no such value comes last."""
    known = {**EVERYWHERE, **PARAMETERS[resource_type]}
    wanted = [part for name, value in query if name == "_sort" for part in value.split(",") if part]
    for part in reversed(wanted):
        name = part.removeprefix("-")
        if name not in known:
            raise SearchRefused(f"_sort knows these parameters of {resource_type}: {', '.join(sorted(known))}")
        keyed = [(_sort_key(resource, known[name][1]), resource) for resource in found]
        having = [one for one in keyed if one[0]]
        having.sort(key=lambda one: one[0], reverse=part.startswith("-"))
        found = [resource for _, resource in having] + [resource for key, resource in keyed if not key]
    return found


def _sort_key(resource: Resource, paths: tuple[str, ...]) -> str:
    for value in (value for path in paths for value in at(resource, path)):
        if isinstance(value, dict):
            return str(value.get("start") or next((code for _, code in _codings(value)), ""))
        return str(value)
    return ""


def patient_of(resource: Resource) -> str | None:
    """Id of the patient that a resource is about, or None for shared ones."""
    if resource["resourceType"] == "Patient":
        return str(resource["id"])
    for element in ("subject", "patient", "beneficiary", "for"):
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
        case "context":  # DTR: the order, coverage or visit that a questionnaire was filled in for
            return (
                isinstance(value, dict)
                and value.get("url") in _CONTEXT
                and _one("reference", value.get("valueReference"), want)
            )
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

"""FHIR transactions at the payer: entries are written together, and their references follow the ids they got."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.payer_inbox import Kept, Several, Writing

MOST_ENTRIES = 100


class NotATransaction(ValueError):
    """The Bundle cannot be carried out; the text says which entry and why."""


def carry_out(writing: Writing, bundle: Resource, types: tuple[str, ...]) -> Resource:
    """Write every entry (POST, with ifNoneExist or without, and PUT) and answer a transaction-response.

    Entries are written in the order of their references, so that each finds the ids of what it points to.
    Raises NotATransaction; the caller's transaction is then given up.
    """
    entries = bundle.get("entry")
    if bundle.get("type") != "transaction" or not isinstance(entries, list) or not 0 < len(entries) <= MOST_ENTRIES:
        raise NotATransaction(f"A Bundle of type transaction with 1 to {MOST_ENTRIES} entries is needed.")
    done: dict[int, Kept] = {}
    places: dict[str, str] = {}
    waiting = list(range(len(entries)))
    while waiting:
        names = {_name(entries[index]) for index in waiting} - {""}
        ready = [one for one in waiting if not (_references(_resource(entries[one])) & (names - {_name(entries[one])}))]
        for index in ready or waiting:  # a circle of references is written as it comes
            kept = _write(writing, entries[index], index, places, types)
            done[index] = kept
            places[_name(entries[index])] = f"{kept.resource['resourceType']}/{kept.resource['id']}"
        waiting = [one for one in waiting if one not in done]
    return {
        "resourceType": "Bundle",
        "type": "transaction-response",
        "entry": [{"response": _response(done[index])} for index in range(len(entries))],
    }


def _write(writing: Writing, entry: Any, index: int, places: dict[str, str], types: tuple[str, ...]) -> Kept:
    resource = _resource(entry)
    asked = entry.get("request") if isinstance(entry, dict) else None
    asked = asked if isinstance(asked, dict) else {}
    kind, _, ident = str(asked.get("url", "")).partition("/")
    if kind not in types or resource.get("resourceType") != kind:
        raise NotATransaction(f"Entry {index}: url and resource are of one type of {', '.join(types)}.")
    body = _moved(resource, places)
    if asked.get("method") == "PUT" and ident:
        return writing.put(kind, ident, body)
    if asked.get("method") != "POST" or ident:
        raise NotATransaction(f"Entry {index}: POST to a type or PUT to an id.")
    condition = asked.get("ifNoneExist")
    token = dict(parse_qsl(str(condition))).get("identifier") if condition else None
    if condition and not token:
        raise NotATransaction(f"Entry {index}: ifNoneExist is identifier=system|value.")
    try:
        return writing.create(kind, body, token)
    except Several:
        raise NotATransaction(f"Entry {index}: more than one resource has this identifier.") from None


def _response(kept: Kept) -> dict[str, str]:
    return {
        "status": "201 Created" if kept.created else "200 OK",
        "location": f"{kept.resource['resourceType']}/{kept.resource['id']}/_history/{kept.version}",
        "etag": f'W/"{kept.version}"',
    }


def _name(entry: Any) -> str:
    return str(entry.get("fullUrl", "")) if isinstance(entry, dict) else ""


def _resource(entry: Any) -> Resource:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return resource if isinstance(resource, dict) else {}


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {str(value["reference"])} if "reference" in value else set()
        return own.union(*(_references(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(inner) for inner in value))
    return set()


def _moved(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, dict):
        moved = {name: _moved(inner, places) for name, inner in value.items()}
        if moved.get("reference") in places:
            moved["reference"] = places[moved["reference"]]
        return moved
    if isinstance(value, list):
        return [_moved(inner, places) for inner in value]
    return value

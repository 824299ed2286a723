"""Which request a payer's answer, notification or inquiry result is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_app.pas.closure import Resource

_RESPONSES = ("Bundle", "ClaimResponse")


def response_bundle(body: Any) -> Resource:
    """The response Bundle of an answer to ``$submit``; some payers wrap it in Parameters, or send its heart alone.

    What holds no ClaimResponse stays as it is, and is unreadable.
    """
    if not isinstance(body, dict):
        return {}
    if body.get("resourceType") == "ClaimResponse":
        return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": body}]}
    if body.get("resourceType") == "Parameters":
        inside = _dicts([each.get("resource") for each in _dicts(body.get("parameter"))])
        found = [each for each in inside if each.get("resourceType") in _RESPONSES]
        return response_bundle(found[0]) if found else {}
    return body


def bundles_in(body: Any) -> list[Resource]:
    """Every Bundle within a Parameters or a Bundle, at most two levels down; a ClaimResponse alone is made one."""
    if not isinstance(body, dict):
        return []
    if body.get("resourceType") == "ClaimResponse":
        return [response_bundle(body)]
    inside = [each.get("resource") for each in _dicts(body.get("entry"))]
    alone = [each.get("resource") for each in _dicts(body.get("parameter"))]
    found = [each for each in _dicts(inside) if each.get("resourceType") == "Bundle"]
    found += [response_bundle(each) for each in _dicts(alone) if each.get("resourceType") in _RESPONSES]
    return [body, *found] if body.get("resourceType") == "Bundle" else found


def claims_named(bundle: Mapping[str, Any]) -> list[str]:
    """Identifiers under which a response Bundle says which Claim it answers, each once."""
    found: dict[str, None] = {}
    for entry in bundle.get("entry") or []:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or resource.get("resourceType") not in {"ClaimResponse", "Claim"}:
            continue
        request = resource.get("request") or {}
        told = [request.get("identifier"), *(resource.get("identifier") or [])]
        for each in told:
            if isinstance(each, dict) and each.get("value"):
                found.setdefault(str(each["value"]))
        reference = str(request.get("reference", "")) if isinstance(request, dict) else ""
        if reference:
            found.setdefault(reference if reference.startswith("urn:") else f"urn:uuid:{reference.rpartition('/')[2]}")
    return list(found)


def _dicts(value: Any) -> list[Resource]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

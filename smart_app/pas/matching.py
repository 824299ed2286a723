"""Which request a payer's answer, notification or inquiry result is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_app.pas.closure import Resource


def bundles_in(body: Any) -> list[Resource]:
    """Every Bundle within a Parameters or a Bundle, at most two levels down."""
    if not isinstance(body, dict):
        return []
    holders = [*(body.get("parameter") or []), *(body.get("entry") or [])]
    inside = [each.get("resource") for each in holders if isinstance(each, dict)]
    found = [each for each in inside if isinstance(each, dict) and each.get("resourceType") == "Bundle"]
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

"""Applies a payer's system actions to the drafts: coverage-information only, and nothing else of the order."""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox_ehr.coverage_words import without_coverage_information
from sandbox_ehr.fhir_json import Resource


class Applied(msgspec.Struct, frozen=True):
    """The drafts afterwards, what was done, and what was refused with the reason."""

    drafts: tuple[Resource, ...]
    done: tuple[str, ...]
    refused: tuple[str, ...]


def apply(drafts: tuple[Resource, ...], body: Any) -> Applied:
    """An action counts if it updates one of the drafts and changes nothing but its coverage-information."""
    actions = body.get("systemActions") if isinstance(body, dict) else None
    held = {(draft["resourceType"], draft["id"]): draft for draft in drafts}
    done, refused = [], []
    for action in actions if isinstance(actions, list) else []:
        plain = action if isinstance(action, dict) else {}
        resource: Any = plain.get("resource")
        words = str(plain.get("description", "System action"))
        key = _key(resource)
        if plain.get("type") != "update" or key not in held:
            refused.append(f"{words}: not an update of an order in this draft")
        elif without_coverage_information(resource) != without_coverage_information(held[key]):
            refused.append(f"{words}: it would change more than coverage information")
        else:
            held[key] = resource
            done.append(words)
    return Applied(tuple(held.values()), tuple(done), tuple(refused))


def _key(resource: Any) -> tuple[str, str]:
    if not isinstance(resource, dict):
        return "", ""
    return str(resource.get("resourceType")), str(resource.get("id"))

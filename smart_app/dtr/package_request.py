"""What ``$questionnaire-package`` is asked with: full resources, never bare references (requirement AP-07)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cds_service.fhir.concepts import word

Resource = dict[str, Any]


def package_request(
    coverage: Mapping[str, Any],
    orders: Iterable[Mapping[str, Any]],
    questionnaires: Iterable[str],
    assertion: str,
    changed_since: str = "",
) -> Resource:
    """Parameters for the operation.

    Args:
        coverage: the one Coverage, as the EHR holds it.
        orders: those that could be read, complete in themselves (``self_contained``).
        questionnaires: canonicals that somebody named; none where the payer is to choose.
        assertion: the payer's id of its earlier answer, "" without one.
        changed_since: on resuming, when the draft was last saved: what has not changed need not come again.

    Raises:
        ValueError: there is neither order nor questionnaire nor assertion (the guide's rule ``dtr-1``).
    """
    parts: list[Resource] = [{"name": "coverage", "resource": dict(coverage)}]
    parts += [{"name": "order", "resource": dict(order)} for order in orders]
    parts += [{"name": "questionnaire", "valueCanonical": canonical} for canonical in questionnaires]
    if assertion:
        parts.append({"name": "context", "valueString": assertion})
    if len(parts) == 1:
        raise ValueError("an order, a questionnaire or a context is needed")
    if changed_since:
        parts.append({"name": "changedsince", "valueDateTime": changed_since})
    return {"resourceType": "Parameters", "parameter": parts}


def self_contained(
    resource: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]], members: Sequence[str]
) -> Resource:
    """The resource with what ``members`` refer to inside it, so that a reader without our EHR understands it.

    ``held``: what could be read, by ``Type/id``. A reference that could not be read stays as it is.
    """
    copy = dict(resource)
    inside = list(copy.get("contained", []))
    for member in members:
        value = copy.get(member)
        copy[member] = (
            [_moved(one, held, inside) for one in value] if isinstance(value, list) else _moved(value, held, inside)
        )
        if copy[member] is None:
            del copy[member]
    if inside:
        copy["contained"] = inside
    return copy


def _moved(reference: Any, held: Mapping[str, Mapping[str, Any]], inside: list[Any]) -> Any:
    found = held.get(word(reference.get("reference"))) if isinstance(reference, Mapping) else None
    if found is None or not word(found.get("id")):
        return reference
    name = f"{word(found.get('resourceType')).lower()}-{found['id']}"
    if all(one.get("id") != name for one in inside if isinstance(one, Mapping)):
        inside.append({**found, "id": name})
    return {**reference, "reference": f"#{name}"}

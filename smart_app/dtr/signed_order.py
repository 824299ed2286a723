"""Which stored order the unsaved draft has become.

A draft lives in the EHR's order page and gets a new id when it is signed. It is known again by what the payer wrote on
it, by its identifier, by the id of the draft where the EHR keeps it, or by drug, route and day. Two that fit equally
well are the person's to choose from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from cds_service.fhir.concepts import codings, dicts, word
from cds_service.fhir.dates import day
from smart_app.dtr.context import from_order

_SIGNED = frozenset({"active", "on-hold", "completed"})


class Draft(msgspec.Struct, frozen=True):
    """What is known of the unsaved order. ``drugs`` and ``routes``: (system, code); empty where nothing is known."""

    names: tuple[str, ...] = ()  # "MedicationRequest/draft-1", or a bare id
    assertion: str = ""
    identifiers: tuple[tuple[str, str], ...] = ()
    drugs: frozenset[tuple[str, str]] = frozenset()
    routes: frozenset[tuple[str, str]] = frozenset()


class Signed(msgspec.Struct, frozen=True):
    """What was found. ``sure``: the one order; else ``choices``, from which a person picks; none: not signed yet."""

    sure: Mapping[str, Any] | None = None
    choices: tuple[Mapping[str, Any], ...] = ()


def find(draft: Draft, stored: Iterable[Mapping[str, Any]], since: date) -> Signed:
    """The signed order among ``stored``.

    Each kind of sign is tried before the next weaker one. By drug and route, or as a mere choice, only orders authored
    on ``since`` or later can be meant: earlier ones were there before anybody wrote the draft.
    """
    signed = [one for one in stored if word(one.get("status")) in _SIGNED]
    fresh = [one for one in signed if _authored_since(one, since)]
    for fits, among in (
        (_same_assertion, signed),
        (_same_identifier, signed),
        (_same_id, signed),
        (_same_drug, fresh),
    ):
        found = [one for one in among if fits(draft, one)]
        if len(found) == 1:
            return Signed(found[0])
        if found:
            return Signed(None, tuple(found))
    return Signed(None, tuple(fresh))


def sketch(order: Mapping[str, Any], medication: Mapping[str, Any] | None) -> Draft:
    """What to remember of an order that could be read, to know it again."""
    told = from_order(order, None)
    return Draft(
        told.orders,
        told.assertion,
        tuple((word(each.get("system")), word(each.get("value"))) for each in dicts(order.get("identifier"))),
        _drugs(order, medication),
        _routes(order),
    )


def _authored_since(order: Mapping[str, Any], since: date) -> bool:
    authored = day(order.get("authoredOn"))
    return authored is None or authored >= since


def _same_assertion(draft: Draft, order: Mapping[str, Any]) -> bool:
    return bool(draft.assertion) and from_order(order, None).assertion == draft.assertion


def _same_identifier(draft: Draft, order: Mapping[str, Any]) -> bool:
    held = {(word(each.get("system")), word(each.get("value"))) for each in dicts(order.get("identifier"))}
    return bool(held & {each for each in draft.identifiers if each[1]})


def _same_id(draft: Draft, order: Mapping[str, Any]) -> bool:
    """The EHR kept the draft's id, as the order's own or as an identifier."""
    ids = {name.rpartition("/")[2] for name in draft.names}
    held = {word(order.get("id")), *(word(each.get("value")) for each in dicts(order.get("identifier")))}
    return bool(ids & (held - {""}))


def _same_drug(draft: Draft, order: Mapping[str, Any]) -> bool:
    drugs, routes = _drugs(order, _contained(order)), _routes(order)
    return bool(draft.drugs & drugs) and bool(draft.routes & routes)


def _drugs(order: Mapping[str, Any], medication: Mapping[str, Any] | None) -> frozenset[tuple[str, str]]:
    concepts: list[Any] = [order.get("medicationCodeableConcept"), order.get("code")]
    if medication is not None:
        concepts.append(medication.get("code"))
        concepts += [each.get("itemCodeableConcept") for each in dicts(medication.get("ingredient"))]
    return _codes(concepts)


def _contained(order: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((one for one in dicts(order.get("contained")) if one.get("resourceType") == "Medication"), None)


def _routes(order: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return _codes([each.get("route") for each in dicts(order.get("dosageInstruction"))])


def _codes(concepts: Sequence[Any]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (word(coding.get("system")), word(coding.get("code")))
        for concept in concepts
        for coding in codings(concept)
        if word(coding.get("code"))
    )

"""What may help to answer: candidates to pick from, and resources to look at (SD-11)."""

from __future__ import annotations

import msgspec

from smart_app.sdc.context import Context, Resource
from smart_app.sdc.evaluation import look
from smart_app.sdc.evidence import notes
from smart_app.sdc.fhirpath_terms import bare
from smart_app.sdc.filling import Filling, Note, UnknownKey
from smart_app.sdc.offers import listed
from smart_app.sdc.shapes import Form, Option


class Support(msgspec.Struct, frozen=True):
    """Resources behind one ``contextExpression``. ``wanted`` are queries that the EHR has not been asked yet."""

    label: str
    notes: tuple[Note, ...]
    resources: tuple[Resource, ...]
    wanted: tuple[str, ...] = ()


def candidates(form: Form, filling: Filling, context: Context, key: str) -> tuple[Option, ...]:
    """Suggested answers of the item at ``key``. Raises UnknownKey."""
    at = look(form, filling, context)
    place = at.places.get(key)
    if place is None:
        raise UnknownKey("the form has no item at this place")
    return tuple(one for each in place.item.sources.candidates for one in listed(at, place, each))


def supporting(form: Form, filling: Filling, context: Context, key: str) -> tuple[Support, ...]:
    """What to look at beside the item at ``key``, behind a button. Raises UnknownKey."""
    at = look(form, filling, context)
    place = at.places.get(key)
    if place is None:
        raise UnknownKey("the form has no item at this place")
    found = []
    for expression in place.item.sources.contexts:
        before = set(at.wanted)
        nodes = at.unbundled(at.nodes(expression, key) or [])
        resources = tuple(data for node in nodes if isinstance(data := bare(node), dict) and "resourceType" in data)
        wanted = tuple(query for query in at.wanted if query not in before)
        found.append(Support(expression.label, notes(resources), resources, wanted))
    return tuple(found)

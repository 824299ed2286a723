"""What order-sign saw in the chart of the orders that are now asked for.

A request shows what its sender put into it. Where the same chart contradicted an answer at signing, leaving that part
of the chart out must not make the contradiction go away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from cds_service.domain.documentation import PREFIX, DocumentationContext, decode_context
from cds_service.domain.record import Answer
from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.coverage_information import URL
from cds_service.fhir.pas.request import PasRequest
from cds_service.use_cases.documented import patient_digest

Remembering = Callable[[str], bytes | None]  # the document kept under an id


def contexts_of(request: PasRequest, remembered: Remembering, key: bytes) -> tuple[DocumentationContext, ...]:
    """The contexts of the assertions that stand on the orders of a request; those about another patient are none."""
    patient = patient_digest(key, request.patient_id)
    found = []
    for ident in _assertions(order for _, order in request.orders):
        document = remembered(PREFIX + ident)
        if document is None:
            continue
        try:
            context = decode_context(document)
        except msgspec.MsgspecError:
            continue
        if context.patient == patient:
            found.append(context)
    return tuple(found)


def chart_agrees(contexts: Sequence[DocumentationContext], answers: Iterable[Answer]) -> bool:
    """Whether no counting answer says what the chart of order-sign spoke against."""
    against = {
        (fact, value)
        for context in contexts
        for order in context.orders
        for fact, known in order.facts.items()
        for value in known.contradicts
    }
    return not any((each.fact, each.value) in against for each in answers if each.counts)


def _assertions(orders: Iterable[dict[str, Any]]) -> list[str]:
    """Assertion ids of the coverage-information on these orders, each once."""
    found: dict[str, None] = {}
    for order in orders:
        for extension in dicts(order.get("extension")):
            if extension.get("url") == URL:
                for part in dicts(extension.get("extension")):
                    ident = word(part.get("valueString")) if part.get("url") == "coverage-assertion-id" else ""
                    if 0 < len(ident) <= 64 and ident.isprintable():
                        found.setdefault(ident)
    return list(found)

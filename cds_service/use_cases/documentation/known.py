"""What is known of an order for which a form is asked: from the order-sign call, from the order alone, or by number.

A context is only ever used for the Coverage and patient that it was made for (PS-07): both are compared by digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import msgspec

from cds_service.cds_hooks.answers import Standing, answer
from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.request import HookRequest
from cds_service.cds_hooks.services import ORDER_SIGN
from cds_service.domain.documentation import PREFIX, DocumentationContext, DocumentedOrder, decode_context
from cds_service.domain.order import Order, OrderKind
from cds_service.errors import CoverageNotUsable, MalformedRequest, PatientMismatch, UnknownContext
from cds_service.fhir.chart import Read
from cds_service.fhir.concepts import dicts, word
from cds_service.fhir.coverage import CoverageChoice
from cds_service.fhir.coverage_information import RESOURCE_TYPES
from cds_service.ports import Authorization
from cds_service.use_cases.decide import Judged, Reading, Rules, judge, read
from cds_service.use_cases.documented import asked_for, documented, member_digest, patient_digest

Resource = dict[str, Any]

_PLACEHOLDER = "one"  # id of a patient whose own is not told


class Memory(Protocol):
    """The part of the store that remembers (``ports.Store``)."""

    def determination(self, ident: str) -> bytes | None:
        """The document under an id."""
        ...

    def authorizations(self, member_id: str) -> Sequence[Authorization]:
        """What is on file of one member."""
        ...


class Insured(msgspec.Struct, frozen=True):
    """The Coverage of a call. ``patient`` is the beneficiary's id, "" where none is told; ``server`` its FHIR base."""

    resource: Resource
    patient: str
    member: str
    server: str = ""


class FromOrder(msgspec.Struct, frozen=True):
    """One order that was sent in full, as it reads."""

    resource: Resource
    source: str
    order: Order


def read_context(memory: Memory, ident: str) -> DocumentationContext:
    """The context of an assertion id; raises UnknownContext."""
    document = memory.determination(PREFIX + ident) if len(ident) <= 64 and ident.isprintable() else None
    if document is None:
        raise UnknownContext("this context is not known here", expression="Parameters.parameter.where(name='context')")
    return decode_context(document)


def insured(coverages: Sequence[Resource]) -> tuple[Insured, ...]:
    """The Coverages of a call; all of one patient. Raises MalformedRequest or PatientMismatch."""
    where = "Parameters.parameter.where(name='coverage').resource.beneficiary"
    found = []
    for resource in coverages:
        beneficiary = resource.get("beneficiary")
        if type(beneficiary) is not dict:
            raise MalformedRequest("a Coverage needs its beneficiary", expression=where)
        server = word(beneficiary.get("reference")).rpartition("/Patient/")[0]
        found.append(Insured(resource, reference_id(beneficiary, "Patient"), _member(resource), server))
    if len({each.patient for each in found} - {""}) > 1:
        raise PatientMismatch("the Coverages are of several patients", expression=where)
    return tuple(found)


def reference_id(reference: Any, kind: str) -> str:
    """The id that a reference names, whatever stands before it; "" for none of that type."""
    text = word(reference.get("reference")) if type(reference) is dict else ""
    parts = text.partition("/_history/")[0].split("/")
    return parts[-1] if len(parts) > 1 and parts[-2] == kind else ""


def _member(resource: Resource) -> str:
    for identifier in dicts(resource.get("identifier")):
        kinds = [word(coding.get("code")) for coding in dicts((identifier.get("type") or {}).get("coding"))]
        if "MB" in kinds and word(identifier.get("value")):
            return word(identifier.get("value"))
    return word(resource.get("subscriberId"))


def check_belongs(context: DocumentationContext, coverages: Sequence[Insured], key: bytes) -> None:
    """Refuse a context of somebody else's (PS-07); raises PatientMismatch or CoverageNotUsable."""
    where = "Parameters.parameter.where(name='coverage')"
    for each in coverages:
        if each.patient and patient_digest(key, each.patient) != context.patient:
            raise PatientMismatch("this context was made for another patient", expression=where)
        if each.member and context.member and member_digest(key, each.member) != context.member:
            raise CoverageNotUsable("this context was made for another Coverage", expression=where)


def same_order(known: DocumentedOrder, order: Order) -> bool:
    """Whether this is the order that was judged: status, notes, dates and amounts may have changed, not the drug."""
    if known.order.kind is not order.kind:
        return False
    if order.kind is OrderKind.DRUG:
        routes = {known.order.route, order.route} - {None}
        return _drugs(known.order) == _drugs(order) and len(routes) <= 1
    return bool(set(known.order.codes) & set(order.codes))


def _drugs(order: Order) -> frozenset[str]:
    if order.solution is None:
        return frozenset(code.code for code in order.codes)
    return frozenset(part.name or part.rxcui or part.text for part in order.solution.parts if part.active)


class Sent(msgspec.Struct, frozen=True):
    """What a call sent beside a context: its orders, behind the patient gate, and its Coverages."""

    rules: Rules
    request: HookRequest
    reading: Reading
    orders: tuple[FromOrder, ...]

    def judge_alone(
        self, memory: Memory, sources: Sequence[str], as_of: date
    ) -> Mapping[str, tuple[DocumentedOrder | None, str]]:
        """Orders held against the guidelines without a chart: what a form starts from, or why there is none."""
        if not sources:
            return {}
        reading = self.reading
        members = sorted({choice.member_id for choice in reading.choices.values()} - {""})
        judged = judge(self.rules, reading, as_of, [one for each in members for one in memory.authorizations(each)])
        return {source: _form_of(judged.get(source), reading.choices.get(source)) for source in sources}

    def whose(self, as_of: date) -> str:
        """Whose the Coverages are, as ``CoverageChoice.state``, whatever the orders say."""
        probe: Resource = {"resourceType": "ServiceRequest", "id": "probe"}
        asked = msgspec.structs.replace(self.request, drafts=(Draft(probe, b"", "", "ServiceRequest/probe"),))
        reading = read(self.rules, asked, _NOTHING_READ, as_of, wanted=_WANTED)
        return next((choice.state for choice in reading.choices.values()), "none")


def read_sent(
    rules: Rules,
    coverages: Sequence[Insured],
    orders: Sequence[Resource],
    referenced: Sequence[Resource],
    as_of: date,
) -> Sent:
    """Read the orders of the types that are judged; raises PatientMismatch where one is not the beneficiary's."""
    ours = [each for each in orders if each["resourceType"] in RESOURCE_TYPES]
    request = HookRequest(
        service=ORDER_SIGN,
        hook_instance="",
        patient_id=next((each.patient for each in coverages if each.patient), _PLACEHOLDER),
        user_id=None,
        encounter_id=None,
        drafts=tuple(Draft(each, b"", "", source_of(each, number)) for number, each in enumerate(ours)),
        fhir_server=next((each.server for each in coverages if each.server.startswith("http")), None),
        prefetch={"coverage": _bundle([*(each.resource for each in coverages), *referenced])},
    )
    reading = read(rules, request, _NOTHING_READ, as_of, wanted=_WANTED)
    held = tuple(
        FromOrder(draft.resource, draft.source, reading.orders[draft.source])
        for draft in request.drafts
        if draft.source in reading.orders
    )
    return Sent(rules, request, reading, held)


def _form_of(judged: Judged | None, choice: CoverageChoice | None) -> tuple[DocumentedOrder | None, str]:
    """What is known of an order for which a form is asked, or None; and why none is."""
    if judged is None or choice is None:
        return None, _NOTHING_SPOKEN
    said = answer(Standing(judged.rules.answers, judged.determination, choice, judged.on_file), "2.2")
    asked = asked_for(said)
    if asked:
        return documented(judged, asked), ""
    if said.answer is None:
        return None, _NOTHING_SPOKEN
    if said.answer.satisfied_pa_id:
        return None, "No form is needed for this order: it is authorized already."
    reasons = [each.text for each in said.answer.reasons]
    return None, f"No form is needed for this order: {reasons[0]}" if reasons else "No form is needed for this order."


def source_of(resource: Mapping[str, Any], number: int) -> str:
    """``Type/id`` of an order, or its place among those that were sent."""
    return f"{resource['resourceType']}/{resource.get('id') or f'#{number}'}"


_NOTHING_READ: Mapping[str, Read] = {}
_WANTED = {"coverage": "Coverage"}
_NOTHING_SPOKEN = "No guideline of this payer speaks of this order: nothing is to be documented."


def _bundle(resources: Sequence[Resource]) -> Resource:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": each} for each in resources]}

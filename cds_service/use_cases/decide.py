"""From one hook request to its determinations: pure, and the same for the hook and for the command line.

``read`` files what was sent and fetched, ``judge`` holds every draft order against the guideline. Between the two a
caller that has a store looks up the authorizations on file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from cds_service.cds_hooks.answer_values import AnswerRules
from cds_service.cds_hooks.card_texts import CardTexts, card_texts
from cds_service.cds_hooks.discovery import discovery
from cds_service.cds_hooks.prefetch import WANTED, by_own_key, templates
from cds_service.cds_hooks.request import HookRequest, parse_request
from cds_service.cds_hooks.services import ORDER_SIGN
from cds_service.domain.authorization import NOTHING_ON_FILE, Authorization, OnFile, look_up
from cds_service.domain.determination import Determination, OrderDetermination, Program
from cds_service.domain.dosing import assess, routes_alongside
from cds_service.domain.order import Order
from cds_service.domain.payer import Payer
from cds_service.domain.record import Availability, Record
from cds_service.domain.vocabulary import Vocabulary
from cds_service.fhir.chart import Chart, Read, build_chart
from cds_service.fhir.coverage import CoverageChoice, KnownPayer, choose, know, read_coverages
from cds_service.fhir.orders import is_order, may_cumulate, read_order
from cds_service.fhir.record import read_record
from cds_service.policy.case import Case
from cds_service.policy.document import document
from cds_service.policy.evaluate import examine
from cds_service.policy.model import Guideline
from cds_service.policy.scope import with_confirmed_route
from cds_service.policy.versions import by_guideline, deciding
from cds_service.policy.view import View

LOINC = "http://loinc.org"
_encode = msgspec.json.Encoder().encode


class GuidelineRules(msgspec.Struct, frozen=True):
    """One guideline with what answers and cards need of it, prepared at load."""

    guideline: Guideline
    answers: AnswerRules
    texts: CardTexts


class Rules(msgspec.Struct, frozen=True):
    """Everything that depends on configuration alone, made once per process."""

    guidelines: tuple[GuidelineRules, ...]  # all versions of all guidelines
    versions: tuple[tuple[Guideline, ...], ...]  # the same by guideline, oldest first
    vocabulary: Vocabulary
    payer: Payer
    known_payer: KnownPayer
    published: Mapping[str, str]  # prefetch templates by key
    discovery: bytes
    digest: str


class Addresses(msgspec.Struct, frozen=True):
    """Where things are found from outside."""

    public_url: str = "http://127.0.0.1:8000"
    canonical_base: str = "https://cds.example.org/fhir"
    smart_app_url: str | None = None


def prepare(
    guidelines: Sequence[Guideline], vocabulary: Vocabulary, payer: Payer, digest: str, addresses: Addresses
) -> Rules:
    """Rules out of a loaded configuration."""
    # LOINC names observations: every LOINC code that the tables hold is one that a guideline reads.
    observed = {code for held in vocabulary.value_sets.values() for code in held.codes if code.system == LOINC}
    return Rules(
        guidelines=tuple(_prepared(guideline, payer, addresses) for guideline in guidelines),
        versions=by_guideline(guidelines),
        vocabulary=vocabulary,
        payer=payer,
        known_payer=know(payer),
        published=templates(observed),
        discovery=discovery(observed),
        digest=digest,
    )


def _prepared(guideline: Guideline, payer: Payer, addresses: Addresses) -> GuidelineRules:
    policy_url = payer.policy_link or f"{addresses.public_url}/policies/{guideline.id}"
    return GuidelineRules(
        guideline,
        AnswerRules(payer, guideline.id, f"{guideline.canonical}|{guideline.version}"),
        card_texts(
            guideline,
            payer,
            policy_url=policy_url,
            smart_app_url=addresses.smart_app_url,
            canonical_base=addresses.canonical_base,
        ),
    )


def in_force(rules: Rules, day: date) -> tuple[GuidelineRules, ...]:
    """The version of each guideline that decides on that day."""
    if len(rules.guidelines) == len(rules.versions):
        return rules.guidelines
    chosen = [deciding(versions, day) for versions in rules.versions]
    return tuple(next(each for each in rules.guidelines if each.guideline is guideline) for guideline in chosen)


class Reading(msgspec.Struct, frozen=True):
    """What one call holds. ``orders`` and ``choices`` are keyed by the draft's "Type/id", in bundle order.

    An order that does not say whose it is has no choice: it is not answered from this patient's chart (reliability 69).
    """

    chart: Chart
    orders: Mapping[str, Order]
    running: tuple[Order, ...]  # the chart's own orders that may cumulate with a draft
    choices: Mapping[str, CoverageChoice]
    failed: frozenset[str]  # resource types whose read failed


class Judged(msgspec.Struct, frozen=True):
    """One draft order with the guideline that speaks of it and what is on file for it."""

    rules: GuidelineRules
    determination: OrderDetermination
    on_file: OnFile
    view: View  # of which further facts may be asked


def read(
    rules: Rules,
    request: HookRequest,
    fetched: Mapping[str, Read],
    as_of: date,
    *,
    aliases: Mapping[str, str] | None = None,
    wanted: Mapping[str, str] = WANTED,
) -> Reading:
    """File everything of one call behind the patient gate.

    ``wanted`` names the resource type of every key of ``fetched``. Raises PatientMismatch.
    """
    chart = build_chart(
        patient_id=request.patient_id,
        fhir_server=request.fhir_server,
        drafts=[(draft.resource, draft.full_url) for draft in request.drafts],
        prefetch=by_own_key(request, aliases or {}),
        fetched=fetched,
        wanted=wanted,
    )
    return file_orders(rules, chart, [(draft.source, draft.resource) for draft in request.drafts], as_of)


def file_orders(rules: Rules, chart: Chart, requested: Sequence[tuple[str, dict[str, Any]]], as_of: date) -> Reading:
    """What a chart holds for the orders that are asked about: drafts of a hook, or signed ones of a request (PAS).

    ``requested`` are the chart's drafts, in their order, each with its "Type/id".
    """
    vocabulary, host = rules.vocabulary, chart.host
    coverages = read_coverages(chart, rules.known_payer, as_of)
    orders = {
        name: read_order(resource, chart.resolve, vocabulary, draft=True, source=name, host=host)
        for name, resource in requested
        if is_order(resource)
    }
    unbound = {name for (name, _), held in zip(requested, chart.drafts, strict=True) if not held.bound}
    routes = routes_alongside(orders.values())
    return Reading(
        chart=chart,
        orders=orders,
        running=tuple(
            read_order(stored, chart.resolve, vocabulary, draft=False, source=_name(stored), host=host)
            for stored in chart.of("MedicationRequest")
            if may_cumulate(stored, vocabulary, routes)
        ),
        choices={
            name: choose(chart, coverages, resource)
            for name, resource in requested
            if name in orders and name not in unbound
        },
        failed=frozenset(kind for kind, seen in chart.availability.items() if seen is Availability.NOT_READABLE),
    )


def _name(resource: Mapping[str, Any]) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}"


def judge(
    rules: Rules, reading: Reading, as_of: date, authorizations: Sequence[Authorization] = ()
) -> Mapping[str, Judged]:
    """Hold every draft order against the guideline that speaks of it; the first one where several or none do.

    Of each guideline the version in force on ``as_of`` decides.
    """
    guidelines = in_force(rules, as_of)
    known: dict[str, tuple[Record, Mapping[str, Order]]] = {}
    judged = {}
    for source, alone in reading.orders.items():
        found: Judged | None = None
        for each in guidelines:
            guideline = each.guideline
            if guideline.canonical not in known:
                known[guideline.canonical] = _known(rules, guideline, reading, as_of)
            record, orders = known[guideline.canonical]
            order = orders.get(source)
            if order is None:
                tried = _judge_unbound(rules, each, alone, as_of)
            else:
                companions = tuple(other for other in orders.values() if other is not order) if len(orders) > 1 else ()
                tried = _judge_one(rules, each, reading, order, companions, record, as_of, authorizations)
            if found is None or rank(tried) < rank(found):
                found = tried
            if tried.determination.in_scope is True:
                break
        if found is not None:
            judged[source] = found
    return judged


def _known(rules: Rules, guideline: Guideline, reading: Reading, as_of: date) -> tuple[Record, Mapping[str, Order]]:
    """The record with the answers to one guideline's form, and the drafts by the routes that these confirm."""
    record = read_record(
        reading.chart, questionnaire=guideline.canonical, signature_required=rules.payer.electronic_signature
    )
    return record, {
        source: with_confirmed_route(guideline, rules.vocabulary, order, record, as_of)
        for source, order in reading.orders.items()
        if source in reading.choices
    }


def rank(judged: Judged) -> int:
    """Orders in scope first, then those of which it cannot be told."""
    return {True: 0, None: 1, False: 2}[judged.determination.in_scope]


def _judge_one(
    rules: Rules,
    each: GuidelineRules,
    reading: Reading,
    order: Order,
    companions: tuple[Order, ...],
    record: Record,
    as_of: date,
    authorizations: Sequence[Authorization],
) -> Judged:
    choice = reading.choices[order.source]
    dose = assess(order, companions + reading.running, each.guideline.dose_table)
    theirs = [held for held in authorizations if held.member_id == choice.member_id] if authorizations else ()
    notice = rules.payer.renewal_notice_days
    on_file = look_up(theirs, order, dose.results, as_of, notice_days=notice) if theirs else NOTHING_ON_FILE
    case = Case(
        order=order,
        program=Program.OTHER_PAYER if choice.state == "foreign" else choice.program,
        dose=dose,
        record=record,
        companions=companions,
        authorization_in_force=on_file.granted is not None,
    )
    found, view = examine(each.guideline, rules.vocabulary, rules.payer, case, as_of)
    return Judged(each, found, on_file, view)


def _judge_unbound(rules: Rules, each: GuidelineRules, order: Order, as_of: date) -> Judged:
    """An order by itself: no chart, no other order and no Coverage is known to belong to it."""
    dose = assess(order, (), each.guideline.dose_table)
    case = Case(order, Program.UNKNOWN, dose, Record(""), patient_known=False)
    found, view = examine(each.guideline, rules.vocabulary, rules.payer, case, as_of)
    return Judged(each, found, NOTHING_ON_FILE, view)


def determination_of(judged: Iterable[Judged], as_of: date) -> Determination | None:
    """All orders in one determination, under the guideline of the first order in scope; None without orders."""
    all_judged = tuple(judged)
    if not all_judged:
        return None
    guideline = min(all_judged, key=rank).rules.guideline
    return Determination(
        as_of=as_of.isoformat(),
        policy_id=guideline.id,
        policy_version=guideline.version,
        policy_digest=guideline.digest,
        orders=tuple(each.determination for each in all_judged),
    )


def evaluate_document(
    body: bytes, rules: Rules, as_of: date, fetched: Mapping[str, Read] | None = None, max_bytes: int = 5_000_000
) -> bytes:
    """The determination document of one order-sign body, as JSON (contract: determination).

    Raises MalformedRequest, RuleBroken, TooLarge or PatientMismatch for a body that cannot be read.
    """
    del max_bytes
    request = parse_request(body, service=ORDER_SIGN)
    reading = read(rules, request, fetched or {}, as_of)
    return encode_determination(rules, judge(rules, reading, as_of).values(), as_of)


def encode_determination(rules: Rules, judged: Iterable[Judged], as_of: date) -> bytes:
    """The document's bytes; a call without orders gives a document without orders."""
    found = determination_of(judged, as_of)
    if found is None:
        first = in_force(rules, as_of)[0].guideline
        found = Determination(as_of.isoformat(), first.id, first.version, first.digest, ())
    return _encode(document(found))

"""What is said of a judged call: one action per order, at most two cards, one assertion per Coverage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from cds_service.cds_hooks.answers import OrderAnswer, Standing, answer
from cds_service.cds_hooks.cards import quiet_keys, shown_cards
from cds_service.cds_hooks.coverage_card import coverage_card, opens_app
from cds_service.cds_hooks.dose_card import Acknowledger, dose_card
from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.renewals import said_once
from cds_service.cds_hooks.request import HookRequest
from cds_service.cds_hooks.response import NOTHING, Assertion, HookResponse, actions, assertion_id, compose
from cds_service.clients import ClientProfile
from cds_service.domain.authorization import NOTHING_ON_FILE
from cds_service.domain.order import Order, OrderKind
from cds_service.domain.vocabulary import RouteGroup
from cds_service.use_cases.decide import Judged, Reading, Rules, rank
from cds_service.use_cases.documented import asked_for, contexts


class Call(msgspec.Struct, frozen=True):
    """One call that was read and judged; ``judged`` is empty where that failed."""

    request: HookRequest
    profile: ClientProfile
    reading: Reading
    judged: Mapping[str, Judged]
    version: str
    as_of: date


def respond(
    call: Call,
    usable: Sequence[str],
    document: bytes,
    key: bytes,
    acknowledged: Callable[[Sequence[str], Sequence[str]], frozenset[str]],
) -> tuple[HookResponse, list[tuple[str, bytes]]]:
    """Actions and cards for the orders ``usable`` (a Coverage of ours answers for them), and what is kept with them.

    Kept are the determination under each assertion id, and the documentation context of those that ask for a form.

    ``key`` is the secret of acknowledgement keys; ``acknowledged`` looks them up and leaves out what was said to the
    cards named second: a repeat of the same draft has the same card, and is never silenced.
    """
    if not usable:
        return HookResponse(NOTHING), []
    request = call.request
    answers = {source: _answer(call, source) for source in usable}
    drafts = {draft.source: draft for draft in request.drafts}
    made, assertions = assert_coverage(call, answers, drafts, document)
    rules = min((call.judged[source] for source in usable), key=rank).rules
    said = [each for source, each in answers.items() if call.judged[source].rules is rules]
    who = Acknowledger(key, call.profile.id, request.patient_id, request.user_id or "")
    orders = call.reading.orders
    fallback = _not_taken(call, drafts)
    coverage = coverage_card(rules.texts, said, orders, drafts, fallback)
    if coverage is not None:
        coverage = said_once(coverage, said, key, call.profile.id)
    cards = [card for card in (dose_card(rules.texts, said, orders, drafts, who), coverage) if card is not None]
    keys, uuids = quiet_keys(cards), [card.uuid for card in cards]
    shown = shown_cards(cards, request.options, acknowledged(keys, uuids) if keys else frozenset())
    kept = [(ident, document) for ident in assertions.values()]
    kept += contexts(call.reading, call.judged, answers, assertions, client=call.profile.id, key=key, as_of=call.as_of)
    return compose(shown, made, rules.texts, call.version, _app_context(call, said, assertions)), kept


def _app_context(call: Call, said: Sequence[OrderAnswer], assertions: Mapping[str, str]) -> str | None:
    """Where the SMART app begins (AP-03): form, order, Coverage and assertion; nothing that says who the patient is.

    With several orders the first that asks for a form leads; the others are named after it. Where nothing is asked and
    the request can be sent or looked at, ``action`` says so. None where the client wants no SMART link.
    """
    asking = [each for each in said if asked_for(each)]
    open_ones = asking or [each for each in said if opens_app(each)]
    if not open_ones or not call.profile.smart_link:
        return None
    coverage = call.reading.choices[open_ones[0].order].reference
    context: dict[str, object] = {
        "questionnaire": list(dict.fromkeys(asked_for(each) for each in asking)),
        "context": assertions[coverage],
        "order": open_ones[0].order,
        "coverage": coverage,
    }
    if not asking:
        del context["questionnaire"]
        context["action"] = "prior-authorization"
    if len(open_ones) > 1:
        context["orders"] = [each.order for each in open_ones]
    return msgspec.json.encode(context).decode()


def _not_taken(call: Call, drafts: Mapping[str, Draft]) -> frozenset[str]:
    """Orders on which this EHR takes no system action, where the site wants a card instead."""
    if not call.profile.fallback_card:
        return frozenset()
    taken = call.profile.system_actions
    return frozenset(source for source, draft in drafts.items() if draft.resource["resourceType"] not in taken)


def _answer(call: Call, source: str) -> OrderAnswer:
    judged = call.judged[source]
    on_file = judged.on_file if call.request.options.unsolicited_determ else NOTHING_ON_FILE
    standing = Standing(
        rules=judged.rules.answers,
        determination=judged.determination,
        coverage=call.reading.choices[source],
        on_file=on_file,
        failed=call.reading.failed,
    )
    return answer(standing, call.version)


def assert_coverage(
    call: Call, answers: Mapping[str, OrderAnswer], drafts: Mapping[str, Draft], content: bytes
) -> tuple[list[tuple[OrderAnswer, dict[str, Any]]], dict[str, str]]:
    """System actions by Coverage: one assertion id for all orders of one Coverage (cds-hooks-crd 143, 144).

    Also gives the assertion id by Coverage.
    """
    by_coverage: dict[str, list[OrderAnswer]] = {}
    for source, each in answers.items():
        if each.answer is not None:
            by_coverage.setdefault(call.reading.choices[source].reference, []).append(each)
    made: list[tuple[OrderAnswer, dict[str, Any]]] = []
    idents: dict[str, str] = {}
    for coverage, group in by_coverage.items():
        digest = next((call.judged[each.order].rules.guideline.digest for each in group if call.judged), "")
        ident = assertion_id(digest, call.as_of, coverage, content)
        idents[coverage] = ident
        if call.request.options.coverage_info:
            made += actions(
                group,
                drafts,
                Assertion(coverage, ident, call.as_of, call.version),
                accepted=call.profile.system_actions,
                fhir_server=call.request.fhir_server,
            )
    return made, idents


def may_concern(rules: Rules, orders: Mapping[str, Order]) -> list[str]:
    """Orders ("Type/id") that could not be judged and may be subjects of a guideline of ours."""
    scopes = [each.guideline.scope for each in rules.guidelines]
    drugs = frozenset().union(*(scope.drugs for scope in scopes))
    routes = frozenset().union(*(scope.routes for scope in scopes))
    sets = {name for scope in scopes for name in (*scope.specific_codes, *scope.generic_codes)}
    beside = {name for scope in scopes for name in scope.beside_codes}
    held = {source: _value_sets(rules, order) for source, order in orders.items()}
    found = {source for source, order in orders.items() if _may_be_drug(order, drugs, routes) or held[source] & sets}
    return [source for source in orders if source in found or (found and held[source] & beside)]


def _may_be_drug(order: Order, drugs: frozenset[str], routes: frozenset[RouteGroup]) -> bool:
    if order.kind is not OrderKind.DRUG or (order.route is not None and order.route not in routes):
        return False
    solution = order.solution
    return solution is None or not solution.identified or any(part.name in drugs for part in solution.drugs())


def _value_sets(rules: Rules, order: Order) -> frozenset[str]:
    if order.kind in {OrderKind.DRUG, OrderKind.OTHER}:
        return frozenset()
    return frozenset().union(*(each.guideline.plan.codes.sets_of(order.codes) for each in rules.guidelines))

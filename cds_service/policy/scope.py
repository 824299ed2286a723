"""Is the order a subject of the guideline at all? True, False, or None where that cannot be told (analysis 1.1)."""

from __future__ import annotations

from datetime import date

import msgspec

from cds_service.domain.determination import DoseAssessment, Program
from cds_service.domain.order import Order, OrderKind
from cds_service.domain.payer import Payer
from cds_service.domain.record import Record
from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.policy.case import Case
from cds_service.policy.model import Guideline
from cds_service.policy.plan import Plan
from cds_service.policy.therapy import is_running
from cds_service.policy.view import View


class ScopeResult(msgspec.Struct, frozen=True):
    """``route_missing``: the route is what is unknown. ``acute_care``: in scope but for its setting."""

    in_scope: bool | None
    route_missing: bool = False
    acute_care: bool = False


_IN = ScopeResult(in_scope=True)
_OUT = ScopeResult(in_scope=False)
_UNKNOWN = ScopeResult(in_scope=None)
_ROUTE_MISSING = ScopeResult(in_scope=None, route_missing=True)
_ACUTE_CARE = ScopeResult(in_scope=False, acute_care=True)
_UNSAID = frozenset({None, RouteGroup.INTRASPINAL})  # an order that does not say by which route, or not exactly


def scope_of(guideline: Guideline, payer: Payer, view: View) -> ScopeResult:
    """Whether the order under test is in scope."""
    order = view.case.order
    plan: Plan = guideline.plan
    if order.prohibited:
        return _OUT
    if order.kind is OrderKind.DRUG:
        result = _drug_scope(guideline, order, _confirmed_route(guideline, view))
        if result.in_scope is False:
            return result
    elif order.kind is OrderKind.OTHER:
        return _OUT
    else:
        result = _companion_scope(guideline, plan, view)
        if result.in_scope is not True:
            return result
    return _ACUTE_CARE if _is_acute_care(plan, payer, view) else result


def _drug_scope(guideline: Guideline, order: Order, confirmed: str | None = None) -> ScopeResult:
    """By drug and route of the order itself. ``confirmed`` is an answer where the order does not say the route."""
    scope = guideline.scope
    named = order.solution is not None and any(part.name in scope.drugs for part in order.solution.drugs())
    identified = order.solution is not None and order.solution.identified
    if order.route is None:
        if not named or not _could_be_neuraxial(guideline, order):
            return _OUT
        return _by_answer(guideline, confirmed)
    if order.route not in scope.routes:
        return _OUT
    if named:
        return _IN
    return _OUT if identified else _UNKNOWN


def _by_answer(guideline: Guideline, confirmed: str | None) -> ScopeResult:
    """What could go by several routes, by the one that was confirmed; asked for while none was."""
    if confirmed is None:
        return _ROUTE_MISSING
    return _IN if confirmed in {route.value for route in guideline.scope.routes} else _OUT


def _could_be_neuraxial(guideline: Guideline, order: Order) -> bool:
    """A neuraxial product, an injection, a compounded solution, or a bare ingredient at a pump-like rate."""
    solution = order.solution
    if solution is None:
        return False
    if solution.product is not None:
        return solution.product_neuraxial
    if order.dose_form:
        forms = guideline.plan.codes.sets_of(order.dose_form)
        return not guideline.plan.injectable.isdisjoint(forms)
    return order.pump_like or any(part.concentration is not None for part in solution.drugs())


def with_confirmed_route(
    guideline: Guideline, vocabulary: Vocabulary, order: Order, record: Record, as_of: date
) -> Order:
    """``order`` by the route that was confirmed, where itself it does not say which (analysis trap 7).

    An answer never makes a tablet neuraxial, and never overrules a route that the order states.
    """
    if order.kind is not OrderKind.DRUG or order.route not in _UNSAID:
        return order
    plan: Plan = guideline.plan
    case = Case(order, Program.UNKNOWN, DoseAssessment(()), record)
    confirmed = _confirmed_route(guideline, View(case, as_of, vocabulary, plan.codes, plan.facts))
    routes = {route.value: route for route in guideline.scope.routes}
    if confirmed not in routes or _drug_scope(guideline, order, confirmed).in_scope is not True:
        return order
    return msgspec.structs.replace(order, route=routes[confirmed], route_unclear=False)


def _confirmed_route(guideline: Guideline, view: View) -> str | None:
    """The counting answer to the question for the route, where the order leaves it open."""
    if not guideline.route_fact or view.case.order.route not in _UNSAID:
        return None
    value = view.state(guideline.route_fact).value
    return value if isinstance(value, str) else None


def _companion_scope(guideline: Guideline, plan: Plan, view: View) -> ScopeResult:
    """A service or device order: by its codes, and by what stands beside it."""
    sets = plan.codes.sets_of(view.case.order.codes)
    if not plan.specific.isdisjoint(sets):
        return _IN
    generic = not plan.generic.isdisjoint(sets)
    if not generic and plan.beside.isdisjoint(sets):
        return _OUT
    if _drug_beside(guideline, view.case.companions) or (generic and _therapy_runs(guideline, view)):
        return _IN
    return _by_answer(guideline, _confirmed_route(guideline, view)) if generic else _OUT


def _drug_beside(guideline: Guideline, companions: tuple[Order, ...]) -> bool:
    return any(each.kind is OrderKind.DRUG and _drug_scope(guideline, each).in_scope is True for each in companions)


def _therapy_runs(guideline: Guideline, view: View) -> bool:
    """Neuraxial therapy with a drug of the guideline runs in the chart."""
    return bool(running_drugs(guideline.scope.drugs, guideline.scope.routes, view))


def running_drugs(drugs: frozenset[str], routes: frozenset[RouteGroup], view: View) -> list[tuple[str, str]]:
    """(source, drug) of running therapies by these routes."""
    ingredients = view.vocabulary.ingredients
    products = view.vocabulary.products
    found = []
    for medicine in view.medicines():
        therapy = medicine.therapy
        if routes.isdisjoint(medicine.routes) or not is_running(therapy, view.as_of):
            continue
        for code in therapy.codes:
            known = ingredients.get(code)
            product = products.get(code)
            names = (
                (known.name,) if known else tuple(each.ingredient for each in product.ingredients) if product else ()
            )
            found += [(therapy.source, name) for name in names if name in drugs]
    return found


def _is_acute_care(plan: Plan, payer: Payer, view: View) -> bool:
    """An inpatient or emergency setting, and nothing that speaks of long-term therapy (decisions 3)."""
    order = view.case.order
    if not (_acute_encounter(order, payer, view.record) or _acute_category(order, payer)):
        return False
    if view.case.authorization_in_force or _ours(view):
        return False
    if not plan.long_term_reasons.isdisjoint(plan.codes.sets_of(order.reasons)):
        return False
    return not any(
        hit.kind in {"devices", "procedures", "conditions", "service_orders", "orders"}
        for name in plan.long_term
        for hit in view.hits(name)
    )


def _ours(view: View) -> bool:
    """A form of ours was completed for this patient: a request is under way."""
    return any(answer.counts for answer in view.record.answers)


def _acute_encounter(order: Order, payer: Payer, record: Record) -> bool:
    for encounter in record.encounters:
        if order.encounter in {"", encounter.source} and not set(payer.acute_care_classes).isdisjoint(
            encounter.classes
        ):
            return order.encounter != "" or len(record.encounters) == 1
    return False


def _acute_category(order: Order, payer: Payer) -> bool:
    return any(code.code in payer.acute_care_categories for code in order.category)

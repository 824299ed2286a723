"""The dose engine: one order and what runs beside it, held against the guideline's table (guideline analysis 4).

A verdict is always taken from exact values. The table is informational: no verdict here ever changes a criterion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from cds_service.domain.determination import DoseAssessment, DoseResult, Flag, Verdict
from cds_service.domain.dosage import drugs_of
from cds_service.domain.limits import DoseTable, Limit
from cds_service.domain.order import Order, OrderKind
from cds_service.domain.quantity import above, decimal_text
from cds_service.domain.vocabulary import RouteGroup

NOT_RUNNING = frozenset({"on-hold", "stopped", "completed", "cancelled", "entered-in-error"})
NOT_ORDERED = frozenset({"proposal", "plan", "option"})  # intents of a chart entry that nobody has ordered
_UNSAID = frozenset({RouteGroup.INTRATHECAL, RouteGroup.EPIDURAL})  # what "intraspinal" leaves open

_NOTHING = Fraction(0)
_NO_LIMIT = Limit(None, None, None, None, "")


def assess(order: Order, alongside: Sequence[Order], table: DoseTable) -> DoseAssessment:
    """Hold every named active ingredient of the order's own solution against ``table``.

    One result per ingredient: the concentration is that of this order's solution; the daily amount (mg/d) is
    cumulated over all of ``alongside`` that count. Solutions of other orders have results in their own assessment,
    so that each result's concentration belongs to one solution.

    Args:
        order: The order under review.
        alongside: All other draft orders of the request, whatever their route (they say what they replace), and
            the chart's orders that may run beside it. What does not count is left out here.
        table: The guideline's rows and the routes that they are written for.
    """
    if order.solution is None or order.prohibited or order.kind is not OrderKind.DRUG:
        return DoseAssessment(())
    others = _counted(order, alongside) if alongside else ((), ())
    applies = table_applies(order.route, table.routes)
    results = []
    flags = [Flag(code, subject) for code, subject in order.flags]
    for drug in drugs_of(order.solution.parts):
        limit = table.rows.get(drug.name, _NO_LIMIT)
        result = _result(order, drug.name, drug.concentration, limit, applies, others, table)
        results.append(result)
        flags.extend(_flags_of(result, others[0]))
    return DoseAssessment(tuple(results), tuple(dict.fromkeys(flags)))


def table_applies(route: RouteGroup | None, routes: frozenset[RouteGroup]) -> bool | None:
    """Whether a table written for ``routes`` holds for ``route``; None where the route does not tell.

    An intraspinal order may be intrathecal or epidural; an order without route may be anything (analysis trap 7).
    """
    if route in routes:
        return True
    if route is None:
        return None
    if route is RouteGroup.INTRASPINAL:
        if routes >= _UNSAID:
            return True
        return None if _UNSAID & routes else False
    return False


def routes_alongside(orders: Iterable[Order]) -> frozenset[RouteGroup]:
    """Route groups of other orders that may count together with one of ``orders``."""
    found: set[RouteGroup] = set()
    for order in orders:
        if order.kind is not OrderKind.DRUG:
            continue
        if order.route is None or order.route is RouteGroup.INTRASPINAL:
            found |= {RouteGroup.INTRASPINAL, *_UNSAID}  # an answer may tell which of them it is
        else:
            found.add(order.route)
            if order.route in _UNSAID:
                found.add(RouteGroup.INTRASPINAL)
    return frozenset(found)


def _counted(order: Order, alongside: Sequence[Order]) -> tuple[tuple[Order, ...], tuple[Order, ...]]:
    """The other orders that cumulate with ``order``, and those that may do so (intraspinal: it is not said which)."""
    drafts = [order, *(other for other in alongside if other.draft)]
    gone = {prior for draft in drafts for prior in draft.prior} | {draft.source for draft in drafts}
    counted, unclear, seen = [], [], {order.source}
    for other in alongside:
        if other is order or other.source in seen or not _runs(other):
            continue
        if not other.draft and (other.source in gone or other.status == "draft" or other.intent in NOT_ORDERED):
            continue
        if other.route is None or order.route is None:
            continue
        if other.route is order.route:
            counted.append(other)
        elif other.route is RouteGroup.INTRASPINAL and order.route in _UNSAID:
            unclear.append(other)
        else:
            continue
        seen.add(other.source)
    return tuple(counted), tuple(unclear)


def _runs(order: Order) -> bool:
    return order.kind is OrderKind.DRUG and order.status not in NOT_RUNNING and not order.prohibited


def _result(
    order: Order,
    name: str,
    concentration: Fraction | None,
    limit: Limit,
    applies: bool | None,
    others: tuple[tuple[Order, ...], tuple[Order, ...]],
    table: DoseTable,
) -> DoseResult:
    orders, daily, known, steps = _cumulated(order, name, *others)
    daily_verdict = _verdict(daily, known, limit.daily, applies)
    concentration_verdict = _verdict(concentration, _NOTHING, limit.concentration, applies)
    if daily is None and daily_verdict is Verdict.EXCEEDS:
        daily = known
    exchange = table.unit_exchange_factor
    unit_error = (
        daily_verdict is Verdict.EXCEEDS and _looks_mistaken(known, limit.daily, limit.daily_error_factor, exchange)
    ) or (
        concentration_verdict is Verdict.EXCEEDS
        and _looks_mistaken(concentration, limit.concentration, limit.concentration_error_factor, exchange)
    )
    parts = [part for part in order.solution.parts if part.active and part.name == name] if order.solution else []
    return DoseResult(
        name,
        parts[0].rxcui,
        orders,
        daily,
        limit.daily if applies else None,
        daily_verdict,
        concentration,
        limit.concentration if applies else None,
        concentration_verdict,
        tuple(step for part in parts for step in part.steps) + tuple(steps),
        unit_error,
    )


def _cumulated(
    order: Order, name: str, counted: tuple[Order, ...], unclear: tuple[Order, ...]
) -> tuple[tuple[str, ...], Fraction | None, Fraction, list[str]]:
    """Orders that bear on ``name``, their sum if all is known, the known part, and the steps."""
    daily, known, own_steps = _given(order, name)
    orders, steps = [order.source], list(own_steps)
    for other in counted:
        if not _concerns(other, name):
            continue
        value, bound, other_steps = _given(other, name)
        orders.append(other.source)
        steps.extend(f"{other.source}: {step}" for step in other_steps)
        if daily is not None and value is not None:
            steps.append(
                f"{decimal_text(daily)} mg/d + {decimal_text(value)} mg/d = {decimal_text(daily + value)} mg/d"
            )
        daily = None if daily is None or value is None else daily + value
        known += bound
    for other in unclear:
        if _concerns(other, name):
            orders.append(other.source)
            steps.append(f"{other.source}: intraspinal, it is not said whether it adds to this")
            daily = None
    if daily is None and known.numerator > 0 and len(orders) > 1:
        steps.append(f"at least {decimal_text(known)} mg/d")
    return tuple(orders), daily, known, steps


def _concerns(order: Order, name: str) -> bool:
    """Whether the order gives ``name``, or may give it: nothing says what drug it is."""
    if order.solution is None or not order.solution.identified:
        return True
    return any(given.ingredient == name for given in order.contributions)


def _given(order: Order, name: str) -> tuple[Fraction | None, Fraction, tuple[str, ...]]:
    for given in order.contributions:
        if given.ingredient == name:
            return given.mg_per_day, given.lower_bound, given.steps
    return None, _NOTHING, ("nothing says which drug it is",)


def _verdict(value: Fraction | None, known: Fraction, limit: Fraction | None, applies: bool | None) -> Verdict:
    """Limits are inclusive. No limit: ``no_limit_stated`` even when the value is unknown."""
    if limit is None or applies is False:
        return Verdict.NO_LIMIT_STATED
    if applies is None:
        return Verdict.CANNOT_BE_DETERMINED
    if value is not None:
        return Verdict.EXCEEDS if above(value, limit) else Verdict.WITHIN
    return Verdict.EXCEEDS if above(known, limit) else Verdict.CANNOT_BE_DETERMINED


def _looks_mistaken(
    value: Fraction | None, limit: Fraction | None, factor: Fraction | None, exchange: Fraction | None
) -> bool:
    """A value above its limit that is ``factor`` times it or more, or plausible again once mg is read as ug.

    Plausible is from one ``factor``-th of the limit up to the limit: dividing by 1000 brings every small excess
    below the limit, which by itself says nothing about the unit.
    """
    if value is None or limit is None or factor is None:
        return False
    if value >= factor * limit:
        return True
    return exchange is not None and limit <= factor * value / exchange and value / exchange <= limit


def _flags_of(result: DoseResult, counted: Sequence[Order]) -> list[Flag]:
    name = result.ingredient
    found = []
    if result.daily_verdict is Verdict.EXCEEDS:
        found.append(Flag("dose_exceeds", name))
    if result.concentration_verdict is Verdict.EXCEEDS:
        found.append(Flag("concentration_exceeds", name))
    if result.unit_error:
        found.append(Flag("possible_unit_error", name))
    for other in counted:
        found.extend(Flag(code, subject) for code, subject in other.flags if subject == name)
    return found

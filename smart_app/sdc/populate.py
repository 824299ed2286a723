"""Filling in what the chart knows, and working out what follows from answers.

Both are one loop: look at the form, prefill what an expression gives, ask the EHR what came up, and look again until
nothing changes (AP-13, AP-14). A person's answer is never touched. What cannot be worked out is listed and left to
the person (SD-13).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from smart_app.sdc import keys, observation_link
from smart_app.sdc.coercion import Unfit, fragment, plain
from smart_app.sdc.context import Context, Found, Lookup
from smart_app.sdc.evaluation import MAX_ROUNDS, Failure, Look, Nodes, identity, look
from smart_app.sdc.evidence import notes
from smart_app.sdc.expressions import QUERY
from smart_app.sdc.filling import (
    NOTHING,
    Answer,
    AnswerState,
    Filling,
    Origin,
    initial_states,
    mark_overridden,
    prefill,
    same_values,
    to_bytes,
    with_state,
)
from smart_app.sdc.places import Place, places
from smart_app.sdc.shapes import Expression, Form, Fragment, Item, Use
from smart_app.sdc.texts import value_of

MAX_QUERIES = 200
"""Queries for one form; a form that asks more is asking for the whole chart."""

MAX_ROWS = 100
"""Rows that a population context makes; a person may add more."""


class Populated(msgspec.Struct, frozen=True):
    """The filling afterwards, the context with what the EHR answered, and what could not be worked out."""

    filling: Filling
    context: Context
    failures: tuple[Failure, ...] = ()


class Change(msgspec.Struct, frozen=True):
    """What filling in again would change at one key; ``after`` is what the item's state would be (SD-15)."""

    key: str
    text: str
    before: tuple[Fragment, ...]
    after: AnswerState


def start(form: Form) -> Filling:
    """A new filling: the form's own first values and options that are selected to begin with."""
    return Filling(states=initial_states(form.items, ""))


def populate(form: Form, filling: Filling, context: Context, lookup: Lookup) -> Populated:
    """Fill in from the chart: at launch, and again at every re-launch of a draft (AP-17)."""
    again = {
        key: msgspec.structs.replace(state, asked=False) if not state.touched else state
        for key, state in filling.states.items()
    }
    begun = msgspec.structs.replace(filling, states=again)
    settled = _settle(form, begun, context, lookup)
    return msgspec.structs.replace(settled, filling=_overrides(form, settled))


def recalculate(form: Form, filling: Filling, context: Context, lookup: Lookup | None = None) -> Populated:
    """After an answer: what is calculated, and first values of what has just become enabled (AP-20)."""
    return _settle(form, filling, context, lookup)


def preview(form: Form, filling: Filling, context: Context, lookup: Lookup) -> tuple[Change, ...]:
    """What filling in again would change, and nothing else: also where a person has answered (SD-15)."""
    states = dict(filling.states)
    for place in places(form, filling):
        if place.item.is_row_group:
            states[place.key] = AnswerState(asked=True)
        elif _fills(place.item):
            states[place.key] = NOTHING
    settled = _settle(form, msgspec.structs.replace(filling, states=states), context, lookup)
    changes = []
    for place in places(form, filling):
        before, after = filling.state(place.key), settled.filling.state(place.key)
        if _fills(place.item) and after.answers and not same_values(after.values, before.values):
            changes.append(Change(place.key, place.item.text, before.values, after))
    return tuple(changes)


def accept(filling: Filling, changes: Sequence[Change], chosen: Sequence[str]) -> Filling:
    """The changes that a person chose; the chart's value is then simply the chart's value."""
    for change in changes:
        if change.key in chosen:
            filling = with_state(filling, change.key, change.after)
    return filling


def _fills(item: Item) -> bool:
    sources = item.sources
    return bool(sources.initial_expression or sources.calculated or sources.observation_period)


def _settle(form: Form, filling: Filling, context: Context, lookup: Lookup | None) -> Populated:
    """Round after round until nothing changes and nothing is left to ask."""
    seen: set[bytes] = set()
    told: dict[Failure, None] = {}
    for _ in range(MAX_ROUNDS):
        at = look(form, filling, context)
        after = _round(at)
        if at.wanted and lookup is not None:
            context = _ask(context, tuple(at.wanted), lookup)
            continue
        # First values have their turn once: what went wrong then will not be met again. The rest is looked at anew.
        told.update(dict.fromkeys(one for one in at.failures.values() if one.use in _ONCE))
        if after == filling:
            return Populated(filling, context, tuple(dict.fromkeys((*told, *at.failures.values()))))
        state = to_bytes(after)
        if state in seen:
            break
        seen.add(state)
        filling = after
    return _unsettled(form, filling, context, tuple(told))


_ONCE = frozenset({Use.INITIAL.value, Use.POPULATION.value, Use.VARIABLE.value})


def _ask(context: Context, queries: Sequence[str], lookup: Lookup) -> Context:
    found = dict(context.found)
    asked = queries[: max(MAX_QUERIES - len(found), 0)]
    answers = lookup(asked) if asked else {}
    for query in queries:
        seen = answers.get(query, _NOT_ASKED)
        found[query] = Found(seen.state, tuple(seen.resources), seen.why)
    return msgspec.structs.replace(context, found=found)


_NOT_ASKED = Found("failed", why="the form asks for too much")


def _unsettled(form: Form, one: Filling, context: Context, told: tuple[Failure, ...]) -> Populated:
    """Values that go on changing are no values: they are taken out, and the person is told (AP-14)."""
    other = _round(look(form, one, context))
    restless = [
        key
        for key in {*one.states, *other.states}
        if one.state(key).values != other.state(key).values and not other.state(key).touched
    ]
    filling = one
    for key in restless:
        filling = with_state(filling, key, AnswerState(asked=True))
    failures = list(told)
    failures.extend(
        Failure(keys.link_id(key), Use.CALCULATED, "cycle", "its value does not come to rest")
        for key in sorted(restless)
    )
    return Populated(filling, context, tuple(failures))


# ------------------------------------------------------------------ one round


def _round(at: Look) -> Filling:
    """Every enabled place once. All see the same look; what follows from this round is the next one's."""
    filling = at.filling
    renewed: tuple[str, ...] = ()
    for place in at.places.values():
        if not at.enabled(place.key) or place.key.startswith(renewed):
            continue
        sources = place.item.sources
        if sources.population is not None and place.item.is_row_group:
            before, filling = filling, _with_rows(at, filling, place, sources.population)
            waits = not filling.state(place.key).asked and not _answered_by_person(filling, place.key)
            if filling is not before or waits:
                renewed = (*renewed, f"{place.key}[")  # what is in its rows is the next look's
        if not place.item.is_question:
            continue
        if sources.calculated is not None:
            filling = _with_calculated(at, filling, place, sources.calculated)
        elif not filling.state(place.key).asked and not filling.state(place.key).touched:
            filling = _with_first_values(at, filling, place)
    return filling


def _with_first_values(at: Look, filling: Filling, place: Place) -> Filling:
    sources, state = place.item.sources, filling.state(place.key)
    if sources.initial_expression is not None and not sources.initial:
        found = _answers_of(at, place, sources.initial_expression)
    elif sources.observation_period is not None or _linked_above(at, place):
        found = _observed(at, place)
    else:
        return filling
    if not found and at.wanted:
        return filling  # the EHR has not answered yet
    if not found:
        return with_state(filling, place.key, msgspec.structs.replace(state, asked=True))
    return prefill(filling, place.key, found)


def _with_calculated(at: Look, filling: Filling, place: Place, expression: Expression) -> Filling:
    """Recalculated until a person edits it. A stored value that differs from the calculated one was edited (SD-07)."""
    state = filling.state(place.key)
    if state.touched or any(not one.origin.is_auto for one in state.answers):
        return filling
    nodes = at.nodes(expression, place.key)
    if nodes is None or (not nodes and at.wanted):
        return filling
    found = _as_answers(at, place, expression, nodes)
    if same_values([one.value for one in found], state.values):
        return filling if state.asked else with_state(filling, place.key, msgspec.structs.replace(state, asked=True))
    stored = state.answers and not state.asked
    if stored and (not found or state.origin is not Origin.AUTO_SERVER):
        return with_state(filling, place.key, msgspec.structs.replace(state, asked=True, touched=True))
    return prefill(filling, place.key, found)


def _answers_of(at: Look, place: Place, expression: Expression) -> tuple[Answer, ...]:
    return _as_answers(at, place, expression, at.nodes(expression, place.key) or [])


def _as_answers(at: Look, place: Place, expression: Expression, nodes: Nodes) -> tuple[Answer, ...]:
    """Results as answers with their evidence; those that do not fit are noted, and left out."""
    found: list[Answer] = []
    for node in nodes:
        try:
            value = fragment(place.item, node)
        except Unfit as unfit:
            at.fail(expression, "type", str(unfit))
            continue
        if any(same_values((value,), (one.value,)) for one in found):
            continue
        behind = at.sources([node]) or at.sources_behind(expression, place.key)
        found.append(Answer(value, Origin.AUTO_CLIENT, notes=notes(behind)))
        if not place.item.repeats:
            break
    return tuple(found)


# ------------------------------------------------------------------ rows


def _with_rows(at: Look, filling: Filling, place: Place, population: Expression) -> Filling:
    """One row for each result, once; rows in which a person has answered stay as they are (SD-06)."""
    state = filling.state(place.key)
    if state.asked or _answered_by_person(filling, place.key):
        return filling
    rows = at.population(population, place.key)
    if not rows and at.wanted:
        return filling
    asked = {place.key: AnswerState(asked=True)}
    if not rows:
        return msgspec.structs.replace(filling, states={**filling.states, **asked})
    inside = f"{place.key}["
    count = min(len(rows), place.item.max_occurs or len(rows), MAX_ROWS)
    fresh = {}
    for number in range(1, count + 1):
        fresh.update(initial_states(place.item.items, keys.row(place.key, number)))
    others = {key: one for key, one in filling.states.items() if not key.startswith(inside)}
    return msgspec.structs.replace(
        filling,
        states={**others, **fresh, **asked},
        rows={**{key: one for key, one in filling.rows.items() if not key.startswith(inside)}, place.key: count},
        row_sources={
            **{key: one for key, one in filling.row_sources.items() if not key.startswith(inside)},
            **{keys.row(place.key, number): identity(rows[number - 1]) for number in range(1, count + 1)},
        },
    )


def _answered_by_person(filling: Filling, group: str) -> bool:
    return any(
        state.touched or any(not one.origin.is_auto for one in state.answers)
        for key, state in filling.states.items()
        if key.startswith(f"{group}[")
    )


# ------------------------------------------------------------------ observations


def _linked_above(at: Look, place: Place) -> bool:
    above = at.places.get(_without_row(place.above))
    return bool(place.item.codes) and above is not None and above.item.sources.observation_period is not None


def _observed(at: Look, place: Place) -> tuple[Answer, ...]:
    """The newest Observation of an item, or the part of the parent's (SD-12)."""
    above = at.places.get(_without_row(place.above))
    linked = above.item if above is not None and _linked_above(at, place) else place.item
    expression = Expression(Use.INITIAL, QUERY, "", where=place.item.link_id)
    query = observation_link.query(linked, at.context)
    if query is None:
        return ()
    others = tuple(plain(node) for node in at.unbundled(at.asked(query, expression)))
    observation = observation_link.newest(linked, at.context, others)
    if observation is None:
        return ()
    shown = observation if linked is place.item else observation_link.part(place.item, observation, others)
    value = observation_link.value(shown) if shown else None
    if value is None:
        return ()
    try:
        made = fragment(place.item, value_of(value))
    except Unfit as unfit:
        at.fail(expression, "type", str(unfit))
        return ()
    return (Answer(made, Origin.AUTO_CLIENT, notes=notes((observation,))),)


# ------------------------------------------------------------------ overridden


def _overrides(form: Form, settled: Populated) -> Filling:
    """Where filling in now gives a value to what a person had typed, that answer is an override (AP-17)."""
    filling = settled.filling
    at = look(form, filling, settled.context)
    for place in at.places.values():
        expression = place.item.sources.initial_expression
        if expression is None or filling.state(place.key).origin is not Origin.MANUAL or not at.enabled(place.key):
            continue
        found = _answers_of(at, place, expression)
        if found:
            filling = mark_overridden(filling, place.key, found)
    return filling


def _without_row(key: str) -> str:
    return key.rpartition("[")[0] if key.endswith("]") else key

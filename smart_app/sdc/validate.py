"""What is wrong with the answers, each thing tied to its field and said so that a person can mend it (SD-14, AP-19).

Codes of problems: required, min-occurs, max-occurs, unread, type, unit, length, format, low, high, places, option,
exclusive, constraint, file, unchecked, unsettled, cql.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from smart_app.sdc import keys, patterns
from smart_app.sdc.coercion import Unfit, fragment
from smart_app.sdc.comparison import equal, order
from smart_app.sdc.context import Context
from smart_app.sdc.entry import clock_time
from smart_app.sdc.evaluation import Look, look
from smart_app.sdc.filling import UNREAD, Filling
from smart_app.sdc.offers import offered
from smart_app.sdc.places import Place, holders
from smart_app.sdc.shapes import FLOW, Constraint, Expression, Form, Fragment, Item, ItemType
from smart_app.sdc.texts import digits, kind_of, shown, value_of
from smart_app.sdc.view_shapes import Problem

_KINDS: Mapping[ItemType, frozenset[str]] = {
    ItemType.BOOLEAN: frozenset({"Boolean"}),
    ItemType.DECIMAL: frozenset({"Decimal", "Integer"}),
    ItemType.INTEGER: frozenset({"Integer"}),
    ItemType.DATE: frozenset({"Date"}),
    ItemType.DATE_TIME: frozenset({"DateTime", "Date"}),
    ItemType.TIME: frozenset({"Time"}),
    ItemType.STRING: frozenset({"String"}),
    ItemType.TEXT: frozenset({"String"}),
    ItemType.URL: frozenset({"Uri", "Url"}),
    ItemType.CHOICE: frozenset({"Coding", "String", "Integer", "Date", "Time", "Reference"}),
    ItemType.OPEN_CHOICE: frozenset({"Coding", "String", "Integer", "Date", "Time", "Reference"}),
    ItemType.ATTACHMENT: frozenset({"Attachment"}),
    ItemType.REFERENCE: frozenset({"Reference"}),
    ItemType.QUANTITY: frozenset({"Quantity"}),
}
_EXPECTED: Mapping[ItemType, str] = {
    ItemType.BOOLEAN: "Choose yes or no.",
    ItemType.DECIMAL: "Write a number with digits and, if needed, a point: 12.5.",
    ItemType.INTEGER: "Write a whole number without a point.",
    ItemType.DATE: "Write a date as year-month-day: 2026-03-31.",
    ItemType.DATE_TIME: "Write a date, or a date with a time.",
    ItemType.TIME: "Write a time as hours and minutes: 14:30.",
    ItemType.URL: "Write a whole address, starting with https://.",
    ItemType.CHOICE: "Choose one of the answers that are offered.",
    ItemType.QUANTITY: "Write a number with digits and, if needed, a point: 12.5.",
    ItemType.REFERENCE: "Choose one of the entries.",
}


def problems(form: Form, filling: Filling, context: Context) -> tuple[Problem, ...]:
    """Every problem, in the order of the form."""
    return problems_at(look(form, filling, context))


def problems_at(at: Look) -> tuple[Problem, ...]:
    """The same, of a look that is already there."""
    found: list[Problem] = []
    for place in at.places.values():
        if at.enabled(place.key):
            found += _of_place(at, place)
    for rule in at.form.constraints:
        found += _of_constraint(at, rule, "")
    return (*found, *_of_flow(at))


def _of_place(at: Look, place: Place) -> Iterator[Problem]:
    item = place.item
    if item.is_question:
        yield from _of_count(at, place)
        for value in at.filling.state(place.key).values:
            yield from _of_value(at, place, value)
        yield from _of_options(at, place)
    elif item.type is ItemType.GROUP and (item.is_row_group or item.required):
        yield from _of_rows(at, place)
    for rule in item.constraints:
        for key in holders(place.key, item, at.filling) if item.is_row_group else (place.key,):
            yield from _of_constraint(at, rule, key)


def _error(place: Place, code: str, text: str) -> Problem:
    return Problem(place.key, "error", code, text)


def _of_count(at: Look, place: Place) -> Iterator[Problem]:
    item, count = place.item, len(at.filling.state(place.key).answers)
    if count == 0 and _must_be_answered(at, place):
        yield _error(place, "required", "This question needs an answer.")
    elif 0 < count < (item.min_occurs or 0):
        yield _error(place, "min-occurs", f"At least {item.min_occurs} answers are needed.")
    if item.max_occurs is not None and count > item.max_occurs:
        yield _error(place, "max-occurs", f"At most {item.max_occurs} answers are allowed.")


def _of_rows(at: Look, place: Place) -> Iterator[Problem]:
    """A row counts when something in it is answered; a group without rows is one."""
    item = place.item
    if not _asks(at, place):
        return
    filled = sum(
        any(state.answers for key, state in at.filling.states.items() if key.startswith(f"{holder}/"))
        for holder in holders(place.key, item, at.filling)
    )
    least = max(item.min_occurs or 0, 1 if item.required else 0)
    if filled < least and not (least == 1 and _asks_already(at, place)):
        code = "min-occurs" if filled else "required"
        yield _error(place, code, f"Fill in at least {least} {'entry' if least == 1 else 'entries'} here.")
    if item.max_occurs is not None and filled > item.max_occurs:
        yield _error(place, "max-occurs", f"At most {item.max_occurs} entries are allowed.")


def _asks_already(at: Look, group: Place) -> bool:
    """Whether a question inside is missing its answer, which would be the group's first."""
    inside = (f"{group.key}/", f"{group.key}[")
    return any(
        place.item.is_question
        and at.enabled(place.key)
        and _must_be_answered(at, place)
        and not at.filling.state(place.key).answers
        for place in at.places.values()
        if place.key.startswith(inside)
    )


def _asks(at: Look, group: Place) -> bool:
    """Whether there is something in a group that a person can answer now."""
    inside = (f"{group.key}/", f"{group.key}[")
    return any(
        place.item.is_question and _reachable(at.form, place.item) and at.enabled(place.key)
        for place in at.places.values()
        if place.key.startswith(inside)
    )


def _reachable(form: Form, item: Item) -> bool:
    """Whether a person can answer it: what is hidden or read-only is nobody's fault."""
    return not item.read_only and item.link_id not in form.hidden


# ------------------------------------------------------------------ one value


def _of_value(at: Look, place: Place, value: Fragment) -> Iterator[Problem]:
    item = place.item
    if UNREAD in value:
        timeless = item.type is ItemType.DATE_TIME and clock_time(str(value[UNREAD])) is not None
        expected = _EXPECTED.get(item.type, "This is no answer to the question.")
        yield _error(place, "unread", "Choose the time zone of this time." if timeless else expected)
        return
    if kind_of(value) not in _KINDS[item.type]:
        yield _error(place, "type", _EXPECTED.get(item.type, "This is no answer to the question."))
        return
    yield from _of_text(place, value)
    yield from _of_number(place, value)
    yield from _of_limits(at, place, value)
    if item.type is ItemType.QUANTITY:
        yield from _of_unit(place, value_of(value))
    if item.type is ItemType.ATTACHMENT:
        yield from _of_file(place, value_of(value))
    if item.type is ItemType.REFERENCE:
        yield from _of_reference(place, value_of(value))


def _of_text(place: Place, value: Fragment) -> Iterator[Problem]:
    text, bounds = value_of(value), place.item.bounds
    if not isinstance(text, str):
        text = digits(text) if isinstance(text, int | Decimal) and not isinstance(text, bool) else None
    if text is None:
        return
    if bounds.max_length is not None and len(text) > bounds.max_length:
        yield _error(place, "length", f"At most {bounds.max_length} characters are allowed; these are {len(text)}.")
    if bounds.min_length is not None and len(text) < bounds.min_length:
        yield _error(place, "length", f"At least {bounds.min_length} characters are needed.")
    if bounds.regex:
        yield from _of_pattern(place, text)


def _of_pattern(place: Place, text: str) -> Iterator[Problem]:
    bounds = place.item.bounds
    try:
        fits = patterns.matches(bounds.regex, text)
    except patterns.UnusablePattern:
        yield Problem(place.key, "warning", "unchecked", "The form gives a pattern that this app cannot check.")
        return
    if not fits:
        hint = f" Expected: {bounds.entry_format}." if bounds.entry_format else ""
        yield _error(place, "format", f"This does not have the form that the payer asks for.{hint}")


def _of_number(place: Place, value: Fragment) -> Iterator[Problem]:
    number = value_of(value)
    number = number.get("value") if isinstance(number, Mapping) else number
    places = place.item.bounds.places
    if places is None or not isinstance(number, Decimal):
        return
    exponent = number.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > places:
        yield _error(place, "places", f"At most {places} digits after the point are allowed.")


def _of_limits(at: Look, place: Place, value: Fragment) -> Iterator[Problem]:
    bounds = place.item.bounds
    low = bounds.low or _worked_out(at, place, bounds.low_expression)
    high = bounds.high or _worked_out(at, place, bounds.high_expression)
    for limit, wrong, code, word in ((low, -1, "low", "less"), (high, 1, "high", "more")):
        if limit is None:
            continue
        found = order(value, limit)
        if found == wrong:
            yield _error(place, code, f"This may not be {word} than {shown(limit)}.")
        elif found is None and kind_of(value) == "Quantity":
            yield _error(place, "unit", f"This cannot be compared with the limit of {shown(limit)}. Check the unit.")


def _worked_out(at: Look, place: Place, expression: Expression | None) -> Fragment | None:
    if expression is None:
        return None
    nodes = at.nodes(expression, place.key)
    try:
        return fragment(place.item, nodes[0]) if nodes else None
    except Unfit:
        return None


def _of_unit(place: Place, quantity: Mapping[str, Any]) -> Iterator[Problem]:
    units = place.item.units
    known = [one for one in (units.unit, *units.options) if one]
    given = {quantity.get("code"), quantity.get("unit")} - {None}
    if "value" not in quantity:
        yield _error(place, "type", _EXPECTED[ItemType.QUANTITY])
    elif known and not given:
        yield _error(place, "unit", "Choose the unit.")
    elif known and not units.open and not any(given & {one.get("code"), one.get("display")} for one in known):
        names = ", ".join(str(one.get("display") or one.get("code")) for one in known)
        yield _error(place, "unit", f"Use one of these units: {names}.")


def fits(kind: str, allowed: Iterable[str]) -> bool:
    """Whether a kind of file is one of the allowed: ``image/png``, or all with ``image/*``."""
    return any(
        kind.lower() == each.lower() or (each.endswith("/*") and kind.lower().startswith(each[:-1].lower()))
        for each in allowed
    )


def _of_file(place: Place, attachment: Mapping[str, Any]) -> Iterator[Problem]:
    bounds = place.item.bounds
    data, kind = attachment.get("data"), str(attachment.get("contentType", ""))
    size = len(data) * 3 // 4 if isinstance(data, str) else attachment.get("size") or 0
    if bounds.max_bytes is not None and size > bounds.max_bytes + 2:
        yield _error(place, "file", f"The file may have at most {bounds.max_bytes // 1000} kB.")
    if bounds.mime_types and not fits(kind, bounds.mime_types):
        yield _error(place, "file", f"Only these kinds of file are accepted: {', '.join(bounds.mime_types)}.")


def _of_reference(place: Place, reference: Mapping[str, Any]) -> Iterator[Problem]:
    types = place.item.choices.reference_types
    target = str(reference.get("reference", "")).split("/")
    kind = target[-2] if len(target) > 1 else str(reference.get("type", ""))
    if types and kind and kind not in types:
        yield _error(place, "option", f"Choose one of: {', '.join(types)}.")


# ------------------------------------------------------------------ options


def _of_options(at: Look, place: Place) -> Iterator[Problem]:
    item, values = place.item, at.filling.state(place.key).values
    if not values:
        return
    options = offered(at, place)
    if options is not None and not item.choices.value_set:
        for value in values:
            open_text = item.type is ItemType.OPEN_CHOICE and kind_of(value) in {"String", "Coding"}
            if UNREAD in value or open_text or any(equal(value, one.value) for one in options):
                continue
            if item.choices.options or item.choices.expression or item.type is ItemType.CHOICE:
                yield _error(place, "option", f"“{shown(value)}” is not among the answers that are offered now.")
    exclusive = [one for one in item.choices.options if one.exclusive]
    chosen = [one.display for one in exclusive if any(equal(value, one.value) for value in values)]
    if chosen and len(values) > 1:
        yield _error(place, "exclusive", f"“{chosen[0]}” cannot be combined with other answers.")


# ------------------------------------------------------------------ rules


def _of_constraint(at: Look, rule: Constraint, key: str) -> Iterator[Problem]:
    """A rule that gives nothing holds: most are about answers that are not there yet."""
    nodes = at.nodes(rule.expression, key)
    if nodes is None:
        if rule.severity == "error" and rule.expression.language == "text/fhirpath":
            yield Problem(key, "error", "unchecked", "A rule of the form could not be checked with these answers.")
        return
    if at.truth(rule.expression, key) is False:
        severity = "warning" if rule.severity == "warning" else "error"
        yield Problem(key, severity, "constraint", rule.human or "A rule of the form does not hold.")


def _of_flow(at: Look) -> Iterator[Problem]:
    """What decides here and could not be worked out blocks completion (SD-13, AP-24)."""
    for notice in at.form.notices:
        if notice.blocks:
            yield Problem("", "error", "cql" if notice.code == "cql-flow" else "unsettled", notice.text)
    known = {(notice.where) for notice in at.form.notices if notice.blocks}
    flow = {use.value for use in FLOW} - {"targetConstraint"}
    for failure in at.failures.values():
        if failure.use in flow and failure.code != "lookup" and failure.where not in known:
            text = f"Whether or how something is asked here could not be worked out: {failure.text}."
            yield Problem("", "error", "unsettled", text)


def _must_be_answered(at: Look, place: Place) -> bool:
    """Whether an empty answer is one that is missing: below a question that nobody answered, nothing is."""
    item = place.item
    if not (item.required and _reachable(at.form, item)):
        return False
    above = at.form.by_link.get(at.form.parents[item.link_id])
    if above is None or not above.is_question:
        return True
    holder = keys.parent(place.key)
    row = keys.row_number(holder)
    answers = at.filling.state(holder.removesuffix(f"[{row}]") if row else holder).answers
    return len(answers) >= (row or 1)

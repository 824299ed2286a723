"""What can be chosen at one place right now: options less those switched off, or what an expression lists."""

from __future__ import annotations

from smart_app.sdc.coercion import Unfit, fragment
from smart_app.sdc.evaluation import Look
from smart_app.sdc.expressions import QUERY
from smart_app.sdc.places import Place
from smart_app.sdc.shapes import Expression, Option
from smart_app.sdc.texts import option_key, shown, value_of


def offered(at: Look, place: Place) -> tuple[Option, ...] | None:
    """The options; None where any value may be given, or the list is searched elsewhere."""
    choices = place.item.choices
    if choices.expression is not None:
        return listed(at, place, choices.expression)
    if not choices.options:
        return None
    off = {
        key for toggle in choices.toggles if at.truth(toggle.expression, place.key) is not True for key in toggle.keys
    }
    return tuple(one for one in choices.options if one.key not in off) if off else choices.options


def listed(at: Look, place: Place, expression: Expression) -> tuple[Option, ...]:
    """Results of an ``answerExpression`` or ``candidateExpression`` as options (SD-10, SD-11)."""
    nodes = at.nodes(expression, place.key) or []
    found: dict[str, Option] = {}
    for node in at.unbundled(nodes) if expression.language == QUERY else nodes:
        try:
            value = fragment(place.item, node)
        except Unfit as unfit:
            at.fail(expression, "type", str(unfit))
            continue
        key = str(value_of(value).get("reference") or option_key(value)) if _refers(value) else option_key(value)
        found.setdefault(key, Option(key, value, shown(value)))
    return tuple(found.values())


def _refers(value: object) -> bool:
    return isinstance(value, dict) and "valueReference" in value

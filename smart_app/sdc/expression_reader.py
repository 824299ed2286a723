"""Expressions of a questionnaire, out of their extensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smart_app.sdc.marks import Marks
from smart_app.sdc.shapes import Constraint, Expression, Toggle, Use
from smart_app.sdc.texts import option_key


def expression(value: Any, use: Use, where: str, *, label: str = "") -> Expression | None:
    """One FHIR Expression; None for anything without language and text.

    A ``reference`` without text (CQL in a Library) counts as its own text, so that it is reported, not lost.
    """
    if not isinstance(value, Mapping):
        return None
    language, text = value.get("language"), value.get("expression") or value.get("reference")
    if not isinstance(language, str) or not isinstance(text, str):
        return None
    name = value.get("name")
    shown = label or value.get("description")
    return Expression(
        use, language, text, name if isinstance(name, str) else "", where, shown if isinstance(shown, str) else ""
    )


def expressions(marks: Marks, use: Use, where: str) -> tuple[Expression, ...]:
    """All expressions of one use on one element."""
    found = (expression(value, use, where) for value in marks.values(use.value, f"questionnaire-{use.value}"))
    return tuple(one for one in found if one is not None)


def labelled(marks: Marks, use: Use, where: str) -> tuple[Expression, ...]:
    """Expressions that stand with a label inside a complex extension (``contextExpression``)."""
    found = (
        expression(inner.value("expression"), use, where, label=inner.text("label"))
        for inner in marks.parts(f"questionnaire-{use.value}")
    )
    return tuple(one for one in found if one is not None)


def constraints(marks: Marks, where: str) -> tuple[Constraint, ...]:
    """Rules of one element: ``targetConstraint``, and the older ``questionnaire-constraint``."""
    return tuple(_constraints(marks, where))


def _constraints(marks: Marks, where: str) -> Iterator[Constraint]:
    for inner in (*marks.parts("targetConstraint"), *marks.parts("questionnaire-constraint")):
        value = inner.value("expression")
        if isinstance(value, str):
            value = {"language": "text/fhirpath", "expression": value}
        read = expression(value, Use.CONSTRAINT, where)
        if read is not None:
            severity = "warning" if inner.text("severity") == "warning" else "error"
            yield Constraint(inner.text("key"), severity, inner.text("human"), read)


def toggles(marks: Marks, where: str) -> tuple[Toggle, ...]:
    """Options that depend on an expression."""
    found = []
    for inner in marks.parts("questionnaire-answerOptionsToggleExpression"):
        read = expression(inner.value("expression"), Use.TOGGLE, where)
        if read is not None:
            keys = frozenset(option_key({"value": value}) for value in inner.values("option"))
            found.append(Toggle(keys, read))
    return tuple(found)

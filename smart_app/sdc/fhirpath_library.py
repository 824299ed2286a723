"""The FHIRPath library, which has no types, as the few names that are used of it.

Everything else here speaks through this module, so that one place shows how much of the library's inside is relied on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from antlr4 import CommonTokenStream, InputStream, ParseTreeWalker, Token  # type: ignore[import-untyped]
from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
from fhirpathpy.engine import do_eval
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.engine.nodes import FP_DateTime, FP_Quantity, FP_Time, FP_TimeBase, ResourceNode, TypeInfo
from fhirpathpy.models import models
from fhirpathpy.parser.ASTPathListener import ASTPathListener
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

REGISTRY: Mapping[str, dict[str, Any]] = invocation_registry  # type: ignore[assignment]
"""The library's own functions by name: ``fn(ctx, nodes, *params)`` and the kinds of its parameters."""

MODEL: Mapping[str, Any] = models["r4"]
# The library itself sets it only on the way through some functions.
TypeInfo.model = MODEL  # type: ignore[assignment]

Node = ResourceNode
TimePoint = FP_TimeBase
QuantityValue = FP_Quantity

node: Callable[..., Any] = ResourceNode.create_node
"""``node(data, path, propName=)``: data that knows its path in a resource; ``propName`` is carried on downwards."""

date_time: Callable[[str], Any] = FP_DateTime
"""A date or dateTime, or None for a text that is none."""

clock_time: Callable[[str], Any] = FP_Time
"""A time, or None for a text that is none."""

quantity: Callable[[Any, str], Any] = FP_Quantity
"""A quantity; its unit in single quotes."""

evaluate: Callable[[Any, list[Any], Any], Any] = do_eval
"""Walks a syntax tree: ``evaluate(ctx, focus, tree)``."""


class NotAnExpression(ValueError):
    """The text is no expression."""


class _Loud(ErrorListener):  # type: ignore[misc]
    def syntaxError(self, *_: Any) -> None:  # noqa: N802 - the library's name
        raise NotAnExpression("it is not valid FHIRPath")


def parsed(text: str) -> Any:
    """The syntax tree of a whole text. The library's own parser swallows errors and ignores what follows."""
    lexer = FHIRPathLexer(InputStream(text))
    lexer.removeErrorListeners()
    lexer.addErrorListener(_Loud())
    parser = FHIRPathParser(CommonTokenStream(lexer))
    parser.removeErrorListeners()
    parser.addErrorListener(_Loud())
    make_listener: Callable[[], Any] = ASTPathListener
    listener = make_listener()
    tree = parser.expression()
    if parser.getCurrentToken().type != Token.EOF:
        raise NotAnExpression("something follows the expression")
    ParseTreeWalker().walk(listener, tree)
    return listener.parentStack[0]["children"][0]

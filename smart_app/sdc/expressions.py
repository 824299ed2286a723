"""FHIRPath with its gaps closed: compiled once, run with limits, and honest about what it cannot do.

The library underneath reads the system's clock, has no units, knows neither ``sort()`` nor ``memberOf()``, raises on
names nobody defined and ignores what follows an expression. Here the day is passed in, the gaps are filled
(``fhirpath_functions``), undefined names are empty, and a text that is not wholly an expression is none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from smart_app.sdc.fhirpath_functions import TABLE, WHERE_LINK
from smart_app.sdc.fhirpath_library import MODEL, REGISTRY, Node, NotAnExpression, evaluate, parsed
from smart_app.sdc.fhirpath_terms import Refused
from smart_app.sdc.shapes import Expression, Use

FHIRPATH = "text/fhirpath"
QUERY = "application/x-fhir-query"
MAX_CHARACTERS = 8_000
MAX_RESOURCES = 5_000
MAX_SECONDS = 2.0
MAX_STEPS = 400_000

_CQL = ("text/cql", "application/elm")
_WORD = re.compile(r"[A-Za-z]{1,30}")
_NO_NAMES = frozenset({"factory", "terminologies"})


class Trouble(msgspec.Struct, frozen=True):
    """Why an expression has no result. ``code``: cql, language, syntax, unsupported, limit, failed. No patient data."""

    code: str
    text: str


class Troubled(Exception):
    """An expression that has no result."""

    def __init__(self, trouble: Trouble) -> None:
        """``trouble`` is what to tell."""
        super().__init__(trouble.text)
        self.trouble = trouble


class Program(msgspec.Struct, frozen=True):
    """A compiled expression. ``names`` are the environment variables it reads."""

    tree: Any
    names: frozenset[str]


def trouble(expression: Expression) -> Trouble | None:
    """What can be told of an expression before it runs: its language, its syntax, functions that are not here."""
    if expression.language.startswith(_CQL):
        return Trouble("cql", "it is written in CQL")
    try:
        if expression.language == QUERY:
            if expression.use in {Use.ENABLE, Use.CALCULATED, Use.CONSTRAINT}:
                return Trouble("language", "a query cannot stand here")
            for part in embedded(expression.text):
                compiled(part)
        elif expression.language == FHIRPATH:
            compiled(expression.text)
        else:
            return Trouble("language", "its language is not one that this app knows")
    except Troubled as found:
        return found.trouble
    return None


def embedded(query: str) -> Iterator[str]:
    """The FHIRPath inside ``{{ }}`` of a query."""
    for piece in query.split("{{")[1:]:
        yield piece.partition("}}")[0]


@lru_cache(maxsize=4096)
def compiled(text: str) -> Program:
    """Compile once per text. Raises Troubled."""
    if len(text) > MAX_CHARACTERS:
        raise Troubled(Trouble("limit", f"it is longer than {MAX_CHARACTERS} characters"))
    try:
        tree = parsed(text)
    except NotAnExpression as error:
        raise Troubled(Trouble("syntax", str(error))) from None
    except RecursionError:
        raise Troubled(Trouble("limit", "it is nested too deep")) from None
    names = frozenset(_names(tree))
    unknown = (set(_functions(tree)) - set(TABLE) - set(REGISTRY)) | (names & _NO_NAMES)
    if unknown:
        name = min(unknown)
        what = name if _WORD.fullmatch(name) else "a function"
        raise Troubled(Trouble("unsupported", f"it uses {what}, which this app does not have"))
    return Program(_quicker(tree), names)


def _quicker(tree: Any) -> Any:
    """The same tree with ``where(linkId = 'x')`` as one step: forms are full of it, and it is the slow part."""
    for node in _nodes(tree):
        if node.get("type") != "Functn" or len(node["children"]) != 2 or node["children"][0].get("text") != "where":
            continue
        test = node["children"][1]["children"][0]
        if test.get("type") == "EqualityExpression" and test["terminalNodeText"] == ["="]:
            name, literal = test["children"]
            if name.get("text") == "linkId" and _is_string(literal):
                node["children"][0].update(text=WHERE_LINK, terminalNodeText=[WHERE_LINK])
                node["children"][1]["children"] = [literal]
    return tree


def _is_string(node: Mapping[str, Any]) -> bool:
    inner = node.get("children") or [{}]
    return bool(inner[0].get("type") == "LiteralTerm" and inner[0]["children"][0].get("type") == "StringLiteral")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.get("children") or ())


def _names(tree: Any) -> Iterator[str]:
    for node in _nodes(tree):
        if node.get("type") == "ExternalConstantTerm":
            for inner in _nodes(node["children"][0]["children"][0]):
                yield str(inner.get("text", "")).strip("`'\"")


def _functions(tree: Any) -> Iterator[str]:
    for node in _nodes(tree):
        if node.get("type") == "Functn":
            yield str(node["children"][0].get("text", ""))


class Lookup(Mapping[str, Any]):
    """Environment variables by name, found when they are read. A name that nobody defined is empty, not an error."""

    def __init__(self, find: Callable[[str], list[Any]]) -> None:
        """``find`` gives the nodes of a variable."""
        self._find = find
        self._set: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self._set:
            return self._set[name]
        if name == "ucum":
            return "http://unitsofmeasure.org"
        return self._find(name)

    def __setitem__(self, name: str, value: Any) -> None:
        """``defineVariable``: for the rest of this one evaluation."""
        self._set[name] = value

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._set)

    def __len__(self) -> int:
        return len(self._set)


class _Run(dict[str, Any]):
    """The library's context of one evaluation. Each of its steps reads one of two members: there the limits are."""

    def __init__(self, members: dict[str, Any], clock: Callable[[], float]) -> None:
        super().__init__(members)
        self._steps, self._clock, self._until = 0, clock, clock() + MAX_SECONDS

    def __getitem__(self, name: str) -> Any:
        if name in {"userInvocationTable", "model"}:
            self._steps += 1
            if self._steps > MAX_STEPS or (self._steps % 64 == 0 and self._clock() > self._until):
                raise Troubled(Trouble("limit", "it took too long"))
        return dict.__getitem__(self, name)


def run(
    program: Program,
    focus: list[Any],
    names: Lookup,
    surroundings: Any,
    clock: Callable[[], float] = time.monotonic,
) -> list[Any]:
    """Evaluate. ``surroundings`` is what the injected functions need (``fhirpath_functions.Surroundings``).

    Returns nodes of the library: ``ResourceNode`` where a value came out of a resource, plain values otherwise.
    Raises Troubled.
    """
    members = {
        "dataRoot": focus,
        "vars": names,
        "model": MODEL,
        "userInvocationTable": TABLE,
        "surroundings": surroundings,
    }
    try:
        result = evaluate(_Run(members, clock), focus, program.tree)
    except Troubled:
        raise
    except Refused as refused:
        raise Troubled(Trouble("unsupported", str(refused))) from None
    except RecursionError:
        raise Troubled(Trouble("limit", "it is nested too deep")) from None
    except Exception:  # noqa: BLE001 - the library raises bare Exceptions, with data in their texts
        raise Troubled(Trouble("failed", "it could not be evaluated with these data")) from None
    found = result if isinstance(result, list) else [result]
    return [node for node in found if node is not None and not _only_extension(node)]


def _only_extension(node: Any) -> bool:
    """The library lists the extensions of a primitive as if they were a second value of it."""
    return isinstance(node, Node) and isinstance(node.data, dict) and set(node.data) == {"extension"}

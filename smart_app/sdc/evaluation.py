"""One look at a filled form: what its expressions say, and which items are enabled.

A look is at one filling in one context; after a change a new look is made. It remembers what it worked out, asks
nobody (queries that the EHR has not answered are ``wanted``), and never raises on a stranger's expression: what has no
result is empty, and listed in ``failures``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import msgspec

from smart_app.sdc import expressions, keys
from smart_app.sdc.codings import is_member, weight_of
from smart_app.sdc.conditions import holds
from smart_app.sdc.context import Context, Found, Resource
from smart_app.sdc.expressions import FHIRPATH, QUERY, Trouble, Troubled
from smart_app.sdc.fhirpath_library import Node, node
from smart_app.sdc.fhirpath_terms import bare
from smart_app.sdc.filling import Filling
from smart_app.sdc.places import Place, nearest, places
from smart_app.sdc.shapes import EnableWhen, Expression, Form, Item
from smart_app.sdc.texts import kind_of, option_key
from smart_app.sdc.tree import Tree

_QUERY = re.compile(r"[A-Z][A-Za-z]+(/[A-Za-z0-9\-.]{1,64})?(\?[^#\s]*)?")
_SOURCE = re.compile(r"@([0-9]+)(?:\.entry\[([0-9]+)\]\.resource)?")
_CONSTANTS = {"sct": "http://snomed.info/sct", "loinc": "http://loinc.org", "ucum": "http://unitsofmeasure.org"}
MAX_ROUNDS = 20

Nodes = list[Any]


class Failure(msgspec.Struct, frozen=True):
    """An expression or query without result. Free of patient data, so that the payer may be told (AP-25).

    ``code``: one of ``expressions.Trouble``, or ``query`` (it cannot be asked), ``lookup`` (the EHR did not answer),
    ``type`` (the result does not fit the item), ``cycle``.
    """

    where: str
    use: str
    code: str
    text: str


class Look:
    """See the module. ``off``: keys that are taken as not enabled when the answers are read."""

    def __init__(self, form: Form, filling: Filling, context: Context, off: frozenset[str] = frozenset()) -> None:
        """Makes the tree of answers; everything else is worked out when it is asked for."""
        self.form, self.filling, self.context = form, filling, context
        self.places: dict[str, Place] = {place.key: place for place in places(form, filling)}
        self.failures: dict[tuple[str, str, str], Failure] = {}
        self.wanted: dict[str, None] = {}
        self.now = context.as_of.isoformat(timespec="milliseconds")
        self._off = off
        self._tree = Tree(form, filling, lambda key: key not in off, lambda answer: dict(answer.value))
        self._response = {
            "resourceType": "QuestionnaireResponse",
            "questionnaire": form.canonical,
            "status": "in-progress",
            "authored": self.now,
            "item": self._tree.items,
        }
        self._by_link: dict[str, list[str]] = {}
        for place in self.places.values():
            self._by_link.setdefault(place.item.link_id, []).append(place.key)
        self._memo: dict[tuple[str, str], Nodes] = {}
        self._running: set[tuple[str, str]] = set()
        self._enabled: dict[str, bool] = {}
        self._asking: set[str] = set()
        self.guessed = False
        self._sources: list[Resource] = []
        self._wrapped: dict[str, Nodes] = {}

    # -------------------------------------------------------------- expressions

    def nodes(self, expression: Expression, key: str = "") -> Nodes | None:
        """The result at one place; None when there is none to have, which is then among the failures."""
        try:
            if expression.language == QUERY:
                return self._asked(expression, key)
            if expression.language == FHIRPATH:
                return self._run(expression.text, key)
            trouble = expressions.trouble(expression)
        except Troubled as troubled:
            trouble = troubled.trouble
        if trouble is not None:
            self.fail(expression, trouble.code, trouble.text)
        return None

    def fail(self, expression: Expression, code: str, text: str) -> None:
        """Notes that an expression has no result."""
        failure = Failure(expression.where, expression.use.value, code, text)
        self.failures.setdefault((expression.where, expression.use.value, code), failure)

    def truth(self, expression: Expression, key: str = "") -> bool | None:
        """The result as yes or no; None for an empty or other result."""
        found = self.nodes(expression, key)
        value = bare(found[0]) if found and len(found) == 1 else None
        return value if isinstance(value, bool) else None

    def _run(self, text: str, key: str) -> Nodes:
        program = expressions.compiled(text)
        names = expressions.Lookup(lambda name: self._named(name, key))
        return expressions.run(program, self._focus(key), names, self)

    def _focus(self, key: str) -> Nodes:
        return self._items_at(key) if key else [self._response]

    def _items_at(self, key: str) -> Nodes:
        found = self._tree.found.get(key)
        if found is not None:
            return [node(found, "QuestionnaireResponse.item")]
        rows = [
            made
            for place, made in self._tree.found.items()
            if place.startswith(f"{key}[") and "/" not in place[len(key) :]
        ]
        return [node(made, "QuestionnaireResponse.item") for made in rows]

    # -------------------------------------------------------------- names

    def _named(self, name: str, key: str) -> Nodes:
        if name in {"resource", "rootResource"}:
            return [node(self._response, "QuestionnaireResponse")]
        if name == "context":
            return self._focus(key)
        if name == "questionnaire":
            return [node(self.form.raw, "Questionnaire")]
        if name == "qitem":
            item = self.form.by_link.get(keys.link_id(key)) if key else None
            return [node(item.raw, "Questionnaire.item")] if item else []
        if name in _CONSTANTS:
            return [_CONSTANTS[name]]
        return self._of_scope(name, key)

    def _of_scope(self, name: str, key: str) -> Nodes:
        """From the item outwards; then the root's variables, the launch, and what is computed here."""
        place = key
        while place:
            item = self.form.by_link[keys.link_id(place)]
            for variable in item.variables:
                if variable.name == name:
                    return self._variable(variable, place)
            population = item.sources.population
            if population is not None and population.name == name:
                return self._row(population, place)
            place = keys.parent(place)
        for variable in self.form.variables:
            if variable.name == name:
                return self._variable(variable, "")
        if name in self.context.launch:
            return self._resource(f"launch {name}", self.context.launch[name])
        return self._computed(name)

    def _computed(self, name: str) -> Nodes:
        birth = self.context.launch.get("patient", {}).get("birthDate") if name == "ageYears" else None
        if not isinstance(birth, str) or len(birth) != 10:
            return []
        today = self.context.as_of.date().isoformat()
        return [int(today[:4]) - int(birth[:4]) - (today[5:] < birth[5:])]

    def _variable(self, variable: Expression, place: str) -> Nodes:
        return self._once((f"{variable.where}%{variable.name}", place), variable, place)

    def _once(self, memo: tuple[str, str], expression: Expression, place: str) -> Nodes:
        if memo not in self._memo:
            if memo in self._running:
                self.fail(expression, "cycle", "it depends on itself")
                return []
            self._running.add(memo)
            self._memo[memo] = self.nodes(expression, place) or []
            self._running.discard(memo)
        return self._memo[memo]

    def _row(self, population: Expression, place: str) -> Nodes:
        """The row that a population context made for one place."""
        item = self.form.by_link[keys.link_id(place)]
        found = self.population(population, place.rpartition("[")[0] if keys.row_number(place) else place)
        if not keys.has_rows(item):
            return found[:1]
        source = self.filling.row_sources.get(place)
        return [one for one in found if source is not None and identity(one) == source][:1]

    def population(self, population: Expression, place: str) -> Nodes:
        """All rows of a population context: for a query, the resources that it found."""
        above = keys.parent(place)
        found = self._once((f"{population.where}#", place), population, above)
        return self.unbundled(found) if population.language == QUERY else found

    def unbundled(self, nodes: Nodes) -> Nodes:
        """Resources instead of the Bundle around them."""
        found: Nodes = []
        for one in nodes:
            data = bare(one)
            if not isinstance(data, Mapping) or data.get("resourceType") != "Bundle":
                found.append(one)
                continue
            for number, entry in enumerate(data.get("entry") or ()):
                name = f"{one.propName}.entry[{number}].resource" if isinstance(one, Node) else None
                found.append(node(entry["resource"], None, propName=name))
        return found

    # -------------------------------------------------------------- the EHR

    def _resource(self, name: str, resource: Resource) -> Nodes:
        """A resource as a node that remembers where it came from."""
        if name not in self._wrapped:
            self._sources.append(resource)
            mark = f"@{len(self._sources) - 1}"
            self._wrapped[name] = [node(resource, resource.get("resourceType"), propName=mark)]
        return self._wrapped[name]

    def _asked(self, expression: Expression, key: str) -> Nodes:
        query = self._query(expression, key)
        return [] if query is None else self.asked(query, expression)

    def asked(self, query: str, expression: Expression) -> Nodes:
        """What the EHR answered to a query, as a Bundle or, for a read, as the resource; nothing until it did."""
        found = self.context.found.get(query)
        if found is None:
            self.wanted.setdefault(query)
            return []
        if found.state in {"denied", "failed", "late"}:
            self.fail(expression, "lookup", _NOT_SEEN[found.state])
        elif len(found.resources) > expressions.MAX_RESOURCES:
            self.fail(expression, "limit", f"more than {expressions.MAX_RESOURCES} resources were found")
            return []
        if "?" not in query:
            return self._resource(query, found.resources[0]) if found.resources else []
        return self._resource(query, _bundle(found))

    def _query(self, expression: Expression, key: str) -> str | None:
        """The query with its expressions put in; None where one of them is empty (SD-04)."""
        first, *rest = expression.text.split("{{")
        made = [first]
        for piece in rest:
            text, _, after = piece.partition("}}")
            values = [_as_text(bare(one)) for one in self._run(text, key)]
            if not values:
                return None
            made += [",".join(quote(value, safe="") for value in values), after]
        query = "".join(made).replace(" ", "%20")
        if not _QUERY.fullmatch(query):
            raise Troubled(Trouble("query", "it is no query that can be asked"))
        return query

    def sources(self, nodes: Nodes) -> list[Resource]:
        """The resources that these results were read from, as far as that is known; each once."""
        found: dict[int, Resource] = {}
        for one in nodes:
            name = one.propName if isinstance(one, Node) else None
            match = _SOURCE.match(name) if name else None
            if match is None:
                continue
            resource = self._sources[int(match[1])]
            if match[2] is not None:
                resource = resource["entry"][int(match[2])]["resource"]
            if resource.get("resourceType") != "Bundle":
                found.setdefault(id(resource), resource)
        return list(found.values())

    def sources_behind(self, expression: Expression, key: str) -> list[Resource]:
        """Resources behind a computed result: those of the variables that the expression names."""
        try:
            names = expressions.compiled(expression.text).names if expression.language == FHIRPATH else frozenset()
        except Troubled:
            return []
        nodes: Nodes = []
        for name in sorted(names):
            nodes += (
                self.unbundled(self._named(name, key)) if name not in {"resource", "context", "questionnaire"} else []
            )
        return self.sources(nodes)

    # -------------------------------------------------------------- surroundings of FHIRPath functions

    def weight(self, value: Any) -> Decimal | None:
        """See ``fhirpath_functions.Surroundings``."""
        return weight_of(self.form, value)

    def member_of(self, value: Any, canonical: str) -> bool | None:
        """See ``fhirpath_functions.Surroundings``."""
        return is_member(self.form, value, canonical)

    # -------------------------------------------------------------- enablement

    def enabled(self, key: str) -> bool:
        """Whether the item at ``key`` is enabled; a child never without what holds it (SD-08, SD-09)."""
        if key not in self._enabled:
            if key in self._asking:  # two conditions wait for each other: what the look before found counts
                self.guessed = True
                return key not in self._off
            self._asking.add(key)
            place = self.places[key]
            above = _without_row(place.above)
            self._enabled[key] = (not above or self.enabled(above)) and self._conditions(place.item, key)
            self._asking.discard(key)
        return self._enabled[key]

    def _conditions(self, item: Item, key: str) -> bool:
        if item.enable_expression is not None:
            return self.truth(item.enable_expression, key) is True
        if not item.enable_when:
            return True
        results = (self._holds(one, key) for one in item.enable_when)
        return any(results) if item.enable_any else all(results)

    def _holds(self, condition: EnableWhen, key: str) -> bool:
        answers = [
            value
            for place in nearest(tuple(self._by_link.get(condition.question, ())), key)
            if place != key and self.enabled(place)
            for value in self.filling.state(place).values
            if kind_of(value)
        ]
        return holds(condition, answers)


def identity(node: Any) -> str:
    """What a result is recognised by in a later look: a resource by its reference, anything else by its content."""
    data = bare(node)
    if isinstance(data, Mapping) and isinstance(data.get("resourceType"), str) and isinstance(data.get("id"), str):
        return f"{data['resourceType']}/{data['id']}"
    return sha256(_CONTENT.encode(data if isinstance(data, Mapping | list) else str(data))).hexdigest()


_CONTENT = msgspec.json.Encoder(decimal_format="string", order="deterministic")

_NOT_SEEN = {
    "denied": "the EHR does not let this app read it",
    "failed": "the EHR could not answer",
    "late": "the EHR did not answer in time",
}


def look(form: Form, filling: Filling, context: Context) -> Look:
    """A settled look: answers of items that are not enabled count nowhere.

    Enablement by expression, and by conditions that wait for each other, is worked out until it stays as it is; when
    it does not, the form says so and blocks.
    """
    seen: set[frozenset[str]] = set()
    off: frozenset[str] = frozenset()
    found = Look(form, filling, context)
    for _ in range(MAX_ROUNDS):
        seen.add(off)
        now_off = frozenset(key for key in found.places if not found.enabled(key))
        seen_by_none = not any(filling.state(key).answers for key in now_off ^ off)
        if now_off == off or (seen_by_none and not found.guessed):
            return found
        if now_off in seen:
            break
        off = now_off
        found = Look(form, filling, context, off)
    found.failures[("", "enableWhenExpression", "cycle")] = Failure(
        "", "enableWhenExpression", "cycle", "which questions are asked does not come to rest"
    )
    return found


def _without_row(key: str) -> str:
    return key.rpartition("[")[0] if key.endswith("]") else key


def _bundle(found: Found) -> Resource:
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found.resources),
        "entry": [{"resource": one} for one in found.resources],
    }


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return str(value.get("reference") or option_key({"value": value}))
    return format(value, "f") if isinstance(value, Decimal) else str(value)

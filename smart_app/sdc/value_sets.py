"""Value sets of a package as lists of codings; what is not listed there is left to ``$expand``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

MAX_CODES = 20_000
"""Codes read of one value set; what is larger is searched, not listed (row 111)."""

MAX_NESTING = 20


class Listed(msgspec.Struct, frozen=True):
    """Codings of one value set. ``whole``: these are all of them."""

    codings: tuple[Mapping[str, Any], ...]
    whole: bool


_UNLISTED = Listed((), whole=False)


class ValueSets:
    """Value sets by canonical, with and without version, and those contained in one questionnaire by ``#id``."""

    def __init__(self, value_sets: Iterable[Any], contained: Any = ()) -> None:
        """``value_sets`` of the package, ``contained`` of the questionnaire; both may hold code systems."""
        self._by_url: dict[str, Mapping[str, Any]] = {}
        self._read: dict[str, Listed] = {}
        self._systems: dict[str, Mapping[str, Any]] = {}
        value_sets = tuple(value_sets)
        for one in (*value_sets, *(contained if isinstance(contained, list | tuple) else ())):
            if isinstance(one, Mapping) and one.get("resourceType") == "CodeSystem" and isinstance(one.get("url"), str):
                self._systems.setdefault(one["url"], one)
        for one in value_sets:
            if isinstance(one, Mapping) and one.get("resourceType") != "CodeSystem" and isinstance(one.get("url"), str):
                self._by_url.setdefault(one["url"], one)
                self._by_url.setdefault(f"{one['url']}|{one.get('version', '')}", one)
        for one in contained if isinstance(contained, list | tuple) else ():
            if isinstance(one, Mapping) and one.get("resourceType") == "ValueSet" and isinstance(one.get("id"), str):
                self._by_url[f"#{one['id']}"] = one
                if isinstance(one.get("url"), str):
                    self._by_url.setdefault(one["url"], one)

    def listed(self, canonical: str) -> Listed:
        """The codings behind a canonical; none and not ``whole`` if it is unknown or has no list."""
        if canonical not in self._read:
            found = self._by_url.get(canonical) or self._by_url.get(canonical.partition("|")[0])
            self._read[canonical] = _UNLISTED if found is None else self._list(found, (canonical,))
        return self._read[canonical]

    def members(self) -> dict[str, frozenset[tuple[str, str]]]:
        """Each value set that is listed whole, as pairs of system and code, by canonical: for ``memberOf``."""
        found = {url: self.listed(url) for url in self._by_url}
        return {
            url: frozenset((str(one.get("system", "")), str(one.get("code", ""))) for one in listed.codings)
            for url, listed in found.items()
            if listed.whole
        }

    def _list(self, value_set: Mapping[str, Any], seen: tuple[str, ...]) -> Listed:
        expansion = value_set.get("expansion")
        if isinstance(expansion, Mapping) and isinstance(expansion.get("contains"), list):
            codings = _capped(_contained(expansion["contains"], 0))
            total = expansion.get("total")
            return _cut(codings, whole=not (type(total) is int and total > len(codings)))
        compose = value_set.get("compose")
        includes = compose.get("include") if isinstance(compose, Mapping) else None
        if not isinstance(includes, list) or not isinstance(compose, Mapping) or compose.get("exclude"):
            return _UNLISTED
        return self._composed(includes, seen)

    def _composed(self, includes: list[Any], seen: tuple[str, ...]) -> Listed:
        codings: list[Mapping[str, Any]] = []
        for include in includes:
            listed = self._included(include, seen) if isinstance(include, Mapping) else None
            if listed is None or not listed.whole:
                return _UNLISTED
            codings.extend(listed.codings)
            if len(codings) > MAX_CODES:
                return _UNLISTED
        return Listed(tuple(codings), whole=True)

    def _included(self, include: Mapping[str, Any], seen: tuple[str, ...]) -> Listed | None:
        """One ``include``: its concepts, a whole code system that came along, or one other value set that is known."""
        concepts, others = include.get("concept"), include.get("valueSet")
        if isinstance(concepts, list) and not others and not include.get("filter"):
            system = include.get("system")
            return _cut(_capped(_coding(one, system) for one in concepts if isinstance(one, Mapping)), whole=True)
        if isinstance(others, list) and len(others) == 1 and not include.get("system") and len(seen) < MAX_NESTING:
            other = self._by_url.get(others[0]) if isinstance(others[0], str) and others[0] not in seen else None
            return None if other is None else self._list(other, (*seen, others[0]))
        if isinstance(include.get("system"), str) and not (concepts or others or include.get("filter")):
            system = self._systems.get(include["system"], {})
            if system.get("content") == "complete" and isinstance(system.get("concept"), list):
                return _cut(_capped(_concepts(system["concept"], include["system"], 0)), whole=True)
        return None


def _concepts(concepts: list[Any], system: str, depth: int) -> Iterator[Mapping[str, Any]]:
    """Every code of a code system but those that are no answers by themselves."""
    for one in concepts:
        if not isinstance(one, Mapping) or not isinstance(one.get("code"), str):
            continue
        if not any(_says_no(each) for each in one.get("property") or ()):
            yield _coding(one, system)
        if isinstance(one.get("concept"), list) and depth < MAX_NESTING:
            yield from _concepts(one["concept"], system, depth + 1)


def _says_no(property_: Any) -> bool:
    """``notSelectable`` or ``inactive`` is true, or the concept is retired."""
    if not isinstance(property_, Mapping):
        return False
    if property_.get("code") in {"notSelectable", "abstract", "inactive"}:
        return property_.get("valueBoolean") is True
    return property_.get("code") == "status" and property_.get("valueCode") == "retired"


def codings_of(expansion: Any) -> Iterator[Mapping[str, Any]]:
    """The codings of an expansion that can be chosen, of all levels."""
    contains = expansion.get("contains") if isinstance(expansion, Mapping) else None
    return _contained(contains, 0) if isinstance(contains, list) else iter(())


def _cut(codings: list[Mapping[str, Any]], *, whole: bool) -> Listed:
    return _UNLISTED if len(codings) > MAX_CODES else Listed(tuple(codings), whole=whole)


def _capped(codings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most one more than is read, so that too many can be told from just enough."""
    found: list[Mapping[str, Any]] = []
    for one in codings:
        found.append(one)
        if len(found) > MAX_CODES:
            break
    return found


def _contained(contains: list[Any], depth: int) -> Iterator[Mapping[str, Any]]:
    for one in contains:
        if not isinstance(one, Mapping):
            continue
        if isinstance(one.get("code"), str) and one.get("abstract") is not True and one.get("inactive") is not True:
            yield _coding(one, one.get("system"))
        if isinstance(one.get("contains"), list) and depth < MAX_NESTING:
            yield from _contained(one["contains"], depth + 1)


def _coding(one: Mapping[str, Any], system: Any) -> Mapping[str, Any]:
    """A Coding; extensions of the concept stay on it (ordinal values, rich text)."""
    kept = {member: one[member] for member in ("code", "display", "extension", "_display") if member in one}
    return {"system": system, **kept} if isinstance(system, str) else kept

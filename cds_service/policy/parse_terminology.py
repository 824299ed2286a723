"""From the terminology files to a Vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from cds_service.domain.record import Code
from cds_service.domain.vocabulary import (
    Ingredient,
    PresentedStrength,
    Product,
    RouteGroup,
    ValueSet,
    Vocabulary,
    canonical,
)
from cds_service.policy.source import Complaint, Word, plain, several


class _Terms:
    """Reads entries, complaining about names of systems, sources and ingredients that are not declared."""

    def __init__(self, sources: Mapping[str, Any], complaints: list[Complaint]) -> None:
        self.systems = {plain(name): [plain(uri) for uri in uris] for name, uris in sources["systems"].items()}
        self.sources = frozenset(plain(name) for name in sources["sources"])
        self.complaints = complaints

    def wrong(self, word: Word, allowed: str) -> None:
        self.complaints.append(Complaint(word.at.file, word.at.line, "", repr(plain(word)), allowed))

    def source(self, entry: Mapping[str, Any]) -> None:
        if plain(entry["source"]) not in self.sources:
            self.wrong(entry["source"], f"a source among {several(sorted(self.sources))}")

    def codes(self, entries: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Code, Mapping[str, Any], Word]]:
        """Each code under every URI of its system, with its entry and the word as it stands."""
        for entry in entries:
            self.source(entry)
            uris = self.systems.get(plain(entry["system"]))
            if uris is None:
                self.wrong(entry["system"], f"a system among {several(sorted(self.systems))}")
                continue
            for code in entry["codes"]:
                for uri in uris:
                    yield canonical(Code(uri, plain(code))), entry, code


def parse_vocabulary(
    files: Mapping[str, Mapping[str, Any]], value_sets: Iterable[Mapping[str, Any]], complaints: list[Complaint]
) -> Vocabulary:
    """All tables. ``files`` are keyed by name; a table with complaints is not to be used."""
    terms = _Terms(files["sources.yaml"], complaints)
    ingredients = _ingredients(files["ingredients.yaml"], terms)
    names = {each.name: each for each in ingredients.values()}
    return Vocabulary(
        routes=_routes(files["routes.yaml"], terms),
        route_words={
            " ".join(plain(word).lower().split()): RouteGroup(plain(group))
            for group, words in files["routes.yaml"]["words"].items()
            for word in words
        },
        ingredients=ingredients,
        products=_products(files["products.yaml"], names, terms),
        unit_aliases={
            plain(alias): plain(unit) for unit, words in files["units.yaml"]["aliases"].items() for alias in words
        },
        value_sets=_value_sets(value_sets, terms),
        timing_codes=_timing(files["units.yaml"], terms),
        systems={name: tuple(uris) for name, uris in terms.systems.items()},
        drug_words=_drug_words(files["ingredients.yaml"], terms),
    )


def _routes(entry: Mapping[str, Any], terms: _Terms) -> dict[Code, RouteGroup]:
    routes: dict[Code, RouteGroup] = {}
    for code, group, word in terms.codes(entry["codes"]):
        if code in routes:
            terms.wrong(word, "each route code once")
        routes[code] = RouteGroup(plain(group["group"]))
    return routes


def _timing(entry: Mapping[str, Any], terms: _Terms) -> dict[str, tuple[Fraction, Fraction]]:
    timing: dict[str, tuple[Fraction, Fraction]] = {}
    for each in entry["timing"]:
        terms.source(each)
        if each["days"] == 0:
            terms.wrong(each["codes"][0], "days above 0")
        for code in each["codes"]:
            timing[plain(code)] = (each["times"], each["days"])
    return timing


def _ingredients(entry: Mapping[str, Any], terms: _Terms) -> dict[Code, Ingredient]:
    found: dict[Code, Ingredient] = {}
    names: set[str] = set()
    for each in entry["ingredients"]:
        terms.source(each)
        if plain(each["name"]) in names:
            terms.wrong(each["name"], "each ingredient once")
        names.add(plain(each["name"]))
        for strength in each["strengths"]:
            terms.source(strength)
        ingredient = Ingredient(
            name=plain(each["name"]),
            rxcui=plain(each["rxcui"]),
            roles=tuple(plain(role) for role in each["roles"]),
            strengths=tuple(sorted({value for strength in each["strengths"] for value in strength["mg_per_ml"]})),
            neuraxial=each["neuraxial"],
        )
        for uri in terms.systems["rxnorm"]:
            found[Code(uri, ingredient.rxcui)] = ingredient
        for code, _, word in terms.codes(each["other_codes"]):
            if code in found:
                terms.wrong(word, "a code that no ingredient has yet")
            found[code] = ingredient
    return found


def _drug_words(entry: Mapping[str, Any], terms: _Terms) -> dict[str, str]:
    """Names of drugs as words of a text: of the ingredients, of their brands, and of what is none of them."""
    found = {plain(each["name"]): plain(each["name"]) for each in entry["ingredients"]}
    brands = [(word, plain(each["name"])) for each in entry["ingredients"] for word in each["brands"]]
    for word, name in (*brands, *((word, "") for word in entry["other_drugs"])):
        if not plain(word).isalpha() or not plain(word).islower() or plain(word) in found:
            terms.wrong(word, "one word in small letters, for one drug alone")
        found[plain(word)] = name
    return found


def _products(entry: Mapping[str, Any], names: Mapping[str, Ingredient], terms: _Terms) -> dict[Code, Product]:
    found: dict[Code, Product] = {}
    for each in entry["products"]:
        terms.source(each)
        for part in each["of"]:
            if plain(part["name"]) not in names:
                terms.wrong(part["name"], f"an ingredient among {several(sorted(names))}")
        product = Product(
            text=plain(each["text"]),
            ingredients=tuple(PresentedStrength(plain(part["name"]), part["mg_per_ml"]) for part in each["of"]),
            neuraxial=each["neuraxial"],
            volume_ml=each["volume_ml"],
        )
        for uri in terms.systems["rxnorm"]:
            code = Code(uri, plain(each["rxcui"]))
            if code in found:
                terms.wrong(each["rxcui"], "each product once")
            found[code] = product
    return found


def _value_sets(entries: Iterable[Mapping[str, Any]], terms: _Terms) -> dict[str, ValueSet]:
    found: dict[str, ValueSet] = {}
    for entry in entries:
        for each in entry["value_sets"]:
            name = plain(each["name"])
            if name in found:
                terms.wrong(each["name"], "each value set once")
            found[name] = ValueSet(
                name,
                plain(each["title"]),
                frozenset(code for code, _, _ in terms.codes(each["codes"])),
                tuple(code for code, _, _ in terms.codes(each["families"])),
            )
    return found

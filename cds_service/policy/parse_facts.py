"""From ``facts.yaml`` to facts: as questionnaire items, and as plans that look into a chart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cds_service.domain.vocabulary import Vocabulary
from cds_service.policy.chart_sources import KINDS_OF_SOURCE, Around, course_rule
from cds_service.policy.facts import FactPlan, Source
from cds_service.policy.model import Detail, Fact, Option, Population, Shown
from cds_service.policy.source import At, Complaint, plain, several
from cds_service.policy.therapy import CourseRule

VALUE_SET_MARK = re.compile(r"\[\[(\w+)\]\]")


class FactReader:
    """Reads the facts of one guideline."""

    def __init__(self, entry: Mapping[str, Any], vocabulary: Vocabulary, complaints: list[Complaint]) -> None:
        """``entry`` has the shape FACTS_FILE."""
        self.entry = entry
        self.vocabulary = vocabulary
        self.complaints = complaints
        self.option_sets = {plain(name): options for name, options in entry["option_sets"].items()}
        self.unsettled = frozenset(plain(word) for word in entry["leaves_unknown"])
        self.courses: dict[str, CourseRule] = {}
        self.names = {plain(each["name"]) for each in entry["facts"]}

    def wrong(self, at: At, found: str, allowed: str, where: str = "facts") -> None:
        """Complain at a position."""
        self.complaints.append(Complaint(at.file, at.line, where, found, allowed))

    def read(self) -> tuple[dict[str, Fact], dict[str, FactPlan]]:
        """Facts and plans by name, in questionnaire order."""
        for name, each in self.entry["courses"].items():
            self.courses[plain(name)] = course_rule(each)
            self._known_set(each["value_set"])
            if each["routeless"]:
                self._known_set(each["routeless"])
        facts: dict[str, Fact] = {}
        plans: dict[str, FactPlan] = {}
        taken: set[str] = set()
        for each in self.entry["facts"]:
            name = plain(each["name"])
            for word in (each["name"], *(item["name"] for item in each["items"])):
                if plain(word) in taken:
                    self.wrong(word.at, f"the fact {plain(word)} a second time", "each fact once")
                taken.add(plain(word))
            sources = tuple(self._source(tagged, each) for tagged in each["chart"])
            kept = tuple(source for source in sources if source is not None)
            facts[name] = self._fact(each, kept)
            plans[name] = self._plan(facts[name], kept)
        self._check_shown(facts)
        return facts, plans

    def _known_set(self, word: Any) -> None:
        if plain(word) not in self.vocabulary.value_sets:
            self.wrong(word.at, f"the value set {plain(word)!r}", several(sorted(self.vocabulary.value_sets)))

    def _source(self, tagged: Any, fact: Mapping[str, Any]) -> Source | None:
        kind, entry, _ = tagged
        spec = KINDS_OF_SOURCE[kind]
        for word in spec.value_sets(entry):
            self._known_set(word)
        for word in spec.facts(entry):
            if plain(word) not in self.names:
                self.wrong(word.at, f"the fact {plain(word)!r}", several(sorted(self.names)))
        codes = {option.code for option in self._options(fact)}
        answers = [word for word in (entry.get("gives"), *entry.get("contradicts", ())) if word]
        for word in answers:
            if plain(word) not in codes:
                self.wrong(word.at, f"the answer {plain(word)!r}", several(sorted(codes)))
        course = entry.get("course")
        if course is not None and plain(course) not in self.courses:
            self.wrong(course.at, f"the course {plain(course)!r}", several(sorted(self.courses)))
            return None
        return spec.build(entry, Around(plain(fact["name"]), self.courses))

    def _options(self, fact: Mapping[str, Any]) -> tuple[Option, ...]:
        options = fact["options"]
        if isinstance(options, str):
            listed = self.option_sets.get(plain(options))
            if listed is None:
                self.wrong(options.at, f"the option set {plain(options)!r}", several(sorted(self.option_sets)))  # type: ignore[attr-defined]
            options = listed or ()
        return tuple(Option(plain(each["code"]), plain(each["text"])) for each in options)

    def _fact(self, each: Mapping[str, Any], sources: tuple[Source, ...]) -> Fact:
        kind = plain(each["type"])
        options = self._options(each)
        if (kind in {"choice", "open_choice"}) is not bool(options):
            self.wrong(
                each["name"].at,
                f"{len(options)} options of a {kind} fact",
                "options for choice and open_choice, and only there",
            )
        if (kind == "group") is not bool(each.get("items")):
            self.wrong(each["name"].at, f"items of a {kind} fact", "items for a group, and only there")
        types = dict.fromkeys(name for source in sources for name in source.types)
        also = dict.fromkeys(name for source in sources for name in source.also)
        return Fact(
            name=plain(each["name"]),
            kind=kind,
            label=plain(each["label"]),
            text=plain(each["text"]),
            help=plain(each["help"]),
            who=plain(each["who"]),
            feeds=tuple(plain(word) for word in each["feeds"]),
            options=options,
            unit=plain(each["unit"]),
            minimum=each["minimum"],
            maximum=each["maximum"],
            max_age_days=None if each["max_age_days"] is None else int(each["max_age_days"]),
            asked_once=each["asked_once"],
            advisory=each["advisory"],
            shown=plain(each["shown"]),
            shown_when=tuple(
                Shown(plain(one["fact"]), tuple(plain(answer) for answer in one["answers"]))
                for one in each["shown_when"]
            ),
            repeats=each["repeats"],
            items=tuple(self._item(item, each) for item in each["items"]),
            types=tuple(types),
            types_if_served=tuple(also),
            prepopulated_from=tuple(plain(word) for word in each["prepopulated_from"]),
            detail=_detail(each),
            sensitive=each["sensitive"],
            population=self._population(each),
            cite=plain(each["cite"]),
            since=each["since"],
        )

    def _population(self, each: Mapping[str, Any]) -> Population | None:
        stated = each["population"]
        if stated is None:
            return None
        self._check_search(stated["context"], each["name"].at)
        return Population(plain(stated["initial"]), plain(stated["context"]))

    def searches(self) -> dict[str, str]:
        """The searches that expressions of the form may use, by variable."""
        for name, text in self.entry["searches"].items():
            self._check_search(text, name.at)
        return {plain(name): plain(text) for name, text in self.entry["searches"].items()}

    def _check_search(self, text: Any, at: At) -> None:
        for name in VALUE_SET_MARK.findall(plain(text)):
            if name not in self.vocabulary.value_sets:
                self.wrong(at, f"the value set {name!r}", several(sorted(self.vocabulary.value_sets)))

    def _item(self, item: Mapping[str, Any], group: Mapping[str, Any]) -> Fact:
        return Fact(
            name=plain(item["name"]),
            kind=plain(item["type"]),
            label=plain(item["label"]),
            text=plain(item["text"]),
            help="",
            who=plain(group["who"]),
            feeds=tuple(plain(word) for word in group["feeds"]),
            options=self._options(item),
            minimum=item["minimum"],
            maximum=item["maximum"],
            advisory=group["advisory"],
            cite=plain(group["cite"]),
            since=group["since"],
        )

    def _plan(self, fact: Fact, sources: tuple[Source, ...]) -> FactPlan:
        return FactPlan(
            name=fact.name,
            kind=fact.kind,
            label=fact.label,
            unit=fact.unit,
            shows={option.code: f"{fact.label}: {option.text}" for option in fact.options},
            unsettled=self.unsettled,
            minimum=fact.minimum,
            maximum=fact.maximum,
            max_age_days=fact.max_age_days,
            sources=sources,
        )

    def _check_shown(self, facts: Mapping[str, Fact]) -> None:
        for each in self.entry["facts"]:
            for one in each["shown_when"]:
                other = facts.get(plain(one["fact"]))
                codes = {option.code for option in other.options} if other else set()
                for word in (one["fact"], *one["answers"]) if other is None else one["answers"]:
                    if other is None or plain(word) not in codes:
                        allowed = several(sorted(codes)) if other else "a fact of this guideline"
                        self.wrong(word.at, f"{plain(word)!r}", allowed)


def _detail(each: Mapping[str, Any]) -> Detail | None:
    """A question that is asked only where an order leaves something open has a code there, by default its own name."""
    stated = each["detail"]
    if stated is None:
        return Detail(plain(each["name"])) if plain(each["shown"]) == "undetermined" else None
    return Detail(
        plain(stated["code"]),
        frozenset(plain(word) for word in stated["drugs"]),
        frozenset(plain(word) for word in stated["tiers"]),
    )

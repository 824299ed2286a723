"""From criteria and sections in data to tests that run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cds_service.domain.vocabulary import Vocabulary
from cds_service.policy.model import Criterion, Fact, Section
from cds_service.policy.plan import CriterionStep
from cds_service.policy.predicates import Surroundings, Test, build_test
from cds_service.policy.source import At, Complaint, plain, several
from cds_service.policy.therapy import CourseRule


class CriteriaReader:
    """Reads criteria in the guideline's order, and the sections that they make."""

    def __init__(
        self,
        policy: Mapping[str, Any],
        facts: Mapping[str, Fact],
        courses: Mapping[str, CourseRule],
        vocabulary: Vocabulary,
        drugs: frozenset[str],
        purposes: Mapping[str, str],
        complaints: list[Complaint],
    ) -> None:
        """``policy`` has the shape POLICY_FILE."""
        self.policy = policy
        self.facts = facts
        self.courses = courses
        self.vocabulary = vocabulary
        self.drugs = drugs
        self.purposes = purposes
        self.complaints = complaints
        self.criteria: dict[str, Criterion] = {}
        self.sections: dict[str, Section] = {}
        self.tests: dict[str, Test] = {}
        self.needs: dict[str, tuple[str, ...]] = {}  # criterion -> sections that it refers to

    def wrong(self, at: At, where: str, found: str, allowed: str) -> None:
        """Complain at a position."""
        self.complaints.append(Complaint(at.file, at.line, where, found, allowed))

    def read(self) -> None:
        """Fill criteria, sections and tests."""
        members = {
            plain(each["id"]): tuple(plain(word) for word in each["criteria"]) for each in self.policy["sections"]
        }
        for each in self.policy["criteria"]:
            self._criterion(each, members)
        for each in self.policy["sections"]:
            self._section(each)
        self._check_homes()

    def _criterion(self, each: Mapping[str, Any], members: Mapping[str, tuple[str, ...]]) -> None:
        ident = plain(each["id"])
        if ident in self.criteria:
            self.wrong(each["id"].at, "criteria", f"the criterion {ident} a second time", "each criterion once")
        complete = {name: ids for name, ids in members.items() if all(one in self.criteria for one in ids)}
        around = self._surroundings(each, complete)
        test, explain = build_test(each["test"], around)
        order = list(self.facts)
        named = tuple(sorted({name for name in around.named if name in self.facts}, key=order.index))
        self.tests[ident] = test
        self.needs[ident] = tuple(around.named_sections)
        self.criteria[ident] = Criterion(
            id=ident,
            text=plain(each["text"]),
            facts=named,
            explain=explain,
            types=tuple(dict.fromkeys(around.types)),
            bounds=tuple(around.bounds),
            cite=plain(each["cite"]),
            since=each["since"],
        )

    def _surroundings(self, each: Mapping[str, Any], complete: Mapping[str, tuple[str, ...]]) -> Surroundings:
        """What the tests of one criterion may refer to; ``complete`` are the sections stated before it."""
        ident = plain(each["id"])
        return Surroundings(
            criterion=ident,
            at=each["id"].at,
            options={
                name: tuple(option.code for option in fact.options) for name, fact in self.facts.items() if fact.options
            },
            kinds={name: fact.kind for name, fact in self.facts.items()},
            labels={name: fact.label for name, fact in self.facts.items()},
            words={
                name: {option.code: option.text for option in fact.options}
                for name, fact in self.facts.items()
                if fact.options
            },
            units={name: fact.unit for name, fact in self.facts.items()},
            titles={name: each.title for name, each in self.vocabulary.value_sets.items()},
            value_sets=frozenset(self.vocabulary.value_sets),
            courses=self.courses,
            drugs=self.drugs,
            sections=complete,
            dose_fact=self.purposes["daily_dose"],
            concentration_fact=self.purposes["concentration"],
            wrong=lambda at, found, allowed: self.wrong(at, f"criterion {ident}", found, allowed),
            named=[],
            named_sections=[],
            types=[],
        )

    def _section(self, each: Mapping[str, Any]) -> None:
        ident = plain(each["id"])
        if ident in self.sections:
            self.wrong(each["id"].at, "sections", f"the section {ident} a second time", "each section once")
        for word in each["criteria"]:
            if plain(word) not in self.criteria:
                self.wrong(word.at, "sections", f"the criterion {plain(word)!r}", several(self.criteria))
        duration = each["approval_duration"]
        self.sections[ident] = Section(
            id=ident,
            title=plain(each["title"]),
            criteria=tuple(plain(word) for word in each["criteria"]),
            approval_duration=plain(duration["value"]) if duration else None,
            duration_cite=plain(duration["cite"]) if duration else "",
            duration_since=duration["since"] if duration else each["since"],
            cite=plain(each["cite"]),
            since=each["since"],
        )

    def _check_homes(self) -> None:
        """Every criterion is in exactly one section, or is the stem."""
        homes = [ident for section in self.sections.values() for ident in section.criteria]
        stem = plain(self.policy["stem"])
        for each in self.policy["criteria"]:
            ident = plain(each["id"])
            count = homes.count(ident) + (ident == stem)
            if count != 1:
                self.wrong(
                    each["id"].at, "criteria", f"the criterion {ident} in {count} places", "one section, or the stem"
                )
        for each in self.policy["request"]["types"]:
            reported = {plain(word) for word in each["reports"]}
            for section in reported & set(self.sections):
                for ident in self.sections[section].criteria:
                    for needed in self.needs.get(ident, ()):
                        if needed not in reported:
                            self.wrong(
                                each["code"].at,
                                "request.types",
                                f"{section} without {needed}",
                                f"reports with {needed}",
                            )

    def steps(self, stem: str, reported: tuple[str, ...]) -> tuple[CriterionStep, ...]:
        """Criteria to test, in order, when these sections are reported."""
        members = {name: self.sections[name].criteria for name in reported if name in self.sections}
        wanted = {stem, *(ident for ids in members.values() for ident in ids)}
        done: set[str] = set()
        open_sections = dict(members)
        found = []
        for ident, criterion in self.criteria.items():
            if ident not in wanted:
                continue
            done.add(ident)
            closes = tuple((name, ids) for name, ids in open_sections.items() if done.issuperset(ids))
            for name, _ in closes:
                del open_sections[name]
            found.append(CriterionStep(ident, self.tests[ident], criterion.facts, criterion.types, closes))
        return tuple(found)

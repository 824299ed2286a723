"""Everything that the tests of one determination look at, read once and kept for that determination alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from typing import Protocol

import msgspec

from cds_service.domain.determination import CriterionResult
from cds_service.domain.order import Part
from cds_service.domain.record import Answer, Code, Evidence, Therapy
from cds_service.domain.truth import Truth
from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.policy.case import Case
from cds_service.policy.codes import CodeIndex
from cds_service.policy.therapy import Course, CourseRule, is_running, join

ORDERS = "orders"
KINDS = ("conditions", "procedures", "devices", "medications", "encounters", "service_orders", ORDERS)
_STANDING = {
    "conditions": ", active and confirmed",
    "procedures": ", done",
    "devices": ", in place",
    "medications": ", running",
    "encounters": "",
    "service_orders": ", ordered",
    ORDERS: ", being ordered now",
}


class Hit(msgspec.Struct, frozen=True):
    """One chart entry whose code is in a value set; ``kind`` is the part of the record it came from."""

    kind: str
    source: str
    when: date | None
    text: str

    def evidence(self) -> Evidence:
        """As evidence."""
        return Evidence(self.source, self.when.isoformat() if self.when else None, f"{self.text}{_STANDING[self.kind]}")


class Medicine(msgspec.Struct, frozen=True):
    """A medication of the chart with the value sets that hold it and the groups of its stated routes."""

    therapy: Therapy
    sets: tuple[str, ...]
    routes: tuple[RouteGroup, ...]


def _in_course(medicine: Medicine, rule: CourseRule) -> bool:
    therapy = medicine.therapy
    if therapy.proposal or therapy.status in rule.not_statuses:
        return False
    if not therapy.routes:
        return rule.routeless in medicine.sets
    return bool(medicine.routes) and rule.routes.issuperset(medicine.routes)


class FactState(msgspec.Struct, frozen=True):
    """What is known of one fact. ``proven``: the chart proves at least this much, whatever was answered.

    ``given`` and ``contradicted`` are the chart's part alone: its answer, and the answers that cannot stand beside it.
    """

    value: str | Fraction | date | None
    proven: Fraction | None = None
    conflict: bool = False
    evidence: tuple[Evidence, ...] = ()
    given: str | None = None
    contradicted: tuple[str, ...] = ()


class Fact(Protocol):
    """A fact prepared at load (``policy.facts``)."""

    def state(self, view: View) -> FactState:
        """What is known of it in one case."""
        ...


class View:
    """The case as the tests see it. Not shared between determinations."""

    __slots__ = (
        "_courses", "_drugs", "_hits", "_lines", "_medicines", "answers", "as_of", "case", "codes", "evidence", "facts",
        "flags", "record", "results", "sections", "states", "vocabulary",
    )  # fmt: skip

    def __init__(
        self, case: Case, as_of: date, vocabulary: Vocabulary, codes: CodeIndex, facts: Mapping[str, Fact]
    ) -> None:
        """``facts`` and ``codes`` were prepared at load."""
        self.case = case
        self.record = case.record
        self.as_of = as_of
        self.vocabulary = vocabulary
        self.codes = codes
        self.facts = facts
        self.states: dict[str, FactState] = {}
        self.flags: dict[tuple[str, str], None] = {}  # in order, each once
        self.results: dict[str, CriterionResult] = {}
        self.sections: dict[str, Truth] = {}
        self.evidence: list[Evidence] = []  # of the criterion under test, beside that of its facts
        self._hits: dict[str, list[Hit]] | None = None
        self._drugs: tuple[Part, ...] | None = None
        self._medicines: list[Medicine] | None = None
        self._lines: dict[int, tuple[Evidence, ...]] = {}
        self._courses: dict[tuple[CourseRule, bool], tuple[Course, ...]] = {}
        answers: dict[str, list[Answer]] = {}
        for answer in case.record.answers:
            answers.setdefault(answer.fact, []).append(answer)
        self.answers = answers

    def flag(self, code: str, subject: str) -> None:
        """Note something that a person should see."""
        self.flags[code, subject] = None

    def drugs(self) -> tuple[Part, ...]:
        """Active parts of the order's own solution, one of each drug."""
        if self._drugs is None:
            solution = self.case.order.solution
            parts = solution.drugs() if solution is not None else ()
            if len(parts) > 1:
                parts = tuple({part.name or part.rxcui or part.text: part for part in parts}.values())
            self._drugs = parts
        return self._drugs

    def state(self, name: str) -> FactState:
        """What is known of a fact; looked up once."""
        known = self.states.get(name)
        if known is None:
            known = self.states[name] = self.facts[name].state(self)
        return known

    def hits(self, value_set: str) -> list[Hit]:
        """Chart entries whose codes the value set holds; only what can count: active, confirmed, done, running."""
        if self._hits is None:
            self._hits = self._read_chart()
        return self._hits.get(value_set, [])

    def medicines(self) -> list[Medicine]:
        """The medications of the chart with the value sets and route groups that they belong to."""
        if self._medicines is None:
            sets_of = self.codes.sets_of
            self._medicines = [
                Medicine(each, sets_of(each.codes), self.route_groups(each.routes)) for each in self.record.therapies
            ]
        return self._medicines

    def course_evidence(self, course: Course) -> tuple[Evidence, ...]:
        """Evidence of a course, written once."""
        lines = self._lines.get(id(course))
        if lines is None:
            lines = self._lines[id(course)] = course.evidence()
        return lines

    def courses(self, rule: CourseRule, *, scheduled: bool) -> tuple[Course, ...]:
        """Medication courses under a rule; ``scheduled`` leaves out what was taken as needed."""
        found = self._courses.get((rule, scheduled))
        if found is None:
            chosen = [
                each.therapy
                for each in self.medicines()
                if rule.value_set in each.sets
                and not (scheduled and (each.therapy.as_needed or not each.therapy.scheduled))
                and _in_course(each, rule)
            ]
            found = self._courses[rule, scheduled] = join(chosen, self.as_of, rule.gap_days) if chosen else ()
        return found

    def route_groups(self, routes: tuple[Code, ...]) -> tuple[RouteGroup, ...]:
        """The groups of stated routes; those that nobody knows are left out."""
        known = self.vocabulary.routes
        words = self.vocabulary.route_words
        groups = [known.get(route) or words.get(route.code.lower()) for route in routes]
        return tuple([group for group in groups if group is not None])

    def _read_chart(self) -> dict[str, list[Hit]]:
        found: dict[str, list[Hit]] = {}
        sets_of = self.codes.sets_of
        for kind, source, codes, when, text in self._counting_entries():
            names = sets_of(codes)
            if names:
                hit = Hit(kind, source, when, text)
                for name in names:
                    found.setdefault(name, []).append(hit)
        for medicine in self.medicines():
            therapy = medicine.therapy
            if medicine.sets and is_running(therapy, self.as_of):
                hit = Hit("medications", therapy.source, therapy.start, therapy.text)
                for name in medicine.sets:
                    found.setdefault(name, []).append(hit)
        return found

    def _counting_entries(self) -> Iterator[tuple[str, str, tuple[Code, ...], date | None, str]]:
        record = self.record
        for condition in record.conditions:
            if condition.active and condition.confirmed:
                yield "conditions", condition.source, condition.codes, condition.recorded, condition.text
        for procedure in record.procedures:
            if procedure.done:
                yield "procedures", procedure.source, procedure.codes, procedure.when, procedure.text
        for device in record.devices:
            if device.active:
                yield "devices", device.source, device.codes, device.when, device.text
        for encounter in record.encounters:
            yield "encounters", encounter.source, encounter.codes, encounter.when, "encounter"
        yield from self._orders()

    def _orders(self) -> Iterator[tuple[str, str, tuple[Code, ...], date | None, str]]:
        """Orders of the request being signed, each once, and earlier ones of the chart."""
        drafts = (self.case.order, *self.case.companions)
        for draft in drafts:
            yield ORDERS, draft.source, draft.codes, draft.authored, draft.text
        if self.record.service_orders:
            known = {draft.source for draft in drafts}
            for order in self.record.service_orders:
                if (order.active or order.draft) and order.source not in known:
                    kind = ORDERS if order.draft else "service_orders"
                    yield kind, order.source, order.codes, order.when, order.text

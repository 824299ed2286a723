"""Kinds of places in a chart where a fact may show. A guideline's data names kind and parameters.

Each kind is registered once: its parameters (a shape), what a builder makes of them, and the resource types it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, Final

import msgspec

from cds_service.domain.record import Evidence, Score
from cds_service.domain.vocabulary import RouteGroup
from cds_service.policy.facts import Proof, Source, number
from cds_service.policy.shapes import Choice, Many, Number, Record, Shape, Text
from cds_service.policy.source import plain
from cds_service.policy.therapy import CourseRule, longest, shows
from cds_service.policy.view import KINDS, View

_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "conditions": ("Condition",),
    "procedures": ("Procedure",),
    "devices": ("Device",),
    "medications": ("MedicationRequest",),
    "encounters": (),
    "service_orders": (),
    "orders": (),
}
_ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "devices": ("DeviceUseStatement",),
    "medications": ("MedicationStatement", "MedicationDispense", "MedicationAdministration"),
    "encounters": ("Encounter",),
    "service_orders": ("ServiceRequest", "DeviceRequest"),
}
_ROUTES: Final = tuple(group.value for group in RouteGroup)
_WORD: Final = Text(r"[a-zA-Z0-9_.-]+", "a name of letters, digits, _ . -")
COURSE: Final = Record(
    {
        "value_set": _WORD,
        "routes": Many(Choice(_ROUTES), 1),
        "gap_days": Number(Fraction(0), whole=True, allowed="a whole number of days"),
        "not_statuses": Many(_WORD),
    },
    {"routeless": (_WORD, "")},
)


class Around(msgspec.Struct, frozen=True):
    """What a source is built for: the fact, and the courses that the guideline declares."""

    fact: str
    courses: Mapping[str, CourseRule]


class SourceKind(msgspec.Struct, frozen=True):
    """A kind of chart source. ``words`` picks the answers it names, so that they can be checked."""

    shape: Shape
    build: Callable[[Any, Around], Source]
    value_sets: Callable[[Any], tuple[Any, ...]] = lambda _: ()
    facts: Callable[[Any], tuple[Any, ...]] = lambda _: ()


def course_rule(entry: Mapping[str, Any]) -> CourseRule:
    """A CourseRule from data of the shape COURSE."""
    return CourseRule(
        value_set=plain(entry["value_set"]),
        routes=frozenset(RouteGroup(plain(route)) for route in entry["routes"]),
        gap_days=int(entry["gap_days"]),
        not_statuses=frozenset(plain(status) for status in entry["not_statuses"]),
        routeless=plain(entry["routeless"]),
    )


def _recorded(entry: Any) -> Source:
    """Something coded in the chart gives an answer, contradicts one, or is worth a flag."""
    places = tuple(plain(place) for place in entry["in"])
    wanted = frozenset(places)
    names = tuple(plain(name) for name in entry["value_sets"])
    gives = plain(entry["gives"]) or None
    contradicts = tuple(plain(word) for word in entry["contradicts"])
    flag = plain(entry["flag"])

    def look(view: View) -> Proof | None:
        found = [hit for name in names for hit in view.hits(name) if hit.kind in wanted]
        if not found:
            return None
        if flag:
            for hit in found:
                view.flag(flag, hit.source)
        evidence = tuple(dict.fromkeys(hit.evidence() for hit in found))
        return Proof(gives=gives, contradicts=contradicts, evidence=evidence)

    return Source(
        look,
        tuple(name for place in places for name in _TYPES[place]),
        tuple(name for place in places for name in _ALSO.get(place, ())),
    )


_MEDICATIONS: Final = (_TYPES["medications"], _ALSO["medications"])


def _course_taken(entry: Any, around: Around) -> Source:
    """Such a medication was taken, as needed or not."""
    rule = around.courses[plain(entry["course"])]
    gives, contradicts = plain(entry["gives"]), tuple(plain(word) for word in entry["contradicts"])

    def look(view: View) -> Proof | None:
        courses = view.courses(rule, scheduled=False)
        if not courses:
            return None
        newest = courses[-1].therapies[-1]
        told = longest(view.courses(rule, scheduled=True))  # whose evidence tells this medication already
        lines = () if told and newest in told.therapies else (_line(newest.source, newest.start, shows(newest)),)
        return Proof(gives=gives, contradicts=contradicts, evidence=lines)

    return Source(look, *_MEDICATIONS)


def _course_on_schedule(entry: Any, around: Around) -> Source:
    """Taken on a fixed schedule: for ``enough_days``, or for longer than anything that was taken as needed."""
    rule = around.courses[plain(entry["course"])]
    gives, contradicts = plain(entry["gives"]), tuple(plain(word) for word in entry["contradicts"])
    enough = int(entry["enough_days"])

    def look(view: View) -> Proof | None:
        best = longest(view.courses(rule, scheduled=True))
        if best is None:
            return None
        if best.days >= enough:
            return Proof(gives=gives, contradicts=contradicts, evidence=view.course_evidence(best))
        any_way = longest(view.courses(rule, scheduled=False))
        settled = any_way is None or any_way.days <= best.days
        return Proof(gives=gives if settled else None, evidence=view.course_evidence(best))

    return Source(look, *_MEDICATIONS)


def _course_length(entry: Any, around: Around) -> Source:
    """The longest joined course on a fixed schedule proves at least its length, in weeks."""
    rule = around.courses[plain(entry["course"])]

    def look(view: View) -> Proof | None:
        best = longest(view.courses(rule, scheduled=True))
        if best is None:
            return None
        return Proof(at_least=Fraction(best.days, 7), evidence=view.course_evidence(best))

    return Source(look, *_MEDICATIONS)


class _Window(msgspec.Struct, frozen=True):
    value_set: str
    date_fact: str
    dated_by: str
    before_days: int
    after_days: int

    def pairs(self, view: View) -> Iterable[tuple[Score, Score]]:
        """For each scale, its last score before the event and its last one from the event on."""
        start = self._event(view)
        if start is None:
            return
        earliest, latest = start - timedelta(days=self.before_days), start + timedelta(days=self.after_days)
        scales: dict[tuple[str, str, str], list[Score]] = {}
        for score in view.record.scores:
            if self.value_set in view.codes.sets_of(score.codes):
                code = score.codes[0]
                scales.setdefault((code.system, code.code, score.unit), []).append(score)
        for scores in scales.values():
            before = [each for each in scores if earliest <= each.when < start]
            after = [each for each in scores if start <= each.when <= min(latest, view.as_of)]
            if before and after:
                yield max(before, key=lambda each: each.when), max(after, key=lambda each: each.when)

    def _event(self, view: View) -> date | None:
        answered = view.state(self.date_fact).value if self.date_fact else None
        if isinstance(answered, date):
            return answered
        done = (
            [hit.when for hit in view.hits(self.dated_by) if hit.when and hit.kind == "procedures"]
            if self.dated_by
            else []
        )
        return max(done) if done else None


def _window(entry: Any) -> _Window:
    return _Window(
        plain(entry["value_set"]),
        plain(entry["date_fact"]),
        plain(entry["dated_by"]),
        int(entry["before_days"]),
        int(entry["after_days"]),
    )


def _relative_reduction(entry: Any, around: Around) -> Source:
    """A score that fell by at least a share of its baseline, from two answers or from observations on one scale."""
    window = _window(entry)
    before_fact, after_fact = plain(entry["before_fact"]), plain(entry["after_fact"])
    least: Fraction = entry["at_least_percent"]
    gives, flag, fact = plain(entry["gives"]), plain(entry["flag_below"]), around.fact

    def look(view: View) -> Proof | None:
        shares: list[Fraction] = []
        evidence: list[Evidence] = []
        before, after = view.state(before_fact), view.state(after_fact)
        if isinstance(before.value, Fraction) and isinstance(after.value, Fraction):
            if before.value > 0:
                shares.append((before.value - after.value) / before.value * 100)
                evidence += [*before.evidence[:1], *after.evidence[:1]]
        else:
            for first, last in window.pairs(view):
                if first.value > 0:
                    share = (first.value - last.value) / first.value * 100
                    shares.append(share)
                    evidence.append(_line(first.source, first.when, f"{first.text} {number(first.value)} before"))
                    evidence.append(
                        _line(
                            last.source, last.when, f"{last.text} {number(last.value)} after: {number(share)} % lower"
                        )
                    )
        if not shares:
            return None
        if min(shares) < least:
            view.flag(flag, fact)
            return Proof(evidence=tuple(evidence))
        return Proof(gives=gives, evidence=tuple(evidence))

    return Source(look, ("Observation",))


def _score_improved(entry: Any) -> Source:
    """An agreed score that moved in its better direction; a worse one disproves nothing."""
    window = _window(entry)
    lower_is_better = plain(entry["better"]) == "lower"
    gives = plain(entry["gives"])

    def look(view: View) -> Proof | None:
        evidence: list[Evidence] = []
        improved = False
        for first, last in window.pairs(view):
            better = last.value < first.value if lower_is_better else last.value > first.value
            improved = improved or better
            evidence.append(
                _line(last.source, last.when, f"{last.text} {number(first.value)} before, {number(last.value)} after")
            )
        return Proof(gives=gives if improved else None, evidence=tuple(evidence)) if evidence else None

    return Source(look, ("Observation",))


def _line(source: str, when: date | None, text: str) -> Evidence:
    return Evidence(source, when.isoformat() if when else None, text)


_DAYS = Number(Fraction(0), whole=True, allowed="a whole number of days")
_GIVES = {"gives": _WORD}
_CONTRADICTS = {"contradicts": (Many(_WORD), ())}
_WINDOW = {"value_set": _WORD, "before_days": _DAYS, "after_days": _DAYS}
_DATED = {"date_fact": (_WORD, ""), "dated_by": (_WORD, "")}


def _window_sets(entry: Any) -> tuple[str, ...]:
    return tuple(name for name in (entry["value_set"], entry["dated_by"]) if name)


KINDS_OF_SOURCE: Final[Mapping[str, SourceKind]] = {
    "recorded": SourceKind(
        Record(
            {"in": Many(Choice(KINDS), 1), "value_sets": Many(_WORD, 1)},
            {"gives": (_WORD, ""), "flag": (_WORD, ""), **_CONTRADICTS},
        ),
        lambda entry, _: _recorded(entry),
        lambda entry: tuple(entry["value_sets"]),
    ),
    "course_taken": SourceKind(Record({"course": _WORD, **_GIVES}, _CONTRADICTS), _course_taken),
    "course_on_schedule": SourceKind(
        Record({"course": _WORD, "enough_days": _DAYS, **_GIVES}, _CONTRADICTS), _course_on_schedule
    ),
    "course_length_in_weeks": SourceKind(Record({"course": _WORD}), _course_length),
    "relative_reduction": SourceKind(
        Record(
            {
                **_WINDOW,
                **_GIVES,
                "before_fact": _WORD,
                "after_fact": _WORD,
                "at_least_percent": Number(Fraction(0), allowed="a percentage"),
                "flag_below": _WORD,
            },
            _DATED,
        ),
        _relative_reduction,
        _window_sets,
        lambda entry: tuple(name for name in (entry["before_fact"], entry["after_fact"], entry["date_fact"]) if name),
    ),
    "score_improved": SourceKind(
        Record({**_WINDOW, **_GIVES, "better": Choice(("lower", "higher"))}, _DATED),
        lambda entry, _: _score_improved(entry),
        _window_sets,
        lambda entry: tuple(name for name in (entry["date_fact"],) if name),
    ),
}

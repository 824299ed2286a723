"""Kinds of tests that criteria use; the guideline's data gives them their numbers and names.

Each kind is registered once: the shape of its parameters and a builder that makes a test of them. A test gives a
Truth and, while that is unknown, the facts that would settle it. It never raises for what a chart holds or lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

import msgspec

from cds_service.domain.determination import Verdict
from cds_service.domain.record import Evidence
from cds_service.domain.truth import Truth, negate
from cds_service.policy.facts import number
from cds_service.policy.model import Bound, Sentence
from cds_service.policy.shapes import Choice, Keyed, Many, Number, Record, Shape, Tagged, Text
from cds_service.policy.source import At, Word, plain, several
from cds_service.policy.therapy import CourseRule, longest
from cds_service.policy.view import View

Result = tuple[Truth, tuple[str, ...]]
Test = Callable[[View], Result]
_MET: Final[Result] = (Truth.MET, ())
_NOT_MET: Final[Result] = (Truth.NOT_MET, ())
_UNKNOWN: Final[Result] = (Truth.UNKNOWN, ())
_WORD: Final = Text(r"[a-zA-Z0-9_.-]+", "a name of letters, digits, _ . -")
_AMOUNT: Final = Number(Fraction(0), allowed="a decimal number that is not negative")


class Surroundings(msgspec.Struct):
    """What a builder may check its parameters against. ``wrong`` takes position, found, allowed."""

    criterion: str
    at: At  # of the test being built
    options: Mapping[str, tuple[str, ...]]  # choice facts -> their options
    kinds: Mapping[str, str]  # fact -> kind
    labels: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]]  # choice facts -> option -> what a person reads
    titles: Mapping[str, str]  # of value sets
    units: Mapping[str, str]  # of decimal facts, with a leading space
    value_sets: frozenset[str]
    courses: Mapping[str, CourseRule]
    drugs: frozenset[str]
    sections: Mapping[str, tuple[str, ...]]  # sections whose criteria all stand before this one
    dose_fact: str
    concentration_fact: str
    wrong: Callable[[At, str, str], None]
    named: list[str]  # facts that the tests name
    named_sections: list[str]  # sections that the tests refer to
    types: list[str]  # resource types that the tests read themselves
    bounds: list[Bound] = msgspec.field(default_factory=list)  # where tests of numbers turn


class PredicateKind(msgspec.Struct, frozen=True):
    """A kind of test."""

    shape: Shape
    build: Callable[[Any, Surroundings], tuple[Test, Sentence]]  # the test, and itself as a sentence


def build_test(tagged: tuple[str, Any, At], around: Surroundings) -> tuple[Test, Sentence]:
    """The test that data of the shape TEST describes."""
    kind, entry, around.at = tagged
    return PREDICATES[kind].build(entry, around)


def _fact(name: Any, kind: str, around: Surroundings) -> str:
    fact = plain(name)
    around.named.append(fact)
    if around.kinds.get(fact) != kind:
        allowed = [each for each, of in around.kinds.items() if of == kind]
        around.wrong(name.at, f"the fact {fact!r}", f"a {kind} fact among {several(allowed)}")
    return fact


def _value_set(name: Any, around: Surroundings) -> str:
    if plain(name) not in around.value_sets:
        around.wrong(name.at, f"the value set {plain(name)!r}", several(sorted(around.value_sets)))
    return plain(name)


def _chosen(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    """Status by answer. Every option must have one; ``review``: unknown, and no answer would settle it."""
    fact = _fact(entry["fact"], "choice", around)
    groups = (("met", _MET), ("not_met", _NOT_MET), ("unknown", (Truth.UNKNOWN, (fact,))), ("review", _UNKNOWN))
    outcome: dict[Any, Result] = {}
    for group, result in groups:
        for option in entry[group]:
            if plain(option) in outcome:
                around.wrong(option.at, f"the answer {plain(option)} a second time", "each answer once")
            outcome[plain(option)] = result
    options = around.options.get(fact, ())
    for option in set(outcome) - set(options) if options else ():
        around.wrong(around.at, f"the answer {option!r}", several(options))
    for option in options:
        if option not in outcome:
            around.wrong(around.at, f"no outcome for {option}", "met, not_met, unknown or review for every answer")
    flags = {plain(option): plain(code) for option, code in entry["flags"].items()}
    criterion = around.criterion
    unknown: Result = (Truth.UNKNOWN, (fact,))

    def test(view: View) -> Result:
        state = view.state(fact)
        if state.conflict:
            view.flag("conflict", criterion)
            return unknown
        value = state.value
        if value in flags:
            view.flag(flags[value], criterion)  # type: ignore[index]
        return outcome.get(value, unknown)

    words = [around.words.get(fact, {}).get(plain(word), plain(word)) for word in entry["met"]]
    return test, Sentence(f"{around.labels.get(fact, fact)}: {' or '.join(words)}")


def _at_least(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    """A number answered, or proven by the chart, reaches a value; the chart never disproves.

    ``below``: a lower answer beside certain other answers is worth a flag, whatever becomes of the criterion.
    """
    fact = _fact(entry["fact"], "decimal", around)
    least: Fraction = entry["value"]
    around.bounds.append(Bound(fact, "<", least))
    criterion = around.criterion
    unknown: Result = (Truth.UNKNOWN, (fact,))
    remark = entry["below"]
    other = _fact(remark["beside"], "choice", around) if remark else ""
    noted = frozenset(plain(word) for word in remark["answers"]) if remark else frozenset[str]()
    flag = plain(remark["flag"]) if remark else ""

    def test(view: View) -> Result:
        state = view.state(fact)
        proven = state.proven is not None and state.proven >= least
        value = state.value
        if state.conflict:
            view.flag("conflict", criterion)
            return unknown
        if not isinstance(value, Fraction):
            return _MET if proven else unknown
        if value >= least:
            return _MET
        if noted and view.state(other).value in noted:
            view.flag(flag, criterion)
        if proven:
            view.flag("conflict", criterion)
            return unknown
        return _NOT_MET

    return test, Sentence(f"{around.labels.get(fact, fact)}: at least {number(least)}{around.units.get(fact, '')}")


def _at_most(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    """A number answered stays within a value."""
    fact = _fact(entry["fact"], "decimal", around)
    most: Fraction = entry["value"]
    around.bounds.append(Bound(fact, ">", most))
    criterion = around.criterion
    unknown: Result = (Truth.UNKNOWN, (fact,))

    def test(view: View) -> Result:
        state = view.state(fact)
        value = state.value
        over = state.proven is not None and state.proven > most
        if state.conflict or (over and isinstance(value, Fraction) and value <= most):
            view.flag("conflict", criterion)
            return unknown
        if isinstance(value, Fraction):
            return _MET if value <= most else _NOT_MET
        return _NOT_MET if over else unknown

    return test, Sentence(f"{around.labels.get(fact, fact)}: at most {number(most)}{around.units.get(fact, '')}")


def _active_condition(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    """An active, confirmed condition of a value set. None seen proves nothing: ``ask`` is the fact to ask."""
    name = _value_set(entry["value_set"], around)
    found = Truth(plain(entry["when_found"]))
    ask = plain(entry["ask"])
    asked: Test | None = None
    if ask:
        asked, _ = _chosen({**_yes_no(entry["ask"], found), "fact": entry["ask"], "flags": {}}, around)
    around.types.append("Condition")

    def test(view: View) -> Result:
        hits = [hit for hit in view.hits(name) if hit.kind == "conditions"]
        view.evidence.extend(hit.evidence() for hit in hits)
        if hits:
            return found, ()
        return asked(view) if asked else _UNKNOWN

    return test, Sentence(f"Active condition: {around.titles[name]}" if name in around.titles else name)


def _yes_no(word: Any, found: Truth) -> dict[str, tuple[Any, ...]]:
    yes, no = ("met", "not_met") if found is Truth.MET else ("not_met", "met")
    at = word.at
    return {yes: (Word("yes", at),), no: (Word("no", at),), "unknown": (Word("cannot_determine", at),), "review": ()}


def _course_at_least(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    """A medication of a value set was taken on a fixed schedule for so many days; a shorter course proves nothing."""
    name = entry["course"]
    rule = around.courses.get(plain(name))
    if rule is None:
        around.wrong(name.at, f"the course {plain(name)!r}", several(sorted(around.courses)))
        return lambda _: _UNKNOWN, Sentence("")
    days = int(entry["days"])
    around.types.append("MedicationRequest")

    def test(view: View) -> Result:
        best = longest(view.courses(rule, scheduled=True))
        if best is not None:
            view.evidence.extend(view.course_evidence(best))
        return _MET if best is not None and best.days >= days else _UNKNOWN

    return test, Sentence(
        f"{around.titles.get(rule.value_set, rule.value_set)}: at least {days} days on a fixed schedule"
    )


def _dose_test(concentration: bool) -> Callable[[Any, Surroundings], tuple[Test, Sentence]]:
    word = "concentration" if concentration else "daily amount"
    unit = "mg/mL" if concentration else "mg/d"

    def build(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
        drug = plain(entry["drug"])
        if drug not in around.drugs:
            around.wrong(entry["drug"].at, f"the drug {drug!r}", several(sorted(around.drugs)))
        most: Fraction = entry["value"]
        ask = around.concentration_fact if concentration else around.dose_fact
        unknown: Result = (Truth.UNKNOWN, (ask,) if ask else ())

        def test(view: View) -> Result:
            values = []
            for each in view.case.dose.results:
                if each.ingredient != drug:
                    continue
                value = each.concentration if concentration else each.daily
                verdict = each.concentration_verdict if concentration else each.daily_verdict
                if value is None or (verdict is Verdict.CANNOT_BE_DETERMINED and value <= most):
                    return unknown
                view.evidence.append(
                    Evidence(
                        view.case.order.source, None, f"{drug} {word} {number(value)} {unit}, limit {number(most)}"
                    )
                )
                values.append(value)
            if not values:
                return unknown
            return _MET if max(values) <= most else _NOT_MET

        return test, Sentence(f"{word} of {drug} at most {number(most)} {unit}")

    return build


def _age_at_least(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    """Completed years on the day of the determination."""
    years = int(entry["years"])
    around.types.append("Patient")

    def test(view: View) -> Result:
        born = view.record.birth_date
        if born is None:
            return _UNKNOWN
        today = view.as_of
        age = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
        view.evidence.append(Evidence(f"Patient/{view.record.patient_id}", None, f"{age} years old"))
        return _MET if age >= years else _NOT_MET

    return test, Sentence(f"age at least {years} years")


def _section_met(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    """All criteria of a section that stands before; evidence and missing facts are theirs."""
    section = plain(entry["section"])
    if section not in around.sections:
        around.wrong(
            entry["section"].at, f"the section {section!r}", f"a section stated before: {several(around.sections)}"
        )
    criteria = around.sections.get(section, ())
    around.named_sections.append(section)

    def test(view: View) -> Result:
        missing: dict[str, None] = {}
        for criterion in criteria:
            result = view.results[criterion]
            view.evidence.extend(result.evidence)
            missing.update(dict.fromkeys(result.missing))
        status = view.sections[section]
        return status, tuple(missing) if status is Truth.UNKNOWN else ()

    return test, Sentence(f"all criteria of section {section}")


def _all(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    built = [build_test(part, around) for part in entry]
    tests = tuple(test for test, _ in built)

    def test(view: View) -> Result:
        missing: tuple[str, ...] = ()
        status = Truth.MET
        for part in tests:
            truth, lacking = part(view)  # no short cut: every part leaves its evidence and flags
            if truth is Truth.NOT_MET:
                status = truth
            elif truth is Truth.UNKNOWN:
                missing += lacking
                if status is Truth.MET:
                    status = truth
        return (status, missing) if status is Truth.UNKNOWN else (status, ())

    return test, Sentence("all of these", tuple(words for _, words in built))


def _any(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    built = [build_test(part, around) for part in entry]
    tests = tuple(test for test, _ in built)

    def test(view: View) -> Result:
        missing: tuple[str, ...] = ()
        status = Truth.NOT_MET
        for part in tests:
            truth, lacking = part(view)
            if truth is Truth.MET:
                status = truth
            elif truth is Truth.UNKNOWN:
                missing += lacking
                if status is Truth.NOT_MET:
                    status = truth
        return (status, missing) if status is Truth.UNKNOWN else (status, ())

    return test, Sentence("one of these", tuple(words for _, words in built))


def _not(entry: Any, around: Surroundings) -> tuple[Test, Sentence]:
    inner, words = build_test(entry, around)

    def test(view: View) -> Result:
        truth, missing = inner(view)
        return negate(truth), missing

    return test, Sentence("not this", (words,))


TEST: Final = Tagged(lambda: {name: kind.shape for name, kind in PREDICATES.items()}, "test")
_OPTIONS: Final = (Many(_WORD), ())
_BESIDE: Final = Record({"beside": _WORD, "answers": Many(_WORD, 1), "flag": _WORD})
_LIMIT: Final = Record({"drug": _WORD, "value": _AMOUNT})
PREDICATES: Final[Mapping[str, PredicateKind]] = {
    "all": PredicateKind(Many(TEST, 1), _all),
    "any": PredicateKind(Many(TEST, 1), _any),
    "not": PredicateKind(TEST, _not),
    "chosen": PredicateKind(
        Record(
            {"fact": _WORD, "met": Many(_WORD)},
            {"not_met": _OPTIONS, "unknown": _OPTIONS, "review": _OPTIONS, "flags": (Keyed(_WORD, _WORD), {})},
        ),
        _chosen,
    ),
    "at_least": PredicateKind(Record({"fact": _WORD, "value": _AMOUNT}, {"below": (_BESIDE, None)}), _at_least),
    "at_most": PredicateKind(Record({"fact": _WORD, "value": _AMOUNT}), _at_most),
    "active_condition": PredicateKind(
        Record({"value_set": _WORD}, {"when_found": (Choice(("met", "not_met")), "met"), "ask": (_WORD, "")}),
        _active_condition,
    ),
    "course_at_least": PredicateKind(
        Record({"course": _WORD, "days": Number(Fraction(1), whole=True, allowed="a whole number of days")}),
        _course_at_least,
    ),
    "daily_amount_at_most": PredicateKind(_LIMIT, _dose_test(concentration=False)),
    "concentration_at_most": PredicateKind(_LIMIT, _dose_test(concentration=True)),
    "age_at_least": PredicateKind(
        Record({"years": Number(Fraction(0), whole=True, allowed="a whole number of years")}), _age_at_least
    ),
    "section_met": PredicateKind(Record({"section": _WORD}), _section_met),
}

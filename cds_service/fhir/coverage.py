"""Whose member this is, and which Coverage answers for an order (decisions 3; contract: determination, its end)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from cds_service.domain.determination import Program
from cds_service.domain.payer import Payer
from cds_service.domain.record import Availability, Evidence
from cds_service.fhir.chart import Chart, Resource, source
from cds_service.fhir.concepts import codings, dicts, has_code, number, word
from cds_service.fhir.dates import period

OURS, FOREIGN, UNKNOWN = "ours", "foreign", "unknown"
_NOT_IN_FORCE = frozenset({"cancelled", "draft"})
_PEOPLE = ("Patient/", "RelatedPerson/")  # self-pay: nobody's member
_MEMBER_NUMBER = frozenset({"MB"})
_LAST = (1 << 62,)  # a Coverage without order comes after those with one


class KnownPayer(msgspec.Struct, frozen=True):
    """A payer's names, identifiers and program words in the form in which they are compared; made once at load."""

    names: frozenset[str]
    generic: frozenset[str]
    identifiers: frozenset[tuple[str, str]]
    by_class: Mapping[str, Program]
    by_text: Mapping[str, Program]
    by_code: tuple[tuple[str, str, Program], ...] = ()  # system, code (a final * for any rest), program


class CoverageFacts(msgspec.Struct, frozen=True):
    """One Coverage of the patient as it matters here. ``payer``: ours, foreign or unknown."""

    reference: str
    payer: str
    why: str
    program: Program
    active: bool
    member_id: str
    order: int | None
    end: date | None
    plans: tuple[str, ...]
    evidence: Evidence


class Coverages(msgspec.Struct, frozen=True):
    """All Coverages of the patient, read once per call."""

    host: str | None
    all: tuple[CoverageFacts, ...]
    availability: Availability


class CoverageChoice(msgspec.Struct, frozen=True):
    """The Coverage that answers for one order.

    ``state``: ``ours``; ``foreign`` (another payer's member); ``none`` (asked, there is none); ``ambiguous`` (several
    member ids of ours); ``unknown`` (the payer cannot be told); ``not_readable`` (could not be asked, or not wholly).
    ``reference`` is ``Coverage/id``, ``""`` when none is chosen; ``period_end`` the last day in force.
    """

    state: str
    program: Program
    reference: str = ""
    member_id: str = ""
    active: bool = False
    period_end: date | None = None
    why: str = ""
    evidence: tuple[Evidence, ...] = ()
    plans: tuple[str, ...] = ()  # Coverage.class values, for what the payer settles per plan


def know(payer: Payer) -> KnownPayer:
    """Prepare a payer's words for comparison: whole, ignoring case, punctuation and spaces."""
    return KnownPayer(
        names=frozenset(map(_plain, payer.names)),
        generic=frozenset(map(_plain, payer.generic_names)) | {""},
        identifiers=frozenset(payer.identifiers),
        by_class={_plain(text): rules.program for rules in payer.programs.values() for text in rules.class_values},
        by_text={_plain(text): rules.program for rules in payer.programs.values() for text in rules.type_texts},
        by_code=tuple(
            (system, code, rules.program) for rules in payer.programs.values() for system, code in rules.type_codes
        ),
    )


def read_coverages(chart: Chart, payer: KnownPayer, as_of: date) -> Coverages:
    """Read every Coverage of the chart once; ``as_of`` is the day on which it is to be in force."""
    facts = tuple([read_coverage(chart, resource, payer, as_of) for resource in chart.of("Coverage")])
    return Coverages(chart.host, facts, chart.seen("Coverage"))


def choose(chart: Chart, coverages: Coverages, order: Resource) -> CoverageChoice:
    """Which Coverage answers for ``order`` (decisions 3, "Which Coverage").

    The one that ``order.insurance`` names where it is ours; else ours in force, the lowest ``Coverage.order`` first.
    """
    ours = [held for held in coverages.all if held.payer == OURS]
    named = _insurance(chart, order)
    named_ours = [held for held in ours if held.reference in named]
    in_force = [held for held in ours if held.active]
    if named_ours and not any(held.active for held in named_ours):
        # The order still names last year's Coverage of a membership that goes on.
        members = {held.member_id for held in named_ours}
        named_ours = [held for held in in_force if held.member_id in members and held.member_id] or named_ours
    if named_ours:
        return _best(named_ours, "order_names_it")
    if in_force:
        return _best(in_force, "in_force")
    others = [held for held in coverages.all if held.payer != OURS]
    if ours and not any(held.reference in named for held in others):
        return _best(ours, "not_in_force")
    return _without_ours(others, coverages.availability)


def _best(candidates: list[CoverageFacts], why: str) -> CoverageChoice:
    """One of our own Coverages, or the finding that they cannot be told apart."""
    candidates = [held for held in candidates if held.active] or candidates
    first = min(_rank(held) for held in candidates)
    candidates = [held for held in candidates if _rank(held) == first]
    if len(candidates) > 1:
        if len({held.member_id for held in candidates if held.member_id}) > 1:
            evidence = tuple([held.evidence for held in candidates])
            return CoverageChoice("ambiguous", Program.UNKNOWN, why="several_members", evidence=evidence)
        candidates.sort(key=lambda held: (held.member_id, held.end or date.max, held.reference), reverse=True)
    chosen = candidates[0]
    same = all(held.program is chosen.program for held in candidates)
    return _choice(OURS, chosen, chosen.program if same else Program.UNKNOWN, why if same else "several_programs")


def _rank(held: CoverageFacts) -> tuple[int, ...]:
    return _LAST if held.order is None else (held.order,)


def _without_ours(others: list[CoverageFacts], availability: Availability) -> CoverageChoice:
    """No Coverage of ours answers: another payer's, one whose payer cannot be told, none, or nobody could see."""
    candidates = [held for held in others if held.active] or others
    for state, program in ((UNKNOWN, Program.UNKNOWN), (FOREIGN, Program.OTHER_PAYER)):
        held = sorted(
            (held for held in candidates if held.payer == state), key=lambda held: (_rank(held), held.reference)
        )
        if held:
            return _choice(state, held[0], program, held[0].why)
    if availability is Availability.COMPLETE:
        return CoverageChoice("none", Program.UNKNOWN, why="no_coverage")
    return CoverageChoice("not_readable", Program.UNKNOWN, why=availability.value)


def _choice(state: str, held: CoverageFacts, program: Program, why: str) -> CoverageChoice:
    return CoverageChoice(
        state, program, held.reference, held.member_id, held.active, held.end, why, (held.evidence,), held.plans
    )


def _insurance(chart: Chart, order: Resource) -> frozenset[str]:
    """Normal forms of what ``order.insurance`` names."""
    named = [chart.normal(reference) for reference in dicts(order.get("insurance"))]
    return frozenset([name for name in named if name])


def read_coverage(chart: Chart, resource: Resource, payer: KnownPayer, as_of: date) -> CoverageFacts:
    """One Coverage as of a day; ``chart`` resolves its payors."""
    start, end = period(resource.get("period"))
    active = (
        word(resource.get("status")) not in _NOT_IN_FORCE
        and (start is None or start <= as_of)
        and (end is None or as_of <= end)
    )
    whose, why = _payer(chart, resource, payer)
    order = number(resource.get("order"))
    name = source(resource)
    return CoverageFacts(
        reference=name,
        payer=whose,
        why=why,
        program=_program(resource, payer) if whose == OURS else Program.UNKNOWN,
        active=active,
        member_id=_member_id(resource),
        order=int(order) if order is not None else None,
        end=end,
        plans=tuple([value for held in dicts(resource.get("class")) if (value := word(held.get("value")))]),
        evidence=Evidence(name, end.isoformat() if end else None, _SHOWS[why]),
    )


_SHOWS = {
    "identifier": "payer known by identifier",
    "name": "payer known by name",
    "other_identifier": "identifier of another payer",
    "other_name": "name of another payer",
    "self_pay": "paid by a person",
    "not_told": "payer not told",
}


def _payer(chart: Chart, resource: Resource, payer: KnownPayer) -> tuple[str, str]:
    """Whose Coverage it is and by what: of several payors ours wins, then one that cannot be told."""
    found = [payer_of(chart, payor, resource, payer) for payor in dicts(resource.get("payor"))]
    for state in (OURS, UNKNOWN, FOREIGN):
        for whose, why in found:
            if whose == state:
                return whose, why
    return UNKNOWN, "not_told"


def payer_of(chart: Chart, payor: Resource, holder: Resource, payer: KnownPayer) -> tuple[str, str]:
    """Whose payer a Reference in ``holder`` means, and why: by identifier, else by name.

    Unknown only without identifier and with a name that tells nothing.
    EHRs number payers themselves, so an unfamiliar identifier beside our own name does not make the member foreign.
    """
    identifiers = [payor["identifier"]] if type(payor.get("identifier")) is dict else []
    names = [word(payor.get("display"))]
    organization = chart.resolve(payor, holder)
    if organization is not None and organization.get("resourceType") == "Organization":
        identifiers.extend(dicts(organization.get("identifier")))
        names.append(word(organization.get("name")))
        alias = organization.get("alias")
        names.extend(map(word, alias if type(alias) is list else ()))
    pairs = {(word(held.get("system")), word(held.get("value"))) for held in identifiers}
    if not pairs.isdisjoint(payer.identifiers):
        return OURS, "identifier"
    plain = {_plain(name) for name in names}
    if not plain.isdisjoint(payer.names):
        return OURS, "name"
    if any(system and value for system, value in pairs):
        return FOREIGN, "other_identifier"
    if word(chart.normal(payor)).startswith(_PEOPLE):
        return FOREIGN, "self_pay"
    return (UNKNOWN, "not_told") if plain <= payer.generic else (FOREIGN, "other_name")


def _program(resource: Resource, payer: KnownPayer) -> Program:
    """The line of business that class values, type texts and codes name: standard if none, unknown if two."""
    held = resource.get("type")
    texts = [held.get("text")] if type(held) is dict else []
    texts += [coding.get("display") for coding in codings(held)]
    found: set[Program] = set()
    for item in dicts(resource.get("class")):
        _add(found, payer.by_class, item.get("value"))
        texts.append(item.get("name"))
    for text in texts:
        _add(found, payer.by_text, text)
    for coding in codings(held):
        found |= {program for system, code, program in payer.by_code if _is_code(coding, system, code)}
    if not found:
        return Program.STANDARD
    return found.pop() if len(found) == 1 else Program.UNKNOWN


def _is_code(coding: Resource, system: str, code: str) -> bool:
    stated = word(coding.get("code"))
    return coding.get("system") == system and (stated.startswith(code[:-1]) if code.endswith("*") else stated == code)


def _add(found: set[Program], table: Mapping[str, Program], text: Any) -> None:
    program = table.get(_plain(text)) if type(text) is str else None
    if program is not None:
        found.add(program)


def _member_id(resource: Resource) -> str:
    """The identifier of type member number, else the subscriber id, else ``""``."""
    for identifier in dicts(resource.get("identifier")):
        if has_code(identifier.get("type"), _MEMBER_NUMBER) and word(identifier.get("value")):
            return word(identifier.get("value"))
    return word(resource.get("subscriberId"))


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))

"""A guideline as values. Every number, word and code in it comes from ``config/policies``; none from Python.

``parse.py`` builds these from files; ``evaluate.py`` walks them. What a guideline states carries ``cite`` (the
section where it stands) and ``since`` (the day from which it is in force).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.determination import Program, Tier
from cds_service.domain.limits import DoseTable
from cds_service.domain.vocabulary import RouteGroup


class Cited(msgspec.Struct, frozen=True, kw_only=True):
    """Where the guideline states it, and since when."""

    cite: str
    since: date


class Statement(Cited, frozen=True, kw_only=True):
    """A text for people: a disclaimer, a precaution, a note, a definition.

    ``quoted``: the guideline's own words; otherwise ours, short.
    """

    id: str
    kind: str  # disclaimer | precaution | note | footnote | definition | related | description | advice
    text: str
    quoted: bool
    drugs: tuple[str, ...] = ()  # shown with these drugs only


class Option(msgspec.Struct, frozen=True):
    """One choice of a fact: the code on the wire and what a person reads."""

    code: str
    text: str


class Shown(msgspec.Struct, frozen=True):
    """The question is shown when another fact has one of these answers."""

    fact: str
    answers: tuple[str, ...]


class Detail(msgspec.Struct, frozen=True):
    """What an order leaves open, so that a question shown "undetermined" is asked: its code in the form.

    ``drugs`` and ``tiers``: asked for orders with one of these drugs, or of these lines of therapy. Without both the
    guideline asks for the fact by purpose: route, dose, concentration, compounding, rationale.
    """

    code: str
    drugs: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()


class Population(msgspec.Struct, frozen=True):
    """How a form fills one question in the EHR: a FHIRPath expression, and a search for what a person may look at.

    ``[[value_set]]`` in a search stands for the codes of that value set.
    """

    initial: str = ""
    context: str = ""


class Fact(Cited, frozen=True, kw_only=True):
    """Something that a determination may rest on; also one questionnaire item (linkId = ``name``).

    ``max_age_days`` None: history, an answer never goes stale. ``asked_once``: not asked again under an
    authorization in force. ``types`` are the resource types its chart sources read, ``types_if_served`` those that many
    EHRs do not serve.
    """

    name: str
    kind: str  # choice | decimal | date | text | string | open_choice | group
    label: str  # a few words, for evidence
    text: str  # the question
    help: str
    who: str  # prescriber | nurse | pharmacist
    feeds: tuple[str, ...]  # criterion ids, or words such as "tier"
    options: tuple[Option, ...] = ()
    unit: str = ""
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    max_age_days: int | None = None
    asked_once: bool = False
    advisory: bool = False  # never among missing facts
    shown_when: tuple[Shown, ...] = ()
    shown: str = "always"  # or "undetermined": only while what it settles is unknown
    repeats: bool = False
    items: tuple[Fact, ...] = ()
    types: tuple[str, ...] = ()
    types_if_served: tuple[str, ...] = ()
    prepopulated_from: tuple[str, ...] = ()
    detail: Detail | None = None
    sensitive: bool = False  # what the chart shows of it is never filled in by the payer
    population: Population | None = None


class Sentence(msgspec.Struct, frozen=True):
    """A test in words; of several tests, how they are joined and each of them."""

    text: str
    parts: tuple[Sentence, ...] = ()


class Bound(msgspec.Struct, frozen=True):
    """A number at which a test turns: answers ``operator`` (``<`` or ``>``) ``value`` fail it."""

    fact: str
    operator: str
    value: Fraction


class Criterion(Cited, frozen=True, kw_only=True):
    """One testable condition. ``facts`` are the facts that its tests name, in questionnaire order."""

    id: str
    text: str
    facts: tuple[str, ...]
    explain: Sentence  # the test in words, for the public page
    types: tuple[str, ...] = ()  # resource types that its tests read beside those of its facts
    bounds: tuple[Bound, ...] = ()


class Section(Cited, frozen=True, kw_only=True):
    """A group of criteria that must all be met for one kind of request."""

    id: str
    title: str
    criteria: tuple[str, ...]
    approval_duration: str | None  # ISO 8601
    duration_cite: str
    duration_since: date


class RequestType(Cited, frozen=True, kw_only=True):
    """A kind of request: the section that decides it, and the sections reported with it.

    ``stated`` False: the guideline gives no criteria for it, a person decides unless the payer chose otherwise.
    """

    code: str
    text: str
    decided_by: str
    reports: tuple[str, ...]
    stated: bool = True
    flag: str = ""


class Scope(Cited, frozen=True, kw_only=True):
    """What the guideline speaks of: drugs by name, routes, and the codes of procedures and devices around them.

    ``*_codes`` name value sets. ``chart_devices`` and ``reasons`` show that a therapy is long-term, not acute care.
    """

    drugs: frozenset[str]
    routes: frozenset[RouteGroup]
    specific_codes: tuple[str, ...]
    generic_codes: tuple[str, ...]
    beside_codes: tuple[str, ...]
    long_term_reasons: tuple[str, ...]
    long_term_codes: tuple[str, ...]
    injectable_forms: tuple[str, ...]


class ListedCode(Cited, frozen=True, kw_only=True):
    """A code as the guideline prints it. ``family`` groups diagnoses; ``national``: its national meaning, if other."""

    system: str
    code: str  # as printed
    text: str  # as printed
    family: str = ""
    national: str = ""


class DoseRow(Cited, frozen=True, kw_only=True):
    """One row of the printed table: its cells as printed, beside the numbers taken from them."""

    drug: str
    printed_name: str
    printed_vials: str
    printed_concentration: str
    printed_daily: str
    vials: tuple[Fraction, ...]  # mg/mL
    concentration: Fraction | None  # mg/mL
    daily: Fraction | None  # mg/d


class Billing(msgspec.Struct, frozen=True):
    """Which code an order's preparation gives. Codes are HCPCS."""

    compounded_code: str = ""
    certain_drugs: frozenset[str] = frozenset()  # the rule names these beyond doubt
    commercial: Mapping[str, str] = {}  # drug -> code, only where nothing is compounded
    compounded_fact: str = ""
    confirm_flag: str = ""
    cite: str = ""


class Annotation(Cited, frozen=True, kw_only=True):
    """A finding about the printed text, shown where it matters; it never changes a criterion."""

    id: str
    printed: str
    remark: str
    drugs: tuple[str, ...] = ()
    flag: str = ""
    subject: str = ""
    shown: str = "page"  # page | card | reviewer
    source: str = ""


class ProgramException(Cited, frozen=True, kw_only=True):
    """What the guideline says of one line of business."""

    program: Program
    text: str
    decision: str
    flag: str = ""
    subject: str = ""
    links: tuple[tuple[str, str], ...] = ()  # (label, remark)


class Revision(msgspec.Struct, frozen=True):
    """One line of the guideline's own log."""

    date: date
    text: str


class Regimen(Cited, frozen=True, kw_only=True):
    """One from each of ``one_from_each`` makes this regimen."""

    tier: str
    one_from_each: tuple[tuple[str, ...], ...]
    caveats: tuple[str, ...]
    flags: tuple[str, ...]
    text: str


class Mismatch(msgspec.Struct, frozen=True):
    """Diagnosis families that go with each drug; advice only."""

    expected: Mapping[str, frozenset[str]] = {}
    flag: str = ""


class Guideline(msgspec.Struct, frozen=True, kw_only=True):
    """One guideline in one version; immutable."""

    id: str
    version: str
    digest: str  # "sha256:<hex>" over all files that can change a determination
    title: str
    publisher: str
    effective: date
    until: date | None
    original: date
    reviewed: date
    canonical: str  # of the coverage questionnaire, without version
    answers_system: str  # CodeSystem of its choice codes
    scope: Scope
    request_fact: str
    request_types: Mapping[str, RequestType]
    reported_while_unknown: tuple[str, ...]  # sections
    stem: str | None
    criteria: Mapping[str, Criterion]
    sections: Mapping[str, Section]
    facts: Mapping[str, Fact]
    searches: Mapping[str, str]  # variable of the form's expressions -> FHIR search
    route_fact: str
    dose_fact: str
    concentration_fact: str
    rationale_fact: str
    dose_table: DoseTable
    dose_rows: tuple[DoseRow, ...]
    regimens: tuple[Regimen, ...]
    tier_of: Mapping[frozenset[str], Tier]
    icd: tuple[ListedCode, ...]
    hcpcs: tuple[ListedCode, ...]
    billing: Billing
    mismatch: Mismatch
    annotations: tuple[Annotation, ...]
    statements: tuple[Statement, ...]
    programs: Mapping[Program, ProgramException]
    revisions: tuple[Revision, ...]
    references: tuple[str, ...]
    plan: Any = None  # prepared at load for ``evaluate.determine``; not part of what the guideline states

    def in_force(self, day: date) -> bool:
        """Whether this version holds on that day."""
        return self.effective <= day and (self.until is None or day <= self.until)

    def criterion_name(self, ident: str) -> str:
        """How people know a criterion: by its printed number; the sentence over all has none, it is the indication."""
        return "indication" if ident == self.stem else ident

    def statements_of(self, kind: str) -> tuple[Statement, ...]:
        """Statements of one kind, in the guideline's order."""
        return tuple(each for each in self.statements if each.kind == kind)

"""The determination: what the guideline says of each order, with evidence (contract: determination)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from fractions import Fraction

import msgspec

from cds_service.domain.record import Evidence
from cds_service.domain.truth import Truth


class Program(Enum):
    """Line of business of the member, or why there is none."""

    STANDARD = "standard"
    FEP = "fep"
    SAO = "sao"
    MEDICARE_ADVANTAGE = "medicare_advantage"
    OTHER_PAYER = "other_payer"
    UNKNOWN = "unknown"


class Decision(Enum):
    """What the guideline's sections give for the order; advice to a person, never a denial."""

    MEETS = "meets"
    DOES_NOT_MEET = "does_not_meet"
    INSUFFICIENT_INFORMATION = "insufficient_information"
    NOT_APPLICABLE = "not_applicable"
    REDIRECT_FEP = "redirect_fep"
    REDIRECT_SAO = "redirect_sao"
    REFER_MEDICARE_POLICY = "refer_medicare_policy"
    OTHER_PAYER = "other_payer"


class Verdict(Enum):
    """A daily amount or concentration held against the table."""

    WITHIN = "within"
    EXCEEDS = "exceeds"
    NO_LIMIT_STATED = "no_limit_stated"
    CANNOT_BE_DETERMINED = "cannot_be_determined"


class Flag(msgspec.Struct, frozen=True):
    """A remark that a person should see; ``subject`` is an ingredient, resource, criterion or code."""

    code: str
    subject: str


class CriterionResult(msgspec.Struct, frozen=True):
    """Status of one criterion, what it rests on, and the facts that would settle it while unknown."""

    status: Truth
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[str, ...] = ()


class DoseResult(msgspec.Struct, frozen=True):
    """One active ingredient in one solution: mg/d cumulated over ``orders``, and mg/mL.

    ``daily`` is None when undetermined, or the known part where that already exceeds. Limits are None where the
    guideline states none and for epidural orders.
    """

    ingredient: str
    rxcui: str
    orders: tuple[str, ...]
    daily: Fraction | None
    daily_limit: Fraction | None
    daily_verdict: Verdict
    concentration: Fraction | None
    concentration_limit: Fraction | None
    concentration_verdict: Verdict
    steps: tuple[str, ...] = ()
    unit_error: bool = False  # possible_unit_error: the only ground for a critical card


class Tier(msgspec.Struct, frozen=True):
    """Line of therapy of the draft's own solution; advice."""

    tier: str  # first | second | third | not_tiered | not_addressed
    caveats: tuple[str, ...] = ()


class IcdSupport(msgspec.Struct, frozen=True):
    """Diagnosis codes of the guideline's list that support the order."""

    status: str  # supported | not_listed | unknown
    codes: tuple[str, ...] = ()


class OrderDetermination(msgspec.Struct, frozen=True):
    """One draft order. ``in_scope`` None is unknown. ``sections`` and ``criteria`` are in guideline order."""

    order: str
    in_scope: bool | None
    program: Program
    request_type: str  # trial | permanent | refill_or_renewal | unknown, or what the guideline names
    criteria: Mapping[str, CriterionResult]
    sections: Mapping[str, Truth]
    decision: Decision
    approval_duration: str | None
    dose: tuple[DoseResult, ...]
    tier: Tier
    icd: IcdSupport
    billing: tuple[str, ...]
    missing_facts: tuple[str, ...]
    flags: tuple[Flag, ...]
    rationale_on_file: bool = False  # a counting clinical_rationale answer; not part of the document


class Determination(msgspec.Struct, frozen=True):
    """All draft orders of one request judged by one guideline at one date (ISO day)."""

    as_of: str
    policy_id: str
    policy_version: str
    policy_digest: str
    orders: tuple[OrderDetermination, ...]


class DoseAssessment(msgspec.Struct, frozen=True):
    """Dose results of one order's regimen, and what was noticed while computing them."""

    results: tuple[DoseResult, ...]
    flags: tuple[Flag, ...] = ()

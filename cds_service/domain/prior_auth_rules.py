"""What a payer settled for prior authorization: ``config/prior_auth.yaml`` and ``config/terminology/billing.yaml``."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from cds_service.domain.billing import Crosswalk
from cds_service.domain.clocks import ClockRule

_FLAGS = ("conflict", "contrary_evidence", "incomplete_data", "possible_unit_error", "code_conflict")


class BenefitRules(msgspec.Struct, frozen=True):
    """How the medical benefit is told from the pharmacy's."""

    question: str = ""
    pharmacy_answers: frozenset[str] = frozenset()
    pharmacy_programs: frozenset[str] = frozenset()
    instructions: str = "This drug is supplied under the pharmacy benefit and not decided here."


class Contrary(msgspec.Struct, frozen=True):
    """Answers of the form that a diagnosis of one of ``value_sets`` speaks against: a person looks at both."""

    question: str
    answers: tuple[str, ...]
    value_sets: tuple[str, ...]


class Waiting(msgspec.Struct, frozen=True):
    """Answers of the form that a person looks at, whatever else is said."""

    question: str
    answers: tuple[str, ...]


class WaitingAmount(msgspec.Struct, frozen=True):
    """Amounts that a person looks at: above ``most``, or not below the answer to the question ``not_below``."""

    question: str
    most: Fraction | None = None
    not_below: str = ""


class PriorAuthRules(msgspec.Struct, frozen=True, kw_only=True):
    """Choices with defaults that approve little: what is not settled waits for a person."""

    clocks: tuple[ClockRule, ...] = ()
    benefit: BenefitRules = BenefitRules()
    refill_sets: tuple[str, ...] = ()
    pump_sets: tuple[str, ...] = ()
    blocking_flags: frozenset[str] = frozenset(_FLAGS)
    contrary_diagnoses: tuple[Contrary, ...] = ()
    other_policies: tuple[str, ...] = ()
    waiting_answers: tuple[Waiting, ...] = ()
    waiting_amounts: tuple[WaitingAmount, ...] = ()
    attestation_days: int = 90
    order_days: int = 365
    least_age: int = 18
    coverage_ending: str = "approve"  # or "wait": a Coverage that ends within what would be authorized
    updates: str = "accept"  # or "refuse"
    deadline_seconds: int = 8
    number_prefix: str = "A"
    crosswalk: Crosswalk = Crosswalk()

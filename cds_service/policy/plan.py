"""What is prepared at load so that one determination only looks things up."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from cds_service.domain.record import Code
from cds_service.policy.codes import CodeIndex
from cds_service.policy.facts import FactPlan
from cds_service.policy.model import ListedCode
from cds_service.policy.predicates import Test


class CriterionStep(msgspec.Struct, frozen=True):
    """One criterion to test. ``facts`` give its evidence, in questionnaire order; ``types`` is where it looks."""

    id: str
    test: Test
    facts: tuple[str, ...]
    types: tuple[str, ...]
    closes: tuple[tuple[str, tuple[str, ...]], ...]  # sections (with their criteria) that are complete after it


class Plan(msgspec.Struct, frozen=True):
    """Prepared form of one guideline."""

    codes: CodeIndex
    facts: Mapping[str, FactPlan]
    position: Mapping[str, int]  # of a fact in the questionnaire
    asked_once: frozenset[str]
    advisory: frozenset[str]
    types: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]  # of a fact: always expected, and if served
    steps: Mapping[tuple[str, ...], tuple[CriterionStep, ...]]  # by reported sections
    icd: Mapping[str, ListedCode]  # upper case, without dot
    hcpcs: frozenset[Code]
    specific: frozenset[str]
    generic: frozenset[str]
    beside: frozenset[str]
    long_term: frozenset[str]
    long_term_reasons: frozenset[str]
    injectable: frozenset[str]
    annotation_flags: Mapping[str, tuple[tuple[str, str], ...]]  # drug -> (flag, subject)
    regimen_flags: Mapping[frozenset[str], tuple[str, ...]]
    strengths: Mapping[str, frozenset[Fraction]]  # drug -> commercial concentrations in mg/mL

"""The payer that runs the service: how its members are known, and what it chose where the guideline leaves choice."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cds_service.domain.determination import Program


class ProgramRules(msgspec.Struct, frozen=True):
    """One line of business. Texts are compared whole, ignoring case, punctuation and spaces."""

    program: Program
    class_values: tuple[str, ...] = ()  # Coverage.class[].value
    type_texts: tuple[str, ...] = ()  # Coverage.type text, display, or class name
    type_codes: tuple[tuple[str, str], ...] = ()  # (system, code) of Coverage.type; a final * stands for any rest
    pa_required: str = "yes"  # yes | no | unknown
    instructions: str = ""  # whose guideline applies, for redirects


class ReviewRules(msgspec.Struct, frozen=True):
    """How this payer's people review. ``adverse_signers``: roles that may sign what is not, or not fully, certified."""

    adverse_signers: tuple[str, ...] = ("physician",)
    second_reviewer: bool = False  # an adverse decision needs two signers
    address: tuple[str, ...] = ()  # lines at the head of a letter
    appeal: tuple[str, ...] = ()  # paragraphs of a letter: how to appeal


class Payer(msgspec.Struct, frozen=True):
    """From ``config/payer.yaml``."""

    names: tuple[str, ...]
    identifiers: tuple[tuple[str, str], ...]  # (system, value) of the payer Organization
    generic_names: tuple[str, ...]  # payor names that tell nothing: "insurance", "payer", "unknown"
    label: str  # as on the member's card: source.label
    programs: Mapping[Program, ProgramRules]
    pa_required_by_plan: Mapping[str, str] = {}  # plan or group value -> yes | no | unknown
    renewal: str = "reviewer"  # or "as_section_II"
    outside_guideline: str = "silent"  # or "conditional"
    dose_limit_effect: str = "pend"  # or "advise"
    acute_care_classes: tuple[str, ...] = ("IMP", "ACUTE", "EMER", "OBSENC", "SS")
    acute_care_categories: tuple[str, ...] = ("inpatient",)
    medicare_pa: str = "conditional"  # or "auth-needed"
    electronic_signature: bool = False
    policy_link: str = ""  # "" = our own public page
    quiet_days: int = 180
    renewal_notice_days: int = 30  # before an authorization ends, "renew" is said once; 0: never
    contact: str = ""
    review: ReviewRules = ReviewRules()

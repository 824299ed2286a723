"""From ``payer.yaml`` to a Payer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cds_service.domain.determination import Program
from cds_service.domain.payer import Payer, ProgramRules, ReviewRules
from cds_service.policy.source import Complaint, plain


def parse_payer(entry: Mapping[str, Any], complaints: list[Complaint]) -> Payer:
    """The payer; every program at most once, standard among them."""
    programs: dict[Program, ProgramRules] = {}
    for each in entry["programs"]:
        program = Program(plain(each["program"]))
        if program in programs or program in {Program.OTHER_PAYER, Program.UNKNOWN}:
            at = each["program"].at
            complaints.append(
                Complaint(
                    at.file, at.line, "programs", program.value, "standard, fep, sao, medicare_advantage, each once"
                )
            )
        programs[program] = ProgramRules(
            program=program,
            class_values=_words(each["class_values"]),
            type_texts=_words(each["type_texts"]),
            type_codes=tuple((plain(held["system"]), plain(held["code"])) for held in each["type_codes"]),
            pa_required=plain(each["pa_required"]),
            instructions=plain(each["instructions"]),
        )
    programs.setdefault(Program.STANDARD, ProgramRules(Program.STANDARD))
    plans = {plain(plan): plain(required) for plan, required in entry["pa_required_by_plan"].items()}
    return Payer(
        names=_words(entry["names"]),
        identifiers=tuple((plain(each["system"]), plain(each["value"])) for each in entry["identifiers"]),
        generic_names=_words(entry["generic_names"]),
        label=plain(entry["label"]),
        programs=programs,
        pa_required_by_plan=plans,
        renewal=plain(entry["renewal"]),
        outside_guideline=plain(entry["outside_guideline"]),
        dose_limit_effect=plain(entry["dose_limit_effect"]),
        medicare_pa=plain(entry["medicare_pa"]),
        electronic_signature=entry["electronic_signature"],
        policy_link=plain(entry["policy_link"]),
        quiet_days=int(entry["quiet_days"]),
        renewal_notice_days=int(entry["renewal_notice_days"]),
        contact=plain(entry["contact"]),
        review=_review(entry["review"]),
        **_acute_care(entry["acute_care"]),
    )


def _review(entry: Mapping[str, Any] | None) -> ReviewRules:
    if entry is None:
        return ReviewRules()
    return ReviewRules(
        adverse_signers=_words(entry["adverse_signers"]),
        second_reviewer=entry["second_reviewer"],
        address=_words(entry["address"]),
        appeal=_words(entry["appeal"]),
    )


def _acute_care(entry: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    if entry is None:
        return {}
    return {
        "acute_care_classes": _words(entry["classes"]),
        "acute_care_categories": _words(entry["categories"]),
    }


def _words(words: Any) -> tuple[str, ...]:
    return tuple(plain(word) for word in words)

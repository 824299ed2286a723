"""Shapes of ``prior_auth.yaml`` and ``terminology/billing.yaml``, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from cds_service.domain.billing import BillingCode, Crosswalk
from cds_service.domain.clocks import ClockRule
from cds_service.domain.determination import Program
from cds_service.domain.prior_auth_rules import BenefitRules, Contrary, PriorAuthRules, Waiting, WaitingAmount
from cds_service.domain.vocabulary import Vocabulary
from cds_service.policy.shapes import Choice, Day, Flag, Many, Maybe, Number, Record, Text
from cds_service.policy.source import Complaint, plain

_WORD: Final = Text(r"[a-zA-Z0-9_-]+", "a name of letters, digits, _ and -")
_WORDS: Final[tuple[Any, Any]] = (Many(_WORD), ())
_COUNT: Final = Number(Fraction(1), whole=True, allowed="a whole number above zero")
_AMOUNT: Final = Number(Fraction(1, 1_000_000), allowed="a decimal number above zero")
_PROGRAM: Final = Choice(tuple(program.value for program in Program))
_CODE: Final = Text(r"[A-Z0-9]{5}", "a code of five capital letters and digits")

PRIOR_AUTH_FILE: Final = Record(
    {
        "clocks": Many(
            Record(
                {"standard_hours": _COUNT, "expedited_hours": _COUNT, "cite": Text()},
                {
                    "programs": (Many(_PROGRAM), ()),
                    "plans": (Many(Text()), ()),
                    "benefit": (Choice(("medical", "pharmacy")), ""),
                    "drug": (Maybe(Flag()), None),
                    "extended_hours": (_COUNT, Fraction(0)),
                },
            ),
            1,
        ),
    },
    {
        "benefit": (
            Record(
                {"pharmacy_instructions": Text()},
                {
                    "question": (Text(empty=True), ""),
                    "pharmacy_answers": _WORDS,
                    "pharmacy_programs": (Many(_PROGRAM), ()),
                },
            ),
            None,
        ),
        "line_kinds": (Record({}, {"refill": _WORDS, "pump": _WORDS}), None),
        "blocking_flags": _WORDS,
        "contrary_diagnoses": (
            Many(Record({"question": _WORD, "answers": Many(_WORD, 1), "value_sets": Many(_WORD, 1)})),
            (),
        ),
        "other_policies": (Many(Text()), ()),
        "waiting_answers": (Many(Record({"question": _WORD, "answers": Many(_WORD, 1)})), ()),
        "waiting_amounts": (
            Many(Record({"question": _WORD}, {"most": (Maybe(_AMOUNT), None), "not_below": (Text(empty=True), "")})),
            (),
        ),
        "attestation_days": (_COUNT, Fraction(90)),
        "order_days": (_COUNT, Fraction(365)),
        "least_age": (_COUNT, Fraction(18)),
        "coverage_ending": (Choice(("approve", "wait")), "approve"),
        "updates": (Choice(("accept", "refuse")), "accept"),
        "deadline_seconds": (_COUNT, Fraction(8)),
        "number_prefix": (Text(r"[A-Z]{1,6}", "1 to 6 capital letters"), "A"),
    },
)
BILLING_FILE: Final = Record(
    {
        "billing_codes": Many(
            Record(
                {"code": _CODE, "drug": _WORD, "mg_per_unit": _AMOUNT, "from": Day(), "source": _WORD},
                {"until": (Day(), None), "use": (Text(empty=True), "")},
            )
        ),
    },
    {"unclassified_codes": (Many(_CODE), ())},
)


def parse_prior_auth(
    entry: Mapping[str, Any] | None,
    billing: Mapping[str, Any] | None,
    vocabulary: Vocabulary,
    complaints: list[Complaint],
) -> PriorAuthRules:
    """The rules; without a file the defaults, which pend."""
    crosswalk = _crosswalk(billing, vocabulary, complaints) if billing is not None else Crosswalk()
    if entry is None:
        return PriorAuthRules(crosswalk=crosswalk)
    kinds: Mapping[str, Any] = entry["line_kinds"] or {}
    named = [("line_kinds", name) for name in (*kinds.get("refill", ()), *kinds.get("pump", ()))]
    named += [("contrary_diagnoses", name) for each in entry["contrary_diagnoses"] for name in each["value_sets"]]
    complaints += [
        _complaint(name, where, "a value set of terminology/value_sets")
        for where, name in named
        if plain(name) not in vocabulary.value_sets
    ]
    return PriorAuthRules(
        clocks=tuple(_clock(each) for each in entry["clocks"]),
        benefit=_benefit(entry["benefit"]),
        refill_sets=tuple(plain(name) for name in kinds.get("refill", ())),
        pump_sets=tuple(plain(name) for name in kinds.get("pump", ())),
        blocking_flags=frozenset(plain(name) for name in entry["blocking_flags"]) or PriorAuthRules().blocking_flags,
        contrary_diagnoses=tuple(_contrary(each) for each in entry["contrary_diagnoses"]),
        other_policies=tuple(plain(each) for each in entry["other_policies"]),
        waiting_answers=tuple(
            Waiting(plain(each["question"]), tuple(plain(answer) for answer in each["answers"]))
            for each in entry["waiting_answers"]
        ),
        waiting_amounts=tuple(
            WaitingAmount(plain(each["question"]), each["most"], plain(each["not_below"]))
            for each in entry["waiting_amounts"]
        ),
        attestation_days=int(entry["attestation_days"]),
        order_days=int(entry["order_days"]),
        least_age=int(entry["least_age"]),
        coverage_ending=plain(entry["coverage_ending"]),
        updates=plain(entry["updates"]),
        deadline_seconds=int(entry["deadline_seconds"]),
        number_prefix=plain(entry["number_prefix"]),
        crosswalk=crosswalk,
    )


def _clock(entry: Mapping[str, Any]) -> ClockRule:
    return ClockRule(
        standard_hours=int(entry["standard_hours"]),
        expedited_hours=int(entry["expedited_hours"]),
        programs=tuple(plain(each) for each in entry["programs"]),
        plans=tuple(plain(each) for each in entry["plans"]),
        benefit=plain(entry["benefit"]),
        drug=entry["drug"],
        extended_hours=int(entry["extended_hours"]),
        cite=plain(entry["cite"]),
    )


def _contrary(entry: Mapping[str, Any]) -> Contrary:
    return Contrary(
        question=plain(entry["question"]),
        answers=tuple(plain(each) for each in entry["answers"]),
        value_sets=tuple(plain(each) for each in entry["value_sets"]),
    )


def _benefit(entry: Mapping[str, Any] | None) -> BenefitRules:
    if entry is None:
        return BenefitRules()
    return BenefitRules(
        question=plain(entry["question"]),
        pharmacy_answers=frozenset(plain(each) for each in entry["pharmacy_answers"]),
        pharmacy_programs=frozenset(plain(each) for each in entry["pharmacy_programs"]),
        instructions=plain(entry["pharmacy_instructions"]),
    )


def _crosswalk(entry: Mapping[str, Any], vocabulary: Vocabulary, complaints: list[Complaint]) -> Crosswalk:
    drugs = {each.name for each in vocabulary.ingredients.values()}
    codes = []
    for each in entry["billing_codes"]:
        if plain(each["drug"]) not in drugs:
            complaints.append(_complaint(each["drug"], "billing_codes", "a drug of terminology/ingredients.yaml"))
        if each["until"] is not None and each["until"] < each["from"]:
            complaints.append(_complaint(each["code"], "billing_codes", "until is not before from"))
        codes.append(
            BillingCode(
                plain(each["code"]),
                plain(each["drug"]),
                each["mg_per_unit"],
                each["from"],
                each["until"],
                plain(each["use"]),
            )
        )
    return Crosswalk(tuple(codes), frozenset(plain(each) for each in entry["unclassified_codes"]))


def _complaint(word: Any, where: str, allowed: str) -> Complaint:
    return Complaint(word.at.file, word.at.line, where, plain(word), allowed)

"""Hook calls and judged orders for tests of the codecs. All people are made up."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.cds_hooks.answer_values import AnswerRules
from cds_service.cds_hooks.answers import OrderAnswer, Standing, answer
from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.drafts import Draft
from cds_service.domain.authorization import NOTHING_ON_FILE, Authorization, OnFile
from cds_service.domain.determination import (
    CriterionResult,
    Decision,
    DoseResult,
    Flag,
    IcdSupport,
    OrderDetermination,
    Program,
    Tier,
    Verdict,
)
from cds_service.domain.order import Order, OrderKind, Part, Solution
from cds_service.domain.payer import Payer, ProgramRules
from cds_service.domain.record import Code, Evidence
from cds_service.domain.truth import Truth
from cds_service.domain.vocabulary import RouteGroup
from cds_service.fhir.coverage import CoverageChoice

AS_OF = date(2026, 3, 2)
SERVER = "https://ehr.example.org/fhir"
DRAFT = "MedicationRequest/draft-1"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"

MORPHINE_ORDER: dict[str, Any] = {
    "resourceType": "MedicationRequest",
    "id": "draft-1",
    "status": "draft",
    "intent": "order",
    "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "7052"}], "text": "morphine 20 mg/mL"},
    "subject": {"reference": "Patient/pat-1"},
    "dosageInstruction": [
        {
            "route": {"coding": [{"system": "http://snomed.info/sct", "code": "72607000"}]},
            "doseAndRate": [{"rateQuantity": {"value": 0.75, "system": "http://unitsofmeasure.org", "code": "mL/d"}}],
        }
    ],
}


def call(hook: str = "order-sign", **changes: Any) -> dict[str, Any]:
    """An order-sign (or order-select) call; ``changes`` replace top-level members, None removes one."""
    body: dict[str, Any] = {
        "hook": hook,
        "hookInstance": "0ce27236-cf79-5680-a12d-99351e7144b4",
        "fhirServer": SERVER,
        "context": {
            "userId": "Practitioner/pr-1",
            "patientId": "pat-1",
            "encounterId": "enc-1",
            "draftOrders": bundle(MORPHINE_ORDER),
        },
        "prefetch": {"patient": {"resourceType": "Patient", "id": "pat-1"}},
    }
    if hook == "order-select":
        body["context"]["selections"] = [DRAFT]
    if hook == "order-dispatch":
        body["context"] = {"patientId": "pat-1", "dispatchedOrders": [DRAFT], "performer": "Organization/pharmacy"}
        body["prefetch"]["medications"] = bundle(MORPHINE_ORDER)
    body.update(changes)
    return {key: value for key, value in body.items() if value is not ABSENT}


ABSENT = object()


def bundle(*resources: Mapping[str, Any]) -> dict[str, Any]:
    """A collection Bundle, each entry with fullUrl."""
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"{SERVER}/{r.get('resourceType')}/{r.get('id')}", "resource": r} for r in resources],
    }


def with_context(hook: str = "order-sign", **changes: Any) -> dict[str, Any]:
    """A call whose context differs in these members; ABSENT removes one."""
    body = copy.deepcopy(call(hook))
    body["context"].update(changes)
    body["context"] = {key: value for key, value in body["context"].items() if value is not ABSENT}
    return body


def encode(body: object) -> bytes:
    """JSON text."""
    return msgspec.json.encode(body)


def draft(resource: Mapping[str, Any] = MORPHINE_ORDER, raw: bytes | None = None) -> Draft:
    """A draft; ``raw`` is its text where that matters."""
    source = f"{resource['resourceType']}/{resource['id']}"
    return Draft(dict(resource), encode(resource) if raw is None else raw, "", source)


def order(source: str = DRAFT, **changes: Any) -> Order:
    """A morphine order for an intrathecal pump."""
    part = Part("morphine", "7052", "morphine", (Code(RXNORM, "7052"),), active=True, concentration=Fraction(20))
    values: dict[str, Any] = {
        "source": source,
        "kind": OrderKind.DRUG,
        "status": "draft",
        "draft": True,
        "codes": (Code(RXNORM, "7052"),),
        "text": "morphine 20 mg/mL",
        "route": RouteGroup.INTRATHECAL,
        "route_unclear": False,
        "route_text": "Intrathecal route",
        "solution": Solution((part,), "morphine 20 mg/mL"),
        "contributions": (),
        "pump_like": True,
    }
    return Order(**(values | changes))


def dose(daily: str | None = "12", strength: str | None = "20", **changes: Any) -> DoseResult:
    """Morphine in mg/d and mg/mL against 15 mg/d and 30 mg/mL."""
    amount = None if daily is None else Fraction(daily)
    top = None if strength is None else Fraction(strength)
    unknown = Verdict.CANNOT_BE_DETERMINED
    values: dict[str, Any] = {
        "ingredient": "morphine",
        "rxcui": "7052",
        "orders": (DRAFT,),
        "daily": amount,
        "daily_limit": Fraction(15),
        "daily_verdict": unknown if amount is None else Verdict.EXCEEDS if amount > 15 else Verdict.WITHIN,
        "concentration": top,
        "concentration_limit": Fraction(30),
        "concentration_verdict": unknown if top is None else Verdict.EXCEEDS if top > 30 else Verdict.WITHIN,
        "steps": ("0.6 mL/d x 20 mg/mL = 12 mg/d",),
    }
    return DoseResult(**(values | changes))


MET = CriterionResult(Truth.MET, (Evidence("QuestionnaireResponse/qr-1", "2026-02-20", "answered yes"),))
NOT_MET = CriterionResult(Truth.NOT_MET, (Evidence("QuestionnaireResponse/qr-1", "2026-02-20", "answered no"),))
UNKNOWN = CriterionResult(Truth.UNKNOWN, (), ("life_expectancy_ge_3_months",))


def judged(source: str = DRAFT, **changes: Any) -> OrderDetermination:
    """A trial order for which all is met; ``changes`` replace fields."""
    values: dict[str, Any] = {
        "order": source,
        "in_scope": True,
        "program": Program.STANDARD,
        "request_type": "trial",
        "criteria": {"stem": MET, "I.1": MET, "I.2": MET, "I.3": MET},
        "sections": {"I": Truth.MET},
        "decision": Decision.MEETS,
        "approval_duration": "P1M",
        "dose": (dose(),),
        "tier": Tier("first"),
        "icd": IcdSupport("supported", ("G89.28",)),
        "billing": ("J3490",),
        "missing_facts": (),
        "flags": (),
    }
    return OrderDetermination(**(values | changes))


def missing(source: str = DRAFT, **changes: Any) -> OrderDetermination:
    """The same with life expectancy unknown."""
    values: dict[str, Any] = {
        "criteria": {"stem": MET, "I.1": UNKNOWN, "I.2": MET, "I.3": MET},
        "sections": {"I": Truth.UNKNOWN},
        "decision": Decision.INSUFFICIENT_INFORMATION,
        "missing_facts": ("life_expectancy_ge_3_months",),
    }
    return judged(source, **(values | changes))


def flags(*codes: str) -> tuple[Flag, ...]:
    """Flags without a particular subject."""
    return tuple(Flag(code, "order") for code in codes)


PAYER = Payer(
    names=("Florida Blue",),
    identifiers=(),
    generic_names=(),
    label="Florida Blue",
    programs={
        Program.FEP: ProgramRules(Program.FEP, instructions="Follow FEP guidelines."),
        Program.SAO: ProgramRules(Program.SAO, instructions="Follow SAO guidelines."),
        Program.MEDICARE_ADVANTAGE: ProgramRules(
            Program.MEDICARE_ADVANTAGE, instructions="Medicare Advantage: NCD 280.14 applies."
        ),
    },
)
QUESTIONNAIRE = "https://cds.example.org/fhir/Questionnaire/09-J1000-31|2016-02-15"
RULES = AnswerRules(payer=PAYER, guideline="09-J1000-31", questionnaire=QUESTIONNAIRE)
OURS = CoverageChoice(
    state="ours",
    program=Program.STANDARD,
    reference="Coverage/cov-1",
    member_id="M1",
    active=True,
    period_end=date(2026, 12, 31),
)
AUTHORIZATION = Authorization(
    number="PA-1",
    member_id="M1",
    status="active",
    drugs=("morphine",),
    route="intrathecal",
    start=date(2026, 1, 1),
    end=date(2026, 12, 31),
    max_daily={"morphine": "15 mg/d"},
    billing=("J3490",),
    quantity="12 refills",
)
TEXTS = CardTexts(
    guideline="09-J1000-31",
    label="Florida Blue",
    policy_url="https://cds.example.org/policies/09-J1000-31",
    smart_app_url=None,
    reasons_system="https://cds.example.org/fhir/CodeSystem/dose-override-reasons",
    criteria={"stem": "Pain is severe, chronic and intractable", "I.1": "I.1 Life expectancy is 3 months or more"},
    facts={"life_expectancy_ge_3_months": "Is life expectancy 3 months or more?"},
    asked_after={"noninvasive_trial_weeks": frozenset({"noninvasive_trial_outcome"})},
    durations={"P1M": "1 month"},
    dose_citations={"morphine": "DOSAGE/ADMINISTRATION, table, Morphine"},
    regimens={frozenset({"morphine"}): "First-line opioid"},
    drug_notes={"hydromorphone": ("No preservative-free injection (footnote)",)},
    flag_notes={"code_conflict": ("J0475 is printed as bupivacaine (finding)",)},
    programs={Program.MEDICARE_ADVANTAGE: ("NCD 280.14 (reviewed 02/15/16)", "LCD L31254 (likely retired)")},
    instructions={program: rules.instructions for program, rules in PAYER.programs.items()},
    card_disclaimer="Not an authorization (09-J1000-31, Header)",
    dose_disclaimer="Informational only (09-J1000-31, DOSAGE/ADMINISTRATION)",
    precaution="Dose changes in a supervised setting (09-J1000-31, PRECAUTIONS)",
    related="Unclassified Codes, 09-J0000-58 (09-J1000-31, RELATED GUIDELINES)",
    compounded_code="J3490",
    commercial={"morphine": "J2274"},
)


def answered(
    determination: OrderDetermination,
    *,
    version: str = "2.2",
    coverage: CoverageChoice = OURS,
    on_file: OnFile = NOTHING_ON_FILE,
    payer: Payer = PAYER,
    failed: frozenset[str] = frozenset(),
) -> OrderAnswer:
    """The answer by the table."""
    rules = AnswerRules(payer=payer, guideline=RULES.guideline, questionnaire=RULES.questionnaire)
    return answer(Standing(rules, determination, coverage, on_file, failed), version)

"""What a machine approves, and what it leaves to a person (decisions 6): every condition by itself, line by line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.cds_hooks.prefetch import WANTED
from cds_service.fhir.json import parse
from cds_service.fhir.pas.bundle import read_bundle
from cds_service.fhir.pas.request import read_request
from cds_service.use_cases.decide import Addresses, evaluate_document, prepare
from cds_service.use_cases.judge_request import assess
from tests.support import pas_bundles
from tests.support.e2e_service import shipped, with_payer
from tests.support.pas_bundles import (
    COMPLETE,
    CPT,
    HCPCS,
    SNOMED,
    TRIAL_DONE,
    concept,
    encoded,
    item,
    morphine,
    request,
    service_request,
)
from tests.support.pas_service import Pas, Starts, actions, claim_response, extension, notes, part, with_rules

DAY = date(2026, 3, 2)


def test_PS_one_complete_request_is_approved_for_a_month(pas: Pas) -> None:
    answer = pas.submit(request())
    assert actions(answer) == {1: "A1"}
    line = claim_response(answer.json)["item"][0]
    assert part(line, "number")["valueString"].startswith("ITA-")
    assert extension(line, "itemPreAuthIssueDate")[0]["valueDate"] == "2026-03-02"
    assert extension(line, "itemPreAuthPeriod")[0]["valuePeriod"] == {"start": "2026-03-02", "end": "2026-04-01"}


def test_permanent_therapy_is_approved_for_a_year(pas: Pas) -> None:
    answer = pas.submit(request(values=COMPLETE | TRIAL_DONE | {"request_type": "permanent"}))
    period = extension(claim_response(answer.json)["item"][0], "itemPreAuthPeriod")[0]["valuePeriod"]
    assert (actions(answer), period) == ({1: "A1"}, {"start": "2026-03-02", "end": "2027-03-01"})


def quantity(value: int) -> Mapping[str, Any]:
    return {"quantity": {"value": value, "unit": "units"}}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in COMPLETE.items() if key != name}


# What is wrong, the request, the word of the condition that fails (in the trace), a part of what the requester reads.
PENDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("type of request not told", {"values": without("request_type")}, "request_type_stated", "trial, permanent"),
    (
        "a renewal has no criteria",
        {"values": COMPLETE | TRIAL_DONE | {"request_type": "refill_or_renewal"}},
        "request_type_stated",
        "renewal",
    ),
    ("a criterion not met", {"values": COMPLETE | {"life_expectancy_ge_3_months": "no"}}, "criteria_met", "I.1"),
    ("a fact missing", {"values": without("noninvasive_trial_weeks")}, "criteria_met", "Length of the noninvasive"),
    (
        "the stem not met",
        {"values": COMPLETE | {"severe_chronic_intractable_pain": "no"}},
        "criteria_met",
        "the indication is",
    ),
    ("a dose above the table", {"order": morphine("1.6")}, "dose_within_table", "informational table"),
    ("an order that runs no more", {"order": morphine(doNotPerform=True)}, "order_active", "not an active"),
    ("an old signature", {"authored": "2025-11-30"}, "attested", "signature is too old"),
    ("today's date under an old form", {"form": {"authored": "2025-11-01"}}, "attested", "signature is too old"),
    ("no signature", {"values": without("attestation_name"), "unsigned": True}, "attested", "not signed"),
    ("a code of another drug", {"items": [item(code="J0475")]}, "code_fits", "does not name the ordered drug"),
    ("more units than dose and period", {"items": [item(**quantity(17))]}, "quantity_fits", "at most 16 units"),
    ("an appeal", {"appeal": True}, "not_appealed", "an appeal"),
]


@pytest.mark.parametrize(("made", "condition", "told"), [pytest.param(*rest, id=name) for name, *rest in PENDS])
def test_every_condition_of_an_approval_by_machine(made: dict[str, Any], condition: str, told: str, pas: Pas) -> None:
    answer = pas.submit(_made(made))
    assert actions(answer) == {1: "A4"}
    case = pas.case_of(answer)
    version = pas.cases.version(case.id, 1)
    assert version is not None
    line = json.loads(version.trace)["lines"][0]
    assert condition in {each["condition"] for each in line["conditions"] if not each["holds"]}
    assert told.lower() in notes(answer).lower()
    assert "denied" not in answer.bytes.decode().lower()


def _made(changes: dict[str, Any]) -> dict[str, Any]:
    changes = dict(changes)
    unsigned, appeal = changes.pop("unsigned", False), changes.pop("appeal", False)
    form = changes.pop("form", {})
    if appeal:
        level = {
            "url": f"{pas_bundles.EXT}levelOfServiceCode",
            "valueCodeableConcept": concept(f"{pas_bundles.X12}1338", "U"),
        }
        changes |= {"items": [item(certification="1")], "claim": {"extension": [level]}}
    bundle = request(**changes)
    bundle["entry"][7]["resource"].update(form)
    if unsigned:
        for entry in bundle["entry"]:
            if entry["resource"]["resourceType"] == "QuestionnaireResponse":
                entry["resource"].pop("author")
    return bundle


def test_a_member_of_another_program_waits_for_a_person(pas: Pas) -> None:
    bundle = request()
    bundle["entry"][2]["resource"]["class"] = [{"type": concept("x", "plan"), "value": "FEP"}]
    answer = pas.submit(bundle)
    assert actions(answer) == {1: "A4"}
    assert "program" in notes(answer)


def test_a_service_of_which_the_guideline_does_not_speak_is_asked_for_nothing_of_it(pas: Pas) -> None:
    wound_care = service_request("care-1", concept(HCPCS, "G0299"))
    answer = pas.submit(
        request(items=[item(code="G0299", order="ServiceRequest/care-1")], more=[wound_care], values={})
    )
    assert actions(answer) == {1: "A4"}
    told = notes(answer)
    assert "the guideline does not speak of this service" in told
    assert not [words for words in ("signed by a prescriber", "trial, permanent", "adult") if words in told]


# Why it cannot be told whether the guideline speaks of a line, or that it does not.
SCOPES = [
    ("a drug in words alone", {"order": morphine(medicationCodeableConcept={"text": "morphine 10 mg/mL"})},
     "cannot be told whether the guideline speaks of this"),
    ("a line that names no order", {"items": [item(order=None)]}, "the line names no order (requestedService)"),
    ("an oral drug", {"order": morphine(dosageInstruction=[{"route": concept(SNOMED, "26643006")}])},
     "the guideline does not speak of this service"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "told"), [pytest.param(*rest, id=name) for name, *rest in SCOPES])
def test_a_line_that_is_not_known_to_be_of_the_guideline_says_why(parts: dict[str, Any], told: str, pas: Pas) -> None:
    answer = pas.submit(request(**parts))
    assert actions(answer) == {1: "A4"}
    said = [words for *_, words in SCOPES if words in notes(answer)]
    assert said == [told]


def test_an_answer_that_waits_says_by_when_a_person_decides(pas: Pas) -> None:
    expedited = request(values=without("life_expectancy_ge_3_months"))
    expedited["entry"][0]["resource"]["priority"] = concept(
        "http://terminology.hl7.org/CodeSystem/processpriority", "stat"
    )
    answer = pas.submit(expedited)
    case = pas.case_of(answer)
    assert case.due is not None
    assert f"A decision is due by {case.due:%Y-%m-%d %H:%M} UTC." in claim_response(answer.json)["disposition"]


def test_an_answer_that_is_decided_says_of_nothing_that_it_is_due(pas: Pas) -> None:
    assert "disposition" not in claim_response(pas.submit(request()).json)


def test_a_payer_may_take_the_table_for_advice(start: Starts) -> None:
    pas = start(configuration=with_payer(dose_limit_effect="advise"))
    assert actions(pas.submit(request(order=morphine("1.6")))) == {1: "A1"}  # 16 mg/d, limit 15


def test_there_is_no_denial_by_machine(pas: Pas) -> None:
    worst = dict.fromkeys(COMPLETE, "no") | {"request_type": "trial", "attestation_name": "Dr. Ada Field"}
    assert actions(pas.submit(request(values=worst, order=morphine("9")))) == {1: "A4"}


def test_each_line_gets_its_own_answer(pas: Pas) -> None:
    pump = service_request("pump-1", concept(CPT, "62362"))
    refill = service_request("refill-1", concept(CPT, "62370"))
    device = {
        "resourceType": "DeviceRequest",
        "id": "device-1",
        "status": "active",
        "intent": "order",
        "codeCodeableConcept": concept(HCPCS, "E0783"),
        "subject": {"reference": "Patient/pat-1"},
    }
    lines = [
        item(1),
        item(2, code="62362", system=CPT, order="ServiceRequest/pump-1"),
        item(3, code="62370", system=CPT, order="ServiceRequest/refill-1"),
        item(4, code="E0783", order="DeviceRequest/device-1"),
    ]
    values = COMPLETE | TRIAL_DONE | {"request_type": "permanent"}
    answer = pas.submit(request(values=values, items=lines, order=morphine("1.6"), more=[pump, refill, device]))
    assert actions(answer) == {1: "A4", 2: "A1", 3: "A1", 4: "A1"}  # only the drug is above the table
    kinds = [line.kind.value for line in pas.case_of(answer).summary.lines]
    assert kinds == ["drug", "procedure", "refill", "pump"]
    assert claim_response(answer.json)["outcome"] == "partial"
    numbers = [part(each, "number")["valueString"] for each in claim_response(answer.json)["item"][1:]]
    assert len(set(numbers)) == 3


def test_a_line_by_its_code_alone_is_read_as_a_service(pas: Pas) -> None:
    values = COMPLETE | TRIAL_DONE | {"request_type": "permanent"}
    answer = pas.submit(request(values=values, items=[item(1, code="62362", system=CPT, order=None)]))
    assert actions(answer) == {1: "A1"}
    drug = pas.submit(request(number=2, items=[item(1, order=None)]))
    assert actions(drug) == {1: "A4"}  # J2274 without an order: no dose is known


def mixture() -> dict[str, Any]:
    """Morphine and clonidine in one compounded bag."""
    parts = [
        {
            "itemCodeableConcept": concept(pas_bundles.RXNORM, code),
            "isActive": True,
            "strength": {
                "numerator": {"value": value, "system": pas_bundles.UCUM, "code": "mg"},
                "denominator": {"value": 1, "system": pas_bundles.UCUM, "code": "mL"},
            },
        }
        for code, value in (("7052", 10), ("2599", 0.5))
    ]
    bag = {"resourceType": "Medication", "id": "bag", "ingredient": parts}
    order = morphine("0.5", contained=[bag], medicationReference={"reference": "#bag"})
    order.pop("medicationCodeableConcept")
    return order


def test_a_compounded_mixture_is_billed_by_the_unclassified_code(pas: Pas) -> None:
    answer = pas.submit(request(order=mixture(), values=COMPLETE | {"compounded": "yes"}, items=[item(code="J3490")]))
    assert actions(answer) == {1: "A1"}
    case = pas.case_of(answer)
    assert case.summary.lines[0].drugs == ("morphine", "clonidine")
    version = pas.cases.version(case.id, 1)
    assert version is not None
    assert json.loads(version.trace)["determination"]["orders"][0]["billing"] == ["J3490"]


def test_a_printed_error_is_never_billed(pas: Pas) -> None:
    # The guideline prints J0475 as bupivacaine; nationally it is baclofen.
    bupivacaine = morphine()
    bupivacaine["medicationCodeableConcept"] = concept(pas_bundles.RXNORM, "1815", text="bupivacaine")
    for number, code in enumerate(["J0475", "J3490"], 1):
        answer = pas.submit(request(number=number, order=bupivacaine, items=[item(code=code)]))
        assert actions(answer) == {1: "A4"}  # the printed conflict alone already asks for a person (decisions 6)
        assert ("does not name the ordered drug" in notes(answer)) == (code == "J0475")
        assert "a billing code that is printed with another drug (J0475)" in notes(answer)


def test_a_drug_under_the_pharmacy_benefit_is_sent_to_its_channel(start: Starts) -> None:
    rules = shipped().prior_auth.benefit
    pas = start(
        configuration=with_rules(
            benefit=msgspec.structs.replace(
                rules, question="pain_origin", pharmacy_answers=frozenset({"non_malignant"})
            )
        )
    )
    answer = pas.submit(request())
    response = claim_response(answer.json)
    assert (answer.status, response["outcome"], "item" in response) == (200, "error", False)
    assert "NCPDP SCRIPT" in response["disposition"]
    assert pas.rows("SELECT 1 FROM outbox") == []
    assert pas.rows("SELECT 1 FROM authorization_on_file") == []


def test_another_payers_member_is_told_so(pas: Pas) -> None:
    bundle = request()
    bundle["entry"][3]["resource"]["name"] = "Some Other Plan"
    response = claim_response(pas.submit(bundle).json)
    assert response["outcome"] == "error"
    assert response["error"][0]["code"]["coding"][0]["code"] == "T4"


FACTS = {
    "request_type": ["trial", "permanent", "refill_or_renewal", None],
    "severe_chronic_intractable_pain": ["yes", "no", "cannot_determine", None],
    "life_expectancy_ge_3_months": ["yes", "no", None],
    "noninvasive_trial_outcome": ["failure", "intolerance", "adequate_relief", None],
    "noninvasive_trial_weeks": [3, 6, 40, None],
    "systemic_opioid_included": ["yes", "no", None],
    "systemic_opioid_fixed_schedule": ["yes", "no", None],
    "implant_contraindications_eliminated": ["yes", "no", None],
    "intraspinal_trial_done": ["yes", "no", None],
    "intraspinal_trial_drug_class": ["opioid", "non_opioid", None],
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.fixed_dictionaries({name: st.sampled_from(options) for name, options in FACTS.items()}),
    rate=st.sampled_from(["0.1", "0.5", "1.5", "1.6", "20"]),
)
def test_order_sign_and_prior_authorization_never_disagree(values: dict[str, Any], rate: str) -> None:
    held = shipped()
    rules = prepare(held.guidelines, held.vocabulary, held.payer, held.digest, Addresses())
    bundle = request(values=COMPLETE | TRIAL_DONE | values, order=morphine(rate))
    read = read_request(read_bundle(parse(encoded(bundle), max_bytes=10_000_000)), "2.2")
    asked = json.loads(assess(rules, held.prior_auth, read, DAY).document)
    signed = json.loads(evaluate_document(_hook(bundle), rules, DAY))
    assert asked == signed


def _hook(bundle: dict[str, Any]) -> bytes:
    """The same order as a draft, and the same chart as prefetch."""
    kinds = {
        "coverage": "Coverage", "conditions": "Condition", "medications": "MedicationRequest",
        "medicationStatements": "MedicationStatement", "questionnaireResponses": "QuestionnaireResponse",
    }  # fmt: skip
    held: dict[str, list[Any]] = {}
    for entry in bundle["entry"]:
        held.setdefault(entry["resource"]["resourceType"], []).append(entry)
    orders = held.pop("MedicationRequest")
    prefetch: dict[str, Any] = {
        key: {"resourceType": "Bundle", "type": "searchset", "entry": held.get(kinds.get(key, kind), [])}
        for key, kind in WANTED.items()
    }
    prefetch["patient"], prefetch["encounter"] = held["Patient"][0]["resource"], None
    prefetch["coverage"]["entry"] = [
        *held["Coverage"],
        *({**each, "search": {"mode": "include"}} for each in held["Organization"]),
    ]
    context = {
        "userId": "Practitioner/prac-1",
        "patientId": "pat-1",
        "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": orders},
    }
    return encoded(
        {
            "hook": "order-sign",
            "hookInstance": "0ce27236-cf79-5680-a12d-99351e7144b4",
            "context": context,
            "prefetch": prefetch,
        }
    )


def test_P034_either_sign_of_urgency_makes_a_request_expedited(pas: Pas) -> None:
    missing = without("noninvasive_trial_weeks")
    level = {
        "url": f"{pas_bundles.EXT}levelOfServiceCode",
        "valueCodeableConcept": concept(f"{pas_bundles.X12}1338", "U"),
    }
    elective = level | {"valueCodeableConcept": concept(f"{pas_bundles.X12}1338", "E")}
    stat = concept("http://terminology.hl7.org/CodeSystem/processpriority", "stat")
    made = [({"extension": [level]}, True), ({"priority": stat}, True), ({"extension": [elective]}, False)]
    for number, (claim, expedited) in enumerate(made, 1):
        case = pas.case_of(pas.submit(request(number=number, values=missing, claim=claim)))
        hours = (case.due - case.received).total_seconds() / 3600  # type: ignore[operator]
        assert (case.expedited, hours) == (expedited, 72 if expedited else 168)

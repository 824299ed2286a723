"""What a machine approves, and what it leaves to a person (decisions 6): every condition by itself, line by line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.domain.billing import BillingCode, Crosswalk, units
from cds_service.domain.clocks import Asked, ClockRule, approval_end, due, extended
from cds_service.fhir.json import parse
from cds_service.fhir.pas.bundle import read_bundle
from cds_service.fhir.pas.request import read_request
from cds_service.use_cases.decide import evaluate_document
from cds_service.use_cases.judge_request import assess
from tests.support import pas_bundles
from tests.support.e2e_service import NOON, shipped, with_payer
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


def other_payer(**changes: Any) -> dict[str, Any]:
    return {"resourceType": "Organization", "id": "payer-2", "name": "Some Other Plan", **changes}


def second_coverage(**changes: Any) -> dict[str, Any]:
    """A request with a second insurance: that Coverage and its payer."""
    coverage = {
        "resourceType": "Coverage",
        "id": "cov-2",
        "identifier": [{"type": pas_bundles.MEMBER_TYPE, "system": "https://payers.example.org", "value": "X7"}],
        "status": "active",
        "beneficiary": {"reference": "Patient/pat-1"},
        "relationship": concept(f"{pas_bundles.X12}1069", "18"),
        "payor": [{"reference": "Organization/payer-2"}],
        **changes,
    }
    return _insured_also({"coverage": {"reference": "Coverage/cov-2"}}, coverage, other_payer())


def _insured_also(second: Mapping[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
    focal = {"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/cov-1"}}
    return request(claim={"insurance": [focal, {"sequence": 2, "focal": False, **second}]}, more=more)


def insured_by(**organization: Any) -> dict[str, Any]:
    """A request whose insurer is an Organization of its own, beside our Coverage."""
    return request(claim={"insurer": {"reference": "Organization/payer-2"}}, more=[other_payer(**organization)])


def changed(kind: str, **changes: Any) -> dict[str, Any]:
    """A complete request with something else in its first resource of a type."""
    bundle = request()
    next(each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == kind).update(changes)
    return bundle


def insured_for(serviced: str = "", **period: str) -> dict[str, Any]:
    """A trial, of which the last day would be 1 April, under a Coverage of this period."""
    bundle = request(items=[item(servicedDate=serviced)]) if serviced else request()
    next(each for each in bundle["entry"] if each["resource"]["resourceType"] == "Coverage")["resource"]["period"] = {
        "start": "2025-01-01"
    } | period
    return bundle


def for_a_year(end: str) -> dict[str, Any]:
    """Permanent therapy, of which the last day would be 1 March of next year, under a Coverage until ``end``."""
    bundle = request(values=COMPLETE | TRIAL_DONE | {"request_type": "permanent"})
    bundle["entry"][2]["resource"]["period"]["end"] = end
    return bundle


def ordered(**changes: Any) -> dict[str, Any]:
    return request(order=morphine(**changes))


def medicated(*codes: str, text: str = "morphine 10 mg/mL") -> dict[str, Any]:
    """Morphine 10 mg/mL by its code, with further codes and other words."""
    coding = [{"system": pas_bundles.RXNORM, "code": code} for code in ("1731998", *codes)]
    return ordered(medicationCodeableConcept={"coding": coding, "text": text})


def dosed(*ends: str | None) -> dict[str, Any]:
    """An order with one dosage instruction for each end of its bounds."""
    instruction = morphine()["dosageInstruction"][0]
    doses = []
    for end in ends:
        bounds = {"boundsPeriod": {"start": "2026-01-01", "end": end}} if end else {}
        doses.append(instruction | {"timing": {"repeat": instruction["timing"]["repeat"] | bounds}})
    return ordered(dosageInstruction=doses)


def procedure(**changes: Any) -> dict[str, Any]:
    """A request for a pump's implantation by its order."""
    order = {
        "resourceType": "ServiceRequest",
        "id": "pump-1",
        "status": "active",
        "intent": "order",
        "code": concept(CPT, "62362"),
        "subject": {"reference": "Patient/pat-1"},
        **changes,
    }
    lines = [item(code="62362", system=CPT, order="ServiceRequest/pump-1")]
    return request(values=COMPLETE | TRIAL_DONE | {"request_type": "permanent"}, items=lines, more=[order])


def in_form_bundle(**changes: Any) -> dict[str, Any]:
    """The form as DTR's Bundle of one."""
    bundle = request()
    form = next(each for each in bundle["entry"] if each["resource"]["resourceType"] == "QuestionnaireResponse")
    inner = {"fullUrl": form["fullUrl"], "resource": form["resource"] | changes}
    form["resource"] = {"resourceType": "Bundle", "id": "forms", "type": "collection", "entry": [inner]}
    form["fullUrl"] = f"{pas_bundles.BASE}Bundle/forms"
    bundle["entry"][0]["resource"]["supportingInfo"][0]["valueReference"] = {"reference": "Bundle/forms"}
    return bundle


def formed(**changes: Any) -> dict[str, Any]:
    """A complete request whose form was written otherwise; its attestation is of today."""
    return changed("QuestionnaireResponse", **changes)


def filled_in_by_a_nurse(**form: Any) -> dict[str, Any]:
    """A physician's name under a form that a nurse wrote."""
    role = {
        "resourceType": "PractitionerRole",
        "id": "nurse-1",
        "code": [concept("http://nucc.org/provider-taxonomy", "163W00000X")],
    }
    bundle = request(more=[role])
    bundle["entry"][7]["resource"].update({"author": {"reference": "PractitionerRole/nurse-1"}, **form})
    return bundle


def signature_of(name: str) -> list[dict[str, Any]]:
    url = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-signature"
    return [{"url": url, "valueSignature": {"who": {"reference": name}}}]


ENDED, LAST_DAY = "2026-03-01", "2026-03-02"
OUR_MEMBER = [{"reference": "Organization/payer-1"}]
FOREIGN_NUMBER = [{"system": "https://payers.example.org", "value": "77"}]
MEDICARE = concept("https://nahdo.org/sopt", "1")
CANCER_PAIN = concept(pas_bundles.ICD10, "g893")  # without its dot, in small letters
RULES = "https://rules.example.org/unknown"
RESOLVED = concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "resolved")

# What stands around a complete request, the request, the condition that fails ("" where it is approved), what is read.
AROUND: list[tuple[str, dict[str, Any], str, str]] = [
    ("insurer of another name", insured_by(), "insurer_ours", "insurer that the Claim names"),
    ("insurer of another number", insured_by(name="", identifier=FOREIGN_NUMBER), "insurer_ours", "insurer"),
    ("insurer with our name and a number", insured_by(name="Florida Blue", identifier=FOREIGN_NUMBER), "", ""),
    ("insurer without a name", insured_by(name=""), "", ""),
    ("insurer whose name tells nothing", insured_by(name="Health Plan"), "", ""),
    ("a second payer in force", second_coverage(), "no_other_insurance", "who pays first"),
    ("Medicare of ours as second", second_coverage(payor=OUR_MEMBER, type=MEDICARE), "no_other_insurance", "insurance"),
    ("a second one that is not sent", _insured_also({"coverage": {"display": "x"}}), "no_other_insurance", "insurance"),
    ("a second payer, ended", second_coverage(period={"end": ENDED}), "", ""),
    ("a second payer, cancelled", second_coverage(status="cancelled"), "", ""),
    ("a second Coverage of ours", second_coverage(payor=OUR_MEMBER), "", ""),
    ("deceased", changed("Patient", deceasedBoolean=True), "patient_living", "deceased"),
    ("deceased on a day", changed("Patient", deceasedDateTime="2026-02"), "patient_living", "deceased"),
    ("not deceased, in use", changed("Patient", deceasedBoolean=False, active=True), "", ""),
    ("a record out of use", changed("Patient", active=False), "patient_record_active", "no longer in use"),
    ("rules of the order", ordered(implicitRules=RULES), "rules_known", "implicitRules"),
    ("rules of the Claim", changed("Claim", implicitRules=RULES), "rules_known", "implicitRules"),
    ("rules of the form", changed("QuestionnaireResponse", implicitRules=RULES), "rules_known", "implicitRules"),
    ("rules of a form in a Bundle", in_form_bundle(implicitRules=RULES), "rules_known", "implicitRules"),
    ("a form in a Bundle", in_form_bundle(), "", ""),
    ("validity ended", ordered(dispenseRequest={"validityPeriod": {"end": ENDED}}), "still_current", "has ended"),
    ("validity on its last day", ordered(dispenseRequest={"validityPeriod": {"end": LAST_DAY}}), "", ""),
    ("validity of this month", ordered(dispenseRequest={"validityPeriod": {"end": "2026-03"}}), "", ""),
    ("an end that is none", ordered(dispenseRequest={"validityPeriod": {"end": "soon"}}), "still_current", "has ended"),
    ("every dosage ended", dosed(ENDED, ENDED), "still_current", "has ended"),
    ("a dosage on its last day", dosed(LAST_DAY), "", ""),
    ("one dosage ended, one goes on", dosed(ENDED, None), "", ""),
    ("service before today", request(items=[item(servicedDate=ENDED)]), "still_current", "has ended"),
    ("service ended", request(items=[item(servicedPeriod={"end": ENDED})]), "still_current", "has ended"),
    ("service today", request(items=[item(servicedDate=LAST_DAY)]), "", ""),
    ("procedure ended", procedure(occurrencePeriod={"end": ENDED}), "still_current", "has ended"),
    ("procedure before today", procedure(occurrenceDateTime=f"{ENDED}T08:00:00Z"), "still_current", "has ended"),
    ("procedure to come", procedure(occurrenceDateTime="2026-03-09"), "", ""),
    # A plan year that ends within the trial's month: the membership usually goes on; the note says what it hangs on.
    ("a coverage that ends within the month", insured_for(end="2026-03-31"), "",
     "while the member is covered: the coverage sent ends on 2026-03-31"),
    ("a coverage until the last day", insured_for(end="2026-04-01"), "", ""),
    ("a coverage without an end", insured_for(), "", ""),
    ("an end of coverage that is none", insured_for(end="soon"), "covered_throughout", "the coverage does not hold"),
    ("a service after the coverage", insured_for(end="2026-03-15", serviced="2026-03-20"), "covered_throughout",
     "the coverage does not hold"),
    ("a service on its last day", insured_for(end="2026-03-20", serviced="2026-03-20"), "", "ends on 2026-03-20"),
    ("a year under a coverage of this year", for_a_year(end="2026-12-31"), "", "ends on 2026-12-31"),
    # Answers of a fortnight ago with today's date under them: nobody says that they still hold.
    ("a form of a fortnight ago, attested today", formed(authored="2026-02-16T09:00:00Z"), "attested", "signature"),
    ("a form of yesterday, attested today", formed(authored="2026-03-01T22:00:00Z"), "", ""),
    ("a form of a day to come", formed(authored="2026-09-01"), "attested", "signature"),
    ("a form of tomorrow's zone", formed(authored="2026-03-03T01:00:00+13:00"), "", ""),
    # The physician's name in a nurse's form: filled in for the physician, not signed by the physician.
    ("a nurse's form", filled_in_by_a_nurse(), "attested", "not signed by a prescriber"),
    ("a nurse's form, signed by a nurse", filled_in_by_a_nurse(extension=signature_of("PractitionerRole/nurse-1")),
     "attested", "not signed by a prescriber"),
    ("a nurse's form, signed by the physician", filled_in_by_a_nurse(extension=signature_of("Practitioner/prac-1")),
     "", ""),
    # The code says morphine, the words a drug several times as strong; or the code half of the strength in the words.
    ("words of another drug", medicated(text="hydromorphone 10 mg/mL"), "nothing_doubtful", "disagree (morphine)"),
    ("a second code of another drug", medicated("3423"), "nothing_doubtful", "disagree (morphine)"),
    ("a second code of the same drug", medicated("7052"), "", ""),
    ("words of another strength", medicated(text="morphine 25 mg/mL"), "nothing_doubtful", "disagree (morphine)"),
    ("words of a larger dose", ordered(note=[{"text": "up to 20 mg/day"}]), "nothing_doubtful", "disagree (morphine)"),
    ("cancer pain ordered for", ordered(reasonCode=[CANCER_PAIN]), "answers_fit_diagnoses", "speaks against"),
    ("cancer pain in the chart", changed("Condition", code=CANCER_PAIN), "answers_fit_diagnoses", "speaks against"),
    ("cancer pain of before", changed("Condition", code=CANCER_PAIN, clinicalStatus=RESOLVED), "", ""),
    (
        "cancer pain on the Claim",
        changed("Claim", diagnosis=[{"sequence": 1, "diagnosisCodeableConcept": CANCER_PAIN}]),
        "answers_fit_diagnoses",
        "speaks against",
    ),
    (
        "cancer pain, and so answered",
        request(values=COMPLETE | {"pain_origin": "malignant"}, order=morphine(reasonCode=[CANCER_PAIN])),
        "",
        "",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("bundle", "condition", "told"), [pytest.param(*rest, id=name) for name, *rest in AROUND])
def test_what_stands_around_a_complete_request(bundle: dict[str, Any], condition: str, told: str, pas: Pas) -> None:
    answer = pas.submit(bundle)
    assert actions(answer) == {1: "A4" if condition else "A1"}
    version = pas.cases.version(pas.case_of(answer).id, 1)
    assert version is not None
    conditions = json.loads(version.trace)["lines"][0]["conditions"]
    # It is the only thing that is wrong: what else the request says would be approved.
    assert [each["condition"] for each in conditions if not each["holds"]] == ([condition] if condition else [])
    assert told.lower() in notes(answer).lower()


def test_a_member_of_another_program_waits_for_a_person(pas: Pas) -> None:
    bundle = request()
    bundle["entry"][2]["resource"]["class"] = [{"type": concept("x", "plan"), "value": "FEP"}]
    answer = pas.submit(bundle)
    assert actions(answer) == {1: "A4"}
    assert "program" in notes(answer)


def test_a_service_of_which_the_guideline_does_not_speak_is_asked_for_nothing_of_it(pas: Pas) -> None:
    wound_care = {
        "resourceType": "ServiceRequest",
        "id": "care-1",
        "status": "active",
        "intent": "order",
        "code": concept(HCPCS, "G0299"),
        "subject": {"reference": "Patient/pat-1"},
    }
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


def test_an_ended_coverage_waits_for_a_person(pas: Pas) -> None:
    bundle = request()
    bundle["entry"][2]["resource"]["period"] = {"start": "2025-01-01", "end": "2025-12-31"}
    assert actions(pas.submit(bundle)) == {1: "A4"}


# A payer that authorizes no day on which the coverage is not known to hold.
ENDING = [
    ("a coverage that ends too soon", insured_for(end="2026-03-31"), "A4"),
    ("a coverage until the last day", insured_for(end="2026-04-01"), "A1"),
    ("a coverage until that month", insured_for(start="2026", end="2026-04"), "A1"),
    ("a coverage without an end", insured_for(), "A1"),
    ("a year under a coverage of this year", for_a_year(end="2026-12-31"), "A4"),
    ("a year under a coverage as long", for_a_year(end="2027-03-01"), "A1"),
]


@pytest.mark.parametrize(("bundle", "action"), [pytest.param(*rest, id=name) for name, *rest in ENDING])
def test_a_payer_may_leave_a_coverage_that_ends_to_a_person(bundle: dict[str, Any], action: str, start: Starts) -> None:
    answer = start(configuration=with_rules(coverage_ending="wait")).submit(bundle)
    assert actions(answer) == {1: action}
    assert ("the coverage does not hold as long" in notes(answer)) is (action == "A4")


def test_a_payer_may_take_the_table_for_advice(start: Starts) -> None:
    pas = start(configuration=with_payer(dose_limit_effect="advise"))
    assert actions(pas.submit(request(order=morphine("1.6")))) == {1: "A1"}  # 16 mg/d, limit 15


def test_there_is_no_denial_by_machine(pas: Pas) -> None:
    worst = dict.fromkeys(COMPLETE, "no") | {"request_type": "trial", "attestation_name": "Dr. Ada Field"}
    assert actions(pas.submit(request(values=worst, order=morphine("9")))) == {1: "A4"}


def test_each_line_gets_its_own_answer(pas: Pas) -> None:
    pump = {
        "resourceType": "ServiceRequest",
        "id": "pump-1",
        "status": "active",
        "intent": "order",
        "code": concept(CPT, "62362"),
        "subject": {"reference": "Patient/pat-1"},
    }
    refill = pump | {"id": "refill-1", "code": concept(CPT, "62370")}
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
    import msgspec  # noqa: PLC0415

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
    from cds_service.use_cases.decide import Addresses, prepare  # noqa: PLC0415

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
    from cds_service.cds_hooks.prefetch import WANTED  # noqa: PLC0415

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


# Approval periods: first day, duration, last day (analysis 1.4)
PERIODS = [
    ("2026-03-02", "P1M", "2026-04-01"),
    ("2026-01-31", "P1M", "2026-02-28"),  # February has no 31st: its last day
    ("2024-01-31", "P1M", "2024-02-29"),
    ("2026-01-01", "P1M", "2026-01-31"),
    ("2026-12-15", "P1M", "2027-01-14"),
    ("2026-03-02", "P1Y", "2027-03-01"),
    ("2024-02-29", "P1Y", "2025-02-28"),
    ("2026-03-02", "P6W", "2026-04-12"),
    ("2026-03-02", "P1D", "2026-03-02"),
]


@pytest.mark.parametrize(("start", "duration", "end"), PERIODS)
def test_approval_periods(start: str, duration: str, end: str) -> None:
    assert approval_end(date.fromisoformat(start), duration).isoformat() == end


def test_a_period_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="duration"):
        approval_end(DAY, "1 month")


# Billing units: mg, mg per unit, units. A part of a unit is a whole one; nothing is rounded before.
UNITS = [("0", "10", 0), ("10", "10", 1), ("10.0001", "10", 2), ("155", "10", 16), ("0.35", "0.001", 350),
         ("1/3", "0.001", 334), ("12.5", "0.05", 250)]  # fmt: skip


@pytest.mark.parametrize(("milligrams", "unit", "count"), UNITS)
def test_billing_units_are_exact(milligrams: str, unit: str, count: int) -> None:
    assert units(Fraction(milligrams), Fraction(unit)) == count


def test_a_code_is_valid_on_certain_days_alone() -> None:
    code = BillingCode("J1170", "hydromorphone", Fraction(4), date(2020, 4, 1), date(2024, 9, 30))
    walk = Crosswalk((code,), frozenset({"J3490"}))
    assert walk.fits("J1170", ["hydromorphone"], date(2024, 9, 30)) is True
    assert walk.fits("J1170", ["hydromorphone"], date(2024, 10, 1)) is False
    assert walk.fits("J1170", ["morphine"], date(2024, 9, 30)) is False
    assert walk.fits("J3490", ["morphine"], DAY) is True
    assert walk.fits("12345678901", ["morphine"], DAY) is None  # an NDC: taken as it is


# Clocks (C01): program, plan, drug?, expedited?, hours
CLOCKS = [
    ("medicare_advantage", "", True, False, 72), ("medicare_advantage", "", True, True, 24),
    ("medicare_advantage", "", False, False, 168), ("medicare_advantage", "", False, True, 72),
    ("standard", "Medicaid", True, False, 24), ("standard", "medicaid", False, False, 168),
    ("standard", "", True, False, 168), ("standard", "", False, True, 72),
    ("unknown", "", True, False, 24), ("unknown", "", True, True, 24),  # nothing fits: the strictest
]  # fmt: skip


@pytest.mark.parametrize(("program", "plan", "drug", "expedited", "hours"), CLOCKS)
def test_C01_due_times(program: str, plan: str, drug: bool, expedited: bool, hours: int) -> None:
    start = datetime.fromtimestamp(NOON, UTC)
    rules = shipped().prior_auth.clocks
    held = due(rules, start, Asked(program=program, plans=[plan], benefit="medical", drug=drug, expedited=expedited))
    assert held - start == timedelta(hours=hours)


@pytest.mark.parametrize(("program", "plan", "drug", "expedited", "hours"), CLOCKS)
def test_C01_only_a_standard_request_of_a_plan_that_allows_it_is_extended(
    program: str, plan: str, drug: bool, expedited: bool, hours: int
) -> None:
    start = datetime.fromtimestamp(NOON, UTC)
    asked = Asked(program=program, plans=[plan], benefit="medical", drug=drug, expedited=expedited)
    allowed = plan.casefold() == "medicaid" and not drug
    held = extended(shipped().prior_auth.clocks, start, asked)
    assert held == (start + timedelta(days=14) if allowed else None), hours
    urgent = msgspec.structs.replace(asked, expedited=True)
    assert extended(shipped().prior_auth.clocks, start, urgent) is None


def test_a_payer_without_clocks_has_a_day() -> None:
    start = datetime.fromtimestamp(NOON, UTC)
    asked = Asked(program="standard", plans=(), benefit="", drug=True, expedited=False)
    assert due([], start, asked) - start == timedelta(1)
    assert ClockRule(1, 2).hours(expedited=True) == 2


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

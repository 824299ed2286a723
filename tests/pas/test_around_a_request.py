"""What stands around a complete request and speaks against an approval: insurance, dates, signature (decisions 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support import pas_bundles
from tests.support.pas_bundles import COMPLETE, CPT, TRIAL_DONE, concept, item, morphine, request, service_request
from tests.support.pas_service import Pas, Starts, actions, notes, with_rules


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
    order = service_request("pump-1", concept(CPT, "62362"), **changes)
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

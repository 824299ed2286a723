"""The same complete request as other systems would write it: each shape is legal, and none is a ground to wait."""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.pas_bundles import (
    BASE,
    CANONICAL,
    HCPCS,
    ICD10,
    PAS,
    RXNORM,
    SNOMED,
    UCUM,
    X12,
    concept,
    encoded,
    request,
)
from tests.support.pas_service import Pas, actions, notes

Json = dict[str, Any]
Change = Callable[[Json], object]
CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
ROLE = {
    "resourceType": "PractitionerRole",
    "id": "role-1",
    "practitioner": {"reference": "Practitioner/prac-1"},
    "organization": {"reference": "Organization/clinic-1"},
    "specialty": [{"text": "Pain medicine"}],
}
PER_MILLILITRE = {
    "numerator": {"value": 10, "unit": "mg", "system": UCUM, "code": "mg"},
    "denominator": {"value": 1, "unit": "mL", "system": UCUM, "code": "mL"},
}


def held(bundle: Json, kind: str) -> Json:
    return next(each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == kind)


def put(bundle: Json, resource: Json) -> None:
    url = f"{BASE}{resource['resourceType']}/{resource['id']}"
    bundle["entry"].append({"fullUrl": url, "resource": resource})


def of(kind: str, **changes: Any) -> Change:
    """Members of the first resource of that type set, or taken out where None."""

    def change(bundle: Json) -> None:
        resource = held(bundle, kind) | changes
        held(bundle, kind).clear()
        next(each for each in bundle["entry"] if not each["resource"])["resource"] = {
            name: value for name, value in resource.items() if value is not None
        }

    return change


def beside(**resource: Any) -> Change:
    return lambda bundle: put(bundle, resource)


def line(**changes: Any) -> Change:
    return lambda bundle: held(bundle, "Claim")["item"][0].update(changes)


def dosage(**changes: Any) -> Change:
    return lambda bundle: held(bundle, "MedicationRequest")["dosageInstruction"][0].update(changes)


def answered(change: Callable[[list[Json]], list[Json]]) -> Change:
    def changed(bundle: Json) -> None:
        form = held(bundle, "QuestionnaireResponse")
        form["item"] = change(form["item"])

    return changed


def renamed(bundle: Json, names: dict[str, str]) -> None:
    text = json.dumps(bundle)
    for old, new in names.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    bundle.clear()
    bundle.update(json.loads(text))


def by_urn(bundle: Json) -> None:
    names = {}
    for each in bundle["entry"]:
        digest = hashlib.md5((bundle["id"] + each["fullUrl"]).encode(), usedforsecurity=False).digest()
        urn = f"urn:uuid:{uuid.UUID(bytes=digest, version=4)}"
        names |= {each["fullUrl"]: urn, each["fullUrl"].removeprefix(BASE): urn}
    renamed(bundle, names)


def absolute(bundle: Json) -> None:
    renamed(bundle, {each["fullUrl"].removeprefix(BASE): each["fullUrl"] for each in bundle["entry"]})


def by_role(bundle: Json) -> None:
    put(bundle, ROLE)
    role = {"reference": "PractitionerRole/role-1"}
    held(bundle, "Claim")["provider"] = role
    held(bundle, "MedicationRequest")["requester"] = role
    held(bundle, "QuestionnaireResponse")["author"] = role


def medication(bundle: Json, *, contained: bool = False) -> None:
    order = held(bundle, "MedicationRequest")
    resource = {"resourceType": "Medication", "id": "m-1", "code": order.pop("medicationCodeableConcept")}
    order["medicationReference"] = {"reference": "#m-1" if contained else "Medication/m-1"}
    if contained:
        order["contained"] = [resource]
    else:
        put(bundle, resource)


def compounded(bundle: Json) -> None:
    medication(bundle, contained=True)
    part = {"itemCodeableConcept": concept(RXNORM, "7052", text="morphine"), "strength": PER_MILLILITRE}
    held(bundle, "MedicationRequest")["contained"][0] |= {"code": {"text": "pump solution"}, "ingredient": [part]}
    held(bundle, "Claim")["item"][0]["productOrService"] = concept(HCPCS, "J3490")
    for each in held(bundle, "QuestionnaireResponse")["item"]:
        if each["linkId"] == "compounded":
            each["answer"][0]["valueCoding"]["code"] = "yes"


def as_boolean(items: list[Json]) -> list[Json]:
    for each in items:
        code = each["answer"][0].get("valueCoding", {}).get("code")
        if code in {"yes", "no"}:
            each["answer"] = [{"valueBoolean": code == "yes"}]
    return items


def as_integer(items: list[Json]) -> list[Json]:
    for each in items:
        if "valueDecimal" in each["answer"][0]:
            each["answer"] = [{"valueInteger": int(each["answer"][0]["valueDecimal"])}]
    return items


def in_bundle(bundle: Json) -> None:
    entry = next(each for each in bundle["entry"] if each["resource"]["resourceType"] == "QuestionnaireResponse")
    bundle["entry"].remove(entry)
    put(bundle, {"resourceType": "Bundle", "id": "forms", "type": "collection", "entry": [entry]})
    held(bundle, "Claim")["supportingInfo"][0]["valueReference"] = {"reference": "Bundle/forms"}


def spouse(bundle: Json) -> None:
    other = copy.deepcopy(held(bundle, "Patient")) | {"id": "pat-2", "name": [{"family": "Other"}]}
    other["identifier"][0]["value"] = "S" + other["identifier"][0]["value"]
    put(bundle, other)
    of("Coverage", subscriber={"reference": "Patient/pat-2"}, relationship=concept(f"{X12}1069", "01"))(bundle)


def older_draft(bundle: Json) -> None:
    form = copy.deepcopy(held(bundle, "QuestionnaireResponse"))
    put(bundle, form | {"id": "qr-0", "status": "in-progress", "authored": "2026-02-20T00:00:00Z"})


def western_clock(bundle: Json) -> None:
    held(bundle, "Claim")["created"] = "2026-03-02T05:00:00-05:00"
    held(bundle, "MedicationRequest")["authoredOn"] = "2026-03-02T04:58:00.123-05:00"
    held(bundle, "QuestionnaireResponse")["authored"] = "2026-03-02T04:59:00-05:00"


def in_capitals(bundle: Json) -> None:
    payer = next(each["resource"] for each in bundle["entry"] if each["resource"]["id"] == "payer-1")
    payer |= {"name": "FLORIDA BLUE", "identifier": [{"system": "urn:example:payers", "value": "FB"}]}


def everywhere(**changes: Any) -> Change:
    return lambda bundle: [each["resource"].update(changes) for each in bundle["entry"]]


def further_diagnosis(bundle: Json) -> None:
    second = {"sequence": 2, "diagnosisCodeableConcept": concept(ICD10, "M96.1")}
    held(bundle, "Claim")["diagnosis"].append(second)


def attached(bundle: Json) -> None:
    content = [{"attachment": {"contentType": "application/pdf", "data": "JVBERi0="}}]
    put(
        bundle,
        {
            "resourceType": "DocumentReference",
            "id": "note",
            "status": "current",
            "type": {"text": "visit note"},
            "subject": {"reference": "Patient/pat-1"},
            "content": content,
        },
    )
    first = held(bundle, "Claim")["supportingInfo"][0]
    held(bundle, "Claim")["supportingInfo"].append(
        first | {"sequence": 2, "valueReference": {"reference": "DocumentReference/note"}}
    )


SHAPES: list[tuple[str, Change]] = [
    ("references by urn", by_urn),
    ("absolute references", absolute),
    ("a role in place of clinic and physician", by_role),
    ("no claim for supporting information", of("Claim", supportingInfo=None)),
    ("urgent", of("Claim", priority=concept("http://terminology.hl7.org/CodeSystem/processpriority", "stat"))),
    ("a day without time", of("Claim", created="2026-03-02")),
    ("a clock of the west", western_clock),
    ("a care team", of("Claim", careTeam=[{"sequence": 1, "provider": {"reference": "Practitioner/prac-1"}}])),
    ("a further diagnosis", further_diagnosis),
    ("a diagnosis without its dot", of("Claim", diagnosis=[
        {"sequence": 1, "diagnosisCodeableConcept": concept(ICD10, "G8928")}])),
    ("a visit note beside the form", attached),
    # Lines: when, how much, and how a code system is spelt.
    ("a period of service", line(servicedPeriod={"start": "2026-03-05", "end": "2026-04-01"})),
    ("a day of service", line(servicedDate="2026-03-05")),
    ("units that dose and month come to", line(quantity={"value": 15})),
    ("a price", line(unitPrice={"value": 10.5, "currency": "USD"})),
    ("HCPCS by its other address", line(productOrService=concept(HCPCS.replace("http:", "https:"), "J2274"))),
    # Patient and Coverage: what PAS lets go without, and what comes along.
    ("no date of birth", of("Patient", birthDate=None)),
    ("a record number beside the member's", lambda b: held(b, "Patient")["identifier"].append(
        {"type": concept("http://terminology.hl7.org/CodeSystem/v2-0203", "MR"), "system": "urn:mrn", "value": "1"})),
    ("no period of the coverage", of("Coverage", period=None)),
    ("own subscriber", of("Coverage", subscriber={"reference": "Patient/pat-1"})),
    ("insured through a spouse", spouse),
    ("a health policy", of("Coverage", type=concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "EHCPOL"))),
    ("a source of payment", of("Coverage", type=concept("https://nahdo.org/sopt", "512", text="Commercial PPO"))),
    ("a group and a plan", of("Coverage", **{"class": [
        {"type": concept("http://terminology.hl7.org/CodeSystem/coverage-class", "group"), "value": "G100"},
        {"type": concept("http://terminology.hl7.org/CodeSystem/coverage-class", "plan"), "value": "PPO"}]})),
    ("a payer in capitals", in_capitals),
    # The drug: by its product, its ingredients, or beside the order; 5 mg a day however it is written.
    ("a medication of its own", medication),
    ("a medication inside the order", lambda b: medication(b, contained=True)),
    ("compounded, by its ingredient", compounded),
    ("milligrams a day", dosage(doseAndRate=[
        {"rateQuantity": {"value": 5, "unit": "mg/d", "system": UCUM, "code": "mg/d"}}])),
    ("a rate as a ratio", dosage(doseAndRate=[{"rateRatio": {
        "numerator": {"value": 0.5, "unit": "mL", "system": UCUM, "code": "mL"},
        "denominator": {"value": 1, "unit": "d", "system": UCUM, "code": "d"}}}])),
    ("a rate without timing", lambda b: held(b, "MedicationRequest")["dosageInstruction"][0].pop("timing")),
    ("a dose also in words", dosage(text="0.5 mL per day by continuous intrathecal infusion (5 mg/day)")),
    ("a route in words", dosage(route={"text": "intrathecal"})),
    ("epidural, for which the table has no limit", dosage(route=concept(SNOMED, "404820008"))),
    ("a year's supply", of("MedicationRequest", dispenseRequest={
        "validityPeriod": {"start": "2026-03-02", "end": "2027-03-01"},
        "quantity": {"value": 20, "unit": "mL", "system": UCUM, "code": "mL"}})),
    ("the coverage on the order", of("MedicationRequest", insurance=[{"reference": "Coverage/cov-1"}])),
    ("a note without a dose", of("MedicationRequest", note=[{"text": "Please expedite if possible."}])),
    ("a reason by reference", of("MedicationRequest", reasonCode=None, reasonReference=[
        {"reference": "Condition/cond-1"}])),
    ("no reason on the order", of("MedicationRequest", reasonCode=None)),
    # The form: grouped, with other types of answers, wrapped, or with another beside it.
    ("answers in groups", answered(lambda items: [{"linkId": "all", "item": items}])),
    ("answers as booleans", answered(as_boolean)),
    ("weeks as a whole number", answered(as_integer)),
    ("no answers but those of the criteria", answered(lambda items: [
        each for each in items
        if each["linkId"] not in {"compounded", "preservative_free_confirmed", "pain_origin"}])),
    ("a form without its version", of("QuestionnaireResponse", questionnaire=CANONICAL.partition("|")[0])),
    ("a form that names no author", of("QuestionnaireResponse", author=None)),
    ("a form in a Bundle", in_bundle),
    ("an older draft beside it", older_draft),
    # The chart: what does not speak against anything.
    ("a pain score", beside(resourceType="Observation", id="pain", status="final",
        code=concept("http://loinc.org", "72514-3"), subject={"reference": "Patient/pat-1"},
        effectiveDateTime="2026-02-20", valueInteger=8)),
    ("an allergy to another drug", beside(resourceType="AllergyIntolerance", id="a",
        clinicalStatus=concept(CLINICAL, "active"), code=concept(RXNORM, "7980", text="penicillin"),
        patient={"reference": "Patient/pat-1"})),
    ("no known allergy", beside(resourceType="AllergyIntolerance", id="a",
        clinicalStatus=concept(CLINICAL, "active"), code=concept(SNOMED, "716186003", text="No known allergy"),
        patient={"reference": "Patient/pat-1"})),
    ("oral opioids that go on", beside(resourceType="MedicationRequest", id="oral", status="active", intent="order",
        medicationCodeableConcept=concept(RXNORM, "7804", text="oxycodone 10 mg tablet"),
        subject={"reference": "Patient/pat-1"}, authoredOn="2025-09-01",
        dosageInstruction=[{"text": "1 tablet 4 times daily", "route": concept(SNOMED, "26643006")}])),
    # What every server adds.
    ("narratives", everywhere(text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'})),
    ("profiles and versions", everywhere(meta={"versionId": "3", "profile": [f"{PAS}/StructureDefinition/other"]})),
    ("an extension of its own", everywhere(extension=[{"url": "https://ehr.example.org/own", "valueString": "x"}])),
]  # fmt: skip


@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in SHAPES])
def test_P015_a_complete_request_of_any_legal_shape_is_approved(change: Change, version: str, pas: Pas) -> None:
    bundle = json.loads(encoded(request()))
    change(bundle)
    answer = pas.submit(bundle, version)
    assert answer.status == 200, answer.json
    assert actions(answer) == {1: "A1"}, notes(answer)


def test_every_shape_is_another_request() -> None:
    usual = json.loads(encoded(request()))
    for name, change in SHAPES:
        bundle = copy.deepcopy(usual)
        change(bundle)
        assert bundle != usual, name

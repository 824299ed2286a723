"""Answers of the coverage questionnaire (contract: questionnaire)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from cds_service.domain.record import Answer
from cds_service.fhir.answers import read_answers
from tests.unit.fhir.charts import SUBJECT, chart_of

CANONICAL = "https://cds.example.org/fhir/Questionnaire/09-J1000-31"
SYSTEM = "https://cds.example.org/fhir/CodeSystem/coverage-answers"


def item(name: str, *answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"linkId": name, "answer": list(answers), **more}


def coded(name: str, code: str) -> dict[str, Any]:
    return item(name, {"valueCoding": {"system": SYSTEM, "code": code}})


def response(*items: dict[str, Any], **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "q1",
        "questionnaire": f"{CANONICAL}|2016-02-15",
        "status": "completed",
        "subject": SUBJECT,
        "authored": "2026-02-01T10:00:00Z",
        "author": {"reference": "Practitioner/a"},
        "item": list(items),
        **elements,
    }


def read(resource: dict[str, Any], *, signature_required: bool = False) -> dict[str, Answer]:
    found = read_answers(chart_of(resource), CANONICAL, signature_required=signature_required)
    return {answer.fact: answer for answer in found}


VALUES = [
    ("choice", {"valueCoding": {"system": SYSTEM, "code": "trial"}}, "trial"),
    ("boolean for yes", {"valueBoolean": True}, "yes"),
    ("boolean for no", {"valueBoolean": False}, "no"),
    ("decimal", {"valueDecimal": Decimal("6.0")}, Fraction(6)),
    ("integer", {"valueInteger": 8}, Fraction(8)),
    ("date", {"valueDate": "2026-01-15"}, date(2026, 1, 15)),
    ("dateTime", {"valueDateTime": "2026-01-15T10:00:00Z"}, date(2026, 1, 15)),
    ("text", {"valueString": " stable for years "}, "stable for years"),
    ("cannot determine is an answer", {"valueCoding": {"code": "cannot_determine"}}, "cannot_determine"),
    ("coding without code", {"valueCoding": {"display": "yes"}}, None),
    ("boolean in text", {"valueBoolean": "true"}, None),
    ("number in text", {"valueDecimal": "6"}, None),
    ("no date", {"valueDate": "last week"}, None),
    ("empty text", {"valueString": " "}, None),
    ("empty", {}, None),
]


@pytest.mark.parametrize(("answer", "value"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_value(answer: dict[str, Any], value: object) -> None:
    found = read(response(item("fact", answer)))
    assert (found["fact"].value if found else None) == value


def test_groups_and_nested_answers() -> None:
    group = {"linkId": "clinical_rationale", "item": [coded("clinical_rationale_reason", "other")]}
    nested = item(
        "intraspinal_trial_done",
        {"valueBoolean": True, "item": [item("intraspinal_trial_date", {"valueDate": "2026-01-02"})]},
    )
    assert set(read(response({"linkId": "g", "item": [group]}, nested))) == {
        "clinical_rationale_reason",
        "intraspinal_trial_done",
        "intraspinal_trial_date",
    }


@pytest.mark.parametrize(
    ("canonical", "count"),
    [
        (CANONICAL, 1),
        (f"{CANONICAL}|1999", 1),
        (f"{CANONICAL}-other", 0),
        ("https://elsewhere.example/Questionnaire/09-J1000-31", 0),
        (None, 0),
    ],
)
def test_only_this_questionnaire_in_any_version(canonical: str | None, count: int) -> None:
    assert len(read(response(coded("request_type", "trial"), questionnaire=canonical))) == count


@pytest.mark.parametrize(
    ("status", "counts"),
    [("completed", True), ("amended", True), ("in-progress", False), ("stopped", False)],
)
def test_unfinished_answers_are_shown_not_counted(status: str, *, counts: bool) -> None:
    assert read(response(coded("request_type", "trial"), status=status))["request_type"].counts is counts


def test_errors_and_other_patients_answers_are_not_there() -> None:
    assert not read(response(coded("request_type", "trial"), status="entered-in-error"))
    assert not read(response(coded("request_type", "trial"), subject={"reference": "Patient/p2"}))


DATE = item("attestation_date", {"valueDate": "2026-02-03"})
NAME = item("attestation_name", {"valueString": "Dr. Example"})


def test_age_runs_from_the_attestation_else_from_authored() -> None:
    trial = coded("request_type", "trial")
    assert read(response(trial, DATE))["request_type"].attested_on == date(2026, 2, 3)
    assert read(response(trial))["request_type"].attested_on == date(2026, 2, 1)
    assert read(response(trial, authored=None))["request_type"].attested_on is None


SIGNATURES = [
    ("prescriber and date", response(DATE), True),
    ("role", response(DATE, author={"reference": "PractitionerRole/a"}), True),
    ("absolute", response(DATE, author={"reference": "https://ehr.example.org/fhir/Practitioner/a"}), True),
    ("by type of a logical reference", response(DATE, author={"type": "Practitioner", "display": "Dr. Example"}), True),
    ("name of a prescriber, entered by a device", response(DATE, NAME, author={"reference": "Device/a"}), True),
    ("patient", response(DATE, author={"reference": "Patient/p1"}), False),
    ("nobody", response(DATE, author=None), False),
    ("no date", response(NAME), False),
    ("unfinished", response(DATE, NAME, status="in-progress"), False),
]


@pytest.mark.parametrize(("entry", "signed"), [row[1:] for row in SIGNATURES], ids=[row[0] for row in SIGNATURES])
def test_signed(entry: dict[str, Any], *, signed: bool) -> None:
    entry["item"].append(coded("request_type", "trial"))
    assert read(entry)["request_type"].signed is signed


def test_electronic_signature_where_the_payer_asks_for_it() -> None:
    entry = response(DATE, coded("request_type", "trial"))
    assert read(entry, signature_required=True)["request_type"].signed is False
    url = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-signature"
    entry["extension"] = [{"url": url, "valueSignature": {"who": {"reference": "Practitioner/a"}}}]
    assert read(entry, signature_required=True)["request_type"].signed is True


def test_source_and_author() -> None:
    answer = read(response(coded("request_type", "trial"), author={"reference": "Practitioner/a", "display": "Dr. E"}))
    assert (answer["request_type"].source, answer["request_type"].author) == ("QuestionnaireResponse/q1", "Dr. E")


def nurse(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Practitioner", "id": "a", **elements}


def role(*codes: tuple[str, str]) -> dict[str, Any]:
    held = [{"coding": [{"system": system, "code": code}]} for system, code in codes]
    return {"resourceType": "PractitionerRole", "id": "a", "code": held}


RN = {"code": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0360", "code": "RN"}]}}
NP = {"code": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0360", "code": "NP"}]}}
TAXONOMY = "http://nucc.org/provider-taxonomy"
PROFESSIONS: list[tuple[str, dict[str, Any], bool]] = [
    ("a practitioner of whom nothing is told", nurse(), True),
    ("a registered nurse", nurse(qualification=[RN]), False),
    ("a nurse who is a nurse practitioner, too", nurse(qualification=[RN, NP]), True),
    ("the role of a nurse", role((TAXONOMY, "163W00000X")), False),
    ("the role of a nurse practitioner", role((TAXONOMY, "363L00000X")), True),
    (
        "the role of a pharmacist",
        role(("http://terminology.hl7.org/CodeSystem/practitioner-role", "pharmacist")),
        False,
    ),
    ("a role with a code that is not known here", role(("urn:x", "1")), True),
]


@pytest.mark.parametrize(("author", "signed"), [row[1:] for row in PROFESSIONS], ids=[row[0] for row in PROFESSIONS])
def test_who_is_known_not_to_prescribe_does_not_sign(author: dict[str, Any], signed: bool) -> None:
    form = response(DATE, author={"reference": f"{author['resourceType']}/a"})
    (answer,) = read_answers(chart_of(form, author), CANONICAL)
    assert answer.signed is signed


NAMES = [
    ("Dr. Example", True),
    ("Cora Lake, RN", False),
    ("Cora Lake, BSN, R.N.", False),
    ("Ada Field, RN, FNP-BC", True),
    ("Ada Field, MD", True),
    ("Mary Lpn", True),  # a family name has no letters of a profession
]


@pytest.mark.parametrize(("name", "signed"), NAMES)
def test_the_letters_after_the_name_that_attests(name: str, signed: bool) -> None:
    found = read(response(DATE, item("attestation_name", {"valueString": name})))
    assert found["attestation_name"].signed is signed

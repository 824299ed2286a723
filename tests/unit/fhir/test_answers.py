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


DATE = item("attestation_date", {"valueDate": "2026-02-01"})
NAME = item("attestation_name", {"valueString": "Dr. Example"})

# Day of the attestation, when the form was written, the day from which its age runs, whether it is a signature.
AGES = [
    ("the same day", "2026-02-01", "2026-02-01T10:00:00Z", "2026-02-01", True),
    # Written in January, signed by hand of a colleague in March: nobody knows that the answers still hold.
    ("a day of today under an old form", "2026-03-02", "2025-11-01T10:00:00Z", "2025-11-01", False),
    ("two days after the form", "2026-02-03", "2026-02-01T10:00:00Z", "2026-02-01", False),
    ("a day ahead, as in another zone", "2026-02-02", "2026-02-01T23:30:00-05:00", "2026-02-01", True),
    ("an old attestation under a form of today", "2025-11-01", "2026-02-01T10:00:00Z", "2025-11-01", True),
    ("a form of that month", "2026-02-20", "2026-02", "2026-02-01", True),
    ("no day of writing", "2026-02-01", None, "2026-02-01", True),
    ("a day of writing that is none", "2026-02-01", "soon", "2026-02-01", False),
    ("no attestation", None, "2026-02-01T10:00:00Z", "2026-02-01", False),
    ("neither", None, None, None, False),
]


@pytest.mark.parametrize(
    ("attested", "authored", "since", "signed"), [row[1:] for row in AGES], ids=[r[0] for r in AGES]
)
def test_age_runs_from_attestation_or_writing_whichever_is_older(
    attested: str | None, authored: str | None, since: str | None, *, signed: bool
) -> None:
    items = [item("attestation_date", {"valueDate": attested})] if attested else []
    found = read(response(coded("request_type", "trial"), *items, authored=authored))["request_type"]
    assert (found.attested_on, found.signed) == (date.fromisoformat(since) if since else None, signed)


SIGNATURES = [
    ("prescriber and date", response(DATE), True),
    ("role", response(DATE, author={"reference": "PractitionerRole/a"}), True),
    ("absolute", response(DATE, author={"reference": "https://ehr.example.org/fhir/Practitioner/a"}), True),
    ("by type of a logical reference", response(DATE, author={"type": "Practitioner", "display": "Dr. Example"}), True),
    ("name of a prescriber, entered by a device", response(DATE, NAME, author={"reference": "Device/a"}), True),
    ("name of a prescriber, nobody entered it", response(DATE, NAME, author=None), True),
    ("patient", response(DATE, author={"reference": "Patient/p1"}), False),
    # A daughter who writes the doctor's name under the form signs nothing for the doctor.
    ("name of a prescriber, entered by the patient", response(DATE, NAME, author={"reference": "Patient/p1"}), False),
    (
        "name of a prescriber, entered by a relative",
        response(DATE, NAME, author={"reference": "RelatedPerson/a"}),
        False,
    ),
    ("a nurse by her letters", response(DATE, NAME, author={"type": "Practitioner", "display": "C. Lake, RN"}), False),
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
    for who, signed in (("Practitioner/a", True), ("Patient/p1", False)):
        entry["extension"] = [{"url": url, "valueSignature": {"who": {"reference": who}}}]
        assert read(entry, signature_required=True)["request_type"].signed is signed


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
    ("a nurse by her suffix", nurse(name=[{"family": "Lake", "suffix": ["BSN", "RN"]}]), False),
    ("a nurse in words", nurse(qualification=[{"code": {"text": "Registered nurse"}}]), False),
    ("a physician by suffix", nurse(name=[{"family": "Field", "suffix": ["MD"]}]), True),
]


@pytest.mark.parametrize(("author", "signed"), [row[1:] for row in PROFESSIONS], ids=[row[0] for row in PROFESSIONS])
def test_who_is_known_not_to_prescribe_does_not_sign(author: dict[str, Any], signed: bool) -> None:
    form = response(DATE, author={"reference": f"{author['resourceType']}/a"})
    (answer,) = read_answers(chart_of(form, author), CANONICAL)
    assert answer.signed is signed


NURSES_ROLE = role((TAXONOMY, "163W00000X"))
BY_A_NURSE = {
    "url": "author",
    "extension": [{"url": "practitioner", "valueReference": {"reference": "Practitioner/a"}}],
}
ORIGIN = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/information-origin"
URL = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-signature"


def named_by_a_nurse() -> dict[str, Any]:
    """The prescriber's name, and that a nurse typed it in."""
    name = item("attestation_name", {"valueString": "Dr. Example"})
    name["answer"][0]["extension"] = [
        {"url": ORIGIN, "extension": [{"url": "source", "valueCode": "manual"}, BY_A_NURSE]}
    ]
    return name


def signature_of(name: str) -> dict[str, Any]:
    return {"extension": [{"url": URL, "valueSignature": {"who": {"reference": name}}}]}


NURSE = nurse(qualification=[RN])
# A nurse fills in the form and writes the physician's name under it: that is no signature of the physician's.
FILLED_IN = [
    ("by a nurse", response(DATE, NAME), NURSE, False),
    ("by a nurse, with the physician's degree", response(DATE, item("attestation_name", {"valueString": "A. F., MD"})),
     NURSE, False),
    ("in a nurse's role", response(DATE, NAME, author={"reference": "PractitionerRole/a"}), NURSES_ROLE, False),
    ("in a role that a nurse has", response(DATE, NAME, author={"reference": "PractitionerRole/a"}),
     role() | {"practitioner": {"reference": "#a"}, "contained": [NURSE]}, False),
    ("by an app, named by a nurse", response(DATE, named_by_a_nurse(), author={"reference": "Device/a"}), NURSE, False),
    ("by nobody, the name by a nurse", response(DATE, named_by_a_nurse(), author=None), NURSE, False),
    ("by a physician, the name by a nurse", response(DATE, named_by_a_nurse(), author={"reference": "Practitioner/b"}),
     NURSE, True),
    ("by a nurse, signed by the physician", response(DATE, NAME, **signature_of("Practitioner/b")), NURSE, True),
    ("by a nurse, signed by the nurse", response(DATE, NAME, **signature_of("Practitioner/a")), NURSE, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "person", "signed"), [row[1:] for row in FILLED_IN], ids=[row[0] for row in FILLED_IN]
)
def test_a_prescribers_name_under_the_form_of_somebody_else(
    form: dict[str, Any], person: dict[str, Any], *, signed: bool
) -> None:
    found = {answer.fact: answer for answer in read_answers(chart_of(form, person), CANONICAL)}
    assert found["attestation_name"].signed is signed


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

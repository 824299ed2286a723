"""What a launch means: every form in which EHRs and payers say it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from smart_app.dtr.context import Wanted, from_app_context, from_draft, from_fhir_context, from_order, resolve

HOST = "ehr.example.org"
FORM = "https://payer.example.net/Questionnaire/a|3"
DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition"

APP_CONTEXTS = [
    # our own card: JSON with everything
    (
        json.dumps(
            {"questionnaire": [FORM], "context": "as-1", "order": "MedicationRequest/d1", "coverage": "Coverage/c"}
        ),
        {"questionnaires": (FORM,), "assertion": "as-1", "orders": ("MedicationRequest/d1",), "coverage": "Coverage/c"},
    ),
    # the same with single values and several orders
    (
        json.dumps({"questionnaire": FORM, "order": ["MedicationRequest/a", "DeviceRequest/b"]}),
        {"questionnaires": (FORM,), "orders": ("MedicationRequest/a", "DeviceRequest/b")},
    ),
    # FHIR References inside JSON
    (
        json.dumps({"order": {"reference": "ServiceRequest/7"}, "coverage": {"reference": "Coverage/c"}}),
        {"orders": ("ServiceRequest/7",), "coverage": "Coverage/c"},
    ),
    # the published CRD server: url-encoded query string with a bare order id
    (
        urlencode({"questionnaire": FORM, "order": "12345", "coverage": "Coverage/c"}),
        {"questionnaires": (FORM,), "orders": ("12345",), "coverage": "Coverage/c"},
    ),
    # the same, encoded once more on its way
    (quote(urlencode({"questionnaire": FORM, "order": "12345"})), {"questionnaires": (FORM,), "orders": ("12345",)}),
    # relaunch of a saved response
    ("response=QuestionnaireResponse%2F9", {"response": "QuestionnaireResponse/9"}),
    ("response=9", {"response": "QuestionnaireResponse/9"}),
    # the older words
    (
        f"template={quote(FORM, safe='')}&request=MedicationRequest/4",
        {"questionnaires": (FORM,), "orders": ("MedicationRequest/4",)},
    ),
    # JSON, percent-encoded
    (quote(json.dumps({"context": "as-2"})), {"assertion": "as-2"}),
    # absolute references of this EHR become relative
    (json.dumps({"order": f"https://{HOST}/r4/MedicationRequest/5"}), {"orders": ("MedicationRequest/5",)}),
]


@pytest.mark.parametrize(("text", "expected"), APP_CONTEXTS)
def test_AP02_app_context_in_every_form_that_is_in_use(text: str, expected: dict[str, Any]) -> None:
    assert from_app_context(text, HOST) == Wanted(origin="appContext", **expected)


@pytest.mark.parametrize(
    "text",
    [
        "",  # nothing
        "free text of a payer",  # no form of it
        "[1, 2]",  # JSON, but no object
        '{"order": 7, "coverage": ["Coverage/a", "Coverage/b"]}',  # wrong types; two coverages are no coverage
        '{"order": "https://elsewhere.example.com/MedicationRequest/5"}',  # another server's order
        '{"order": "Patient/1", "coverage": "Patient/1"}',  # not what it should be
        '{"order": "../../admin", "questionnaire": "javascript:alert(1)", "context": "a b"}',  # hostile
        '{"a": 1, "a": 2}',  # two readers would read it differently
        '{"order": "' + "x" * 30_000 + '"}',  # far too long
    ],
)
def test_AP02_app_context_that_says_nothing_usable_is_nothing(text: str) -> None:
    assert from_app_context(text, HOST) == Wanted(origin="appContext")


def test_AP01_fhir_context_names_order_coverage_response_task_and_encounter() -> None:
    entries = [
        {"reference": "Coverage/c"},
        {"reference": "MedicationRequest/m", "role": "launch"},
        {"reference": "QuestionnaireResponse/q"},
        {"reference": "Task/t"},
        {"reference": "Encounter/e"},
        {"canonical": FORM, "type": "Questionnaire"},
        {"reference": "MedicationRequest/other", "role": "https://example.org/another-role"},  # not meant
        {"reference": "https://elsewhere.example.com/MedicationRequest/5"},  # not ours
        "no entry",
    ]
    assert from_fhir_context(entries, HOST) == Wanted(
        origin="fhirContext",
        orders=("MedicationRequest/m",),
        coverage="Coverage/c",
        questionnaires=(FORM,),
        response="QuestionnaireResponse/q",
        task="Task/t",
        encounter="Encounter/e",
    )


FHIR = Wanted(origin="fhirContext", orders=("MedicationRequest/m",), coverage="Coverage/c")
APP = Wanted(origin="appContext", orders=("m",), assertion="as-1", questionnaires=(FORM,), coverage="Coverage/other")
OTHER = Wanted(origin="appContext", orders=("MedicationRequest/other",), assertion="as-9")


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        # fhirContext wins; appContext about the same order fills its holes, and only those
        (
            [FHIR, APP],
            Wanted(
                origin="fhirContext",
                orders=("MedicationRequest/m",),
                coverage="Coverage/c",
                assertion="as-1",
                questionnaires=(FORM,),
            ),
        ),
        # two requests never mix
        ([FHIR, OTHER], FHIR),
        # a coverage alone says nothing: the next source decides, and the coverage is kept
        (
            [Wanted(origin="fhirContext", coverage="Coverage/c"), Wanted(origin="appContext", assertion="as-1")],
            Wanted(origin="appContext", assertion="as-1", coverage="Coverage/c"),
        ),
        # what the person picked comes last
        ([Wanted(origin="fhirContext"), Wanted(origin="appContext"), OTHER], OTHER),
        ([], Wanted()),
    ],
)
def test_AP01_the_first_source_that_says_what_is_wanted_decides(sources: list[Wanted], expected: Wanted) -> None:
    assert resolve(sources) == expected


def coverage_information(day: str, assertion: str, coverage: str) -> dict[str, Any]:
    return {
        "url": "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information",
        "extension": [
            {"url": "coverage", "valueReference": {"reference": coverage}},
            {"url": "coverage-assertion-id", "valueString": assertion},
            {"url": "date", "valueDate": day},
            {"url": "questionnaire", "valueCanonical": FORM},
        ],
    }


def test_AP04_coverage_comes_from_the_order_s_latest_coverage_information() -> None:
    order = {
        "resourceType": "MedicationRequest",
        "id": "m",
        "insurance": [{"reference": "Coverage/insured"}],
        "extension": [
            coverage_information("2026-11-02", "new", "Coverage/new"),
            coverage_information("2026-10-02", "old", "Coverage/old"),
        ],
    }
    assert from_order(order, HOST) == Wanted(
        origin="order",
        orders=("MedicationRequest/m",),
        coverage="Coverage/new",
        assertion="new",
        questionnaires=(FORM,),
    )


@pytest.mark.parametrize(
    ("insurance", "coverage"),
    [
        ([{"reference": "Coverage/one"}], "Coverage/one"),
        ([{"reference": "Coverage/one"}, {"reference": "Coverage/two"}], ""),  # the person picks
        ([{"display": "some plan"}], ""),
        ([], ""),
    ],
)
def test_AP04_else_from_its_insurance(insurance: list[dict[str, Any]], coverage: str) -> None:
    order = {"resourceType": "MedicationRequest", "id": "m", "insurance": insurance}
    assert from_order(order, HOST).coverage == coverage


def link(kind: str, reference: dict[str, Any]) -> dict[str, Any]:
    return {"url": f"{DTR}/{kind}", "valueReference": reference}


@pytest.mark.parametrize(
    "extensions",
    [
        [
            link("qr-context", {"reference": "Coverage/c"}),
            link("qr-context", {"reference": "MedicationRequest/m"}),
        ],  # 2.0.1
        [
            link("qr-coverage", {"reference": "Coverage/c"}),
            link("qr-context", {"reference": "MedicationRequest/m"}),
        ],  # 2.2
        # an order that was not signed when the draft was saved
        [
            link("qr-coverage", {"reference": "Coverage/c"}),
            link("qr-context", {"type": "MedicationRequest", "identifier": {"value": "m"}}),
        ],
    ],
)
def test_AP05_a_saved_draft_says_what_it_is_about_in_every_version(extensions: list[dict[str, Any]]) -> None:
    draft = {"resourceType": "QuestionnaireResponse", "id": "q", "questionnaire": FORM, "extension": extensions}
    assert from_draft(draft, HOST) == Wanted(
        origin="draft",
        orders=("MedicationRequest/m",),
        coverage="Coverage/c",
        questionnaires=(FORM,),
        response="QuestionnaireResponse/q",
    )

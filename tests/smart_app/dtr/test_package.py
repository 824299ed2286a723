"""Packages of every DTR version, from any payer."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from smart_app.dtr.package import FormPackage, read_packages
from smart_app.dtr.package_request import package_request, self_contained

FORM = {"resourceType": "Questionnaire", "url": "https://p.example.net/Questionnaire/a", "version": "3", "title": "A"}
DRAFT = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}
SET = {"resourceType": "ValueSet", "url": "https://p.example.net/ValueSet/s"}
LIBRARY = {"resourceType": "Library", "url": "https://p.example.net/Library/l"}
OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "warning", "code": "not-found", "details": {"text": "One form is unknown."}}],
}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in resources]}


def parameters(*parts: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": n, "resource": r} for n, r in parts]}


WHOLE = bundle(FORM, DRAFT, SET, LIBRARY)
SHAPES = [
    parameters(("PackageBundle", WHOLE)),  # 2.0.1 and 2.1 by profile
    parameters(("packagebundle", WHOLE)),  # 2.2
    parameters(("return", WHOLE)),  # 2.0.1 by operation
    WHOLE,  # a bare Bundle
    bundle(SET, FORM, LIBRARY, DRAFT),  # in another order than the guide's
]


@pytest.mark.parametrize("body", SHAPES)
def test_AP34_every_shape_of_a_package_is_read(body: dict[str, Any]) -> None:
    (form,) = read_packages(body).forms
    assert (form.canonical, form.title) == ("https://p.example.net/Questionnaire/a|3", "A")
    assert (form.draft, form.value_sets, form.libraries) == (DRAFT, (SET,), (LIBRARY,))


def test_AP34_several_packages_each_version_once() -> None:
    other = {**FORM, "version": "4"}
    body = parameters(
        ("packagebundle", bundle(FORM)), ("packagebundle", bundle(other)), ("packagebundle", bundle(FORM))
    )
    assert [form.canonical[-2:] for form in read_packages(body).forms] == ["|3", "|4"]


@pytest.mark.parametrize(
    "body",
    [
        parameters(("outcome", OUTCOME)),  # the operation's word
        parameters(("operationOutcome", OUTCOME)),  # the profile's
        OUTCOME,  # alone
    ],
)
def test_AP08_messages_without_a_package_are_told(body: dict[str, Any]) -> None:
    found = read_packages(body)
    assert found.forms == ()
    assert found.messages == (("warning", "One form is unknown."),)


@pytest.mark.parametrize(
    ("body", "unreadable"),
    [
        (None, 1),
        ("text", 1),
        ({"resourceType": "Patient"}, 1),
        (bundle(SET), 1),  # no questionnaire in it
        (parameters(("PackageBundle", bundle())), 1),
        ({"resourceType": "Parameters", "parameter": "no list"}, 0),
        (parameters(), 0),
    ],
)
def test_AP34_what_is_no_package_is_no_error(body: Any, unreadable: int) -> None:
    found = read_packages(body)
    assert (found.forms, found.unreadable) == ((), unreadable)


@pytest.mark.parametrize(
    ("end", "expired"),
    [
        ("2026-11-24", True),
        ("2026-11-25", False),  # its last day
        ("2026-11", False),  # a month lasts until its end
        ("2025", True),
        ("not a date", False),
        (None, False),
    ],
)
def test_AP09_a_questionnaire_is_used_until_the_end_of_its_period(end: str | None, expired: bool) -> None:
    period = {"effectivePeriod": {"end": end}} if end else {}
    assert FormPackage({**FORM, **period}).expired(date(2026, 11, 25)) is expired


ADAPTIVE = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-questionnaireAdaptive"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ({"valueUrl": "https://p.example.net/dtr"}, "https://p.example.net/dtr"),
        ({"valueBoolean": True}, "."),
        ({"valueBoolean": False}, ""),
    ],
)
def test_AP22_where_an_adaptive_form_asks_for_more(value: dict[str, Any], address: str) -> None:
    assert FormPackage({**FORM, "extension": [{"url": ADAPTIVE, **value}]}).adaptive == address


def test_AP07_the_request_holds_full_resources_and_since_when() -> None:
    coverage, order = {"resourceType": "Coverage", "id": "c"}, {"resourceType": "MedicationRequest", "id": "m"}
    made = package_request(coverage, [order], ["https://p.example.net/Questionnaire/a"], "as-1", "2026-11-01T10:00:00Z")
    assert made["parameter"] == [
        {"name": "coverage", "resource": coverage},
        {"name": "order", "resource": order},
        {"name": "questionnaire", "valueCanonical": "https://p.example.net/Questionnaire/a"},
        {"name": "context", "valueString": "as-1"},
        {"name": "changedsince", "valueDateTime": "2026-11-01T10:00:00Z"},
    ]


def test_AP07_a_request_about_nothing_is_not_made() -> None:
    with pytest.raises(ValueError, match="an order, a questionnaire or a context"):
        package_request({"resourceType": "Coverage"}, [], [], "")


def test_AP07_what_an_order_refers_to_travels_inside_it() -> None:
    order = {
        "resourceType": "MedicationRequest",
        "id": "m",
        "medicationReference": {"reference": "Medication/x", "display": "mix"},
        "contained": [{"resourceType": "Condition", "id": "why"}],
    }
    made = self_contained(order, {"Medication/x": {"resourceType": "Medication", "id": "x"}}, ("medicationReference",))
    assert made["medicationReference"] == {"reference": "#medication-x", "display": "mix"}
    assert [each["id"] for each in made["contained"]] == ["why", "medication-x"]
    assert "contained" in order
    assert len(order["contained"]) == 1  # the EHR's own is untouched
    assert (
        self_contained(order, {}, ("medicationReference", "subject"))["medicationReference"]["reference"]
        == "Medication/x"
    )

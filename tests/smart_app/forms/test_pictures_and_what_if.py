"""Drawings say the same in words; the what-if is exact and writes nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.foreign_payer import ForeignPayer, package, questionnaire
from tests.support.form_visit import ORDER, RXNORM, FormVisit
from tests.support.smart_ehr import SmartEhr

UCUM = "http://unitsofmeasure.org"


def amount(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def limit(code: str, name: str, daily: float | None, concentration: float) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"url": "ingredient", "valueCoding": {"system": RXNORM, "code": code, "display": name}},
        {"url": "concentration", "valueQuantity": amount(concentration, "mg/mL")},
        {"url": "cite", "valueString": "DOSAGE, table 1"},
    ]
    parts += [{"url": "daily", "valueQuantity": amount(daily, "mg/d")}] if daily else []
    return {"url": "https://cds.example.org/fhir/StructureDefinition/dose-limit", "extension": parts}


LIMITS = [limit("7052", "morphine", 15, 30), limit("4337", "fentanyl", None, 0.05)]
WEEKS = {"linkId": "noninvasive_trial_weeks", "type": "decimal", "text": "Weeks"}
PAIN = [
    {"linkId": f"intraspinal_trial_pain_{when}", "type": "decimal", "text": f"Pain {when}"}
    for when in ("baseline", "after")
]


def took(ident: str, start: str, end: str, *, prn: bool = False, **more: Any) -> dict[str, Any]:
    timing = {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d", "boundsPeriod": {"start": start, "end": end}}}
    dosage: dict[str, Any] = {
        "timing": timing,
        "route": {"coding": [{"system": "http://snomed.info/sct", "code": "26643006"}]},
    }
    return {
        "resourceType": "MedicationRequest", "id": ident, "status": "completed", "intent": "order",
        "subject": {"reference": "Patient/pat-1"}, "authoredOn": start,
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "7804"}], "text": "Oxycodone"},
        "dosageInstruction": [dosage | ({"asNeededBoolean": True} if prn else {})],
    } | more  # fmt: skip


def rows(page: str, title: str) -> list[list[str]]:
    """The table beneath a drawing."""
    figure = page.split(f"<figcaption>{title}</figcaption>")[1].split("</figure>", maxsplit=1)[0]
    body = figure.split("<tbody>")[1].split("</tbody>")[0]
    return [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in body.split("<tr>")[1:]]


def test_the_dose_is_drawn_against_the_payers_published_limits(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire(WEEKS, extension=LIMITS))]
    page = visit.open()
    daily, concentration = rows(page, "This order against the payer&#39;s table")
    assert daily[:4] == ["Morphine, daily dose", "10 mg/d", "15 mg/d", "within the limit"]
    assert "0.5 mL/d x 20 mg/mL = 10 mg/d" in daily[4]
    assert daily[5] == "DOSAGE, table 1"
    assert concentration[:4] == ["Morphine, concentration", "20 mg/mL", "30 mg/mL", "within the limit"]
    svg = page.split("<svg")[1].split("</svg>")[0]
    assert 'role="img"' in svg
    assert "10 mg/d, limit 15 mg/d, within the limit" in svg  # the drawing's accessible name
    assert "style=" not in svg


def test_without_published_limits_nothing_is_drawn_or_invented(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire(WEEKS))]
    assert "<svg" not in visit.open()


def test_the_timeline_shows_the_actual_prescriptions_and_marks_those_as_needed(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    held = [
        took("t1", "2026-06-01", "2026-07-01"),
        took("t2", "2026-08-01", "2026-09-01", prn=True),
        took("t3", "2026-08-01", "2026-09-01", status="cancelled"),  # never taken
        took("t4", "2026-08-01", "2026-09-01", intent="plan"),  # never ordered
        took("t5", "2026-08-01", "2026-09-01", subject={"reference": "Patient/somebody-else"}),
    ]
    ehr.resources |= {f"MedicationRequest/{each['id']}": each for each in held}
    payer.packages = [package(questionnaire(WEEKS))]
    table = rows(visit.open(), "Systemic opioids in the chart")
    shown = [(row[0], row[1], row[2], row[3], row[6]) for row in table if row[6]]
    assert shown == [
        ("Oxycodone, twice a day", "fixed schedule", "2026-06-01", "2026-07-01", "MedicationRequest/t1"),
        ("Oxycodone, as needed", "as needed", "2026-08-01", "2026-09-01", "MedicationRequest/t2"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("8", "3", "Relief about 62 %"),
        ("8", "4", "Relief 50 %"),
        ("4", "5", "Pain grew by 25 %"),
        ("0", "0", ""),  # nothing to compute from
    ],
)
def test_pain_before_and_after_with_the_computed_relief(
    visit: FormVisit, payer: ForeignPayer, before: str, after: str, words: str
) -> None:
    payer.packages = [package(questionnaire(*PAIN))]
    visit.open()
    page = visit.press("check", {"a:intraspinal_trial_pain_baseline": before, "a:intraspinal_trial_pain_after": after})
    assert [row[1] for row in rows(page, "Pain before and after")] == [before, after]
    assert words in page


def what_if(visit: FormVisit, **fields: Any) -> str:
    return visit.post(f"/l/{visit.launch_id}/form/1/what-if", fields)


ATTEMPTS = [
    # rate, unit, drugs, strengths, units, what the page says
    ("0.75", "mL/d", ["morphine"], ["20"], ["mg/mL"], ["15 mg/d; limit 15 mg/d", "within the limit"]),  # at the limit
    ("0.7500001", "mL/d", ["morphine"], ["20"], ["mg/mL"], ["above the limit"]),  # exactly, not nearly
    ("0.03125", "mL/h", ["morphine"], ["20"], ["mg/mL"], ["15 mg/d; limit 15 mg/d", "within the limit"]),
    ("600", "ug/h", ["morphine"], ["20"], ["mg/mL"], ["14.4 mg/d", "within the limit"]),
    (
        "1",
        "mL/d",
        ["morphine", "fentanyl"],
        ["10", "50"],
        ["mg/mL", "ug/mL"],
        ["10 mg/d", "no limit stated", "0.05 mg/mL"],
    ),
]


@pytest.mark.parametrize(("rate", "unit", "drugs", "values", "units", "words"), ATTEMPTS)
def test_a_what_if_is_exact(
    visit: FormVisit, payer: ForeignPayer, rate: str, unit: str, drugs: Any, values: Any, units: Any, words: Any
) -> None:
    payer.packages = [package(questionnaire(WEEKS, extension=LIMITS))]
    visit.open()
    page = what_if(visit, rate=rate, rate_unit=unit, drug=drugs, strength=values, strength_unit=units)
    for text in words:
        assert text in page


@pytest.mark.parametrize(
    ("rate", "unit", "strength", "words"),
    [
        ("", "mL/d", "20", "Enter a number above 0"),
        ("0", "mL/d", "20", "Enter a number above 0"),
        ("1,5", "mL/d", "20", "Enter a number above 0"),  # a comma is not guessed
        ("-1", "mL/d", "20", "Enter a number above 0"),
        ("1e3", "mL/d", "20", "Enter a number above 0"),
        ("1", "gallons", "20", "Choose one of"),
        ("1", "mL/d", "x", "Enter a number above 0"),
        ("1", "mL/d", "<b>", "Enter a number above 0"),
    ],
)
def test_a_what_if_says_what_is_wrong_with_an_entry(
    visit: FormVisit, payer: ForeignPayer, rate: str, unit: str, strength: str, words: str
) -> None:
    payer.packages = [package(questionnaire(WEEKS, extension=LIMITS))]
    visit.open()
    page = what_if(visit, rate=rate, rate_unit=unit, drug=["morphine"], strength=[strength], strength_unit=["mg/mL"])
    assert words in page
    assert "Result" not in page


def test_a_what_if_begins_with_the_order_and_writes_nothing(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(questionnaire(WEEKS, extension=LIMITS))]
    visit.open()
    page = visit.get(f"/l/{visit.launch_id}/form/1/what-if")
    assert 'name="rate" inputmode="decimal" class="number" autocomplete="off" value="0.5"' in page
    assert 'value="20"' in page
    before = ehr.resources[ORDER]
    what_if(visit, rate="9", rate_unit="mL/d", drug=["morphine"], strength=["20"], strength_unit=["mg/mL"])
    assert ehr.resources[ORDER] is before
    assert [each.method for each in ehr.seen if "/fhir/" in each.path and each.method != "GET"] == []
    assert "10 mg/d; limit 15 mg/d" in visit.get(f"/l/{visit.launch_id}/form/1")

"""The worked cases of the guideline analysis: whole orders, computed by hand with exact rationals."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from cds_service.adapters.policy_files import load_configuration
from cds_service.domain.dosing import assess
from cds_service.fhir.orders import read_order
from tests.support.dose_setting import ROUTES, SNOMED, TABLE, VOCABULARY, load_cases, resolve

CASES = load_cases()


SHIPPED = load_configuration(Path(__file__).parents[3] / "config")
SETTINGS = {
    "written out": (VOCABULARY, TABLE),
    "as shipped": (SHIPPED.vocabulary, SHIPPED.guidelines[0].dose_table),
}


def _request(case, medication, instructions, name, status, vocabulary):
    route = {"coding": [{"system": SNOMED, "code": ROUTES[case["route"]]}]}
    resource = {
        "resourceType": "MedicationRequest",
        "id": name,
        "status": status,
        "intent": "order",
        "contained": [{"id": "m", **medication}],
        "medicationReference": {"reference": "#m"},
        "dosageInstruction": [{**one, "route": route} for one in instructions],
    }
    source = f"MedicationRequest/{name}"
    return read_order(resource, resolve, vocabulary, draft=status == "draft", source=source)


def _assessed(case, setting="written out"):
    vocabulary, table = SETTINGS[setting]
    mine = _request(case, case["medication"], case["dosageInstruction"], "draft-1", "draft", vocabulary)
    others = [
        _request(case, other["medication"], other["dosageInstruction"], f"other-{number}", "active", vocabulary)
        for number, other in enumerate(case["other_active"])
    ]
    return assess(mine, others, table)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']} {case['title']}" for case in CASES])
@pytest.mark.parametrize("setting", SETTINGS)
def test_worked_case(case, setting):
    """Amounts and verdicts as worked out, under the tables of this test and under those of the product."""
    got = {result.ingredient: result for result in _assessed(case, setting).results}
    assert set(got) == set(case["expected"])
    for name, expected in case["expected"].items():
        result = got[name]
        daily = None if expected["daily_mg"] is None else Fraction(expected["daily_mg"])
        concentration = None if expected["mg_per_mL"] is None else Fraction(expected["mg_per_mL"])
        assert (result.daily, result.daily_verdict.value) == (daily, expected["daily_verdict"])
        assert (result.concentration, result.concentration_verdict.value) == (
            concentration,
            expected["concentration_verdict"],
        )


def test_there_are_64_worked_cases():
    assert len({case["id"] for case in CASES}) == 64


@pytest.mark.parametrize(
    ("case_id", "flags"),
    [
        ("DW-01", set()),
        ("DW-13", {("non_ucum_unit", "baclofen")}),  # mcg as text is understood, and said
        ("DW-36", {("dose_exceeds", "morphine")}),  # 16 of 15 mg/d is no unit error
        ("DW-39", {("dose_shape_unusual", "morphine")}),  # a rate in the place of a dose
        ("DW-50", {("dose_exceeds", "morphine"), ("possible_unit_error", "morphine")}),  # g for mg
        ("DW-52", {("non_ucum_unit", "morphine")}),  # MG
        ("DW-28", {("concentration_exceeds", "clonidine")}),
        ("DW-30", {("concentration_exceeds", "fentanyl")}),  # 20 times, but its printed limit is the vial's
        ("DW-59", set()),  # epidural rates raise no alarm
    ],
)
def test_flags_of_worked_cases(case_id, flags):
    case = next(case for case in CASES if case["id"] == case_id)
    assert {(flag.code, flag.subject) for flag in _assessed(case).flags} == flags

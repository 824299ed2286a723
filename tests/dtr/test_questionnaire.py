"""The generated questionnaire: the contract's items, shown when they are needed, filled from what US Core holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fhirpathpy
import pytest

from cds_service.adapters.policy_files import load_configuration
from cds_service.fhir.models import complaints
from cds_service.policy.form import build_form
from cds_service.policy.form_triggers import failing_answers
from smart_app.sdc.form import read_form
from tests.support.dtr_calls import VERSIONS, extension, items
from tests.support.e2e_patient import ANSWERS
from tests.support.e2e_service import shipped

PROFILES = Path(__file__).resolve().parents[2] / "fhir_profiles"
SECOND = Path(__file__).resolve().parents[1] / "second_guideline" / "config"
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition"
OURS = "https://cds.example.org/fhir/StructureDefinition"
YES_NO = ("yes", "no", "cannot_determine")
# The contract's table, written apart from the policy data.
CONTRACT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "request_type": ("choice", ("trial", "permanent", "refill_or_renewal")),
    "severe_chronic_intractable_pain": ("choice", YES_NO),
    "life_expectancy_ge_3_months": ("choice", YES_NO),
    "implant_contraindications_eliminated": ("choice", YES_NO),
    "noninvasive_trial_outcome": (
        "choice",
        ("failure", "intolerance", "contraindication", "adequate_relief", "not_tried", "cannot_determine"),
    ),
    **dict.fromkeys(
        (
            "systemic_opioid_included", "systemic_opioid_fixed_schedule", "systemic_opioid_adequate_dose",
            "intraspinal_trial_done", "intraspinal_trial_tolerated", "intraspinal_trial_pain_relief_acceptable",
            "intraspinal_trial_function_improved", "pain_related_to_spasticity", "predominantly_neuropathic",
            "compounded", "preservative_free_confirmed",
        ),
        ("choice", YES_NO),
    ),
    "noninvasive_trial_weeks": ("decimal", ()),
    "intraspinal_trial_pain_baseline": ("decimal", ()),
    "intraspinal_trial_pain_after": ("decimal", ()),
    "intraspinal_trial_drug_class": ("choice", ("opioid", "non_opioid", "cannot_determine")),
    "intraspinal_trial_date": ("date", ()),
    "attestation_date": ("date", ()),
    "clinical_rationale": ("group", ()),
    "clinical_rationale_reason": (
        "choice",
        ("verified_chronic_regimen", "failed_lower_dose", "product_stability", "data_error", "other"),
    ),
    "clinical_rationale_text": ("text", ()),
}  # fmt: skip


def published(version: str, adaptive: str = "") -> dict[str, Any]:
    return json.loads((PROFILES / f"Questionnaire-09-J1000-31{adaptive}-dtr-{version}.json").read_text("utf-8"))


def by_link(form: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["linkId"]: item for item in items(form)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_PS24_every_item_of_the_contract_has_its_type_and_choices(version: str, name: str) -> None:
    item = by_link(published(version))[name]
    kind, codes = CONTRACT[name]
    assert item["type"] == kind
    options = [one["valueCoding"] for one in item.get("answerOption", ())]
    assert {one["code"] for one in options} == set(codes)
    assert all(one["system"] == ANSWERS for one in options)
    if kind == "choice":
        assert options


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("adaptive", ["", "-adaptive"])
def test_PS17_what_a_questionnaire_must_say(version: str, adaptive: str) -> None:
    form = published(version, adaptive)
    assert complaints(form) == ()
    assert form["url"] == f"https://cds.example.org/fhir/Questionnaire/09-J1000-31{adaptive}"
    assert form["version"] == "2016-02-15"
    assert form["status"] == "active"
    assert form["subjectType"] == ["Patient"]
    assert form["effectivePeriod"] == {"start": "2016-02-15"}
    assert form["title"]
    names = [item["linkId"] for item in items(form)]
    assert len(names) == len(set(names))
    assert all(item["text"] for item in items(form))


def test_PS18_questions_hang_on_the_answers_that_need_them() -> None:
    form = by_link(published("2.2"))
    assert _conditions(form["noninvasive_trial_weeks"])[0] == ("noninvasive_trial_outcome", "=", "failure")
    assert _conditions(form["systemic_opioid_fixed_schedule"]) == [("systemic_opioid_included", "=", "yes")]
    trial = [("request_type", "=", "permanent"), ("request_type", "=", "refill_or_renewal")]
    assert _conditions(form["intraspinal_trial_done"]) == trial
    assert _conditions(form["section-II.1"]) == trial
    for name, detail in (
        ("route_confirmed", "route"), ("daily_dose_cannot_determine", "daily_dose"),
        ("concentration_cannot_determine", "concentration"),
        ("compounded", "compounded"), ("preservative_free_confirmed", "preservative_free"),
        ("predominantly_neuropathic", "neuropathic"), ("pain_related_to_spasticity", "spasticity"),
    ):  # fmt: skip
        assert _conditions(form[name]) == [("details_needed", "=", detail)]


def _conditions(item: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (one["question"], one["operator"], one["answerCoding"]["code"] if "answerCoding" in one else None)
        for one in item.get("enableWhen", ())
    ]


def test_PS18_the_rationale_is_asked_for_where_an_answer_alone_fails_a_criterion() -> None:
    form = by_link(published("2.2"))
    rationale = form["clinical_rationale"]
    found = {(one["question"], one["operator"]) for one in rationale["enableWhen"]}
    assert ("details_needed", "=") in found
    assert rationale["enableBehavior"] == "any"
    said = set(_conditions(rationale))
    assert {("noninvasive_trial_outcome", "=", "not_tried"), ("systemic_opioid_fixed_schedule", "=", "no")} <= said
    assert ("noninvasive_trial_outcome", "=", "failure") not in said  # by itself it fails nothing
    assert ("intraspinal_trial_drug_class", "=", "non_opioid") not in said  # a person decides, nothing fails
    (weeks,) = [one for one in rationale["enableWhen"] if one["question"] == "noninvasive_trial_weeks"]
    assert (weeks["operator"], weeks["answerDecimal"]) == ("<", 6)


def test_PS18_the_triggers_follow_from_the_guideline_whatever_it_is() -> None:
    second = load_configuration(SECOND).guidelines[0]
    assert all(name in second.facts for name, _, _ in failing_answers(second))
    assert failing_answers(second)
    assert build_form(second).items


@pytest.mark.parametrize("version", VERSIONS)
def test_PS18_required_is_what_decides_and_it_always_offers_a_way_out(version: str) -> None:
    form = by_link(published(version))
    for name, item in form.items():
        if not item.get("required") or name in {"request_type", "clinical_rationale_reason"}:
            continue
        codes = {one["valueCoding"]["code"] for one in item.get("answerOption", ())}
        group = name.rpartition("_")[0]  # an amount is said to be unknown as a whole
        assert "cannot_determine" in codes or {f"{name}_cannot_determine", f"{group}_cannot_determine"} & set(form), (
            name
        )
    assert not form["pain_origin"].get("required")  # for the record alone
    assert form["noninvasive_trial_weeks"]["required"]


@pytest.mark.parametrize("version", VERSIONS)
def test_PS19_PS20_population_rests_on_us_core_and_nothing_is_hidden_or_read_only(version: str) -> None:
    form = published(version)
    queries = [
        one["valueExpression"]["expression"]
        for one in extension(form, "http://hl7.org/fhir/StructureDefinition/variable")
        if one["valueExpression"]["language"] == "application/x-fhir-query"
    ]
    assert queries
    for query in queries:
        kind, _, rest = query.partition("?")
        assert kind in {"Condition", "Procedure", "Observation", "MedicationRequest", "AllergyIntolerance"}
        assert "patient={{%patient.id}}" in rest
        assert "[[" not in query
    for item in items(form):
        assert not item.get("readOnly")
        assert not [one for one in item.get("extension", ()) if one["url"].endswith("questionnaire-hidden")]


PAIN = {"system": "http://loinc.org", "code": "72514-3"}


def _bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "entry": [{"resource": one} for one in resources]}


def _score(when: str, value: int, status: str = "final") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": status,
        "code": {"coding": [PAIN]},
        "effectiveDateTime": when,
        "valueQuantity": {"value": value},
    }


def _evaluate(name: str, form: dict[str, Any], known: dict[str, Any]) -> list[Any]:
    """What an app would fill in, with searches answered from ``known`` and variables evaluated in order."""
    context: dict[str, Any] = {"patient": {"resourceType": "Patient", "id": "p"}, "user": known.get("user", [])}
    for one in extension(form, "http://hl7.org/fhir/StructureDefinition/variable"):
        expression = one["valueExpression"]
        if expression["language"] == "text/fhirpath":
            context[expression["name"]] = fhirpathpy.evaluate({}, expression["expression"], context)
        else:
            context[expression["name"]] = known.get(expression["name"], [])
    (found,) = extension(by_link(form)[name], f"{SDC}/sdc-questionnaire-initialExpression")
    return list(fhirpathpy.evaluate({}, found["valueExpression"]["expression"], context))


TRIAL = {"resourceType": "Procedure", "status": "completed", "performedDateTime": "2026-01-20T09:00:00Z"}
SCORES = _bundle(_score("2026-02-10", 3), _score("2026-01-10T08:00:00Z", 8), _score("2025-11-01", 9))


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("intraspinal_trial_date", {"TrialProcedures": _bundle(TRIAL)}, ["2026-01-20"]),
        ("intraspinal_trial_date", {"TrialProcedures": _bundle({**TRIAL, "status": "not-done"})}, []),
        ("intraspinal_trial_date", {}, []),
        ("intraspinal_trial_pain_baseline", {"TrialProcedures": _bundle(TRIAL), "PainScores": SCORES}, [8]),
        ("intraspinal_trial_pain_after", {"TrialProcedures": _bundle(TRIAL), "PainScores": SCORES}, [3]),
        ("intraspinal_trial_pain_baseline", {"PainScores": SCORES}, []),  # without a trial nothing is before or after
        ("pain_origin", {"CancerPain": _bundle({"resourceType": "Condition"})}, ["malignant"]),
        ("pain_origin", {"CancerPain": _bundle()}, []),
        ("attestation_name", {"user": {"name": [{"given": ["Ada"], "family": "Example"}]}}, ["Ada Example"]),
        ("attestation_name", {}, []),
    ],
)
def test_PS19_expressions_find_what_they_look_for(name: str, known: dict[str, Any], expected: list[Any]) -> None:
    assert _evaluate(name, published("2.2"), known) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_PS21_PS22_the_clinical_part_ends_with_words_that_say_what_is_attested(version: str) -> None:
    form = published(version)
    last = form["item"][-1]
    assert last["linkId"] == "section-attestation"
    display, *rest = last["item"]
    assert display["type"] == "display"
    assert "attests" in display["text"]
    assert [item["linkId"] for item in rest] == ["attestation_name", "attestation_date"]


def test_PS23_2_2_says_how_long_it_takes_and_whom_it_asks() -> None:
    form = published("2.2")
    dtr = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition"
    (time,) = extension(form, f"{dtr}/estimated-completion-time")
    assert {one["url"]: one["valueCode"] for one in time["extension"]} == {
        "clinicalTime": "under-5min",
        "totalTime": "under-5min",
    }
    assert [one["valueCode"] for one in extension(form, f"{dtr}/questionnaireAudience")] == ["clinical"]
    assert not extension(published("2.0.1"), f"{dtr}/questionnaireAudience")


def test_PS24_numbers_have_their_unit_and_range() -> None:
    form = by_link(published("2.2"))
    (unit,) = extension(form["noninvasive_trial_weeks"], "http://hl7.org/fhir/StructureDefinition/questionnaire-unit")
    assert unit["valueCoding"]["code"] == "wk"
    limits = {
        one["url"].rpartition("/")[2]: one.get("valueDecimal")
        for one in form["intraspinal_trial_pain_after"]["extension"]
    }
    assert (limits["minValue"], limits["maxValue"]) == (0, 10)


@pytest.mark.parametrize(
    ("version", "link"), [("2.0.1", "questionnaire-supportLink"), ("2.2", "questionnaire-supportHyperlink")]
)
def test_PS17_help_names_the_section_of_the_guideline_and_links_to_it(version: str, link: str) -> None:
    form = by_link(published(version))
    assert "POSITION STATEMENT I.2" in form["noninvasive_trial_weeks-help"]["text"]
    (found,) = extension(form["noninvasive_trial_weeks"], f"http://hl7.org/fhir/StructureDefinition/{link}")
    told = found.get("valueUri") or {part["url"]: part for part in found["extension"]}["link"]["valueUri"]
    assert told.endswith("/policies/09-J1000-31")
    assert ("extension" in found) is (version == "2.2")  # label and link there, an address alone before


def test_the_dose_table_travels_with_the_form_as_printed() -> None:
    limits = {}
    for one in extension(published("2.2"), f"{OURS}/dose-limit"):
        parts = {part["url"]: part for part in one["extension"]}
        amounts = {name: parts[name]["valueQuantity"]["value"] for name in ("daily", "concentration") if name in parts}
        limits[parts["ingredient"]["valueCoding"]["display"]] = amounts
    assert limits["morphine"] == {"daily": 15, "concentration": 30}
    assert limits["clonidine"] == {"daily": 1.5, "concentration": 2}
    assert "daily" not in limits["fentanyl"]  # none is stated, so none is invented
    assert set(limits) == set(shipped().guidelines[0].dose_table.rows)


@pytest.mark.parametrize("version", VERSIONS)
def test_PS18_the_app_of_this_product_reads_it_without_a_complaint(version: str) -> None:
    assert read_form(published(version), {})

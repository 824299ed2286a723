"""Whole requests through the shipped guideline, where answers, chart and orders meet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.policy_files import load_configuration
from cds_service.use_cases.decide import Addresses, Rules, evaluate_document, prepare

CONFIG = Path(__file__).resolve().parents[3] / "config"
TODAY = date(2026, 3, 2)
RXNORM, SNOMED = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://snomed.info/sct"
UCUM, ICD = "http://unitsofmeasure.org", "http://hl7.org/fhir/sid/icd-10-cm"
INTRATHECAL, INTRASPINAL = "72607000", "418418000"
SECTION_I = {
    "request_type": "trial",
    "severe_chronic_intractable_pain": "yes",
    "life_expectancy_ge_3_months": "yes",
    "implant_contraindications_eliminated": "yes",
    "noninvasive_trial_outcome": "intolerance",
}


@cache
def rules() -> Rules:
    loaded = load_configuration(CONFIG)
    return prepare(loaded.guidelines, loaded.vocabulary, loaded.payer, loaded.digest, Addresses())


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def solution(drug: str = "7052", mg_per_ml: float = 20) -> dict[str, Any]:
    strength = {"numerator": quantity(mg_per_ml, "mg"), "denominator": quantity(1, "mL")}
    return {
        "resourceType": "Medication",
        "id": "m",
        "ingredient": [{"itemCodeableConcept": concept(RXNORM, drug), "strength": strength}],
    }


def order(ident: str = "d1", ml_per_day: float = 1, route: str | None = INTRATHECAL, **more: Any) -> dict[str, Any]:
    instruction: dict[str, Any] = {"doseAndRate": [{"rateQuantity": quantity(ml_per_day, "mL/d")}]}
    if route:
        instruction["route"] = concept(SNOMED, route)
    return {
        "resourceType": "MedicationRequest",
        "id": ident,
        "status": "draft",
        "intent": "order",
        "contained": [solution()],
        "medicationReference": {"reference": "#m"},
        "subject": {"reference": "Patient/p"},
        "reasonCode": [concept(ICD, "G89.3")],
        "dosageInstruction": [instruction],
        **more,
    }


def device(code: str) -> dict[str, Any]:
    return {
        "resourceType": "DeviceRequest",
        "id": "pump",
        "status": "draft",
        "intent": "order",
        "codeCodeableConcept": concept("http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", code),
        "subject": {"reference": "Patient/p"},
    }


def answered(answers: Mapping[str, str], ident: str = "q", authored: str = "2026-02-20") -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": ident,
        "questionnaire": "https://cds.example.org/fhir/Questionnaire/09-J1000-31",
        "status": "completed",
        "subject": {"reference": "Patient/p"},
        "authored": authored,
        "item": [{"linkId": fact, "answer": [{"valueCoding": {"code": code}}]} for fact, code in answers.items()],
    }


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": each} for each in resources]}


def decided(drafts: list[dict[str, Any]], **prefetch: Any) -> list[dict[str, Any]]:
    coverage = {
        "resourceType": "Coverage",
        "id": "c",
        "status": "active",
        "beneficiary": {"reference": "Patient/p"},
        "subscriberId": "EXAMPLE1",
        "payor": [{"display": "Florida Blue"}],
    }
    body = {
        "hook": "order-sign",
        "hookInstance": "0d8f5b1e-52a3-4b0e-8d4e-4a2a7c1f9a55",
        "context": {"userId": "Practitioner/d", "patientId": "p", "draftOrders": bundle(*drafts)},
        "prefetch": {"coverage": bundle(coverage), **prefetch},
    }
    orders: list[dict[str, Any]] = json.loads(evaluate_document(json.dumps(body).encode(), rules(), TODAY))["orders"]
    return orders


def answers(**more: str) -> dict[str, Any]:
    return bundle(answered({**SECTION_I, **more}))


def test_contract_what_an_order_refers_to_is_no_order() -> None:
    """A Medication may travel in draftOrders; its dose is read, and it has no entry of its own."""
    referring = order(ml_per_day=0.5)
    del referring["contained"]
    referring["medicationReference"] = {"reference": "Medication/m"}
    orders = decided([referring, solution()], questionnaireResponses=answers())
    assert [each["order"] for each in orders] == ["MedicationRequest/d1"]
    assert orders[0]["dose"][0]["daily"]["value"] == "10"


class TestNewestAnswer:
    """Per fact the newest counting answer wins (decisions 3); of one day, the one authored later."""

    @pytest.mark.parametrize(
        ("first", "second", "status", "why"),
        [
            ("2026-02-20T08:00:00Z", "2026-02-20T18:00:00Z", "not_met", "corrected in the evening"),
            ("2026-02-20T18:00:00Z", "2026-02-20T08:00:00Z", "met", "the order of the entries says nothing"),
            ("2026-02-20T09:00:00+01:00", "2026-02-20T08:30:00Z", "not_met", "the moment counts, not the clock"),
            ("2026-02-20", "2026-02-20", "unknown", "of one day, and nobody knows which came later"),
            ("2026-02-20", "2026-02-20T18:00:00Z", "unknown", "one moment alone does not tell either"),
            ("2026-02-20T08:00:00Z", "2026-02-20T08:00:00Z", "unknown", "both at once contradict each other"),
        ],
    )
    def test_decisions_3_of_one_day_the_later_moment_wins(self, first: str, second: str, status: str, why: str) -> None:
        forms = bundle(answered(SECTION_I, "a", first), answered({"life_expectancy_ge_3_months": "no"}, "b", second))
        [found] = decided([order()], questionnaireResponses=forms)
        assert found["criteria"]["I.1"]["status"] == status, why
        assert ("conflict" in {flag["code"] for flag in found["flags"]}) is (status == "unknown")


class TestConfirmedRoute:
    """An answer settles a route that the order leaves open: for the scope, the table and what is asked (trap 7)."""

    @pytest.mark.parametrize(
        ("route", "confirmed", "verdict", "why"),
        [
            (None, "intrathecal", "exceeds", "20 mg/d of morphine by the intrathecal table"),
            (INTRASPINAL, "intrathecal", "exceeds", "intraspinal said more exactly"),
            (INTRASPINAL, "epidural", "no_limit_stated", "the table is an intrathecal one"),
            (None, "epidural", "no_limit_stated", "an epidural order has no limits"),
        ],
    )
    def test_the_table_is_applied_by_the_confirmed_route(
        self, route: str | None, confirmed: str, verdict: str, why: str
    ) -> None:
        [found] = decided([order(route=route)], questionnaireResponses=answers(route_confirmed=confirmed))
        assert found["dose"][0]["daily_verdict"] == verdict, why
        assert (found["decision"], found["missing_facts"]) == ("meets", []), "a settled fact is never asked"

    def test_a_stated_route_is_never_overruled(self) -> None:
        [found] = decided([order()], questionnaireResponses=answers(route_confirmed="epidural"))
        assert found["dose"][0]["daily_verdict"] == "exceeds"

    def test_a_tablet_stays_a_tablet(self) -> None:
        tablet = order(route=None, medicationCodeableConcept=concept(RXNORM, "897702"))
        del tablet["medicationReference"]
        [found] = decided([tablet], questionnaireResponses=answers(route_confirmed="intrathecal"))
        assert found["in_scope"] is False

    def test_running_orders_cumulate_by_the_confirmed_route(self) -> None:
        running = order("running", ml_per_day=0.5, status="active")
        [found] = decided(
            [order(route=None, ml_per_day=0.5)],
            questionnaireResponses=answers(route_confirmed="intrathecal"),
            medications=bundle(running),
        )
        assert found["dose"][0]["daily"]["value"] == "20"

    def test_a_pump_that_may_serve_another_route_asks_for_it_and_takes_the_answer(self) -> None:
        [open_] = decided([device("E0783")], questionnaireResponses=answers(request_type="permanent"))
        assert (open_["in_scope"], "route_confirmed" in open_["missing_facts"]) == ("unknown", True)
        for confirmed, in_scope in (("intrathecal", True), ("other", False)):
            [found] = decided([device("E0783")], questionnaireResponses=answers(route_confirmed=confirmed))
            assert found["in_scope"] is in_scope, confirmed

"""A draft order that names somebody by display alone is not answered from this patient's chart (row 69)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.e2e_patient import DRAFT, call, order, service_request
from tests.support.e2e_service import VERSIONS, Service

NOBODY = [
    pytest.param({"display": "Ezra Example"}, id="display only"),
    pytest.param({"type": "Patient", "display": "Ezra Example"}, id="type and display"),
]


def of(subject: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    made = order(**{"id": "draft-nobody", **changes})
    if subject is None:
        del made["subject"]
    else:
        made["subject"] = subject
    return made


def patient_unknown(ident: str) -> dict[str, str]:
    return {"code": "patient_unknown", "subject": f"MedicationRequest/{ident}"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("subject", NOBODY)
def test_reliability_69_an_order_of_nobody_gets_no_action_and_no_card(
    service: Service, subject: dict[str, Any] | None, version: str
) -> None:
    answer = service.post(call(of(subject)), version).check()
    assert (answer.actions, answer.cards) == ([], [])


@pytest.mark.parametrize("subject", NOBODY)
def test_reliability_69_its_determination_is_unknown_and_asks_nothing(
    service: Service, subject: dict[str, Any] | None
) -> None:
    [found] = service.determined(call(of(subject, rate="8")))["orders"]
    assert (found["in_scope"], found["program"], found["decision"]) == (
        "unknown",
        "unknown",
        "insufficient_information",
    )
    assert {each["status"] for each in found["criteria"].values()} == {"unknown"}
    assert not any(each["evidence"] for each in found["criteria"].values())
    assert (found["missing_facts"], found["request_type"]) == ([], "unknown")
    assert found["flags"][-1:] == [patient_unknown("draft-nobody")]
    assert found["dose"][0]["daily"]["value"] == "16"  # what the order itself says


@pytest.mark.parametrize("version", VERSIONS)
def test_reliability_69_the_patients_own_order_beside_it_is_answered(service: Service, version: str) -> None:
    """Neither dose nor kind of request of the one counts for the other."""
    catheter = {**service_request(), "subject": {"display": "Ezra Example"}}
    body = call(order(), of({"display": "Ezra Example"}, rate="100"), catheter)
    answer = service.post(body, version).check()
    assert [action["resource"]["id"] for action in answer.actions] == ["draft-e2e"]
    alone = service.determined(call(order()))["orders"][0]
    beside = {each["order"]: each for each in service.determined(body)["orders"]}
    assert beside[DRAFT] == alone
    assert beside["MedicationRequest/draft-nobody"]["flags"][-1:] == [patient_unknown("draft-nobody")]


def test_reliability_69_an_order_outside_the_guideline_stays_outside(service: Service) -> None:
    tablets = of({"display": "Ezra Example"}, dosageInstruction=[{"route": {"text": "oral"}}])
    [found] = service.determined(call(tablets))["orders"]
    assert (found["in_scope"], found["flags"]) == (False, [])


def test_reliability_69_no_technical_answer_either(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where judging breaks, orders of ours get the technical answer: this one is nobody's."""
    monkeypatch.setattr("cds_service.use_cases.order_sign.judge", lambda *_: json.loads("{"))
    answer = service.post(call(order(), of({"display": "Ezra Example"}))).check()
    assert [action["resource"]["id"] for action in answer.actions] == ["draft-e2e"]


@pytest.mark.parametrize("subject", [{}, None])
def test_an_order_without_subject_is_for_the_patient_of_the_call(
    service: Service, subject: dict[str, Any] | None
) -> None:
    """The hook fires for context.patientId alone, and nobody else is named."""
    [found] = service.determined(call(of(subject)))["orders"]
    assert (found["in_scope"], found["program"]) == (True, "standard")

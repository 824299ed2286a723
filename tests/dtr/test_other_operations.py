"""``$log-questionnaire-errors``, ``$expand``, reads; and the card that leads to a form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dtr.conftest import Dtr
from tests.support import e2e_patient as sample
from tests.support.dtr_calls import CANONICAL, VERSIONS, app_context, form_links
from tests.support.e2e_service import running

OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "processing", "diagnostics": "The expression of item I.2 cannot be read."}],
}


def report(
    canonical: str = CANONICAL, outcome: Any = OUTCOME, names: tuple[str, str] = ("questionnaire", "operationOutcome")
) -> Any:
    parts = [{"name": names[0], "valueCanonical": canonical}, {"name": names[1], "resource": outcome}]
    return {"resourceType": "Parameters", "parameter": parts}


def kept(dtr: Dtr) -> list[dict[str, Any]]:
    with dtr.service.sql._database.engine.connect() as connection:
        return [dict(row) for row in connection.exec_driver_sql("SELECT * FROM form_error ORDER BY seq").mappings()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("names", [("questionnaire", "operationOutcome"), ("Questionnaire", "OperationOutcome")])
def test_PS26_an_error_of_a_form_is_kept_and_told(dtr: Dtr, version: str, names: tuple[str, str]) -> None:
    before = len(kept(dtr))
    answer = dtr.post("log-questionnaire-errors", report(names=names), version)
    assert answer.status == 200, answer.bytes
    (row,) = kept(dtr)[before:]
    assert (row["client"], row["questionnaire"], row["severity"]) == ("sample-app", CANONICAL, "error")
    assert "I.2" in row["diagnostics"]
    assert b'cds_events_total{event="form_error"}' in dtr.service.metrics.text()


@pytest.mark.parametrize(
    "diagnostics",
    [
        "Failed for Patient/123",
        "Born 1961-03-14",
        "SSN 123-45-6789",
        "member 123456789",
        "write to ada@example.org",
        "MRN unknown",
        "seen 3/14/2026",
    ],
)
def test_PS26_a_report_that_looks_like_one_about_a_patient_is_refused_and_not_kept(dtr: Dtr, diagnostics: str) -> None:
    before = len(kept(dtr))
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "x", "diagnostics": diagnostics}],
    }
    answer = dtr.post("log-questionnaire-errors", report(outcome=outcome))
    assert answer.status == 422
    assert diagnostics not in answer.bytes.decode()
    assert len(kept(dtr)) == before


@pytest.mark.parametrize(
    "body",
    [
        report("https://other.example.org/Questionnaire/x"),
        {"resourceType": "Parameters", "parameter": [{"name": "questionnaire", "valueCanonical": CANONICAL}]},
        {"resourceType": "Parameters", "parameter": [{"name": "operationOutcome", "resource": OUTCOME}]},
        report(outcome={"resourceType": "Patient", "id": "x"}),
        OUTCOME,
    ],
)
def test_PS26_a_report_without_its_parts_or_of_another_form_is_refused(dtr: Dtr, body: Any) -> None:
    assert dtr.post("log-questionnaire-errors", body).status == 400


@pytest.mark.parametrize("version", VERSIONS)
def test_PS12_value_sets_are_expanded_filtered_and_paged(dtr: Dtr, version: str) -> None:
    url = "https://cds.example.org/fhir/ValueSet/noninvasive-trial-outcome"
    whole = dtr.send("GET", f"/dtr/{version}/ValueSet/$expand?url={url}").json["expansion"]
    assert whole["total"] == 6
    found = dtr.send("GET", f"/dtr/{version}/ValueSet/$expand?url={url}&filter=TRIED").json["expansion"]
    assert [one["code"] for one in found["contains"]] == ["not_tried"]
    paged = dtr.send("GET", f"/dtr/{version}/ValueSet/$expand?url={url}&count=2&offset=4").json["expansion"]
    assert [one["code"] for one in paged["contains"]] == [one["code"] for one in whole["contains"]][4:6]
    asked = [
        {"name": "url", "valueUri": url},
        {"name": "filter", "valueString": "tried"},
        {"name": "count", "valueInteger": 1},
    ]
    body = {"resourceType": "Parameters", "parameter": asked}
    posted = dtr.send("POST", f"/dtr/{version}/ValueSet/$expand", body).json["expansion"]
    assert posted["total"] == 1
    empty = dtr.send("GET", f"/dtr/{version}/ValueSet/$expand?url={url}&filter=zzz").json["expansion"]
    assert "contains" not in empty


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("url=https://other.example.org/ValueSet/x", 400),
        ("url=https://cds.example.org/fhir/ValueSet/request-type&count=-1", 400),
        ("url=https://cds.example.org/fhir/ValueSet/request-type&count=many", 400),
        ("url=https://cds.example.org/fhir/ValueSet/request-type|1999", 400),
        ("url=https://cds.example.org/fhir/ValueSet/request-type|2016-02-15", 200),
    ],
)
def test_bad_input_an_expansion_that_cannot_be(dtr: Dtr, query: str, status: int) -> None:
    assert dtr.send("GET", f"/dtr/2.2/ValueSet/$expand?{query}").status == status


@pytest.mark.parametrize("version", VERSIONS)
def test_PS01_questionnaires_and_value_sets_can_be_read_and_found(dtr: Dtr, version: str) -> None:
    form = dtr.send("GET", f"/dtr/{version}/Questionnaire/09-J1000-31").json
    assert f"{form['url']}|{form['version']}" == CANONICAL
    found = dtr.send("GET", f"/dtr/{version}/Questionnaire?url={CANONICAL.replace('|', '%7C')}").json
    assert [entry["resource"] for entry in found["entry"]] == [form]
    assert dtr.send("GET", f"/dtr/{version}/ValueSet/request-type").json["resourceType"] == "ValueSet"
    assert dtr.send("GET", f"/dtr/{version}/Questionnaire/unknown").status == 404
    assert dtr.send("GET", f"/dtr/{version}/Questionnaire/09-J1000-31", token="").status == 401


def test_PS11_no_library_is_sent_before_there_is_one(dtr: Dtr) -> None:
    """CQL and ELM come later; until then a package promises none, and no item points to one."""
    form = dtr.send("GET", "/dtr/2.2/Questionnaire/09-J1000-31").bytes.decode()
    assert "cqf-library" not in form
    assert "text/cql" not in form


def test_AP03_the_card_leads_to_the_app_with_what_it_needs_and_nothing_about_the_patient(dtr: Dtr) -> None:
    answer = dtr.signed(held=sample.chart({}))
    (link,) = [link for card in answer.cards for link in card["links"] if link["type"] == "smart"]
    assert link["url"] == "https://app.example.org/launch"
    context = json.loads(link["appContext"])
    assert context == {
        "questionnaire": [CANONICAL],
        "context": answer.information()["coverage-assertion-id"],
        "order": sample.DRAFT,
        "coverage": "Coverage/cov-e2e",
    }
    assert sample.PATIENT not in link["appContext"]
    assert all(one["url"].startswith(("https://app.example.org/", "https://payer.example.org/cds/"))
               for card in answer.cards for one in card["links"])  # fmt: skip


def test_AP03_several_orders_have_one_link_that_names_them_all(dtr: Dtr) -> None:
    second = sample.order(id="draft-2", contained=[sample.medication(drug="3423")])
    context = app_context(dtr.signed(sample.order(), second, held=sample.chart({})))
    assert set(context["orders"]) == {sample.DRAFT, "MedicationRequest/draft-2"}
    assert context["order"] in context["orders"]


def test_AP03_nothing_to_fill_in_no_form(dtr: Dtr) -> None:
    """The request can be sent: the link says that, and names no questionnaire."""
    answer = dtr.signed(held=sample.chart())
    assert form_links(answer) == []
    (link,) = [link for card in answer.cards for link in card["links"] if link["type"] == "smart"]
    assert json.loads(link["appContext"])["action"] == "prior-authorization"


@pytest.mark.parametrize(
    ("settings", "profile"),
    [({}, {}), ({"smart_app_url": "https://app.example.org"}, {"smart_link": False})],
)
def test_AP03_no_link_without_an_app_or_where_a_client_wants_none(
    dtr: Dtr, settings: dict[str, Any], profile: dict[str, Any]
) -> None:
    with running(dtr.service.database, settings=settings, **profile) as other:
        answer = other.post(sample.call(held=sample.chart({})), "2.2").check()
        assert answer.cards
        assert not [link for card in answer.cards for link in card["links"] if link["type"] == "smart"]

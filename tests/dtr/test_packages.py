"""``$questionnaire-package`` at both bases: what is asked, what comes back, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from cds_service.domain.authorization import Authorization
from tests.dtr.conftest import Dtr
from tests.support import e2e_patient as sample
from tests.support.crd_invariants import URL as COVERAGE_INFORMATION
from tests.support.dtr_calls import (
    ADAPTIVE,
    CANONICAL,
    DTR,
    VERSIONS,
    answers,
    extension,
    issues,
    items,
    of_type,
    packages,
    request,
)
from tests.support.e2e_service import running, shipped
from tests.support.web_twins import READER_TOKEN

FACTS_MISSING = {"life_expectancy_ge_3_months": "yes"}
OTHER_PATIENT = {"reference": "Patient/somebody-else"}


@pytest.fixture(scope="module")
def context(dtr: Dtr) -> dict[str, Any]:
    """The appContext after an order of which facts are missing."""
    return dtr.context(held=sample.chart(FACTS_MISSING))


@pytest.mark.parametrize("version", VERSIONS)
def test_PS01_one_base_answers_every_operation(dtr: Dtr, version: str) -> None:
    for method, path in (
        ("POST", "Questionnaire/$questionnaire-package"),
        ("POST", "Questionnaire/$next-question"),
        ("POST", "Questionnaire/$log-questionnaire-errors"),
        ("POST", "ValueSet/$expand"),
        ("GET", "metadata"),
        ("GET", ".well-known/smart-configuration"),
        ("GET", "Questionnaire/09-J1000-31"),
    ):
        answer = dtr.send(method, f"/dtr/{version}/{path}", {"resourceType": "Parameters"})
        assert answer.status in {200, 400}, (path, answer.bytes)


@pytest.mark.parametrize("version", VERSIONS)
def test_PS02_the_capability_statement_lists_the_operations_and_needs_no_token(dtr: Dtr, version: str) -> None:
    answer = dtr.send("GET", f"/dtr/{version}/metadata", token="")
    assert answer.status == 200
    statement = answer.json
    named = {one["name"] for one in statement["rest"][0]["operation"]}
    assert named == {"questionnaire-package", "log-questionnaire-errors", "next-question", "expand"}
    assert statement["instantiates"] == ["http://hl7.org/fhir/us/davinci-dtr/CapabilityStatement/dtr-payer-service"]
    assert statement["implementation"]["url"].endswith(f"/dtr/{version}")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"coverage": ()}, "coverage"),  # no Coverage
        ({}, "parameter"),  # dtr-1: neither order, questionnaire nor context
        ({"order": [{"resourceType": "Patient", "id": "x"}]}, "order"),
        ({"order": [{"id": "x"}]}, "order"),
        ({"coverage": [{"resourceType": "Patient"}], "questionnaire": CANONICAL}, "coverage"),
        ({"questionnaire": [""]}, "questionnaire"),
        ({"questionnaire": CANONICAL, "changedsince": {"valueInstant": "yesterday"}}, "changedsince"),
        ({"questionnaire": CANONICAL, "coverage": [{"resourceType": "Coverage", "status": "active"}]}, "beneficiary"),
    ],
)
def test_PS03_input_that_breaks_the_rules_of_the_operation_is_refused_by_name(
    dtr: Dtr, version: str, parts: dict[str, Any], where: str
) -> None:
    answer = dtr.package(version, **parts)
    assert answer.status == 400, answer.bytes
    assert answer.json["resourceType"] == "OperationOutcome"
    assert answer.headers["Content-Type"] == "application/fhir+json"
    assert where in answer.json["issue"][0]["expression"][0]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"resourceType":"Parameters","parameter":{}}', 400),
        (b'{"resourceType":"Parameters","parameter":[{}]}', 400),
        (b'{"resourceType":"Parameters","parameter":["x"]}', 400),
        (b'{"resourceType":"Parameters","resourceType":"Parameters"}', 400),  # one key twice
        (b'{"resourceType":"Bundle"}', 400),
        (b'{"resourceType":"Parameters","parameter":[{"name":"coverage","valueString":"x"}]}', 400),
        (b'{"resourceType":"Parameters","x":NaN}', 400),
    ],
)
def test_bad_input_43_49_a_package_request_that_is_no_parameters(dtr: Dtr, body: bytes, status: int) -> None:
    assert dtr.post("questionnaire-package", body).status == status


def test_PS03_only_post_and_only_json(dtr: Dtr) -> None:
    path = "/dtr/2.2/Questionnaire/$questionnaire-package"
    assert dtr.send("PUT", path, {}).status == 405
    assert dtr.send("GET", path).status in {404, 405}
    text = dtr.send("POST", path, b"<x/>", **{"Content-Type": "application/fhir+xml"})
    assert text.status == 415


def test_PS03_two_coverages_are_taken_by_2_0_1_and_refused_by_2_2(dtr: Dtr) -> None:
    two = [sample.coverage(), sample.coverage("second")]
    assert dtr.package("2.0.1", coverage=two, questionnaire=CANONICAL).status == 200
    assert dtr.package("2.2", coverage=two, questionnaire=CANONICAL).status == 400


def test_SM49_no_operation_without_a_token_or_beyond_its_scope(dtr: Dtr) -> None:
    body = request(questionnaire=CANONICAL)
    for operation in ("questionnaire-package", "next-question", "log-questionnaire-errors"):
        assert dtr.post(operation, body, token="").status == 401
        assert dtr.post(operation, body, token="nonsense").status == 401
        assert dtr.post(operation, body, token=READER_TOKEN).status == 401
        assert dtr.post(operation, body, token=dtr.service.system_token("system/Claim.cu")).status == 403
    lower = dtr.service.system_token("system/questionnaire.rs")
    assert dtr.post("questionnaire-package", body, token=lower).status == 200  # SM-50


@pytest.mark.parametrize("version", VERSIONS)
def test_PS04_the_union_holds_each_version_of_a_questionnaire_once(
    dtr: Dtr, version: str, context: dict[str, Any]
) -> None:
    answer = dtr.package(
        version,
        order=sample.order(),
        context=context["context"],
        questionnaire=[CANONICAL, CANONICAL.partition("|")[0], ADAPTIVE],
    )
    found = [of_type(bundle, "Questionnaire")[0] for bundle in packages(answer, version)]
    assert sorted(f"{one['url']}|{one['version']}" for one in found) == sorted([CANONICAL, ADAPTIVE])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "asked", ["https://other.example.org/Questionnaire/x|1", CANONICAL.partition("|")[0] + "|1999"]
)
def test_PS05_an_unknown_canonical_is_a_warning_beside_the_others(dtr: Dtr, version: str, asked: str) -> None:
    answer = dtr.package(version, questionnaire=[asked, CANONICAL])
    assert len(packages(answer, version)) == 1
    assert [one["severity"] for one in issues(answer, version)] == ["warning"]
    assert asked not in answer.bytes.decode().replace(CANONICAL, "")


def test_PS06_an_order_that_needs_no_form_says_so(dtr: Dtr) -> None:
    oral = sample.order(dosageInstruction=[sample.dosage(route="26643006")])
    answer = dtr.package(order=oral)
    assert packages(answer) == []
    assert issues(answer)[0]["details"]["text"]


@pytest.mark.parametrize("version", VERSIONS)
def test_PS06_an_order_that_was_settled_when_it_was_signed_says_so_and_is_not_asked_about_again(
    dtr: Dtr, version: str
) -> None:
    """Opened from the chart, not from the card: the context is known, and no form belongs to it."""
    said = dtr.signed(held=sample.chart(sample.TRIAL)).information()
    assert "questionnaire" not in said
    signed = sample.order(id="signed-1", status="active")
    answer = dtr.package(version, order=signed, context=said["coverage-assertion-id"])
    assert packages(answer, version) == []
    (issue,) = issues(answer, version)
    assert issue["severity"] == "information"
    assert issue["details"]["text"] == "No form is needed, as was said when the order was signed."


def test_PS06_an_authorized_order_is_not_said_to_be_beside_the_guideline(dtr: Dtr) -> None:
    entry = Authorization("PA-9", "M-AUTHORIZED", "active", (), "", date(2020, 1, 1), None, {})
    dtr.service.store.put_authorizations([(entry, "raw")], datetime(2020, 1, 1, tzinfo=UTC))
    answer = dtr.package(coverage=[sample.coverage(subscriberId="M-AUTHORIZED")], order=sample.order(status="active"))
    assert packages(answer) == []
    assert [one["details"]["text"] for one in issues(answer)] == [
        "No form is needed for this order: it is authorized already."
    ]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({"context": "unknown-context"}, 400),
        ({"context": "00000000-0000-0000-0000-000000000000"}, 400),
        ({"context": "x" * 200}, 400),
        ({"questionnaire": CANONICAL, "coverage": [sample.coverage(payer="Other Health")]}, 400),
    ],
)
def test_PS07_an_unknown_context_or_a_foreign_coverage_is_refused(dtr: Dtr, parts: dict[str, Any], status: int) -> None:
    answer = dtr.package(**parts)
    assert answer.status == status, answer.bytes
    assert answer.json["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "changes",
    [
        {"beneficiary": OTHER_PATIENT},  # another patient's Coverage
        {"subscriberId": "M-SOMEBODY"},  # another membership
    ],
)
def test_PS07_a_context_is_of_use_for_its_own_patient_and_membership_only(
    dtr: Dtr, context: dict[str, Any], changes: dict[str, Any]
) -> None:
    answer = dtr.package(coverage=[sample.coverage(**changes)], context=context["context"])
    assert answer.status == 400
    assert "Questionnaire/" not in answer.bytes.decode()


def test_PS07_an_order_of_another_patient_is_refused(dtr: Dtr) -> None:
    answer = dtr.package(order=sample.order(subject=OTHER_PATIENT))
    assert answer.status == 400
    assert answer.json["issue"][0]["code"] == "conflict"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "active"},
        {"id": "signed-1", "status": "active"},
        {"note": [{"text": "added later"}]},
        {"authoredOn": "2026-03-05T10:00:00Z"},
    ],
)
def test_PS08_small_edits_keep_the_order_with_its_context(
    dtr: Dtr, context: dict[str, Any], changes: dict[str, Any]
) -> None:
    order = sample.order(**changes)
    answer = dtr.package(order=order, context=context["context"])
    assert issues(answer) == []
    (bundle,) = packages(answer)
    draft = of_type(bundle, "QuestionnaireResponse")[0]
    assert answers(draft)["life_expectancy_ge_3_months"] == "yes"
    linked = [one["valueReference"] for one in extension(draft, f"{DTR}/qr-context")]
    assert linked == [{"reference": f"MedicationRequest/{order['id']}"}]


@pytest.mark.parametrize(
    "changes",
    [
        {"contained": [sample.medication(drug="3423")]},  # hydromorphone
        {"dosageInstruction": [sample.dosage(route="404820008")]},  # epidural
    ],
)
def test_PS08_another_drug_or_route_is_told_and_not_taken_for_the_order_of_the_context(
    dtr: Dtr, context: dict[str, Any], changes: dict[str, Any]
) -> None:
    answer = dtr.package(order=sample.order(**changes), context=context["context"])
    assert "warning" in {one["severity"] for one in issues(answer)}
    assert len(packages(answer)) == 1


def test_PS09_the_context_is_the_assertion_id_that_the_order_carries(dtr: Dtr) -> None:
    """An EHR without appContext finds the same in coverage-information."""
    signed = dtr.signed(held=sample.chart(FACTS_MISSING))
    said = signed.information()
    (bundle,) = packages(dtr.package(context=said["coverage-assertion-id"]))
    canonical = said["questionnaire"]
    assert of_type(bundle, "QuestionnaireResponse")[0]["questionnaire"] == canonical
    assert COVERAGE_INFORMATION in signed.bytes.decode()


@pytest.mark.parametrize("version", VERSIONS)
def test_PS10_a_package_is_a_collection_with_the_questionnaire_first(
    dtr: Dtr, version: str, context: dict[str, Any]
) -> None:
    (bundle,) = packages(dtr.package(version, context=context["context"]), version)
    assert bundle["type"] == "collection"
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds[:2] == ["Questionnaire", "QuestionnaireResponse"]
    assert kinds.count("Questionnaire") == kinds.count("QuestionnaireResponse") == 1
    assert set(kinds) <= {"Questionnaire", "QuestionnaireResponse", "ValueSet", "Library"}
    assert all(entry["fullUrl"] for entry in bundle["entry"])


def test_PS13_references_in_a_package_carry_their_version(dtr: Dtr, context: dict[str, Any]) -> None:
    (bundle,) = packages(dtr.package(context=context["context"]))
    draft, form = of_type(bundle, "QuestionnaireResponse")[0], of_type(bundle, "Questionnaire")[0]
    assert draft["questionnaire"] == f"{form['url']}|{form['version']}"
    assert not any("answerValueSet" in item for item in items(form))


@pytest.mark.parametrize("version", VERSIONS)
def test_PS14_the_draft_says_whose_it_is_what_for_and_what_it_is_for(
    dtr: Dtr, version: str, context: dict[str, Any]
) -> None:
    (bundle,) = packages(dtr.package(version, context=context["context"]), version)
    draft = of_type(bundle, "QuestionnaireResponse")[0]
    assert draft["status"] == "in-progress"
    assert draft["subject"] == sample.SUBJECT
    uses = [one["valueCodeableConcept"]["coding"][0] for one in extension(draft, f"{DTR}/intendedUse")]
    assert [one["code"] for one in uses] == ["withpa", "retain-doc"]
    links = [one["valueReference"] for one in extension(draft, f"{DTR}/qr-context")]
    coverages = [one["valueReference"] for one in extension(draft, f"{DTR}/qr-coverage")]
    if version == "2.0.1":
        assert coverages == []
        assert links[0] == {"reference": "Coverage/cov-e2e"}
        assert links[1]["identifier"] == {"value": "draft-e2e"}  # not in the EHR yet: named, not referred to
        assert {one["system"] for one in uses} == {"http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"}
    else:
        assert coverages == [{"reference": "Coverage/cov-e2e"}]
        assert len(links) == 1


@pytest.mark.parametrize(("version", "origin"), [("2.0.1", "auto"), ("2.2", "auto-server")])
def test_PS15_every_answer_of_the_payer_says_where_it_came_from(
    dtr: Dtr, version: str, origin: str, context: dict[str, Any]
) -> None:
    (bundle,) = packages(dtr.package(version, context=context["context"]), version)
    draft = of_type(bundle, "QuestionnaireResponse")[0]
    given = [answer for item in items(draft) for answer in item.get("answer", ())]
    assert given
    for answer in given:
        (found,) = extension(answer, f"{DTR}/information-origin")
        assert found["extension"] == [{"url": "source", "valueCode": origin}]


def test_PS15_what_the_chart_shows_of_a_sensitive_fact_is_not_filled_in(dtr: Dtr) -> None:
    """An infection in the chart speaks against an implant: the person is asked, the form does not say it first."""
    held = sample.chart({**FACTS_MISSING}, conditions=[sample.condition(), sample.condition("A41.9", "sepsis")])
    (bundle,) = packages(dtr.package(context=dtr.context(held=held)["context"]))
    draft = of_type(bundle, "QuestionnaireResponse")[0]
    assert "implant_contraindications_eliminated" not in answers(draft)
    assert "sepsis" not in json.dumps(draft)


@pytest.mark.parametrize(
    ("since", "count"),
    [("2026-03-01T00:00:00Z", 1), ("2026-03-03T00:00:00Z", 0), ("2016-01-01T00:00:00Z", 1)],
)
def test_PS16_nothing_that_has_not_changed_since_is_sent_again(
    dtr: Dtr, context: dict[str, Any], since: str, count: int
) -> None:
    answer = dtr.package(context=context["context"], changedsince={"valueInstant": since})
    assert len(packages(answer)) == count
    assert bool(issues(answer)) is (count == 0)


def test_PS35_signing_again_after_the_form_asks_for_nothing_more(dtr: Dtr) -> None:
    """The response that the app saved settles the criteria at the next order-sign."""
    (bundle,) = packages(dtr.package(context=dtr.context(held=sample.chart(FACTS_MISSING))["context"]))
    draft = of_type(bundle, "QuestionnaireResponse")[0]
    filled = {**draft, "id": "done", "status": "completed", "authored": "2026-03-02T12:00:00Z"}
    filled["author"] = {"reference": "Practitioner/pr-e2e"}
    said = sample.answered({**sample.TRIAL})["item"]
    filled["item"] = [*filled["item"], *said]
    again = dtr.signed(held=sample.chart({}, questionnaireResponses=[filled]))
    assert again.information()["covered"] == "covered"
    assert "questionnaire" not in again.information()


def test_PS37_every_registered_system_is_told_the_same(dtr: Dtr, context: dict[str, Any]) -> None:
    first, second = (packages(dtr.package(context=context["context"])) for _ in range(2))
    for bundles in (first, second):
        bundles[0]["entry"][1]["fullUrl"] = ""
    assert first == second


@pytest.mark.parametrize(
    "coverage",
    [
        {"resourceType": "Coverage", "beneficiary": sample.SUBJECT, "payor": [{"display": "Florida Blue"}]},
        {"resourceType": "Coverage", "beneficiary": {"identifier": {"value": "1"}}, "payor": [{"display": "x"}]},
        {"resourceType": "Coverage", "id": "c", "beneficiary": sample.SUBJECT},  # nobody says whose it is
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_PS38_optional_elements_that_are_missing_are_no_error(
    dtr: Dtr, version: str, coverage: dict[str, Any], context: dict[str, Any]
) -> None:
    answer = dtr.package(
        version, coverage=[coverage], context=context["context"], order=[{"resourceType": "Encounter"}]
    )
    assert answer.status == 200, answer.bytes


def test_PS39_each_operation_leaves_a_record_and_none_of_it_is_about_a_patient(
    dtr: Dtr, context: dict[str, Any]
) -> None:
    dtr.package(context=context["context"])
    dtr.package(context="unknown-context")
    with dtr.service.sql._database.engine.connect() as connection:
        rows = [dict(row) for row in connection.exec_driver_sql("SELECT * FROM form_call ORDER BY seq").mappings()]
    kept = [row for row in rows if row["operation"] == "qpackage"][-2:]
    assert [(row["status"], row["outcome"], row["questionnaires"]) for row in kept] == [
        (200, "package", 1),
        (400, "refused", 0),
    ]
    assert kept[0]["context"] == context["context"]
    assert all(sample.PATIENT not in str(row) and sample.MEMBER not in str(row) for row in rows)
    assert all(row["client"] == "sample-app" and row["milliseconds"] >= 0 for row in rows)


def test_PS36_a_context_cannot_be_read_as_a_determination_and_holds_no_patient(
    dtr: Dtr, context: dict[str, Any]
) -> None:
    document = dtr.service.sql.determination(f"documentation~{context['context']}")
    assert document is not None
    assert sample.PATIENT.encode() not in document
    assert sample.MEMBER.encode() not in document
    assert dtr.service.get(f"/determinations/documentation~{context['context']}").status == 404
    assert dtr.service.get(f"/determinations/{context['context']}").status == 200


def test_PS06_a_context_whose_form_is_no_longer_offered_says_what_to_do(dtr: Dtr, context: dict[str, Any]) -> None:
    """The policy got a new version in between: the old form is gone, and the outcome says what helps."""
    (guideline,) = shipped().guidelines
    later = msgspec.structs.replace(guideline, version="2026-01-01")
    with running(dtr.service.database, configuration=msgspec.structs.replace(shipped(), guidelines=(later,))) as other:
        answer = Dtr(other).package(context=context["context"])
    assert packages(answer) == []
    assert "Sign the order once more" in issues(answer)[0]["details"]["text"]

"""FHIR access: only with a valid token, within its scopes, for its patient."""

from __future__ import annotations

from datetime import timedelta

import pytest
from joserfc import jwt

from sandbox_ehr.keys import load_or_make

CONDITION = "trial-ready-1"


def _get(app, url, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return app.test_client().get(url, headers=headers)


def test_reads_and_searches_with_a_token(app, token):
    one = _get(app, f"/fhir/Condition/{CONDITION}", token())
    found = _get(app, "/fhir/Condition?patient=trial-ready", token())
    assert (one.status_code, one.json["code"]["coding"][0]["code"]) == (200, "G89.28")
    assert (found.json["total"], found.json["type"]) == (2, "searchset")
    assert found.content_type.startswith("application/fhir+json")


@pytest.mark.parametrize("url", [f"/fhir/Condition/{CONDITION}", "/fhir/Condition?patient=trial-ready"])
def test_refuses_without_a_token(app, url):
    answer = _get(app, url)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "url",
    [
        f"/fhir/Condition/{CONDITION}",
        "/fhir/Patient/trial-ready",
        "/fhir/Condition?patient=trial-ready",
        "/fhir/Condition?subject=Patient/trial-ready",
        "/fhir/Coverage?beneficiary=trial-ready",
    ],
)
def test_refuses_a_token_of_another_patient(app, token, url):
    assert _get(app, url, token("labour")).status_code == 403


def test_a_search_without_patient_sees_only_the_tokens_own(app, token):
    found = _get(app, "/fhir/Condition", token("labour")).json
    assert {entry["resource"]["subject"]["reference"] for entry in found["entry"]} == {"Patient/labour"}
    assert _get(app, "/fhir/Patient?_id=trial-ready", token("labour")).json["total"] == 0


@pytest.mark.parametrize(
    ("scopes", "read", "search"),
    [
        ("patient/Condition.rs", 200, 200),
        ("patient/Condition.r", 200, 403),  # SMART v2: read and search are two rights
        ("patient/Condition.s", 403, 200),
        ("patient/Condition.read", 200, 200),  # SMART v1
        ("patient/*.read", 200, 200),
        ("patient/*.rs", 200, 200),
        ("patient/Condition.cruds", 200, 200),
        ("patient/Condition.write", 403, 403),
        ("patient/Observation.rs", 403, 403),  # another type
        ("user/Condition.rs", 403, 403),  # nobody is signed in here
        ("patient/Condition.rs?category=problem-list-item", 403, 403),  # narrowed, and narrowing is not enforced
        ("openid fhirUser", 403, 403),
        ("", 403, 403),
    ],
)
def test_scopes_limit_what_a_token_reads(app, token, scopes, read, search):
    held = token(scopes=scopes)
    assert _get(app, f"/fhir/Condition/{CONDITION}", held).status_code == read
    answer = _get(app, "/fhir/Condition?patient=trial-ready", held)
    assert answer.status_code == search
    if search == 403:
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_a_token_ends_after_five_minutes(app, token, clock):
    held = token()
    clock.at += timedelta(seconds=299)
    assert _get(app, f"/fhir/Condition/{CONDITION}", held).status_code == 200
    clock.at += timedelta(seconds=1)
    assert _get(app, f"/fhir/Condition/{CONDITION}", held).status_code == 401


def test_a_changed_token_is_refused(app, token):
    head, body, signature = token().split(".")
    swapped = "B" if signature[0] == "A" else "A"
    assert _get(app, f"/fhir/Condition/{CONDITION}", f"{head}.{body}.{swapped}{signature[1:]}").status_code == 401
    assert _get(app, f"/fhir/Condition/{CONDITION}", "not-a-token").status_code == 401


def test_pages_are_linked_by_next(app, token):
    held, url, seen = token("permanent-ready"), "/fhir/Observation?patient=permanent-ready&_count=1", []
    while url:
        page = _get(app, url.removeprefix("http://ehr.test"), held).json
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        assert page["total"] == 2
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert len(seen) == len(set(seen)) == 2


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("/fhir/Condition?patient=trial-ready&weather=fine", 400),  # an unknown filter is never silently dropped
        ("/fhir/Condition?_count=0", 400),
        ("/fhir/Condition?_count=x", 400),
        ("/fhir/Appointment?patient=trial-ready", 404),
        ("/fhir/Condition/none", 404),
        ("/fhir/Condition/a%20b", 404),
    ],
)
def test_errors_are_operation_outcomes(app, token, url, status):
    answer = _get(app, url, token())
    assert (answer.status_code, answer.json["resourceType"]) == (status, "OperationOutcome")


def test_capability_statement_lists_what_is_served(app):
    statement = _get(app, "/fhir/metadata").json
    types = {resource["type"] for resource in statement["rest"][0]["resource"]}
    assert statement["fhirVersion"] == "4.0.1"
    assert {"Patient", "Coverage", "MedicationRequest", "QuestionnaireResponse"} <= types


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({"aud": "http://elsewhere.test/fhir"}, {}),
        ({"iss": "http://elsewhere.test"}, {}),
        ({"exp": None}, {}),
        ({"patient": None}, {}),
        ({}, {"typ": "JWT"}),  # another kind of token of the same key
    ],
)
def test_a_token_made_for_something_else_is_refused(app, token, changes, header):
    key = app.extensions["tokens"].key
    decoded = jwt.decode(token(), key, algorithms=["ES384"])
    claims = {name: value for name, value in {**decoded.claims, **changes}.items() if value is not None}
    made = jwt.encode({**decoded.header, **header}, claims, key, algorithms=["ES384"])
    assert _get(app, f"/fhir/Condition/{CONDITION}", made).status_code == 401
    assert _get(app, f"/fhir/Condition/{CONDITION}", token()).status_code == 200


def test_the_key_of_hook_calls_opens_no_chart(app, token, tmp_path):
    key = load_or_make(tmp_path / "keys").hooks
    decoded = jwt.decode(token(), app.extensions["tokens"].key, algorithms=["ES384"])
    made = jwt.encode(decoded.header, decoded.claims, key, algorithms=["ES384"])
    assert _get(app, f"/fhir/Condition/{CONDITION}", made).status_code == 401

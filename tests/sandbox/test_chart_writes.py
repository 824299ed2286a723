"""What an app may leave in the chart: create, update with If-Match, versions, searches; always within its scopes."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

PATIENT = "trial-facts-missing"
CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"


def form(patient: str = PATIENT, **changes):
    good = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": "https://cds.example.org/fhir/Questionnaire/09-J1000-31|1",
        "status": "in-progress",
        "subject": {"reference": f"Patient/{patient}"},
        "item": [{"linkId": "a", "answer": [{"valueDecimal": 1.50}]}],
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


@pytest.fixture
def token(sandbox):
    return sandbox.client.tokens(sandbox.launch())["access_token"]


@pytest.fixture
def saved(sandbox, token):
    answer = sandbox.client.fhir("POST", "QuestionnaireResponse", token, json=form())
    assert answer.status_code == 201, answer.text
    return answer


def test_create_gives_id_location_and_version(sandbox, saved):
    made = saved.json()
    assert saved.headers["ETag"] == 'W/"1"'
    address = f"{sandbox.base}/fhir/QuestionnaireResponse/{made['id']}/_history/1"
    assert saved.headers["Location"] == address
    assert made["meta"]["versionId"] == "1"
    assert made["meta"]["lastUpdated"]


def test_update_needs_the_version_that_was_read(sandbox, token, saved):
    made = saved.json()
    path = f"QuestionnaireResponse/{made['id']}"
    following = {**made, "status": "completed"}

    def put(etag: str | None):
        headers = {"If-Match": etag} if etag else {}
        return sandbox.client.fhir("PUT", path, token, json=following, headers=headers)

    assert put(None).status_code == 428
    assert put("*").status_code == 400
    assert put('W/"2"').status_code == 412
    done = put('W/"1"')
    assert (done.status_code, done.headers["ETag"], done.json()["status"]) == (200, 'W/"2"', "completed")
    assert put('W/"1"').status_code == 412
    read = sandbox.client.fhir("GET", path, token)
    assert (read.headers["ETag"], read.json()["meta"]["versionId"]) == ('W/"2"', "2")


def test_of_ten_updates_at_once_one_wins(sandbox, token, saved):
    made = saved.json()

    def put(number: int) -> int:
        body = {**made, "item": [{"linkId": str(number)}]}
        return sandbox.client.fhir(
            "PUT", f"QuestionnaireResponse/{made['id']}", token, json=body, headers={"If-Match": 'W/"1"'}
        ).status_code

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(put, range(10)))
    assert sorted(answers) == [200] + [412] * 9


def test_a_conditional_create_keeps_once_of_ten_at_once(sandbox, token):
    body = form(identifier={"system": "urn:x", "value": str(uuid.uuid4())})
    wanted = f"identifier=urn:x|{body['identifier']['value']}"

    def post(_: int) -> int:
        headers = {"If-None-Exist": wanted}
        return sandbox.client.fhir("POST", "QuestionnaireResponse", token, json=body, headers=headers).status_code

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(post, range(10))) == [200] * 9 + [201]
    assert sandbox.client.fhir("GET", f"QuestionnaireResponse?{wanted}", token).json()["total"] == 1
    assert sandbox.client.fhir("POST", "QuestionnaireResponse", token, json=body).status_code == 201
    assert post(0) == 412  # now there are two
    strange = {"If-None-Exist": "weather=fine"}
    answer = sandbox.client.fhir("POST", "QuestionnaireResponse", token, json=body, headers=strange)
    assert answer.status_code == 400


def test_every_version_is_kept(sandbox, token, saved):
    made = saved.json()
    path = f"QuestionnaireResponse/{made['id']}"
    sandbox.client.fhir("PUT", path, token, json={**made, "status": "completed"}, headers={"If-Match": 'W/"1"'})
    first = sandbox.client.fhir("GET", f"{path}/_history/1", token)
    assert (first.json()["status"], first.headers["ETag"]) == ("in-progress", 'W/"1"')
    history = sandbox.client.fhir("GET", f"{path}/_history", token).json()
    assert [one["resource"]["meta"]["versionId"] for one in history["entry"]] == ["2", "1"]
    assert sandbox.client.fhir("GET", f"{path}/_history/3", token).status_code == 404


def test_a_sample_form_can_be_carried_on(sandbox):
    token = sandbox.client.tokens(sandbox.launch(patient="trial-stale"))["access_token"]
    found = sandbox.client.fhir("GET", "QuestionnaireResponse?patient=trial-stale", token).json()
    held = found["entry"][0]["resource"]
    path = f"QuestionnaireResponse/{held['id']}"
    read = sandbox.client.fhir("GET", path, token)
    answer = sandbox.client.fhir(
        "PUT", path, token, json={**held, "status": "amended"}, headers={"If-Match": read.headers["ETag"]}
    )
    assert answer.status_code == 200
    history = sandbox.client.fhir("GET", f"{path}/_history", token).json()
    assert [one["resource"]["status"] for one in history["entry"]] == ["amended", "completed"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("QuestionnaireResponse", form(patient="refill"), 403),  # another patient's chart
        ("QuestionnaireResponse", form(subject=None), 422),
        ("QuestionnaireResponse", form(questionnaire=None), 422),
        ("QuestionnaireResponse", form(status="done"), 422),
        ("QuestionnaireResponse", form(item="none"), 422),
        ("QuestionnaireResponse", form(resourceType="Observation"), 400),
        ("QuestionnaireResponse", [1], 400),
        ("Observation", {"resourceType": "Observation"}, 405),
        ("MedicationRequest", {"resourceType": "MedicationRequest"}, 405),  # orders are signed on the order page
        ("ClaimResponse", {"resourceType": "ClaimResponse"}, 403),  # beyond the granted scopes
    ],
)
def test_what_cannot_be_kept_is_refused_with_an_outcome(sandbox, token, path, body, status):
    answer = sandbox.client.fhir("POST", path, token, json=body)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{", "application/fhir+json", 400),
        (b"[" * 100_000, "application/fhir+json", 400),
        (b"<a/>", "application/fhir+xml", 415),
        (b"x" * 2_100_000, "application/fhir+json", 413),
    ],
)
def test_bodies_that_are_no_fhir_json_are_refused(sandbox, token, data, kind, status):
    answer = sandbox.client.fhir("POST", "QuestionnaireResponse", token, data=data, headers={"Content-Type": kind})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("scope", "create", "update"),
    [
        ("launch patient/QuestionnaireResponse.cu", 201, 200),
        ("launch patient/QuestionnaireResponse.c", 201, 403),
        ("launch patient/QuestionnaireResponse.u", 403, 200),
        ("launch patient/QuestionnaireResponse.rs", 403, 403),
        ("launch patient/QuestionnaireResponse.write", 201, 200),  # SMART v1
        ("launch patient/*.read", 403, 403),
    ],
)
def test_scopes_limit_what_is_written(sandbox, saved, scope, create, update):
    token, made = sandbox.client.tokens(sandbox.launch(), scope=scope)["access_token"], saved.json()
    assert sandbox.client.fhir("POST", "QuestionnaireResponse", token, json=form()).status_code == create
    path = f"QuestionnaireResponse/{made['id']}"
    answer = sandbox.client.fhir("PUT", path, token, json=made, headers={"If-Match": 'W/"1"'})
    assert answer.status_code == update


def test_a_form_does_not_move_to_another_patient_or_id(sandbox, token, saved):
    made = saved.json()
    path, headers = f"QuestionnaireResponse/{made['id']}", {"If-Match": 'W/"1"'}
    elsewhere = {**made, "subject": {"reference": "Patient/refill"}}
    assert sandbox.client.fhir("PUT", path, token, json=elsewhere, headers=headers).status_code == 422
    assert sandbox.client.fhir("PUT", path, token, json={**made, "id": "x"}, headers=headers).status_code == 400
    stranger = sandbox.client.tokens(sandbox.launch(patient="refill"))["access_token"]
    assert sandbox.client.fhir("PUT", path, stranger, json=made, headers=headers).status_code == 403
    assert sandbox.client.fhir("GET", f"{path}/_history", stranger).status_code == 403
    assert sandbox.client.fhir("GET", f"{path}/_history/1", stranger).status_code == 403


def test_nothing_is_deleted_and_nothing_is_made_by_put(sandbox, token, saved):
    path = f"QuestionnaireResponse/{saved.json()['id']}"
    assert sandbox.client.fhir("DELETE", path, token).status_code == 403
    answer = sandbox.client.fhir(
        "PUT", "QuestionnaireResponse/new", token, json=form(id="new"), headers={"If-Match": 'W/"1"'}
    )
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("patient=trial-facts-missing", True),
        ("subject=Patient/trial-facts-missing", True),
        ("questionnaire=https://cds.example.org/fhir/Questionnaire/09-J1000-31", True),
        ("questionnaire=https://cds.example.org/fhir/Questionnaire/other", False),
        ("status=in-progress", True),
        ("status=completed", False),
        ("context=MedicationRequest/m-77", True),
        ("context=MedicationRequest/m-78", False),
        ("authored=ge2026-01-01", True),
        ("_sort=-authored&context=MedicationRequest/m-77", True),
    ],
)
def test_AP05_drafts_are_found_again(sandbox, token, query, hit):
    context = {"url": CONTEXT, "valueReference": {"reference": "MedicationRequest/m-77"}}
    body = form(extension=[context], authored="2026-11-25T10:00:00Z")
    made = sandbox.client.fhir("POST", "QuestionnaireResponse", token, json=body).json()
    found = sandbox.client.fhir("GET", f"QuestionnaireResponse?{query}&_count=200", token).json()
    assert (made["id"] in {one["resource"]["id"] for one in found.get("entry", [])}) is hit


def test_an_unknown_search_parameter_is_refused(sandbox, token):
    for query in ("weather=fine", "_sort=weather"):
        assert sandbox.client.fhir("GET", f"QuestionnaireResponse?{query}", token).status_code == 400


def test_searches_are_sorted_as_asked(sandbox, token):
    def days(order: str) -> list[str]:
        path = f"MedicationRequest?patient={PATIENT}&_sort={order}"
        found = sandbox.client.fhir("GET", path, token).json()
        return [one["resource"]["authoredOn"] for one in found["entry"]]

    assert days("authoredon") == sorted(days("authoredon"))
    assert days("-authoredon") == sorted(days("authoredon"), reverse=True)
    assert len(set(days("authoredon"))) > 1


def test_a_decision_can_be_kept_by_an_app_that_may(sandbox):
    scope = "launch patient/ClaimResponse.crs patient/Task.c"
    token = sandbox.client.tokens(sandbox.launch(), scope=scope)["access_token"]
    decision = {
        "resourceType": "ClaimResponse",
        "status": "active",
        "type": {"text": "professional"},
        "use": "preauthorization",
        "patient": {"reference": f"Patient/{PATIENT}"},
        "created": "2026-11-25",
        "insurer": {"display": "Florida Blue"},
        "outcome": "complete",
        "identifier": [{"system": "urn:x", "value": "1"}],
    }
    assert sandbox.client.fhir("POST", "ClaimResponse", token, json=decision).status_code == 201
    assert sandbox.client.fhir("GET", "ClaimResponse?identifier=urn:x|1", token).json()["total"] == 1


def test_staff_have_roles_that_an_app_can_read(sandbox):
    scope = "launch openid fhirUser user/Practitioner.rs user/PractitionerRole.rs"
    token = sandbox.client.tokens(sandbox.launch(user="nurse-sample"), scope=scope)["access_token"]
    path = "PractitionerRole?practitioner=Practitioner/nurse-sample"
    found = sandbox.client.fhir("GET", path, token).json()
    assert found["entry"][0]["resource"]["code"][0]["coding"][0]["code"] == "nurse"


class TestUserScopes:
    """A user/ scope reaches every patient whom the user may see, and only its own types."""

    def test_reads_and_writes_across_patients(self, sandbox, saved):
        scope = "launch user/QuestionnaireResponse.cruds user/Patient.rs"
        registered = sandbox.app.extensions["smart"].apps.get("app").scopes
        told = sandbox.client.tokens(sandbox.launch(patient="refill"), scope=scope)
        # Not registered for this app: nothing but the launch is granted.
        assert "user/QuestionnaireResponse" not in registered
        assert told["scope"] == "launch"
        path = f"QuestionnaireResponse/{saved.json()['id']}"
        assert sandbox.client.fhir("GET", path, told["access_token"]).status_code == 403

    def test_a_user_scope_is_not_bound_to_the_patient_in_context(self, sandbox, saved):
        tokens = sandbox.app.extensions["tokens"]
        grants = sandbox.app.extensions["smart"].grants
        told = sandbox.client.tokens(sandbox.launch(patient="refill"))
        ident = tokens.read(told["access_token"])["grant"]
        grant = grants.memory.grant(ident, sandbox.clock.seconds())
        wide = tokens.lend(grant, "user/QuestionnaireResponse.rs patient/Patient.rs")
        path = f"QuestionnaireResponse/{saved.json()['id']}"
        assert sandbox.client.fhir("GET", path, wide).status_code == 200
        assert sandbox.client.fhir("GET", f"QuestionnaireResponse?patient={PATIENT}", wide).json()["total"] > 0
        assert sandbox.client.fhir("GET", f"Patient/{PATIENT}", wide).status_code == 403


def test_tokens_end_after_five_minutes(sandbox, token, later):
    later(240)  # the sandbox's clock runs on: a minute for a machine that is busy
    assert sandbox.client.fhir("GET", f"Patient/{PATIENT}", token).status_code == 200
    later(61)
    assert sandbox.client.fhir("GET", f"Patient/{PATIENT}", token).status_code == 401


def test_start_over_forgets_what_apps_saved(sandbox, token, saved):
    path = f"QuestionnaireResponse/{saved.json()['id']}"
    sandbox.client.http.post(f"{sandbox.base}/patients/{PATIENT}/start-over", timeout=10)
    assert sandbox.client.fhir("GET", path, token).status_code == 404
    assert sandbox.client.fhir("GET", f"{path}/_history/1", token).status_code == 404
    # The other charts and the staff are what they were.
    token = sandbox.client.tokens(sandbox.launch())["access_token"]
    assert sandbox.client.fhir("GET", "Practitioner/dr-sample", token).status_code == 200
    assert sandbox.client.fhir("GET", f"Patient/{PATIENT}", token).status_code == 200

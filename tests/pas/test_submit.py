"""``$submit`` from outside: address, shape of the answer, repeats, refusals (rows P001-P009, P040-P058, P090-P104)."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest

from cds_service.fhir.models import complaints
from tests.support import pas_bundles
from tests.support.e2e_service import BASE
from tests.support.pas_bundles import COMPLETE, EXT, HCPCS, item, morphine, request
from tests.support.pas_service import (
    CLINIC,
    Pas,
    Starts,
    actions,
    claim_response,
    extension,
    part,
    with_rules,
)

MISSING = {key: value for key, value in COMPLETE.items() if key != "noninvasive_trial_weeks"}


@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
def test_P001_P006_P007_a_bare_bundle_gets_a_bare_bundle_at_the_base_of_each_version(version: str, pas: Pas) -> None:
    answer = pas.submit(request(), version)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/fhir+json"
    assert (answer.json["resourceType"], answer.json["type"]) == ("Bundle", "collection")
    assert complaints(answer.json) == ()


def test_P001_a_parameters_wrapper_is_no_bundle(pas: Pas) -> None:
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": request()}]}
    answer = pas.submit(wrapped)
    assert (answer.status, answer.json["issue"][0]["expression"]) == (400, ["Bundle"])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("operation", ["$submit", "$inquire"])
def test_P002_P004_operations_are_called_by_post_on_the_type(method: str, operation: str, pas: Pas) -> None:
    answer = pas.send(f"/pas/2.2/Claim/{operation}", None, method=method)
    assert (answer.status, answer.json["resourceType"]) == (405, "OperationOutcome")
    assert answer.headers["Allow"] == "POST"
    instance = pas.send(f"/pas/2.2/Claim/claim-1/{operation}", request())
    assert (instance.status, instance.json["resourceType"]) == (405, "OperationOutcome")


def test_P005_the_capability_statement_says_what_is_answered(pas: Pas) -> None:
    for version, guide in (("2.0.1", "2.0.1"), ("2.2", "2.2.1")):
        statement = pas.send(f"/pas/{version}/metadata", None, method="GET", token="").json
        claim, subscription = statement["rest"][0]["resource"]
        assert [each["name"] for each in claim["operation"]] == ["submit", "inquire"]
        assert {each["code"] for each in subscription["interaction"]} >= {"create", "update", "delete"}
        assert subscription["extension"][0]["valueCanonical"].endswith("PASSubscriptionTopic")
        assert statement["format"] == ["json", "application/fhir+json"]
        assert statement["implementationGuide"][0].endswith(f"|{guide}")
        assert complaints(statement) == ()
    assert pas.send("/pas/2.2/metadata?_format=xml", None, method="GET").status == 406


@pytest.mark.parametrize(
    "content_type", ["application/fhir+json", "application/json", "application/fhir+json; charset=UTF-8"]
)
def test_P008_both_media_types_of_json(content_type: str, pas: Pas) -> None:
    assert pas.submit(request(), content_type=content_type).status == 200


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "application/fhir+json; charset=latin-1"])
def test_P008_other_media_types_are_refused(content_type: str, pas: Pas) -> None:
    answer = pas.submit(request(), content_type=content_type)
    assert (answer.status, answer.json["resourceType"]) == (415, "OperationOutcome")


def test_P009_a_body_beyond_the_limit_is_not_read(start: Starts) -> None:
    pas = start(settings={"pas_max_body_bytes": 20_000})
    large = request(claim={"text": {"status": "generated", "div": "x" * 20_000}})
    answer = pas.submit(large)
    assert (answer.status, answer.json["issue"][0]["code"]) == (413, "too-long")
    assert pas.submit(request()).status == 200


def test_P018_the_request_is_kept_byte_for_byte(pas: Pas) -> None:
    body = b"  " + pas_bundles.encoded(request()) + b"\n"
    case = pas.case_of(pas.submit(body))
    version = pas.cases.version(case.id, 1)
    assert version is not None
    assert version.request == body
    assert version.request_sha256 == sha256(body).hexdigest()


@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
def test_P040_P045_the_response_has_what_the_profile_wants(version: str, pas: Pas) -> None:
    bundle = pas.submit(request(values=MISSING), version).json
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds[0] == "ClaimResponse"
    assert kinds.count("ClaimResponse") == 1
    assert all(entry["fullUrl"] for entry in bundle["entry"])
    assert bundle["timestamp"]
    response = claim_response(bundle)
    for element in ("status", "use", "type", "patient", "created", "insurer", "requestor", "outcome", "request"):
        assert response[element]
    assert (response["status"], response["use"]) == ("active", "preauthorization")
    assert complaints(bundle) == ()


def test_P041_the_transaction_identifier_is_echoed(pas: Pas) -> None:
    bundle = request()
    assert pas.submit(bundle).json["identifier"] == bundle["identifier"]


@pytest.mark.parametrize("values", [COMPLETE, MISSING])
def test_P042_everything_that_is_named_is_there_once(values: dict[str, Any], pas: Pas) -> None:
    bundle = pas.submit(request(values=values)).json
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    base = pas_bundles.BASE
    for path, text in _references(bundle["entry"]):
        if path == "request":
            continue
        assert urls.count(text if "://" in text else base + text) == 1, (path, text)


def _references(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [found for each in value for found in _references(each, name)]
    if not isinstance(value, dict):
        return []
    own = [(name, value["reference"])] if isinstance(value.get("reference"), str) else []
    return own + [found for key, each in value.items() for found in _references(each, key)]


def test_P043_the_claim_can_be_matched_by_reference_and_identifier(pas: Pas) -> None:
    held = claim_response(pas.submit(request()).json)["request"]
    assert held["reference"] == "Claim/claim-1"
    assert held["identifier"]["value"] == "C0000001"


def test_P044_what_is_echoed_is_as_it_was_sent(pas: Pas) -> None:
    bundle = request()
    sent = {entry["fullUrl"]: entry["resource"] for entry in json.loads(pas_bundles.encoded(bundle))["entry"]}
    echoed = pas.submit(bundle).json["entry"][1:]
    assert len(echoed) >= 3
    for entry in echoed:
        assert sent[entry["fullUrl"]] == entry["resource"]


def test_P042_P044_the_same_with_urn_addresses(pas: Pas) -> None:
    from tests.pas.test_gate import _with_urns  # noqa: PLC0415

    bundle = pas.submit(_with_urns(json.loads(pas_bundles.encoded(request(values=MISSING))))).json
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert all(url.startswith("urn:uuid:") for url in urls)
    for path, text in _references(bundle["entry"]):
        assert path == "request" or urls.count(text) == 1


@pytest.mark.parametrize(("values", "outcome"), [(COMPLETE, "complete"), (MISSING, "partial")])
def test_P046_the_outcome_is_never_queued(values: dict[str, Any], outcome: str, pas: Pas) -> None:
    assert claim_response(pas.submit(request(values=values)).json)["outcome"] == outcome


def test_P047_P048_one_item_with_a_decision_for_every_line(pas: Pas) -> None:
    lines = [item(7), item(3, code="62362", system=pas_bundles.CPT, order=None)]
    response = claim_response(pas.submit(request(items=lines)).json)
    assert sorted(each["itemSequence"] for each in response["item"]) == [3, 7]
    for each in response["item"]:
        assert each["adjudication"][0]["category"]["coding"][0]["code"] == "submitted"


def test_P049_sub_extensions_have_the_urls_of_the_profile(pas: Pas) -> None:
    line = claim_response(pas.submit(request()).json)["item"][0]
    action = line["adjudication"][0]["extension"][0]
    assert action["url"] == f"{EXT}reviewAction"
    assert {each["url"] for each in action["extension"]} == {"number", f"{EXT}reviewActionCode"}


def test_P050_an_approval_has_number_issue_date_and_period(pas: Pas) -> None:
    response = claim_response(pas.submit(request()).json)
    line = response["item"][0]
    assert part(line, "number")["valueString"] == response["preAuthRef"]
    assert extension(line, "itemPreAuthIssueDate")
    assert extension(line, "itemPreAuthPeriod")[0]["valuePeriod"] == response["preAuthPeriod"]
    detail = extension(line, "itemAuthorizedDetail")[0]["extension"]
    assert {each["url"] for each in detail} == {"productOrServiceCode", "quantity"}
    assert extension(line, "itemAuthorizedProvider")


def test_P052_PS09_what_is_pended_says_what_is_wanted_and_how_to_give_it(pas: Pas) -> None:
    bundle = pas.submit(request(values=MISSING)).json
    line = claim_response(bundle)["item"][0]
    assert extension(line, "administrationReferenceNumber")[0]["valueString"].startswith("P-")
    asked = bundle["entry"][1]["resource"]
    assert asked["resourceType"] == "CommunicationRequest"
    assert asked["payload"][0]["contentString"] == "102089-0"
    assert asked["note"][0]["text"] == "Length of the noninvasive trial"
    context = asked["identifier"][0]["value"]
    package = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "coverage", "resource": request()["entry"][2]["resource"]},
            {"name": "context", "valueString": context},
        ],
    }
    opened = pas.send("/dtr/2.2/Questionnaire/$questionnaire-package", package)
    assert opened.status == 200, opened.bytes
    assert "09-J1000-31" in opened.bytes.decode()


def test_P055_trace_numbers_of_a_line_come_back(pas: Pas) -> None:
    trace = {"url": f"{EXT}itemTraceNumber", "valueIdentifier": {"system": "https://c.example.org/t", "value": "T-77"}}
    line = claim_response(pas.submit(request(items=[item(extension=[trace])])).json)["item"][0]
    assert extension(line, "itemTraceNumber") == [trace]


def test_P056_the_diagnosis_that_was_looked_at_is_told(pas: Pas) -> None:
    held = extension(claim_response(pas.submit(request()).json)["item"][0], "communicatedDiagnosis")
    assert held[0]["valueCodeableConcept"]["coding"][0]["code"] == "G89.28"
    older = claim_response(pas.submit(request(number=2), "2.0.1").json)["item"][0]
    assert extension(older, "communicatedDiagnosis") == []  # 2.0.1 has no such extension on a line


@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
def test_P057_P096_what_cannot_be_decided_here_is_told_in_a_claim_response(version: str, pas: Pas) -> None:
    bundle = request()
    bundle["entry"][3]["resource"]["name"] = "Some Other Plan"
    response = claim_response(pas.submit(bundle, version).json)
    held = response["error"][0]
    assert held["code"]["coding"][0] == {"system": "https://codesystem.x12.org/005010/901", "code": "T4"}
    assert extension(held, "errorPath")[0]["valueString"].startswith("Bundle.entry[3]")
    assert extension(held, "errorFollowupAction")
    assert complaints(response) == ()
    assert (response["outcome"], "item" in response) == ("error", False)


def test_P058_a_machine_says_that_no_person_looked(pas: Pas) -> None:
    reviewer = extension(claim_response(pas.submit(request()).json), "claimResponseReviewer")
    assert reviewer[0]["extension"] == [{"url": "wasHumanReviewedFlag", "valueBoolean": False}]


def test_P090_the_same_bundle_again_gets_the_stored_bytes(pas: Pas) -> None:
    first = pas.submit(request())
    pas.service.clock.at += 86_400
    pas.token = pas.service.system_token()
    again = pas.submit(request())
    assert again.bytes == first.bytes
    assert again.headers["X-Replayed"] == "true"
    assert len(pas.rows("SELECT 1 FROM pa_case")) == len(pas.rows("SELECT 1 FROM pa_version")) == 1
    assert [action for action, _ in pas.audit()] == ["submit", "replay"]


def test_bad_input_114_twenty_at_once_have_one_answer(start: Starts) -> None:
    pas = start()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: pas.submit(request()), range(20)))
    assert {each.status for each in answers} == {200}
    assert len({each.bytes for each in answers}) == 1
    assert len(pas.rows("SELECT 1 FROM pa_case")) == 1


def test_P091_bad_input_115_the_same_identifier_with_another_content_is_a_conflict(pas: Pas) -> None:
    assert pas.submit(request()).status == 200
    answer = pas.submit(request(values=MISSING))
    assert (answer.status, answer.json["issue"][0]["code"]) == (409, "conflict")
    assert len(pas.rows("SELECT 1 FROM pa_case")) == 1


def test_P092_a_second_request_for_the_same_service_is_not_silently_approved(pas: Pas) -> None:
    first = pas.submit(request())
    second = pas.submit(request(identifier="another"))
    assert (actions(first), actions(second)) == ({1: "A1"}, {1: "A4"})
    tracking = pas.case_of(first).tracking_number
    assert f"authorized already: {tracking}" in second.bytes.decode()
    pended = pas.submit(request(number=2, values=MISSING))
    third = pas.submit(request(number=2, identifier="third"))
    assert f"open already: {pas.case_of(pended).tracking_number}" in third.bytes.decode()


def test_P092_two_at_once_for_one_member_are_never_both_approved(pas: Pas) -> None:
    bundles = [request(identifier=f"at-once-{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        said = [actions(answer)[1] for answer in pool.map(pas.submit, bundles)]
    assert sorted(said) == ["A1", *["A4"] * 7]


MALFORMED = [
    ("no bundle", b"[]"),
    ("truncated", b'{"resourceType": "Bundle", "type"'),
    ("a key twice", b'{"resourceType": "Bundle", "type": "collection", "type": "batch"}'),
    ("deep", b'{"resourceType": "Bundle", "a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    ("no UTF-8", b'{"resourceType": "Bundle\xff"}'),
    ("nothing", b""),
    ("entries that are none", b'{"resourceType":"Bundle","type":"collection","entry":[1,null,{"resource":3}]}'),
    (
        "unknown type",
        b'{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"http://a/B/1","resource":{"resourceType":"FooType"}}]}',
    ),
]


@pytest.mark.parametrize("operation", ["submit", "inquire"])
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in MALFORMED])
def test_P094_what_is_no_request_is_refused_without_a_word_of_it(body: bytes, operation: str, pas: Pas) -> None:
    answer = pas.send(f"/pas/2.2/Claim/${operation}", body)
    assert (answer.status, answer.json["resourceType"]) == (400, "OperationOutcome")
    assert "Traceback" not in answer.bytes.decode()
    assert "FooType" not in answer.bytes.decode()


def test_P097_P100_without_token_or_scope_there_is_an_outcome_too(pas: Pas) -> None:
    unknown = pas.submit(request(), token="nobody")
    assert (unknown.status, unknown.json["issue"][0]["code"]) == (401, "login")
    assert unknown.headers["WWW-Authenticate"] == "Bearer"
    narrow = pas.service.system_token("system/Questionnaire.rs")
    refused = pas.submit(request(), token=narrow)
    assert (refused.status, refused.json["issue"][0]["code"]) == (403, "forbidden")
    assert "WWW-Authenticate" in refused.headers


def test_P063_P102_a_client_speaks_for_its_own_organizations_alone(start: Starts) -> None:
    pas = start(organizations=("http://hl7.org/fhir/sid/us-npi|9999999999",))
    answer = pas.submit(request())
    assert (answer.status, answer.json["issue"][0]["code"]) == (403, "forbidden")


def test_P063_a_case_is_filed_under_the_organization_that_its_sender_is_registered_for(pas: Pas) -> None:
    bundle = request()
    clinic = bundle["entry"][4]["resource"]
    clinic["identifier"].insert(0, clinic["identifier"][0] | {"value": "1999999976"})  # somebody else's, put first
    assert pas.case_of(pas.submit(bundle)).provider_organization == CLINIC


def test_P098_what_is_not_decided_in_time_waits(start: Starts) -> None:
    pas = start(configuration=with_rules(deadline_seconds=0))
    answer = pas.submit(request())
    assert actions(answer) == {1: "A4"}
    assert "not decided in the time" in answer.bytes.decode()


def test_P103_every_submission_is_audited_with_its_digests(pas: Pas) -> None:
    case = pas.case_of(pas.submit(request()))
    row = pas.rows("SELECT * FROM audit_event")[0]
    version = pas.cases.version(case.id, 1)
    assert version is not None
    detail = json.loads(row.detail)
    assert (row.actor, row.role, row.subject) == ("sample-app", "client", f"case/{case.id}")
    assert (detail["request"], detail["response"]) == (version.request_sha256, version.response_sha256)


def test_P104_the_figures_of_every_call_are_kept(pas: Pas) -> None:
    pas.submit(request())
    pas.submit(request(values=MISSING, number=2))
    bad = request(number=3)
    bad["entry"][0]["resource"]["use"] = "claim"
    pas.submit(bad)
    rows = [
        (row.kind, row.http_status, json.loads(row.detail))
        for row in pas.rows("SELECT * FROM pas_exchange ORDER BY seq")
    ]
    assert [(kind, status) for kind, status, _ in rows] == [("submit", 200), ("submit", 200), ("submit", 422)]
    assert rows[0][2]["providerId"] == "1000000004"
    assert rows[0][2]["items"] == [{"sequence": 1, "result": "A1", "denialReason": []}]
    assert rows[1][2]["requestedDocuments"] == ["noninvasive_trial_weeks"]
    assert rows[2][2]["issues"] == [{"code": "value", "rule": "P020"}]


def test_one_transaction_writes_case_delivery_and_log(pas: Pas) -> None:
    import msgspec  # noqa: PLC0415

    from cds_service.use_cases.submit_prior_auth import SubmitPriorAuth  # noqa: PLC0415

    parts = msgspec.structs.replace(pas.parts, destinations=lambda program: ["claims-store", f"of-{program}"])
    caller = pas.service.systems_door.verify((f"Bearer {pas.token}",), "Claim", "c")
    said = SubmitPriorAuth(parts).submit(pas_bundles.encoded(request()), "2.2", caller, started=parts.clock.monotonic())
    rows = pas.rows("SELECT destination, seq, idem_key, payload, state FROM outbox ORDER BY destination")
    assert [(row.destination, row.seq, row.payload, row.state) for row in rows] == [
        ("claims-store", 1, None, "ready"),
        ("of-standard", 1, None, "ready"),
    ]
    assert rows[0].idem_key == f"claims-store:{said.case_id}.1"
    events = [row.kind for row in pas.rows("SELECT kind FROM case_event ORDER BY seq")]
    assert events == ["received", "line_decided", "decided"]


def test_a_store_that_is_gone_acknowledges_nothing(start: Starts, database: Any) -> None:
    pas = start()
    assert pas.submit(request()).status == 200
    database.rename(database.with_suffix(".away"))
    for other in database.parent.glob("store.sqlite3-*"):
        other.unlink()
    pas.service.sql.close()
    answer = pas.submit(request(number=2))
    assert (answer.status, answer.json["resourceType"]) == (503, "OperationOutcome")
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize("text", ["'; DROP TABLE pa_case; --", '" OR 1=1 --', "\\x27 UNION SELECT 1"])
def test_bad_input_118_sql_in_any_field_is_stored_as_it_is(text: str, pas: Pas) -> None:
    bundle = request(identifier=text, claim={"identifier": [{"system": text, "value": text}]})
    for entry in bundle["entry"]:
        for identifier in entry["resource"].get("identifier", []):
            identifier["value"] = text
    bundle["entry"][1]["resource"]["name"] = [{"family": text}]
    bundle["entry"][4]["resource"]["identifier"] = [{"system": pas_bundles.NPI, "value": "1000000004"}]
    answer = pas.submit(bundle)
    assert answer.status == 200
    case = pas.case_of(answer)
    assert (case.member_id, case.summary.patient_name) == (text, text)
    held = pas.rows("SELECT bundle_identifier FROM pa_submission")
    assert held[0].bundle_identifier.endswith(f"|{text}")


def test_no_phi_reaches_the_log_line(pas: Pas) -> None:
    bundle = copy.deepcopy(request())
    pas.submit(bundle)
    line = json.dumps(pas.service.last(), default=str)
    for word in ("Person1", "M0000001", "1961-04-07", "C0000001", "B0000001"):
        assert word not in line


def test_an_order_of_another_patient_is_refused(pas: Pas) -> None:
    other = {"resourceType": "Patient", "id": "pat-2", "identifier": [{"system": "x", "value": "2"}]}
    bundle = request(order=morphine(subject={"reference": "Patient/pat-2"}), more=[other])
    answer = pas.submit(bundle)
    assert (answer.status, answer.json["issue"][0]["code"]) == (422, "conflict")


def test_the_bases_have_addresses_under_the_public_url(pas: Pas) -> None:
    statement = pas.send("/pas/2.2/metadata", None, method="GET").json
    assert statement["implementation"]["url"] == f"{BASE}/pas/2.2"
    assert HCPCS.startswith("http://")

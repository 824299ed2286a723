"""Routes of the hooks: who may call, which address the token must name, what is handed on, what comes back."""

from __future__ import annotations

import time

import pytest

from cds_service.errors import (
    ConfigurationError,
    CoverageNotUsable,
    MalformedRequest,
    NotAllowed,
    NotFound,
    Overloaded,
    PatientMismatch,
    PrefetchMissing,
    RuleBroken,
    StoreUnavailable,
    TooLarge,
)
from cds_service.use_cases.hook_answer import HookAnswer
from tests.support.web_twins import BASE, GOOD, HOOK_INSTANCE, JSON, ORDER_SIGN, Doorkeeper, Web


def test_crd_44_answer_bytes_go_out_as_they_are() -> None:
    web = Web()
    answer = web.call(data=b'{"hook":"order-sign"}')
    assert (answer.status_code, answer.data) == (200, b'{"cards":[]}')
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert web.use_case.bodies == [b'{"hook":"order-sign"}']


def test_crd_77_audience_is_the_configured_address_whatever_the_host_header_says() -> None:
    web = Web()
    forged = GOOD | JSON | {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    assert web.call(data=b"{}", headers=forged).status_code == 200
    web.call(path=f"{ORDER_SIGN}/feedback", data=b"{}")
    assert web.door.urls == [f"{BASE}/cds-services/order-sign", f"{BASE}/cds-services/order-sign/feedback"]


def test_crd_63_refusal_of_a_caller_is_uniform_and_the_reason_is_in_the_log_only() -> None:
    web = Web()
    answers = [
        web.call(data=b"{}", headers=JSON),
        web.call(data=b"{}", headers=JSON | {"Authorization": "Bearer bad"}),
        web.call(data=b"not json", headers={"Authorization": "Basic x", "Content-Type": "text/plain"}),
    ]
    assert {(answer.status_code, answer.data, answer.headers["WWW-Authenticate"]) for answer in answers} == {
        (401, answers[0].data, "Bearer")
    }
    assert answers[0].json["issue"][0]["code"] == "login"
    assert b"signature" not in answers[0].data
    assert {line.reason for line in web.lines.lines} == {"signature"}


def test_bad_input_32_client_not_registered_for_the_hook_is_403() -> None:
    answer = Web(door=Doorkeeper(hooks=("order-select",))).call(data=b"{}")
    assert answer.status_code == 403
    assert answer.json["issue"][0]["code"] == "forbidden"


def test_bad_input_51_unknown_service_is_404_before_any_authentication() -> None:
    web = Web()
    for path in ("/cds-services/no-such", "/cds-services/no-such/feedback", "/cds-services/order-sign/else"):
        answer = web.call(path=path, data=b"{}")
        assert (answer.status_code, answer.json["resourceType"]) == (404, "OperationOutcome")
        assert b"no-such" not in answer.data  # input is not echoed
    assert web.door.urls == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE"])
def test_bad_input_59_other_methods_are_405(method: str) -> None:
    web = Web()
    answer = web.call(method, data=b"{}", headers=GOOD | JSON | {"X-HTTP-Method-Override": "POST"})
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.json["resourceType"] == "OperationOutcome"
    assert web.use_case.bodies == []


REFUSALS = [
    (MalformedRequest("hook: missing"), 400, "structure"),
    (RuleBroken("a CRD rule"), 422, "business-rule"),
    (TooLarge("too many entries"), 413, "too-long"),
    (PatientMismatch("two patients"), 400, "conflict"),
    (CoverageNotUsable("no Coverage of this payer"), 400, "not-found"),
    (PrefetchMissing("coverage"), 412, "required"),
    (NotAllowed("no"), 403, "forbidden"),
    (NotFound("none"), 404, "not-found"),
    (Overloaded("later"), 503, "throttled"),
    (StoreUnavailable("the store"), 503, "transient"),
    (ConfigurationError("file:1"), 500, "invalid"),
]


@pytest.mark.parametrize(("error", "status", "code"), REFUSALS, ids=str)
def test_crd_62_each_refusal_has_its_status_and_an_operation_outcome(error: Exception, status: int, code: str) -> None:
    web = Web()

    def refuse(_body: bytes) -> HookAnswer:
        raise error

    web.use_case.behave = refuse
    answer = web.call(data=b"{}")
    assert answer.status_code == status
    assert answer.json["resourceType"] == "OperationOutcome"
    assert answer.json["issue"][0]["code"] == code
    assert ("Retry-After" in answer.headers) is (status == 503)


def test_failure_of_our_own_is_500_without_detail_and_logged_by_class_and_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = Web()

    def fail(_body: bytes) -> HookAnswer:
        raise ZeroDivisionError("Canary Patient MRN 7777")

    web.use_case.behave = fail
    answer = web.call(data=b"{}")
    assert answer.status_code == 500
    assert "Canary" not in answer.text
    assert answer.headers["X-Request-Id"] in answer.text
    assert caplog.records[-1].exc_info is not None  # the line handler makes class and frames of it
    assert (web.lines.lines[-1].outcome, web.lines.lines[-1].reason) == ("technical", "internal_error")


def test_correlation_by_hook_instance_and_closed_words() -> None:
    web = Web()
    answer = web.call(data=b"{}", headers=GOOD | JSON | {"X-Request-Id": "6f1ed002-ab23-4b0e-8d4e-0123456789ab"})
    line = web.lines.lines[-1]
    assert answer.headers["X-Request-Id"] == line.request_id == "6f1ed002-ab23-4b0e-8d4e-0123456789ab"
    assert (line.hook_instance, line.client, line.hook, line.outcome) == (
        HOOK_INSTANCE,
        "sample-ehr",
        "order-sign",
        "full",
    )
    assert (line.status, line.covered, line.rules, line.route) == (
        200,
        ("covered",),
        ("coverage.ready",),
        "/cds-services/{id}",
    )


def test_request_id_that_is_no_uuid_is_not_taken_over() -> None:
    web = Web()
    answer = web.call(data=b"{}", headers=GOOD | JSON | {"X-Request-Id": "Canary-Patient"})
    assert answer.headers["X-Request-Id"] == "t-1"
    assert "Canary" not in web.lines.text()


def test_deadline_starts_when_the_request_is_accepted() -> None:
    web = Web()
    before = time.monotonic()
    web.call(data=b"{}")
    assert before <= web.use_case.started[0] <= time.monotonic()


def test_feedback_goes_to_its_use_case() -> None:
    web = Web()
    answer = web.call(path=f"{ORDER_SIGN}/feedback", data=b'{"feedback":[]}')
    assert answer.status_code == 200
    assert web.feedback == [("order-sign", b'{"feedback":[]}')]
    assert web.lines.lines[-1].outcome == "feedback"


class TestDiscovery:
    def test_bad_input_63_any_query_and_accept_gives_json_that_may_be_cached(self) -> None:
        answer = Web().call("GET", "/cds-services?x=%00&y[]=1", headers={"Accept": "text/html"})
        assert (answer.status_code, answer.data) == (200, b'{"services":[]}')
        assert answer.content_type == "application/json"
        assert answer.headers["Cache-Control"] == "public, max-age=300"

    def test_bad_input_63_head(self) -> None:
        answer = Web().call("HEAD", "/cds-services", headers={})
        assert (answer.status_code, answer.data) == (200, b"")

    def test_crd_14_unchanged_discovery_is_304(self) -> None:
        web = Web()
        tag = web.call("GET", "/cds-services", headers={}).headers["ETag"]
        assert web.call("GET", "/cds-services", headers={"If-None-Match": tag}).status_code == 304

    def test_crd_72_discovery_asks_for_a_token_when_so_configured(self) -> None:
        web = Web(discovery_auth=True)
        assert web.call("GET", "/cds-services", headers={}).status_code == 401
        assert web.call("GET", "/cds-services", headers=GOOD).status_code == 200
        assert web.door.urls[-1] == f"{BASE}/cds-services"

"""What prefetch does not hold is read at the EHR, over a real socket: the same answer, and never more than was seen."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import e2e_patient as patient
from tests.support.e2e_ehr import TOKEN, answer, ehr_of, lent, path_of
from tests.support.e2e_patient import KEYS, Chart, call, chart, condition, coverage, order, searchset
from tests.support.e2e_service import VERSIONS, Answer, Service
from tests.support.fault_server import (
    Behaviour,
    FaultServer,
    closed_port,
    drip_body,
    endless,
    hang,
    in_turn,
    once,
    page_loop,
    reply,
    reset,
    reset_in_body,
    truncated,
)
from tests.support.waiting import until

Start = Callable[..., Service]
JUDGEMENTS = [
    "request_type",
    "severe_chronic_intractable_pain",
    "life_expectancy_ge_3_months",
    "noninvasive_trial_outcome",
    "noninvasive_trial_weeks",
    "systemic_opioid_included",
    "systemic_opioid_fixed_schedule",
    "systemic_opioid_adequate_dose",
    "implant_contraindications_eliminated",
]


def pulling(start: Start, server: FaultServer, **changes: Any) -> Service:
    """A service that has registered this EHR; a call may take 30 s (of which 0.6 s are kept for the answer)."""
    usual = {"fhir_servers": (f"{server.url}/fhir",), "allow_http": True, "deadline_seconds": 30}
    return start(reader="real", **{**usual, **changes})


def pull(server: FaultServer, *drafts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A call without any prefetch."""
    return call(*drafts, prefetch=None, **{**lent(server), **changes})


def document(service: Service, answered: Answer) -> dict[str, Any]:
    """The stored determination of an answer."""
    found = service.sql.determination(answered.information()["coverage-assertion-id"])
    assert found is not None
    return json.loads(found)


def judged(service: Service, answered: Answer) -> dict[str, Any]:
    """The first order of it."""
    return document(service, answered)["orders"][0]


def incomplete(order_: dict[str, Any]) -> list[str]:
    """Resource types of which a part was not available."""
    return [flag["subject"] for flag in order_["flags"] if flag["code"] == "incomplete_data"]


# ---- healthy ----


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kept", [(), ("coverage", "patient"), ("questionnaireResponses",)], ids=["none", "two", "one"])
def test_crd_22_without_prefetch_the_same_determination(start: Start, version: str, kept: tuple[str, ...]) -> None:
    held = chart(conditions=[condition(), condition("Z79.01", "cond-anticoagulant")])
    body = call(held=held)
    with ehr_of(held) as server:
        service = pulling(start, server)
        whole = service.post(body, version).check()
        part = {name: value for name, value in body["prefetch"].items() if name in kept}
        asked = service.post(call(prefetch=part or None, **lent(server)), version).check()
    assert document(service, asked) == document(service, whole)
    assert (service.last()["path"], service.last()["outcome"]) == ("pull", "full")
    paths = sorted(seen.path for seen in server.seen)
    assert paths == sorted(path_of(key) for key in KEYS if key not in kept)  # each once, and none that was sent
    assert {seen.headers["authorization"] for seen in server.seen} == {f"Bearer {TOKEN}"}


def test_crd_22_whole_prefetch_asks_nothing(start: Start) -> None:
    with ehr_of(chart()) as server:
        service = pulling(start, server)
        assert service.post(call(**lent(server))).check().actions
    assert server.seen == []


def test_crd_38_null_is_known_absent_and_not_asked_again(start: Start) -> None:
    """The EHR looked and found nothing."""
    body = call()
    body["prefetch"]["observations"] = None
    with ehr_of(chart()) as server:
        service = pulling(start, server)
        answered = service.post({**body, **lent(server)}).check()
    assert server.seen == []
    assert judged(service, answered)["flags"] == []


def test_crd_39_operation_outcome_in_prefetch_is_unknown_and_not_asked_again(start: Start) -> None:
    body = call()
    body["prefetch"]["questionnaireResponses"] = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "processing"}],
    }
    with ehr_of(chart()) as server:
        service = pulling(start, server)
        answered = service.post({**body, **lent(server)}).check()
    assert server.seen == []
    assert judged(service, answered)["missing_facts"] == JUDGEMENTS
    assert "QuestionnaireResponse" in incomplete(judged(service, answered))


def test_medication_and_payer_are_read_in_a_second_round(start: Start) -> None:
    """Neither is a search by patient: they are found through what names them."""
    held = chart(coverage=[coverage(payor=[{"reference": "Organization/org-payer"}])])
    payer = {"resourceType": "Organization", "id": "org-payer", "name": "Florida Blue"}
    named = order("8", contained=[], medicationReference={"reference": "Medication/far"})
    with ehr_of(held, patient.medication(id="far"), payer) as server:
        service = pulling(start, server)
        answered = service.post(pull(server, named)).check()
    found = judged(service, answered)
    assert (found["program"], found["dose"][0]["daily"]["value"]) == ("standard", "16")
    second = server.targets[len(KEYS) :]
    assert sorted(second) == ["/fhir/Medication/far", "/fhir/Organization/org-payer"]


def test_reliability_73_a_read_that_gives_another_resource_is_not_used(start: Start) -> None:
    """The Medication asked for is 2 mg/mL; what comes is another one, 40 mg/mL."""
    named = order("8", contained=[], medicationReference={"reference": "Medication/far"})
    with ehr_of(chart(), **{"Medication/far": answer(patient.medication("40", id="other"))}) as server:
        service = pulling(start, server)
        answered = service.post(pull(server, named), "2.2").check()
    assert answered.information()["covered"] == "indeterminate"  # as if it could not be read
    assert "320 mg/d" not in answered.bytes.decode()
    assert "16 mg/d" not in answered.bytes.decode()


def test_pages_are_followed_to_the_last(start: Start) -> None:
    """What decides stands on the third page."""
    pages = [[condition()], [condition("M54.5", "cond-2")], [condition("D68.9", "cond-coagulopathy")]]
    with ehr_of(chart()) as server:
        base = f"{server.url}/fhir/Condition"
        for number, resources in enumerate(pages):
            link = [{"relation": "next", "url": f"{base}/page{number + 1}?token=x"}] if number < 2 else None
            page = searchset(*resources, **({"link": link} if link else {}))
            server.behave(f"/fhir/Condition{f'/page{number}' if number else ''}", answer(page))
        service = pulling(start, server)
        answered = service.post(pull(server)).check()
    found = judged(service, answered)
    assert "cond-coagulopathy" in str(found["criteria"]["I.3"]["evidence"])
    assert "conflict" in {flag["code"] for flag in found["flags"]}


def test_decisions_8_scopes_that_are_smart_suppress_what_they_do_not_lend(start: Start) -> None:
    scope = "launch openid patient/Coverage.read patient/QuestionnaireResponse.rs patient/Patient.read"
    with ehr_of(chart({})) as server:
        service = pulling(start, server)
        answered = service.post(pull(server, **lent(server, scope))).check()
    assert {seen.path for seen in server.seen} == {
        path_of(k) for k in ("coverage", "questionnaireResponses", "patient")
    }
    assert "Condition" in incomplete(judged(service, answered))
    assert service.last()["outcome"] == "partial"


def test_decisions_8_scopes_that_are_not_smart_suppress_nothing(start: Start) -> None:
    with ehr_of(chart()) as server:
        pulling(start, server).post(pull(server, **lent(server, "Coverage.Read (R4) patient/Coverage.read"))).check()
    assert len(server.seen) == len(KEYS)


def test_crd_41_a_sites_own_prefetch_keys_are_understood(start: Start) -> None:
    body = call()
    body["prefetch"]["activeInsurance"] = body["prefetch"].pop("coverage")
    with ehr_of(chart()) as server:
        service = pulling(start, server, prefetch_aliases={"activeInsurance": "coverage"})
        service.post({**body, **lent(server)}).check()
    assert server.seen == []


# ---- one type fails, the others are used ----

FAILURES: list[Any] = [
    pytest.param(reply(403), id="F5 forbidden"),
    pytest.param(reply(500), id="F8 server error"),
    pytest.param(reply(429, headers={"Retry-After": "86400"}), id="F7 throttled"),
    pytest.param(hang(), id="F13 slow"),
    pytest.param(reply(200, b"<html>please sign in</html>", {"Content-Type": "text/html"}), id="F10 sign-in page"),
    pytest.param(reply(200, b'{"resourceType":"Bundle","entry":[', {}), id="F10 cut short"),
    pytest.param(truncated(b'{"resourceType":"Bundle","type":"searchset"}'), id="F9 fewer bytes than said"),
    pytest.param(reset_in_body(b'{"resourceType":"Bundle",'), id="F9 torn down"),
    pytest.param(answer({"resourceType": "OperationOutcome", "issue": []}), id="F10 outcome with 200"),
]


@pytest.mark.parametrize("fault", FAILURES)
def test_reliability_fault_13_one_type_fails_and_the_others_are_used(start: Start, fault: Behaviour) -> None:
    """The form cannot be read: what only it says is asked for, all else stays; and it is said that a part was away."""
    with ehr_of(chart(), questionnaireResponses=fault) as server:
        service = pulling(start, server, deadline_seconds=3)
        answered = service.post(pull(server)).check()
    found = judged(service, answered)
    assert found["missing_facts"] == JUDGEMENTS
    assert incomplete(found) == ["QuestionnaireResponse"]
    assert (found["program"], found["icd"]["status"]) == ("standard", "supported")
    assert answered.information()["doc-purpose"] == "withpa"
    assert "not available" in answered.information()["reason"]["text"]
    assert (service.last()["outcome"], service.last()["path"]) == ("partial", "pull")


def test_a_chart_that_holds_nothing_is_not_a_chart_that_could_not_be_read(start: Start) -> None:
    """The counter-proof of the rows above: an empty result flags nothing."""
    with ehr_of(chart(questionnaireResponses=[])) as server:
        service = pulling(start, server)
        answered = service.post(pull(server)).check()
    assert incomplete(judged(service, answered)) == []
    assert judged(service, answered)["missing_facts"] == JUDGEMENTS
    assert "not available" not in answered.information()["reason"]["text"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "fault", [reply(403), reply(500), hang(), reply(200, b"<html>")], ids=["403", "500", "silent", "html"]
)
def test_decisions_4_coverage_that_cannot_be_read_is_412(start: Start, version: str, fault: Behaviour) -> None:
    with ehr_of(chart(), coverage=fault) as server:
        answered = pulling(start, server, deadline_seconds=1).post(pull(server), version)
    assert answered.status == 412
    assert answered.json["issue"][0]["expression"] == ["prefetch.coverage"]


# ---- the EHR as a whole fails; Coverage was sent along ----


def thin(server: FaultServer | str, *drafts: dict[str, Any]) -> dict[str, Any]:
    """A call with Coverage alone."""
    where = lent(server) if isinstance(server, FaultServer) else server
    return call(*drafts, prefetch={"coverage": searchset(coverage())}, **where)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(hang(), id="F2 silent"),
        pytest.param(drip_body(10_000, every=0.1), id="F3 drips"),
        pytest.param(reset(), id="F9 tears down"),
        pytest.param(endless(), id="F12 never ends"),
        pytest.param(reply(503), id="F8 unavailable"),
    ],
)
def test_reliability_faults_of_a_whole_ehr_end_in_time_with_what_was_sent(
    start: Start, version: str, fault: Behaviour
) -> None:
    """Left to itself the silent or dripping EHR would keep the call for longer than any test may run."""
    with FaultServer({"*": fault}) as server:
        service = pulling(start, server, deadline_seconds=1)
        answered = service.post(thin(server), version).check()
    found = judged(service, answered)
    assert found["missing_facts"] == JUDGEMENTS
    assert {"QuestionnaireResponse", "Condition"} <= set(incomplete(found))
    assert answered.information()["covered"] == "covered"
    assert service.last()["outcome"] == "partial"


@pytest.mark.parametrize("version", VERSIONS)
def test_reliability_fault_2_a_drug_that_nobody_could_look_up_is_technical(start: Start, version: str) -> None:
    """The order names its Medication only by reference, and the EHR is silent."""
    named = order(contained=[], medicationReference={"reference": "Medication/far"})
    with FaultServer({"*": hang()}) as server:
        service = pulling(start, server, deadline_seconds=1)
        answered = service.post(thin(server, named), version).check()
    covered = answered.information()["covered"]
    assert covered == ("indeterminate" if version == "2.2" else "conditional")
    assert answered.cards == []


def test_reliability_fault_1_refused_connections_open_the_breaker(start: Start) -> None:
    base = f"http://127.0.0.1:{closed_port()}/fhir"
    service = start(reader="real", fhir_servers=(base,), allow_http=True, deadline_seconds=30)
    auth = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": "user/*.read", "subject": "cds"}
    for _ in range(2):
        answered = service.post(thin({"fhirServer": base, "fhirAuthorization": auth})).check()
    assert incomplete(judged(service, answered))
    assert b'cds_events_total{event="ehr_breaker_opened"} 1.0' in service.metrics.text()
    assert b'event="ehr_breaker_refused"' in service.metrics.text()


def test_reliability_fault_4_a_refused_token_is_not_used_again(start: Start) -> None:
    """No query is sent twice, and what the first answers name is not asked for at all."""
    named = order(contained=[], medicationReference={"reference": "Medication/far"})
    with FaultServer({"*": reply(401)}) as server:
        service = pulling(start, server)
        answered = service.post(thin(server, named)).check()
    assert len(server.targets) == len(set(server.targets)) <= len(KEYS) - 1
    assert "/fhir/Medication/far" not in server.targets
    assert service.last()["outcome"] == "partial"
    assert answered.information()["covered"] == "conditional"


def test_reliability_fault_6_a_read_of_nothing_is_known_absent(start: Start) -> None:
    with ehr_of(chart({}), patient=reply(404), encounter=reply(410)) as server:
        service = pulling(start, server)
        answered = service.post(pull(server)).check()
    assert judged(service, answered)["missing_facts"] == JUDGEMENTS
    assert incomplete(judged(service, answered)) == []
    assert server.targets.count(path_of("patient")) == 1


def test_reliability_fault_7_a_short_wait_is_taken(start: Start) -> None:
    held = chart()
    whole = answer(searchset(*held["questionnaireResponses"]))
    with ehr_of(held, questionnaireResponses=in_turn(reply(429, headers={"Retry-After": "0"}), whole)) as server:
        service = pulling(start, server)
        answered = service.post(pull(server)).check()
    assert judged(service, answered)["missing_facts"] == []


def test_reliability_fault_8_one_second_try_and_no_more(start: Start) -> None:
    with ehr_of(chart(), conditions=reply(500)) as server:
        service = pulling(start, server)
        service.post(pull(server)).check()
    assert server.targets.count("/fhir/Condition?patient=pat-e2e") == 2


def test_reliability_fault_11_an_endless_search_is_a_part_of_the_truth(start: Start) -> None:
    """Pages without end: what was read counts as evidence, what was not is not taken for absent."""
    pages = page_loop(
        lambda number, link: searchset(
            condition(ident=f"cond-{number}"), link=[{"relation": "next", "url": link.replace("https://", "http://")}]
        )
    )
    with ehr_of(chart({}), conditions=pages) as server:
        service = pulling(start, server)
        answered = service.post(pull(server)).check()
    assert "Condition" in incomplete(judged(service, answered))
    assert 2 <= sum(target.startswith("/fhir/Condition") for target in server.targets) <= 10


def test_reliability_fault_14_a_dead_ehr_does_not_slow_another_ones_calls(start: Start) -> None:
    """Eight callers at most wait for the dead one; the others, and all of a healthy one, are answered meanwhile."""
    released = threading.Event()
    with FaultServer({"*": once(released.is_set, reply(404))}) as dead, ehr_of(chart()) as healthy:
        bases = (f"{dead.url}/fhir", f"{healthy.url}/fhir")
        service = start(reader="real", fhir_servers=bases, allow_http=True, deadline_seconds=300)
        waiting = [threading.Thread(target=service.post, args=(thin(dead),)) for _ in range(12)]
        for thread in waiting:
            thread.start()
        try:
            until(lambda: sum(thread.is_alive() for thread in waiting) == 8)
            answered = service.post(pull(healthy)).check()
            assert sum(thread.is_alive() for thread in waiting) == 8
        finally:
            released.set()
            for thread in waiting:
                thread.join()
    assert answered.information()["pa-needed"] == "auth-needed"
    assert b'cds_events_total{event="ehr_busy"} 4.0' in service.metrics.text()


def test_reliability_82_a_server_that_is_not_registered_is_refused_and_not_visited(start: Start) -> None:
    with ehr_of(chart()) as server, ehr_of(chart()) as foreign:
        answered = pulling(start, server).post(pull(foreign))
    assert answered.status == 403
    assert foreign.seen == []


def chart_without(key: str) -> Chart:
    """The chart of which one key is not there at all."""
    held = chart()
    del held[key]
    return held


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"coverage"}))
def test_without_a_token_what_was_not_sent_stays_unknown(service: Service, key: str) -> None:
    """No FHIR server, no token: an absent key is never taken for an empty one, and never an error."""
    answered = service.post(call(held=chart_without(key))).check()
    found = judged(service, answered)
    if key == "questionnaireResponses":
        assert found["missing_facts"] == JUDGEMENTS
    assert service.last()["path"] == "prefetch"
    assert found["in_scope"] is True

"""Subscriptions to answers (rows P061-P066, 117): what may be asked for, who may, and what is sent."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cds_service.adapters.sql.outbox import SqlOutbox
from cds_service.adapters.subscriber_addresses import SubscriberAddresses
from cds_service.backend_clients import BackendCaller, BackendClient
from cds_service.fhir.models import complaints
from tests.pas.test_settle import approve
from tests.support.deliveries import answer_handshakes
from tests.support.pas_bundles import COMPLETE, PAS, request
from tests.support.pas_service import Pas, claim_response

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
CONTENT = f"{BACKPORT}/backport-payload-content"
TOPIC = f"{PAS}/SubscriptionTopic/PASSubscriptionTopic"
MISSING = {key: value for key, value in COMPLETE.items() if key != "noninvasive_trial_weeks"}
ENDPOINT = "https://93.184.216.34/notices"


def wanted(filter_: str = "org-identifier=http://hl7.org/fhir/sid/us-npi|1000000004", **channel: Any) -> dict[str, Any]:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "answers",
        "criteria": TOPIC,
        "_criteria": {"extension": [{"url": f"{BACKPORT}/backport-filter-criteria", "valueString": filter_}]},
        "channel": {
            "type": "rest-hook",
            "endpoint": ENDPOINT,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{BACKPORT}/backport-payload-content", "valueCode": "full-resource"}]},
            **channel,
        },
    }


def create(pas: Pas, resource: Any = None, version: str = "2.2") -> Any:
    return pas.send(f"/pas/{version}/Subscription", wanted() if resource is None else resource)


def active(pas: Pas) -> str:
    """A subscriber whose endpoint has answered the handshake."""
    ident: str = create(pas).json["id"]
    answer_handshakes(SqlOutbox(pas.service.sql.database), pas.service.clock.now())
    return ident


def outbox(pas: Pas) -> list[Any]:
    return pas.rows("SELECT * FROM outbox WHERE kind = 'notification' ORDER BY id")


def test_P061_P064_a_subscription_begins_with_a_handshake(pas: Pas) -> None:
    answer = create(pas)
    assert (answer.status, answer.json["status"]) == (201, "requested")
    assert answer.headers["Location"].endswith(f"/pas/2.2/Subscription/{answer.json['id']}")
    assert complaints({key: value for key, value in answer.json.items() if not key.startswith("_")}) == ()
    row = outbox(pas)[0]
    notice = json.loads(row.payload)
    parameters = {each["name"]: each for each in notice["entry"][0]["resource"]["parameter"]}
    assert (row.destination, row.seq, notice["type"]) == (answer.json["id"], 0, "history")
    assert parameters["type"]["valueCode"] == "handshake"
    assert complaints(notice) == ()


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("another topic", {**wanted(), "criteria": "Observation?code=1"}, "Subscription.criteria"),
    ("another channel", wanted(type="websocket"), "Subscription.channel.type"),
    ("no endpoint", wanted(endpoint=""), "Subscription.channel.endpoint"),
    ("another payload", wanted(payload="application/fhir+xml"), "Subscription.channel.payload"),
    ("ids only", wanted(_payload={"extension": [{"url": CONTENT, "valueCode": "id-only"}]}),
     "Subscription.channel.payload.extension"),
    ("no filter", wanted("patient=1"), "Subscription.criteria.extension"),
    ("a header of the transport", wanted(header=["Host: internal"]), "Subscription.channel.header"),
    ("a header with a line break", wanted(header=["X-A: b\r\nX-B: c"]), "Subscription.channel.header"),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "where"), [pytest.param(r, w, id=name) for name, r, w in BROKEN])
def test_P061_what_is_not_offered_is_refused(resource: dict[str, Any], where: str, pas: Pas) -> None:
    answer = create(pas, resource)
    assert answer.status == 422
    assert [where] in [each["expression"] for each in answer.json["issue"]]
    assert outbox(pas) == []


@pytest.mark.parametrize(
    "filter_",
    [
        "org-identifier=1000000004",
        "orgIdentifier=1000000004",
        "org-identifier=http://hl7.org/fhir/sid/us-npi|1000000004",
    ],
)
def test_P062_both_spellings_are_taken_and_one_is_given_back(filter_: str, pas: Pas) -> None:
    held = create(pas, wanted(filter_)).json["_criteria"]["extension"][0]["valueString"]
    assert held == f"org-identifier={filter_.partition('=')[2]}"


def test_P063_bad_input_117_another_organization_is_refused(pas: Pas) -> None:
    for filter_ in ("org-identifier=9999999999", "org-identifier=1000000004,9999999999"):
        answer = create(pas, wanted(filter_))
        assert (answer.status, answer.json["issue"][0]["diagnostics"]) == (422, "P063")


INTERNAL = [
    "http://93.184.216.34/n", "https://127.0.0.1/n", "https://[::1]/n", "https://10.1.2.3/n", "https://169.254.169.254/",
    "https://192.168.0.1/n", "https://[::ffff:10.0.0.1]/n", "https://[64:ff9b::a00:1]/n", "https://0.0.0.0/n",
    "https://user@93.184.216.34/n", "https://93.184.216.34/n#f", "ftp://93.184.216.34/n", "https://", "nothing",
    "https://93.184.216.34:99999/n", "https://224.0.0.1/n",
]  # fmt: skip


@pytest.mark.parametrize("endpoint", INTERNAL)
def test_D12_bad_input_117_endpoints_inside_are_refused_without_a_call(endpoint: str, pas: Pas) -> None:
    answer = create(pas, wanted(endpoint=endpoint))
    assert answer.status == 422
    assert {each["diagnostics"] for each in answer.json["issue"]} == {"D12"}
    assert outbox(pas) == []


def test_D12_a_name_that_leads_inside_is_refused() -> None:
    caller = BackendCaller(BackendClient(id="c", name="c"), ())
    addresses = {
        "good.example.org": ["93.184.216.34"],
        "two.example.org": ["93.184.216.34", "10.0.0.1"],
        "none.example.org": [],
    }
    check = SubscriberAddresses(resolver=lambda host, port: addresses[host])
    said = {host: check(f"https://{host}/n", caller) for host in addresses}
    assert said == {
        "good.example.org": "",
        "two.example.org": "its address is not allowed",
        "none.example.org": "its name has no address",
    }


def test_P064_P065_a_decision_is_told_with_the_answer_and_a_number_that_grows(pas: Pas) -> None:
    ident = active(pas)
    for number in (1, 2):
        case = pas.case_of(pas.submit(request(number=number, values=MISSING)))
        version = pas.settle(case, approve())
        row = outbox(pas)[-1]
        notice = json.loads(row.payload)
        status, answer = notice["entry"]
        parameters = {each["name"]: each for each in status["resource"]["parameter"]}
        event = {each["name"]: each for each in parameters["notification-event"]["part"]}
        assert (row.destination, row.seq, row.n) == (ident, number, 2)
        assert parameters["type"]["valueCode"] == "event-notification"
        assert event["event-number"]["valueString"] == str(number)
        assert event["focus"]["valueReference"]["reference"] == answer["fullUrl"]
        assert answer["resource"] == json.loads(version.response)
        assert claim_response(answer["resource"])["outcome"] == "complete"
        assert complaints(notice) == ()


def test_P060_the_answer_to_the_request_itself_is_no_event(pas: Pas) -> None:
    active(pas)
    pas.submit(request(values=MISSING))
    assert len(outbox(pas)) == 1  # the handshake


def test_P066_a_line_decided_while_another_waits_is_told(pas: Pas) -> None:
    from tests.support.pas_bundles import CPT, item  # noqa: PLC0415

    active(pas)
    lines = [item(1), item(2, code="62323", system=CPT, order=None)]
    case = pas.case_of(pas.submit(request(values=MISSING, items=lines)))
    pas.settle(case, approve())
    notice = json.loads(outbox(pas)[-1].payload)
    assert claim_response(notice["entry"][1]["resource"])["outcome"] == "partial"


def test_P065_events_can_be_asked_for_again_after_a_restart(pas: Pas, start: Any) -> None:
    ident = active(pas)
    for number in (1, 2, 3):
        pas.settle(pas.case_of(pas.submit(request(number=number, values=MISSING))), approve())
    status = pas.send(f"/pas/2.2/Subscription/{ident}/$status", None, method="GET").json
    parameters = {each["name"]: each for each in status["entry"][0]["resource"]["parameter"]}
    assert parameters["events-since-subscription-start"]["valueString"] == "3"
    path = f"/pas/2.2/Subscription/{ident}/$events?eventsSinceNumber=2"
    again = pas.send(path, None, method="GET").json
    numbers = [
        part["valueString"]
        for each in again["entry"][0]["resource"]["parameter"] if each["name"] == "notification-event"
        for part in each["part"] if part["name"] == "event-number"
    ]  # fmt: skip
    assert numbers == ["2", "3"]
    assert [entry["resource"]["resourceType"] for entry in again["entry"]] == ["Parameters", "Bundle", "Bundle"]
    del start


def test_a_subscription_is_read_changed_and_ended_by_its_own_client(pas: Pas) -> None:
    ident = active(pas)
    path = f"/pas/2.2/Subscription/{ident}"
    held = pas.send(path, None, method="GET").json
    assert held["status"] == "active"
    secret = wanted(header=["Authorization: Bearer of-theirs"])
    changed = pas.send(path, copy.deepcopy(secret) | {"id": ident}, method="PUT")
    assert (changed.status, changed.json["status"]) == (200, "requested")  # the endpoint is asked again
    assert "of-theirs" not in pas.send(path, None, method="GET").bytes.decode()
    assert pas.send("/pas/2.2/Subscription", None, method="GET").json["total"] == 1
    assert pas.send(path, None, method="DELETE").status == 204
    assert pas.send("/pas/2.2/Subscription", None, method="GET").json["total"] == 0
    assert [row.state for row in outbox(pas)] == ["done", "discarded"]  # the first handshake, the second
    pas.settle(pas.case_of(pas.submit(request(values=MISSING))), approve())
    assert len(outbox(pas)) == 2
    assert [action for action, subject in pas.audit() if subject == f"subscription/{ident}"] == [
        "subscribe", "change-subscription", "unsubscribe",
    ]  # fmt: skip


def test_another_clients_subscription_does_not_exist(pas: Pas) -> None:
    ident = active(pas)
    with pas.service.sql.database.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE subscription SET sender = 'somebody-else'")
    for method in ("GET", "DELETE"):
        assert pas.send(f"/pas/2.2/Subscription/{ident}", None, method=method).status == 404
    assert pas.send(f"/pas/2.2/Subscription/{ident}", wanted(), method="PUT").status == 404


def test_a_client_has_twenty_subscriptions_at_most(pas: Pas) -> None:
    for _ in range(20):
        assert create(pas).status == 201
    assert create(pas).status == 422

"""One try at a payer endpoint, over real sockets (D02, D03, D04, D09, D11; F16)."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from cds_service.adapters.claim_response_http import HttpClaimResponseSender
from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.system import SystemClock, new_id
from cds_service.adapters.token_purchase import TokenPurchase, public_keys
from cds_service.domain.delivery import Delivery, Sent
from cds_service.payer_endpoints import PayerEndpoint
from tests.support.deliveries import NOON, SYSTEM, response_bundle
from tests.support.fault_server import new_authority
from tests.support.payer_receiver import Fault, Got, Receiver, ReceiverServer, Reply

KEY = ECKey.generate_key("P-384")
Send = Callable[..., Sent]


@pytest.fixture
def server() -> Iterator[ReceiverServer]:
    with ReceiverServer() as running:
        yield running


@pytest.fixture
def http() -> Iterator[GuardedHttp]:
    guarded = GuardedHttp(insecure_dev=True)
    yield guarded
    guarded.close()


@pytest.fixture
def sender(http: GuardedHttp) -> HttpClaimResponseSender:
    clock = SystemClock()
    return HttpClaimResponseSender(http, TokenPurchase(http, KEY, clock, new_id), clock, new_id)


def endpoint(server: ReceiverServer, **changes: Any) -> PayerEndpoint:
    usual = PayerEndpoint(id="payer-a", name="A", base_url=f"{server.url}/fhir", allow_http=True, seconds=2)
    return msgspec.structs.replace(usual, **changes)


def delivery(case: str = "c1", n: int = 1, attempts: int = 1) -> Delivery:
    return Delivery(
        id=1,
        kind="payer",
        destination="payer-a",
        case_id=case,
        seq=n,
        n=n,
        idem_key=f"{case}.{n}:payer-a",
        payload=response_bundle(case, n),
        attempts=attempts,
        created=NOON,
        lease_until=NOON,
    )


def written(server: ReceiverServer) -> list[Got]:
    return [got for got in server.receiver.got if got.method in {"PUT", "POST"} and got.target != "/token"]


CLAIM_RESPONSE = json.loads(response_bundle("c1", 1))["entry"][0]["resource"]
IDENT = CLAIM_RESPONSE["id"]


@pytest.mark.parametrize(
    ("ways", "mode", "method", "target"),
    [
        # the safest that is offered: update as create first
        ({"updateCreate": True, "conditionalCreate": True}, "put", "PUT", f"/fhir/ClaimResponse/{IDENT}"),
        ({"conditionalUpdate": True, "conditionalCreate": True}, "conditional_update", "PUT", "/fhir/ClaimResponse?"),
        ({"conditionalCreate": True, "transaction": True}, "conditional_create", "POST", "/fhir/ClaimResponse"),
        ({"transaction": True}, "transaction", "POST", "/fhir"),
        ({}, "search_then_create", "POST", "/fhir/ClaimResponse"),  # last resort
    ],
)
def test_D02_the_way_comes_from_the_capability_statement(
    sender: HttpClaimResponseSender, ways: dict[str, bool], mode: str, method: str, target: str
) -> None:
    with ReceiverServer(Receiver(ways)) as server:
        sent = sender.send(endpoint(server), delivery())
        assert (sent.state, sent.method, sent.status) == ("done", mode, 200 if mode == "transaction" else 201)
        [got] = written(server)
        assert got.method == method
        assert got.target.startswith(target)
        assert server.receiver.effects == {"c1.1": 1}
        sender.send(endpoint(server), delivery(n=2))
        assert [each.target for each in server.receiver.got].count("/fhir/metadata") == 1  # asked once, then kept


@pytest.mark.parametrize(
    "mode", ["put", "conditional_update", "conditional_create", "search_then_create", "transaction", "bundle"]
)
@pytest.mark.parametrize("fault", ["lost", "half"])
def test_D02_F16_a_repeat_after_an_answer_that_never_came_has_no_second_effect(
    sender: HttpClaimResponseSender, server: ReceiverServer, mode: str, fault: str
) -> None:
    """The receiver acts, and dies before it has answered: we cannot know, so we send it again."""
    target = endpoint(server, mode=mode)
    server.receiver.faults.extend([Fault(fault)] if mode != "search_then_create" else [])
    first = sender.send(target, delivery())
    assert first.state == ("done" if mode == "search_then_create" else "retry")
    for attempt in (2, 3):
        assert sender.send(target, delivery(attempts=attempt)).state == "done"
    assert server.receiver.effects == {"c1.1": 1}
    keys = {got.headers["idempotency-key"] for got in written(server)}
    assert keys == {"c1.1:payer-a"}


def test_D02_F16_a_lost_answer_to_a_plain_create_is_looked_for(
    sender: HttpClaimResponseSender, server: ReceiverServer
) -> None:
    target = endpoint(server, mode="search_then_create")
    server.receiver.faults.extend([Fault("status", 404), Fault("lost")])  # the search finds nothing; the create is lost
    assert sender.send(target, delivery()).state == "retry"
    again = sender.send(target, delivery(attempts=2))
    assert (again.state, again.reason) == ("done", "already_there")
    assert server.receiver.effects == {"c1.1": 1}


def test_D03_the_whole_bundle_goes_where_the_payer_wants_it(
    sender: HttpClaimResponseSender, server: ReceiverServer
) -> None:
    assert sender.send(endpoint(server, mode="bundle", bundle_path="Bundle"), delivery()).state == "done"
    [got] = written(server)
    assert (got.target, got.body) == ("/fhir/Bundle", response_bundle("c1", 1))


def test_D03_a_transaction_creates_each_resource_unless_it_is_there(
    sender: HttpClaimResponseSender, server: ReceiverServer
) -> None:
    assert sender.send(endpoint(server, mode="transaction"), delivery()).state == "done"
    [got] = written(server)
    requests = [entry["request"] for entry in json.loads(got.body)["entry"]]
    quoted = "https%3A%2F%2Fpayer.example.org%2Fclaim-response|c1.1"
    assert requests == [
        {"method": "POST", "url": "ClaimResponse", "ifNoneExist": f"identifier={quoted}"},
        {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn%3Asample%3Amember|M-1"},
        {"method": "PUT", "url": "Task/5a5f3c9e-0000-4000-8000-000000000002"},
    ]
    assert b"1.20" in got.body  # the resources are put in as they are, digit for digit
    assert sender.send(endpoint(server, mode="transaction"), delivery(n=2)).state == "done"
    assert len([place for place in server.receiver.resources if place.startswith("Patient/")]) == 1


def test_D03_a_transaction_of_which_a_part_was_refused_is_not_delivered(
    sender: HttpClaimResponseSender, server: ReceiverServer
) -> None:
    refused = {"resourceType": "Bundle", "entry": [{"response": {"status": "201"}}, {"response": {"status": "422"}}]}
    server.receiver.faults.append(Fault("status", 200, body=json.dumps(refused).encode()))
    sent = sender.send(endpoint(server, mode="transaction"), delivery())
    assert (sent.state, sent.reason) == ("retry", "transaction_incomplete")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *((status, "done") for status in (200, 201, 202, 204)),
        *((status, "retry") for status in (401, 408, 425, 429, 500, 502, 503, 504)),
        *((status, "dead") for status in (301, 307, 400, 403, 404, 405, 410, 413, 415, 422)),
    ],
)
def test_D04_what_a_status_means(
    sender: HttpClaimResponseSender, server: ReceiverServer, status: int, state: str
) -> None:
    server.receiver.always = Fault("status", status, {"Location": "https://evil.example.org/"})
    sent = sender.send(endpoint(server, mode="put"), delivery())
    assert (sent.state, sent.status) == (state, status)
    assert len(server.receiver.got) == 1  # nothing is sent twice by itself, and no redirect followed


@pytest.mark.parametrize("mode", ["put", "conditional_create", "transaction", "bundle", "search_then_create"])
@pytest.mark.parametrize(
    ("severity", "code", "state", "reason"),
    [
        ("error", "business-rule", "dead", "outcome_error"),  # it will say the same of the same bytes
        ("fatal", "processing", "dead", "outcome_error"),
        ("error", "lock-error", "retry", "outcome_transient"),  # FHIR's transient kinds pass by themselves
        ("fatal", "timeout", "retry", "outcome_transient"),
        ("warning", "business-rule", "done", ""),
        ("information", "informational", "done", ""),
    ],
)
def test_D04_a_success_that_tells_of_an_error_is_none(
    sender: HttpClaimResponseSender,
    server: ReceiverServer,
    mode: str,
    severity: str,
    code: str,
    state: str,
    reason: str,
) -> None:
    """Some gateways answer 200 whatever became of the message behind them, and say what did in the body."""
    if mode == "search_then_create":
        server.receiver.faults.append(Fault("status", 200, body=b'{"resourceType": "Bundle", "type": "searchset"}'))
    issue = {"severity": severity, "code": code, "diagnostics": "the store said so"}
    body = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()
    server.receiver.faults.append(Fault("status", 200 if mode != "put" else 201, body=body))
    if mode == "conditional_create" and state == "done":
        server.receiver.resources["ClaimResponse/x"] = json.dumps(CLAIM_RESPONSE | {"id": "x"}).encode()
        server.receiver.by_identifier[f"ClaimResponse?{SYSTEM}|c1.1"] = ["ClaimResponse/x"]
        reason = "already_there"
    sent = sender.send(endpoint(server, mode=mode), delivery())
    assert (sent.state, sent.reason) == (state, reason)
    assert ("the store said so" in sent.excerpt) == (state != "done")


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "retry"),  # a sign-in page before the server
        (b"\n <html lang=en><body>We are improving our service", "retry"),
        (b"", "done"),
        (b'<ClaimResponse xmlns="http://hl7.org/fhir"><status value="active"/></ClaimResponse>', "done"),  # FHIR too
        (b"OK", "done"),
    ],
)
def test_D04_a_web_page_is_no_receipt(
    sender: HttpClaimResponseSender, server: ReceiverServer, body: bytes, state: str
) -> None:
    server.receiver.faults.append(Fault("status", 200, body=body))
    sent = sender.send(endpoint(server, mode="put"), delivery())
    assert (sent.state, sent.reason) == (state, "web_page" if state == "retry" else "")


@pytest.mark.parametrize(
    ("issue", "state"),
    [
        ('{"severity": ["error"], "code": [1]}', "done"),  # no severity at all
        ('{"severity": "error", "code": ["timeout"], "details": 5}', "dead"),  # an error of no known kind
        ("5", "done"),
    ],
)
def test_D04_an_outcome_of_any_shape_ends_no_worker(
    sender: HttpClaimResponseSender, server: ReceiverServer, issue: str, state: str
) -> None:
    body = f'{{"resourceType": "OperationOutcome", "issue": [{issue}]}}'.encode()
    server.receiver.faults.append(Fault("status", 200, body=body))
    assert sender.send(endpoint(server, mode="put"), delivery()).state == state


def test_D04_a_network_that_fails_is_tried_again(sender: HttpClaimResponseSender, server: ReceiverServer) -> None:
    server.receiver.faults.append(Fault("reset"))
    sent = sender.send(endpoint(server, mode="put"), delivery())
    assert (sent.state, sent.reason, sent.status) == ("retry", "disconnected", None)
    server.receiver.faults.append(Fault("hang"))
    sent = sender.send(endpoint(server, mode="put", seconds=1), delivery())
    assert (sent.state, sent.reason) == ("retry", "late")


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize(
    ("theirs", "state", "reason"),
    [
        ({}, "done", "already_there"),  # exactly what we sent, so an earlier try did arrive
        ({"meta": {"versionId": "7"}, "text": {"status": "generated"}}, "done", "already_there"),  # a server's own
        ({"outcome": "error"}, "dead", "conflict"),  # another document under our name: a person must look
    ],
)
def test_D04_a_conflict_is_read_back_and_compared(
    sender: HttpClaimResponseSender,
    server: ReceiverServer,
    status: int,
    theirs: dict[str, Any],
    state: str,
    reason: str,
) -> None:
    server.receiver.resources[f"ClaimResponse/{IDENT}"] = json.dumps(CLAIM_RESPONSE | theirs).encode()
    server.receiver.faults.append(Fault("status", status))
    sent = sender.send(endpoint(server, mode="put"), delivery())
    assert (sent.state, sent.reason) == (state, reason)


def test_D04_a_conflict_that_cannot_be_read_back_is_tried_again(
    sender: HttpClaimResponseSender, server: ReceiverServer
) -> None:
    server.receiver.faults.extend([Fault("status", 412), Fault("status", 503)])
    sent = sender.send(endpoint(server, mode="conditional_create"), delivery())
    assert (sent.state, sent.reason) == ("retry", "read_back_failed")


def test_fault_F29_a_version_number_used_twice_is_found_out(
    sender: HttpClaimResponseSender, server: ReceiverServer
) -> None:
    """After an old backup we may build another version 1; the receiver says 200: it has one of that name already."""
    target = endpoint(server, mode="conditional_create")
    assert sender.send(target, delivery()).state == "done"
    other = msgspec.structs.replace(delivery(), payload=response_bundle("c1", 1, outcome="error"))
    sent = sender.send(target, other)
    assert (sent.state, sent.reason) == ("dead", "conflict")


def test_D09_every_message_names_itself_and_its_digest(sender: HttpClaimResponseSender, server: ReceiverServer) -> None:
    target = endpoint(server, mode="put")
    server.receiver.faults.append(Fault("status", 503))
    sender.send(target, delivery())
    sender.send(target, delivery(attempts=2))
    first, second = written(server)
    for got in (first, second):
        digest = b64encode(sha256(got.body).digest()).decode()
        assert got.headers["content-digest"] == f"sha-256=:{digest}:"
        assert got.headers["idempotency-key"] == "c1.1:payer-a"
        assert got.headers["content-type"] == "application/fhir+json"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    # The ClaimResponse goes out as it stands in the stored Bundle, byte for byte.
    assert first.body in response_bundle("c1", 1)
    assert json.loads(first.body)["identifier"] == [{"system": SYSTEM, "value": "c1.1"}]


def test_D05_what_the_receiver_asks_for_is_told(sender: HttpClaimResponseSender, server: ReceiverServer) -> None:
    server.receiver.faults.append(Fault("status", 429, {"Retry-After": "120"}))
    assert sender.send(endpoint(server, mode="put"), delivery()).retry_after == timedelta(seconds=120)
    server.receiver.faults.append(Fault("status", 503, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}))
    assert sender.send(endpoint(server, mode="put"), delivery()).retry_after == timedelta(days=1)  # a day at most
    for nonsense in ("soon", "-5", "Thu, 26 Nov 2026 25:61:00 GMT", "Thu, 26 Nov 99999999999999999999 19:20:00 GMT"):
        server.receiver.faults.append(Fault("status", 429, {"Retry-After": nonsense}))
        sent = sender.send(endpoint(server, mode="put"), delivery())
        assert (sent.state, sent.retry_after) == ("retry", None)


def test_D08_the_words_of_a_refusal_are_kept_with_the_try(
    sender: HttpClaimResponseSender, server: ReceiverServer
) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "value", "diagnostics": "no such member"}]}
    server.receiver.faults.append(Fault("status", 422, body=json.dumps(outcome).encode()))
    sent = sender.send(endpoint(server, mode="put"), delivery())
    assert (sent.reason, sent.excerpt) == ("status_422", "value no such member")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{}", "not_a_response_bundle"),
        (b'{"entry": []}', "not_a_response_bundle"),
        (b'{"entry": [{"resource": {"resourceType": "Patient"}}]}', "no_claim_response"),
        (response_bundle("c1", 1, identifier=[]), "no_claim_response"),  # a repeat could not be known
    ],
)
def test_D02_what_could_not_be_known_again_is_not_sent(
    sender: HttpClaimResponseSender, server: ReceiverServer, payload: bytes, reason: str
) -> None:
    sent = sender.send(endpoint(server), msgspec.structs.replace(delivery(), payload=payload))
    assert (sent.state, sent.reason) == ("dead", reason)
    assert server.receiver.got == []


def test_D02_an_endpoint_that_says_nothing_is_asked_again_later(
    sender: HttpClaimResponseSender, server: ReceiverServer
) -> None:
    server.receiver.faults.append(Fault("status", 200, body=b"<html>"))
    assert sender.send(endpoint(server), delivery()).reason == "metadata_malformed"
    server.receiver.faults.append(Fault("status", 500))
    assert sender.send(endpoint(server), delivery()).reason == "metadata_refused"
    assert sender.send(endpoint(server), delivery()).state == "done"


class TokenDesk:
    """An authorization server that checks our assertion against our published key."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sold = 0
        self.life = 300

    def sell(self, body: bytes) -> Reply:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        keys = KeySet.import_key_set(json.loads(public_keys(KEY)))
        claims = jwt.decode(form["client_assertion"], keys, algorithms=["ES384"]).claims
        assert (claims["iss"], claims["sub"], claims["aud"]) == ("us", "us", self.url)
        assert 0 < claims["exp"] - claims["iat"] <= 300
        self.sold += 1
        token = {"access_token": f"token-{self.sold}", "token_type": "bearer", "expires_in": self.life}
        return 200, {}, json.dumps(token).encode()


@pytest.fixture
def desk(server: ReceiverServer) -> TokenDesk:
    desk = TokenDesk(f"{server.url}/token")
    server.receiver.tokens = desk.sell
    server.receiver.token = "token-1"
    return desk


def services(server: ReceiverServer) -> PayerEndpoint:
    url = f"{server.url}/token"
    return endpoint(server, mode="put", auth="backend_services", token_url=url, client_id="us")


def test_D11_a_token_is_bought_once_and_kept(
    sender: HttpClaimResponseSender, server: ReceiverServer, desk: TokenDesk
) -> None:
    for n in (1, 2, 3):
        assert sender.send(services(server), delivery(n=n)).state == "done"
    assert desk.sold == 1


def test_D11_a_token_near_its_end_is_not_used(
    sender: HttpClaimResponseSender, server: ReceiverServer, desk: TokenDesk
) -> None:
    desk.life = 60  # a minute before its end it is not used any more, so never a second time
    sender.send(services(server), delivery())
    sender.send(services(server), delivery(n=2))
    assert desk.sold >= 2


def test_D04_D11_a_refused_token_is_bought_anew_once(
    sender: HttpClaimResponseSender, server: ReceiverServer, desk: TokenDesk
) -> None:
    sender.send(services(server), delivery())
    server.receiver.token = "token-2"  # the first one was revoked
    assert sender.send(services(server), delivery(n=2)).state == "done"
    assert desk.sold == 2
    server.receiver.token = "none of ours"
    sent = sender.send(services(server), delivery(n=3))
    assert (sent.state, sent.status, desk.sold) == ("retry", 401, 3)


def test_D11_no_token_is_no_end(sender: HttpClaimResponseSender, server: ReceiverServer, desk: TokenDesk) -> None:
    server.receiver.faults.append(Fault("status", 400, body=b'{"error": "invalid_client"}'))
    sent = sender.send(services(server), delivery())
    assert (sent.state, sent.reason, sent.status) == ("retry", "token_refused", 400)
    server.receiver.faults.append(Fault("status", 200, body=b'{"access_token": "a\\nb"}'))
    assert sender.send(services(server), delivery()).reason == "token_malformed"
    assert sender.send(services(server), delivery()).state == "done"


@pytest.mark.parametrize("shown", [True, False])
def test_D11_mutual_tls(sender: HttpClaimResponseSender, tmp_path: Path, shown: bool) -> None:
    """A server that wants to see our certificate, and one of us that does or does not show it."""
    authority = new_authority()
    ca_file = authority.write(str(tmp_path / "ca.pem"))
    ours = authority.ca.issue_cert("cds-service.example.org")
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    tls = authority.server()
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(ca_file)
    pair = {"auth": "mtls", "cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    with ReceiverServer(tls=tls) as server:
        target = endpoint(server, mode="put", ca_file=ca_file, **(pair if shown else {}))
        sent = sender.send(target, delivery())
        assert sent.state == ("done" if shown else "retry")
        assert server.receiver.effects == ({"c1.1": 1} if shown else {})


def test_D12_an_endpoint_on_a_private_address_is_refused() -> None:
    strict = GuardedHttp()  # without --insecure-dev
    clock = SystemClock()
    sender = HttpClaimResponseSender(strict, TokenPurchase(strict, KEY, clock, new_id), clock, new_id)
    target = PayerEndpoint(id="a", name="A", base_url="https://localhost/fhir", mode="put")
    assert sender.send(target, delivery()).reason == "address_refused"
    plain = PayerEndpoint(id="a", name="A", base_url="http://payer.example.org/fhir", mode="put", allow_http=True)
    assert sender.send(plain, delivery()).reason == "not_allowed"

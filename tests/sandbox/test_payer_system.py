"""The payer's FHIR endpoint of the sandbox: each way of writing, repeats, faults, and who may come in."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from sandbox_ehr import payer_words
from sandbox_ehr.payer_inbox import Received

SYSTEM = "https://cds.example.org/fhir/NamingSystem/claim-response"


def decision(ident: str | None = None, **changes) -> dict:
    """A ClaimResponse with an identifier of its own."""
    number = ident or str(uuid.uuid4())
    return {
        "resourceType": "ClaimResponse", "id": number, "status": "active", "outcome": "complete",
        "identifier": [{"system": SYSTEM, "value": f"{number}.1"}], "preAuthRef": "A-1", **changes,
    }  # fmt: skip


def named(resource: dict) -> str:
    return f"identifier={SYSTEM}|{resource['identifier'][0]['value']}"


def test_put_keeps_once_however_often_it_comes(payer):
    sent = decision()
    path = f"/ClaimResponse/{sent['id']}"
    answers = [payer.call("PUT", path, json=sent) for _ in range(3)]
    assert [one.status_code for one in answers] == [201, 200, 200]
    assert {one.headers["ETag"] for one in answers} == {'W/"1"'}
    assert payer.receipts()[sent["id"]]["times"] == 3
    changed = payer.call("PUT", path, json={**sent, "outcome": "partial"})
    assert (changed.status_code, changed.headers["ETag"]) == (200, 'W/"2"')
    page = payer.http.get(payer.page, timeout=10).text
    assert sent["id"] in page
    assert "4 times" in page


def reviewed(*codes: str) -> list[dict]:
    """Lines of a ClaimResponse, each with a review action."""
    url = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewAction"
    return [
        {"itemSequence": number, "adjudication": [{"extension": [{"url": url, "extension": [
            {"url": f"{url}Code", "valueCodeableConcept": {"coding": [{"code": code}]}}]}]}]}
        for number, code in enumerate(codes, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"item": reviewed("A1")}, ("Approved",)),
        ({"item": reviewed("A4", "A4")}, ("Waits for a reviewer (2 lines)",)),
        ({"item": reviewed("A6", "A3")}, ("Line 1: Approved with a change", "Line 2: Not approved")),
        ({"item": reviewed("A1"), "status": "cancelled"}, ("Cancelled",)),
        ({"item": reviewed("Z9")}, ("Review action Z9",)),
        ({"item": [{"adjudication": [{"extension": "?"}, 1]}]}, ("Not said",)),
        ({"outcome": "error"}, ("Nothing decided: an error",)),
        ({"item": "?"}, ("No line",)),
    ],
)
def test_a_decision_is_told_in_words_whatever_comes(sent, words):
    received = Received({**decision(), **sent}, 1, 1, "2026-03-02T10:00:00+00:00", "2026-03-02T10:00:00+00:00")
    assert payer_words.decision(received, lambda _: "").words == words


def test_the_page_tells_patient_decision_time_and_document(payer):
    ours = payer.page.removesuffix("/payer")
    sent = decision(item=reviewed("A1"), patient={"reference": f"{ours}/fhir/Patient/refill"})
    stranger = decision(item=reviewed("A4"), patient={"reference": "https://ehr.example.org/fhir/Patient/refill"})
    for one in (sent, stranger):
        payer.call("PUT", f"/ClaimResponse/{one['id']}", json=one)
    page = payer.http.get(payer.page, timeout=10).text
    rows = {one["id"]: next(row for row in page.split("<tr>") if one["id"] in row) for one in (sent, stranger)}
    at = payer.receipts()[sent["id"]]["last"][11:19]
    for part in ("Hugo Sample", "Approved", "Authorization A-1", f"{at} UTC"):
        assert part in rows[sent["id"]]
    assert "https://ehr.example.org/fhir/Patient/refill" in rows[stranger["id"]]
    assert "Waits for a reviewer" in rows[stranger["id"]]
    document = payer.http.get(f"{payer.page}/{sent['id']}.json", timeout=10)
    assert document.json()["patient"] == sent["patient"]
    assert payer.http.get(f"{payer.page}/nothing.json", timeout=10).status_code == 404


def test_a_conditional_create_keeps_once_of_twenty_at_once(payer):
    sent = decision()

    def post(_: int) -> int:
        headers = {"If-None-Exist": named(sent)}
        return payer.call("POST", "/ClaimResponse", json=sent, headers=headers).status_code

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    assert sorted(answers) == [200] * 19 + [201]
    found = payer.call("GET", f"/ClaimResponse?{named(sent)}").json()
    assert found["total"] == 1
    assert payer.receipts()[found["entry"][0]["resource"]["id"]]["times"] == 20


def test_several_with_one_identifier_are_said(payer):
    sent = decision()
    for _ in range(2):
        assert payer.call("POST", "/ClaimResponse", json=sent).status_code == 201
    for answer in (
        payer.call("POST", "/ClaimResponse", json=sent, headers={"If-None-Exist": named(sent)}),
        payer.call("PUT", f"/ClaimResponse?{named(sent)}", json=sent),
    ):
        assert answer.status_code == 412


def test_a_conditional_update_makes_and_then_changes(payer):
    sent = decision()
    path = f"/ClaimResponse?{named(sent)}"
    answers = [payer.call("PUT", path, json={**sent, "outcome": one}) for one in ("complete", "complete", "partial")]
    assert [(one.status_code, one.headers["ETag"]) for one in answers] == [
        (201, 'W/"1"'), (200, 'W/"1"'), (200, 'W/"2"'),
    ]  # fmt: skip


class TestTransaction:
    def bundle(self, sent: dict, **claim) -> dict:
        person = {"resourceType": "Patient", "identifier": [{"system": "urn:member", "value": sent["id"]}]}
        return {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": "urn:uuid:claim",
                    "resource": {**sent, "patient": {"reference": "urn:uuid:person"}},
                    "request": {"method": "POST", "url": "ClaimResponse", "ifNoneExist": named(sent), **claim},
                },
                {
                    "fullUrl": "urn:uuid:person",
                    "resource": person,
                    "request": {
                        "method": "POST", "url": "Patient", "ifNoneExist": f"identifier=urn:member|{sent['id']}",
                    },
                },
            ],
        }  # fmt: skip

    def test_all_is_written_and_references_follow(self, payer):
        sent = decision()
        for status in ("201 Created", "200 OK"):
            answer = payer.call("POST", "/", json=self.bundle(sent))
            assert answer.status_code == 200
            entries = [one["response"] for one in answer.json()["entry"]]
            assert [one["status"] for one in entries] == [status, status]
        claim = payer.call("GET", f"/ClaimResponse?{named(sent)}").json()["entry"][0]["resource"]
        assert entries[1]["location"].startswith(claim["patient"]["reference"])
        assert claim["meta"]["versionId"] == "1"

    @pytest.mark.parametrize(
        "claim", [{"url": "Observation"}, {"method": "DELETE"}, {"ifNoneExist": "name=x"}, {"url": "Patient"}]
    )
    def test_one_wrong_entry_writes_nothing(self, payer, claim):
        sent = decision()
        assert payer.call("POST", "/", json=self.bundle(sent, **claim)).status_code == 400
        assert payer.call("GET", f"/Patient?identifier=urn:member|{sent['id']}").json()["total"] == 0

    @pytest.mark.parametrize("change", [{"type": "batch"}, {"entry": []}, {"entry": "x"}, {"entry": [1]}])
    def test_what_is_no_transaction_is_refused(self, payer, change):
        assert payer.call("POST", "/", json={**self.bundle(decision()), **change}).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("PUT", "/ClaimResponse/x", decision("y"), {}, 400),  # another id than the address
        ("PUT", "/Observation/x", {"resourceType": "Observation", "id": "x"}, {}, 400),
        ("POST", "/ClaimResponse", {"resourceType": "Patient"}, {}, 400),
        ("POST", "/ClaimResponse", [], {}, 400),
        ("POST", "/ClaimResponse", decision(), {"If-None-Exist": "identifier=x"}, 400),
        ("POST", "/ClaimResponse", decision(), {"Content-Digest": "sha-256=:AAAA:"}, 400),
        ("GET", "/ClaimResponse/none", None, {}, 404),
        ("GET", "/ClaimResponse?weather=fine", None, {}, 400),
        ("DELETE", "/ClaimResponse/x", None, {}, 405),
    ],
)
def test_what_cannot_be_done_is_said(payer, method, path, body, headers, status):
    assert payer.call(method, path, json=body, headers=headers).status_code == status


class TestAccess:
    @pytest.mark.parametrize("authorization", [None, "Bearer x", "Basic eDp5"])
    def test_nobody_without_a_token(self, payer, authorization):
        headers = {"Authorization": authorization} if authorization else {}
        for method, path in (("GET", "/ClaimResponse"), ("PUT", "/ClaimResponse/x"), ("POST", "/")):
            answer = payer.http.request(method, f"{payer.base}{path}", headers=headers, json=decision("x"), timeout=10)
            assert answer.status_code == 401

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({"scope": None}, "invalid_scope"),
            ({"scope": "patient/*.rs"}, "invalid_scope"),
            ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
            ({"client_assertion": "x.y.z"}, "invalid_client"),
            ({"client_assertion": None}, "invalid_client"),
        ],
    )
    def test_D11_a_wrong_token_request_is_refused(self, payer, form, error):
        answer = payer.token(**form)
        assert (answer.status_code, answer.json()["error"]) == (401 if error == "invalid_client" else 400, error)

    @pytest.mark.parametrize("claims", [{"aud": "http://x/token"}, {"iss": "other"}, {"exp": 1}])
    def test_D11_a_wrong_assertion_is_refused(self, payer, claims):
        assert payer.token(client_assertion=payer.assertion(**claims)).status_code == 401

    def test_a_token_that_only_reads_does_not_come_in(self, payer):
        weak = payer.token(scope="system/ClaimResponse.rs").json()["access_token"]
        headers = {"Authorization": f"Bearer {weak}"}
        assert payer.call("PUT", "/ClaimResponse/x", json=decision("x"), headers=headers).status_code == 401

    def test_tokens_of_ehr_and_payer_open_one_door_each(self, payer, sandbox):
        token = sandbox.client.tokens(sandbox.launch())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert payer.call("GET", "/ClaimResponse", headers=headers).status_code == 401
        assert sandbox.client.fhir("GET", "Patient/refill", payer.bearer).status_code == 401

    def test_switches_for_tests_are_shut_otherwise(self, sandbox):
        for method, path in (("POST", "$faults"), ("GET", "$receipts")):
            answer = sandbox.client.http.request(method, f"{sandbox.base}/payer-fhir/{path}", json={}, timeout=10)
            assert answer.status_code == 404


class TestFaults:
    """What a failing receiver does: the sender's tests rely on it."""

    def put(self, payer, sent):
        return payer.call("PUT", f"/ClaimResponse/{sent['id']}", json=sent)

    def test_refuse_does_nothing(self, payer):
        sent = decision()
        payer.behave(faults=[{"mode": "refuse", "status": 429, "retry_after": "7"}])
        answer = self.put(payer, sent)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
        assert sent["id"] not in payer.receipts()
        assert self.put(payer, sent).status_code == 201

    @pytest.mark.parametrize(("mode", "kept"), [("half", True), ("lost", True), ("deaf", False)])
    def test_a_broken_answer_may_hide_done_work(self, payer, mode, kept):
        sent = decision()
        payer.behave(faults=[{"mode": mode}])
        with pytest.raises(requests.RequestException):
            self.put(payer, sent)
        assert (sent["id"] in payer.receipts()) is kept
        assert self.put(payer, sent).status_code == (200 if kept else 201)

    @pytest.mark.parametrize(
        ("offers", "flag", "call"),
        [
            (["transaction"], "updateCreate", ("PUT", "/ClaimResponse/{id}", {}, 405)),
            (["put"], "conditionalCreate", ("POST", "/ClaimResponse", {"If-None-Exist": "{named}"}, 412)),
            (["put"], "conditionalUpdate", ("PUT", "/ClaimResponse?{named}", {}, 412)),
        ],
    )
    def test_D02_what_is_not_offered_is_not_done(self, payer, offers, flag, call):
        sent = decision()
        payer.behave(offers=offers)
        statement = payer.http.get(f"{payer.base}/metadata", timeout=10).json()
        claim = next(one for one in statement["rest"][0]["resource"] if one["type"] == "ClaimResponse")
        assert claim[flag] is False
        method, path, headers, status = call
        places = {"id": sent["id"], "named": named(sent)}
        told = {name: value.format(**places) for name, value in headers.items()}
        assert payer.call(method, path.format(**places), json=sent, headers=told).status_code == status

    def test_an_unknown_fault_is_refused(self, payer):
        answer = payer.http.post(f"{payer.base}/$faults", json={"faults": [{"mode": "rude"}]}, timeout=10)
        assert answer.status_code == 400


def test_an_open_endpoint_asks_for_nothing(payer, sandbox):
    door = sandbox.app.extensions["payer_door"]
    assert not door.lets_in(None)
    assert type(door)(**{name: getattr(door, name) for name in door.__struct_fields__} | {"open": True}).lets_in(None)

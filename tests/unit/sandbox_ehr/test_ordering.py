"""Signing: what is sent, what is applied, what waits, and that nothing of the payer's blocks it."""

from __future__ import annotations

import json
import re
import socket
import threading

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Response

from sandbox_ehr.app import Settings, create_app
from sandbox_ehr.coverage_words import URL

CARD = "11111111-1111-4111-8111-111111111111"
REASON = {"code": "dose-verified", "system": "https://cds.example.org/reasons", "display": "Dose verified"}
SERVICES = {
    "services": [
        {
            "hook": hook,
            "id": hook,
            "description": "d",
            "prefetch": {
                "patient": "Patient/{{context.patientId}}",
                "conditions": "Condition?patient={{context.patientId}}",
                "devices": "Device?patient={{context.patientId}}",
                "odd": "Condition?patient={{context.patientId}}&weather=fine",
                "nested": "Patient/{{context.draftOrders.x}}",
                "fhirpath": "Patient/{{%patient.id}}",
                "absent": "Encounter/{{context.noSuch}}",
            },
        }
        for hook in ("order-sign", "order-select")
    ]
}


class Payer:
    """A CDS service of the test's own: keeps what it was sent, answers what it was told to."""

    def __init__(self, server: HTTPServer) -> None:
        self.calls: list[tuple[str, dict, dict]] = []
        self.answer: tuple[int, object] = (200, {"cards": []})
        self.url = server.url_for("").rstrip("/")
        server.expect_request(re.compile("/cds-services.*")).respond_with_handler(self._respond)

    def _respond(self, request):
        if request.method == "GET":
            return Response(json.dumps(SERVICES), content_type="application/json")
        body = request.get_json()
        self.calls.append((request.path, dict(request.headers), body))
        status, answer = (200, {}) if request.path.endswith("feedback") else self.answer
        text = answer(body) if callable(answer) else answer
        return Response(json.dumps(text), status, content_type="application/json")


@pytest.fixture
def payer(httpserver):
    return Payer(httpserver)


@pytest.fixture
def ehr(tmp_path, payer, clock, new_id):
    return create_app(Settings(tmp_path, "http://ehr.test", payer.url, "https://payer.example.org"), clock, new_id)


def _sign(app, patient="trial-ready", **changes):
    fields = {
        "drug": "morphine", "route": "intrathecal", "ingredient": "morphine", "amount": "2", "amount_unit": "mg/mL",
        "delivery": "rate", "rate": "0.5", "rate_unit": "mL/d", "dose_unit": "mg", "bolus_unit": "mg",
        "times": "1", "prefetch": "full", "crd_version": "", **changes,
    }  # fmt: skip
    return app.test_client().post(f"/patients/{patient}/orders", data=fields, follow_redirects=True)


def _warning(**changes):
    return {
        "uuid": CARD, "summary": "Above the table", "indicator": "warning", "source": {"label": "P"},
        "overrideReasons": [REASON], **changes,
    }  # fmt: skip


def _orders(app, patient="trial-ready"):
    return [
        one
        for one in app.extensions["store"].of_patient(patient, "MedicationRequest")
        if not one["id"].startswith(patient)
    ]


def test_crd_72_77_each_call_carries_a_fresh_signed_jwt(ehr, payer):
    keys = ehr.test_client().get("/jwks.json").json["keys"]
    assert "d" not in keys[0]
    _sign(ehr)
    _sign(ehr)
    seen = []
    for path, headers, _ in payer.calls:
        token = jwt.decode(headers["Authorization"].removeprefix("Bearer "), ECKey.import_key(keys[0]), ["ES384"])
        assert token.header["kid"] == keys[0]["kid"]
        assert token.claims["aud"] == f"https://payer.example.org{path}"
        assert token.claims["iss"] == "http://ehr.test"
        assert token.claims["exp"] - token.claims["iat"] == 300
        seen.append(token.claims["jti"])
    assert len(set(seen)) == len(seen) == 2


def test_crd_15_25_the_request_holds_drafts_prefetch_and_a_scoped_token_that_works(ehr, payer):
    _sign(ehr)
    (_, _, body) = payer.calls[0]
    assert body["hook"] == "order-sign"
    assert body["context"]["encounterId"] == "trial-ready-1"
    draft = body["context"]["draftOrders"]["entry"][0]["resource"]
    assert (draft["status"], draft["id"].startswith("draft-")) == ("draft", True)
    assert body["prefetch"]["patient"]["id"] == "trial-ready"
    assert len(body["prefetch"]["conditions"]["entry"]) == 2
    assert body["prefetch"]["devices"]["total"] == 0
    assert set(body["prefetch"]) == {"patient", "conditions", "devices"}  # what cannot be served is left out
    lent = body["fhirAuthorization"]
    got = ehr.test_client().get(
        "/fhir/Condition?patient=trial-ready", headers={"Authorization": f"Bearer {lent['access_token']}"}
    )
    assert (got.status_code, lent["patient"], body["fhirServer"]) == (200, "trial-ready", "http://ehr.test/fhir")


@pytest.mark.parametrize(("mode", "keys"), [("partial", {"patient"}), ("none", set())])
def test_prefetch_can_be_thinned_so_that_the_service_pulls(ehr, payer, mode, keys):
    _sign(ehr, prefetch=mode)
    assert set(payer.calls[0][2].get("prefetch", {})) == keys


def test_a_requested_crd_version_is_said(ehr, payer):
    _sign(ehr, crd_version="2.2")
    assert payer.calls[0][2]["extension"] == {"davinci-crd.requestedVersion": "2.2"}


def test_system_actions_go_into_the_signed_order(ehr, payer):
    def says(body):
        order = body["context"]["draftOrders"]["entry"][0]["resource"]
        extension = {"url": URL, "extension": [{"url": "covered", "valueCode": "covered"}]}
        action = {"type": "update", "description": "Coverage", "resource": {**order, "extension": [extension]}}
        return {"cards": [], "systemActions": [action]}

    payer.answer = (200, says)
    page = _sign(ehr).text
    (order,) = _orders(ehr)
    assert (order["status"], order["extension"][0]["url"]) == ("active", URL)
    assert not order["id"].startswith("draft-")  # a signed order gets a new id
    assert "Covered by the plan" in page


@pytest.mark.parametrize(
    "answer",
    [
        (503, {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "Busy"}]}),
        (412, {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "coverage"}]}),
        (200, "not an object"),
        (200, {"no": "cards"}),
        (500, {}),
    ],
)
def test_a_failing_service_never_blocks_signing(ehr, payer, answer):
    payer.answer = answer
    page = _sign(ehr)
    assert page.status_code == 200
    assert "signed all the same" in page.text
    assert len(_orders(ehr)) == 1


def test_a_dripping_service_never_blocks_signing(tmp_path, clock, new_id, monkeypatch):
    """One byte now and then keeps every read alive; only a limit on the whole answer ends it."""
    monkeypatch.setattr("sandbox_ehr.cds_client.PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip():
            taken, _ = listener.accept()
            with taken:
                taken.recv(65_536)
                taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n")
                while not ended.wait(0.05):
                    try:
                        taken.sendall(b" ")
                    except OSError:
                        return

        threading.Thread(target=drip, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(Settings(tmp_path, "http://ehr.test", url, url), clock, new_id)
        page = _sign(app)
        ended.set()
    assert "signed all the same" in page.text


def test_an_unreachable_service_never_blocks_signing(app):
    assert "signed all the same" in _sign(app).text
    assert len(_orders(app)) == 1


def test_information_does_not_hold_an_order(ehr, payer):
    payer.answer = (200, {"cards": [_warning(indicator="info")]})
    assert '<span class="tick"' in _sign(ehr).text
    assert len(_orders(ehr)) == 1


@pytest.mark.parametrize("indicator", ["warning", "critical"])
def test_a_warning_waits_for_a_word_and_then_signs(ehr, payer, indicator):
    payer.answer = (200, {"cards": [_warning(indicator=indicator)]})
    page = _sign(ehr)
    assert "Not signed yet" in page.text
    assert _orders(ehr) == []
    url = f"{page.request.path}/words"
    refused = ehr.test_client().post(url, data={"card": CARD})
    assert (refused.status_code, "Choose a reason" in refused.text) == (422, True)
    said = {"card": CARD, f"reason-{CARD}": "dose-verified", f"comment-{CARD}": "seen by two"}
    after = ehr.test_client().post(url, data=said, follow_redirects=True)
    assert "Overridden: Dose verified" in after.text
    assert len(_orders(ehr)) == 1


def test_crd_66_67_feedback_says_who_overrode_what_and_why(ehr, payer):
    payer.answer = (200, {"cards": [_warning()]})
    page = _sign(ehr)
    said = {"card": CARD, f"reason-{CARD}": "dose-verified", f"comment-{CARD}": "seen by two"}
    ehr.test_client().post(f"{page.request.path}/words", data=said)
    path, headers, body = payer.calls[-1]
    assert path == "/cds-services/order-sign/feedback"
    assert body == {
        "feedback": [
            {
                "card": CARD,
                "outcome": "overridden",
                "outcomeTimestamp": "2026-03-02T12:00:00Z",
                "overrideReason": {"reason": REASON, "userComment": "seen by two"},
            }
        ]
    }
    assert headers["Authorization"].startswith("Bearer ")


def test_a_card_that_nobody_showed_is_refused(ehr, payer):
    payer.answer = (200, {"cards": [_warning()]})
    page = _sign(ehr)
    assert ehr.test_client().post(f"{page.request.path}/words", data={"card": "other"}).status_code == 400


def test_tokens_are_masked_in_the_developer_drawer(ehr, payer):
    page = _sign(ehr).text
    lent = payer.calls[0][2]["fhirAuthorization"]["access_token"]
    assert "(masked)" in page
    assert lent not in page
    assert payer.calls[0][1]["Authorization"].removeprefix("Bearer ") not in page


def test_signing_twice_replaces_and_starting_over_restores(ehr, payer):
    _sign(ehr)
    first = _orders(ehr)[0]["id"]
    _sign(ehr, replaces=first)
    assert sorted(order["status"] for order in _orders(ehr)) == ["active", "completed"]
    ehr.test_client().post("/patients/trial-ready/start-over")
    assert _orders(ehr) == []


def test_a_sample_order_that_was_replaced_comes_back_when_starting_over(ehr, payer):
    store, running = ehr.extensions["store"], "refill-1"
    _sign(ehr, "refill", replaces=running)
    assert store.read("MedicationRequest", running)["status"] == "completed"
    ehr.test_client().post("/patients/refill/start-over")
    assert store.read("MedicationRequest", running)["status"] == "active"


def test_what_was_signed_and_replaced_outlives_a_restart(ehr, payer, tmp_path, clock, new_id):
    _sign(ehr, "refill", replaces="refill-1")
    again = create_app(Settings(tmp_path, "http://ehr.test", payer.url, payer.url), clock, new_id)
    assert again.extensions["store"].read("MedicationRequest", "refill-1")["status"] == "completed"
    assert len(_orders(again, "refill")) == 1


def test_order_select_is_quiet(ehr, payer):
    payer.answer = (200, {"cards": [_warning()]})
    fields = {"drug": "morphine-oral", "delivery": "dose", "dose": "1", "times": "1", "dose_unit": "mg",
              "rate_unit": "mL/d", "bolus_unit": "mg", "prefetch": "full"}  # fmt: skip
    answer = ehr.test_client().post("/patients/trial-ready/select", data=fields).json
    assert answer["status"] == 200
    path, _, body = payer.calls[0]
    assert (path, body["hook"]) == ("/cds-services/order-select", "order-select")
    assert body["context"]["selections"] == [
        f"MedicationRequest/{body['context']['draftOrders']['entry'][0]['resource']['id']}"
    ]
    assert _orders(ehr) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Host": "evil.example.org"},  # a name that was pointed at this machine
        {"Host": "evil.example.org", "Origin": "http://evil.example.org"},
    ],
)
def test_another_sites_page_cannot_sign(ehr, headers):
    assert ehr.test_client().post("/patients/trial-ready/orders", headers=headers).status_code == 403


def test_a_form_that_cannot_be_signed_comes_back_with_its_values(ehr, payer):
    page = _sign(ehr, rate="quick")
    assert (page.status_code, "cannot be signed yet" in page.text, 'value="quick"' in page.text) == (422, True, True)
    assert payer.calls == []


def test_pages_forbid_foreign_scripts_and_frames(ehr):
    headers = ehr.test_client().get("/").headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]

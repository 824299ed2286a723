"""Launches: from a card, from a signed order, from a saved form; in the EHR's frame and in a window of its own."""

from __future__ import annotations

import html
import json
import re
import uuid
from datetime import UTC, datetime

import pytest
from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Response

from sandbox_ehr.app import Settings, create_app
from sandbox_ehr.smart.apps import App
from tests.support.smart_client import query_of

BASE = "http://ehr.test"
APP = "https://app.example.org"
LAUNCH = f"{APP}/launch?tenant=1"
CONTEXT = '{"context":"5f2c","questionnaire":["https://cds.example.org/q|1"]}'
PATIENT = "trial-facts-missing"


def card(*links: dict, indicator: str = "info") -> dict:
    return {
        "uuid": str(uuid.uuid4()), "summary": "Prior authorization: 4 answers needed", "indicator": indicator,
        "source": {"label": "Payer"}, "links": list(links),
    }  # fmt: skip


def smart(url: str = LAUNCH, **more: str) -> dict:
    return {"label": "Answer the open questions", "url": url, "type": "smart", **more}


class Ehr:
    """A sandbox whose payer answers with the cards that a test wants."""

    def __init__(self, tmp_path, httpserver: HTTPServer) -> None:
        self.cards: list[dict] = []
        services = {"services": [{"hook": "order-sign", "id": "order-sign", "description": "d"}]}

        def payer(request):
            body = services if request.method == "GET" else {"cards": self.cards}
            self.asked = request.get_json() if request.method == "POST" else None
            return Response(json.dumps(body), content_type="application/json")

        httpserver.expect_request(re.compile("/cds-services.*")).respond_with_handler(payer)
        url = httpserver.url_for("").rstrip("/")
        app = App(
            client_id="coverage", name="Coverage app", launch_url=LAUNCH, redirect_uris=(f"{APP}/callback",),
            jwks={"keys": []},
        )  # fmt: skip
        settings = Settings(var=tmp_path, base_url=BASE, cds_url=url, cds_base=url, apps=(app,))
        self.app = create_app(settings, lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
        self.browser = self.app.test_client()

    def sign(self, *cards: dict) -> str:
        """Sign the example order; the path of the order page."""
        self.cards = list(cards)
        answer = self.browser.post(f"/patients/{PATIENT}/orders", data=self.fields())
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def fields(self) -> dict[str, str]:
        return {
            "drug": "morphine", "route": "intrathecal", "delivery": "rate", "rate": "0.5", "rate_unit": "mL/d",
            "ingredient": "morphine", "amount": "2", "amount_unit": "mg/mL", "dose_unit": "mg", "bolus_unit": "mg",
            "prefetch": "none",
        }  # fmt: skip

    def launched(self, address: str):
        """What the handle in a launch address stands for."""
        assert address.startswith(f"{LAUNCH}&")
        query = query_of(address)
        assert query["iss"] == f"{BASE}/fhir"
        smart_server = self.app.extensions["smart"]
        return smart_server.launches.redeem(smart_server.apps.get("coverage"), query["launch"])


@pytest.fixture
def ehr(tmp_path, httpserver):
    return Ehr(tmp_path, httpserver)


def links_to_frame(page: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r'href="(/patients/[^"]+/app\?[^"]+)"', page)]


def frame(page: str) -> tuple[str, str]:
    (found,) = re.findall(r'<iframe[^>]* src="([^"]+)" sandbox="([^"]+)"', page)
    return html.unescape(found[0]), found[1]


def test_AP02_a_cards_link_starts_the_app_with_its_context(ehr):
    order = ehr.sign(card(smart(appContext=CONTEXT)))
    (link,) = [one for one in links_to_frame(ehr.browser.get(order).text) if "exchange=" in one]
    answer = ehr.browser.get(link)
    address, sandbox = frame(answer.text)
    launch = ehr.launched(address)
    assert (launch.app_context, launch.patient, launch.user) == (CONTEXT, PATIENT, "dr-sample")
    assert (launch.encounter, launch.banner) == (f"{PATIENT}-1", False)
    references = [one["reference"] for one in launch.fhir_context]
    assert references[0] == f"Coverage/{PATIENT}-1"
    signed = ehr.app.extensions["store"].read(*references[1].split("/"))
    assert signed["status"] == "active"
    # The order finds back from the draft that the payer was told of.
    drafts = ehr.asked["context"]["draftOrders"]["entry"]
    assert signed["identifier"] == [{"system": "urn:sandbox-ehr:draft", "value": drafts[0]["resource"]["id"]}]
    assert set(sandbox.split()) >= {"allow-scripts", "allow-same-origin", "allow-forms", "allow-popups"}
    assert "allow-top-navigation" not in sandbox
    assert f"frame-src 'self' {APP};" in answer.headers["Content-Security-Policy"]


def test_in_its_own_window_the_app_shows_the_patient(ehr):
    exchange = ehr.sign(card(smart(appContext=CONTEXT))).rpartition("/")[2]
    answer = ehr.browser.post(f"/patients/{PATIENT}/app", data={"exchange": exchange, "link": "0"})
    assert answer.status_code == 303
    launch = ehr.launched(answer.headers["Location"])
    assert (launch.banner, launch.app_context) == (True, CONTEXT)


def test_an_order_that_waits_has_no_address_yet(ehr):
    order = ehr.sign(card(smart(appContext=CONTEXT), indicator="warning"))
    (link,) = [one for one in links_to_frame(ehr.browser.get(order).text) if "exchange=" in one]
    launch = ehr.launched(frame(ehr.browser.get(link).text)[0])
    assert [one["reference"] for one in launch.fhir_context] == [f"Coverage/{PATIENT}-1"]
    assert launch.app_context == CONTEXT


@pytest.mark.parametrize(
    "link",
    [
        smart("https://evil.example.org/launch"),
        smart(f"{APP}/launch"),  # the registered app, but not its launch URL
        smart(f"{LAUNCH}&next=https://evil.example.org"),
        smart("javascript:alert(1)"),
        {**smart(), "type": "absolute"},  # a page, not a launch
    ],
)
def test_only_the_registered_launch_url_is_launched(ehr, link):
    order = ehr.sign(card(link))
    assert [one for one in links_to_frame(ehr.browser.get(order).text) if "exchange=" in one] == []
    exchange = order.rpartition("/")[2]
    assert ehr.browser.get(f"/patients/{PATIENT}/app?exchange={exchange}&link=0").status_code == 404


def test_links_are_counted_over_all_cards(ehr):
    other = "https://evil.example.org/launch"
    order = ehr.sign(card(smart(other), smart(appContext="first")), card(smart(appContext="second")))
    found = [one for one in links_to_frame(ehr.browser.get(order).text) if "exchange=" in one]
    contexts = [ehr.launched(frame(ehr.browser.get(one).text)[0]).app_context for one in found]
    assert contexts == ["first", "second"]


def test_from_the_chart_the_app_starts_with_an_order_and_no_app_context(ehr):
    ehr.sign()
    links = links_to_frame(ehr.browser.get(f"/patients/{PATIENT}").text)
    (link,) = [one for one in links if "order=" in one]
    launch = ehr.launched(frame(ehr.browser.get(link).text)[0])
    kinds = [one["reference"].partition("/")[0] for one in launch.fhir_context]
    assert (kinds, launch.app_context) == (["Coverage", "MedicationRequest"], None)


def test_a_saved_draft_is_carried_on(ehr):
    form = {
        "resourceType": "QuestionnaireResponse", "id": "draft-form", "status": "in-progress",
        "subject": {"reference": f"Patient/{PATIENT}"}, "questionnaire": "https://cds.example.org/q|1",
        "author": {"display": "Robin Example, RN"}, "authored": "2026-11-01",
        "item": [{"linkId": "a", "text": "<b>Weeks</b>", "answer": [{"valueDecimal": 6}]}],
    }  # fmt: skip
    ehr.app.extensions["store"].create(form)
    page = ehr.browser.get(f"/patients/{PATIENT}").text
    assert "1 answer, in progress" in page
    assert "by Robin Example, RN, 1 Nov 2026, version 1" in page
    (link,) = [one for one in links_to_frame(page) if "response=" in one]
    launch = ehr.launched(frame(ehr.browser.get(link).text)[0])
    assert {"reference": "QuestionnaireResponse/draft-form"} in launch.fhir_context
    shown = ehr.browser.get(f"/patients/{PATIENT}/forms/draft-form").text
    assert "&lt;b&gt;Weeks&lt;/b&gt;" in shown
    assert ehr.browser.get("/patients/refill/forms/draft-form").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "client=nobody",
        "client=coverage&order=no-such",
        "client=coverage&order=refill-1",  # another patient's
        "client=coverage&response=trial-ready-1",
        "exchange=no-such",
        "",
    ],
)
def test_a_launch_of_something_else_is_not_found(ehr, query):
    assert ehr.browser.get(f"/patients/{PATIENT}/app?{query}").status_code == 404


class TestActing:
    """Who is at the keyboard signs, launches, and is named to payer and app."""

    def change(self, ehr, who: str, back: str = "/"):
        return ehr.browser.post("/acting", data={"who": who, "back": back})

    def test_a_nurse_is_who_the_app_sees_and_signs_nothing(self, ehr):
        order = ehr.sign(card(smart(appContext=CONTEXT)))
        self.change(ehr, "nurse-sample")
        (link,) = [one for one in links_to_frame(ehr.browser.get(order).text) if "exchange=" in one]
        assert ehr.launched(frame(ehr.browser.get(link).text)[0]).user == "nurse-sample"
        page = ehr.browser.get(f"/patients/{PATIENT}").text
        assert "data-sign>" not in page
        for path in (f"/patients/{PATIENT}/orders", f"{order}/again"):
            assert ehr.browser.post(path, data=ehr.fields()).status_code == 422
        self.change(ehr, "dr-sample")
        assert ehr.browser.post(f"{order}/again").status_code == 303

    def test_a_held_order_is_not_let_go_by_a_nurse(self, ehr):
        order = ehr.sign(held := card(indicator="warning"))
        self.change(ehr, "nurse-sample")
        assert ehr.browser.post(f"{order}/words", data={"card": held["uuid"]}).status_code == 422
        self.change(ehr, "dr-sample")
        assert ehr.browser.post(f"{order}/words", data={"card": held["uuid"]}).status_code == 303

    @pytest.mark.parametrize("back", ["https://evil.example.org", "//evil.example.org", "/\\evil.example.org", "x"])
    def test_the_way_back_stays_here(self, ehr, back):
        assert self.change(ehr, "nurse-sample", back).headers["Location"] == "/"

    def test_strangers_do_not_sit_down(self, ehr):
        assert self.change(ehr, "somebody").status_code == 400
        ehr.browser.set_cookie("sandbox_acting", "somebody")
        assert "data-sign>" in ehr.browser.get(f"/patients/{PATIENT}").text  # the prescriber, as ever


def test_signing_again_replaces_what_was_signed(ehr):
    order = ehr.sign(card())
    again = ehr.browser.post(f"{order}/again").headers["Location"]
    assert again != order
    held = ehr.app.extensions["store"].of_patient(PATIENT, "MedicationRequest")
    made = [one for one in held if "identifier" in one]
    assert sorted(one["status"] for one in made) == ["active", "completed"]
    (active,) = [one for one in made if one["status"] == "active"]
    (replaced,) = [one for one in made if one["status"] == "completed"]
    assert active["priorPrescription"]["reference"] == f"MedicationRequest/{replaced['id']}"

"""The review desk in a real browser, in front of a real server that got its requests by ``$submit``."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from scripts.demo_parts import Program, start
from tests.browser.conftest import free_ports, run, wait_until_ready, watched
from tests.browser.test_every_page import checked
from tests.support import pas_bundles
from tests.support.hook_tokens import ec, public, sign
from tests.support.review_desk import UNSETTLED, history

pytestmark = pytest.mark.browser

CLIENT = "review-tests"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEPT = """() => fetch('/review/sign-out', {method: 'POST', body: 'form_token=', headers: {
  'Content-Type': 'application/x-www-form-urlencoded'}}).then(answer => answer.status)"""


class Payer:
    """The service as a process of its own, and a provider's system that sends it requests."""

    def __init__(self, url: str, environment: dict[str, str]) -> None:
        self.url = url
        self.environment = environment

    def submit(self, number: int, **changes: Any) -> str:
        """A request that waits for a person; its tracking number."""
        day = datetime.now(UTC).date().isoformat()
        usual: dict[str, Any] = {"values": UNSETTLED, "more": history(), "authored": day}
        bundle = pas_bundles.request(number=number, **{**usual, **changes})
        answer = requests.post(
            f"{self.url}/pas/2.2/Claim/$submit",
            data=pas_bundles.encoded(bundle),
            headers={"Authorization": f"Bearer {self._token()}", "Content-Type": "application/fhir+json"},
            timeout=20,
        )
        assert answer.status_code == 200, answer.text
        return re.search(r"-([0-9A-Z]{10})-1\b", answer.text)[1]  # type: ignore[index]

    def _token(self) -> str:
        now = int(time.time())
        claims = {"iss": CLIENT, "sub": CLIENT, "aud": f"{self.url}/oauth/token", "iat": now, "exp": now + 200}
        assertion = sign(
            ec("review"), {**claims, "jti": str(uuid.uuid4())}, {"alg": "ES384", "kid": "k1", "typ": "JWT"}
        )
        form = {"grant_type": "client_credentials", "scope": "system/Claim.cu", "client_assertion_type": ASSERTION}
        answer = requests.post(f"{self.url}/oauth/token", data={**form, "client_assertion": assertion}, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]


@pytest.fixture(scope="module")
def payer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Payer]:
    var = tmp_path_factory.mktemp("payer")
    port = free_ports(1)[0]
    clients = var / "backend_clients"
    clients.mkdir()
    client = {
        "id": CLIENT,
        "name": "Review tests",
        "jwks": {"keys": [public(ec("review"), "k1")]},
        "scopes": ["system/Claim.cu"],
        "organizations": ["http://hl7.org/fhir/sid/us-npi|1000000004"],
    }
    (clients / f"{CLIENT}.yaml").write_text(json.dumps(client), "utf-8")  # JSON is YAML
    environment = os.environ | {
        "CDS_PORT": str(port),
        "CDS_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CDS_CLIENTS_DIR": str(var / "clients"),
        "CDS_BACKEND_CLIENTS_DIR": str(clients),
        "CDS_DATABASE_URL": f"sqlite:///{var / 'cds.sqlite3'}",
        "CDS_KEY_FILE": str(var / "patient.key"),
        "CDS_TOKEN_KEY_FILE": str(var / "token.key"),
        "CDS_INSECURE_DEV": "on",
    }
    (var / "clients").mkdir()
    run(("cds-service", "db", "upgrade"), environment)
    url = f"http://127.0.0.1:{port}"
    command = ("cds-service", "serve", "--insecure-dev", "--workers", "1")
    log = var / "service.log"
    process = start(Program("service", command, f"{url}/readyz"), environment, log)
    try:
        wait_until_ready(f"{url}/readyz", process, log)
        yield Payer(url, environment)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def desk(chromium: Browser, payer: Payer) -> Iterator[Page]:
    """A fresh profile; a script error or a refused resource fails the test (409, 422: told on the page)."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, base_url=payer.url)
    context.set_default_timeout(20_000)
    trouble = watched(context)
    yield context.new_page()
    context.close()
    assert [text for text in trouble if not re.search("409|422|403", text)] == []


def sign_in(page: Page, name: str) -> None:
    page.goto("/review")
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.wait_for_load_state()  # its script listens by then


def open_case(page: Page, tracking: str) -> None:
    page.goto("/review")
    page.get_by_role("link", name=tracking).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(tracking))


def test_the_queue_is_worked_by_keyboard(desk: Page, payer: Payer) -> None:
    for number in (101, 102, 103):
        payer.submit(number)
    sign_in(desk, "Robin Hale")
    rows = desk.locator("[data-row]")
    desk.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    desk.keyboard.press("j")
    expect(rows.nth(1)).to_be_focused()
    desk.keyboard.press("k")
    expect(rows.nth(0)).to_be_focused()
    desk.keyboard.press("t")
    expect(desk.get_by_role("button", name="Release").first).to_be_visible()
    desk.wait_for_load_state()
    desk.keyboard.press("/")
    expect(desk.get_by_label("State")).to_be_focused()
    desk.keyboard.press("j")  # in a field a letter is a letter
    desk.locator("h1").click()
    desk.keyboard.press("j")
    first = rows.nth(0).get_by_role("link").inner_text()
    desk.keyboard.press("Enter")
    expect(desk.get_by_role("heading", level=1)).to_have_text(f"Case {first}")


def test_a_case_is_read_modified_looked_at_and_sent(desk: Page, payer: Payer) -> None:
    tracking = payer.submit(111)
    sign_in(desk, "Ada Quill")
    open_case(desk, tracking)
    expect(desk.get_by_role("img", name="Dose against the guideline's table")).to_be_visible()
    expect(desk.get_by_role("img", name="Therapies over time")).to_be_visible()
    expect(desk.get_by_role("img", name="Pain before and after")).to_be_visible()
    expect(desk.get_by_label("Morphine, mg per day")).to_be_hidden()
    desk.get_by_label("Approve with a change").check()
    desk.get_by_label("Morphine, mg per day").fill("4")
    desk.get_by_label("Reason, for the provider and the member").fill(
        "The prescriber agreed to a lower dose by telephone."
    )
    desk.get_by_label("Or provision, or agreement").fill("prescriber agreement")
    desk.get_by_role("button", name="Show the answer").click()
    expect(desk.get_by_role("heading", level=1)).to_have_text("Before it is sent")
    expect(desk.get_by_text("approved with a change")).to_be_visible()
    desk.get_by_text("The ClaimResponse as JSON").click()
    assert json.loads(desk.locator("pre.json").inner_text())["entry"][0]["resource"]["resourceType"] == "ClaimResponse"
    desk.get_by_role("button", name="Sign and send").click()
    expect(desk.locator(".case-head")).to_contain_text("decided")
    desk.get_by_role("link", name="Decision letter").click()
    expect(desk.get_by_role("article")).to_contain_text("morphine up to 4 mg per day")
    expect(desk.get_by_role("article")).to_contain_text("You may appeal")


def test_two_reviewers_at_once_one_is_told(desk: Page, payer: Payer, chromium: Browser) -> None:
    tracking = payer.submit(121)
    sign_in(desk, "Ada Quill")
    open_case(desk, tracking)
    other = chromium.new_context(base_url=payer.url).new_page()
    sign_in(other, "Robin Hale")
    open_case(other, tracking)
    for page in (desk, other):
        page.get_by_label("Approve as asked for").check()
        page.get_by_role("button", name="Show the answer").click()
    for page in (other, desk):
        page.get_by_role("button", name="Send this answer").click()
    expect(other.locator(".case-head")).to_contain_text("decided")
    expect(desk.get_by_role("heading", level=1)).to_have_text("The case has moved on")
    expect(desk.get_by_text("Robin Hale")).to_be_visible()
    other.context.close()


def test_without_scripts_a_nurse_asks_for_more(chromium: Browser, payer: Payer) -> None:
    tracking = payer.submit(131)
    context = chromium.new_context(base_url=payer.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, "Robin Hale")
    open_case(page, tracking)
    page.get_by_text("Ask the provider for more").click()
    expect(page.get_by_label("Is the life expectancy at least 3 months?")).to_be_checked()
    page.get_by_role("button", name="Show the question as it would go out").click()
    page.get_by_role("button", name="Send this answer").click()
    expect(page.locator("#history ~ ol")).to_contain_text("more was asked for")
    context.close()


def test_bad_input_105_a_script_of_another_page_moves_nothing(desk: Page) -> None:
    sign_in(desk, "Pat Novak")
    assert desk.evaluate(KEPT) == 403
    desk.goto("/review/audit")
    expect(desk.get_by_role("button", name="Sign out")).to_be_visible()


def test_pages_of_the_queue_and_the_case(desk: Page, payer: Payer) -> None:
    tracking = payer.submit(141, order=pas_bundles.morphine("1.8"))
    desk.goto("/review/sign-in")
    checked(desk, "sign-in")
    sign_in(desk, "Ada Quill")
    checked(desk, "queue")
    open_case(desk, tracking)
    for summary in desk.locator("details:not([open]) > summary").all():
        if summary.is_visible():
            summary.click()
    desk.get_by_label("Approve with a change").check()
    checked(desk, "case with everything open")


def test_pages_of_a_decision(desk: Page, payer: Payer) -> None:
    tracking = payer.submit(142)
    sign_in(desk, "Ada Quill")
    open_case(desk, tracking)
    desk.get_by_label("Do not certify").check()
    desk.get_by_role("button", name="Show the answer").click()
    expect(desk.get_by_role("alert")).to_be_visible()
    checked(desk, "a form that is not complete")
    desk.get_by_label("Reason, for the provider and the member").fill(
        "No trial is documented; a note of it would help."
    )
    desk.locator("select[name=criterion-1]").select_option("I.2")
    desk.get_by_role("button", name="Show the answer").click()
    expect(desk.get_by_role("heading", level=1)).to_have_text("Before it is sent")
    checked(desk, "draft")
    desk.get_by_role("button", name="Sign and send").click()
    expect(desk.locator(".case-head")).to_contain_text("decided")
    desk.get_by_role("link", name="Decision letter").click()
    checked(desk, "letter")


def test_pages_of_figures_and_audit_log(desk: Page, payer: Payer) -> None:
    payer.submit(143, values=pas_bundles.COMPLETE)  # approved by the engine: there is something to draw
    sign_in(desk, "Pat Novak")
    desk.goto("/review/figures")
    expect(desk.get_by_role("img", name="Decided requests")).to_be_visible()
    checked(desk, "figures")
    desk.goto("/review/audit")
    desk.get_by_role("button", name="Verify every line").click()
    expect(desk.get_by_text("Intact.")).to_be_visible()
    checked(desk, "audit")
    desk.get_by_role("button", name="Sign out").click()
    checked(desk, "signed out")


def test_figures_and_audit_from_the_command_line(payer: Payer, tmp_path: Path) -> None:
    payer.submit(151)
    year = str(datetime.now(UTC).year)
    document = json.loads(run(("cds-service", "figures", "--year", year, "--format", "json"), payer.environment))
    assert document["year"] == int(year)
    assert run(("cds-service", "figures", "--year", year), payer.environment).startswith("year,program,drugs,urgency,")
    heads = tmp_path / "heads"
    heads.write_text(run(("cds-service", "audit", "heads"), payer.environment), "utf-8")
    payer.submit(152)
    said = run(("cds-service", "audit", "verify", "--heads", str(heads)), payer.environment)
    assert re.fullmatch(r"\d+ lines are as they were written\n", said)

"""From the order to the payer's decision in a real browser: approved, pended and approved, modified, not certified.

Each ends with the payer's own systems holding the ClaimResponse once.
"""

from __future__ import annotations

import re
import time

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.app_pages import answer, open_in_window, sign_form, sign_order, start_over

pytestmark = pytest.mark.browser


def open_request(page: Page) -> Page:
    """Follow the card's link to the app's request page, in a window of its own."""
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="in its own window").first.click()
    expect(opened.value.get_by_role("heading", name="Request prior authorization")).to_be_visible()
    return opened.value


def submit(app: Page) -> None:
    """Send the request for a drug that the clinic supplies; a code that nobody named is entered."""
    app.get_by_label(re.compile("The clinic supplies it")).check()
    for code in app.get_by_label("Billing code (HCPCS, CPT or NDC)").all():
        code.fill("J3490")
    app.get_by_role("button", name="Submit").click()
    expect(app.get_by_role("heading", name="Prior authorization", exact=True)).to_be_visible()


def explain(app: Page, words: str) -> None:
    """The explanation is optional: it stands below what is folded away."""
    field = app.get_by_label("Explanation")
    if not field.is_visible():
        app.locator("details.more > summary").last.click()
    field.fill(words)
    field.blur()


def expect_standing(app: Page, words: str) -> None:
    """The page says so, of itself: nothing is reloaded here."""
    expect(app.locator("#standing-title")).to_have_text(words)


def reference(app: Page) -> str:
    """How the payer knows the request."""
    line = app.locator("dt", has_text="Known to the payer as").first.locator("xpath=following-sibling::dd")
    return re.sub(r"^P-|-\d+$", "", line.inner_text().strip())


def open_case(app: Page, cds: str, case: str, person: str) -> Page:
    """Sign in to the review desk as one of the demonstration's people and open the case."""
    desk = app.context.new_page()
    desk.goto(f"{cds}/review")
    desk.get_by_role("button", name=re.compile(person)).click()
    desk.get_by_role("link", name=re.compile(case)).click()
    expect(desk.get_by_role("heading", name=re.compile(case))).to_be_visible()
    return desk


def send_decision(desk: Page) -> None:
    """Look at the answer as it would go out, then send it."""
    desk.get_by_role("button", name="Show the answer").click()
    desk.get_by_role("button", name=re.compile("[Ss]end")).click()
    desk.wait_for_load_state()


def received(ehr: str, number: str) -> list[tuple[str, int]]:
    """What the payer's systems hold with this number: state of each row, and how often it was kept."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        page = requests.get(f"{ehr}/payer", timeout=5).text
        rows = [row for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL) if number in row]
        if rows:
            found = [re.search(r"version (\d+)", row) for row in rows]
            return [(number, int(each[1])) for each in found if each]
        time.sleep(0.1)
    return []


def rows_at_the_payer(ehr: str) -> int:
    """How many ClaimResponses the payer's systems hold; a repeat makes none more."""
    return len(re.findall(r"<td>version 1</td>", requests.get(f"{ehr}/payer", timeout=5).text))


def more_rows(ehr: str, before: int, wanted: int) -> int:
    """Wait for so many more, and a moment longer for any that should not come."""
    until = time.monotonic() + 60
    while time.monotonic() < until and rows_at_the_payer(ehr) < before + wanted:
        time.sleep(0.1)
    time.sleep(0.5)
    return rows_at_the_payer(ehr) - before


def number_of(app: Page) -> str:
    """The authorization number on the decision page."""
    return app.locator("dt", has_text="Authorization").first.locator("xpath=following-sibling::dd").inner_text().strip()


def test_a_request_that_meets_everything_is_approved_at_once_and_answers_the_next_order(page: Page, demo) -> None:
    sign_order(page, "trial-ready")
    expect(page.locator("main")).to_contain_text("ready to submit")
    app = open_request(page)
    submit(app)
    expect_standing(app, "Approved")
    number = number_of(app)
    assert received(demo.ehr, number) == [(number, 1)]
    page.get_by_role("button", name="Sign again").click()
    expect(page.locator("main")).to_contain_text(number)  # satisfied, with the number


def test_a_request_that_a_person_approves_shows_it_without_reloading(page: Page, demo) -> None:
    sign_order(page, "refill")
    app = open_request(page)
    submit(app)
    expect_standing(app, "Being reviewed")
    expect(app.locator("main")).to_contain_text("A decision is due by")
    case = reference(app)
    desk = open_case(app, demo.cds, case, "Ada Quill")
    for line in desk.get_by_role("radio", name="Approve as asked for").all():
        line.check()
    send_decision(desk)
    app.evaluate("window.neverReloaded = true")
    expect_standing(app, "Approved")
    assert app.evaluate("window.neverReloaded")
    app.get_by_text("What was sent, and when").click()
    expect(app.get_by_text("Saved in the EHR as ClaimResponse/")).to_be_visible()
    number = number_of(app)
    assert received(demo.ehr, number) == [(number, 1)]


def test_a_dose_above_the_table_is_approved_with_a_change(page: Page, demo) -> None:
    start_over(page, "dose-above")
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_label("Dose verified").first.check()
    page.get_by_role("button", name="Sign with this reason").first.click()
    app = open_in_window(page)
    answer(app, {"Reason": "Verified chronic regimen"})
    explain(app, "Stable for two years on this dose.")
    sign_form(app)
    app.get_by_role("link", name="Submit").click()
    submit(app)
    expect_standing(app, "Being reviewed")
    desk = open_case(app, demo.cds, reference(app), "Ada Quill")
    desk.get_by_role("radio", name="Approve with a change").first.check()
    desk.get_by_label(re.compile("Morphine, mg per day")).fill("15")
    desk.get_by_label(re.compile("Reason, for the provider")).first.fill("Agreed with the prescriber on the telephone.")
    desk.get_by_label(re.compile("Or provision")).first.fill("prescriber agreement")
    taper = desk.get_by_label(re.compile("How the dose comes down")).first
    if taper.is_visible():
        taper.fill("The basal rate is lowered over two weeks.")
    for line in desk.get_by_role("radio", name="Approve as asked for").all()[1:]:
        line.check()
    send_decision(desk)
    expect_standing(app, "Decided line by line")  # the drug with a change, the pump as asked for
    expect(app.locator(".lines .modified")).to_have_text("Approved with a change")
    number = number_of(app)
    assert received(demo.ehr, number) == [(number, 1)]


def test_a_request_that_a_physician_does_not_certify_says_why(page: Page, demo) -> None:
    held = rows_at_the_payer(demo.ehr)
    sign_order(page, "trial-too-short")
    app = open_in_window(page)
    answer(app, {"Reason": "Other"})
    explain(app, "Four weeks were as long as the patient could bear.")
    sign_form(app)
    app.get_by_role("link", name="Submit").click()
    submit(app)
    expect_standing(app, "Being reviewed")
    desk = open_case(app, demo.cds, reference(app), "Lee Marsh")
    desk.get_by_role("radio", name="Do not certify").first.check()
    desk.get_by_label(re.compile("Reason, for the provider")).first.fill(
        "Four weeks of treatment are shown; six are asked for."
    )
    desk.get_by_label("Criterion").first.select_option("I.2")
    send_decision(desk)
    expect_standing(app, "Not approved")
    expect(app.locator("#standing")).to_contain_text("Four weeks of treatment are shown")
    assert more_rows(demo.ehr, held, 2) == 2  # that it waits, and the decision: each once


def test_what_a_reviewer_asks_for_is_answered_and_sent(page: Page, demo) -> None:
    sign_order(page, "mixture")
    app = open_request(page)
    submit(app)
    expect_standing(app, "Being reviewed")
    desk = open_case(app, demo.cds, reference(app), "Robin Hale")
    desk.get_by_text("Ask the provider for more").click()
    for box in desk.get_by_role("checkbox", checked=True).all():
        box.uncheck()
    desk.get_by_role("checkbox", name=re.compile("When did the trial begin|Date of the trial")).check()
    desk.get_by_role("button", name="Show the question as it would go out").click()
    desk.get_by_role("button", name=re.compile("[Ss]end")).click()
    expect(app.get_by_role("heading", name="The payer asks for more")).to_be_visible()
    request_page = app.url
    app.get_by_role("button", name="Answer these questions").click()
    expect(app.locator("#coverage-form")).to_be_visible()
    assert len(app.locator("main input[type=date]").all()) >= 1
    assert not app.get_by_role("group", name=re.compile("life expectancy")).count()  # just what was asked
    app.get_by_label(re.compile("When did the trial begin|Date of the trial")).first.fill("2026-01-15")
    app.get_by_role("button", name="Next questions").click()  # the payer says that these were all
    sign_form(app)
    app.goto(request_page)
    app.get_by_role("button", name="Send the answers").click()
    expect(app.locator("main")).to_contain_text("More answers sent", use_inner_text=False)
    desk.reload()
    expect(desk.get_by_role("heading", name=re.compile("Case"))).to_be_visible()
    expect(desk.locator("main")).to_contain_text("version 3")

"""How the browser tests use the app: opened from a card, filled in, signed; in the EHR's frame or its own window."""

from __future__ import annotations

import re
from collections.abc import Mapping

from playwright.sync_api import FrameLocator, Page, expect

Where = Page | FrameLocator

TRIAL = {
    "What is requested": "Preliminary trial",
    "severe, chronic and intractable": "Yes",
    "life expectancy": "Yes",
    "contraindications to an implanted device": "Yes",
}


def start_over(page: Page, patient: str) -> None:
    """The patient as on the first day, whatever other tests signed and saved."""
    page.goto(f"/patients/{patient}")
    again = page.get_by_role("button", name="Start over with this patient")
    if again.count():
        again.click()
    else:  # nothing was signed; forms may still have been saved
        origin = re.match(r"https?://[^/]+", page.url)[0]
        page.request.post(f"/patients/{patient}/start-over", headers={"Origin": origin})
        page.goto(f"/patients/{patient}")


def sign_order(page: Page, patient: str) -> None:
    """Sign the patient's example order."""
    start_over(page, patient)
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.locator("#outcome")).to_be_visible()


def open_in_frame(page: Page) -> FrameLocator:
    """Follow the card's link; the app appears inside the EHR."""
    page.get_by_role("link", name="Answer the open questions").first.click()
    return framed(page)


def framed(page: Page) -> FrameLocator:
    """The app in the EHR's frame, once it shows a form."""
    app = page.frame_locator("iframe.app")
    expect(app.locator("#coverage-form")).to_be_visible()
    return app


def open_in_window(page: Page) -> Page:
    """Follow the card's other link; the app appears in its own window."""
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="in its own window").first.click()
    expect(opened.value.locator("#coverage-form")).to_be_visible()
    return opened.value


def needed(app: Where) -> list[str]:
    """The questions that wait for an answer, as they are headed."""
    section = app.locator("section.part", has=app.locator("#needs-title"))
    return [text.strip() for text in section.locator("legend, .question > label").all_inner_texts()]


def left(app: Where, count: int) -> None:
    """So many required questions are open."""
    words = "Ready to sign" if count == 0 else f"{count} question{'' if count == 1 else 's'} left"
    expect(app.locator("#bar-state")).to_contain_text(words)


def answer(app: Where, answers: Mapping[str, str]) -> None:
    """Choose one option of each question that is named by some of its words."""
    open_questions = int(re.match(r"\d+", app.locator("#bar-state").inner_text())[0])
    for done, (question, option) in enumerate(answers.items(), 1):
        app.get_by_role("group", name=re.compile(question)).get_by_label(option, exact=True).check()
        left(app, open_questions - done)


def sign_form(app: Where) -> None:
    """Sign and save; the app says that it is in the chart."""
    app.get_by_role("button", name="Sign and save").click()
    expect(app.get_by_text("Signed and saved in the chart")).to_be_visible()

"""From the order to the settled criterion, in a real browser: inside the EHR, in a window of its own, with pauses."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.app_pages import (
    TRIAL,
    answer,
    framed,
    left,
    needed,
    open_in_frame,
    open_in_window,
    sign_form,
    sign_order,
    start_over,
)

pytestmark = pytest.mark.browser
PATIENT = "trial-facts-missing"
READY = "ready to submit"


def sign_again(page: Page) -> None:
    page.get_by_role("button", name="Sign again").click()
    expect(page.locator(".card h3")).to_have_text(re.compile(READY))


def quicker_than_the_network(app: Page, answers: dict[str, str]) -> None:
    """The answers are given while the first of them is still on its way; none may be lost when its page comes back."""
    waiting: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if waiting:
            route.continue_()
        else:
            waiting.append(route)

    app.route("**/form/*", hold_the_first)
    for question, option in answers.items():
        app.get_by_role("group", name=re.compile(question)).get_by_label(option, exact=True).check()
    waiting[0].continue_()
    left(app, len(TRIAL) - len(answers))
    app.unroute("**/form/*")


def saved_forms(page: Page, patient: str) -> list[str]:
    """What the chart's list says of saved forms, as "4 answers, completed by ...: version 1"."""
    page.goto(f"/patients/{patient}")
    return page.locator(".chart details", has_text="Coverage questionnaires").locator("li").all_inner_texts()


def test_order_card_form_answers_sign_saved_settled(page: Page) -> None:
    sign_order(page, PATIENT)
    order = page.url
    card = page.locator(".card")
    expect(card.locator("h3")).to_contain_text("4 answers needed")
    app = open_in_window(page)
    expect(app.locator(".patient, .banner, header")).to_contain_text(["Theodore Sample"])
    # What the chart shows is there already, with what it rests on.
    weeks = app.locator(".item", has_text="How many weeks did the trial").last
    expect(weeks.locator(".settled-answer")).to_contain_text("10")
    expect(weeks.locator(".evidence")).to_contain_text("Morphine, extended release")
    first, second, *others = TRIAL.items()
    quicker_than_the_network(app, dict([first, second]))
    answer(app, dict(others))
    sign_form(app)
    app.close()
    page.goto(order)
    sign_again(page)
    expect(page.get_by_role("region", name="Coverage information on this order")).to_contain_text(
        "Prior authorization needed"
    )
    forms = saved_forms(page, PATIENT)
    assert any("completed" in one and "Dr. Alex Sample" in one for one in forms), forms


def test_the_same_inside_the_ehr(page: Page) -> None:
    sign_order(page, PATIENT)
    app = open_in_frame(page)
    # The EHR's own banner says whose chart it is: the app does not say it twice (SM-40).
    expect(page.get_by_role("region", name="Patient")).to_contain_text("Theodore Sample")
    expect(app.get_by_text("Theodore Sample")).to_have_count(0)
    answer(app, TRIAL)
    sign_form(app)
    page.get_by_role("link", name="Back to the order").click()
    sign_again(page)


def test_a_draft_is_saved_and_carried_on(page: Page) -> None:
    sign_order(page, PATIENT)
    app = open_in_frame(page)
    answer(app, dict(list(TRIAL.items())[:2]))
    app.get_by_role("button", name="Save draft").click()
    expect(app.get_by_role("status").filter(has_text=re.compile("aved"))).to_be_visible()
    forms = saved_forms(page, PATIENT)
    assert any("in progress" in one for one in forms), forms
    page.get_by_role("link", name="Go on filling it in").click()
    app = framed(page)
    left(app, 2)
    expect(app.get_by_role("group", name=re.compile("What is requested")).get_by_label("Preliminary")).to_be_checked()
    answer(app, dict(list(TRIAL.items())[2:]))
    sign_form(app)
    # One form, two versions: no second draft was made.
    forms = [one for one in saved_forms(page, PATIENT) if "version 2" in one]
    assert len(forms) == 1
    assert "completed" in forms[0]


def test_a_nurse_fills_in_and_the_prescriber_signs(page: Page) -> None:
    sign_order(page, PATIENT)
    page.get_by_label("At the keyboard").select_option("nurse-sample")
    page.get_by_role("button", name="Change").click()
    app = open_in_frame(page)
    expect(app.get_by_role("button", name="Sign and save")).to_have_count(0)
    answer(app, TRIAL)
    app.get_by_role("button", name="Hand over").click()
    expect(app.get_by_text(re.compile("[Hh]anded over|hand it over|saved", re.IGNORECASE)).first).to_be_visible()
    forms = saved_forms(page, PATIENT)
    assert any("in progress" in one and "Robin Example" in one for one in forms), forms
    page.get_by_label("At the keyboard").select_option("dr-sample")
    page.get_by_role("button", name="Change").click()
    page.get_by_role("link", name="Go on filling it in").click()
    app = framed(page)
    left(app, 0)
    expect(app.get_by_text("Answered by Robin Example").first).to_be_visible()
    sign_form(app)


def press_until(page: Page, app: Page, selector: str, key: str = "Tab", most: int = 150) -> None:
    for _ in range(most):
        page.keyboard.press(key)
        if app.evaluate("selector => document.activeElement?.matches(selector) ?? false", selector):
            assert app.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    pytest.fail(f"{selector} is not reached by {key}")


def test_the_form_is_filled_in_and_signed_with_the_keyboard_alone(page: Page) -> None:
    sign_order(page, PATIENT)
    press_until(page, page, ".launch button")
    with page.context.expect_page() as opened:
        page.keyboard.press("Enter")
    app = opened.value
    expect(app.locator("#coverage-form")).to_be_visible()
    for open_questions in range(len(TRIAL), 0, -1):
        left(app, open_questions)
        press_until(app, app, "section:has(#needs-title) fieldset:not(:has(:checked)) input[type=radio]")
        app.keyboard.press("Space")
    left(app, 0)
    press_until(app, app, "button[value=sign]")
    app.keyboard.press("Enter")
    expect(app.get_by_text("Signed and saved in the chart")).to_be_visible()


def test_a_form_that_is_not_complete_names_what_is_missing(page: Page) -> None:
    sign_order(page, PATIENT)
    app = open_in_window(page)
    app.get_by_role("button", name="Sign and save").click()
    problems = app.locator("#problems")
    expect(problems).to_be_visible()
    expect(problems.get_by_role("link")).to_have_count(len(TRIAL))
    problems.get_by_role("link").first.click()
    assert app.evaluate("document.activeElement.closest('fieldset') !== null || location.hash !== ''")


def test_two_tabs_with_two_patients_do_not_mix(page: Page) -> None:
    sign_order(page, PATIENT)
    first = open_in_window(page)
    sign_order(page, "permanent-facts-missing")
    second = open_in_window(page)
    expect(first.get_by_text("Theodore Sample").first).to_be_visible()
    first.reload()
    expect(first.get_by_text("Theodore Sample").first).to_be_visible()
    expect(first.get_by_text("Casimir Sample")).to_have_count(0)
    expect(second.get_by_text("Casimir Sample").first).to_be_visible()


RATIONALE = {"Reason"}  # an order above the table is explained; that is no fact of the chart
# Every sample patient whose card offers the form: the most answers that are asked for.
MOST = {
    "trial-facts-missing": 5,
    "trial-conflict": 5,
    "permanent-facts-missing": 8,
    "plan-medicare": 8,
}


def test_answers_that_are_asked_for_are_few_and_none_that_the_chart_settles(page: Page) -> None:
    """As a person sees it, for a few; tests/dtr/test_burden.py counts the same for every sample patient."""
    counted = {}
    for patient in ("trial-facts-missing", "permanent-facts-missing", "trial-conflict", "plan-medicare"):
        sign_order(page, patient)
        if not page.get_by_role("link", name="Answer the open questions").count():
            continue
        promised = re.search(r"\d+ answers? needed", " ".join(page.locator(".card h3").all_inner_texts()))
        said = " ".join(page.locator(".card .markdown").all_text_contents())
        asked = needed(open_in_frame(page))
        counted[patient] = len(asked)
        if promised:  # the card lists what the chart leaves open: the form asks nothing beside it
            beside = [question for question in asked if question not in said and question not in RATIONALE]
            assert beside == [], patient
    assert counted.keys() <= MOST.keys(), counted
    assert {"trial-facts-missing", "permanent-facts-missing"} <= counted.keys()
    assert {patient: count for patient, count in counted.items() if count > MOST[patient]} == {}
    start_over(page, PATIENT)

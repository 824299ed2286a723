"""The sandbox by keyboard; mistakes that are named and reached."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def press_until(page: Page, selector: str, key: str = "Tab", most: int = 80) -> None:
    for _ in range(most):
        page.keyboard.press(key)
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"focus on {selector} cannot be seen"
            return
    pytest.fail(f"{selector} is not reached by {key}")


def test_an_order_is_signed_and_answered_with_the_keyboard_alone(page: Page) -> None:
    page.goto("/")
    press_until(page, ".skip")
    press_until(page, "a[href='/patients/trial-facts-missing']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Theodore Sample")).to_be_visible()
    press_until(page, "#rate")
    page.keyboard.type("0.3")
    press_until(page, "[data-sign]")
    page.keyboard.press("Enter")
    expect(page.locator("#outcome")).to_be_focused()
    press_until(page, ".card .detail summary")
    page.keyboard.press("Enter")
    expect(page.locator(".card .markdown")).to_be_visible()
    press_until(page, ".card .say button")
    page.keyboard.press("Enter")
    expect(page.locator(".card .word")).to_be_visible()


def test_delivery_is_chosen_with_arrow_keys(page: Page) -> None:
    page.goto("/patients/trial-ready")
    page.locator("#delivery-rate").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Hours a day")).to_be_visible()
    expect(page.locator("#rate")).to_be_hidden()


def test_a_mistake_is_named_and_reached(page: Page) -> None:
    page.goto("/patients/trial-ready")
    page.locator("#rate").fill("fast")
    with page.expect_response(lambda answer: answer.request.method == "POST" and answer.status == 422):
        page.get_by_role("button", name="Sign", exact=True).click()
    alert = page.get_by_role("alert")
    expect(alert).to_be_focused()
    alert.get_by_role("link", name="Rate: Write a number, such as 0.5.").click()
    assert page.locator("#rate").get_attribute("aria-invalid") == "true"
    expect(page.locator("#rate")).to_have_value("fast")

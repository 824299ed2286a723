"""Keyboard, narrow screens, zoom, names and contrast."""

from __future__ import annotations

from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

NARROW = {"width": 375, "height": 740}
ZOOMED = {"width": 640, "height": 450}  # 1280 at 200 %
WIDE = {"width": 1280, "height": 900}

NAMELESS = """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a, summary')]
  .filter(one => one.checkVisibility())
  .filter(one => !(one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim()))
  .map(one => one.outerHTML)"""

# Text against the first opaque background behind it (WCAG 2.2, 1.4.3): at least 4.5, or 3 for large text.
PALE = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = one => {
    for (let at = one; at; at = at.parentElement) {
      const color = parts(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')]
    .filter(one => one.checkVisibility() && [...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .filter(one => !one.closest('[aria-hidden=true], option, template, script, .skip'))
    .map(one => {
      const style = getComputedStyle(one);
      const [a, b] = [light(parts(style.color)), light(behind(one))].sort((x, y) => y - x);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      return [(a + 0.05) / (b + 0.05), large ? 3 : 4.5, one.outerHTML.slice(0, 120)];
    })
    .filter(([ratio, least]) => ratio < least);
}"""


def visit(page: Page, state: str) -> None:
    if state == "patients":
        page.goto("/")
        return
    patient, _, pressed = state.partition("+")
    page.goto(f"/patients/{patient}")
    if pressed:
        page.get_by_role("button", name="Sign", exact=True).click()
        expect(page.locator("#outcome")).to_be_visible()
    for summary in page.locator("details:not([open]) > summary").all():
        if summary.is_visible():
            summary.click()


STATES = ["patients", "mixture", "dose-above", "trial-facts-missing+signed", "concentration-above+held"]


@pytest.mark.parametrize("page", [NARROW, ZOOMED, WIDE], indirect=True, ids=["375px", "200%", "1280px"])
@pytest.mark.parametrize("state", STATES)
def test_no_sideways_scrolling(page: Page, state: str) -> None:
    visit(page, state)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    cut = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(one => one.checkVisibility()
        && !one.closest('.scroll, pre, option') && one.getBoundingClientRect().right > innerWidth + 1)
        .map(one => one.outerHTML.slice(0, 100))"""
    )
    assert cut == []


@pytest.mark.parametrize("state", STATES)
def test_everything_that_can_be_used_has_a_name(page: Page, state: str) -> None:
    visit(page, state)
    assert page.evaluate(NAMELESS) == []


@pytest.mark.parametrize("state", STATES)
def test_text_stands_out_from_its_background(page: Page, state: str) -> None:
    visit(page, state)
    assert page.evaluate(PALE) == []


@pytest.mark.parametrize("state", STATES)
def test_headings_go_down_one_level_at_a_time(page: Page, state: str) -> None:
    visit(page, state)
    levels = page.locator("main :is(h1, h2, h3, h4, h5, h6), .banner h1").evaluate_all(
        "all => all.filter(one => one.checkVisibility()).map(one => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels)), levels


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

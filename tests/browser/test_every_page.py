"""Every page of app and sandbox: axe without violations, and no sideways scrolling on a phone or at 200 % zoom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.app_pages import TRIAL, answer, open_in_frame, open_in_window, sign_form, sign_order, start_over

pytestmark = pytest.mark.browser

SIZES = {"375px": (375, 740), "200%": (640, 450), "1280px": (1280, 900)}  # 1280 at 200 % is 640 wide
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "iframes": False,
    "resultTypes": ["violations"],
}
# Wider than the window: what lies in a region that scrolls by itself is meant to.
SIDEWAYS = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const cut = [...document.querySelectorAll('main *')].filter(one => one.checkVisibility()
    && !one.closest('.scroll, pre, option, svg') && one.getBoundingClientRect().right > innerWidth + 1);
  return wide > 0 ? ['the page is ' + wide + ' px too wide', ...cut.map(one => one.outerHTML.slice(0, 120))] : [];
}"""

OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true; })"


def violations(page: Page) -> list[str]:
    """What axe says, one line each. Run by the debugger, so that the page's own policy stays as it is."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate(f"axe.run(document, {json.dumps(RULES)})")["violations"]
    return [f"{one['id']}: {node['target']} {node['html'][:150]}" for one in found for node in one["nodes"]]


Look = Callable[[Page, str], None]


def troubles(page: Page, name: str) -> list[str]:
    """All that is wrong with a page as it stands, at three sizes."""
    found: list[str] = []
    page.wait_for_load_state()  # a page without its styles yet is too wide
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        # axe costs a second each time: at full width everywhere, on a phone where the most is rearranged.
        looked_at = size == "1280px" or (size == "375px" and "form" in name)
        trouble = [*page.evaluate(SIDEWAYS), *(violations(page) if looked_at else ())]
        found.extend(f"{name}, {size}: {one}" for one in trouble)
    return found


def checked(page: Page, name: str) -> None:
    """Fail where anything is wrong with a page."""
    assert troubles(page, name) == []


@pytest.fixture
def look() -> Iterator[Look]:
    """Looks at pages; all that is wrong on all pages of a test is said at its end."""
    wrong: list[str] = []
    yield lambda page, name: wrong.extend(troubles(page, name))
    if wrong:
        pytest.fail("\n".join(wrong))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/patients/trial-facts-missing",
        "/patients/permanent-facts-missing?blank=1",
        "/patients/trial-ready/forms/trial-ready-1",
        "/payer",
    ],
)
def test_pages_of_the_sandbox(page: Page, look: Look, path: str) -> None:
    page.goto(path)
    look(page, path)


def visit(page: Page, state: str) -> None:
    """A patient's page as it is after ``+signed`` or ``+held``, with everything on it opened."""
    patient, _, pressed = state.partition("+")
    page.goto(f"/patients/{patient}")
    if pressed:
        page.get_by_role("button", name="Sign", exact=True).click()
        expect(page.locator("#outcome")).to_be_visible()
    page.evaluate(OPEN_ALL)


@pytest.mark.parametrize("state", ["mixture", "dose-above", "trial-facts-missing+signed", "concentration-above+held"])
def test_pages_of_the_sandbox_with_everything_open(page: Page, look: Look, state: str) -> None:
    visit(page, state)
    look(page, state)


def test_pages_of_the_sandbox_after_signing(page: Page, look: Look) -> None:
    sign_order(page, "dose-above")
    look(page, "an order that waits")
    sign_order(page, "trial-facts-missing")
    page.evaluate(OPEN_ALL)
    look(page, "an order with its card")
    open_in_frame(page)
    look(page, "the app in the EHR")


def test_pages_of_the_app(page: Page, look: Look) -> None:
    sign_order(page, "trial-facts-missing")
    app = open_in_window(page)
    form = app.url
    look(app, "form")
    app.evaluate(OPEN_ALL)
    look(app, "form with everything open")
    app.get_by_role("button", name="Sign and save").click()
    expect(app.locator("#problems")).to_be_visible()
    look(app, "form with problems")
    app.get_by_role("link", name="Try out another rate").first.click()
    look(app, "what-if")
    app.goto(form)
    app.locator(".evidence a").first.click()
    look(app, "evidence")
    app.goto(form)
    app.locator("header nav a").first.click()
    look(app, "about this session")
    app.goto(form)
    app.get_by_role("button", name="Save draft").click()
    expect(app.get_by_role("status").first).to_be_visible()
    look(app, "draft saved")


def test_pages_of_the_app_after_signing(page: Page, look: Look) -> None:
    sign_order(page, "trial-facts-missing")
    app = open_in_window(page)
    answer(app, TRIAL)
    sign_form(app)
    look(app, "signed")
    submit = app.get_by_role("link", name="Submit")
    expect(submit).to_be_visible()
    submit.click()
    app.wait_for_load_state()
    look(app, "before submitting")
    app.get_by_role("button", name="Sign out").click()
    app.wait_for_load_state()
    look(app, "signed out")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/launch", 400),
        ("/launch?iss=https://evil.example.org/fhir&launch=x", 400),
        ("/callback?state=x&code=y", 400),
        ("/l/none/form/1", 401),
        ("/nowhere", 404),
    ],
)
def test_pages_of_the_app_for_people_who_came_wrongly(
    chromium: Browser, demo, look: Look, path: str, status: int
) -> None:
    page = chromium.new_page()  # a refusal is an error on the browser's console: it is meant here
    answered = page.goto(f"{demo.app}{path}")
    assert answered.status == status
    look(page, path)
    page.close()


def test_sign_in_page_of_a_standalone_launch(page: Page, look: Look, demo) -> None:
    start_over(page, "trial-facts-missing")
    page.goto(f"{demo.app}/launch?iss={demo.ehr}/fhir")
    expect(page.get_by_role("heading", name="Sign in to open")).to_be_visible()
    look(page, "sign in")
    page.get_by_label("Patient").select_option("trial-facts-missing")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
    expect(page.get_by_text("Theodore Sample").first).to_be_visible()
    look(page, "opened on its own")

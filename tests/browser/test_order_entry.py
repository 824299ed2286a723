"""The whole way in a real browser: order, sign, card, details, feedback."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def open_patient(page: Page, patient: str) -> None:
    """The patient as on the first day, whatever other tests signed."""
    page.goto(f"/patients/{patient}")
    again = page.get_by_role("button", name="Start over with this patient")
    if again.count():
        again.click()


def sign(page: Page, patient: str) -> None:
    open_patient(page, patient)
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.locator("#outcome")).to_be_visible()


def test_order_sign_card_details_feedback(page: Page, demo) -> None:
    page.goto("/")
    page.get_by_role("link", name=re.compile("Theodore Sample")).click()
    expect(page.get_by_role("heading", name="Theodore Sample")).to_be_visible()
    # The prescriber writes the order by hand.
    page.get_by_role("link", name="Empty form").click()
    expect(page).to_have_url(re.compile("blank=1"))  # what is chosen before is chosen on the page that is left
    page.get_by_label("Drug", exact=True).first.select_option("hydromorphone")
    page.get_by_label("Concentration").fill("5")
    page.get_by_label("Rate", exact=True).first.fill("0.4")
    page.get_by_label("Indication").select_option(label="G89.22 Chronic post-thoracotomy pain")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("heading", name="Signed", exact=True)).to_be_focused()

    card = page.locator(".card")
    expect(card).to_have_count(1)
    expect(card.get_by_text("For your information")).to_be_visible()
    expect(card.get_by_role("heading", level=3)).to_contain_text("Prior authorization")

    details = card.locator(".markdown")
    expect(details).to_be_hidden()
    card.get_by_text("Details", exact=True).click()
    expect(details).to_be_visible()
    expect(details.get_by_role("table")).to_contain_text("I.1 Life expectancy")
    expect(details).to_contain_text("0.4 mL/d x 5 mg/mL = 2 mg/d")

    coverage = page.get_by_role("region", name="Coverage information on this order")
    expect(coverage).to_contain_text("Covered by the plan")
    expect(coverage).to_contain_text("Prior authorization needed")

    before = demo.cds_service("feedback", "report")
    card.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".card .word")).to_contain_text("The payer was told")
    assert demo.cds_service("feedback", "report") != before


def test_the_signed_order_is_in_the_chart_with_its_coverage_information(page: Page) -> None:
    sign(page, "trial-ready")
    history = page.locator(".chart")
    expect(history.get_by_text("morphine 2 mg/mL").first).to_be_visible()
    page.get_by_role("link", name="New order for this patient").click()
    # What runs now is what the next order replaces: signing twice is no doubled dose.
    expect(page.get_by_label("Replaces").locator("option:checked")).to_contain_text("morphine 2 mg/mL")


def test_a_suspected_unit_error_waits_for_a_word(page: Page) -> None:
    sign(page, "unit-error")
    expect(page.get_by_role("heading", name="Not signed yet")).to_be_focused()
    card = page.locator(".card.critical")
    expect(card.get_by_text("Stop and check")).to_be_visible()
    card.get_by_role("button", name="Sign with this reason").click()
    expect(card.locator(".error")).to_contain_text("Choose a reason")
    card.get_by_role("radio").first.check()
    card.get_by_label("Comment").fill("Seen by two")
    card.get_by_role("button", name="Sign with this reason").click()
    expect(page.get_by_role("heading", name="Signed", exact=True)).to_be_visible()
    expect(page.locator(".card.critical .word")).to_contain_text("Overridden")


def test_a_warned_order_can_be_changed_instead(page: Page) -> None:
    sign(page, "unit-error")
    page.get_by_role("link", name="Change the order").click()
    page.get_by_label("Unit", exact=True).and_(page.locator("#rate_unit")).select_option("ug/d")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("heading", name="Signed", exact=True)).to_be_visible()
    expect(page.locator(".card.critical")).to_have_count(0)


class Outcome(NamedTuple):
    """What a sample patient shows: headline and authorization on the order, words of the cards in order."""

    covered: str = ""
    authorization: str = ""
    cards: tuple[str, ...] = ()
    held: bool = False


COVERED, NEEDED = "Covered by the plan", "Prior authorization needed"
DEPENDS, OPEN = "Coverage depends on what is said below", "Prior authorization depends on what is said below"
ASKS = r"Prior authorization: \d+ answers? needed"
READY = "ready to submit"
SILENT = Outcome()
OUTCOMES = {
    "trial-ready": Outcome(COVERED, NEEDED, (READY,)),
    "trial-facts-missing": Outcome(COVERED, NEEDED, (ASKS,)),
    "trial-gaps": Outcome(COVERED, NEEDED, (ASKS,)),
    "trial-too-short": Outcome(COVERED, NEEDED, ("clinical rationale",)),
    "trial-conflict": Outcome(COVERED, NEEDED, (ASKS,)),
    "trial-stale": Outcome(COVERED, NEEDED, (ASKS,)),
    "epidural": Outcome(COVERED, NEEDED, (READY,)),
    "route-missing": Outcome(DEPENDS, OPEN, ("route",)),
    "permanent-ready": Outcome(COVERED, NEEDED, (READY,)),
    "permanent-facts-missing": Outcome(COVERED, NEEDED, (ASKS,)),
    "mixture": Outcome(COVERED, NEEDED, (READY,)),
    "refill": Outcome(COVERED, NEEDED, ("reviewer decides",)),
    "authorized": Outcome(COVERED, "Prior authorization already on file"),
    "request-pending": Outcome(COVERED, NEEDED, ("request",)),
    "dose-above": Outcome(COVERED, NEEDED, ("16 mg/d", "clinical rationale"), held=True),
    "concentration-above": Outcome(COVERED, NEEDED, ("1 mg/mL", "clinical rationale"), held=True),
    "unit-error": Outcome(COVERED, NEEDED, ("300 mg/d", ""), held=True),
    "plan-fep": Outcome(DEPENDS, OPEN, ("Federal Employee Program",)),
    "plan-sao": Outcome(DEPENDS, OPEN, ("State Account Organization",)),
    "plan-medicare": Outcome(DEPENDS, OPEN, ("NCD 280.14",)),
    "coverage-ended": Outcome("Not covered"),
    "other-payer": SILENT,
    "labour": SILENT,
    "oral-morphine": SILENT,
    "methotrexate": SILENT,
}


@pytest.mark.parametrize(("patient", "outcome"), OUTCOMES.items(), ids=OUTCOMES)
def test_each_sample_patient_shows_its_outcome(page: Page, patient: str, outcome: Outcome) -> None:
    sign(page, patient)
    expect(page.locator("#outcome")).to_have_text(re.compile("Not signed yet" if outcome.held else "Signed"))
    summaries = page.locator(".card h3").all_inner_texts()
    assert len(summaries) == len(outcome.cards), summaries
    for summary, words in zip(summaries, outcome.cards, strict=True):
        assert re.search(words, summary), summary
        assert len(summary) < 140
    headlines = page.locator(".coverage .headline").all_inner_texts()
    if outcome == SILENT:
        assert headlines == []
        expect(page.get_by_text("the payer has nothing to say about this order")).to_be_visible()
    else:
        assert headlines
        for headline in headlines:
            assert headline.splitlines() == [line for line in (outcome.covered, outcome.authorization) if line]


def test_every_sample_patient_has_a_row_in_the_table(page: Page) -> None:
    page.goto("/")
    links = page.locator(".people a").evaluate_all("all => all.map(one => one.getAttribute('href').split('/').pop())")
    assert sorted(links) == sorted(OUTCOMES)


@pytest.mark.parametrize("prefetch", ["partial", "none"])
def test_what_prefetch_does_not_hold_is_pulled_with_the_lent_token(page: Page, prefetch: str) -> None:
    open_patient(page, "permanent-ready")
    page.get_by_text("Developer options and FHIR draft").click()
    page.get_by_label("Prefetch").select_option(prefetch)
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.locator(".card h3")).to_have_text(re.compile(READY))


def test_crd_2_2_can_be_asked_for(page: Page) -> None:
    open_patient(page, "trial-facts-missing")
    page.get_by_text("Developer options and FHIR draft").click()
    page.get_by_label("CRD version").select_option("2.2")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("region", name="Coverage information on this order")).to_contain_text(NEEDED)


def test_developers_see_request_and_response_without_tokens(page: Page) -> None:
    sign(page, "trial-ready")
    page.get_by_text("For developers: request and response").click()
    request = page.get_by_label("Request", exact=True).inner_text()
    assert '"access_token": "(masked)"' in request
    assert "eyJ" not in page.content()
    assert '"systemActions"' in page.get_by_label("Response", exact=True).inner_text()


def test_choosing_a_drug_fires_order_select_and_stays_quiet(page: Page) -> None:
    open_patient(page, "trial-ready")
    with page.expect_response(re.compile("/select$")) as fired:
        page.get_by_label("Rate", exact=True).first.fill("0.6")
    assert fired.value.json()["status"] == 200
    expect(page.locator(".card")).to_have_count(0)


def test_the_drawer_shows_the_draft_as_it_is_typed(page: Page) -> None:
    open_patient(page, "dose-above")
    page.get_by_text("Developer options and FHIR draft").click()
    page.locator("#rate").fill("0.75")
    expect(page.locator("[data-json]")).to_contain_text('"value": 0.75')
    page.get_by_role("button", name="Add an ingredient").click()
    page.get_by_role("group", name="Ingredient", exact=True).nth(1).get_by_label("Drug").select_option("clonidine")
    expect(page.locator("[data-json]")).to_contain_text('"2599"')
    page.get_by_role("button", name="Remove this ingredient").nth(1).click()
    expect(page.locator("[data-json]")).not_to_contain_text('"2599"')

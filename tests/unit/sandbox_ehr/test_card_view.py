"""Cards: shown as the service meant them, and harmless whatever it sent."""

from __future__ import annotations

import re

import pytest

from sandbox_ehr.card_view import markdown, read_cards

CARD = {"uuid": "u", "summary": "S", "indicator": "info", "source": {"label": "Florida Blue"}}


def test_github_flavoured_markdown_is_rendered():
    html = markdown("| A | B |\n| --- | --- |\n| 1 | **2** |\n\n# Big")
    assert "<td><strong>2</strong></td>" in html
    assert 'role="region"' in html  # wide tables scroll inside themselves
    assert "<h4>Big</h4>" in html  # below the card's own heading


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "![x](http://tracker.invalid/x.png)",
        "<a href='#' onclick='alert(1)'>x</a>",
    ],
)
def test_nothing_active_survives(hostile):
    html = markdown(hostile)
    assert not {"<script", "<img", "<a href='#'"} & {
        part for part in ("<script", "<img", "<a href='#'") if part in html
    }
    assert 'href="javascript' not in html
    assert 'href="data' not in html


@pytest.mark.parametrize(
    ("text", "levels"), [("# A", ["h4"]), ("### A", ["h4"]), ("## A\n\n#### B\n\n## C", ["h4", "h5", "h4"])]
)
def test_headings_start_below_the_cards_own_and_skip_no_level(text, levels):
    assert re.findall(r"<(h\d)>", markdown(text)) == levels


def test_raw_html_is_shown_as_it_was_written():
    assert "&lt;b&gt;" in markdown("<b>x</b>")


def test_only_web_addresses_become_links():
    assert "href" not in markdown("[x](ftp://example.org/x)")


def test_links_open_outside_and_tell_nothing():
    assert 'rel="noopener noreferrer"' in markdown("[guideline](https://example.org/x)")


def test_most_urgent_first_and_broken_ones_left_out():
    cards = read_cards(
        {"cards": [CARD, {**CARD, "indicator": "critical"}, {**CARD, "indicator": "warning"}, {"summary": "?"}, 5]}
    )
    assert [card.indicator for card in cards] == ["critical", "warning", "info"]


@pytest.mark.parametrize("body", [None, [], {}, {"cards": None}, {"cards": {}}])
def test_no_cards_is_no_cards(body):
    assert read_cards(body) == ()


def test_links_with_other_schemes_are_left_out():
    links = [
        {"label": "bad", "url": "javascript:alert(1)", "type": "absolute"},
        {"label": "good", "url": "https://example.org", "type": "absolute"},
    ]
    (card,) = read_cards({"cards": [{**CARD, "links": links}]})
    assert [link.label for link in card.links] == ["good"]

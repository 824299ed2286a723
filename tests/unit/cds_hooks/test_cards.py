"""What every card has in common: identity, length, topics, options, the wire form."""

import json
import uuid

import msgspec
import pytest

from cds_service.cds_hooks.cards import (
    OVERRIDE_REASONS,
    Card,
    card_uuid,
    cut_summary,
    quiet_keys,
    render_card,
    shown_cards,
)
from cds_service.cds_hooks.options import DEFAULT_OPTIONS, Options
from tests.support.hook_calls import DRAFT, TEXTS

replace = msgspec.structs.replace
COVERAGE = Card(
    uuid=card_uuid([b"{}"], "coverage-ready", "Ready"),
    rule="coverage-ready",
    topic="coverage-info",
    indicator="info",
    summary="Ready",
    detail="Ready.",
    orders=(DRAFT,),
)
DOSE = replace(
    COVERAGE, rule="dose-exceeds", topic="off-guideline", indicator="warning", quiet_key="k", overridable=True
)
UNIT = replace(DOSE, rule="dose-unit-error", indicator="critical", quiet_key="")


def rendered(card, version="2.2", texts=TEXTS, app_context=None):
    return json.loads(msgspec.json.encode(render_card(card, texts, version, app_context)))


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_crd_046_047_049_160_a_card_on_the_wire(version):
    card = rendered(COVERAGE, version)
    assert uuid.UUID(card["uuid"])
    assert (card["summary"], card["indicator"], card["source"]["label"]) == ("Ready", "info", "Florida Blue")
    assert card["source"]["url"].startswith("https://")


@pytest.mark.parametrize(
    ("version", "system"),
    [
        ("2.0", "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"),
        ("2.2", "http://terminology.hl7.org/CodeSystem/cdshooks-card-type"),
    ],
)
@pytest.mark.parametrize(("card", "code"), [(COVERAGE, "coverage-info"), (DOSE, "off-guideline")])
def test_crd_125_126_127_topic_by_version(version, system, card, code):
    topic = rendered(card, version)["source"]["topic"]
    assert (topic["system"], topic["code"]) == (system, code)


def test_crd_050_052_168_169_no_card_ever_carries_a_suggestion():
    for card in (COVERAGE, DOSE, UNIT):
        assert not {"suggestions", "selectionBehavior"} & set(rendered(card))


def test_crd_057_override_reasons_on_the_dose_card_alone():
    reasons = rendered(DOSE)["overrideReasons"]
    assert [reason["code"] for reason in reasons] == [code for code, _ in OVERRIDE_REASONS]
    assert all(set(reason) == {"system", "code", "display"} and all(reason.values()) for reason in reasons)
    assert "overrideReasons" not in rendered(COVERAGE)


def test_crd_058_164_links_are_absolute_without_an_app():
    assert rendered(replace(COVERAGE, smart="Answer the open questions"))["links"] == [
        {"label": "Guideline 09-J1000-31", "url": "https://cds.example.org/policies/09-J1000-31", "type": "absolute"}
    ]


def test_crd_058_060_173_smart_link_with_an_opaque_context_that_may_be_dropped():
    texts = replace(TEXTS, smart_app_url="https://app.example.org/launch")
    link = rendered(replace(COVERAGE, smart="Answer the open questions"), texts=texts, app_context="7f3c")["links"][0]
    assert (link["type"], link["url"], link["appContext"]) == ("smart", "https://app.example.org/launch", "7f3c")
    assert "appContext" not in rendered(replace(COVERAGE, smart="Answer the open questions"), texts=texts)["links"][0]
    assert [each["type"] for each in rendered(COVERAGE, texts=texts)["links"]] == ["absolute"]
    assert all("appContext" not in each for each in rendered(COVERAGE, texts=texts, app_context="7f3c")["links"])


def test_crd_163_a_card_about_some_orders_says_which():
    extension = rendered(replace(COVERAGE, partial=True))["extension"]
    assert extension == {"davinci-crd.associated-resource": [{"reference": DRAFT}]}
    assert "extension" not in rendered(COVERAGE)


def test_crd_002_nothing_empty_and_nothing_null():
    def walk(value):
        assert value not in (None, "", [], {})
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    for card in (COVERAGE, DOSE, UNIT, replace(COVERAGE, partial=True)):
        walk(rendered(card))


@pytest.mark.parametrize("length", [1, 138, 139, 140, 141, 1_000])
def test_crd_046_t9_summary_stays_below_140_code_points(length):
    text = ("wörd " * 300)[:length].rstrip() or "w"
    cut = cut_summary(text)
    assert len(cut) < 140
    assert cut == text or cut.endswith("\N{HORIZONTAL ELLIPSIS}")
    assert len(cut_summary("\N{GRINNING FACE}" * length)) < 140
    ended = cut_summary(text, " (2 orders)")
    assert len(ended) < 140
    assert ended.endswith(" (2 orders)")


def test_a_repeat_of_a_draft_gets_the_same_uuid_and_another_verdict_another():
    assert card_uuid([b"a"], "rule", "summary") == card_uuid([b"a"], "rule", "summary")
    others = {card_uuid([b"b"], "rule", "summary"), card_uuid([b"a"], "r", "summary"), card_uuid([b"a"], "rule", "s")}
    assert len(others | {card_uuid([b"a"], "rule", "summary")}) == 4


def rules(options, cards=(COVERAGE, DOSE), acknowledged=frozenset()):
    return [card.rule for card in shown_cards(cards, options, acknowledged)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(DEFAULT_OPTIONS, ["dose-exceeds", "coverage-ready"], id="most urgent first"),
        pytest.param(Options(max_cards=1), ["dose-exceeds"], id="120 of two, the dose card stays"),
        pytest.param(Options(max_cards=0), [], id="120 no card wanted"),
        pytest.param(Options(coverage_info=False), ["dose-exceeds"], id="122 coverage off, the dose card stays"),
        pytest.param(Options(off_guideline=False), ["coverage-ready"], id="118 dose warning off"),
        pytest.param(Options(coverage_info=False, off_guideline=False), [], id="118 all off"),
    ],
)
def test_crd_118_120_122_options(options, expected):
    assert rules(options) == expected


def test_the_quiet_rule_silences_what_was_acknowledged_and_nothing_else():
    assert quiet_keys([COVERAGE, DOSE, UNIT]) == ("k",)
    assert rules(DEFAULT_OPTIONS, acknowledged=frozenset({"k"})) == ["coverage-ready"]
    assert rules(DEFAULT_OPTIONS, (COVERAGE, UNIT), frozenset({"k", "", "other"})) == [
        "dose-unit-error",
        "coverage-ready",
    ]

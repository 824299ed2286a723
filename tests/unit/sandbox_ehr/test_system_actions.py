"""System actions: coverage-information is taken over, anything else of the order is the prescriber's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_ehr.card_view import read_cards
from sandbox_ehr.coverage_words import URL, assertions
from sandbox_ehr.system_actions import apply

DRAFT = {
    "resourceType": "MedicationRequest",
    "id": "d1",
    "status": "draft",
    "extension": [{"url": "x", "valueCode": "y"}],
}
SAYS = {
    "url": URL,
    "extension": [
        {"url": "coverage", "valueReference": {"reference": "Coverage/c"}},
        {"url": "covered", "valueCode": "covered"},
        {"url": "pa-needed", "valueCode": "satisfied"},
        {"url": "satisfied-pa-id", "valueString": "A-1"},
        {"url": "reason", "valueCodeableConcept": {"text": "On file"}},
        {
            "url": "detail",
            "extension": [
                {"url": "code", "valueCodeableConcept": {"coding": [{"code": "allowed-period"}]}},
                {"url": "value", "valuePeriod": {"start": "2026-01-01", "end": "2026-12-31"}},
            ],
        },
        {"url": "date", "valueDate": "2026-03-02"},
    ],
}


def _update(**changes):
    resource = {**DRAFT, "extension": [*DRAFT["extension"], SAYS], **changes}
    return {"systemActions": [{"type": "update", "description": "Coverage", "resource": resource}]}


def test_coverage_information_is_applied():
    applied = apply((DRAFT,), _update())
    assert applied.drafts[0]["extension"] == [*DRAFT["extension"], SAYS]
    assert (applied.done, applied.refused) == (("Coverage",), ())


@pytest.mark.parametrize(
    "body",
    [
        _update(status="active"),
        _update(extension=[SAYS]),  # somebody else's extension is lost
        _update(id="d2"),
        {"systemActions": [{"type": "delete", "resourceId": "MedicationRequest/d1"}]},
        {"systemActions": [{"type": "create", "resource": DRAFT}]},
        {"systemActions": [{"type": "update", "resource": None}]},
        {"systemActions": [7]},
    ],
)
def test_anything_else_is_refused_and_changes_nothing(body):
    applied = apply((DRAFT,), body)
    assert applied.drafts == (DRAFT,)
    assert len(applied.refused) == 1


@pytest.mark.parametrize("body", [None, {}, {"systemActions": None}, []])
def test_no_actions_is_no_change(body):
    assert apply((DRAFT,), body).drafts == (DRAFT,)


def test_coverage_information_reads_as_words():
    (said,) = assertions(apply((DRAFT,), _update()).drafts[0])
    assert said.headline == "Covered by the plan"
    assert said.authorization == "Prior authorization already on file"
    rows = dict(said.rows)
    assert rows["Authorization number"] == "A-1"
    assert rows["Allowed period"] == "2026-01-01 to 2026-12-31"
    assert rows["Reason"] == "On file"


_CARD = {"uuid": "u", "summary": "S", "indicator": "info", "source": {"label": "P"}}
KEYS = st.sampled_from(["url", "extension", "coding", "valueCode", "valueCodeableConcept", "cards", "summary", "code"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


@given(JSON, JSON)
def test_whatever_a_payer_sends_nothing_raises(junk, inside):
    """Signing must not depend on what comes back."""
    for body in (
        junk,
        {"cards": junk},
        {"systemActions": junk},
        {"cards": [{**_CARD, "detail": junk, "links": inside}]},
    ):
        read_cards(body)
        for order in apply((DRAFT,), body).drafts:
            assertions(order)
    for extension in (junk, [junk], [{"url": URL, "extension": junk}], [{"url": URL, "extension": [inside, junk]}]):
        assertions({**DRAFT, "extension": extension})
        apply((DRAFT,), {"systemActions": [{"type": "update", "resource": {**DRAFT, "extension": extension}}]})

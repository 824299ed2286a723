"""Reading of feedback."""

from datetime import UTC, datetime

import pytest

from cds_service.cds_hooks.feedback import MAX_ENTRIES, parse_feedback
from cds_service.errors import MalformedRequest, TooLarge
from tests.support.hook_calls import encode

CARD = "9cda1f90-48ce-4b1e-abc7-970c65c4bab9"
WHEN = "2026-03-02T10:00:00Z"
REASON = {"system": "https://cds.example.org/fhir/CodeSystem/dose-override-reasons", "code": "dose-verified"}


def entry(**changes):
    values = {"card": CARD, "outcome": "overridden", "outcomeTimestamp": WHEN} | changes
    return {key: value for key, value in values.items() if value is not None}


def read(*entries):
    return parse_feedback(encode({"feedback": list(entries)}))


def test_crd_066_067_an_override_with_reason_and_comment():
    (found,) = read(entry(overrideReason={"reason": REASON | {"display": "Dose verified"}, "userComment": "checked"}))
    assert (found.card, found.outcome, found.when) == (CARD, "overridden", datetime(2026, 3, 2, 10, tzinfo=UTC))
    assert (found.reason_system, found.reason_code, found.comment) == (*REASON.values(), "checked")


def test_crd_067_an_override_may_have_no_reason():
    assert read(entry())[0].reason_code == ""
    assert read(entry(overrideReason={"userComment": "known to me"}))[0].comment == "known to me"


def test_crd_067_accepted_names_its_suggestions():
    (found,) = read(entry(outcome="accepted", acceptedSuggestions=[{"id": "s-1"}, {"id": "s-2"}]))
    assert found.suggestions == ("s-1", "s-2")


def test_crd_068_several_cards_and_repeats_in_one_post():
    assert [found.card for found in read(entry(), entry(), entry(card="other"))] == [CARD, CARD, "other"]


def test_bad_input_64_plural_spelling_is_accepted():
    for reasons in ([{"reason": REASON, "userComment": "a"}], [REASON], {"reason": REASON}):
        (found,) = read(entry(overrideReasons=reasons))
        assert found.reason_code == "dose-verified"
    (found,) = read(entry(overrideReasons=[{"userComment": "a"}, {"reason": REASON, "userComment": "b"}]))
    assert (found.reason_code, found.comment) == ("dose-verified", "a\nb")


def test_bad_input_64_html_is_stored_as_text_and_long_comments_are_cut():
    (found,) = read(entry(overrideReason={"userComment": "<b>x</b>" + "y" * 10_000}))
    assert found.comment.startswith("<b>x</b>y")
    assert len(found.comment) == 4_000


def test_crd_066_timestamps_become_utc():
    assert read(entry(outcomeTimestamp="2026-03-02T05:00:00-05:00"))[0].when == datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        pytest.param(7, "feedback[1]", id="no object"),
        pytest.param(entry(card=None), "feedback[1].card", id="no card"),
        pytest.param(entry(card=""), "feedback[1].card", id="empty card"),
        pytest.param(entry(card="x" * 256), "feedback[1].card", id="endless card"),
        pytest.param(entry(outcome=None), "feedback[1].outcome", id="no outcome"),
        pytest.param(entry(outcome="ignored"), "feedback[1].outcome", id="69 ignored is no outcome"),
        pytest.param(entry(outcomeTimestamp=None), "feedback[1].outcomeTimestamp", id="no time"),
        pytest.param(entry(outcomeTimestamp="2026-03-02T10:00:00"), "feedback[1].outcomeTimestamp", id="no zone"),
        pytest.param(entry(outcomeTimestamp="yesterday"), "feedback[1].outcomeTimestamp", id="no instant"),
        pytest.param(
            entry(outcomeTimestamp="0001-01-01T00:00:00+14:00"), "feedback[1].outcomeTimestamp", id="before all time"
        ),
        pytest.param(entry(outcome="accepted"), "feedback[1].acceptedSuggestions", id="67 accepted what"),
        pytest.param(
            entry(outcome="accepted", acceptedSuggestions=[]), "feedback[1].acceptedSuggestions", id="67 accepted none"
        ),
        pytest.param(
            entry(outcome="accepted", acceptedSuggestions=[{}]), "feedback[1].acceptedSuggestions[0].id", id="67 no id"
        ),
        pytest.param(entry(overrideReason=7), "feedback[1].overrideReason", id="reason is no object"),
        pytest.param(entry(overrideReason={}), "feedback[1].overrideReason", id="67 neither reason nor comment"),
        pytest.param(
            entry(overrideReason={"reason": {}}), "feedback[1].overrideReason.reason.code", id="reason without code"
        ),
    ],
)
def test_crd_070_a_malformed_entry_is_named_by_its_index(wrong, where):
    with pytest.raises(MalformedRequest) as refused:
        read(entry(), wrong)
    assert refused.value.expression == where


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"feedback":{}}', b'{"feedback":[]}', b'{"feedback":[]'])
def test_crd_066_the_body_is_a_list_of_entries(body):
    with pytest.raises(MalformedRequest):
        parse_feedback(body)


def test_bad_input_64_ten_thousand_entries():
    with pytest.raises(MalformedRequest):
        read(*([entry()] * 10_000))
    assert len(read(*([entry()] * MAX_ENTRIES))) == MAX_ENTRIES
    with pytest.raises(TooLarge):
        parse_feedback(b" " * 5_000_001)

"""Feedback calls: parsed, kept under the calling client, counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from cds_service.adapters.memory import MemoryStore
from cds_service.clients import ClientProfile
from cds_service.errors import MalformedRequest
from cds_service.ports import Caller, FeedbackCount
from cds_service.use_cases.record_feedback import RecordFeedback
from tests.support.stores import NOON, a_call


class StoppedClock:
    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        return 0.0


def caller(client: str) -> Caller:
    return Caller(
        profile=ClientProfile(id=client, name="Example EHR", issuer="https://ehr.example"), jti=None, expires=None
    )


def body(card: str) -> bytes:
    entry = {
        "card": card,
        "outcome": "overridden",
        "outcomeTimestamp": "2026-03-01T12:00:00Z",
        "overrideReason": {"reason": {"code": "dose-verified", "system": "urn:example:reasons"}},
    }
    return json.dumps({"feedback": [entry]}).encode()


def test_crd_65_71_feedback_is_kept_for_the_rule_of_its_card() -> None:
    store = MemoryStore()
    call = a_call(cards=(("card-1", "dose", "ack-1"),))
    store.record(call)
    record = RecordFeedback(store, StoppedClock())
    assert record("order-sign-crd", body("card-1"), caller("epic-test")) == 1
    assert record("order-sign-crd", body("card-1"), caller("another")) == 0
    assert list(store.feedback_report(datetime(2026, 3, 1, tzinfo=UTC))) == [
        FeedbackCount("", "overridden", "urn:example:reasons", "dose-verified", 1),
        FeedbackCount("dose", "overridden", "urn:example:reasons", "dose-verified", 1),
    ]


def test_bad_input_64_a_body_that_is_no_feedback_keeps_nothing() -> None:
    store = MemoryStore()
    with pytest.raises(MalformedRequest):
        RecordFeedback(store, StoppedClock())("order-sign-crd", b"{}", caller("epic-test"))
    assert not store.feedback_report(datetime(2000, 1, 1, tzinfo=UTC))

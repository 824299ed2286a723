"""Calls and stores for the store's tests; also what their child processes import."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from cds_service.domain.authorization import Authorization
from cds_service.ports import FeedbackEntry, Invocation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COVERAGE, DOSE = "coverage", "dose"


def a_call(**changes: Any) -> Invocation:
    """One answered order-sign call of the client ``epic-test``, unlike every other."""
    unique = str(uuid.uuid4())
    call = Invocation(
        id=f"call-{unique}",
        client="epic-test",
        service="order-sign-crd",
        hook="order-sign",
        hook_instance=unique,
        jti=f"jti-{unique}",
        jti_expires=1_900_000_000,
        received=NOON,
        request_digest=hashlib.sha256(unique.encode()).hexdigest(),
        policy_digest="p" * 64,
        patient_key="k" * 32,
        status=200,
        response=b'{"cards":[{"uuid":"' + unique.encode() + b'"}]}',
        determinations=((f"assertion-{unique}", b'{"determination":"' + unique.encode() + b'"}'),),
        cards=((f"card-{unique}", COVERAGE, f"ack-{unique}"),),
    )
    return msgspec.structs.replace(call, **changes)


def an_authorization(**changes: Any) -> Authorization:
    """A trial of morphine for the member M-1."""
    authorization = Authorization(
        number="PA-1",
        member_id="M-1",
        status="active",
        drugs=("morphine",),
        route="intrathecal",
        start=NOON.date(),
        end=None,
        max_daily={"morphine": "15 mg/d"},
        codes=("62322",),
    )
    return msgspec.structs.replace(authorization, **changes)


def overridden(card: str, **changes: Any) -> FeedbackEntry:
    """A card set aside with a reason."""
    entry = FeedbackEntry(
        card=card, outcome="overridden", when=NOON, reason_system="urn:example:reasons", reason_code="dose-verified"
    )
    return msgspec.structs.replace(entry, **changes)


@contextmanager
def closing(store: Any) -> Iterator[Any]:
    """The store, closed in the end."""
    try:
        yield store
    finally:
        store.close()

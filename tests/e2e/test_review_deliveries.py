"""The page of stuck deliveries: who may see it, trying again, discarding with a reason; each act audited (D08)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest
import sqlalchemy as sa

from cds_service.adapters.sql.outbox import SqlOutbox
from cds_service.adapters.sql.prior_auth_tables import AUDIT_EVENT, OUTBOX
from cds_service.delivery_ports import Claim, Settled
from cds_service.domain.delivery import Sent, Step
from tests.support.deliveries import put_case
from tests.support.review_desk import NOW, Browser, Desk

_numbers = count(1)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("deliveries"))
    yield made
    made.close()


@pytest.fixture
def stuck(desk: Desk) -> int:
    """A case of which version 1 is a dead letter and version 2 waits behind it."""
    number = next(_numbers)
    put_case(desk.database, f"case-{number}", [1, 2], destinations=(f"core-{number}",), at=NOW)
    outbox = SqlOutbox(desk.database)
    claim = Claim(kind="payer", destination=f"core-{number}", owner="w1", most=1, lease=timedelta(seconds=60))
    [lent] = outbox.claim(claim, NOW)
    refused = Sent(state="dead", reason="status_422", status=422)
    outbox.settle([Settled(lent, refused, Step(state="dead", due=NOW, reason="status_422"))], "w1", NOW)
    return lent.id


def state(desk: Desk, ident: int) -> str:
    query = sa.select(OUTBOX.c.state).where(OUTBOX.c.id == ident)
    return str(desk.database.read(lambda session: session.execute(query).scalar()))


def acts(desk: Desk, ident: int) -> list[tuple[str, str]]:
    """What people did with it; the worker's tries stand in the same log (P103)."""
    query = sa.select(AUDIT_EVENT.c.action, AUDIT_EVENT.c.actor).where(
        AUDIT_EVENT.c.subject == f"outbox/{ident}", AUDIT_EVENT.c.role != "worker"
    )
    return [tuple(row) for row in desk.database.read(lambda session: session.execute(query).all())]


@pytest.mark.parametrize(
    ("person", "status"),
    [("demo-nurse", 200), ("demo-physician", 200), ("demo-policy-owner", 200), ("demo-auditor", 403)],
)
def test_who_may_see_what_is_stuck(desk: Desk, stuck: int, person: str, status: int) -> None:
    answer = Browser(desk.app(), person).get("/review/deliveries")
    assert answer.status_code == status
    text = answer.get_data(as_text=True)
    assert (f"/review/deliveries/{stuck}/replay" in text) is (status == 200)
    if status == 200:
        assert "status 422" in text
        assert "core" in text
        # Whoever needs no patient for the work gets no way to one either.
        assert ("/review/cases/" in text) is (person != "demo-policy-owner")


def test_D08_what_is_stuck_is_tried_again_once(desk: Desk, stuck: int) -> None:
    browser = Browser(desk.app(), "demo-nurse")
    browser.get("/review/deliveries")
    assert browser.post(f"/review/deliveries/{stuck}/replay").status_code == 303
    assert state(desk, stuck) == "ready"
    browser.get("/review/deliveries")
    assert browser.post(f"/review/deliveries/{stuck}/replay").status_code == 409
    assert acts(desk, stuck) == [("outbox_replay", "demo-nurse")]


@pytest.mark.parametrize(
    ("reason", "status", "left"),
    [("sent by fax meanwhile", 303, "discarded"), ("   ", 422, "dead"), ("x" * 201, 422, "dead")],
)
def test_D08_discarding_needs_a_reason(desk: Desk, stuck: int, reason: str, status: int, left: str) -> None:
    browser = Browser(desk.app(), "demo-policy-owner")
    browser.get("/review/deliveries")
    assert browser.post(f"/review/deliveries/{stuck}/discard", {"reason": reason}).status_code == status
    assert state(desk, stuck) == left
    assert [act for act, _ in acts(desk, stuck)] == (["outbox_discard"] if left == "discarded" else [])


def test_a_form_of_another_site_changes_nothing(desk: Desk, stuck: int) -> None:
    browser = Browser(desk.app(), "demo-nurse")
    browser.get("/review/deliveries")
    foreign = {"Origin": "https://evil.example.org"}
    assert browser.post(f"/review/deliveries/{stuck}/replay", headers=foreign).status_code == 403
    assert browser.post(f"/review/deliveries/{stuck}/replay", token="0" * 64).status_code == 403
    assert state(desk, stuck) == "dead"

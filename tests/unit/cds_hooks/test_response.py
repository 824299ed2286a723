"""The body of a response."""

import json
import uuid
from datetime import date

import pytest

from cds_service.cds_hooks.answers import technical_answer
from cds_service.cds_hooks.coverage_card import coverage_card
from cds_service.cds_hooks.response import Assertion, actions, assertion_id, compose
from cds_service.domain.authorization import OnFile
from tests.support.hook_calls import (
    AS_OF,
    AUTHORIZATION,
    DRAFT,
    MORPHINE_ORDER,
    TEXTS,
    answered,
    draft,
    judged,
    missing,
    order,
)

SECOND = "ServiceRequest/pump"
PUMP = {"resourceType": "ServiceRequest", "id": "pump", "status": "draft"}
ASSERTION = Assertion("Coverage/cov-1", "as-1", AS_OF, "2.2")


def made(*said, **options):
    drafts = {DRAFT: draft(), SECOND: draft(PUMP)}
    return actions(said, drafts, ASSERTION, **options)


def values(action, url):
    order_ = json.loads(bytes(action["resource"]))
    return [
        next(value for key, value in part.items() if key.startswith("value"))
        for part in order_["extension"][-1]["extension"]
        if part["url"] == url
    ]


def test_crd_044_nothing_to_say_is_an_empty_list_of_cards():
    assert compose([], [], TEXTS, "2.2").body == b'{"cards":[]}'


def test_crd_044_045_cards_and_actions():
    said = answered(missing())
    card = coverage_card(TEXTS, [said], {DRAFT: order()}, {DRAFT: draft()})
    response = compose([card], made(said), TEXTS, "2.2")
    body = json.loads(response.body)
    assert list(body) == ["cards", "systemActions"]
    assert body["cards"][0]["uuid"] == card.uuid
    assert body["systemActions"][0]["resource"]["id"] == "draft-1"
    assert response.covered == ("covered",)
    assert response.cards == (card,)


def test_crd_045_t2_no_action_no_key():
    said = answered(judged(), on_file=OnFile())
    card = coverage_card(TEXTS, [said], {DRAFT: order()}, {DRAFT: draft()})
    assert list(json.loads(compose([card], [], TEXTS, "2.2").body)) == ["cards"]


def test_crd_044_actions_without_cards():
    granted = answered(judged(), on_file=OnFile(granted=AUTHORIZATION))
    body = json.loads(compose([], made(granted), TEXTS, "2.2").body)
    assert body["cards"] == []
    assert len(body["systemActions"]) == 1


def test_crd_100_143_144_each_order_its_own_action_under_one_assertion_id():
    found = made(answered(missing()), answered(judged(SECOND)))
    assert [json.loads(bytes(action["resource"]))["resourceType"] for _, action in found] == [
        "MedicationRequest",
        "ServiceRequest",
    ]
    assert {values(action, "coverage-assertion-id")[0] for _, action in found} == {"as-1"}
    assert [values(action, "questionnaire") for _, action in found][1] == []


def test_crd_099_no_action_for_orders_that_get_no_answer():
    assert made(answered(judged(in_scope=False))) == []


def test_orders_without_a_text_of_their_own_get_no_action():
    assert made(answered(judged("DeviceRequest/unknown"))) == []


def test_only_where_the_client_takes_system_actions():
    said = answered(missing()), answered(judged(SECOND))
    assert len(made(*said, accepted=("ServiceRequest",))) == 1
    assert made(*said, accepted=()) == []


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_crd_148_technical_answers_travel_like_others(version):
    said = technical_answer([DRAFT], version)
    found = actions(said, {DRAFT: draft()}, Assertion("Coverage/cov-1", "as-1", AS_OF, version))
    assert values(found[0][1], "covered") == ["indeterminate" if version == "2.2" else "conditional"]


def test_crd_194_no_insignificant_whitespace():
    body = compose([], made(answered(missing())), TEXTS, "2.2").body
    assert json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode() == body


def test_crd_143_assertion_ids():
    arguments = ("sha256:a", AS_OF, "Coverage/cov-1", b"{}")
    assert assertion_id(*arguments) == assertion_id(*arguments)
    assert uuid.UUID(assertion_id(*arguments))
    others = {
        assertion_id("sha256:b", AS_OF, "Coverage/cov-1", b"{}"),
        assertion_id("sha256:a", date(2026, 3, 3), "Coverage/cov-1", b"{}"),
        assertion_id("sha256:a", AS_OF, "Coverage/cov-2", b"{}"),
        assertion_id("sha256:a", AS_OF, "Coverage/cov-1", b"[]"),
    }
    assert len(others | {assertion_id(*arguments)}) == 5


def test_crd_142_the_order_given_back_is_the_order_that_came():
    returned = json.loads(bytes(made(answered(missing()))[0][1]["resource"]))
    del returned["extension"]
    assert returned == MORPHINE_ORDER

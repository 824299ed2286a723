"""order-select is quiet, order-dispatch repeats the answer, feedback is kept and makes quiet what may be quiet."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from cds_service.ports import Fetched
from tests.support import e2e_patient as patient
from tests.support.e2e_patient import call, chart, order
from tests.support.e2e_service import NOON, VERSIONS, Answer, Service, Told

Start = Callable[..., Service]
NOTHING = b'{"cards":[]}'
DAY = 86_400
LENT = {
    "fhirServer": "https://ehr.example.org/fhir",
    "fhirAuthorization": {
        "access_token": "made-up-token",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/*.read",
        "subject": "cds",
    },
}


# ---- order-select ----


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("draft", [order(), order("8"), order("80")], ids=["ready", "above the table", "unit error"])
def test_crd_101_order_select_is_quiet_whatever_is_selected(
    service: Service, version: str, draft: dict[str, Any]
) -> None:
    """Not even a unit error: nothing is signed yet, and signing will say it."""
    body = call(draft, hook="order-select")
    body["context"]["selections"] = [patient.DRAFT]
    answer = service.post(body, version, path="order-select")
    assert (answer.status, answer.bytes) == (200, NOTHING)


def test_crd_102_order_select_asks_the_ehr_for_nothing(service: Service) -> None:
    """The service fixture's EHR fails whoever asks."""
    body = call(hook="order-select", **LENT)
    body["context"]["selections"] = [patient.DRAFT]
    del body["prefetch"]
    assert service.post(body, path="order-select").bytes == NOTHING


def test_crd_101_order_select_does_not_answer_for_order_sign(service: Service) -> None:
    """Same hookInstance and same drafts at both: the quiet answer is not the answer of signing."""
    body = call()
    select = {**body, "hook": "order-select", "context": {**body["context"], "selections": [patient.DRAFT]}}
    service.post(select, path="order-select")
    assert service.post(body).actions


# ---- order-dispatch ----


def dispatch(*orders: dict[str, Any], single: bool = False, prefetched: bool = True, **changes: Any) -> dict[str, Any]:
    """An order-dispatch call in the newer or the older shape, its orders in prefetch or nowhere."""
    held = chart()
    if prefetched:
        held["medications"] = list(orders)
    else:
        del held["medications"]
    body = call(held=held, hook="order-dispatch", **changes)
    names = [f"{each['resourceType']}/{each['id']}" for each in orders]
    named: dict[str, Any] = {"order": names[0]} if single else {"dispatchedOrders": names}
    body["context"] = {"patientId": patient.PATIENT, "performer": "Organization/pharmacy", **named}
    return body


def signed(**changes: Any) -> dict[str, Any]:
    """An order as it stands after signing."""
    return order(id="signed-1", status="active", **changes)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("single", [False, True], ids=["dispatchedOrders", "order"])
def test_crd_27_order_dispatch_answers_for_the_prefetched_order(service: Service, version: str, single: bool) -> None:
    answer = service.post(dispatch(signed(), single=single), version, path="order-dispatch").check()
    assert (answer.information()["covered"], answer.information()["pa-needed"]) == ("covered", "auth-needed")
    assert patient.encode(signed())[:-1] in answer.bytes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("single", [False, True], ids=["dispatchedOrders", "order"])
def test_crd_28_order_dispatch_reads_its_order_from_the_ehr(start: Start, version: str, single: bool) -> None:
    stored = signed()

    def reply(key: str, _query: str) -> Fetched:
        return Fetched("complete", (stored,) if key in {"MedicationRequest/signed-1", "medications"} else ())

    reader = Told(reply)
    body = dispatch(signed(), single=single, prefetched=False, **LENT)
    answer = start(reader=reader).post(body, version, path="order-dispatch").check()
    assert answer.information()["pa-needed"] == "auth-needed"
    assert answer.actions[0]["resource"]["id"] == "signed-1"
    assert reader.asked[0]["MedicationRequest/signed-1"] == "MedicationRequest/signed-1"


def test_order_dispatch_keeps_the_digits_of_an_order_that_was_read(start: Start) -> None:
    from decimal import Decimal  # noqa: PLC0415

    stored = copy.deepcopy(signed())
    stored["dosageInstruction"][0]["doseAndRate"][0]["rateQuantity"]["value"] = Decimal("0.50")
    service = start(reader=Told(lambda key, _q: Fetched("complete", (stored,) if key.startswith("Med") else ())))
    answer = service.post(dispatch(signed(), prefetched=False, **LENT), path="order-dispatch")
    assert b'"value":0.50' in answer.bytes


@pytest.mark.parametrize("state", ["absent", "denied", "failed", "late"])
def test_order_dispatch_without_its_order_is_no_empty_answer(start: Start, state: str) -> None:
    """An empty answer would say that nothing is required of an order that nobody has seen."""
    service = start(reader=Told(lambda _key, _query: Fetched(state, (), "made up")))
    answer = service.post(dispatch(signed(), prefetched=False, **LENT), path="order-dispatch")
    assert answer.status == 412
    assert answer.json["issue"][0]["expression"] == ["context.dispatchedOrders"]


def test_reliability_73_another_order_than_the_one_dispatched_is_not_answered_for(start: Start) -> None:
    other = order(id="other")
    service = start(reader=Told(lambda key, _q: Fetched("complete", (other,) if key.startswith("Med") else ())))
    assert service.post(dispatch(signed(), prefetched=False, **LENT), path="order-dispatch").status == 412


def test_order_dispatch_of_two_orders_of_which_one_is_readable_answers_for_that_one(start: Start) -> None:
    lost = order(id="lost")
    body = dispatch(signed(), prefetched=True, **LENT)
    body["context"]["dispatchedOrders"].append(f"MedicationRequest/{lost['id']}")
    service = start(reader=Told(lambda _key, _query: Fetched("failed", (), "server_error")))
    answer = service.post(body, path="order-dispatch").check()
    assert [action["resource"]["id"] for action in answer.actions] == ["signed-1"]


# ---- feedback and the quiet rule ----

ABOVE = order("8")  # 16 mg/d; the table says 15


def rules(answer: Answer) -> list[str]:
    """Topics of the cards, first to last."""
    return [card["source"]["topic"]["code"] for card in answer.cards]


def override(service: Service, card: str, *, reason: str = "dose-verified", version: str = "2.0") -> Answer:
    """The prescriber sets a card aside, with a reason or, where that is empty, with a remark alone."""
    coded = {"reason": {"code": reason, "system": "https://cds.example.org/reasons"}}
    given = coded if reason else {"userComment": "noted"}
    when = service.clock.now().isoformat()
    entry = {"card": card, "outcome": "overridden", "overrideReason": given, "outcomeTimestamp": when}
    token = service.token("order-sign/feedback", version)
    return service.send("/cds-services/order-sign/feedback", {"feedback": [entry]}, token)


def ready_chart() -> patient.Chart:
    """A chart with a rationale on file, so that only the dose is talked about."""
    return chart()


def next_order(rate: str = "8", **changes: Any) -> dict[str, Any]:
    """The same regimen ordered again: another draft."""
    return order(rate, id="draft-next", **changes)


@pytest.mark.parametrize("version", VERSIONS)
def test_decisions_5_an_overridden_dose_warning_is_not_repeated_but_the_action_is(
    service: Service, version: str
) -> None:
    first = service.post(call(ABOVE), version).check()
    assert rules(first) == ["off-guideline", "coverage-info"]
    assert first.cards[0]["indicator"] == "warning"
    assert override(service, first.cards[0]["uuid"], version=version).status == 200
    again = service.post(call(next_order()), version).check()
    assert rules(again) == ["coverage-info"]
    assert again.information()["doc-needed"] == "clinical"


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("no reason was given", {"reason": ""}),
        ("half a year has passed", {"after": 181 * DAY}),
        ("another prescriber", {"user": "Practitioner/other"}),
        ("a higher dose class", {"rate": "12"}),
        ("another route", {"route": "404820008"}),
        ("another client", {"version": "2.2"}),
    ],
)
def test_decisions_5_only_the_same_regimen_of_the_same_prescriber_is_quiet(
    service: Service, why: str, changes: dict[str, Any]
) -> None:
    first = service.post(call(ABOVE))
    given = override(service, first.cards[0]["uuid"], reason=changes.get("reason", "dose-verified"))
    assert given.status == 200
    service.clock.at += changes.get("after", 0)
    draft = next_order(changes.get("rate", "8"))
    if "route" in changes:  # the table holds no limit for the epidural route, so the strength is what stands out
        draft["dosageInstruction"][0]["route"]["coding"][0]["code"] = changes["route"]
    answered = patient.answered(authored="2026-02-20T09:00:00Z")
    body = call(draft, held=chart(questionnaireResponses=[answered]))
    body["context"]["userId"] = changes.get("user", "Practitioner/pr-e2e")
    topics = rules(service.post(body, changes.get("version", "2.0")))
    assert ("off-guideline" in topics) == ("route" not in changes), why


def test_decisions_5_a_suspected_unit_error_is_never_silenced(service: Service) -> None:
    """160 mg/d of morphine: ten times the table."""
    first = service.post(call(order("80")))
    assert first.cards[0]["indicator"] == "critical"
    override(service, first.cards[0]["uuid"])
    again = service.post(call(order("80", id="draft-next")))
    assert again.cards[0]["indicator"] == "critical"


def test_decisions_5_missing_facts_are_never_silenced(service: Service) -> None:
    first = service.post(call(held=chart({})))
    override(service, first.cards[0]["uuid"])
    assert rules(service.post(call(order(id="draft-next"), held=chart({})))) == ["coverage-info"]


def test_decisions_5_a_repeat_of_the_same_draft_gets_the_same_cards_again(service: Service) -> None:
    """Overridden or not: who opens the same draft again sees what was said of it."""
    first = service.post(call(ABOVE))
    override(service, first.cards[0]["uuid"])
    again = service.post(call(ABOVE))
    assert [card["uuid"] for card in again.cards] == [card["uuid"] for card in first.cards]


def test_decisions_5_another_draft_gets_another_card(service: Service) -> None:
    first, other = service.post(call(ABOVE)), service.post(call(next_order("9")))
    assert {card["uuid"] for card in first.cards}.isdisjoint(card["uuid"] for card in other.cards)


def test_crd_65_feedback_is_counted_by_rule(service: Service) -> None:
    first = service.post(call(ABOVE))
    override(service, first.cards[0]["uuid"])
    counted = service.sql.feedback_report(service.clock.now().fromtimestamp(NOON - DAY, service.clock.now().tzinfo))
    assert [(each.rule, each.outcome, each.reason_code, each.count) for each in counted] == [
        ("dose-exceeds", "overridden", "dose-verified", 1)
    ]


# ---- what the order says already ----


@pytest.mark.parametrize("version", VERSIONS)
def test_crd_142_an_order_that_carries_our_assertion_already_gets_no_action(service: Service, version: str) -> None:
    first = service.post(call(), version)
    carrying = first.actions[0]["resource"]
    again = service.post(call(carrying), version).check()
    assert again.actions == []
    assert len(again.cards) == 1


def test_crd_142_next_day_the_same_assertion_is_not_sent_again(service: Service) -> None:
    """Date and assertion id alone are no news."""
    carrying = service.post(call()).actions[0]["resource"]
    service.clock.at += DAY
    assert service.post(call(carrying)).check().actions == []


@pytest.mark.parametrize("version", VERSIONS)
def test_crd_142_an_assertion_that_no_longer_holds_is_replaced(service: Service, version: str) -> None:
    carrying = service.post(call(held=chart({})), version).actions[0]["resource"]
    answer = service.post(call(carrying), version).check()
    held = answer.actions[0]["resource"]["extension"]
    assert len(held) == 1
    assert "doc-needed" not in answer.information()


@pytest.mark.parametrize(
    ("options", "cards", "actions"),
    [
        ({"coverage-info": False}, ["off-guideline"], 0),
        ({"off-guideline": False}, ["coverage-info"], 1),
        ({"max-cards": 1}, ["off-guideline"], 1),
        ({"max-cards": 0}, [], 1),
        ({"max-cards": "none", "of-another-payer": 7}, ["off-guideline", "coverage-info"], 1),
    ],
)
def test_crd_121_configuration_options_are_obeyed(
    service: Service, options: dict[str, Any], cards: list[str], actions: int
) -> None:
    body = call(ABOVE, extension={"davinci-crd.configuration": options})
    answer = service.post(body).check()
    assert (rules(answer), len(answer.actions)) == (cards, actions)

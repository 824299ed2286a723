"""Calls to a payer: tokens, one word for each trouble, and a second try only where it can do no harm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from cds_service.adapters.guarded_http import GuardedHttp
from smart_app.adapters.keys import AppKeys
from smart_app.adapters.outbound import Outbound
from smart_app.adapters.payer_client import PayerClient, PayerTrouble
from smart_app.registry import PayerProfile
from smart_app.smart.assertion import client_assertion
from tests.support.foreign_payer import ForeignPayer, outcome, package, questionnaire
from tests.support.smart_visit import MovableClock

ASK = {"resourceType": "Parameters", "parameter": []}


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def client(app_keys: AppKeys, clock: MovableClock) -> Iterator[PayerClient]:
    http = GuardedHttp(insecure_dev=True)
    serial = iter(range(10_000))

    def assertion(payer: PayerProfile, endpoint: str) -> str:
        return client_assertion(
            app_keys.signing, client_id=payer.client_id, audience=endpoint, algorithm="ES384",
            now=clock.now(), new_secret=lambda: f"jti-{next(serial)}",
        )  # fmt: skip

    yield PayerClient(Outbound(http, lambda: clock.monotonic() + clock.ahead.total_seconds()), assertion)
    http.close()


def profile(payer: ForeignPayer, **changes: Any) -> PayerProfile:
    given = payer.profile(**changes)
    return PayerProfile(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def test_a_token_is_asked_once_and_again_shortly_before_its_end(
    client: PayerClient, payer: ForeignPayer, clock: MovableClock
) -> None:
    payer.packages = [package(questionnaire())]
    for _ in range(3):
        client.packages(profile(payer), ASK)
    assert payer.token_calls == 1
    clock.forward(seconds=271)
    client.packages(profile(payer), ASK)
    assert payer.token_calls == 2


def test_a_token_that_is_refused_is_replaced_once(client: PayerClient, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire())]
    client.packages(profile(payer), ASK)
    payer.tokens.clear()  # the payer has forgotten it
    assert client.packages(profile(payer), ASK).forms
    assert payer.token_calls == 2


@pytest.mark.parametrize(
    ("fault", "body", "kind", "messages"),
    [
        (500, None, "away", ()),
        (502, None, "away", ()),
        (404, outcome("no such coverage", "error"), "declined", (("error", "no such coverage"),)),
        (403, outcome("not you", "error"), "refused", (("error", "not you"),)),
        (429, None, "busy", ()),
        (302, None, "refused", ()),  # nobody is followed elsewhere
    ],
)
def test_each_trouble_has_its_word(
    client: PayerClient, payer: ForeignPayer, fault: int, body: Any, kind: str, messages: Any
) -> None:
    payer.fault, payer.fault_body = fault, body
    with pytest.raises(PayerTrouble) as trouble:
        client.packages(profile(payer), ASK)
    assert (trouble.value.kind, trouble.value.messages) == (kind, messages)


@pytest.mark.parametrize("repeatable", [True, False])
def test_only_what_merely_asks_is_sent_twice(client: PayerClient, payer: ForeignPayer, *, repeatable: bool) -> None:
    payer.fault = 503
    who = profile(payer)
    path = "Questionnaire/$questionnaire-package"
    with pytest.raises(PayerTrouble, match="away"):
        client.call(who, who.dtr_base, who.scopes, "POST", path, ASK, repeatable=repeatable)
    assert payer.faulted == (2 if repeatable else 1)


def test_a_payer_that_cannot_be_reached_is_away(client: PayerClient) -> None:
    nobody = PayerProfile(
        id="n", names=("N",), dtr_base="http://127.0.0.1:9/dtr", client_id="c", allow_private=True, allow_http=True
    )
    with pytest.raises(PayerTrouble) as trouble:
        client.packages(nobody, ASK)
    assert trouble.value.kind == "away"


def test_a_slow_payer_is_given_up_at_the_deadline(client: PayerClient, payer: ForeignPayer) -> None:
    def slow(_body: dict[str, Any]) -> list[dict[str, Any]]:
        time.sleep(1.5)
        return []

    payer.by_call = slow
    with pytest.raises(PayerTrouble) as trouble:
        client.packages(profile(payer, call_seconds=1), ASK)
    assert trouble.value.kind == "away"


@pytest.mark.parametrize(
    "address",
    ["https://elsewhere.example.com/dtr", "http://127.0.0.1/r4/dtr", "not an address", "http://127.0.0.1:{port}/other"],
)
def test_SM48_next_question_goes_to_the_registered_base_or_nowhere(
    client: PayerClient, payer: ForeignPayer, address: str
) -> None:
    payer.next_answer = lambda response: response
    with pytest.raises(PayerTrouble, match="refused"):
        client.next_question(profile(payer), address.format(port=payer.url.rpartition(":")[2]), {})
    assert payer.next_calls == []
    assert client.next_question(profile(payer), payer.base, {"resourceType": "QuestionnaireResponse"})
    assert client.next_question(profile(payer), ".", {"resourceType": "QuestionnaireResponse"})


def test_SM48_a_discovered_token_endpoint_on_another_host_is_not_used(client: PayerClient, payer: ForeignPayer) -> None:
    payer.token_endpoint = "https://elsewhere.example.com/token"
    with pytest.raises(PayerTrouble, match="refused"):
        client.packages(profile(payer), ASK)
    assert payer.token_calls == 0


def test_AP25_a_report_never_raises_and_says_whether_it_arrived(client: PayerClient, payer: ForeignPayer) -> None:
    told = outcome("an expression failed", "error")
    assert client.report_errors(profile(payer), "https://p.example.net/Questionnaire/a|3", told)
    assert [part["name"] for part in payer.errors[0]["parameter"]] == ["questionnaire", "operationOutcome"]
    payer.fault = 500
    assert not client.report_errors(profile(payer), "https://p.example.net/Questionnaire/a|3", told)


def test_numbers_keep_their_digits_on_the_way(client: PayerClient, payer: ForeignPayer) -> None:
    client.packages(profile(payer), {**ASK, "parameter": [{"name": "x", "valueDecimal": Decimal("1.20")}]})
    assert payer.last_text.count(b"1.20") == 1

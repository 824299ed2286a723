"""The same call again: one answer, whoever gives it, and no token for two bodies (decisions 4, "Repeats")."""

from __future__ import annotations

import copy
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import e2e_patient as patient
from tests.support.e2e_patient import call, chart, encode, order
from tests.support.e2e_service import Answer, Service, WallClock, running
from tests.support.hook_tokens import public

Start = Callable[..., Service]
ROOT = Path(__file__).resolve().parents[2]


def test_reliability_34_same_token_and_body_get_the_stored_bytes(service: Service) -> None:
    body, token = encode(call()), service.token()
    first, again = (service.send("/cds-services/order-sign", body, token) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert first.bytes == again.bytes
    assert [line.replayed for line in service.lines.lines] == [False, True]
    assert recorded(service) == 1


def recorded(service: Service) -> int:
    """How many calls are on record."""
    with sqlite3.connect(service.database) as connection:
        return int(connection.execute("SELECT count(*) FROM invocation").fetchone()[0])


def test_reliability_35_same_jti_with_another_body_is_refused(service: Service) -> None:
    body = call()
    other = {**body, "hookInstance": "6f1b7a1e-0000-4000-8000-000000000001"}
    assert service.post(body, jti="once").status == 200
    answer = service.post(other, jti="once")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert service.last()["reason"] == "jti_replayed"


def test_reliability_35_one_byte_more_is_another_body(service: Service) -> None:
    body, token = encode(call()), service.token()
    assert service.send("/cds-services/order-sign", body, token).status == 200
    assert service.send("/cds-services/order-sign", body + b" ", token).status == 401


def test_decisions_4_same_jti_at_another_service_is_refused(service: Service) -> None:
    body = call()
    assert service.post(body, jti="once").status == 200
    select = {**body, "hook": "order-select", "context": {**body["context"], "selections": [patient.DRAFT]}}
    assert service.post(select, jti="once", path="order-select").status == 401


def test_decisions_4_same_jti_of_another_client_is_another_jti(service: Service) -> None:
    body = call()
    assert service.post(body, "2.0", jti="once").status == 200
    assert service.post(body, "2.2", jti="once").status == 200


def test_decisions_4_new_token_for_the_same_instance_and_body_gets_the_stored_bytes(service: Service) -> None:
    """Evaluated anew the answer would differ: the authorization came in between."""
    body = call()
    first = service.post(body)
    service.clock.at += 86_400
    again = service.post(body)
    assert again.bytes == first.bytes
    assert service.last()["replayed"] is True
    assert recorded(service) == 2  # its jti is used up too
    assert service.post({**body, "extension": {}}, jti="fresh").status == 200


def test_decisions_4_jti_of_a_replay_is_used_up_too(service: Service) -> None:
    body = call()
    service.post(body, jti="one")
    service.post(body, jti="two")
    assert service.post(call(), jti="two").status == 401


def test_decisions_4_same_instance_with_another_body_is_evaluated_anew_and_logged(service: Service) -> None:
    """The prescriber went back, raised the rate, and signed again."""
    body = call()
    service.post(body)
    raised = copy.deepcopy(body)
    raised["context"]["draftOrders"]["entry"][0]["resource"] = order("8")
    answer = service.post(raised)
    assert "16 mg/d" in answer.bytes.decode()
    line = service.last()
    assert (line["replayed"], line["hook_instance"]) == (False, body["hookInstance"])
    assert recorded(service) == 2


def test_reliability_34_strict_lets_each_jti_in_once(start: Start) -> None:
    service = start(jti="strict")
    body, token = encode(call()), service.token()
    assert service.send("/cds-services/order-sign", body, token).status == 200
    assert service.send("/cds-services/order-sign", body, token).status == 401


def test_decisions_4_strict_evaluates_a_repeat_with_a_new_token_anew(start: Start) -> None:
    service = start(jti="strict")
    body = call()
    service.post(body)
    service.post(body)
    assert service.last()["replayed"] is False


def test_reliability_36_after_a_restart_the_stored_answer_and_the_used_jti_are_still_known(
    database: Path,
) -> None:
    clock = WallClock()
    body = call()
    with running(database, clock=clock) as before:
        token = before.token()
        first = before.send("/cds-services/order-sign", encode(body), token)
    with running(database, clock=clock) as after:
        again = after.send("/cds-services/order-sign", encode(body), token)
        other = after.send("/cds-services/order-sign", encode(call()), token)
    assert again.bytes == first.bytes
    assert other.status == 401


def at_once(services: list[Service], body: bytes, token: str, times: int) -> list[Answer]:
    """Everybody sends the same call at the same moment."""
    barrier, answers = threading.Barrier(len(services) * times), []

    def send(service: Service) -> None:
        barrier.wait(10)
        answers.append(service.send("/cds-services/order-sign", body, token))

    threads = [threading.Thread(target=send, args=(service,)) for service in services for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


@pytest.mark.parametrize("jti", ["idempotent", "strict"])
def test_reliability_34_concurrently_on_two_stores(start: Start, jti: str) -> None:
    """Two workers of four threads each race for one token, five times over."""
    services = [start(jti=jti), start(jti=jti)]
    for _ in range(5):
        answers = at_once(services, encode(call()), services[0].token(), 4)
        assert len(answers) == 8
        good = [answer for answer in answers if answer.status == 200]
        assert len({answer.bytes for answer in good}) == 1
        assert {answer.status for answer in answers} == ({200} if jti == "idempotent" else {200, 401})
        if jti == "strict":
            assert len(good) == 1
    assert recorded(services[0]) == 5


def test_reliability_35_two_bodies_race_for_one_jti_and_one_of_them_wins(start: Start) -> None:
    services = [start(), start()]
    bodies = [encode(call()), encode(call(order("8")))]
    token = services[0].token()
    answers: dict[int, list[Answer]] = {0: [], 1: []}
    barrier = threading.Barrier(4)

    def send(service: Service, which: int) -> None:
        barrier.wait(10)
        answers[which].append(service.send("/cds-services/order-sign", bodies[which], token))

    threads = [threading.Thread(target=send, args=(service, which)) for service in services for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    statuses = [{answer.status for answer in answers[which]} for which in (0, 1)]
    assert sorted(map(sorted, statuses)) == [[200], [401]]


@contextmanager
def process(database: Path, service: Service) -> Iterator[subprocess.Popen[str]]:
    """Another process on the same database that knows the same keys."""
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.support.e2e_process", str(database), "{}"],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        say(started, json.dumps({"keys": [public(service.key, "k1")]}))
        yield started
    finally:
        started.kill()
        started.communicate()


def say(started: subprocess.Popen[str], text: str) -> None:
    """One line to a process."""
    assert started.stdin is not None
    started.stdin.write(text + "\n")
    started.stdin.flush()


def heard(started: subprocess.Popen[str]) -> Any:
    """The next line of a process."""
    assert started.stdout is not None
    return started.stdout.readline().rstrip("\n")


def test_reliability_34_concurrently_in_two_processes(service: Service, database: Path) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(process(database, service)) for _ in range(2)]
        assert [heard(worker) for worker in workers] == ["ready", "ready"]
        for _ in range(10):
            sent = json.dumps({"body": encode(call(held=chart())).decode(), "token": service.token()})
            for worker in workers:
                say(worker, sent)
            answers = [json.loads(heard(worker)) for worker in workers]
            assert [answer["status"] for answer in answers] == [200, 200]
            assert answers[0]["body"] == answers[1]["body"]
            assert [answer["replayed"] for answer in answers].count(True) == 1
    assert recorded(service) == 10

"""What is kept: the document that `evaluate` gives, for authorized readers, and nothing that nobody needs."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cds_service.web.log_lines import LineHandler
from tests.support import e2e_patient as patient
from tests.support.e2e_ehr import TOKEN, ehr_of, lent
from tests.support.e2e_patient import answered, call, chart, condition, coverage, encode, order
from tests.support.e2e_service import VERSIONS, Service

Start = Callable[..., Service]

# One call for each way in which the table is left.
CALLS: list[Any] = [
    pytest.param(call(), id="ready"),
    pytest.param(call(held=chart({})), id="facts missing"),
    pytest.param(call(order("8")), id="above the table"),
    pytest.param(call(held=chart(coverage=[patient.of_program("FEP")])), id="FEP"),
    pytest.param(call(held=chart(coverage=[coverage(payer="Insurance")])), id="payer not told"),
    pytest.param(call(order(), patient.service_request()), id="two orders"),
    pytest.param(call(order(), order("0.25", id="draft-two")), id="one regimen in two orders"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("body", CALLS)
def test_contract_the_stored_document_equals_evaluates(service: Service, version: str, body: dict[str, Any]) -> None:
    answer = service.post(body, version).check()
    ident = answer.information()["coverage-assertion-id"]
    stored = service.get(f"/determinations/{ident}")
    assert stored.status == 200
    assert stored.json == service.determined(body)
    assert stored.json["policy"]["digest"] == service.rules.guidelines[0].guideline.digest


def test_contract_a_silent_answer_is_kept_as_well(service: Service) -> None:
    """That nothing was said can be shown later too."""
    body = call(order(dosageInstruction=[patient.dosage(route="26643006")]))
    service.post(body)
    with sqlite3.connect(service.database) as connection:
        (document,) = connection.execute("SELECT document FROM determination").fetchone()
    assert json.loads(document) == service.determined(body)
    assert json.loads(document)["orders"][0]["in_scope"] is False


def test_crd_143_same_facts_same_day_same_assertion_id_for_all_orders_of_a_coverage(service: Service) -> None:
    def idents(body: dict[str, Any]) -> set[str]:
        answer = service.post(body)
        return {answer.information(n)["coverage-assertion-id"] for n in range(len(answer.actions))}

    both = idents(call(order(), patient.service_request()))
    assert len(both) == 1
    assert idents(call(order(), patient.service_request())) == both
    assert idents(call(order("8"), patient.service_request())).isdisjoint(both)
    service.clock.at += 86_400
    assert idents(call(order(), patient.service_request())).isdisjoint(both)


@pytest.mark.parametrize("token", ["", "wrong", "good-but-not-known"])
def test_crd_192_only_readers_that_are_known_read(service: Service, token: str) -> None:
    ident = service.post(call()).information()["coverage-assertion-id"]
    assert service.get(f"/determinations/{ident}", token).status == 401


def test_crd_192_an_unknown_id_is_404_and_every_access_is_written_down(service: Service) -> None:
    ident = service.post(call()).information()["coverage-assertion-id"]
    assert service.get(f"/determinations/{ident}").status == 200
    assert service.get("/determinations/00000000-0000-4000-8000-000000000000").status == 404
    with sqlite3.connect(service.database) as connection:
        seen = connection.execute("SELECT reader, action FROM access_event ORDER BY at, rowid").fetchall()
    assert seen == [("auditor", "read"), ("auditor", "read_unknown")]


NAME, GIVEN, MRN, STREET, BORN, PHONE = (
    "Canaryfamily", "Canarygiven", "MRN-CANARY-4711", "1 Canary Lane", "1961-03-14", "555-0142",
)  # fmt: skip
NOTE = "canary note of the clinician"


@pytest.fixture
def logged() -> Iterator[Callable[[Service], None]]:
    """Sends all that is logged by whatever library to the lines of a service, by the handler of production."""
    root, before, handlers = logging.getLogger(), logging.getLogger().level, []

    def log_to(service: Service) -> None:
        handlers.append(LineHandler(service.lines))
        root.addHandler(handlers[0])
        root.setLevel(logging.DEBUG)

    yield log_to
    root.setLevel(before)
    for handler in handlers:
        root.removeHandler(handler)


def marked() -> patient.Chart:
    """A chart whose person can be recognised wherever it turns up."""
    held = chart(
        patient=[
            {
                "resourceType": "Patient",
                "id": patient.PATIENT,
                "identifier": [{"system": "https://ehr.example.org/mrn", "value": MRN}],
                "name": [{"family": NAME, "given": [GIVEN]}],
                "birthDate": BORN,
                "address": [{"line": [STREET]}],
                "telecom": [{"system": "phone", "value": PHONE}],
            }
        ],
        conditions=[condition(note=[{"text": NOTE}])],
        questionnaireResponses=[answered(text={"status": "generated", "div": f"<div>{NOTE}</div>"})],
    )
    held["coverage"][0]["subscriber"] = {"reference": f"Patient/{patient.PATIENT}", "display": f"{GIVEN} {NAME}"}
    return held


def test_reliability_92_no_token_and_no_person_is_kept_logged_or_counted(
    start: Start, database: Path, logged: Callable[[Service], None]
) -> None:
    """Pull and push, all hooks, refusals, replays, feedback, a bug: then every byte is searched."""
    canaries = [TOKEN, NAME, GIVEN, MRN, STREET, BORN, PHONE, NOTE]
    held = marked()
    with ehr_of(held) as server:
        base = {"fhir_servers": (f"{server.url}/fhir",), "allow_http": True}
        service = start(reader="real", **base)
        logged(service)
        tokens = [service.token() for _ in range(4)]
        body = call(order("8"), held=held, **lent(server))
        for token in tokens[:2] * 2:
            service.send("/cds-services/order-sign", body, token)
        shown = service.post(call(order("8", id="draft-two"), prefetch=None, **lent(server)))
        selected = call(held=held, hook="order-select", **lent(server))
        selected["context"]["selections"] = [patient.DRAFT]
        service.post(selected, path="order-select")
        service.send("/cds-services/order-sign", call(held=held), tokens[0])  # a used jti
        stranger = call(held=held, **lent(server, patient="somebody-else"))
        service.post(stranger)
        service.post(b'{"hook": "' + NAME.encode() + b'"')
        service.post(call(order(subject={"reference": f"Patient/{MRN}"}), held=held, **lent(server)))
        service.post(call(held=held, **{**lent(server), "fhirServer": f"https://{NAME}.example.org"}))
        entry = {
            "card": shown.cards[0]["uuid"],
            "outcome": "overridden",
            "overrideReason": {"reason": {"code": "other", "system": "https://cds.example.org/r"}},
            "outcomeTimestamp": "2026-03-02T12:00:00Z",
        }
        feedback = service.token("order-sign/feedback")
        assert service.send("/cds-services/order-sign/feedback", {"feedback": [entry]}, feedback).status == 200
        service.store.authorizations = _breaks  # the next call meets a bug of ours
        service.post(call(held=held, **lent(server)))
        page = service.metrics.text().decode()
        for seen in server.seen:
            assert not [canary for canary in canaries if canary in seen.target]
    service.sql.close()
    kept = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
    places = {
        "database": kept,
        "log lines": service.lines.text().encode(),
        "metrics": page.encode(),
    }
    assert {line.event for line in service.lines.lines} >= {"request", "incident"}
    found = {(place, canary) for place, held_ in places.items() for canary in canaries if canary.encode() in held_}
    assert found == set()
    # Whose it is, is kept as a keyed digest: the patient's id stands in the answered order alone.
    assert patient.PATIENT.encode() not in places["log lines"] + places["metrics"]


def _breaks(_member: str) -> Any:
    raise ZeroDivisionError(f"a made-up bug about {GIVEN} {NAME}")


def test_reliability_92_the_search_itself_finds_what_is_there(service: Service) -> None:
    """The counter-proof: the answer is on record, uncompressed or not found at all by such a search."""
    service.post(call(order(note=[{"text": NOTE}])))
    service.sql.close()
    kept = b"".join(path.read_bytes() for path in service.database.parent.glob(f"{service.database.name}*"))
    assert NOTE.encode() in kept
    assert encode(order())[:200] in kept

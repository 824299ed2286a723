"""Our own parts fail: database, clock, load. The order is never blocked and nothing is asserted that was not kept."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cds_service.adapters.sql.store import SqlStore
from cds_service.ports import Fetched, Grant
from cds_service.web.call_note import queued
from tests.support.child import child
from tests.support.e2e_ehr import TOKEN
from tests.support.e2e_patient import call, chart, coverage
from tests.support.e2e_service import VERSIONS, Answer, Service, Told, running

Start = Callable[..., Service]
HOUR, YEAR = 3600, 365 * 86_400
FOR_READING = 4 - 0.6  # seconds of a call: its deadline, less what deciding and answering take
LENT = {
    "fhirServer": "https://ehr.example.org/fhir",
    "fhirAuthorization": {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/*.read",
        "subject": "cds",
    },
}


class Deadlines(Told):
    """A reader that keeps until when (steady clock) it may read."""

    def __init__(self, answer: Callable[[str, str], Fetched]) -> None:
        super().__init__(answer)
        self.deadlines: list[float] = []

    def fetch(self, grant: Grant, queries: Mapping[str, str], deadline: float) -> Mapping[str, Fetched]:
        self.deadlines.append(deadline)
        return super().fetch(grant, queries, deadline)


def is_technical(answer: Answer, version: str) -> bool:
    """Whether it says of the order that nothing can be said."""
    answer.check()
    covered = answer.information()["covered"]
    return covered == ("indeterminate" if version == "2.2" else "conditional") and not answer.cards


@pytest.mark.parametrize("version", VERSIONS)
def test_reliability_fault_18_a_full_disk(start: Start, database: Path, version: str) -> None:
    """SQLite's own refusal to grow; when there is room again, all is as before."""
    with sqlite3.connect(database) as connection:
        connection.execute(
            "CREATE TRIGGER no_room BEFORE INSERT ON invocation BEGIN SELECT RAISE(FAIL, 'no room'); END"
        )
    service = start()
    body = call()
    assert is_technical(service.post(body, version), version)
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER no_room")
    answer = service.post(body, version).check()
    assert answer.information()["covered"] == "covered"
    assert service.last()["replayed"] is False  # the technical answer was not kept, so it is not repeated


@pytest.mark.parametrize("version", VERSIONS)
def test_reliability_fault_19_locked_by_another_process(start: Start, database: Path, version: str) -> None:
    service = start()
    with child("hold_lock", str(database)) as other:
        assert other.line() == "locked"
        answer = service.post(call(), version)  # the lock is held until the next line lets it go
        other.go()
        assert other.line() == "released"
    assert is_technical(answer, version)
    assert service.post(call(), version).check().information()["covered"] == "covered"


@pytest.mark.parametrize("version", VERSIONS)
def test_reliability_fault_21_no_database_at_boot(migrated: Path, tmp_path: Path, version: str) -> None:
    """The process stays up, says so at /readyz, answers without asserting, and recovers by itself."""
    database = tmp_path / "not-yet" / "store.sqlite3"
    with running(database) as service:
        assert service.get("/readyz").status == 503
        assert service.get("/livez").status == 200
        assert is_technical(service.post(call(), version), version)
        database.parent.mkdir()
        shutil.copy(migrated, database)
        assert service.get("/readyz").status == 200
        assert service.post(call(), version).check().information()["covered"] == "covered"


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 10 * YEAR], ids=["+1 h", "-1 h", "+10 y"])
def test_reliability_fault_22_wall_clock_jumps_within_a_call(start: Start, jump: int) -> None:
    """Deadlines are steady; the answer is of the day on which the call began."""
    held = chart()
    del held["questionnaireResponses"]
    forms = chart()["questionnaireResponses"]

    def jumps(_key: str, _query: str) -> Fetched:
        service.clock.at += jump
        return Fetched("complete", tuple(forms))

    reader = Deadlines(jumps)
    service = start(reader=reader)
    began = time.monotonic()
    answer = service.post(call(held=held, **LENT)).check()
    assert began <= reader.deadlines[0] - FOR_READING <= time.monotonic()
    assert answer.information()["date"] == "2026-03-02"
    assert answer.information()["pa-needed"] == "auth-needed"
    assert "doc-needed" not in answer.information()


@pytest.mark.parametrize(("jump", "status"), [(HOUR, 401), (-HOUR, 401), (10 * YEAR, 401), (59, 200), (-59, 200)])
def test_reliability_fault_22_tokens_follow_the_wall_clock(service: Service, jump: int, status: int) -> None:
    body, token = call(), service.token()
    service.clock.at += jump
    assert service.send("/cds-services/order-sign", body, token).status == status


def test_reliability_fault_22_the_day_of_the_answer_follows_the_wall_clock(service: Service) -> None:
    """Ten years on neither the membership nor the attestation is current."""
    service.clock.at += 10 * YEAR
    answer = service.post(call(held=chart(coverage=[coverage(period={"start": "2026-01-01"})]))).check()
    assert answer.information()["date"].startswith("2036-")
    assert answer.information()["doc-needed"] == "clinical"


def test_reliability_fault_30_a_call_that_waited_too_long_is_shed(service: Service) -> None:
    """Newest first: who has waited beyond the bound will not be read any more; the next one is answered."""
    queued.at = time.monotonic() - 1.5
    try:
        shed = service.post(call())
    finally:
        del queued.at
    assert shed.status == 503
    assert shed.headers["Retry-After"]
    assert shed.json["issue"][0]["code"] == "throttled"
    assert service.last()["outcome"] == "shed"
    assert service.post(call()).status == 200


def test_reliability_2_1_time_in_the_queue_counts_to_the_deadline(start: Start) -> None:
    """Some time was spent waiting for a thread: the EHR gets what is left."""
    reader = Deadlines(lambda _key, _query: Fetched("complete"))
    service = start(reader=reader, settings={"queue_seconds": 60})
    held = chart()
    del held["observations"]
    arrived = queued.at = time.monotonic() - 0.9
    try:
        assert service.post(call(held=held, **LENT)).status == 200
    finally:
        del queued.at
    assert reader.deadlines == [arrived + FOR_READING]


def test_the_store_of_these_tests_is_the_real_one(service: Service) -> None:
    assert isinstance(service.store, SqlStore)

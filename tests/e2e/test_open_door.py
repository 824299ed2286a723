"""``CDS_CLIENT_AUTH=off``: whoever calls is answered from what was sent, and nothing is asked of any server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from cds_service.app import create_app, read_files, real_adapters
from cds_service.settings import for_tests
from tests.support.e2e_patient import call, encode
from tests.support.fault_server import FaultServer, reply_json
from tests.support.web_twins import KeptLines

LENT = {"access_token": "lent", "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.read", "subject": "s"}


@pytest.fixture
def door(tmp_path: Path) -> Client:
    """The service as `serve` makes it, open to everybody."""
    (tmp_path / "clients").mkdir()
    settings = for_tests(
        client_auth=False, insecure_dev=True, key_file=tmp_path / "key", clients_dir=tmp_path / "clients"
    )
    return Client(create_app(settings, real_adapters(settings, read_files(settings), KeptLines())))


@pytest.fixture
def ehr() -> Iterator[FaultServer]:
    with FaultServer({"/fhir": reply_json({})}) as server:
        yield server


def post(door: Client, body: Any) -> tuple[int, Any]:
    with door.post("/cds-services/order-sign", data=encode(body), content_type="application/json") as response:
        return response.status_code, json.loads(response.get_data())


@pytest.mark.parametrize("lent", [LENT, None])
def test_a_caller_nobody_knows_is_answered_from_prefetch_alone(
    door: Client, ehr: FaultServer, lent: dict[str, Any] | None
) -> None:
    body = call(fhirServer=ehr.url + "/fhir", fhirAuthorization=lent)
    del body["prefetch"]["devices"]  # worth a read, were the caller known
    status, answer = post(door, body)
    assert status == 200
    assert answer["systemActions"]
    assert ehr.seen == []


def test_a_caller_nobody_knows_cannot_have_a_server_read_instead_of_prefetch(door: Client, ehr: FaultServer) -> None:
    status, outcome = post(door, call(fhirServer=ehr.url + "/fhir", fhirAuthorization=LENT, prefetch=None))
    assert (status, outcome["resourceType"]) == (412, "OperationOutcome")
    assert ehr.seen == []

"""``check-client`` of a site whose calls were answered: what it prefetched, and what its servers say now."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cds_service.app import client_report
from cds_service.cds_hooks.prefetch import WANTED
from cds_service.settings import for_tests
from tests.support.e2e_patient import call
from tests.support.e2e_service import Service, WallClock
from tests.support.fault_server import Behaviour, FaultServer, redirect, reply, reply_json
from tests.support.hook_tokens import public


def written(folder: Path, service: Service, server: str) -> Path:
    """The client's file, as the site registered it."""
    (folder / "ehr.yaml").write_text(
        json.dumps(
            {
                "id": "example-ehr",
                "name": "Example EHR",
                "issuer": service.profiles["2.0"].issuer,
                "jwks": {"keys": [public(service.key, "k1")]},
                "fhir_servers": [server],
                "allow_http": True,
            }
        ),
        "utf-8",
    )
    return folder


def test_keys_of_past_calls_are_told(start: Callable[..., Service], tmp_path: Path) -> None:
    service = start(id="example-ehr", clock=WallClock(time.time()))  # the report looks back from today
    for _ in range(2):
        service.post(call()).check()
    fewer = call()
    del fewer["prefetch"]["devices"]
    fewer["prefetch"]["cov"] = None
    service.post(fewer).check()
    with FaultServer({"/fhir/metadata": reply_json({})}) as ehr:
        settings = for_tests(
            database_url=f"sqlite:///{service.database}",
            clients_dir=written(tmp_path, service, ehr.url + "/fhir"),
            insecure_dev=True,
        )
        text = client_report(settings, "example-ehr").text
    assert f"{len(WANTED)} of {len(WANTED)} keys in 3 latest calls" in text
    assert "sent in some of 3 calls only: devices (2)" in text
    assert "not known here: cov" in text


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (reply_json({}), "/fhir answers"),
        (reply(401), "/fhir answers"),  # a server that wants a token even for its metadata is there
        (redirect("https://elsewhere.example.org/fhir/metadata"), "it redirects; register the address"),
        (reply(503), "it answers with an error status"),
    ],
)
def test_servers_that_redirect_or_fail_are_named(
    service: Service, tmp_path: Path, metadata: Behaviour, said: str
) -> None:
    with FaultServer({"/fhir/metadata": metadata}) as ehr:
        clients = written(tmp_path, service, ehr.url + "/fhir")
        report = client_report(for_tests(clients_dir=clients, insecure_dev=True), "example-ehr")
    assert said in report.text
    assert "past calls are not on record" in report.text  # a store in memory keeps nothing of other processes

"""Files of payer endpoints: every mistake with file and line, and nothing guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.adapters.endpoint_files import certificate, load_endpoints
from cds_service.errors import ConfigurationError
from tests.support.fault_server import new_authority

GOOD = {"id": "core", "name": "Core system", "base_url": "https://fhir.payer.example.org/r4/"}


def write(directory: Path, file: str = "core.yaml", **changes: str) -> Path:
    values = {key: value for key, value in (GOOD | changes).items() if value}
    (directory / file).write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    return directory


def test_the_least_that_a_file_must_say(tmp_path: Path) -> None:
    [endpoint] = load_endpoints(write(tmp_path)).values()
    assert (endpoint.base_url, endpoint.mode, endpoint.auth) == ("https://fhir.payer.example.org/r4", "auto", "none")
    assert (endpoint.seconds, endpoint.parallel, endpoint.give_up_hours) == (10, 4, 72)
    assert certificate(endpoint) is None


def test_no_directory_means_nothing_is_delivered(tmp_path: Path) -> None:
    assert load_endpoints(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "Core!"}, "core.yaml:1: id"),
        ({"base_url": "http://payer.example.org"}, "core.yaml:3: base_url"),  # plain http only in development
        ({"base_url": "https://user@payer.example.org"}, "core.yaml:3: base_url"),
        ({"base_url": "https://payer.example.org/../x"}, "core.yaml:3: base_url"),
        ({"mode": "push"}, "core.yaml:4: mode"),
        ({"auth": "password"}, "core.yaml:4: auth"),
        ({"auth": "backend_services", "client_id": "us"}, "token_url"),
        ({"auth": "backend_services", "token_url": "https://payer.example.org/token"}, "client_id"),
        ({"auth": "backend_services", "token_url": "http://payer.example.org/token", "client_id": "us"}, "token_url"),
        ({"auth": "mtls"}, "cert_file"),
        ({"auth": "mtls", "cert_file": "none.pem", "key_file": "none.pem"}, "no readable certificate"),
        ({"ca_file": "none.pem"}, "ca_file"),
        ({"seconds": "0"}, "1 to 120"),
        ({"parallel": "100"}, "1 to 32"),
        ({"give_up_hours": "0"}, "1 to 720"),
        ({"superseded": "drop"}, "superseded"),
        ({"bundle_path": "../Bundle"}, "bundle_path"),
        ({"programs": "[gold]"}, "programs"),
        ({"colour": "red"}, "no such setting"),
        ({"name": ""}, "it must be stated"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_endpoints(write(tmp_path, **changes))
    assert said in raised.value.diagnostics
    assert raised.value.diagnostics.startswith("core.yaml:")


def test_every_file_is_complained_about_at_once_and_ids_are_unique(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", mode="push")
    write(tmp_path, "b.yaml", auth="password")
    write(tmp_path, "c.yaml")
    write(tmp_path, "d.yaml")
    with pytest.raises(ConfigurationError) as raised:
        load_endpoints(tmp_path)
    assert [line.partition(":")[0] for line in raised.value.diagnostics.splitlines()] == ["a.yaml", "b.yaml", "d.yaml"]


def test_certificates_lie_beside_the_file(tmp_path: Path) -> None:
    authority = new_authority()
    ours = authority.ca.issue_cert("cds-service.example.org")
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    authority.write(str(tmp_path / "ca.pem"))
    write(tmp_path, auth="mtls", cert_file="cert.pem", key_file="key.pem", ca_file="ca.pem")
    [endpoint] = load_endpoints(tmp_path).values()
    assert certificate(endpoint) == (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))


def test_plain_http_needs_both_the_file_and_the_mode(tmp_path: Path) -> None:
    write(tmp_path, base_url="http://127.0.0.1:8080/payer-fhir", allow_http="true")
    assert load_endpoints(tmp_path, insecure_dev=True)
    with pytest.raises(ConfigurationError):
        load_endpoints(tmp_path)

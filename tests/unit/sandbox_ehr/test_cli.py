"""`sandbox-ehr init` and what `serve` refuses."""

from __future__ import annotations

import csv
import json
import socket
import stat

import yaml
from click.testing import CliRunner

from sandbox_ehr.cli import main


def _init(var):
    return CliRunner().invoke(main, ["init", "--var", str(var), "--base-url", "http://127.0.0.1:8080/"])


def test_init_writes_keys_that_only_their_owner_reads(tmp_path):
    assert _init(tmp_path).exit_code == 0
    for path in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = json.loads(path.read_text())
        assert key.get("crv") == "P-384" or len(key["n"]) >= 342  # 2048 bits in base64url


def test_init_may_be_repeated_without_new_keys(tmp_path):
    _init(tmp_path)
    before = (tmp_path / "keys" / "hooks.jwk.json").read_text()
    _init(tmp_path)
    assert (tmp_path / "keys" / "hooks.jwk.json").read_text() == before


def test_init_writes_the_client_file_that_the_service_reads(tmp_path):
    _init(tmp_path)
    profile = yaml.safe_load((tmp_path / "clients" / "sandbox.yaml").read_text())
    assert profile["issuer"] == "http://127.0.0.1:8080"
    assert profile["jwks_url"] == "http://127.0.0.1:8080/jwks.json"
    assert profile["fhir_servers"] == ["http://127.0.0.1:8080/fhir"]
    assert (profile["allow_private"], profile["allow_http"]) == (True, True)


def test_init_writes_the_authorizations_of_the_sample_patients(tmp_path):
    _init(tmp_path)
    with (tmp_path / "authorizations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"active", "pending"}
    assert "SAMPLE-AUTHORIZED" in {row["member_id"] for row in rows}


def test_a_taken_port_is_said_plainly(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["serve", "--port", str(port), "--var", str(tmp_path)])
    assert result.exit_code == 1
    assert f"Port {port}" in result.output

"""Client files: every mistake is found at the start, with file, line, what was found and what is allowed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cds_service.adapters.client_files import load_clients, read_client
from cds_service.clients import ClientProfile
from cds_service.errors import ConfigurationError
from tests.support.fault_server import new_authority
from tests.support.hook_tokens import ec, public, rsa

LEAST = """id: ehr
name: Example EHR
issuer: https://ehr.example.org
jwks_url: https://ehr.example.org/jwks.json
"""


def write(folder: Path, text: str, name: str = "ehr.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_the_least_that_a_file_needs(tmp_path: Path) -> None:
    assert read_client(write(tmp_path, LEAST)) == ClientProfile(
        id="ehr", name="Example EHR", issuer="https://ehr.example.org", jwks_url="https://ehr.example.org/jwks.json"
    )


def test_every_setting(tmp_path: Path) -> None:
    new_authority().write(str(tmp_path / "ca.pem"))
    keys = json.dumps({"keys": [public(ec(), "k1")]})
    text = (
        LEAST
        + f"""enabled: false
jwks: {keys}
algorithms: [ES384]
audiences: [https://cds.example.net/x]
single_aud: true
tenants: [north, south]
hooks: [order-sign]
jti: strict
crd_version: 2.2
fhir_servers: [https://ehr.example.org/fhir]
allow_private: true
allow_http: false
open_fhir: true
ca_file: ca.pem
scopes: [patient/*.read]
prefetch_aliases: {{cov: coverage}}
system_actions: [ServiceRequest]
fallback_card: true
smart_link: false
feedback_topics: false
deadline_seconds: 5
origins: [https://ehr.example.org]
"""
    )
    profile = read_client(write(tmp_path, text))
    assert (profile.enabled, profile.crd_version, profile.deadline_seconds) == (False, "2.2", 5)
    assert profile.tenants == ("north", "south")
    assert profile.prefetch_aliases == {"cov": "coverage"}
    assert profile.ca_file == str(tmp_path / "ca.pem")
    assert profile.jwks == json.loads(keys)


WRONG = [
    (LEAST + "audience: [x]\n", r"ehr\.yaml:5: audience: found no such setting; allowed: id, name, issuer, "),
    (LEAST + "id: other\n", r"ehr\.yaml:5: id: found the key id a second time \(first in line 1\)"),
    (LEAST.replace("id: ehr\n", ""), r"ehr\.yaml:1: id: found nothing; allowed: it must be stated"),
    (LEAST.replace("id: ehr", "id: E HR"), r"ehr\.yaml:1: id: .*small letters"),
    (LEAST.replace("issuer: https://ehr.example.org", "issuer: ' '"), r"ehr\.yaml:3: issuer: "),
    (LEAST.replace("jwks_url: https://ehr.example.org/jwks.json\n", ""), r"jwks_url: found neither"),
    (
        LEAST.replace("https://ehr.example.org/jwks", "http://ehr.example.org/jwks"),
        r"ehr\.yaml:4: jwks_url: .*--insecure-dev",
    ),
    (LEAST.replace("https://ehr.example.org/jwks", "https://u@ehr.example.org/jwks"), r"ehr\.yaml:4: jwks_url: "),
    (LEAST.replace("https://ehr.example.org/jwks.json", "file:///etc/passwd"), r"ehr\.yaml:4: jwks_url: "),
    (
        LEAST + "hooks: [order-sign, patient-view]\n",
        r"ehr\.yaml:5: hooks: found order-sign, patient-view; allowed: order-sign",
    ),
    (LEAST + "hooks: [order-sign, order-sign]\n", r"ehr\.yaml:5: hooks: .*each once"),
    (LEAST + "hooks: order-sign\n", r"ehr\.yaml:5: hooks: found one value; allowed: a list, as \[a, b\]"),
    (LEAST + "system_actions: [Task]\n", r"ehr\.yaml:5: system_actions: found Task"),
    (LEAST + "algorithms: [HS256]\n", r"ehr\.yaml:5: algorithms: found HS256; allowed: RS384, ES384, RS256, ES256"),
    (LEAST + "algorithms: [none]\n", r"ehr\.yaml:5: algorithms: found none"),
    (LEAST + "algorithms: []\n", r"ehr\.yaml:5: algorithms: found none"),
    (LEAST + "jti: often\n", r"ehr\.yaml:5: jti: found often; allowed: idempotent, strict"),
    (LEAST + "crd_version: 3\n", r"ehr\.yaml:5: crd_version: found 3; allowed: 2\.0, 2\.2"),
    (LEAST + "deadline_seconds: 60\n", r"ehr\.yaml:5: deadline_seconds: found 60; allowed: 2 to 9"),
    (LEAST + "deadline_seconds: soon\n", r"ehr\.yaml:5: deadline_seconds: found one value; allowed: a whole number"),
    (LEAST + "enabled: maybe\n", r"ehr\.yaml:5: enabled: found one value; allowed: true or false"),
    (LEAST + "fhir_servers: [https://ehr.example.org/fhir?x=1]\n", r"ehr\.yaml:5: fhir_servers: "),
    (LEAST + "fhir_servers: [https://ehr.example.org/a/../b]\n", r"ehr\.yaml:5: fhir_servers: "),
    (LEAST + "fhir_servers: [http://ehr.example.org/fhir]\n", r"ehr\.yaml:5: fhir_servers: .*allow_http"),
    (
        LEAST + "allow_http: true\nfhir_servers: [http://ehr.example.org/fhir]\n",
        r"ehr\.yaml:6: fhir_servers: .*--insecure-dev",
    ),
    (LEAST + "origins: [https://ehr.example.org/x]\n", r"ehr\.yaml:5: origins: "),
    (LEAST + "origins: ['*']\n", r"ehr\.yaml:5: origins: "),
    (LEAST + "ca_file: missing.pem\n", r"ehr\.yaml:5: ca_file: found no readable certificate"),
    (LEAST + "ca_file: ehr.yaml\n", r"ehr\.yaml:5: ca_file: found no readable certificate"),
    (LEAST + "jwks: elsewhere\n", r"ehr\.yaml:5: jwks: found one value; allowed: a mapping"),
    (LEAST + "tenants: ['']\n", r"ehr\.yaml:5: tenants: found an empty value"),
    (LEAST + "prefetch_aliases: {cov: kovrage}\n", r"ehr\.yaml:5: prefetch_aliases: found cov: kovrage"),
    (LEAST + "jwks: {keys: []}\n", r"ehr\.yaml:5: jwks: found no usable key"),
    (LEAST + "jwks: {}\n", r"ehr\.yaml:5: jwks: found no usable key"),
    (LEAST + "verify: false\n", r"ehr\.yaml:5: verify: found no such setting"),
    (LEAST + "  broken", r"ehr\.yaml:\d+: "),
    (LEAST + "tenants: &t [a]\nscopes: *t\n", r"ehr\.yaml:\d+: scopes: found an alias"),
    (LEAST + "scopes: [!shell x]\n", r"ehr\.yaml:5: "),
    ("- a\n- b\n", r"ehr\.yaml:1: found no mapping"),
    ("", r"ehr\.yaml:1: found an empty file"),
]


@pytest.mark.parametrize(("text", "complaint"), WRONG)
def test_a_wrong_file_is_named_with_line_and_what_is_allowed(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_client(write(tmp_path, text))
    assert re.search(complaint, refusal.value.diagnostics), refusal.value.diagnostics


def test_a_private_or_weak_settled_key_is_refused(tmp_path: Path) -> None:
    for key in (
        {**public(ec(), "k1"), "d": "AAAA"},
        public(rsa("weak", 1024), "k1"),
        public(ec("p256", "P-256"), "k1"),
    ):
        with pytest.raises(ConfigurationError, match="no usable key"):
            read_client(write(tmp_path, LEAST + f"jwks: {json.dumps({'keys': [key]})}\n"))


def test_plain_http_needs_the_file_and_the_switch(tmp_path: Path) -> None:
    path = write(tmp_path, LEAST + "allow_http: true\nfhir_servers: [http://127.0.0.1:8081/fhir]\n")
    assert read_client(path, insecure_dev=True).fhir_servers == ("http://127.0.0.1:8081/fhir",)
    with pytest.raises(ConfigurationError):
        read_client(path)
    with pytest.raises(ConfigurationError):
        read_client(write(tmp_path, path.read_text().replace("true", "false")), insecure_dev=True)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "ehr.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"ehr\.yaml:1: cannot be read"):
        read_client(tmp_path / "ehr.yaml")


def test_all_files_and_all_complaints(tmp_path: Path) -> None:
    write(tmp_path, LEAST, "one.yaml")
    write(
        tmp_path,
        LEAST.replace("id: ehr", "id: second").replace("issuer: https://ehr", "issuer: https://second"),
        "two.yaml",
    )
    write(tmp_path, "nonsense", "three.yaml.example")
    assert {issuer: profile.id for issuer, profile in load_clients(tmp_path).items()} == {
        "https://ehr.example.org": "ehr",
        "https://second.example.org": "second",
    }
    write(tmp_path, LEAST, "uno.yaml")
    write(tmp_path, LEAST + "hooks: [x]\n", "wrong.yaml")
    with pytest.raises(ConfigurationError) as refusal:
        load_clients(tmp_path)
    said = refusal.value.diagnostics
    assert "uno.yaml:1: issuer: found that of client ehr" in said
    assert "uno.yaml:1: id: found that of one.yaml" in said
    assert "wrong.yaml:5: hooks" in said


def test_no_client_is_enabled_as_shipped(project_root: Path) -> None:
    assert load_clients(project_root / "config" / "clients") == {}


@pytest.mark.parametrize("vendor", ["epic", "oracle-health", "athenahealth", "meditech"])
def test_each_example_loads(project_root: Path, vendor: str) -> None:
    profile = read_client(project_root / "config" / "clients" / f"{vendor}.yaml.example")
    assert profile.id == f"{vendor}-example"
    assert "order-sign" in profile.hooks
    # Whatever the EHR cannot take as a system action must be said by a card.
    assert profile.fallback_card


def test_the_readme_names_every_setting_and_its_default(project_root: Path) -> None:
    text = (project_root / "config" / "clients" / "README.md").read_text("utf-8")
    settings = text.partition("\n## What a token must say")[0]
    described = re.findall(r"^\| `([a-z_]+)` \|", settings, re.MULTILINE)
    assert described == list(ClientProfile.__struct_fields__)

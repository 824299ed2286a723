"""Files of backend clients: read strictly, every complaint with its place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.adapters.backend_client_files import load_backend_clients, read_backend_client
from cds_service.adapters.secret_files import load_or_make_token_key
from cds_service.errors import ConfigurationError

GOOD = """id: sample-app
name: Sample app
jwks_url: https://app.example.org/jwks.json
scopes: [system/Questionnaire.rs, system/Claim.cu]
organizations: ["http://hl7.org/fhir/sid/us-npi|1234567893"]
"""


def written(tmp_path: Path, text: str, name: str = "app.yaml") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_a_file_as_documented(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, "not read", "other.yaml.example")
    (client,) = load_backend_clients(tmp_path).values()
    assert (client.id, client.issuer, client.enabled) == ("sample-app", "sample-app", True)
    assert client.organizations == ("http://hl7.org/fhir/sid/us-npi|1234567893",)


def test_the_shipped_example_can_be_taken_as_it_is(tmp_path: Path, project_root: Path) -> None:
    example = project_root / "config" / "backend_clients" / "example.yaml.example"
    assert read_backend_client(written(tmp_path, example.read_text("utf-8"))).id == "example-app"


def test_no_folder_no_clients(tmp_path: Path) -> None:
    assert load_backend_clients(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("id: sample-app", "id: Sample App", "app.yaml:1: id"),
        ("name: Sample app\n", "", "app.yaml:1: name"),
        ("scopes: [system/Questionnaire.rs, system/Claim.cu]", "scopes: []", "scopes"),
        ("system/Claim.cu", "patient/Claim.cu", "app.yaml:4: scopes"),
        ("system/Claim.cu", "system/Claim.uc", "letters in the order cruds"),
        ("jwks_url: https://app.example.org/jwks.json\n", "", "neither jwks_url nor jwks"),
        ("https://app.example.org", "http://app.example.org", "allow_http"),
        ("http://hl7.org/fhir/sid/us-npi|", "", "SYSTEM|VALUE"),
        ("organizations:", "purposes:", "no such setting"),
    ],
)
def test_a_wrong_file_says_where_and_what_is_allowed(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as complaint:
        read_backend_client(written(tmp_path, GOOD.replace(old, new)))
    assert told in complaint.value.diagnostics


def test_two_files_may_not_share_an_id(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, GOOD, "second.yaml")
    with pytest.raises(ConfigurationError, match="one file per id"):
        load_backend_clients(tmp_path)


def test_SM51_the_token_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "token.key"
    key = load_or_make_token_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_make_token_key(path).as_pem() == key.as_pem()
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_or_make_token_key(path)


@pytest.mark.parametrize("content", [b"", b"secret", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_SM51_what_is_no_key_stops_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="CDS_TOKEN_KEY_FILE"):
        load_or_make_token_key(path)

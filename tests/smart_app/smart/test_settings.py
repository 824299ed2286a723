"""Settings and the operator's files (rows 121, 122; SM-02, SM-48): strict, documented, safe in production."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from cds_service.errors import ConfigurationError
from smart_app.adapters.registry_files import load_registry
from smart_app.app import check_start
from smart_app.registry import EhrProfile, PayerProfile
from smart_app.settings import VARIABLES, Settings, from_env, refuse_plain_http
from tests.support.smart_visit import write_yaml

PRODUCTION = {"SMART_APP_PROFILE": "production", "SMART_APP_PUBLIC_URL": "https://app.clinic.example.org"}
EHR = {"id": "ehr", "name": "Example", "iss": "https://ehr.example.org/fhir", "client_id": "app"}
PAYER = {"id": "payer", "names": ["Plan"], "dtr_base": "https://payer.example.org/dtr", "client_id": "app"}


def test_nothing_set_gives_safe_defaults():
    settings = from_env({})
    assert not settings.insecure_dev
    assert settings.host == "127.0.0.1"
    assert settings.redirect_uri == "http://127.0.0.1:8090/callback"
    assert from_env({"SMART_APP_PORT": "9000"}).public_url == "http://127.0.0.1:9000"
    assert from_env({"SMART_APP_PORT": ""}).port == 8090
    # as browsers write it in Origin
    assert from_env({"SMART_APP_PUBLIC_URL": "HTTPS://App.Example.org:443/"}).public_url == "https://app.example.org"


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("SMART_APP_PORT", "0", "1 to 65535"),
        ("SMART_APP_PORT", "\u0668\u0660", "1 to 65535"),
        ("SMART_APP_PROFILE", "prod", "development, production"),
        ("SMART_APP_INSECURE_DEV", "maybe", "on, off"),
        ("SMART_APP_SESSION_MINUTES", "0", "1 to 720"),
        ("SMART_APP_PUBLIC_URL", "app.example.org", "scheme, host and port"),
        ("SMART_APP_PUBLIC_URL", "https://app.example.org/app", "without path"),
        ("SMART_APP_PUBLIC_URL", "https://app.example.org?x=1", "without path"),
        ("SMART_APP_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("SMART_APP_SESSION_MINUTS", "15", "did you mean SMART_APP_SESSION_MINUTES?"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(name, text, allowed):
    with pytest.raises(ConfigurationError) as caught:
        from_env({name: text})
    assert name in str(caught.value)
    assert allowed in str(caught.value)


def test_everything_that_is_wrong_is_told_at_once():
    wrong = {
        "SMART_APP_PORT": "eighty",
        "SMART_APP_NONSENSE": "1",
        "SMART_APP_PROFILE": "production",
        "SMART_APP_LOG_LEVEL": "debug",
    }
    with pytest.raises(ConfigurationError) as caught:
        from_env(wrong)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4  # an address over plain http is the fourth, the profile itself is none
    assert all(any(name in line for line in lines) for name in (*wrong, "SMART_APP_PUBLIC_URL"))


def test_nothing_is_said_to_contradict_what_could_not_be_read():
    with pytest.raises(ConfigurationError) as caught:
        from_env({"SMART_APP_INSECURE_DEV": "maybe", "SMART_APP_HOST": "0.0.0.0", "SMART_APP_PROFILE": "prod"})
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"SMART_APP_INSECURE_DEV": "on"}, "--insecure-dev is refused"),
        ({"SMART_APP_PUBLIC_URL": "http://app.clinic.example.org"}, "must be https"),
        ({"SMART_APP_LOG_LEVEL": "debug"}, "debug is refused"),
    ],
)
def test_bad_input_122_production_refuses_what_is_unsafe(change, reason):
    assert from_env(PRODUCTION).in_production
    with pytest.raises(ConfigurationError, match=reason):
        from_env(PRODUCTION | change)


def test_bad_input_122_there_is_no_default_secret(tmp_path):
    """No key of the app has a default: without key files it does not start, and says what makes them."""
    settings = msgspec.structs.replace(from_env(PRODUCTION), key_dir=tmp_path, config_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="smart-app init"):
        check_start(settings)


def test_bad_input_122_production_refuses_plain_http_parties(tmp_path, key_dir):
    write_yaml(tmp_path / "ehrs" / "e.yaml", EHR | {"iss": "http://ehr.example.org/fhir", "allow_http": True})
    settings = msgspec.structs.replace(from_env(PRODUCTION), key_dir=key_dir, config_dir=tmp_path)
    with pytest.raises(ConfigurationError, match=r"ehrs/e\.yaml:\d+: allow_http"):
        check_start(settings)


def test_bad_input_122_a_page_never_runs_in_debug_mode(app):
    assert not app.flask.debug
    assert not app.flask.config["SECRET_KEY"]  # nothing is kept in signed cookies of the framework


@pytest.mark.parametrize(
    ("change", "fine"),
    [
        ({"public_url": "https://app.example.org"}, True),
        ({"public_url": "http://127.0.0.1:8090", "insecure_dev": True}, True),
        ({"public_url": "http://localhost:8090", "insecure_dev": True}, True),
        ({"public_url": "http://[::1]:8090", "insecure_dev": True}, True),
        ({"public_url": "http://127.0.0.1:8090"}, False),
        ({"public_url": "http://app.example.org", "insecure_dev": True}, False),
    ],
)
def test_bad_input_122_plain_http_is_for_ones_own_machine(change, fine):
    settings = Settings(**change)
    if fine:
        refuse_plain_http(settings)
    else:
        with pytest.raises(ConfigurationError, match="must be https"):
            refuse_plain_http(settings)


def test_bad_input_122_insecure_dev_binds_to_loopback_only():
    with pytest.raises(ConfigurationError, match="loopback"):
        from_env({"SMART_APP_INSECURE_DEV": "on", "SMART_APP_HOST": "0.0.0.0"})


def test_bad_input_121_shown_settings_hold_no_password():
    shown = from_env({"SMART_APP_DATABASE_URL": "postgresql://app:canary@db/app?password=canary"}).public()
    assert shown["database_url"] == "postgresql://app:***@db/app"
    assert "canary" not in str(shown)


def documented(project_root: Path, heading: str) -> dict[str, str]:
    """Name -> default, of the table below a heading of docs/smart-app.md."""
    text = (project_root / "docs" / "smart-app.md").read_text("utf-8").split(heading, 1)[1].split("\n## ", 1)[0]
    text = text.split("\n### ", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", text, re.MULTILINE))


def test_every_setting_is_documented_with_its_default(project_root):
    found = documented(project_root, "\n## Settings\n")
    assert set(found) == set(VARIABLES)
    assert {field for field, _ in VARIABLES.values()} == set(Settings.__struct_fields__)
    shown = {"True": "on", "False": "off"}
    for name, default in found.items():
        value = str(getattr(Settings(), VARIABLES[name][0])).removeprefix(f"{project_root}/")
        assert default == f"`{shown.get(value, value)}`", name


@pytest.mark.parametrize(
    ("heading", "kind"), [("\n## Files of EHRs", EhrProfile), ("\n## Files of payers", PayerProfile)]
)
def test_every_setting_of_the_files_is_documented(project_root, heading, kind):
    assert set(documented(project_root, heading)) == set(kind.__struct_fields__)


# -- the files


def test_files_are_read_and_relative_files_lie_beside_them(tmp_path):
    secret = tmp_path / "ehrs" / "secret"
    write_yaml(tmp_path / "ehrs" / "e.yaml", EHR | {"client_secret_file": "secret", "read_seconds": 5})
    secret.write_text("s")
    secret.chmod(0o600)
    write_yaml(tmp_path / "payers" / "p.yaml", PAYER | {"identifiers": ["urn:x|1"]})
    (tmp_path / "ehrs" / "other.yaml.example").write_text("not: read")
    registry = load_registry(tmp_path)
    ehr, payer = registry.ehrs["ehr"], registry.payers["payer"]
    assert ehr.client_secret_file == str(secret)
    assert ehr.read_seconds == 5
    assert (payer.name, payer.identifiers, payer.dtr_version) == ("Plan", ("urn:x|1",), "2.0.1")
    assert registry.payers_of(ehr) == (payer,)
    assert registry.ehr_of("https://EHR.example.org:443/fhir/") == ehr


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"iss": None}, "iss: found nothing; allowed: it must be stated"),
        ({"colour": "red"}, "colour: found no such setting; allowed: id, name, iss"),
        ({"id": "Ehr 1"}, "id: found other characters"),
        ({"name": " "}, "name: found nothing"),
        ({"client_id": ""}, "client_id: found nothing"),
        ({"iss": "http://ehr.example.org/fhir"}, "iss: found http://ehr.example.org/fhir; allowed: https"),
        ({"iss": "https://ehr.example.org/fhir?x=1"}, "an absolute https address without user, query"),
        ({"iss": "https://user@ehr.example.org/fhir"}, "an absolute https address without user, query"),
        ({"iss": "ftp://ehr.example.org"}, "an absolute https address"),
        ({"scopes": "all"}, "scopes: found all; allowed: wide, narrow"),
        ({"refresh": "yes"}, "refresh: found yes; allowed: none, online, offline"),
        ({"extra_scopes": ["a b"]}, "extra_scopes: found another form"),
        ({"extra_scopes": "a"}, "extra_scopes: found one value; allowed: a list"),
        ({"endpoint_hosts": ["https://x"]}, "endpoint_hosts: found https://x"),
        ({"frame_origins": ["https://ehr.example.org/app"]}, "frame_origins"),
        ({"frame_origins": ["http://ehr.example.org"]}, "frame_origins: found http://ehr.example.org; allowed: https"),
        ({"frame_origins": ["*"]}, "frame_origins: found *"),
        ({"frame_origins": ["https://ehr.example.org; script-src *"]}, "frame_origins"),
        ({"signing_alg": "RS256"}, "signing_alg: found RS256; allowed: RS384, ES384"),
        ({"standalone": "perhaps"}, "standalone: found one value; allowed: true or false"),
        ({"read_seconds": 0}, "read_seconds: found 0; allowed: 1 to 60"),
        ({"time_zone": "Middle/Earth"}, "time_zone: found Middle/Earth; allowed: a name as Europe/Berlin"),
        ({"ca_file": "none.pem"}, "ca_file: found no readable certificate"),
        ({"client_secret_file": "none"}, "client_secret_file: found no readable file"),
        ({"payers": ["nobody"]}, "payers: found nobody; allowed: ids of payers/*.yaml (payer)"),
        ({"allow_http": True}, "allow_http: found true"),
        ({"organization_npi": "12"}, "organization_npi: found another form; allowed: ten digits"),
    ],
)
def test_a_wrong_ehr_file_is_refused_with_file_and_line(tmp_path, change, complaint):
    write_yaml(tmp_path / "ehrs" / "e.yaml", {k: v for k, v in (EHR | change).items() if v is not None})
    write_yaml(tmp_path / "payers" / "p.yaml", PAYER)
    with pytest.raises(ConfigurationError) as caught:
        load_registry(tmp_path)
    assert complaint in str(caught.value)
    assert re.match(r"ehrs/(e\.yaml:\d+|ehr): ", str(caught.value))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"dtr_base": "payer.example.org"}, "dtr_base"),
        ({"pas_base": "http://payer.example.org"}, "pas_base: found http://payer.example.org; allowed: https"),
        ({"token_url": "/token"}, "token_url"),
        ({"dtr_version": "2.0"}, "dtr_version: found 2.0; allowed: 2.0.1, 2.1, 2.2"),
        ({"names": []}, "names: found none"),
        ({"identifiers": ["urn:x"]}, "identifiers: found another form; allowed: system|value"),
        ({"call_seconds": 100}, "call_seconds: found 100; allowed: 1 to 60"),
    ],
)
def test_a_wrong_payer_file_is_refused_with_file_and_line(tmp_path, change, complaint):
    write_yaml(tmp_path / "payers" / "p.yaml", PAYER | change)
    with pytest.raises(ConfigurationError) as caught:
        load_registry(tmp_path)
    assert complaint in str(caught.value)
    assert re.match(r"payers/p\.yaml:\d+: ", str(caught.value))


def test_all_complaints_come_at_once_and_ids_and_bases_are_there_once(tmp_path):
    write_yaml(tmp_path / "ehrs" / "a.yaml", EHR)
    write_yaml(tmp_path / "ehrs" / "b.yaml", EHR)
    write_yaml(tmp_path / "ehrs" / "c.yaml", EHR | {"id": "third", "iss": "https://ehr.example.org/fhir/"})
    (tmp_path / "payers").mkdir()
    (tmp_path / "payers" / "p.yaml").write_text("id: x\nid: y\nnames: &a [b]\n")
    (tmp_path / "payers" / "q.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError) as caught:
        load_registry(tmp_path)
    text = str(caught.value)
    for each in ("ehrs/b.yaml:1: id", "ehrs/third: iss", "payers/p.yaml:2:", "payers/q.yaml:1: cannot be read"):
        assert each in text

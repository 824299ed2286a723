"""Settings: defaults, refusals with name and allowed values, the production profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.environment import without_password
from cds_service.errors import ConfigurationError
from cds_service.settings import Settings, for_tests, from_env

PRODUCTION = {"CDS_PROFILE": "production", "CDS_PUBLIC_URL": "https://cds.payer.example.org"}


def test_nothing_set_gives_safe_defaults() -> None:
    settings = from_env({})
    assert settings.client_auth
    assert not settings.insecure_dev
    assert settings.host == "127.0.0.1"
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.workers >= 1


def test_public_url_follows_the_port_and_clients_follow_the_configuration() -> None:
    settings = from_env({"CDS_PORT": "9000", "CDS_CONFIG_DIR": "/etc/cds"})
    assert settings.public_url == "http://127.0.0.1:9000"
    assert settings.clients_dir == Path("/etc/cds/clients")
    assert from_env({"CDS_PUBLIC_URL": "https://cds.example.org/a/"}).public_url == "https://cds.example.org/a"


def test_empty_variable_is_as_good_as_none() -> None:
    assert from_env({"CDS_PORT": ""}).port == 8000


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("CDS_PORT", "0", "1 to 65535"),
        ("CDS_PORT", "eighty", "1 to 65535"),
        ("CDS_PORT", "\u0668\u0660", "1 to 65535"),  # digits, but not ASCII ones
        ("CDS_WORKERS", "-1", "1 to 256"),
        ("CDS_CLIENT_AUTH", "maybe", "on, off"),
        ("CDS_PROFILE", "staging", "development, production"),
        ("CDS_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("CDS_QUEUE_SECONDS", "0", "above 0"),
        ("CDS_PUBLIC_URL", "payer.example.org", "absolute http(s) URL"),
        ("CDS_METRICS_TOKEN_SHA256", "secret-token", "64 hexadecimal digits"),
        ("CDS_MAX_BODY_SIZE", "5", "CDS_MAX_BODY_BYTES"),  # a misspelt name is told the right ones
    ],
)
def test_refusal_names_the_variable_and_what_is_allowed(name: str, text: str, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        from_env({name: text})
    assert name in refused.value.diagnostics
    assert allowed in refused.value.diagnostics
    assert refused.value.expression == name


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "CDS_PORT": "eighty",
        "CDS_NONSENSE": "1",
        "CDS_PUBLIC_URL": "ftp://x",
        "CDS_OIDC_ISSUER": "http://idp.example.org",
    }
    with pytest.raises(ConfigurationError) as refused:
        from_env(wrong)
    lines = refused.value.diagnostics.splitlines()
    assert len(lines) == 5  # with the client id that the issuer needs
    assert all(any(name in line for line in lines) for name in (*wrong, "CDS_OIDC_CLIENT_ID"))


def test_nothing_is_said_to_contradict_what_could_not_be_read() -> None:
    with pytest.raises(ConfigurationError) as refused:
        from_env({"CDS_INSECURE_DEV": "maybe", "CDS_CLIENT_AUTH": "off"})
    assert refused.value.diagnostics == "CDS_INSECURE_DEV is 'maybe'; allowed: on, off"


def test_refused_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as refused:
        from_env({"CDS_METRICS_TOKEN_SHA256": "secret-token"})
    assert "secret-token" not in refused.value.diagnostics


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"CDS_INSECURE_DEV": "on"}, "--insecure-dev"),
        ({"CDS_PUBLIC_URL": "http://cds.payer.example.org"}, "https"),
        ({"CDS_DATABASE_URL": "memory:"}, "CDS_DATABASE_URL"),
        ({"CDS_CLIENT_AUTH": "off"}, "CDS_CLIENT_AUTH"),
    ],
)
def test_bad_input_122_production_profile_refuses_what_is_unsafe(change: dict[str, str], word: str) -> None:
    assert from_env(PRODUCTION).in_production
    with pytest.raises(ConfigurationError, match=word):
        from_env(PRODUCTION | change)


def test_insecure_dev_stays_on_loopback() -> None:
    assert from_env({"CDS_INSECURE_DEV": "on", "CDS_HOST": "::1"}).insecure_dev
    for host in ("0.0.0.0", "10.0.0.1", "payer.example.org"):
        with pytest.raises(ConfigurationError, match="loopback"):
            from_env({"CDS_INSECURE_DEV": "on", "CDS_HOST": host})


def test_callers_are_let_in_unverified_only_in_insecure_dev() -> None:
    with pytest.raises(ConfigurationError, match="insecure-dev"):
        from_env({"CDS_CLIENT_AUTH": "off"})
    assert not from_env({"CDS_CLIENT_AUTH": "off", "CDS_INSECURE_DEV": "on"}).client_auth


def test_bad_input_121_shown_settings_hold_no_secret() -> None:
    settings = from_env({"CDS_DATABASE_URL": "postgresql://cds:hunter2@db/cds?sslpassword=hunter3"})
    shown = str(settings.public())
    assert "hunter" not in shown
    assert "postgresql://cds:***@db/cds" in shown
    assert set(settings.public()) == set(Settings.__struct_fields__)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///var/cds.sqlite3", "sqlite:///var/cds.sqlite3"),
        ("postgresql://db/cds", "postgresql://db/cds"),
        ("postgresql://u:p%40ss@h:5432/d", "postgresql://u:***@h:5432/d"),
    ],
)
def test_database_url_without_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_sqlite_file_is_known() -> None:
    assert from_env({"CDS_DATABASE_URL": "sqlite:////srv/cds.db"}).sqlite_path == Path("/srv/cds.db")
    assert from_env({"CDS_DATABASE_URL": "postgresql://h/d"}).sqlite_path is None
    assert for_tests().sqlite_path is None

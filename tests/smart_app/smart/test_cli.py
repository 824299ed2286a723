"""``smart-app``: init, check, serve, keys, db, purge, config."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from smart_app import cli
from smart_app.adapters.keys import AppKeys
from smart_app.adapters.registry_files import load_registry
from tests.support.smart_ehr import CLIENT, SmartEhr, plain

BIN = Path(sys.executable).parent
LOCAL = ["--allow-local", "--payer-name", "Plan", "--payer-client-id", "clinic"]


@pytest.fixture
def run(tmp_path, monkeypatch, key_dir):
    """Run one command in a deployment of its own, with the keys of all tests."""
    for name, value in {
        "SMART_APP_CONFIG_DIR": tmp_path / "config",
        "SMART_APP_KEY_DIR": key_dir,
        "SMART_APP_DATABASE_URL": f"sqlite:///{tmp_path / 'app.sqlite3'}",
        "SMART_APP_INSECURE_DEV": "on",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(os, "environ", os.environ)

    def invoke(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return invoke


def test_help_says_what_each_command_does(run):
    text = run("--help")
    for command in ("init", "serve", "check", "keys", "db", "purge", "config"):
        assert re.search(rf"^  {command} +\S", text, re.MULTILINE), command
        assert "Usage" in run(command, "--help")
    assert "Example:" in run("init", "--help")


def test_init_makes_keys_and_files_and_keeps_what_is_there(run, tmp_path, monkeypatch):
    options = [
        "init", "--keys", str(tmp_path / "keys"), "--ehr-iss", "http://127.0.0.1:8080/fhir",
        "--ehr-client-id", "010", "--ehr-frame-origin", "http://127.0.0.1:8080", "--ehr-standalone",
        "--payer-dtr-base", "http://127.0.0.1:8000/dtr/2.0.1", "--payer-identifier", "urn:x|1", *LOCAL,
    ]  # fmt: skip
    first = run(*options)
    assert "redirect URI http://127.0.0.1:8090/callback" in first
    assert (tmp_path / "keys" / "signing.json").stat().st_mode & 0o777 == 0o600
    assert AppKeys(tmp_path / "keys").sealer
    ehr, payer = tmp_path / "config" / "ehrs" / "ehr.yaml", tmp_path / "config" / "payers" / "payer.yaml"
    registry = load_registry(tmp_path / "config", insecure_dev=True)
    assert registry.ehrs["ehr"].client_id == "010"
    assert registry.ehrs["ehr"].standalone
    assert registry.payers["payer"].identifiers == ("urn:x|1",)
    ehr.write_text(ehr.read_text() + "read_seconds: 3\n")
    before = ehr.read_text(), payer.read_text()
    second = run(*options)
    assert second.count("kept ") == 2
    assert "made" not in second
    assert (ehr.read_text(), payer.read_text()) == before
    run(*options, "--force")
    assert "read_seconds" not in ehr.read_text()


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (["--ehr-iss", "https://e.example.org"], "--ehr-client-id"),
        (["--payer-dtr-base", "https://p.example.org"], "--payer-client-id"),
        (["--payer-dtr-base", "https://p.example.org", "--payer-client-id", "x"], "--payer-name"),
    ],
)
def test_init_says_what_is_needed_too(run, options, needed):
    assert f"{needed} is needed too" in run("init", *options, code=2)


def test_check_asks_everybody_and_says_what_is_wrong(run, app_keys, tmp_path):
    assert "WRONG  none is registered" in run("check", code=1)
    with SmartEhr(app_keys.signing.public_set) as ehr:
        statement = {"resourceType": "CapabilityStatement"}
        ehr.answers["GET /dtr/metadata"] = plain(statement)
        ehr.answers["GET /dtr/.well-known/smart-configuration"] = plain({"token_endpoint": f"{ehr.url}/dtr/token"})
        ehr.answers["POST /dtr/token"] = plain({"access_token": "t", "token_type": "bearer", "expires_in": 300})
        run("init", "--ehr-iss", ehr.iss, "--ehr-client-id", "c", "--payer-dtr-base", f"{ehr.url}/dtr", *LOCAL)
        text = run("check")
        assert re.search(r"EHR ehr +ok +answers; signing with ES384, scopes v2", text)
        assert re.search(r"payer payer +ok +answers, gives a token; DTR 2.0.1", text)
        assert ehr.to("/dtr/metadata")[0].headers["Authorization"] == "Bearer t"
        ehr.discovery["code_challenge_methods_supported"] = []
        ehr.answers["POST /dtr/token"] = plain({"error": "invalid_client"}, 401)
        text = run("check", code=1)
        assert re.search(r"EHR ehr +WRONG +it lacks .*PKCE", text)
        assert re.search(r"payer payer +WRONG +it does not let the app in", text)
    text = run("check", code=1)
    assert re.search(r"EHR ehr +WRONG +discovery connect failed", text)


def test_check_looks_for_the_keys_where_the_app_says_they_are(run, app_keys, monkeypatch):
    with SmartEhr(app_keys.signing.public_set) as ehr:
        monkeypatch.setenv("SMART_APP_PUBLIC_URL", ehr.url)
        ehr.answers["GET /.well-known/jwks.json"] = plain(app_keys.signing.public_set())
        assert f"published at {ehr.url}/.well-known/jwks.json" in run("check", code=1)
        ehr.answers["GET /.well-known/jwks.json"] = plain({"keys": [{"kid": "another"}, 1]})
        assert f"not to be seen at {ehr.url}/.well-known/jwks.json" in run("check", code=1)
    text = run("check", code=1)
    assert f"not to be seen at {ehr.url}/.well-known/jwks.json" in text
    assert "SMART_APP_PORT" in text


def test_check_says_what_is_wrong_with_a_file(run, tmp_path):
    (tmp_path / "config" / "ehrs").mkdir(parents=True)
    (tmp_path / "config" / "ehrs" / "x.yaml").write_text("id: x\n")
    assert "ehrs/x.yaml:1: " in run("check", code=1)


def test_keys_rotate_and_retire(run, tmp_path, monkeypatch, key_dir):
    shutil.copytree(key_dir, tmp_path / "keys")
    monkeypatch.setenv("SMART_APP_KEY_DIR", str(tmp_path / "keys"))
    run("keys", "rotate")
    assert len(AppKeys(tmp_path / "keys").signing.public_set()["keys"]) == 4
    run("keys", "retire")
    assert len(AppKeys(tmp_path / "keys").signing.public_set()["keys"]) == 2


def test_db_upgrade_and_purge(run):
    assert re.match(r"schema \d+", run("db", "upgrade"))
    assert run("db", "upgrade")
    assert "ended 0 launches; removed 0 attempts and 0 launches" in run("purge")


def test_bad_input_121_config_shows_no_password(run, monkeypatch):
    monkeypatch.setenv("SMART_APP_DATABASE_URL", "postgresql://app:canary@db.invalid/app")
    text = run("config")
    assert "database_url = postgresql://app:***@db.invalid/app" in text
    assert "canary" not in text


def test_an_unreachable_database_is_one_line(run, monkeypatch):
    monkeypatch.setenv("SMART_APP_DATABASE_URL", "postgresql://app:canary@db.invalid/app")
    text = run("db", "upgrade", code=3)
    assert "SMART_APP_DATABASE_URL" in text
    assert "canary" not in text
    assert len(text.splitlines()) == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_serve_runs_two_processes_over_one_database(tmp_path, key_dir, app_keys):
    """A real deployment: launch at one, read at any; logs hold no query; SIGTERM ends it."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with SmartEhr(app_keys.signing.public_set) as ehr:
        ehr.redirect = f"{base}/callback"
        environment = os.environ | {
            "SMART_APP_CONFIG_DIR": str(tmp_path / "config"),
            "SMART_APP_KEY_DIR": str(key_dir),
            "SMART_APP_DATABASE_URL": f"sqlite:///{tmp_path / 'app.sqlite3'}",
            "SMART_APP_PORT": str(port),
            "SMART_APP_INSECURE_DEV": "on",
        }
        made = [BIN / "smart-app", "init", "--ehr-iss", ehr.iss, "--ehr-client-id", CLIENT, "--allow-local"]
        subprocess.run(made, env=environment, check=True, capture_output=True, timeout=60)
        log = tmp_path / "log"
        with log.open("wb") as file:
            process = subprocess.Popen([BIN / "smart-app", "serve", "--workers", "2"], env=environment, stderr=file)
        try:
            wait_for(f"{base}/readyz", process)
            session = requests.Session()
            first = session.get(f"{base}/launch", params={"iss": ehr.iss, "launch": "canary"}, allow_redirects=False)
            going = session.get(base + first.headers["Location"], allow_redirects=False)
            assert going.status_code == 303
            back = requests.get(going.headers["Location"], allow_redirects=False, timeout=10).headers["Location"]
            opened = session.get(back, allow_redirects=False)
            assert opened.status_code == 303
            about = base + opened.headers["Location"].replace("start", "about")
            for _ in range(6):
                assert "Ada Canaryname" in session.get(about).text
            assert requests.get(f"{base}/launch?launch={'x' * 9000}", timeout=10).status_code == 414  # gunicorn's own
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    text = log.read_text()
    assert "canary" not in text.lower()
    assert len(set(re.findall(r'"event":"Booting worker with pid: (\d+)"', text))) == 2


def wait_for(url: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + 40
    while time.monotonic() < until:
        assert process.poll() is None
        try:
            if requests.get(url, timeout=2).status_code == 200:
                return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail("the app did not start")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "must be https"),
        ({"SMART_APP_PROFILE": "production", "SMART_APP_PUBLIC_URL": "http://a.example.org"}, "must be https"),
        ({"SMART_APP_INSECURE_DEV": "on", "SMART_APP_KEY_DIR": "/nonexistent"}, "smart-app init"),
        ({"SMART_APP_NONSENSE": "1"}, "SMART_APP_NONSENSE is not a setting"),
    ],
)
def test_bad_input_122_serve_refuses_to_start_with_a_named_reason(tmp_path, key_dir, environment, said):
    usual = {
        "SMART_APP_KEY_DIR": str(key_dir),
        "SMART_APP_CONFIG_DIR": str(tmp_path),
        "SMART_APP_DATABASE_URL": f"sqlite:///{tmp_path / 'a.sqlite3'}",
        "SMART_APP_PORT": str(free_port()),
    }
    done = subprocess.run([BIN / "smart-app", "serve"], env={**os.environ, **usual, **environment},
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr

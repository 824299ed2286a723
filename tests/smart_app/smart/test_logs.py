"""Rows 119 and 121 for the app: what is written down and shown holds no PHI, token, code or query."""

from __future__ import annotations

import io
import json
import logging

import pytest

from smart_app.web.log_lines import EXTRAS, JsonLines


@pytest.fixture
def lines():
    """What the app's own log would hold, as bytes of lines."""
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    yield sink
    root.removeHandler(handler)


def test_bad_input_119_a_whole_visit_leaves_no_canary_in_the_log(app, ehr, lines):
    app.register(ehr, refresh="offline")
    ehr.context |= {"appContext": "canary-app-context", "encounter": "canary-encounter"}
    browser = app.browser()
    launch_id = browser.open(ehr, launch="canary-launch-value")
    browser.get(f"/l/{launch_id}/about?name=canary-query")
    browser.get("/launch?iss=https://canary-host.example.org/fhir&launch=canary-launch-value")
    browser.get("/callback?state=canary-state&code=canary-code&error=canary-error")
    browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": "canary-csrf"})
    browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": browser.csrf(launch_id)})
    ehr.id_claims = {"nonce": "canary-nonce"}
    browser.launch(ehr)
    text = lines.getvalue()
    secrets = [*ehr.access, *ehr.used_refresh, *ehr.refresh_tokens, *ehr.revoked, launch_id, browser.cookie(launch_id)]
    secrets += [value for call in ehr.token_calls for value in call.form.values() if len(value) > 40]
    secrets += [browser.asked()["state"], browser.asked()["nonce"], browser.callback_url]
    canaries = ["canary", "Canaryname", "MRN-CANARY-77", "1961-07-03", "1234567893", "Sam Sample", "pat-1", "doc-1"]
    assert len(text.splitlines()) > 10
    assert [each for each in (*secrets, *canaries) if each and each.lower() in text.lower()] == []


def test_bad_input_119_lines_are_json_of_closed_fields_and_routes_are_patterns(app, ehr, lines):
    browser = app.browser()
    launch_id = browser.open(ehr)
    browser.get(f"/l/{launch_id}/about?x=y")
    read = [json.loads(line) for line in lines.getvalue().splitlines()]
    requests = [line for line in read if line["event"] == "request"]
    assert [line["route"] for line in requests] == [
        "/launch", "/launch/go/<name>", "/callback", "/l/<launch_id>/about",
    ]  # fmt: skip
    fixed = {"at", "level", "event", "logger", "pid", "error", "frames"}
    assert all(set(line) <= fixed | set(EXTRAS) for line in read)
    assert requests[-1]["ehr"] == "ehr"
    assert requests[-1]["status"] == 200


def test_bad_input_119_an_exception_is_its_class_and_place(app, lines):
    def broken() -> str:
        raise ValueError("canary-value")

    app.flask.add_url_rule("/probe", "probe", broken)
    app.browser().get("/probe")
    text = lines.getvalue()
    assert "canary" not in text
    told = [json.loads(line) for line in text.splitlines() if '"error"' in line]
    assert told[0]["error"] == "ValueError"
    assert told[0]["frames"][-1].startswith("test_logs.py:")


def test_bad_input_119_other_libraries_arguments_are_left_out(lines):
    logging.getLogger("gunicorn.error").error("Error handling request %s", "/callback?code=canary")
    logging.getLogger("elsewhere").warning("%s", "canary")
    assert "canary" not in lines.getvalue()
    assert len(lines.getvalue().splitlines()) == 2


def test_bad_input_121_addresses_of_pages_hold_no_phi_and_no_secret(ehr, browser):
    launch = browser.launch(ehr)
    for path in (launch.location, browser.get(launch.location).location):
        assert "pat-1" not in path
        assert browser.cookie(launch.location.split("/")[2]) not in path

"""Whose page it is, and what protects it (SM-46, SM-47; rows 104 to 106, 109, 110)."""

from __future__ import annotations

import json
import re

import pytest
from werkzeug.wrappers import Response

from smart_app.web.error_pages import PAGES, Sorry
from tests.support.smart_ehr import PATIENT, SmartEhr
from tests.support.smart_visit import PUBLIC, reason_of

HOST = "app.example.net"


def raw(app, path: str, cookies: dict[str, str], **more):
    """A request with exactly these cookies."""
    line = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return app.flask.test_client(use_cookies=False).get(path, base_url=PUBLIC, headers={"Cookie": line}, **more)


def test_SM46_two_tabs_with_two_patients_never_mix(app, ehr, browser):
    first = browser.open(ehr)
    ehr.context |= {"patient": "pat-2"}
    ehr.resources["Patient/pat-2"] = {**PATIENT, "id": "pat-2", "name": [{"text": "Bert Secondname"}]}
    second = browser.open(ehr)
    for _ in range(2):  # in turn, in one browser, in one cookie jar
        one, two = browser.get(f"/l/{first}/about").text, browser.get(f"/l/{second}/about").text
        assert "Ada Canaryname" in one
        assert "Bert" not in one
        assert "Bert Secondname" in two
        assert "Ada" not in two
    one, two = browser.cookie(first), browser.cookie(second)
    name = "__Host-smart-launch-"
    assert raw(app, f"/l/{first}/about", {name + first: one}).status_code == 200
    swapped = {name + first: two, name + second: one}
    for launch_id in (first, second):
        answer = raw(app, f"/l/{launch_id}/about", swapped)
        assert answer.status_code == 401
        assert "Canaryname" not in answer.text
        assert "Secondname" not in answer.text


def test_SM46_ending_one_launch_leaves_the_other(ehr, browser):
    first, second = browser.open(ehr), browser.open(ehr)
    browser.post(f"/l/{first}/sign-out", {"csrf_token": browser.csrf(first)})
    assert browser.get(f"/l/{first}/about").status_code == 401
    assert browser.get(f"/l/{second}/about").status_code == 200


def test_bad_input_104_the_session_begins_at_the_callback_with_a_secret_of_its_own(app, ehr, browser):
    browser.begin(ehr)
    before = {cookie.decoded_value for cookie in browser.client._cookies.values()}
    assert len(before) == 1
    response = browser.get(browser.authorize())
    launch_id = response.location.split("/")[2]
    secret = browser.cookie(launch_id)
    assert secret not in before
    assert len(secret) == 43
    name = f"__Host-smart-launch-{launch_id}"
    assert raw(app, f"/l/{launch_id}/about", {name: before.pop()}).status_code == 401
    assert raw(app, f"/l/{launch_id}/about", {}).status_code == 401
    assert raw(app, f"/l/{launch_id}/about", {name: secret}).status_code == 200
    browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": browser.csrf(launch_id)})
    assert raw(app, f"/l/{launch_id}/about", {name: secret}).status_code == 401


def test_bad_input_104_cookies_of_ended_launches_are_taken_back(app, ehr, browser):
    first = browser.open(ehr)
    app.parts.launches.end(first, "sign_out")
    browser.open(ehr)
    assert browser.cookie(first) == ""


def test_bad_input_104_a_launch_of_nobody_is_refused(browser):
    for launch_id in ("x", "A" * 32, "..", "%00"):
        assert browser.get(f"/l/{launch_id}/about").status_code in {401, 404}


@pytest.mark.parametrize(
    ("token", "headers", "reason"),
    [
        ("", {}, "csrf_token"),
        ("wrong", {}, "csrf_token"),
        ("üñ", {}, "csrf_token"),
        ("other launch", {}, "csrf_token"),
        ("own", {"Origin": "https://evil.example.com"}, "foreign_origin"),
        ("own", {"Origin": "http://app.example.net"}, "foreign_origin"),
        ("own", {"Sec-Fetch-Site": "cross-site"}, "foreign_origin"),
        ("own", {"Sec-Fetch-Site": "same-site", "Origin": "null"}, "foreign_origin"),
    ],
)
def test_SM47_bad_input_105_a_post_that_is_not_ours_changes_nothing(ehr, browser, caplog, token, headers, reason):
    launch_id, other = browser.open(ehr), browser.open(ehr)
    given = {"own": browser.csrf(launch_id), "other launch": browser.csrf(other)}.get(token, token)
    response = browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": given}, **headers)
    assert response.status_code == 403
    assert reason_of(caplog) == reason
    assert browser.get(f"/l/{launch_id}/about").status_code == 200
    assert ehr.revoked == []


@pytest.mark.parametrize("headers", [{}, {"Origin": PUBLIC}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}])
def test_SM47_our_own_posts_are_taken(ehr, browser, headers):
    launch_id = browser.open(ehr)
    response = browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": browser.csrf(launch_id)}, **headers)
    assert response.status_code == 303


def test_SM47_the_token_may_come_in_a_header(ehr, browser):
    launch_id = browser.open(ehr)
    response = browser.post(f"/l/{launch_id}/sign-out", **{"X-CSRF-Token": browser.csrf(launch_id)})
    assert response.status_code == 303


def policy_of(response) -> dict[str, str]:
    text = response.headers["Content-Security-Policy"]
    return dict(part.strip().partition(" ")[::2] for part in text.split(";"))


def test_SM47_bad_input_106_framing_is_for_this_ehrs_origins_alone(app, ehr, app_keys):
    with SmartEhr(app_keys.signing.public_set) as other:
        app.register(other, "other", frame_origins=["https://a.other.example", "https://b.other.example"])
        browser = app.browser(framed=True)
        first, second = browser.open(ehr), browser.open(other)
        assert policy_of(browser.get(f"/l/{first}/about"))["frame-ancestors"] == "https://ehr.example.org"
        both = "https://a.other.example https://b.other.example"
        assert policy_of(browser.get(f"/l/{second}/about"))["frame-ancestors"] == both
        # a page of trouble within a launch, to somebody who does not hold it: still this EHR's frame only
        assert policy_of(app.browser().get(f"/l/{first}/about"))["frame-ancestors"] == "https://ehr.example.org"
        for path in ("/", "/nowhere", "/.well-known/jwks.json", "/livez", "/static/app.css", "/launch"):
            assert policy_of(browser.get(path))["frame-ancestors"] == "'none'", path


def test_SM47_bad_input_106_an_ehr_without_frame_origins_is_never_framed(app, ehr):
    app.register(ehr, frame_origins=None)
    browser = app.browser()
    launch_id = browser.open(ehr)
    assert policy_of(browser.get(f"/l/{launch_id}/about"))["frame-ancestors"] == "'none'"


def test_SM47_bad_input_109_the_policy_allows_own_files_only(ehr, browser):
    launch_id = browser.open(ehr)
    policy = policy_of(browser.get(f"/l/{launch_id}/about"))
    assert policy.pop("frame-ancestors")
    assert policy == {
        "default-src": "'none'",
        **dict.fromkeys(
            ("style-src", "script-src", "img-src", "font-src", "connect-src", "form-action"), "'self'"
        ),
        "base-uri": "'none'",
        "report-uri": "/csp-report",
    }  # fmt: skip


def test_SM47_no_page_of_ours_holds_inline_script_or_style(ehr, browser):
    launch_id = browser.open(ehr)
    for path in ("/", "/launch", f"/l/{launch_id}/about", "/signed-out", "/nowhere"):
        text = browser.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text), path


def test_bad_input_109_a_report_is_recorded_by_its_directive_alone(browser, caplog):
    body = {
        "csp-report": {
            "effective-directive": "script-src-elem",
            "document-uri": "https://x/canary",
            "blocked-uri": "canary",
        }
    }
    for each in (
        body,
        {"csp-report": {"violated-directive": "style-src 'self'"}},
        {"csp-report": {"effective-directive": "canary"}},
        {"csp-report": 7},
        {"csp-report": {"effective-directive": 7}},
        [1],
        None,
    ):
        response = browser.client.post(
            "/csp-report",
            base_url=PUBLIC,
            data=json.dumps(each),
            content_type="application/csp-report",
            headers={"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        )
        assert response.status_code == 204
    noted = [each.directive for each in caplog.records if hasattr(each, "directive")]
    assert noted == ["script-src-elem", "style-src"]
    assert "canary" not in caplog.text


NASTY = (
    "<svg onload=alert(1)>",
    "{{7*7}}",
    "{% raw %}",
    "=cmd()",
    "\u202eevil",
    "<script>alert(1)</script>",
    "&amp;",
    '"><b>x',
)


@pytest.mark.parametrize("text", NASTY)
def test_SM47_bad_input_110_what_the_ehr_says_is_shown_as_text(ehr, browser, text):
    ehr.resources["Patient/pat-1"] = {**PATIENT, "name": [{"text": text}]}
    ehr.answers["GET /fhir/Practitioner/doc-1"] = lambda _: Response(
        json.dumps({"resourceType": "Practitioner", "id": "doc-1", "name": [{"text": text}]})
    )
    launch_id = browser.open(ehr)
    page = browser.get(f"/l/{launch_id}/about").text
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")
    assert page.count(escaped) == 3  # banner, name in the head, and on the page
    assert "<svg onload" not in page
    assert "<script>alert" not in page
    assert ">49<" not in page


def test_bad_input_110_a_name_of_a_megabyte_is_cut(ehr, browser):
    ehr.resources["Patient/pat-1"] = {**PATIENT, "name": [{"text": "x" * 1_000_000}]}
    launch_id = browser.open(ehr)
    assert len(browser.get(f"/l/{launch_id}/about").text) < 10_000


def test_headers_of_every_answer(ehr, browser):
    for path in ("/", "/launch", "/nowhere", "/.well-known/jwks.json", "/static/app.css"):
        headers = browser.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_every_page_of_trouble_says_what_happened_what_to_do_and_a_reference(app, ehr, browser):
    launch_id = browser.open(ehr)
    page = browser.get("/nowhere")
    reference = re.search(r"Reference <code>([^<]+)</code>", page.text)[1]
    assert len(reference) == 16
    for kind, sorry in PAGES.items():
        assert isinstance(sorry, Sorry), kind
        assert 200 <= sorry.status < 600
        assert sorry.heading, kind
        assert sorry.happened.endswith((".", ":")), kind
        assert sorry.steps, kind
        assert "denied" not in f"{sorry.heading} {sorry.happened} {sorry.steps}".lower()
    assert browser.get(f"/l/{launch_id}/about").status_code == 200


def test_the_reference_on_the_page_is_in_the_log(browser, caplog):
    page = browser.get("/launch?iss=https://x.example.org")
    reference = re.search(r"Reference <code>([^<]+)</code>", page.text)[1]
    assert [each.request_id for each in caplog.records if each.msg == "page of trouble"] == [reference]


def test_an_error_of_the_apps_own_is_a_page_without_a_trace(app, ehr, caplog):
    def broken() -> str:
        raise ValueError("canary-value")

    app.flask.add_url_rule("/probe", "probe", broken)
    page = app.browser().get("/probe")
    assert page.status_code == 500
    assert "Something went wrong in the app" in page.text
    assert "canary" not in page.text
    assert "Traceback" not in page.text


def test_a_database_that_is_away_is_a_page(app, ehr, browser):
    launch_id = browser.open(ehr)
    app.parts.store.close()
    app.settings.sqlite_path.rename(app.var / "gone")
    for each in app.var.glob("app.sqlite3-*"):
        each.unlink()
    page = browser.get(f"/l/{launch_id}/about")
    assert page.status_code == 503
    assert "cannot save at this moment" in page.text
    assert browser.get("/readyz").status_code == 503
    assert browser.get("/livez").status_code == 200


def test_a_form_larger_than_any_form_is_refused(app, ehr, browser):
    launch_id = browser.open(ehr)
    response = browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": "x" * 2_100_000})
    assert response.status_code == 413

"""Rows 104 to 107 and 109, 110 at the review desk: sessions, forms of other origins, framing, cookies, foreign text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.sql.review_tables import REVIEW_SESSION
from cds_service.web.review.pages import sanitised
from cds_service.web.review.sessions import SESSION_COOKIE, SIGN_IN_COOKIE, form_token
from tests.support import pas_bundles
from tests.support.review_desk import BASE, OURS, Browser, Desk, put_case

FORMS = ("/review/sign-out", "/review/cases/{id}/take", "/review/cases/{id}/draft", "/review/cases/{id}/decide")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("sessions"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def app(desk: Desk) -> Flask:
    return desk.app()


@pytest.fixture(scope="module")
def case_id(desk: Desk) -> str:
    return put_case(desk, 1).id


def test_bad_input_104_a_session_gets_a_new_id_at_sign_in_and_the_old_ones_are_dead(app: Flask) -> None:
    browser = Browser(app)
    browser.get("/review/sign-in")
    before = browser.cookie(SIGN_IN_COOKIE)
    browser.sign_in("demo-nurse")
    first = browser.cookie(SESSION_COOKIE)
    assert first not in {"", before}
    browser.get("/review/sign-in")
    browser.sign_in("demo-nurse")
    second = browser.cookie(SESSION_COOKIE)
    assert second != first
    for dead in (before, first):
        browser.client.set_cookie(SESSION_COOKIE, dead, domain="payer.example.org", secure=True)
        assert browser.get("/review").headers["Location"].startswith("/review/sign-in")
    browser.client.set_cookie(SESSION_COOKIE, second, domain="payer.example.org", secure=True)
    assert browser.get("/review").status_code == 200


def test_bad_input_104_a_fixed_session_id_is_never_taken_over(app: Flask) -> None:
    browser = Browser(app)
    browser.client.set_cookie(SESSION_COOKIE, "chosen-by-an-attacker", domain="payer.example.org", secure=True)
    browser.sign_in("demo-nurse")
    assert browser.cookie(SESSION_COOKIE) != "chosen-by-an-attacker"


def test_bad_input_104_after_sign_out_the_id_is_dead(app: Flask) -> None:
    browser = Browser(app, "demo-nurse")
    held = browser.cookie(SESSION_COOKIE)
    assert browser.post("/review/sign-out").status_code == 200
    assert browser.cookie(SESSION_COOKIE) == ""
    browser.client.set_cookie(SESSION_COOKIE, held, domain="payer.example.org", secure=True)
    assert browser.get("/review").status_code == 303


@pytest.mark.parametrize(
    ("steps", "alive"),
    [
        ([14 * 60], True),
        ([15 * 60], False),  # idle
        ([14 * 60] * 3, True),  # used in between
        ([14 * 60] * 43, False),  # used all the time, and ten hours old
    ],
)
def test_bad_input_104_a_session_ends_when_idle_and_when_old(
    desk: Desk, app: Flask, steps: list[int], alive: bool
) -> None:
    browser, at = Browser(app, "demo-nurse"), desk.clock.at
    try:
        for seconds in steps:
            desk.clock.at += seconds
            status = browser.get("/review").status_code
        assert status == (200 if alive else 303)
    finally:
        desk.clock.at = at


def test_a_copy_of_the_database_opens_no_session(desk: Desk, app: Flask) -> None:
    browser = Browser(app, "demo-nurse")
    secret = browser.cookie(SESSION_COOKIE)
    rows = desk.database.read(lambda session: [str(row) for row in session.execute(REVIEW_SESSION.select())])
    assert not any(secret in row for row in rows)


@pytest.mark.parametrize("path", FORMS)
def test_bad_input_105_a_form_without_or_with_anothers_token_is_refused(app: Flask, case_id: str, path: str) -> None:
    browser, other = Browser(app, "demo-nurse"), Browser(app, "demo-physician")
    for token in ("", "0" * 64, other.token(), form_token("")):
        assert browser.post(path.format(id=case_id), token=token).status_code == 403
    assert browser.get("/review").status_code == 200, "nobody was signed out"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://payer.example.org"},  # our host without TLS
        {"Origin": f"{BASE}.evil.example"},
        {"Origin": f"{BASE}:8443"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another host of the payer's
    ],
)
@pytest.mark.parametrize("path", FORMS)
def test_bad_input_105_a_form_of_another_origin_is_refused(
    app: Flask, case_id: str, path: str, headers: dict[str, str]
) -> None:
    browser = Browser(app, "demo-nurse")
    assert browser.post(path.format(id=case_id), headers=headers).status_code == 403


def test_bad_input_105_the_demo_sign_in_is_guarded_too(app: Flask) -> None:
    browser, other = Browser(app), Browser(app)
    other.get("/review/sign-in")
    stolen = other.token()
    browser.get("/review/sign-in")
    own, form, path = browser.token(), {"person": "demo-physician"}, "/review/sign-in/demo"
    assert browser.post(path, form, token=stolen).status_code == 403
    assert browser.post(path, form, {"Origin": "https://evil.example"}, token=own).status_code == 403
    assert browser.post(path, {"person": "root"}, token=own).status_code == 401


def test_bad_input_105_a_form_after_the_session_is_refused_and_nothing_happens(
    desk: Desk, app: Flask, case_id: str
) -> None:
    browser = Browser(app, "demo-nurse")
    token = browser.token()
    browser.client.delete_cookie(SESSION_COOKIE, domain="payer.example.org")
    answer = browser.post(f"/review/cases/{case_id}/take", token=token)
    assert answer.status_code == 403
    assert "session has ended" in answer.get_data(as_text=True)
    assert desk.cases.case(case_id).assigned_to == ""


@pytest.mark.parametrize("path", ["/review", "/review/sign-in", "/review/figures", "/review/cases/x"])
def test_bad_input_106_109_no_page_may_be_framed_cached_or_run_foreign_code(app: Flask, path: str) -> None:
    answer = Browser(app, "demo-auditor").get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "form-action 'self'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    page = answer.get_data(as_text=True)
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|javascript:", page)


def test_bad_input_107_cookies_are_for_this_host_alone(app: Flask) -> None:
    browser = Browser(app)
    pages = [browser.get("/review/sign-in"), browser.sign_in("demo-nurse")]
    given = SimpleCookie(
        "\n".join(line for page in pages for line in page.headers.getlist("Set-Cookie") if "Max-Age" not in line)
    )
    assert set(given) == {SESSION_COOKIE, SIGN_IN_COOKIE}
    for name, cookie in given.items():
        assert name.startswith("__Host-")
        assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["samesite"]) == (True, True, "/", "Lax")
        assert (cookie["domain"], cookie["max-age"], cookie["expires"]) == ("", "", "")


@pytest.mark.parametrize(
    "after", ["https://evil.example", "//evil.example", "/review/../x", "/other", "/review?x=1", "/review/a b"]
)
def test_bad_input_after_sign_in_nobody_is_sent_elsewhere(app: Flask, after: str) -> None:
    browser = Browser(app)
    browser.client.get("/review/sign-in", base_url=BASE, query_string={"next": after})
    browser.last = browser.client.get("/review/sign-in", base_url=BASE, query_string={"next": after})
    arrived = browser.post("/review/sign-in/demo", {"person": "demo-nurse"})
    assert arrived.headers["Location"] == "/review"


def test_an_oversized_form_is_refused(app: Flask, case_id: str) -> None:
    browser = Browser(app, "demo-nurse")
    assert browser.post(f"/review/cases/{case_id}/draft", {"note": "x" * 300_000}).status_code == 413


EVIL = {
    "markup": "<svg onload=alert(1)>",
    "template": "{{7*7}}{% raw %}",
    "formula": "=cmd()|'/C calc'!A0",
    "direction": "good\u202edab",
    "long": "x" * 50_000,
}


@pytest.fixture(scope="module")
def evil_case(desk: Desk) -> str:
    """Foreign text wherever a sender may put some."""
    text = " ".join(EVIL.values())
    rationale = {"clinical_rationale_text": text}
    order = pas_bundles.morphine()
    order["medicationCodeableConcept"] = {
        **order["medicationCodeableConcept"],
        "text": EVIL["markup"] + EVIL["template"],
    }
    statement = {
        "resourceType": "MedicationStatement",
        "id": "evil-1",
        "status": "active",
        "medicationCodeableConcept": {"text": text[:500]},
        "subject": {"reference": "Patient/pat-1"},
        "effectivePeriod": {"start": "2025-06-01"},
    }
    narrated = pas_bundles.answers({**pas_bundles.COMPLETE, "life_expectancy_ge_3_months": "no"}) | {
        "id": "qr-2",
        "text": {
            "status": "additional",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{EVIL["markup"]}<p>plain</p></div>',
        },
    }
    values = {**pas_bundles.COMPLETE, "life_expectancy_ge_3_months": "no", **rationale}
    return put_case(desk, 77, values=values, order=order, more=[statement, narrated]).id


def test_bad_input_110_foreign_text_is_shown_as_text_on_every_page_of_a_case(app: Flask, evil_case: str) -> None:
    browser = Browser(app, "demo-physician")
    for path in ("", "/response"):
        page = browser.get(f"/review/cases/{evil_case}{path}").get_data(as_text=True)
        assert "<svg onload" not in page
    page = browser.get(f"/review/cases/{evil_case}").get_data(as_text=True)
    assert "&lt;svg onload" in page
    assert "{{7*7}}" in page
    assert "49" not in re.sub(r"[0-9a-f]{8,}|\d{4,}|\d[\d-]*\d{2}", "", page.partition("Forms and documents")[2])
    assert "<bdi" in page  # what turns the direction of a line turns its own line only
    assert "<p>plain</p>" in page


@pytest.mark.parametrize(
    ("xhtml", "shown"),
    [
        ("<div><script>alert(1)</script>a</div>", "<div>a</div>"),
        ('<img src="https://evil.example/x.png">b', "b"),
        ('<a href="javascript:alert(1)">c</a>', '<a rel="noopener noreferrer">c</a>'),
        ('<a href="https://evil.example">d</a>', '<a rel="noopener noreferrer">d</a>'),
        ('<p style="position:fixed" class="x" onclick="y()">e</p>', "<p>e</p>"),
        ("<svg><style>*{display:none}</style></svg>f", "f"),
        ('<form action="/review/sign-out"><button>g</button></form>', "g"),
        ("<iframe srcdoc='<script>1</script>'></iframe>h", "h"),
        ('<td colspan="2">i</td>', "i"),
    ],
)
def test_bad_input_109_narratives_keep_only_what_is_plain(xhtml: str, shown: str) -> None:
    assert str(sanitised(xhtml)) == shown


def test_bad_input_109_an_endless_narrative_is_not_shown() -> None:
    assert "longer" in str(sanitised("<p>x</p>" * 100_000))


def typed(**fields: Any) -> dict[str, Any]:
    return {"version": "1", **fields}


def test_bad_input_110_what_a_reviewer_types_is_text_too(app: Flask, case_id: str) -> None:
    browser = Browser(app, "demo-physician")
    browser.get(f"/review/cases/{case_id}")
    form = typed(**{"action-1": "A3", "reason-1": EVIL["markup"] + " is no reason \u202e at all", "criterion-1": "I.1"})
    page = browser.post(f"/review/cases/{case_id}/draft", form, headers=OURS).get_data(as_text=True)
    assert "<svg onload" not in page
    assert "&lt;svg onload" in page
    assert "\u202e" not in page

"""Tokens over time: refresh with rotation under a lock, relaunch, revocation, the end (SM-24, SM-42 to SM-45)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import g

from smart_app.adapters.database import LAUNCH
from smart_app.adapters.store import AppStore, digest
from smart_app.errors import FormChanged, Relaunch, Trouble
from smart_app.web.gunicorn_server import keep_house
from smart_app.web.security import launch_required
from tests.support.smart_ehr import plain
from tests.support.smart_visit import PUBLIC


@pytest.fixture
def refreshing(app, ehr):
    """An app that may refresh, and an EHR whose tokens live 1000 seconds."""
    app.register(ehr, refresh="offline")
    ehr.life = 1_000
    return app


@pytest.fixture
def opened(refreshing, ehr):
    """Launch id, and the access token that it began with."""
    launch_id = refreshing.browser().open(ehr)
    return launch_id, refreshing.parts.launches.access_token(launch_id)


def refreshes(ehr) -> list[dict]:
    return [call.form for call in ehr.token_calls if call.form["grant_type"] == "refresh_token"]


def test_SM24_nothing_is_refreshed_before_80_percent(refreshing, ehr, opened):
    launch_id, first = opened
    refreshing.clock.forward(seconds=790)
    assert refreshing.parts.launches.access_token(launch_id) == first
    assert refreshes(ehr) == []
    refreshing.clock.forward(seconds=15)
    assert refreshing.parts.launches.access_token(launch_id) != first
    assert len(refreshes(ehr)) == 1


def test_SM43_the_refresh_request_and_the_rotated_token(refreshing, ehr, opened):
    launch_id, _ = opened
    for _ in range(3):
        refreshing.clock.forward(seconds=801)
        refreshing.parts.launches.access_token(launch_id)
    forms = refreshes(ehr)
    assert {frozenset(form) for form in forms} == {
        frozenset({"grant_type", "refresh_token", "client_assertion_type", "client_assertion"})
    }  # no scope: it can never be wider
    assert len({form["refresh_token"] for form in forms}) == 3
    assert ehr.reused_refresh == 0


def test_SM43_a_server_that_does_not_rotate_keeps_its_refresh_token(refreshing, ehr, opened):
    launch_id, _ = opened
    ehr.token_response = {"refresh_token": ...}
    refreshing.clock.forward(seconds=801)
    refreshing.parts.launches.access_token(launch_id)
    ehr.token_response = {}
    used = refreshes(ehr)[0]["refresh_token"]
    ehr.used_refresh.discard(used)
    ehr.refresh_tokens[used] = next(iter(ehr.refresh_tokens.values()))
    refreshing.clock.forward(seconds=801)
    refreshing.parts.launches.access_token(launch_id)
    assert [form["refresh_token"] for form in refreshes(ehr)] == [used, used]


def test_SM43_many_threads_in_two_processes_use_a_refresh_token_once(refreshing, ehr, opened):
    """Both apps are whole ones, joined by the database alone, as two processes are."""
    launch_id, first = opened
    other = refreshing.another_process().extensions["smart_app"]
    refreshing.clock.forward(seconds=1_001)
    ehr.token_delay = 0.3
    start = threading.Barrier(8)

    def ask(number: int) -> str:
        start.wait()
        return (refreshing.parts if number % 2 else other).launches.access_token(launch_id)

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))
    assert len(found) == 1
    assert first not in found
    assert len(refreshes(ehr)) == 1
    assert ehr.reused_refresh == 0


def test_SM43_while_one_refreshes_the_others_use_what_is_still_good(refreshing, ehr, opened):
    launch_id, first = opened
    refreshing.clock.forward(seconds=900)
    ehr.token_delay = 0.5
    with ThreadPoolExecutor(1) as pool:
        refreshed = pool.submit(refreshing.parts.launches.access_token, launch_id)
        while not refreshes(ehr):
            pass
        assert refreshing.parts.launches.access_token(launch_id) == first
        assert refreshed.result() != first


def test_SM43_whoever_dies_with_the_refresh_token_takes_it_along(refreshing, ehr, opened):
    """Its holder may have used it: it is never used again, and the others do not wait for ever."""
    launch_id, _ = opened
    parts = refreshing.parts
    row = parts.store.launch(launch_id)
    refreshing.clock.forward(seconds=1_001)
    assert parts.store.take_refresh(launch_id, row.token_version, refreshing.clock.now())
    refreshing.clock.forward(seconds=31)
    with pytest.raises(Relaunch) as caught:
        parts.launches.access_token(launch_id)
    assert caught.value.reason == "refresh_lost"
    assert refreshes(ehr) == []


def test_SM42_a_401_is_followed_by_one_refresh_and_one_retry(refreshing, ehr, opened):
    launch_id, first = opened
    parts = refreshing.parts
    launch = parts.launches.find(launch_id, _secret(refreshing, launch_id))
    ehr.refused_tokens.add(first)
    seen = parts.launches.client(launch).read("Patient/pat-1")
    assert seen.state == "complete"
    assert len(refreshes(ehr)) == 1
    reads = [each.headers["Authorization"] for each in ehr.to("/fhir/Patient/pat-1")][-2:]
    assert reads[0] == f"Bearer {first}"
    assert reads[1] != reads[0]


def test_SM42_without_a_refresh_token_a_401_means_relaunch_and_the_form_is_kept(app, ehr):
    """One form is kept before, and the next launch of the same person for the same patient finds it."""
    browser = app.browser()
    launch_id = browser.open(ehr)
    store = app.parts.store
    store.keep_form(launch_id, "answers", b"draft", 0)
    app.clock.forward(seconds=3_601)
    with pytest.raises(Relaunch):
        app.parts.launches.access_token(launch_id)
    app.clock.ahead = timedelta()  # the strict EHR's identity tokens are of its own time
    again = app.browser().open(ehr)
    (left,) = store.left_forms(again)
    assert (left.launch_id, left.kind, left.blob) == (launch_id, "answers", b"draft")
    ehr.context |= {"patient": "pat-2"}
    assert store.left_forms(app.browser().open(ehr)) == ()
    ehr.context |= {"patient": "pat-1"}
    ehr.id_claims = {"sub": "user-2"}
    assert store.left_forms(app.browser().open(ehr)) == ()


def test_SM42_relaunch_is_a_page_that_says_what_to_do(app, ehr):
    app.flask.add_url_rule("/l/<launch_id>/probe", "probe", launch_required(lambda: g.ehr.read("Patient/pat-1").state))
    browser = app.browser()
    launch_id = browser.open(ehr)
    ehr.refused_tokens.update(ehr.access)
    page = browser.get(f"/l/{launch_id}/probe")
    assert page.status_code == 401
    assert "permission has run out" in page.text
    assert "What you have entered is kept" in page.text


def test_SM42_a_403_leaves_the_form_usable(app, ehr):
    app.flask.add_url_rule("/l/<launch_id>/probe", "probe", launch_required(lambda: g.ehr.read("Patient/pat-1").state))
    browser = app.browser()
    launch_id = browser.open(ehr)
    ehr.answers["GET /fhir/Patient/pat-1"] = plain({}, 403)
    page = browser.get(f"/l/{launch_id}/probe")
    assert (page.status_code, page.text) == (200, "denied")


@pytest.mark.parametrize(
    ("status", "error", "left", "kind"),
    [
        (400, "invalid_grant", False, Relaunch),
        (401, "invalid_client", False, Relaunch),
        (503, "server_error", True, Trouble),  # it says that it did nothing: the token is good for another try
        (429, "temporarily_unavailable", True, Trouble),
    ],
)
def test_SM43_a_refresh_that_fails(refreshing, ehr, opened, status, error, left, kind):
    launch_id, _ = opened
    refreshing.clock.forward(seconds=1_001)
    ehr.token_error, ehr.token_status = {"error": error}, status
    with pytest.raises(Trouble) as caught:
        refreshing.parts.launches.access_token(launch_id)
    assert type(caught.value) is kind
    ehr.token_error, ehr.token_status = None, 200
    if left:
        assert refreshing.parts.launches.access_token(launch_id).startswith("access-")
    else:
        with pytest.raises(Relaunch):
            refreshing.parts.launches.access_token(launch_id)
        assert len(refreshes(ehr)) == 1


def test_SM43_a_refresh_that_fails_early_costs_nothing(refreshing, ehr, opened):
    launch_id, first = opened
    refreshing.clock.forward(seconds=850)
    ehr.token_error = {"error": "invalid_grant"}
    assert refreshing.parts.launches.access_token(launch_id) == first


def test_SM43_an_ehr_that_is_gone_did_not_get_the_token(refreshing, ehr, opened):
    launch_id, _ = opened
    refreshing.clock.forward(seconds=1_001)
    ehr.stop()
    refreshing.http.close()  # a kept connection would make it "disconnected": then nobody knows
    with pytest.raises(Trouble) as caught:
        refreshing.parts.launches.access_token(launch_id)
    assert caught.value.kind == "ehr_away"
    assert refreshing.parts.store.launch(launch_id).refresh_until is None


def test_SM45_signing_out_drops_and_revokes_the_tokens(refreshing, ehr):
    browser = refreshing.browser()
    launch_id = browser.open(ehr)
    tokens = {*ehr.access, *ehr.refresh_tokens}
    secret = browser.cookie(launch_id)
    response = browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": browser.csrf(launch_id)})
    assert response.status_code == 303
    assert browser.get(response.location).status_code == 200
    assert set(ehr.revoked) == tokens
    assert len(tokens) == 2
    assert browser.cookie(launch_id) == ""
    assert refreshing.parts.store.launch(launch_id).tokens is None
    with pytest.raises(Trouble):
        refreshing.parts.launches.find(launch_id, secret)


def test_SM45_no_revocation_endpoint_no_call(app, ehr):
    ehr.discovery["revocation_endpoint"] = ...
    browser = app.browser()
    launch_id = browser.open(ehr)
    browser.post(f"/l/{launch_id}/sign-out", {"csrf_token": browser.csrf(launch_id)})
    assert ehr.revoked == []
    assert app.parts.store.launch(launch_id).tokens is None


def test_SM45_bad_input_104_an_idle_launch_ends_after_fifteen_minutes(app, ehr):
    browser = app.browser()
    launch_id = browser.open(ehr)
    for _ in range(3):
        app.clock.forward(minutes=14)
        assert browser.get(f"/l/{launch_id}/about").status_code == 200
    app.clock.forward(minutes=15, seconds=1)
    page = browser.get(f"/l/{launch_id}/about")
    assert page.status_code == 401
    assert "session has ended" in page.text
    assert len(ehr.revoked) == 1
    assert browser.get(f"/l/{launch_id}/about").status_code == 401


def test_SM45_every_launch_ends_after_its_longest_time(app, ehr):
    browser = app.browser()
    launch_id = browser.open(ehr)
    for _ in range(12 * 60 // 14 + 1):
        app.clock.forward(minutes=14)
        status = browser.get(f"/l/{launch_id}/about").status_code
    assert status == 401


def test_SM45_launches_that_nobody_comes_back_to_are_ended_too(app, ehr):
    first, second = app.browser(), app.browser()
    left, used = first.open(ehr), second.open(ehr)
    app.clock.forward(minutes=10)
    second.get(f"/l/{used}/about")
    app.clock.forward(minutes=6)
    assert app.parts.launches.end_idle() == 1
    assert app.parts.launches.end_idle() == 0
    assert len(ehr.revoked) == 1
    assert app.parts.store.launch(left).end_reason == "idle"
    assert app.parts.store.launch(used).ended is None


def test_SM45_the_housekeeper_ends_and_forgets_by_itself_and_outlives_trouble(app, ehr, caplog, monkeypatch):
    launch_id = app.browser().open(ehr)
    app.clock.forward(minutes=16)
    turns = iter((False, False, True))
    keep_house(app.flask, lambda _seconds: next(turns))
    assert app.parts.store.launch(launch_id).end_reason == "idle"
    app.clock.forward(days=31)
    fails = iter((True, False))
    purge = AppStore.purge

    def purge_later(store: AppStore, *when: object) -> object:
        if next(fails):
            raise sa.exc.OperationalError("x", {}, ValueError())
        return purge(store, *when)

    monkeypatch.setattr(AppStore, "purge", purge_later)
    turns = iter((False, False, True))
    keep_house(app.flask, lambda _seconds: next(turns))
    assert "housekeeping failed" in caplog.text
    assert app.parts.store.launch(launch_id) is None


def test_an_open_launch_survives_a_restart(app, ehr):
    browser = app.browser()
    launch_id = browser.open(ehr)
    app.parts.store.keep_form(launch_id, "answers", b"draft", 0)
    again = app.another_process()
    name = f"__Host-smart-launch-{launch_id}"
    cookie = {"Cookie": f"{name}={browser.cookie(launch_id)}"}
    page = again.test_client(use_cookies=False).get(f"/l/{launch_id}/about", base_url=PUBLIC, headers=cookie)
    assert "Ada Canaryname" in page.text
    assert again.extensions["smart_app"].store.form(launch_id, "answers").blob == b"draft"
    again.extensions["smart_app"].store.close()


def test_forms_are_kept_over_the_newest_version_only(app, ehr):
    launch_id = app.browser().open(ehr)
    store = app.parts.store
    assert store.form(launch_id, "a") is None
    assert store.keep_form(launch_id, "a", b"1", 0) == 1
    assert store.keep_form(launch_id, "a", b"2", 1) == 2
    for version in (0, 1, 3):
        with pytest.raises(FormChanged):
            store.keep_form(launch_id, "a", b"x", version)
    kept = store.form(launch_id, "a")
    assert (kept.blob, kept.version) == (b"2", 2)
    store.drop_form(launch_id, "a")
    assert store.form(launch_id, "a") is None


def _secret(app, launch_id):
    """Let a second browser's secret open this launch, as the first one's cookie does."""
    with app.parts.store.engine.connect() as connection:
        connection.execute(sa.update(LAUNCH).where(LAUNCH.c.id == launch_id).values(secret_hash=digest("known")))
    return "known"

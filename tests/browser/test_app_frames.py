"""Frames and cookies in a real browser: an EHR of another site, of another port, and of an origin nobody registered.

Rows 106 to 108 of bad input and SM-25, SM-47: over TLS (partitioned cookies across sites) and on plain http of one's
own machine. What the form itself shows is not looked at here: the banner tells whose chart is open.
"""

from __future__ import annotations

import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
import trustme
from playwright.sync_api import Browser, BrowserContext, Page, expect
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from smart_app.adapters.keys import AppKeys, make_missing
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_visit import AppUnderTest

PATIENT = "Ada Canaryname"
LISTED, UNLISTED = "localhost", "127.0.0.2"


class Site:
    """An app and an EHR whose pages frame it; both on this machine, under the names that a test gives them."""

    def __init__(self, app: AppUnderTest, ehr: SmartEhr, scheme: str) -> None:
        self.app, self.ehr, self.scheme = app, ehr, scheme
        self.port = ehr.url.rpartition(":")[2]
        launch = f"{app.settings.public_url}/launch?iss={quote(ehr.iss, safe='')}&launch="
        self.launch_address = launch + "framed"
        page = (
            f'<!doctype html><title>EHR</title><iframe src="{self.launch_address}" width="900" height="700"></iframe>'
        )
        ehr.answers["GET /chart"] = lambda _request: Response(page, mimetype="text/html")

    def chart(self, host: str) -> str:
        """The EHR's page that shows the app in a frame, on one of the machine's names."""
        return f"{self.scheme}://{host}:{self.port}/chart"


@contextmanager
def site(tmp_path_factory, *, tls: bool) -> Iterator[Site]:
    var = tmp_path_factory.mktemp("frames")
    make_missing(var / "keys", lambda: secrets.token_urlsafe(32))
    keys = AppKeys(var / "keys")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(var / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "127.0.0.2", "localhost").configure_cert(context)
    scheme, used = ("https", context) if tls else ("http", None)
    with SmartEhr(keys.signing.public_set, tls=used, host="0.0.0.0") as ehr:
        ehr.move_to("127.0.0.1")
        server = make_server("127.0.0.1", 0, Response(), threaded=True, ssl_context=used)
        public = (
            f"{scheme}://127.0.0.1:{server.server_port}"  # its port is known now, and only then the app can be made
        )
        app = AppUnderTest(var, var / "keys", keys, public_url=public)
        origins = [f"{scheme}://{host}:{ehr.url.rpartition(':')[2]}" for host in (LISTED, "127.0.0.1")]
        app.register(ehr, ca_file=str(var / "ca.pem") if tls else None, frame_origins=origins)
        ehr.redirect = f"{public}/callback"
        server.app = app.flask
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield Site(app, ehr, scheme)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
            app.close()


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory) -> Iterator[Site]:
    with site(tmp_path_factory, tls=True) as made:
        yield made


@pytest.fixture(scope="module")
def plain_http(tmp_path_factory) -> Iterator[Site]:
    with site(tmp_path_factory, tls=False) as made:
        yield made


@pytest.fixture
def profile(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(ignore_https_errors=True)
    context.set_default_timeout(15_000)
    yield context
    context.close()


def framed(page: Page):
    return page.frame_locator("iframe")


@pytest.mark.browser
def test_SM25_bad_input_107_over_tls_the_app_opens_in_a_frame_of_another_site(over_tls, profile):
    page = profile.new_page()
    page.goto(over_tls.chart(LISTED))
    expect(framed(page).get_by_text(PATIENT)).to_be_visible()
    cookies = [each for each in profile.cookies() if "launch" in each["name"]]
    assert len(cookies) == 1
    (cookie,) = cookies
    assert cookie["name"].startswith("__Host-smart-launch-")
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "None")
    assert cookie["partitionKey"]  # good in this EHR's pages alone


@pytest.mark.browser
def test_SM25_over_tls_in_a_window_of_its_own(over_tls, profile):
    page = profile.new_page()
    page.goto(over_tls.launch_address)
    expect(page.get_by_text(PATIENT)).to_be_visible()
    (cookie,) = [each for each in profile.cookies() if "launch" in each["name"]]
    assert cookie["sameSite"] == "Lax"
    assert "code=" not in page.url
    assert "state=" not in page.url


@pytest.mark.browser
def test_SM47_bad_input_105_our_own_forms_are_taken_by_a_real_browser(over_tls, profile):
    """Its pages send no referrer, so the browser says ``Origin: null``."""
    page = profile.new_page()
    page.goto(over_tls.launch_address)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are signed out of the app")).to_be_visible()
    assert [each for each in profile.cookies() if "launch" in each["name"]] == []


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["over_tls", "plain_http"])
def test_SM47_bad_input_106_an_origin_that_is_not_registered_cannot_frame_it(kind, profile, request):
    where = request.getfixturevalue(kind)
    page = profile.new_page()
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(where.chart(UNLISTED))
    assert framed(page).get_by_text(PATIENT).count() == 0


@pytest.mark.browser
def test_bad_input_107_on_plain_http_another_port_of_the_same_host_may_frame_it(plain_http, profile):
    page = profile.new_page()
    page.goto(plain_http.chart("127.0.0.1"))
    expect(framed(page).get_by_text(PATIENT)).to_be_visible()


@pytest.mark.browser
def test_bad_input_108_where_cookies_are_blocked_a_window_of_its_own_is_offered_once(plain_http, profile):
    """Plain http and another site: the browser keeps no cookie in the frame."""
    page = profile.new_page()
    before = len(plain_http.ehr.to("/auth/authorize"))
    page.goto(plain_http.chart(LISTED))
    link = framed(page).get_by_role("link", name="Open in a new window")
    expect(link).to_be_visible()
    assert len(plain_http.ehr.to("/auth/authorize")) == before  # no loop, and the launch is not used up
    with profile.expect_page() as opened:
        link.click()
    expect(opened.value.get_by_text(PATIENT)).to_be_visible()

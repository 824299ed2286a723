"""Health, metrics, determinations, CORS and pages."""

from __future__ import annotations

from hashlib import sha256

import pytest

from cds_service.errors import StoreUnavailable
from tests.support.web_twins import GOOD, JSON, ORDER_SIGN, READER_TOKEN, Web

READER = {"Authorization": f"Bearer {READER_TOKEN}"}


class TestHealth:
    def test_fault_f21_alive_while_the_database_is_down_but_not_ready(self) -> None:
        web = Web()
        assert web.call("GET", "/readyz", headers={}).status_code == 200
        web.ready = StoreUnavailable("the store cannot be reached")
        assert web.call("GET", "/readyz", headers={}).status_code == 503
        assert web.call("GET", "/livez", headers={}).status_code == 200
        web.ready = None
        assert web.call("GET", "/readyz", headers={}).status_code == 200

    def test_health_checks_leave_no_log_lines(self) -> None:
        web = Web()
        for path in ("/livez", "/readyz", "/metrics"):
            web.call("GET", path, headers={})
        assert web.lines.lines == []


class TestMetricsAccess:
    def test_token_is_asked_for_when_one_is_configured(self) -> None:
        web = Web(metrics_token_sha256=sha256(b"scraper").hexdigest())
        assert web.call("GET", "/metrics", headers={}).status_code == 401
        assert web.call("GET", "/metrics", headers={"Authorization": "Bearer other"}).status_code == 401
        assert web.call("GET", "/metrics", headers={"Authorization": "Bearer scraper"}).status_code == 200

    def test_production_without_a_token_shows_no_metrics(self) -> None:
        assert Web(metrics_open=False).call("GET", "/metrics", headers={}).status_code == 404


class TestDeterminations:
    def test_crd_158_stored_document_is_found_by_assertion_id_and_the_access_is_written_down(self) -> None:
        web = Web()
        answer = web.call("GET", "/determinations/assertion-1", headers=READER)
        assert (answer.status_code, answer.data) == (200, b'{"orders":[]}')
        assert web.store.accesses == [("auditor", "read", "assertion-1")]

    def test_unknown_id_is_404_and_written_down(self) -> None:
        web = Web()
        assert web.call("GET", "/determinations/assertion-2", headers=READER).status_code == 404
        assert web.store.accesses == [("auditor", "read_unknown", "assertion-2")]

    def test_text_that_is_no_id_is_404_and_not_kept(self) -> None:
        web = Web()
        assert web.call("GET", "/determinations/Canary Family, born 1931", headers=READER).status_code == 404
        assert web.store.accesses == []

    @pytest.mark.parametrize(
        "headers", [{}, GOOD, {"Authorization": "Bearer "}, {"Authorization": f"Basic {READER_TOKEN}"}]
    )
    def test_crd_192_no_reader_no_document(self, headers: dict[str, str]) -> None:
        web = Web()
        known, unknown = (web.call("GET", f"/determinations/{name}", headers=headers) for name in ("assertion-1", "no"))
        assert (known.status_code, known.data) == (unknown.status_code, unknown.data)
        assert known.status_code == 401
        assert web.store.accesses == []


class TestCors:
    ORIGIN = "https://ehr.example.org"

    def test_crd_86_preflight_of_a_registered_browser_client(self) -> None:
        web = Web()
        for path in ("/cds-services", ORDER_SIGN, f"{ORDER_SIGN}/feedback"):
            answer = web.call("OPTIONS", path, headers={"Origin": self.ORIGIN, "Access-Control-Request-Method": "POST"})
            assert answer.status_code == 204
            assert answer.headers["Access-Control-Allow-Origin"] == self.ORIGIN
            assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
            assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"

    def test_crd_87_refusals_can_be_read_by_the_browser_client(self) -> None:
        answer = Web().call(data=b"{}", headers=JSON | {"Origin": self.ORIGIN})
        assert answer.status_code == 401
        assert answer.headers["Access-Control-Allow-Origin"] == self.ORIGIN
        assert "Access-Control-Allow-Credentials" not in answer.headers

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://ehr.example.org.evil.example"])
    def test_bad_input_62_other_origins_get_nothing(self, origin: str) -> None:
        web = Web()
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for answer in (
            web.call(data=b"{}", headers=GOOD | JSON | {"Origin": origin}),
            web.call("OPTIONS", headers=preflight),
        ):
            assert [name for name, _ in answer.headers if name.startswith("Access-Control")] == []


class TestPages:
    def test_start_page_links_discovery_and_documentation(self) -> None:
        answer = Web().call("GET", "/", headers={})
        assert answer.status_code == 200
        assert 'href="/cds-services"' in answer.text
        assert 'href="/docs/hooks"' in answer.text

    def test_crd_98_hooks_left_out_are_named_publicly(self) -> None:
        answer = Web().call("GET", "/docs/hooks", headers={})
        for hook in ("order-sign", "order-select", "order-dispatch", "appointment-book", "encounter-start"):
            assert hook in answer.text

    def test_pages_load_nothing_foreign_and_cannot_be_framed(self) -> None:
        web = Web()
        for path in ("/", "/docs/hooks"):
            policy = web.call("GET", path, headers={}).headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
        with web.call("GET", "/static/site.css", headers={}) as style:
            assert (style.status_code, style.mimetype) == (200, "text/css")

    def test_unknown_policy_is_404(self) -> None:
        assert Web().call("GET", "/policies/none", headers={}).status_code == 404

    def test_bad_input_106_api_answers_may_not_be_framed(self) -> None:
        answer = Web().call("GET", "/cds-services", headers={})
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]

"""Shedding, log lines, metrics: what stands around every call (faults F27, F30; reliability 92, 119)."""

from __future__ import annotations

import os
import time

from cds_service.serving import described
from cds_service.web.call_note import queued
from cds_service.web.log_lines import Line, LineWriter
from tests.support.web_twins import GOOD, JSON, ORDER_SIGN, Web

CANARIES = ("CanaryFamily", "MRN-4711", "canary-token", "1931-05-17")


class TestShedding:
    def test_fault_f30_call_that_waited_too_long_is_shed_before_any_work(self) -> None:
        web = Web()
        queued.at = time.monotonic() - 1.5
        try:
            answer = web.call(data=b"{}")
        finally:
            del queued.at
        assert (answer.status_code, answer.json["issue"][0]["code"]) == (503, "throttled")
        assert answer.headers["Retry-After"] == "5"
        assert web.use_case.bodies == []
        assert (web.lines.lines[-1].outcome, web.lines.lines[-1].reason) == ("shed", "queue_time")

    def test_fault_f30_short_wait_and_health_checks_are_not_shed(self) -> None:
        web = Web(queue_seconds=60)
        queued.at = time.monotonic() - 0.5
        try:
            assert web.call(data=b"{}").status_code == 200
            queued.at = time.monotonic() - 60.5
            assert web.call("GET", "/livez", headers={}).status_code == 200
        finally:
            del queued.at


class TestNoPhi:
    def test_bad_input_92_119_nothing_a_caller_sends_reaches_log_metrics_or_refusal(self) -> None:
        web = Web()
        body = "".join(CANARIES).encode()
        refused = [
            web.call(data=body, headers=GOOD | {"Content-Type": "text/plain; name=CanaryFamily"}),
            web.call(data=body, headers=JSON | {"Authorization": "Bearer canary-token"}),
            web.call(path="/cds-services/CanaryFamily", data=body),
            web.call("GET", "/determinations/MRN-4711", headers={"Authorization": "Bearer canary-token"}),
            web.call("GET", "/Patient/MRN-4711?birthdate=1931-05-17", headers={}),
            web.call("BREW", ORDER_SIGN, data=body, headers=GOOD | JSON | {"X-Request-Id": "MRN-4711"}),
        ]
        assert {answer.status_code for answer in refused} == {401, 404, 405, 415}
        seen = web.lines.text() + web.call("GET", "/metrics", headers={}).text
        seen += "".join(answer.text + str(answer.headers) for answer in refused)
        assert [canary for canary in CANARIES if canary in seen] == []
        assert len(web.lines.lines) == 6  # the test looked at something

    def test_error_messages_are_left_out_of_log_lines(self) -> None:
        try:
            int("CanaryFamily")
        except ValueError as error:
            name, frames = described(error)
        assert name == "ValueError"
        assert frames[-1].startswith("test_boundary.py:")
        assert "CanaryFamily" not in name + "".join(frames)


class TestLineWriter:
    def line(self, number: int) -> Line:
        return Line(at=0.0, level="info", event="request", count=number)

    def test_lines_come_out_in_order(self) -> None:
        reading, writing = os.pipe()
        writer = LineWriter(writing, pause=0.01)
        for number in range(1, 4):
            writer.put(self.line(number))
        writer.close()
        os.close(writing)
        with os.fdopen(reading) as out:
            lines = out.read().splitlines()
        assert [line.count('"event":"request"') for line in lines] == [1, 1, 1]
        assert lines[0].startswith('{"at":"1970-01-01T00:00:00.000+00:00"')

    def test_fault_f27_blocked_sink_delays_nobody_and_losses_are_counted(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        filled = 0
        try:
            while True:
                filled += os.write(writing, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writing, True)  # from here on a write waits for ever
        writer = LineWriter(writing, bound=100, pause=0.01)
        for number in range(1_000):  # comes to its end although nobody reads before
            writer.put(self.line(number))
        writer.close(0.05)
        while filled > 0:
            filled -= len(os.read(reading, 65_536))
        writer.close()
        os.close(writing)
        with os.fdopen(reading, "rb") as out:
            text = out.read()
        assert b"log_lines_dropped" in text or writer.dropped > 0


class TestMetrics:
    def test_labels_are_closed(self) -> None:
        web = Web()
        web.call(data=b"{}")
        web.call(path="/cds-services/order-select", data=b"{}")
        web.call(path="/cds-services/anything-else", data=b"{}")
        text = web.call("GET", "/metrics", headers={}).text
        assert 'cds_requests_total{client="sample-ehr",hook="order-sign",outcome="full",status="200"} 1.0' in text
        assert 'cds_requests_total{client="other",hook="other",outcome="refused",status="404"} 1.0' in text
        assert "anything" not in text

    def test_crd_193_covered_rules_and_durations_are_counted(self) -> None:
        web = Web()
        web.call(data=b"{}")
        text = web.call("GET", "/metrics", headers={}).text
        assert 'cds_coverage_answers_total{covered="covered"} 1.0' in text
        assert 'cds_cards_total{rule="coverage.ready"} 1.0' in text
        assert 'cds_chart_drops_total{reason="other_patient"} 2.0' in text
        assert 'cds_chart_drops_total{reason="refuted"} 1.0' in text
        assert 'cds_hook_seconds_count{path="prefetch"} 1.0' in text

    def test_words_of_adapters_are_counted_and_other_text_is_not_kept(self) -> None:
        web = Web()
        web.metrics.event("jwks_unavailable")
        web.metrics.event("CanaryFamily, born 1931")
        text = web.call("GET", "/metrics", headers={}).text
        assert 'cds_events_total{event="jwks_unavailable"} 1.0' in text
        assert 'cds_events_total{event="other"} 1.0' in text

"""Prometheus metrics with closed labels, over all worker processes.

A label value is a configured client id, a hook or outcome of ours, or a word of our own code; anything else counts as
``other``. prometheus_client decides at its import whether several processes share files, so it is imported by ``wsgi``
only, after the fork.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

from cds_service.web.call_note import CallNote

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 4.0, 5.0)
_WORD = re.compile(r"[a-z0-9_.:-]{1,48}")


class Metrics:
    """Counts of what was answered. Label tuples are looked up once and kept: it is on the hot path."""

    def __init__(self, clients: Iterable[str], hooks: Iterable[str], *, shared: bool) -> None:
        """``shared``: several processes write to PROMETHEUS_MULTIPROC_DIR."""
        self._shared = shared
        self._registry = CollectorRegistry()
        self._clients = frozenset(clients)
        self._hooks = frozenset(hooks)
        self._words: dict[str, bool] = {}
        self._children: dict[tuple[Any, ...], Any] = {}
        self._requests = self._counter("cds_requests", "Answered calls", ("hook", "outcome", "status", "client"))
        self._seconds = Histogram(
            "cds_hook_seconds", "Seconds from request to answer", ("path",), buckets=SECONDS, registry=self._registry
        )
        self._cards = self._counter("cds_cards", "Cards sent", ("rule",))
        self._covered = self._counter("cds_coverage_answers", "Coverage information sent", ("covered",))
        self._refused = self._counter("cds_refused", "Refused calls", ("reason",))
        self._dropped = self._counter("cds_chart_drops", "Resources of a chart that no rule may see", ("reason",))
        self._events = self._counter("cds_events", "What adapters report, JWKS and EHR reads among it", ("event",))

    def answered(self, note: CallNote, status: int, seconds: float) -> None:
        """Count one answered call."""
        hook = note.hook if note.hook in self._hooks else "other"
        client = note.client if note.client in self._clients else "other"
        self._child(self._requests, hook, self._word(note.outcome), str(status), client).inc()
        if note.path:
            self._child(self._seconds, note.path if note.path == "pull" else "prefetch").observe(seconds)
        for rule in note.rules:
            self._child(self._cards, self._word(rule)).inc()
        for covered in note.covered:
            self._child(self._covered, self._word(covered)).inc()
        if note.reason:
            self._child(self._refused, self._word(note.reason)).inc()
        for reason in note.dropped:
            self._child(self._dropped, self._word(reason)).inc()

    def event(self, word: str) -> None:
        """Count something that an adapter noticed, such as ``jwks_unavailable``."""
        self._child(self._events, self._word(word)).inc()

    def text(self) -> bytes:
        """The exposition text of all workers."""
        if not self._shared:
            return generate_latest(self._registry)
        everything = CollectorRegistry()
        multiprocess.MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        return generate_latest(everything)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _child(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def _word(self, text: str) -> str:
        known = self._words.get(text)
        if known is None:
            known = bool(_WORD.fullmatch(text))
            if len(self._words) < 1_000:
                self._words[text] = known
        return text if known else "other"

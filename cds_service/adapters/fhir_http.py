"""Reads of an EHR's FHIR API within one deadline (``ports.FhirReader``; reliability 2.1, faults F1-F14).

The caller never waits beyond its deadline: the requests run in threads of the process, which are abandoned then and end
by themselves, because the guarded client bounds every socket. A server that is slow occupies at most half of those
threads and at most a configured number of callers; the rest of them are told at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

from cds_service.adapters.breaker import Breaker, RetryBudget
from cds_service.adapters.fhir_search import (
    MAX_ENTRIES,
    MAX_PAGES,
    Page,
    Query,
    next_page,
    page_of,
    read_query,
    resource_of,
)
from cds_service.adapters.guarded_http import MAX_BYTES, Answer, Egress, OutboundFailure, egress_to_fhir
from cds_service.clients import registered_server
from cds_service.errors import NotAllowed
from cds_service.ports import Clock, Fetched, Grant

RETRY_NEEDS_SECONDS = 1.0  # one second try, only if that much is left for it
_RETRIED = frozenset({429, 500, 502, 503, 504})
_SERVER_TROUBLE = frozenset({"connect_failed", "name_not_resolved", "tls_failed", "disconnected", "broken_off"})
_STOPPED = Fetched("denied", (), "token_refused")
_LATE = Fetched("late", (), "late")


class Http(Protocol):
    """The guarded client, as far as it is needed here."""

    def get(
        self,
        url: str,
        egress: Egress,
        deadline: float,
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> Answer:
        """One GET, or OutboundFailure."""
        ...


class _Call:
    """One caller's queries on their way. Every result is written once; after the caller has gone nobody looks."""

    def __init__(self, grant: Grant, base_url: str, queries: Mapping[str, str], deadline: float) -> None:
        self.base_url = base_url
        self.deadline = deadline
        self.egress = egress_to_fhir(grant.profile, base_url)
        self.headers = {"Accept": "application/fhir+json"}
        if grant.access_token is not None:
            self.headers["Authorization"] = f"Bearer {grant.access_token}"
        self.token_refused = False
        self._queries = dict(queries)
        self._waiting = deque(queries)
        self._results: dict[str, Fetched] = {}
        self._lock = threading.Lock()
        self._all_here = threading.Event()

    def next(self) -> tuple[str, str] | None:
        """The next (key, query) to send, None when there is none."""
        with self._lock:
            if not self._waiting:
                return None
            key = self._waiting.popleft()
            return key, self._queries[key]

    def finish(self, key: str, fetched: Fetched) -> None:
        with self._lock:
            self._results[key] = fetched
            done = len(self._results) == len(self._queries)
        if done:
            self._all_here.set()

    def wait(self, seconds: float) -> Mapping[str, Fetched]:
        """Every key's result; what is not here when the time is over is late."""
        self._all_here.wait(max(0.0, seconds))
        with self._lock:
            self._waiting.clear()
            return {key: self._results.get(key, _LATE) for key in self._queries}


class _Server:
    """How much of the process one EHR occupies."""

    __slots__ = ("callers", "lanes", "running")

    def __init__(self) -> None:
        self.callers = 0
        self.running = 0
        self.lanes: deque[_Call] = deque()


class HttpFhirReader:
    """``ports.FhirReader`` over the guarded client. Thread-safe; one per process, made before or after a fork."""

    def __init__(
        self,
        http: Http,
        clock: Clock,
        on_event: Callable[[str], None] = lambda _word: None,
        *,
        threads: int = 64,
        in_flight_per_call: int = 16,
        callers_per_server: int = 8,
        breaker: Breaker | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set the bounds.

        ``in_flight_per_call``: as many as there are prefetch keys, so that a call takes about as long as its slowest
        read; an EHR that cannot take that many at once is asked with fewer.
        ``callers_per_server``: how many of the worker's request threads may wait for one EHR; give half of them.
        ``on_event`` gets ``ehr_retry``, ``ehr_breaker_opened``, ``ehr_breaker_refused``, ``ehr_busy``, ``ehr_late``,
        ``ehr_token_refused``.
        """
        self._http = http
        self._clock = clock
        self._on_event = on_event
        self._threads = threads
        self._per_call = in_flight_per_call
        self._callers = callers_per_server
        self._breaker = breaker or Breaker(clock.monotonic)
        self._retries = RetryBudget()
        self._sleep = sleep
        self._servers: dict[str, _Server] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def fetch(self, grant: Grant, queries: Mapping[str, str], deadline: float) -> Mapping[str, Fetched]:
        """Answer every key of ``queries`` (reads "Type/id" or searches "Type?a=b") by ``deadline`` (monotonic).

        Raises:
            NotAllowed: the client has not registered this FHIR server (rows 82-85); nothing was sent.
        """
        base_url = registered_server(grant.profile, grant.base_url)
        if base_url is None:
            raise NotAllowed("this FHIR server is not registered for this client")
        if not queries:
            return {}
        refusal = _unusable(grant)
        if refusal is not None:
            return dict.fromkeys(queries, refusal)
        with self._admitted(base_url) as server:
            if server is None:
                self._on_event("ehr_busy")
                return dict.fromkeys(queries, Fetched("failed", (), "busy"))
            call = _Call(grant, base_url, queries, deadline)
            self._start(server, call, min(self._per_call, len(queries)))
            results = call.wait(deadline - self._clock.monotonic())
        if any(fetched.state == "late" for fetched in results.values()):
            self._on_event("ehr_late")
        return results

    def close(self) -> None:
        """Takes no further work."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _admitted(self, base_url: str) -> Iterator[_Server | None]:
        """The server's account while one caller waits for it; None when enough callers do already (F14)."""
        with self._lock:
            server = self._servers.setdefault(base_url, _Server())
            full = server.callers >= self._callers
            server.callers += not full
        try:
            yield None if full else server
        finally:
            with self._lock:
                server.callers -= not full

    def _start(self, server: _Server, call: _Call, lanes: int) -> None:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ehr")
            server.lanes.extend([call] * lanes)
            free = max(1, self._threads // 2) - server.running
            starting = min(free, len(server.lanes))
            server.running += starting
            for _ in range(starting):
                self._pool.submit(self._work, server)

    def _work(self, server: _Server) -> None:
        """One thread's work for one server: lane after lane until none waits."""
        while True:
            with self._lock:
                if not server.lanes:
                    server.running -= 1
                    return
                call = server.lanes.popleft()
            while (found := call.next()) is not None:
                key, text = found
                call.finish(key, self._answer(call, text))

    def _answer(self, call: _Call, text: str) -> Fetched:
        query = read_query(text)
        if query is None:
            return Fetched("failed", (), "not_allowed")
        try:
            return self._read(call, query) if query.ident is not None else self._search(call, query)
        except Exception:  # noqa: BLE001 - one bad answer must not take the thread and the other answers along
            self._on_event("ehr_reader_failed")
            return Fetched("failed", (), "internal")

    def _read(self, call: _Call, query: Query) -> Fetched:
        answer = self._get(call, f"{call.base_url}/{query.text}")
        if isinstance(answer, Fetched):
            return answer
        if answer.status in {404, 410}:
            return Fetched("absent")
        return _refused(answer) or resource_of(answer.body, query, MAX_BYTES)

    def _search(self, call: _Call, query: Query) -> Fetched:
        """All pages within the bounds (F11). What was read stays evidence, but is complete only without ``why``."""
        url: str | None = f"{call.base_url}/{query.text}"
        seen: set[str] = set()
        resources: list[dict[str, object]] = []
        why = ""
        while url is not None:
            seen.add(url)
            page = self._page(call, query, url)
            if isinstance(page, Fetched):
                if not seen - {url}:
                    return page
                return Fetched("late" if page.state == "late" else "partial", tuple(resources), page.why)
            resources += page.resources
            why = why or page.why
            url, stop = _follow(call, page, seen, len(resources))
            why = why or stop
        return Fetched("partial" if why else "complete", tuple(resources[:MAX_ENTRIES]), why)

    def _page(self, call: _Call, query: Query, url: str) -> Page | Fetched:
        answer = self._get(call, url)
        if isinstance(answer, Fetched):
            return answer
        return _refused(answer) or page_of(answer.body, query, MAX_BYTES)

    def _get(self, call: _Call, url: str) -> Answer | Fetched:
        """One GET, with at most one second try."""
        self._retries.sent(call.base_url)
        answer, wait = self._attempt(call, url)
        if wait is None or call.deadline - self._clock.monotonic() - wait < RETRY_NEEDS_SECONDS:
            return answer
        if not self._retries.take(call.base_url):
            return answer
        self._on_event("ehr_retry")
        self._sleep(wait)
        return self._attempt(call, url)[0]

    def _attempt(self, call: _Call, url: str) -> tuple[Answer | Fetched, float | None]:
        """What one GET gave, and after how many seconds a second try may make sense."""
        if call.token_refused:
            return _STOPPED, None
        if not self._breaker.allows(call.base_url):
            self._on_event("ehr_breaker_refused")
            return Fetched("failed", (), "breaker_open"), None
        allowed = call.deadline - self._clock.monotonic()
        try:
            answer = self._http.get(url, call.egress, call.deadline, call.headers)
        except OutboundFailure as failure:
            self._note(call.base_url, failed=_is_trouble(failure.reason, allowed))
            return _failure(failure.reason), _backoff() if failure.reason == "disconnected" else None
        self._note(call.base_url, failed=answer.status >= 500)
        if answer.status == 401 and not call.token_refused:
            call.token_refused = True
            self._on_event("ehr_token_refused")
        if answer.status not in _RETRIED:
            return answer, None
        return answer, self._retry_after(answer.retry_after)

    def _note(self, server: str, *, failed: bool) -> None:
        if not failed:
            self._breaker.succeeded(server)
        elif self._breaker.failed(server):
            self._on_event("ehr_breaker_opened")

    def _retry_after(self, text: str) -> float:
        """Seconds that the server asks for, or a short jittered pause when it says nothing readable (F7)."""
        text = text.strip()
        if text.isdecimal() and len(text) < 10:
            return max(float(text), _backoff())
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return _backoff()
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max((when - self._clock.now()).total_seconds(), _backoff())


def _follow(call: _Call, page: Page, seen: set[str], entries: int) -> tuple[str | None, str]:
    """(address of the next page, why we stop although there is one)."""
    if entries > MAX_ENTRIES:
        return None, "entries"
    if page.next_url is None:
        return None, ""
    if len(seen) >= MAX_PAGES:
        return None, "pages"
    url = next_page(page.next_url, call.base_url, call.egress)
    if url is None:
        return None, "next_refused"
    return (None, "next_repeats") if url in seen else (url, "")


def _backoff() -> float:
    """A short pause that differs from call to call, so that second tries do not arrive together."""
    return random.uniform(0.1, 0.3)  # noqa: S311 - spread, not secrecy


def _unusable(grant: Grant) -> Fetched | None:
    """Why nothing may be sent with this grant at all."""
    token = grant.access_token
    if token is None:
        return None if grant.profile.open_fhir else Fetched("denied", (), "no_token")
    # A token with a line break would write headers of its own (row 58).
    return None if token and token.isascii() and token.isprintable() else Fetched("denied", (), "token_unusable")


def _refused(answer: Answer) -> Fetched | None:
    """What a status other than 200 means (F4-F8)."""
    status = answer.status
    if status == 200:
        return None
    if status in {401, 403}:
        return Fetched("denied", (), "token_refused" if status == 401 else "forbidden")
    if status == 429:
        return Fetched("failed", (), "throttled")
    if 300 <= status < 400:
        return Fetched("failed", (), "redirected")
    return Fetched("failed", (), "server_error" if status >= 500 else "refused_request")


def _failure(reason: str) -> Fetched:
    if reason == "late":
        return _LATE
    return Fetched("partial" if reason == "too_large" else "failed", (), reason)


def _is_trouble(reason: str, allowed: float) -> bool:
    """Whether the server is to blame. Being late is its fault only if it had time."""
    return reason in _SERVER_TROUBLE or (reason == "late" and allowed >= 1.0)

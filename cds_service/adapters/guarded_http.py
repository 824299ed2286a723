"""The one way out: every outbound call goes through ``GuardedHttp``, the service's and the app's alike.

What it guarantees: only addresses under the caller's allow-list, only checked network addresses, TLS always verified,
no redirect followed, nothing taken from the environment, no more bytes than allowed after decoding, and an end at the
deadline (reliability 82-91, faults F2, F3, F9, F12).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from requests.models import PreparedRequest
from urllib3.exceptions import HTTPError

from cds_service.adapters.pinned_connection import (
    AddressRefused,
    NameNotResolved,
    PinnedAdapter,
    Reach,
    Resolver,
    header_text,
    system_resolver,
    time_left,
)
from cds_service.clients import ClientProfile, KeyOwner

MAX_BYTES = 5_000_000  # decoded, per response
_CHUNK = 65_536
_ENCODINGS = {"", "identity", "gzip"}


class OutboundFailure(Exception):
    """No usable answer. ``reason`` is a word of a closed list, safe for logs and metrics.

    ``not_allowed``, ``address_refused``, ``name_not_resolved``, ``connect_failed``, ``tls_failed``, ``disconnected``
    (before any answer), ``broken_off`` (within an answer), ``too_large``, ``late``, ``bad_encoding``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Egress(msgspec.Struct, frozen=True):
    """Where one outbound call may go: exactly ``bases``, and addresses below those in ``trees``."""

    bases: tuple[str, ...]
    trees: tuple[str, ...]
    allow_private: bool
    allow_http: bool
    ca_file: str | None
    client_certificate: tuple[str, str] | None = None  # PEM files of certificate and key, for mutual TLS


class Answer(msgspec.Struct, frozen=True):
    """A complete answer, whatever its status. Redirects are answers too; nobody follows them."""

    status: int
    body: bytes
    retry_after: str = ""
    headers: Mapping[str, str] = {}  # names in lower case


def egress_to_keys(profile: KeyOwner) -> Egress:
    """The party's JWKS address and nothing else."""
    bases = (profile.jwks_url,) if profile.jwks_url else ()
    return Egress(bases, (), profile.allow_private, profile.allow_http, profile.ca_file)


def egress_to_fhir(profile: ClientProfile, base_url: str) -> Egress:
    """Everything below one registered FHIR base."""
    base_url = base_url.removesuffix("/")
    return Egress((base_url,), (base_url,), profile.allow_private, profile.allow_http, profile.ca_file)


class GuardedHttp:
    """Outbound calls. Thread-safe; keeps connections for reuse."""

    def __init__(self, *, insecure_dev: bool = False, resolver: Resolver = system_resolver) -> None:
        """``insecure_dev`` lets registered servers be on loopback and, where registered so, plain http."""
        self._insecure_dev = insecure_dev
        self._resolver = resolver
        self._lock = threading.Lock()
        self._adapters: dict[Reach, PinnedAdapter] = {}

    def get(
        self,
        url: str,
        egress: Egress,
        deadline: float,
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> Answer:
        """The answer to one GET, complete by ``deadline`` (steady clock, seconds).

        Raises:
            OutboundFailure: with the reason word.
        """
        return self.send("GET", url, egress, deadline, headers, max_bytes=max_bytes)

    def send(
        self,
        method: str,
        url: str,
        egress: Egress,
        deadline: float,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> Answer:
        """The answer to one call of any method, complete by ``deadline``; nothing is ever sent twice by itself.

        Raises:
            OutboundFailure: with the reason word. Whether the other side acted is then not known, unless it is
                ``not_allowed``, ``address_refused``, ``name_not_resolved``, ``connect_failed`` or ``tls_failed``.
        """
        self._refuse_unless_allowed(url, egress)
        given = {"Accept-Encoding": "gzip", "User-Agent": "cds-service", **(headers or {})}
        request = requests.Request(method, url, headers=given, data=body).prepare()
        with time_left(deadline):
            return self._exchange(request, egress, deadline, max_bytes)

    def close(self) -> None:
        """Ends kept connections."""
        with self._lock:
            adapters, self._adapters = tuple(self._adapters.values()), {}
        for adapter in adapters:
            adapter.close()

    def _refuse_unless_allowed(self, url: str, egress: Egress) -> None:
        if not within(url, egress):
            raise OutboundFailure("not_allowed")
        if urlsplit(url).scheme != "https" and not (self._insecure_dev and egress.allow_http):
            raise OutboundFailure("not_allowed")

    def _adapter(self, egress: Egress) -> PinnedAdapter:
        reach = Reach(egress.allow_private, self._insecure_dev, egress.ca_file, egress.client_certificate)
        adapter = self._adapters.get(reach)
        if adapter is None:
            with self._lock:
                adapter = self._adapters.get(reach) or PinnedAdapter(reach, self._resolver)
                self._adapters[reach] = adapter
        return adapter

    def _exchange(self, request: PreparedRequest, egress: Egress, deadline: float, max_bytes: int) -> Answer:
        left = deadline - time.monotonic()
        if left <= 0:
            raise OutboundFailure("late")
        answer: requests.Response | None = None
        try:
            answer = self._adapter(egress).send(request, stream=True, timeout=left)
            body = _body(answer, max_bytes, deadline)
        except OutboundFailure:
            _abandon(answer)
            raise
        except (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            _abandon(answer)
            raise OutboundFailure(_reason(error, answered=answer is not None)) from None
        answer.raw.release_conn()
        told = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, body, told.get("retry-after", ""), told)


def server_states(http: GuardedHttp, profile: ClientProfile, deadline: float) -> Mapping[str, str]:
    """Registered FHIR base -> ``answers``, or why it does not; asks each for its public metadata, without a token."""
    states: dict[str, str] = {}
    for base in profile.fhir_servers:
        trimmed = base.removesuffix("/")
        try:
            answer = http.get(f"{trimmed}/metadata", egress_to_fhir(profile, trimmed), deadline)
        except OutboundFailure as failure:
            # A CapabilityStatement may be larger than what we would read of it: the server is there.
            states[base] = "answers" if failure.reason == "too_large" else failure.reason
        else:
            redirected = 300 <= answer.status < 400
            states[base] = "redirected" if redirected else "answers" if answer.status < 500 else "status"
    return states


def within(url: str, egress: Egress) -> bool:
    """Whether ``url`` is one of the bases, or below one of the trees on the same scheme, host and port."""
    if not url.isascii() or not url.isprintable() or "\\" in url or "#" in url:
        return False
    if url in egress.bases:
        return True
    path = url.partition("?")[0]
    lowered = path.lower()
    if "/../" in path + "/" or "/./" in path + "/" or "%2e" in lowered or "%2f" in lowered or "%5c" in lowered:
        return False
    return any(path == tree or path.startswith(tree + "/") for tree in egress.trees)


def _body(answer: requests.Response, max_bytes: int, deadline: float) -> bytes:
    if header_text(answer.headers, "Content-Encoding") not in _ENCODINGS:
        raise OutboundFailure("bad_encoding")
    declared = answer.headers.get("Content-Length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > max_bytes:
        raise OutboundFailure("too_large")
    parts: list[bytes] = []
    size = 0
    while part := answer.raw.read1(_CHUNK, decode_content=True):
        size += len(part)
        if size > max_bytes:
            raise OutboundFailure("too_large")
        if time.monotonic() >= deadline:
            raise OutboundFailure("late")
        parts.append(part)
    return b"".join(parts)


def _abandon(answer: requests.Response | None) -> None:
    """Close the connection itself: what is still in it must not be read as the next answer."""
    if answer is not None:
        with suppress(OSError, HTTPError):
            answer.raw.close()


_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((AddressRefused,), "address_refused"),
    ((NameNotResolved,), "name_not_resolved"),
    ((requests.exceptions.SSLError,), "tls_failed"),
    ((requests.exceptions.Timeout, TimeoutError), "late"),
)


def _reason(error: BaseException, *, answered: bool) -> str:
    """The word for what went wrong; libraries wrap the first cause several times over."""
    for cause in _causes(error):
        for kinds, word in _REASONS:
            if isinstance(cause, kinds):
                return word
    if answered:
        return "broken_off"
    text = " ".join(type(cause).__name__ for cause in _causes(error))
    return "connect_failed" if "NewConnectionError" in text else "disconnected"


def _causes(error: BaseException) -> list[BaseException]:
    seen: list[BaseException] = []
    pending: list[Any] = [error]
    while pending:
        cause = pending.pop()
        if isinstance(cause, BaseException) and cause not in seen:
            seen.append(cause)
            pending += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return seen

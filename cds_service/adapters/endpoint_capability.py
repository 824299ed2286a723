"""How a payer endpoint takes a ClaimResponse so that a repeat is harmless: asked of its CapabilityStatement (D02)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from cds_service.errors import CdsServiceError
from cds_service.fhir.json import parse
from cds_service.payer_endpoints import (
    AUTO,
    CONDITIONAL_CREATE,
    CONDITIONAL_UPDATE,
    PUT,
    SEARCH_THEN_CREATE,
    TRANSACTION,
    PayerEndpoint,
)

KEEP_SECONDS = 3_600.0
MAX_BYTES = 20_000_000  # a general server's statement names every resource type with all its searches


class UnknownWay(Exception):
    """The endpoint does not say how. ``reason`` is a word of a closed list."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Capabilities:
    """The way of each endpoint, kept for an hour. Thread-safe; a statement that is read twice does no harm."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def way(self, endpoint: PayerEndpoint, read: Callable[[], bytes]) -> str:
        """A mode other than ``auto``; ``read`` gives the CapabilityStatement's body.

        Raises:
            UnknownWay: the statement is none, or has no way for a ClaimResponse. Whatever ``read`` raises.
        """
        if endpoint.mode != AUTO:
            return endpoint.mode
        now = self._monotonic()
        with self._lock:
            known = self._known.get(endpoint.id)
        if known is not None and now - known[1] < KEEP_SECONDS:
            return known[0]
        try:
            chosen = chosen_way(read())
        except UnknownWay:
            if known is None:
                raise
            chosen = known[0]  # as it was an hour ago: better than to wait
        with self._lock:
            self._known[endpoint.id] = (chosen, now)
        return chosen

    def forget(self, endpoint: PayerEndpoint) -> None:
        """The endpoint refused the way that it had named: ask again."""
        with self._lock:
            self._known.pop(endpoint.id, None)


def chosen_way(body: bytes) -> str:
    """The safest way that a CapabilityStatement offers for ClaimResponse; raises UnknownWay."""
    try:
        statement = parse(body, max_bytes=MAX_BYTES)
    except CdsServiceError:
        raise UnknownWay("metadata_malformed") from None
    rest = _server(statement)
    if rest is None:
        raise UnknownWay("metadata_malformed")
    resource = next((each for each in _dicts(rest.get("resource")) if each.get("type") == "ClaimResponse"), {})
    can = _codes(resource)
    offers = (
        (PUT, "update" in can and resource.get("updateCreate") is True),
        (CONDITIONAL_UPDATE, "update" in can and resource.get("conditionalUpdate") is True),
        (CONDITIONAL_CREATE, "create" in can and resource.get("conditionalCreate") is True),
        (TRANSACTION, "transaction" in _codes(rest)),
        (SEARCH_THEN_CREATE, "create" in can and "search-type" in can),
    )
    for mode, offered in offers:
        if offered:
            return mode
    raise UnknownWay("no_way_offered")


def _server(statement: object) -> Mapping[str, Any] | None:
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        return None
    return next((rest for rest in _dicts(statement.get("rest")) if rest.get("mode") == "server"), None)


def _codes(holder: Mapping[str, Any]) -> set[object]:
    return {each.get("code") for each in _dicts(holder.get("interaction")) if isinstance(each.get("code"), str)}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

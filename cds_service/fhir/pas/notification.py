"""Notifications of the subscription backport: a history Bundle of a status and what it speaks of (P064, P065)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from cds_service.fhir.pas import systems

_ENCODE: Final = msgspec.json.Encoder().encode


class Event(msgspec.Struct, frozen=True):
    """One event of a subscription. ``focus`` is the address of the response Bundle, ``response`` its bytes."""

    number: int
    instant: str
    focus: str
    response: bytes


def handshake(base: str, subscription: str, instant: str) -> bytes:
    """The first notice: it carries no event, and the subscriber answers 2xx."""
    return _bundle(base, subscription, "handshake", instant, (), status="requested")


def event_notification(base: str, subscription: str, instant: str, event: Event) -> bytes:
    """What a subscriber gets for one event."""
    return _bundle(base, subscription, "event-notification", instant, (event,))


def recovered(base: str, subscription: str, instant: str, events: Sequence[Event], *, status: str, last: int) -> bytes:
    """The answer to ``$events``: all that is asked for again. ``last`` is the number of the newest event of all."""
    return _bundle(base, subscription, "query-event", instant, events, status=status, last=last)


def status_of(base: str, subscription: str, instant: str, *, status: str, last: int) -> bytes:
    """The answer to ``$status``: a searchset with one Parameters."""
    parameters = _parameters(base, subscription, "query-status", (), status, last)
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "timestamp": instant,
        "entry": [{"resource": parameters, "search": {"mode": "match"}}],
    }
    return _ENCODE(bundle)


def _parameters(
    base: str, subscription: str, kind: str, events: Sequence[Event], status: str, last: int | None
) -> dict[str, Any]:
    parameter: list[dict[str, Any]] = [
        {"name": "subscription", "valueReference": {"reference": f"{base}/Subscription/{subscription}"}},
        {"name": "topic", "valueCanonical": systems.TOPIC},
        {"name": "status", "valueCode": status},
        {"name": "type", "valueCode": kind},
    ]
    if last is not None:
        parameter.append({"name": "events-since-subscription-start", "valueString": str(last)})
    parameter += [
        {
            "name": "notification-event",
            "part": [
                {"name": "event-number", "valueString": str(each.number)},
                {"name": "timestamp", "valueInstant": each.instant},
                {"name": "focus", "valueReference": {"reference": each.focus}},
            ],
        }
        for each in events
    ]
    return {
        "resourceType": "Parameters",
        "id": subscription,
        "meta": {"profile": [f"{systems.BACKPORT}/backport-subscription-status-r4"]},
        "parameter": parameter,
    }


def _bundle(
    base: str,
    subscription: str,
    kind: str,
    instant: str,
    events: Sequence[Event],
    *,
    status: str = "active",
    last: int | None = None,
) -> bytes:
    newest = events[-1].number if events and last is None else last
    entries: list[dict[str, Any]] = [
        {
            "fullUrl": f"{base}/Parameters/{subscription}",
            "resource": _parameters(base, subscription, kind, events, status, newest or 0),
            "request": {"method": "GET", "url": f"{base}/Subscription/{subscription}/$status"},
            "response": {"status": "200"},
        }
    ]
    entries += [
        {
            "fullUrl": each.focus,
            "resource": msgspec.Raw(each.response),
            "request": {"method": "GET", "url": each.focus},
            "response": {"status": "200"},
        }
        for each in events
    ]
    bundle = {
        "resourceType": "Bundle",
        "meta": {"profile": [f"{systems.BACKPORT}/backport-subscription-notification-r4"]},
        "type": "history",
        "timestamp": instant,
        "entry": entries,
    }
    return _ENCODE(bundle)

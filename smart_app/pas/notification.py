"""A notification of a payer, in the backport's form, R4B's, or as the bare answer (P064, P065)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word
from smart_app.pas.closure import Resource
from smart_app.pas.matching import bundles_in


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One notification. ``kind``: handshake, heartbeat, event-notification, query-event; "" where it is not said."""

    kind: str
    status: str  # of the subscription: active, error, off; "" where it is not said
    numbers: tuple[int, ...]  # of the events that it is about, rising
    newest: int  # number of the payer's newest event, 0 where it is not said
    answers: tuple[tuple[int, Resource], ...]  # event number (0: unknown) and response Bundle, in the events' order

    @property
    def wordless(self) -> bool:
        """Whether something happened that it does not tell (payload content empty or id-only)."""
        told = self.kind in {"event-notification", "query-event", ""}
        return told and len(self.answers) < max(len(self.numbers), self.kind == "event-notification")


def read_notice(bundle: Mapping[str, Any]) -> Notice:
    """A notification Bundle; what cannot be read in it is left out."""
    entries = list(dicts(bundle.get("entry")))
    kind, status, newest, events = "", "", 0, {}
    for entry in entries:
        resource = entry.get("resource")
        if isinstance(resource, dict) and resource.get("resourceType") in {"Parameters", "SubscriptionStatus"}:
            plain = _of_parameters(resource) if resource["resourceType"] == "Parameters" else resource
            kind, status = word(plain.get("type")), word(plain.get("status"))
            newest = _number(plain.get("eventsSinceSubscriptionStart"))
            events = dict(_event(each) for each in dicts(plain.get("notificationEvent")))
            break
    numbers = sorted({number for number in events.values() if number})
    alone = numbers[0] if len(numbers) == 1 else 0
    rest = [each for each in entries if _kind(each) not in {"Bundle", "Parameters", "SubscriptionStatus"}]
    answers = []
    for entry in entries:
        if _kind(entry) == "Bundle":
            answers += [(_of(events, entry) or alone, each) for each in bundles_in(entry["resource"])]
    for each in bundles_in({**bundle, "entry": rest}):
        answers.append((_of(events, each["entry"][0]) or alone, each))
    ordered = sorted(answers, key=lambda each: each[0])
    return Notice(kind=kind, status=status, numbers=tuple(numbers), newest=newest, answers=tuple(ordered))


def _of_parameters(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The backport's Parameters in the elements of R4B's SubscriptionStatus."""
    plain: dict[str, Any] = {"notificationEvent": []}
    for part in dicts(resource.get("parameter")):
        if part.get("name") == "notification-event":
            inner = {word(each.get("name")): _value(each) for each in dicts(part.get("part"))}
            event = {"eventNumber": inner.get("event-number"), "focus": inner.get("focus")}
            plain["notificationEvent"].append(event)
        elif part.get("name") == "events-since-subscription-start":
            plain["eventsSinceSubscriptionStart"] = _value(part)
        else:
            plain[word(part.get("name"))] = _value(part)
    return plain


def _value(part: Mapping[str, Any]) -> Any:
    return next((value for name, value in part.items() if name.startswith("value")), None)


def _event(event: Mapping[str, Any]) -> tuple[str, int]:
    focus = event.get("focus")
    reference = word(focus.get("reference")) if isinstance(focus, dict) else ""
    number = _number(event.get("eventNumber"))
    return reference or f"event {number}", number


def _of(events: Mapping[str, int], entry: Mapping[str, Any]) -> int:
    """The number of the event whose focus is this entry."""
    resource = entry.get("resource")
    own = f"{_kind(entry)}/{resource.get('id')}" if isinstance(resource, dict) else ""
    for focus, number in events.items():
        if focus in {word(entry.get("fullUrl")), own} or focus.endswith(f"/{own}"):
            return number
    return 0


def _kind(entry: Mapping[str, Any]) -> str:
    resource = entry.get("resource")
    return word(resource.get("resourceType")) if isinstance(resource, dict) else ""


def _number(value: Any) -> int:
    text = str(value) if isinstance(value, int | str) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0

"""From the body of a feedback call to entries (cds-hooks-crd A.8; reliability 64)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cds_service.domain.feedback import FeedbackEntry
from cds_service.errors import MalformedRequest
from cds_service.fhir.json import parse

MAX_BYTES = 5_000_000
MAX_ENTRIES = 1_000
_SHORT, _LONG = 255, 4_000  # ids and codes; a comment, of which no more is kept


def parse_feedback(body: bytes) -> tuple[FeedbackEntry, ...]:
    """Every entry of ``{"feedback": [...]}``. Raises MalformedRequest naming the first entry that cannot be read.

    Whether the card is known is not asked here: an unknown one is kept and does not fail the others.
    """
    root = parse(body, max_bytes=MAX_BYTES)
    entries = root.get("feedback") if isinstance(root, dict) else None
    if not isinstance(entries, list) or not entries:
        raise MalformedRequest("feedback must be a list with at least one entry", expression="feedback")
    if len(entries) > MAX_ENTRIES:
        raise MalformedRequest(f"feedback holds more than {MAX_ENTRIES} entries", expression="feedback")
    return tuple(_entry(entry, f"feedback[{index}]") for index, entry in enumerate(entries))


def _entry(entry: object, where: str) -> FeedbackEntry:
    if not isinstance(entry, dict):
        raise MalformedRequest(f"{where} must be an object", expression=where)
    card, when = _text(entry, "card", where), _instant(entry, where)
    outcome = entry.get("outcome")
    if outcome == "accepted":
        return FeedbackEntry(card=card, outcome="accepted", when=when, suggestions=_suggestions(entry, where))
    if outcome != "overridden":
        raise MalformedRequest(f"{where}.outcome must be accepted or overridden", expression=f"{where}.outcome")
    system, code, comment = _override(entry, where)
    return FeedbackEntry(
        card=card, outcome="overridden", when=when, reason_system=system, reason_code=code, comment=comment
    )


def _text(holder: dict[str, Any], name: str, where: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _SHORT:
        raise MalformedRequest(f"{where}.{name} must be a text of 1 to {_SHORT}", expression=f"{where}.{name}")
    return value


def _instant(entry: dict[str, Any], where: str) -> datetime:
    """RFC 3339 with a zone, as UTC."""
    return _guarded(lambda: _utc(_text(entry, "outcomeTimestamp", where)), f"{where}.outcomeTimestamp")


def _guarded(read: Callable[[], datetime], where: str) -> datetime:
    try:
        return read()
    except (ValueError, OverflowError):
        raise MalformedRequest(f"{where} must be an instant with time zone", expression=where) from None


def _utc(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("no time zone")
    return instant.astimezone(UTC)


def _suggestions(entry: dict[str, Any], where: str) -> tuple[str, ...]:
    accepted = entry.get("acceptedSuggestions")
    at = f"{where}.acceptedSuggestions"
    if not isinstance(accepted, list) or not accepted or not all(isinstance(each, dict) for each in accepted):
        raise MalformedRequest(f"{at} must name the accepted suggestions", expression=at)
    return tuple(_text(each, "id", f"{at}[{index}]") for index, each in enumerate(accepted))


def _override(entry: dict[str, Any], where: str) -> tuple[str, str, str]:
    """(system, code, comment) of the reason; one EHR calls it overrideReasons and sends a list."""
    name = "overrideReason" if "overrideReason" in entry else "overrideReasons"
    given = entry.get(name)
    reasons = given if isinstance(given, list) else [] if given is None else [given]
    system = code = comment = ""
    for index, reason in enumerate(reasons):
        at = f"{where}.{name}[{index}]" if isinstance(given, list) else f"{where}.{name}"
        if not isinstance(reason, dict):
            raise MalformedRequest(f"{at} must be an object", expression=at)
        coding = reason.get("reason", reason if "code" in reason else None)
        if isinstance(coding, dict) and not code:
            code = _text(coding, "code", f"{at}.reason")
            system = _text(coding, "system", f"{at}.reason") if "system" in coding else ""
        if isinstance(said := reason.get("userComment"), str):
            comment = f"{comment}\n{said}".strip()[:_LONG]
        if not code and not comment:
            raise MalformedRequest(f"{at} needs reason or userComment", expression=at)
    return system, code, comment

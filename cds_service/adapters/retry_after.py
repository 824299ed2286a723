"""The header ``Retry-After``: seconds, a date, or nonsense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LONGEST = timedelta(days=1)


def retry_after(text: str, now: datetime) -> timedelta | None:
    """How long the other side asks to be left alone, a day at most; None for nonsense."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(timedelta(seconds=int(text[:9])), _LONGEST)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year of twenty digits is nonsense too
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(min(moment - now, _LONGEST), timedelta(0))

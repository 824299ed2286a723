"""Instants as the tables keep them: whole microseconds since 1970 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """An aware instant as a number, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(number: int) -> datetime:
    """The instant again, in UTC."""
    return _EPOCH + number * _MICROSECOND

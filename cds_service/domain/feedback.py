"""What became of a card, as the EHR reports it."""

from __future__ import annotations

from datetime import datetime

import msgspec


class FeedbackEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a feedback call."""

    card: str
    outcome: str  # accepted | overridden
    when: datetime
    suggestions: tuple[str, ...] = ()
    reason_system: str = ""
    reason_code: str = ""
    comment: str = ""  # may hold PHI: stored, never logged

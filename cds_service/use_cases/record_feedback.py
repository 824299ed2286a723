"""Keeps what clinicians did with the cards of one client."""

from __future__ import annotations

from cds_service.cds_hooks.feedback import parse_feedback
from cds_service.ports import Caller, Clock, Store


class RecordFeedback:
    """``POST /cds-services/{id}/feedback`` (cds-hooks-crd 65-71)."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def __call__(self, service: str, body: bytes, caller: Caller) -> int:
        """Keep the entries of one body; how many of them speak of a card that this client was shown.

        Feedback on an unknown card is kept too: it may be about a card that has been purged.

        Raises:
            MalformedRequest: the body is no feedback; nothing is kept.
            StoreUnavailable: nothing is kept.
        """
        entries = parse_feedback(body)
        return self._store.save_feedback(caller.profile.id, service, entries, self._clock.now())

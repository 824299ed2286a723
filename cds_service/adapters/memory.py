"""Twins of the ports that live and die with the process: for ``evaluate``, for tests, and for trying things out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from cds_service.adapters.memory_forms import MemoryForms
from cds_service.domain.authorization import what_changes
from cds_service.ports import Authorization, FeedbackCount, FeedbackEntry, Invocation, PrefetchSeen, Recalled


class MemoryStore(MemoryForms):
    """``ports.Store`` in dictionaries, behind one lock; held to the same contract suite as the SQL store.

    It remembers at least the latest ``calls`` calls and never more than twice as many: a process that runs for days
    must not fill its memory with them.
    """

    def __init__(self, calls: int = 1000) -> None:
        super().__init__()
        self._most = calls
        self._lock = threading.Lock()
        self._invocations: list[Invocation] = []
        self._by_jti: dict[tuple[str, str], Invocation] = {}
        self._by_call: dict[tuple[str, str, str], list[Invocation]] = {}
        self._feedback: dict[tuple[str, str, str, datetime], _Kept] = {}
        self._authorizations: dict[tuple[str, str], tuple[Authorization, str]] = {}
        self.accesses: list[tuple[datetime, str, str, str]] = []  # at, reader, action, record

    def recall(self, client: str, jti: str | None, hook_instance: str, request_digest: str) -> Sequence[Recalled]:
        """See ``ports.Store``."""
        with self._lock:
            by_jti = self._by_jti.get((client, jti)) if jti is not None else None
            by_call = tuple(self._by_call.get((client, hook_instance, request_digest), ()))
        found = () if by_jti is None else (_recalled(by_jti, "jti"),)
        return (*found, *[_recalled(invocation, "hookInstance") for invocation in reversed(by_call)])

    def record(self, invocation: Invocation) -> Recalled | None:
        """See ``ports.Store``."""
        with self._lock:
            earlier = self._by_jti.get((invocation.client, invocation.jti)) if invocation.jti is not None else None
            if earlier is None:
                self._keep(invocation)
                return None
        return None if earlier.id == invocation.id else _recalled(earlier, "jti")

    def _keep(self, invocation: Invocation) -> None:
        self._invocations.append(invocation)
        if invocation.jti is not None:
            self._by_jti[invocation.client, invocation.jti] = invocation
        call = (invocation.client, invocation.hook_instance, invocation.request_digest)
        self._by_call.setdefault(call, []).append(invocation)
        if len(self._invocations) > 2 * self._most:
            self._rebuild(self._invocations[-self._most :])

    def _rebuild(self, left: Sequence[Invocation]) -> None:
        self._invocations, self._by_jti, self._by_call = [], {}, {}
        for invocation in left:
            self._keep(invocation)

    def authorizations(self, member_id: str) -> Sequence[Authorization]:
        """See ``ports.Store``."""
        with self._lock:
            kept = sorted(self._authorizations.items())
        return tuple(authorization for _, (authorization, _) in kept if authorization.member_id == member_id)

    def put_authorizations(self, entries: Sequence[tuple[Authorization, str]], at: datetime) -> Sequence[str]:
        """See ``ports.Store``."""
        del at  # the twin keeps no time of change: nothing reads it back through the port
        with self._lock:
            return tuple(self._put(authorization, raw) for authorization, raw in entries)

    def _put(self, authorization: Authorization, raw: str) -> str:
        key = (authorization.source, authorization.number)
        before = self._authorizations.get(key)
        outcome = what_changes(authorization, before[0] if before is not None else None)
        if outcome != "outdated":
            self._authorizations[key] = (authorization, raw)
        return outcome

    def acknowledged(self, keys: Sequence[str], since: datetime, but_for: Sequence[str] = ()) -> frozenset[str]:
        """See ``ports.Store``."""
        with self._lock:
            return frozenset(
                kept.ack_key
                for kept in self._feedback.values()
                if kept.ack_key in keys
                and kept.ack_key
                and kept.entry.outcome == "overridden"
                and kept.entry.reason_code
                and kept.entry.card not in but_for
                and min(kept.entry.when, kept.received) >= since
            )

    def announced(self, keys: Sequence[str], but_for: Sequence[str] = ()) -> frozenset[str]:
        """See ``ports.Store``."""
        with self._lock:
            sent = [card for invocation in self._invocations for card in invocation.cards]
            return frozenset(key for uuid, _, key in sent if key in keys and uuid not in but_for)

    def save_feedback(self, client: str, service: str, entries: Sequence[FeedbackEntry], received: datetime) -> int:
        """See ``ports.Store``."""
        del service
        with self._lock:
            cards = {
                card[0]: (card[1], card[2])
                for invocation in self._invocations
                if invocation.client == client
                for card in invocation.cards
            }
            for entry in entries:
                rule, ack_key = cards.get(entry.card, ("", ""))
                key = (entry.card, client, entry.outcome, entry.when)
                self._feedback.setdefault(key, _Kept(entry, rule, ack_key, received))
            return sum(entry.card in cards for entry in entries)

    def feedback_report(self, since: datetime) -> Sequence[FeedbackCount]:
        """See ``ports.Store``."""
        with self._lock:
            counts = Counter(
                (kept.rule, kept.entry.outcome, kept.entry.reason_system, kept.entry.reason_code)
                for kept in self._feedback.values()
                if kept.received >= since
            )
        return tuple(FeedbackCount(*group, count) for group, count in sorted(counts.items()))

    def prefetch_seen(self, client: str, since: datetime) -> PrefetchSeen:
        """See ``ports.Store``."""
        with self._lock:
            calls = [call for call in self._invocations if call.client == client and call.received >= since]
        latest = sorted(calls, key=lambda call: call.received)[-1000:]
        return PrefetchSeen(len(latest), Counter(key for call in latest for key in call.prefetched))

    def determination(self, ident: str) -> bytes | None:
        """See ``ports.Store``."""
        with self._lock:
            for invocation in reversed(self._invocations):
                for known, document in invocation.determinations:
                    if known == ident:
                        return document
        return None

    def note_access(self, reader: str, action: str, record: str, at: datetime) -> None:
        """See ``ports.Store``."""
        with self._lock:
            self.accesses.append((at, reader, action, record))

    def erase(self, what: str, before: datetime, most: int) -> int:
        """See ``ports.Store``."""
        if what.startswith("form_"):
            return self.erase_forms(what, before, most)
        with self._lock:
            return self._erasers()[what](before, most)

    def _erasers(self) -> dict[str, Callable[[datetime, int], int]]:
        return {
            "comment": self._erase_comments,
            "feedback": self._erase_feedback,
            "invocation": self._erase_invocations,
            "access": self._erase_accesses,
        }

    def _erase_comments(self, before: datetime, most: int) -> int:
        old = [kept for kept in self._feedback.values() if kept.received < before and kept.comment]
        for kept in sorted(old, key=lambda kept: kept.received)[:most]:
            kept.comment = ""
        return min(len(old), most)

    def _erase_feedback(self, before: datetime, most: int) -> int:
        old = [key for key, kept in self._feedback.items() if kept.received < before]
        for key in sorted(old, key=lambda key: self._feedback[key].received)[:most]:
            del self._feedback[key]
        return min(len(old), most)

    def _erase_invocations(self, before: datetime, most: int) -> int:
        old = sorted((kept for kept in self._invocations if kept.received < before), key=lambda kept: kept.received)
        gone = {kept.id for kept in old[:most]}
        self._rebuild([kept for kept in self._invocations if kept.id not in gone])
        return len(gone)

    def _erase_accesses(self, before: datetime, most: int) -> int:
        gone = sorted(access for access in self.accesses if access[0] < before)[:most]
        for access in gone:
            self.accesses.remove(access)
        return len(gone)

    def ping(self) -> None:
        """Memory is always there."""


class _Kept:
    """One feedback entry with what the card said; its comment can be erased."""

    def __init__(self, entry: FeedbackEntry, rule: str, ack_key: str, received: datetime) -> None:
        self.entry = entry
        self.rule = rule
        self.ack_key = ack_key
        self.received = received
        self.comment = entry.comment


def _recalled(invocation: Invocation, by: str) -> Recalled:
    return Recalled(
        request_digest=invocation.request_digest,
        service=invocation.service,
        response=invocation.response,
        status=invocation.status,
        by=by,
        outcome=invocation.outcome,
    )

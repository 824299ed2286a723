"""What the reviewers' workplace needs of the outside world beside ``prior_auth_ports``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from cds_service.domain.prior_auth import Case
from cds_service.domain.review import Person


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session, or a sign-in that has begun, under the SHA-256 of the secret in the browser's cookie.

    ``kind``: session | sign_in. ``data``: the person, or what the sign-in must come back with.
    """

    id_sha256: str
    kind: str
    data: Mapping[str, str]
    created: datetime
    seen: datetime
    until: datetime


class Sessions(Protocol):
    """Sessions, shared by all workers. Failures raise StoreUnavailable."""

    def put(self, record: SessionRecord) -> None:
        """Keep a new one; what has ended long ago goes at the same time."""
        ...

    def get(self, id_sha256: str) -> SessionRecord | None:
        """One of them, ended or not."""
        ...

    def touch(self, id_sha256: str, seen: datetime) -> None:
        """It was used."""
        ...

    def take(self, id_sha256: str) -> SessionRecord | None:
        """Remove it and give it back: of two callers at once, one gets it."""
        ...


class QueueQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which cases; "" leaves a filter open. ``assigned``: a person's id, or "-" for nobody."""

    state: str = "pended"
    program: str = ""
    expedited: bool | None = None
    assigned: str = ""
    number: str = ""  # tracking, reference or authorization number, whole
    most: int = 5_000


class StoredEvent(msgspec.Struct, frozen=True):
    """One line of the case log, as kept."""

    seq: int
    case_id: str
    n: int
    at: datetime
    kind: str
    actor: str
    detail: Mapping[str, str | int | bool | None]


class StoredAudit(msgspec.Struct, frozen=True):
    """One line of the audit log, as kept."""

    chain: int
    seq: int
    at: datetime
    actor: str
    role: str
    action: str
    subject: str
    detail: Mapping[str, str | int | bool | None]
    hash: str


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that waits for a (second) signer: ``form`` is what its author filled in."""

    case_id: str
    version_seen: int
    form: Mapping[str, str]
    author: Person
    at: datetime


class ReviewReads(Protocol):
    """Reads over many cases, and the proposals. Failures raise StoreUnavailable."""

    def queue(self, query: QueueQuery) -> Sequence[Case]:
        """The cases, earliest due first; those without due time last."""
        ...

    def counts(self) -> Mapping[str, int]:
        """How many cases are in each state."""
        ...

    def events(self, since: datetime, before: datetime) -> Sequence[StoredEvent]:
        """All events of cases that were received or touched within the time, by case and number."""
        ...

    def events_of(self, case_id: str) -> Sequence[StoredEvent]:
        """The events of one case, the oldest first."""
        ...

    def audit_of(self, subject: str) -> Sequence[StoredAudit]:
        """What was done with one record, the oldest first."""
        ...

    def audit(self, before: datetime | None, most: int, actor: str = "", action: str = "") -> Sequence[StoredAudit]:
        """The latest lines of the audit log before an instant, the newest first."""
        ...

    def remember(self, person: Person, at: datetime) -> None:
        """Somebody signed in: keep the name, so that pages need not show ids."""
        ...

    def names(self) -> Mapping[str, str]:
        """Names of everybody who ever signed in, by id."""
        ...

    def proposal(self, case_id: str) -> Proposal | None:
        """The proposal that waits, if any."""
        ...

    def propose(self, proposal: Proposal) -> None:
        """Keep a proposal in place of an earlier one of that case."""
        ...

    def withdraw(self, case_id: str) -> None:
        """Remove the proposal of a case."""
        ...

"""What prior authorization needs of the outside world: a store of cases, and an outbox. Beside ``ports``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from cds_service.domain.authorization import Authorization
from cds_service.domain.prior_auth import AuditEntry, Case, CaseEvent, Number, Submission, Version


class OutboxEntry(msgspec.Struct, frozen=True):
    """Something to be delivered. ``payload`` None: the response bytes of version ``n``."""

    kind: str  # payer | notification
    destination: str  # name of a payer endpoint, or id of a subscription
    seq: int
    n: int
    idem_key: str
    payload: bytes | None = None


class Notice(msgspec.Struct, frozen=True):
    """That subscribers of one organization are to hear of a version; the store numbers the event of each.

    ``base`` (of the FHIR server), ``instant`` and ``focus`` (the response Bundle) go into the notification, see
    ``fhir.pas.notification``.
    """

    organizations: tuple[str, ...]  # "system|value" of whoever submitted
    base: str
    instant: str
    focus: str


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One call as PASMetricData wants it; ``detail`` is JSON without PHI."""

    at: datetime
    kind: str
    sender: str
    http_status: int
    milliseconds: int
    case_id: str
    detail: str


class CaseChange(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one new version writes; all of it in one durable transaction, or none.

    ``expected``: the version that the case must have now (0: it is new). ``others``: how many versions of other cases
    of this member were looked at; if there are more by now, nothing is written. ``authorizations`` replace what is on
    file under the same source and number.
    """

    case: Case
    expected: int
    version: Version
    submission: Submission | None = None
    numbers: tuple[Number, ...] = ()
    outbox: tuple[OutboxEntry, ...] = ()
    notice: Notice | None = None
    drop_outbox: str = ""  # reason for which undelivered earlier notices of this case are skipped
    audit: tuple[AuditEntry, ...] = ()
    events: tuple[CaseEvent, ...] = ()
    authorizations: tuple[Authorization, ...] = ()
    others: int | None = None
    context: tuple[str, bytes] | None = None  # a documentation context: its id and document
    policy_digest: str = ""
    exchange: Exchange | None = None


class Committed(msgspec.Struct, frozen=True):
    """What became of a change.

    ``state``: ``done``; ``repeated`` (``submission`` is what stands for this Bundle already); ``stale`` (the case, or
    another case of this member, has moved on: read again).
    """

    state: str
    submission: Submission | None = None


class SubscriptionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber. ``status``: requested, active, error or off. ``header`` lines may hold secrets: never shown."""

    id: str
    sender: str
    organizations: tuple[str, ...]  # "system|value"
    endpoint: str
    payload: str
    header: tuple[str, ...]
    status: str
    error: str
    events: int
    created: datetime
    until: datetime | None = None


class CaseStore(Protocol):
    """Cases and their versions. Every method is one transaction; failures raise StoreUnavailable."""

    def submission(self, sender: str, bundle_identifier: str) -> Submission | None:
        """What was answered to this Bundle of this sender before."""
        ...

    def commit(self, change: CaseChange) -> Committed:
        """Write one version with all that belongs to it; survives a power loss once it returns."""
        ...

    def case(self, case_id: str) -> Case | None:
        """One case as it stands now."""
        ...

    def cases_of_number(self, number: str, kinds: Sequence[str] = ()) -> Sequence[Case]:
        """The cases that bear this number now or once bore it."""
        ...

    def cases_of_member(self, member_id: str) -> Sequence[Case]:
        """All cases of one member, the newest first."""
        ...

    def version(self, case_id: str, n: int) -> Version | None:
        """One version with its bytes."""
        ...

    def versions(self, case_id: str) -> Sequence[Version]:
        """All versions of a case, the oldest first."""
        ...

    def assign(self, case_id: str, reviewer: str, audit: AuditEntry) -> bool:
        """Give a pended case to a reviewer ("" to nobody); False where it is not pended."""
        ...

    def note(self, entries: Sequence[AuditEntry]) -> None:
        """Append to the audit log alone: a view, a refusal, a replay."""
        ...

    def note_exchange(self, exchange: Exchange) -> None:
        """Keep the figures of one call."""
        ...


class Subscriptions(Protocol):
    """Subscribers and their event numbers."""

    def put(self, record: SubscriptionRecord, handshake: bytes, audit: AuditEntry, at: datetime) -> None:
        """Create or replace; a handshake is put into the outbox in the same transaction."""
        ...

    def get(self, ident: str) -> SubscriptionRecord | None:
        """One subscriber."""
        ...

    def of_sender(self, sender: str) -> Sequence[SubscriptionRecord]:
        """All of one client."""
        ...

    def delete(self, ident: str, audit: AuditEntry) -> None:
        """Switch it off; its undelivered notices are discarded."""
        ...

    def events_since(self, ident: str, first: int, last: int) -> Sequence[tuple[int, datetime, str, int]]:
        """Events ``first`` to ``last``: number, instant, case, version."""
        ...

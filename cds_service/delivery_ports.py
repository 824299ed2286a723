"""What delivery needs of the outside world: a queue that lends rows to workers, and senders. Beside ``ports``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from cds_service.domain.delivery import Delivery, Sent, Step
from cds_service.domain.prior_auth import AuditEntry
from cds_service.payer_endpoints import PayerEndpoint
from cds_service.prior_auth_ports import SubscriptionRecord


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes up to ``most`` rows, for how long. ``destination`` "" means any subscription."""

    kind: str
    destination: str
    owner: str
    most: int
    lease: timedelta


class Settled(msgspec.Struct, frozen=True):
    """One try that is over."""

    delivery: Delivery
    sent: Sent
    step: Step


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """How much is in one state for one destination, and since when the oldest of it waits."""

    kind: str
    destination: str
    state: str
    count: int
    oldest: datetime


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row as commands and pages show it; without its payload."""

    id: int
    kind: str
    destination: str
    case_id: str
    seq: int
    n: int
    idem_key: str
    state: str
    attempts: int
    due: datetime
    created: datetime
    finished: datetime | None
    last_status: int | None
    last_error: str
    remote_location: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of one row, as it was kept."""

    n: int
    at: datetime
    http_status: int | None
    latency_ms: int
    request_digest: str
    response_excerpt: str


class DeliveryQueue(Protocol):
    """The outbox as workers see it. Every method is one transaction; failures raise StoreUnavailable."""

    def due(self, kind: str, destination: str, now: datetime) -> bool:
        """Whether a claim might find something; only reads."""
        ...

    def claim(self, claim: Claim, now: datetime) -> Sequence[Delivery]:
        """Lend rows that are due and first in their order; nobody else gets them while the lease lasts."""
        ...

    def renew(self, delivery: Delivery, owner: str, until: datetime) -> bool:
        """Lengthen a lease; False when it was lost, and nothing may be sent any more."""
        ...

    def settle(self, results: Sequence[Settled], owner: str, now: datetime) -> int:
        """Keep what came of tries; the number of rows that this owner still held."""
        ...

    def release(self, deliveries: Sequence[Delivery], owner: str, due: datetime) -> None:
        """Give rows back that were not tried; they count no attempt."""
        ...

    def tidy(self, now: datetime) -> int:
        """Take back leases that ran out, give up notices that nobody fetched in time; how many rows changed."""
        ...

    def skip_superseded(self, destination: str, now: datetime) -> int:
        """Skip what has a later version of the same case behind it; how many rows."""
        ...

    def hurry(self, destination: str, now: datetime) -> int:
        """The destination answers again: what waits for it because of an outage is due now."""
        ...

    def subscriptions(self, idents: Sequence[str]) -> Mapping[str, SubscriptionRecord]:
        """Where notices go."""
        ...

    def waiting(self) -> Sequence[Waiting]:
        """All rows that are not finished, counted; and dead ones."""
        ...


class WaitingRows(Protocol):
    """The part of the queue that pages and health look at."""

    def waiting(self) -> Sequence[Waiting]:
        """See ``DeliveryQueue``."""
        ...


class OutboxDesk(Protocol):
    """The outbox as an operator sees it; each act is audited in its own transaction."""

    def rows(
        self, states: Sequence[str], destination: str, case_id: str, most: int, audit: AuditEntry
    ) -> Sequence[OutboxRow]:
        """Rows in these states (all: none given), the oldest first."""
        ...

    def row(self, ident: int, audit: AuditEntry) -> tuple[OutboxRow, bytes, Sequence[Attempt]] | None:
        """One row with its payload and tries."""
        ...

    def replay(self, idents: Sequence[int], now: datetime, audit: AuditEntry) -> int:
        """Try dead, discarded or skipped rows again, as if they were new; how many were."""
        ...

    def discard(self, ident: int, reason: str, now: datetime, audit: AuditEntry) -> bool:
        """Never deliver it; False when it is delivered, or being delivered, already."""
        ...


class ClaimResponseSender(Protocol):
    """Hands one ClaimResponse to one payer endpoint."""

    def send(self, endpoint: PayerEndpoint, delivery: Delivery) -> Sent:
        """One try; never raises."""
        ...


class NotificationSender(Protocol):
    """Hands one notice to one subscriber."""

    def send(self, subscription: SubscriptionRecord, delivery: Delivery) -> Sent:
        """One try; never raises."""
        ...

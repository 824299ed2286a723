"""The place where the delivery worker is put together: what ``cds-service deliver`` and ``outbox`` run on.

A supervising process holds no connection and no thread of its own while it makes children, one for each worker. What
they report comes back through one pipe, a word at a time; from that and from the outbox itself come progress lines,
``/readyz`` and ``/metrics``.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import msgspec
from joserfc.jwk import ECKey

from cds_service.adapters.backend_client_files import load_backend_clients
from cds_service.adapters.breaker import Breaker
from cds_service.adapters.bundle_signature import signature
from cds_service.adapters.claim_response_http import HttpClaimResponseSender
from cds_service.adapters.endpoint_files import load_endpoints
from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.notification_http import HttpNotificationSender
from cds_service.adapters.policy_files import load_configuration
from cds_service.adapters.secret_files import load_or_make_token_key
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.outbox import SqlOutbox
from cds_service.adapters.sql.outbox_desk import SqlOutboxDesk, kept_signature
from cds_service.adapters.system import SystemClock, new_id
from cds_service.adapters.token_purchase import TokenPurchase
from cds_service.backend_clients import BackendClient
from cds_service.delivery_ports import OutboxRow, Settled
from cds_service.errors import ConfigurationError
from cds_service.fhir.pas.provenance import provenance
from cds_service.payer_endpoints import PayerEndpoint
from cds_service.settings import Settings
from cds_service.use_cases.deliver_outbox import (
    Destination,
    Lane,
    Worker,
    payer_destination,
    subscriber_destination,
)

BREAKER_SECONDS = 5.0  # between looks at a destination that is down
_BUSY_SECONDS = 10.0  # a worker can wait longer for SQLite's lock than a caller can


class DeliverySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one worker works; the command line's options."""

    lease_seconds: int = 60
    pause_seconds: float = 0.2  # between looks into an empty outbox
    breaker_seconds: float = BREAKER_SECONDS


class DeliveryFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator wrote, read and checked once, before any worker starts."""

    endpoints: Mapping[str, PayerEndpoint]
    clients: Mapping[str, BackendClient]
    token_key: ECKey


def read_delivery_files(settings: Settings, delivery: DeliverySettings) -> DeliveryFiles:
    """Endpoints, subscribers' registrations and our key; raises ConfigurationError with every complaint of a kind."""
    endpoints = load_endpoints(settings.payer_endpoints_dir, insecure_dev=settings.insecure_dev)
    for endpoint in endpoints.values():
        if endpoint.seconds + 1 > delivery.lease_seconds:
            raise ConfigurationError(
                f"endpoint {endpoint.id}: seconds is {endpoint.seconds}; allowed: at most --lease-seconds less one"
            )
    return DeliveryFiles(
        endpoints=endpoints,
        clients=load_backend_clients(settings.backend_clients_dir, insecure_dev=settings.insecure_dev),
        token_key=load_or_make_token_key(settings.token_key_file),
    )


class DeliveryWorker:
    """All lanes of one process."""

    def __init__(
        self,
        settings: Settings,
        delivery: DeliverySettings,
        files: DeliveryFiles,
        report: Callable[[str], None],
    ) -> None:
        """``report`` gets a word for everything that happens: ``settled:done``, ``delivery_destination_down`` ..."""
        self._delivery = delivery
        self._report = report
        self._clock = SystemClock()
        self._http = GuardedHttp(insecure_dev=settings.insecure_dev)
        self._database = Database(settings.database_url, pool_size=8, busy_seconds=_BUSY_SECONDS)
        self._queue = SqlOutbox(self._database)
        self._destinations = self._all_destinations(files)

    def run(self, stopping: threading.Event) -> None:
        """Deliver until asked to stop; each destination in a thread of its own."""
        threads = [
            threading.Thread(target=self._serve, args=(each, stopping), name=f"lane {each.name or each.kind}")
            for each in self._destinations
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._close()

    def drain(self) -> int:
        """Deliver what is due now; how many tries were made."""
        count = 0
        for destination in self._destinations:
            with ThreadPoolExecutor(destination.parallel) as pool:
                count += Lane(self._worker(), destination, pool).drain()
        self._close()
        return count

    def _serve(self, destination: Destination, stopping: threading.Event) -> None:
        with ThreadPoolExecutor(destination.parallel) as pool:
            Lane(self._worker(), destination, pool).run(stopping, self._delivery.pause_seconds)

    def _worker(self) -> Worker:
        return Worker(
            queue=self._queue,
            owner=new_id(),
            clock=self._clock,
            lease=timedelta(seconds=self._delivery.lease_seconds),
            chance=lambda: secrets.randbelow(1000),
            breaker=Breaker(self._clock.monotonic, open_seconds=self._delivery.breaker_seconds),
            on_event=self._report,
            on_settled=self._settled,
        )

    def _settled(self, settled: Settled) -> None:
        self._report(f"settled:{settled.step.state}")
        if settled.step.state == "dead":
            self._report(f"dead:{settled.delivery.id}:{settled.step.reason}")

    def _all_destinations(self, files: DeliveryFiles) -> list[Destination]:
        tokens = TokenPurchase(self._http, files.token_key, self._clock, new_id)
        sender = HttpClaimResponseSender(self._http, tokens, self._clock, new_id)
        notices = HttpNotificationSender(self._http, files.clients, self._clock, new_id)
        payers = [payer_destination(each, sender) for each in files.endpoints.values() if each.enabled]
        return [*payers, subscriber_destination(self._queue, notices)]

    def _close(self) -> None:
        self._http.close()
        self._database.close()


def signed_provenance(settings: Settings, row: OutboxRow, bundle: bytes) -> bytes:
    """A Provenance over the Bundle of a row, signed with the key at ``/jwks.json``; made once and then kept (D10)."""
    key = load_or_make_token_key(settings.token_key_file)
    payer = load_configuration(settings.config_dir).payer.label
    database = Database(settings.database_url, pool_size=1, busy_seconds=_BUSY_SECONDS)
    try:
        jws, at = kept_signature(database, row, lambda: signature(bundle, key), SystemClock().now())
    finally:
        database.close()
    return msgspec.json.encode(provenance(bundle, jws, at, payer))


@contextmanager
def open_outbox(settings: Settings) -> Iterator[tuple[SqlOutbox, SqlOutboxDesk]]:
    """The outbox for commands and for the supervisor."""
    if settings.in_memory:
        raise ConfigurationError("this command needs a database: set CDS_DATABASE_URL")
    database = Database(settings.database_url, pool_size=2, busy_seconds=_BUSY_SECONDS)
    try:
        yield SqlOutbox(database), SqlOutboxDesk(database)
    finally:
        database.close()

"""The use cases of prior authorization on any database, without the web; also what child processes import."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from cds_service.adapters.sql.cases import SqlCaseStore
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.store import SqlStore
from cds_service.adapters.sql.subscriptions import SqlSubscriptions
from cds_service.backend_clients import BackendCaller, BackendClient
from cds_service.use_cases.decide import Addresses, prepare
from cds_service.use_cases.prior_auth_parts import PriorAuthParts
from cds_service.use_cases.settle_prior_auth import SettlePriorAuth
from cds_service.use_cases.submit_prior_auth import SubmitPriorAuth, Submitted
from tests.support.e2e_service import WallClock, shipped
from tests.support.pas_bundles import encoded

CALLER = BackendCaller(BackendClient(id="clinic-app", name="clinic app"), ("system/Claim.cu",))


class Desk:
    """One process of the payer: it takes requests, and a person decides."""

    def __init__(self, url: str, destinations: tuple[str, ...] = ("claims-store",), **changes: Any) -> None:
        held = shipped()
        self.clock = WallClock()
        self.store = SqlStore(url, busy_seconds=20)
        self.parts = PriorAuthParts(
            rules=prepare(held.guidelines, held.vocabulary, held.payer, held.digest, Addresses()),
            pas=held.prior_auth,
            cases=SqlCaseStore(self.store.database),
            subscriptions=SqlSubscriptions(self.store.database),
            on_file=self.store.authorizations,
            clock=self.clock,
            new_id=lambda: str(uuid.uuid4()),
            key=b"k" * 32,
            destinations=lambda _program: destinations,
            public_url="https://payer.example.org/cds",
        )
        self.parts = msgspec.structs.replace(self.parts, **changes)

    @property
    def database(self) -> Database:
        return self.store.database

    @property
    def cases(self) -> SqlCaseStore:
        return self.parts.cases  # type: ignore[return-value]

    @property
    def settle(self) -> Callable[..., Any]:
        return SettlePriorAuth(self.parts).settle

    def submit(self, bundle: Any, version: str = "2.2", caller: BackendCaller = CALLER) -> Submitted:
        body = bundle if isinstance(bundle, bytes) else encoded(bundle)
        return SubmitPriorAuth(self.parts).submit(body, version, caller, started=self.clock.monotonic())

    def count(self, table: str) -> int:
        with self.database.engine.connect() as connection:
            return connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() or 0

    def run(self, statement: str) -> None:
        with self.database.engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def close(self) -> None:
        self.store.close()


@contextmanager
def desk(url: str, **changes: Any) -> Iterator[Desk]:
    """One process, closed in the end."""
    opened = Desk(url, **changes)
    try:
        yield opened
    finally:
        opened.close()

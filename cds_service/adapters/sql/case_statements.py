"""One change of a case as statements, in the order in which they are done; constant texts for each database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from cds_service.adapters.sql.authorizations import authorization_row
from cds_service.adapters.sql.batches import Statement, insertion, written
from cds_service.adapters.sql.case_rows import row_of, version_row
from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.prior_auth_tables import (
    AUDIT_EVENT,
    AUDIT_HEAD,
    CASE_EVENT,
    EXCHANGE,
    OUTBOX,
    PA_CASE,
    PA_NUMBER,
    PA_SUBMISSION,
    PA_VERSION,
)
from cds_service.adapters.sql.tables import AUTHORIZATION_ON_FILE, INVOCATION
from cds_service.domain.prior_auth import CaseEvent, Submission
from cds_service.prior_auth_ports import CaseChange, Exchange

_ENCODE: Final = msgspec.json.Encoder(order="sorted").encode
_OUTBOX: Final = (
    "kind", "destination", "case_id", "seq", "n", "idem_key", "payload", "state", "attempts", "due_at", "created",
)  # fmt: skip
_CALL: Final = (
    "id", "client", "service", "hook", "hook_instance", "received", "request_digest", "policy_digest", "patient_key",
    "status", "outcome", "response",
)  # fmt: skip
_CASE = PA_CASE.c


class CaseStatements:
    """The texts of one kind of database."""

    def __init__(self, *, for_sqlite: bool) -> None:
        def insert(table: sa.Table, columns: Sequence[str] | None = None) -> str:
            return insertion(table, columns or [column.name for column in table.columns], for_sqlite=for_sqlite)

        def text(statement: Any) -> str:
            return written(statement, for_sqlite=for_sqlite)

        self.for_sqlite = for_sqlite
        self._take = insert(PA_SUBMISSION) + " ON CONFLICT (sender, bundle_identifier) DO NOTHING"
        self._lock = text(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:member, 7))"))
        others = sa.select(sa.func.coalesce(sa.func.sum(_CASE.version), sa.literal_column("0"))).where(
            _CASE.member_id == sa.bindparam("member"), _CASE.id != sa.bindparam("own")
        )
        self._others = text(others)
        self._case = insert(PA_CASE)
        moved = [column.name for column in PA_CASE.columns if column.name != "id"]
        changed: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in moved}
        update = sa.update(PA_CASE).where(_CASE.id == sa.bindparam("own"), _CASE.version == sa.bindparam("expected"))
        self._move = text(update.values(changed))
        self._version = insert(PA_VERSION)
        self._number = insert(PA_NUMBER) + " ON CONFLICT (number, kind, case_id) DO NOTHING"
        self._outbox = insert(OUTBOX, _OUTBOX)
        self._event = insert(CASE_EVENT, ("case_id", "n", "at", "kind", "actor", "detail"))
        self._exchange = insert(EXCHANGE, Exchange.__struct_fields__)
        columns = [column.name for column in AUTHORIZATION_ON_FILE.columns]
        replaced = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in {"source", "number"})
        self._on_file = f"{insert(AUTHORIZATION_ON_FILE)} ON CONFLICT (source, number) DO UPDATE SET {replaced}"
        self._call = insert(INVOCATION, _CALL)
        newest = "last_insert_rowid()" if for_sqlite else "lastval()"
        self._context = text(
            sa.text(f"INSERT INTO determination (invocation, id, document) VALUES ({newest}, :id, :document)")  # noqa: S608 - two constants
        )
        self._drop = text(
            sa.text(
                "UPDATE outbox SET state = 'skipped', last_error = :why, finished = :at"
                " WHERE case_id = :own AND state = 'ready' AND kind = 'notification'"
            )
        )
        head = sa.select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash).where(AUDIT_HEAD.c.chain == sa.bindparam("of"))
        self._head = text(head.with_for_update())
        self._audit = insert(AUDIT_EVENT)
        self._end = text(
            sa.update(AUDIT_HEAD)
            .where(AUDIT_HEAD.c.chain == sa.bindparam("of"))
            .values(seq=sa.bindparam("last"), hash=sa.bindparam("end"))
        )

    def claim(self, submission: Submission, at: int) -> Statement:
        """Take a Bundle's identifier: changes one row for the one transaction that gets it."""
        values = {name: getattr(submission, name) for name in Submission.__struct_fields__}
        return self._take, values | {"at": at}

    def others(self, change: CaseChange) -> list[Statement]:
        """Versions of the member's other cases, under a lock that the next new case of the member waits for."""
        member = change.case.member_id
        asked: list[Statement] = [(self._others, {"member": member, "own": change.case.id})]
        return asked if self.for_sqlite else [(self._lock, {"member": member}), *asked]

    def case(self, change: CaseChange) -> Statement:
        """The case, new or moved on from the version that was seen: changes one row, or none."""
        row = row_of(change.case)
        if change.expected == 0:
            return self._case, row
        values = {f"new_{name}": value for name, value in row.items() if name != "id"}
        return self._move, values | {"own": change.case.id, "expected": change.expected}

    def rest(self, change: CaseChange) -> list[Statement]:
        """Everything else but notices and the audit log."""
        case, version = change.case, change.version
        at = microseconds(version.at)
        found: list[Statement] = [(self._version, version_row(version))]
        found += [
            (self._number, msgspec.structs.asdict(each) | {"case_id": case.id, "n": version.n})
            for each in change.numbers
        ]
        if change.drop_outbox:
            found.append((self._drop, {"why": change.drop_outbox, "at": at, "own": case.id}))
        found += self._deliveries(change, at)
        found += [(self._event, _event(change, each)) for each in change.events]
        found += [(self._on_file, authorization_row(each, "", version.at)) for each in change.authorizations]
        if change.context is not None:
            found += self._kept(change, change.context, at)
        if change.exchange is not None:
            found.append((self._exchange, exchange_row(change.exchange)))
        return found

    def _deliveries(self, change: CaseChange, at: int) -> list[Statement]:
        waiting = {"case_id": change.case.id, "state": "ready", "attempts": 0, "due_at": at, "created": at}
        return [(self._outbox, msgspec.structs.asdict(entry) | waiting) for entry in change.outbox]

    def _kept(self, change: CaseChange, context: tuple[str, bytes], at: int) -> list[Statement]:
        """What a form for this case is asked with, where order-sign keeps the same: beside a call that answered it."""
        ident, document = context
        call = {
            "id": ident,
            "client": change.case.sender,
            "service": "prior-auth",
            "hook": "prior-auth",
            "hook_instance": change.case.id,
            "received": at,
            "request_digest": change.version.request_sha256,
            "policy_digest": change.policy_digest,
            "patient_key": change.case.patient_key,
            "status": 200,
            "outcome": "quiet",
            "response": b"",
        }
        return [(self._call, call), (self._context, {"id": ident, "document": document})]

    def head(self, chain: int) -> Statement:
        """The end of an audit chain, locked."""
        return self._head, {"of": chain}

    def audit(self, rows: Sequence[dict[str, Any]]) -> list[Statement]:
        """Events, and the end of their chain."""
        last = rows[-1]
        moved = (self._end, {"of": last["chain"], "last": last["seq"], "end": last["hash"]})
        return [*((self._audit, row) for row in rows), moved]


def exchange_row(exchange: Exchange) -> dict[str, Any]:
    """A row of ``pas_exchange``."""
    return msgspec.structs.asdict(exchange) | {"at": microseconds(exchange.at)}


def _event(change: CaseChange, event: CaseEvent) -> dict[str, Any]:
    return {
        "case_id": change.case.id,
        "n": change.version.n,
        "at": microseconds(event.at),
        "kind": event.kind,
        "actor": event.actor,
        "detail": _ENCODE(event.detail).decode(),
    }

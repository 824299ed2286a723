"""The statements of the hook path, one per database and direction, and nothing between them and the driver.

``recall`` is one SELECT. ``record`` is one INSERT, whatever belongs to the call: SQLite spreads it over the tables by
a trigger (migration 0002), PostgreSQL by a WITH. One statement is one transaction and one round trip, and the file
stays locked for no longer than SQLite itself needs (see ``database``). SQLAlchemy's statement machinery would cost as
much CPU as the database itself, so the text is constant and the driver is called directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy.pool import PoolProxiedConnection

from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.failures import Failure, failure_of, unavailable
from cds_service.adapters.sql.instants import microseconds
from cds_service.ports import Invocation, Recalled

_RECALL_SQLITE = """
SELECT seq, 'jti', id, request_digest, service, response, status, outcome FROM invocation
 WHERE client = :client AND jti = :jti
UNION ALL
SELECT seq, 'hookInstance', id, request_digest, service, response, status, outcome FROM invocation
 WHERE client = :client AND hook_instance = :hook_instance AND request_digest = :request_digest
"""

_RECALL_POSTGRES = """
SELECT seq, 'jti', id, request_digest, service, response, status, outcome FROM invocation
 WHERE client = %(client)s AND jti = %(jti)s
UNION ALL
SELECT seq, 'hookInstance', id, request_digest, service, response, status, outcome FROM invocation
 WHERE client = %(client)s AND hook_instance = %(hook_instance)s AND request_digest = %(request_digest)s
"""

# hook_call is a view that exists to be inserted into: its trigger cuts ``documents`` at ``places``.
_RECORD_SQLITE = """
INSERT INTO hook_call (id, client, service, hook, hook_instance, jti, jti_expires, received, request_digest,
  policy_digest, patient_key, status, outcome, response, prefetched, documents, places, cards)
VALUES (:id, :client, :service, :hook, :hook_instance, :jti, :jti_expires, :received, :request_digest,
  :policy_digest, :patient_key, :status, :outcome, :response, :prefetched, :documents, :places, :cards)
"""

_RECORD_POSTGRES = """
WITH kept AS (
  INSERT INTO invocation (id, client, service, hook, hook_instance, jti, jti_expires, received, request_digest,
    policy_digest, patient_key, status, outcome, response, prefetched)
  VALUES (%(id)s, %(client)s, %(service)s, %(hook)s, %(hook_instance)s, %(jti)s, %(jti_expires)s, %(received)s,
    %(request_digest)s, %(policy_digest)s, %(patient_key)s, %(status)s, %(outcome)s, %(response)s,
    %(prefetched)s)
  RETURNING seq
), determinations AS (
  INSERT INTO determination (invocation, id, document)
  SELECT kept.seq, said.id, said.document
  FROM kept, unnest(%(determination_ids)s::text[], %(documents)s::bytea[]) AS said (id, document)
)
INSERT INTO card (invocation, uuid, rule, ack_key)
SELECT kept.seq, shown.uuid, shown.rule, shown.ack_key
FROM kept, unnest(%(cards)s::text[], %(rules)s::text[], %(ack_keys)s::text[]) AS shown (uuid, rule, ack_key)
"""


class HookCalls:
    """Remembers answered hook calls."""

    def __init__(self, database: Database) -> None:
        """``database`` holds migration 0002 or later."""
        self._database = database
        self._recall = _RECALL_SQLITE if database.sqlite else _RECALL_POSTGRES
        self._record = _RECORD_SQLITE if database.sqlite else _RECORD_POSTGRES
        self._row = _sqlite_row if database.sqlite else _postgres_row

    def recall(self, client: str, jti: str | None, hook_instance: str, request_digest: str) -> Sequence[Recalled]:
        """See ``ports.Store.recall``; newest first."""
        rows = self._database.run(lambda connection: self._rows(connection, client, jti, hook_instance, request_digest))
        return tuple(_recalled(row) for row in rows)

    def record(self, invocation: Invocation) -> Recalled | None:
        """See ``ports.Store.record``."""
        row = self._row(invocation)
        tried = False

        def work(connection: PoolProxiedConnection) -> Recalled | None:
            nonlocal tried
            # A connection that broke while committing leaves open whether it did: read before writing again.
            if tried and not self._database.sqlite and self._kept(connection, invocation):
                return None
            tried = True
            try:
                _execute(connection, self._record, row)
            except self._database.errors as error:
                if failure_of(error) is not Failure.CONFLICT:
                    raise
            else:
                return None
            return self._first(connection, invocation)

        return self._database.run(work)

    def _rows(
        self, connection: PoolProxiedConnection, client: str, jti: str | None, hook_instance: str, digest: str
    ) -> list[tuple[Any, ...]]:
        values = {"client": client, "jti": jti, "hook_instance": hook_instance, "request_digest": digest}
        rows = _execute(connection, self._recall, values, fetch=True)
        if len(rows) > 1:
            rows.sort(key=lambda row: (row[1] == "jti", row[0]), reverse=True)
        return rows

    def _same_call(self, connection: PoolProxiedConnection, invocation: Invocation) -> list[tuple[Any, ...]]:
        return self._rows(
            connection, invocation.client, invocation.jti, invocation.hook_instance, invocation.request_digest
        )

    def _kept(self, connection: PoolProxiedConnection, invocation: Invocation) -> bool:
        return any(row[2] == invocation.id for row in self._same_call(connection, invocation))

    def _first(self, connection: PoolProxiedConnection, invocation: Invocation) -> Recalled | None:
        """What stands under the jti already: another worker's answer, or this one from an attempt thought lost."""
        rows = self._same_call(connection, invocation)
        if any(row[2] == invocation.id for row in rows):
            return None
        for row in rows:
            if row[1] == "jti":
                return _recalled(row)
        raise unavailable(Failure.CONFLICT)


def _execute(
    connection: PoolProxiedConnection, statement: str, values: Mapping[str, object], *, fetch: bool = False
) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    try:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if fetch else []
    finally:
        cursor.close()


def _recalled(row: tuple[Any, ...]) -> Recalled:
    _, by, _, digest, service, response, status, outcome = row
    return Recalled(
        request_digest=digest, service=service, response=bytes(response), status=status, by=by, outcome=outcome
    )


def _columns(invocation: Invocation) -> dict[str, object]:
    return {
        "id": invocation.id,
        "client": invocation.client,
        "service": invocation.service,
        "hook": invocation.hook,
        "hook_instance": invocation.hook_instance,
        "jti": invocation.jti,
        "jti_expires": invocation.jti_expires,
        "received": microseconds(invocation.received),
        "request_digest": invocation.request_digest,
        "policy_digest": invocation.policy_digest,
        "patient_key": invocation.patient_key,
        "status": invocation.status,
        "outcome": invocation.outcome,
        "response": invocation.response,
        "prefetched": " ".join(invocation.prefetched),
    }


def _sqlite_row(invocation: Invocation) -> dict[str, object]:
    """``places`` is JSON ``[[id, first byte from 1, bytes], ...]``, ``cards`` is JSON ``[[uuid, rule, key], ...]``."""
    places = []
    start = 1
    documents = dict(invocation.determinations)
    for ident, document in documents.items():
        places.append((ident, start, len(document)))
        start += len(document)
    row = _columns(invocation)
    row["documents"] = b"".join(documents.values())
    row["places"] = msgspec.json.encode(places).decode()
    row["cards"] = msgspec.json.encode(_cards(invocation)).decode()
    return row


def _postgres_row(invocation: Invocation) -> dict[str, object]:
    documents = dict(invocation.determinations)
    cards = _cards(invocation)
    row = _columns(invocation)
    row["determination_ids"] = list(documents)
    row["documents"] = list(documents.values())
    row["cards"] = [uuid for uuid, _, _ in cards]
    row["rules"] = [rule for _, rule, _ in cards]
    row["ack_keys"] = [key for _, _, key in cards]
    return row


def _cards(invocation: Invocation) -> list[tuple[str, str, str]]:
    """A uuid counts once per call."""
    return list({card[0]: card for card in invocation.cards}.values())

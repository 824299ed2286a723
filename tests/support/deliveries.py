"""Cases with responses to deliver, for tests of the outbox and of its workers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.instants import microseconds
from cds_service.adapters.sql.outbox import SqlOutbox, enqueue
from cds_service.adapters.sql.prior_auth_tables import PA_CASE, PA_VERSION, SUBSCRIPTION
from cds_service.delivery_ports import Claim, Settled
from cds_service.domain.delivery import Sent, Step
from cds_service.prior_auth_ports import OutboxEntry

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SYSTEM = "https://payer.example.org/claim-response"


def pending(outbox: SqlOutbox) -> int:
    """How many rows are still to be carried."""
    return sum(each.count for each in outbox.waiting() if each.state in ("ready", "leased"))


def answer_handshakes(outbox: SqlOutbox, now: datetime) -> None:
    """As a worker does whose every notification is taken."""
    claim = Claim(kind="notification", destination="", owner="w", most=100, lease=timedelta(seconds=60))
    for each in outbox.claim(claim, now):
        settled = Settled(each, Sent(state="done", status=200), Step(state="done", due=now, reason=""))
        outbox.settle([settled], "w", now)


def response_bundle(case_id: str, n: int, **changes: object) -> bytes:
    """A response Bundle whose ClaimResponse has the id and the identifier by which a repeat is known."""
    ident = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{case_id}.{n}"))
    claim_response = {
        "resourceType": "ClaimResponse",
        "id": ident,
        "identifier": [{"system": SYSTEM, "value": f"{case_id}.{n}"}],
        "status": "active",
        "outcome": "complete",
        "patient": {"reference": "urn:uuid:5a5f3c9e-0000-4000-8000-000000000001"},
        "item": [{"itemSequence": 1, "extension": [{"valueDecimal": 1.20}]}],
    } | changes
    text = json.dumps(claim_response).replace("1.2}", "1.20}")  # a decimal whose last digit must not get lost
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:sample:member", "value": "M-1"}]}
    entries = [
        f'{{"fullUrl": "urn:uuid:{ident}", "resource": {text}}}',
        '{"fullUrl": "urn:uuid:5a5f3c9e-0000-4000-8000-000000000001", "resource": ' + json.dumps(patient) + "}",
        '{"fullUrl": "urn:uuid:5a5f3c9e-0000-4000-8000-000000000002", "resource": {"resourceType": "Task"}}',
    ]
    return ('{"resourceType": "Bundle", "type": "collection", "entry": [' + ", ".join(entries) + "]}").encode()


def put_case(
    database: Database,
    case_id: str,
    versions: Sequence[int],
    *,
    destinations: Sequence[str] = ("payer-a",),
    at: datetime = NOON,
    due: timedelta | None = timedelta(days=7),
) -> None:
    """A case with these versions, each to be delivered to each destination; written as ``$submit`` does."""

    def work(session: sa.Connection) -> None:
        if versions[0] == 1:
            session.execute(sa.insert(PA_CASE), _case(case_id, at, due))
        for n in versions:
            session.execute(sa.insert(PA_VERSION), version_row(case_id, n, at))
            entries = [OutboxEntry("payer", each, n, n, f"{case_id}.{n}:{each}") for each in destinations]
            enqueue(session, case_id, entries, at)

    database.session(work, durable=True)


def put_subscription(
    database: Database, ident: str, endpoint: str, *, status: str = "active", **changes: object
) -> None:
    """A subscriber of the client ``clinic``."""
    row: dict[str, object] = {
        "id": ident,
        "sender": "clinic",
        "organizations": "[]",
        "endpoint": endpoint,
        "payload": "application/fhir+json",
        "header": '["Authorization: Bearer subscriber-secret", "Host: elsewhere.example.org"]',
        "status": status,
        "error": "",
        "events": 0,
        "created": microseconds(NOON),
    }
    database.session(lambda session: session.execute(sa.insert(SUBSCRIPTION), row | changes))


def put_notices(database: Database, subscription: str, events: Sequence[int], at: datetime = NOON) -> None:
    """Notices with these event numbers; 0 is a handshake."""
    entries = [
        OutboxEntry("notification", subscription, event, 1, f"{subscription}:{event}", b'{"event":%d}' % event)
        for event in events
    ]
    database.session(lambda session: enqueue(session, "", entries, at))


def _case(case_id: str, at: datetime, due: timedelta | None) -> dict[str, object]:
    texts = ("provider_organization", "ordering_npi", "rendering_npi", "member_id", "patient_key", "assigned_to")
    return dict.fromkeys(texts, "") | {
        "id": case_id,
        "tracking_number": f"T-{case_id}",
        "sender": "clinic",
        "program": "standard",
        "benefit": "medical",
        "expedited": 0,
        "has_drug": 1,
        "request_type": "trial",
        "state": "decided",
        "summary": "{}",
        "received": microseconds(at),
        "due": None if due is None else microseconds(at + due),
        "version": 1,
    }


def version_row(case_id: str, n: int, at: datetime) -> dict[str, object]:
    return {
        "case_id": case_id,
        "n": n,
        "kind": "submit",
        "at": microseconds(at),
        "request": None,
        "request_sha256": "",
        "response": response_bundle(case_id, n),
        "response_sha256": "",
        "policy_id": "",
        "policy_version": "",
        "policy_digest": "",
        "trace": b"{}",
        "actor": "engine",
        "human": 0,
    }

"""The tables of prior authorization: cases and versions, what is to be delivered, subscriptions, logs.

Instants are whole microseconds since 1970 UTC. What a version says is written once and never changed: a case points
at its newest one. ``audit_event`` is a number of hash chains, so that writers of different cases seldom wait for each
other; ``audit_head`` holds the end of each, and is the row that a writer locks.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from cds_service.adapters.sql.tables import METADATA

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

PA_CASE = Table(
    "pa_case",
    METADATA,
    Column("id", String, primary_key=True),
    Column("tracking_number", String, nullable=False),
    Column("sender", String, nullable=False),  # the registered client that submitted
    Column("provider_organization", String, nullable=False),  # its identifier as "system|value"
    Column("ordering_npi", String, nullable=False),
    Column("rendering_npi", String, nullable=False),
    Column("member_id", String, nullable=False),
    Column("patient_key", String, nullable=False),  # keyed digest
    Column("program", String, nullable=False),
    Column("benefit", String, nullable=False),
    Column("expedited", SmallInteger, nullable=False),
    Column("has_drug", SmallInteger, nullable=False),
    Column("request_type", String, nullable=False),
    Column("state", String, nullable=False),
    Column("summary", Text, nullable=False),  # domain.prior_auth.CaseSummary as JSON
    Column("received", BigInteger, nullable=False),
    Column("due", BigInteger),
    Column("decided", BigInteger),
    Column("version", Integer, nullable=False),  # the newest n of pa_version: the optimistic lock
    Column("assigned_to", String, nullable=False),
    Column("service_end", BigInteger),
    UniqueConstraint("tracking_number"),
    Index("ix_pa_case_member_id", "member_id"),
    Index("ix_pa_case_state_due", "state", "due"),
    Index("ix_pa_case_received", "received"),
)

PA_VERSION = Table(
    "pa_version",
    METADATA,
    Column("case_id", String, primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),  # submit | update | cancel | renewal | decision | information | extension
    Column("at", BigInteger, nullable=False),
    Column("request", LargeBinary),  # byte for byte as it came; NULL where no request made the version
    Column("request_sha256", String, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("response_sha256", String, nullable=False),
    Column("policy_id", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("policy_digest", String, nullable=False),
    Column("trace", LargeBinary, nullable=False),  # the determination and its rows per item, JSON
    Column("actor", String, nullable=False),
    Column("human", SmallInteger, nullable=False),
    ForeignKeyConstraint(["case_id"], ["pa_case.id"], name="fk_pa_version_case_id"),
)

PA_SUBMISSION = Table(
    "pa_submission",
    METADATA,
    Column("sender", String, primary_key=True),
    Column("bundle_identifier", String, primary_key=True),  # "system|value"
    Column("body_sha256", String, nullable=False),
    Column("case_id", String, nullable=False),
    Column("n", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
)

PA_NUMBER = Table(
    "pa_number",
    METADATA,
    Column("number", String, primary_key=True),
    Column("kind", String, primary_key=True),  # authorization | reference | trace | claim
    Column("case_id", String, primary_key=True),
    Column("sequence", Integer, nullable=False),  # of the item; 0: of the whole request
    Column("n", Integer, nullable=False),  # the version that first gave it
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("kind", String, nullable=False),  # payer | notification
    Column("destination", String, nullable=False),  # the endpoint's name in the configuration, or a subscription's id
    Column("case_id", String, nullable=False),  # "" for a handshake
    Column("seq", Integer, nullable=False),  # order within destination and case
    Column("n", Integer, nullable=False),
    Column("idem_key", String, nullable=False),
    Column("payload", LargeBinary),  # NULL: the response of version n
    Column("state", String, nullable=False),  # ready | leased | done | dead | skipped | discarded
    Column("attempts", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("lease_owner", String),
    Column("lease_until", BigInteger),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("remote_location", Text),
    Column("created", BigInteger, nullable=False),
    Column("finished", BigInteger),
    UniqueConstraint("idem_key"),
    Index("ix_outbox_state_due_at", "state", "due_at"),
    Index("ix_outbox_destination_case_id_seq", "destination", "case_id", "seq"),
    Index("ix_outbox_case_id", "case_id"),
    *(
        Index(name, *columns, sqlite_where=text(only), postgresql_where=text(only))
        for name, columns, only in (
            ("ix_outbox_undone", ("destination", "case_id", "seq"), "state IN ('ready', 'leased', 'dead')"),
            ("ix_outbox_unheard", ("destination", "seq"), "kind = 'notification' AND state IN ('ready', 'leased')"),
            ("ix_outbox_payer_due", ("destination", "due_at"), "kind = 'payer' AND state = 'ready'"),
            ("ix_outbox_notice_due", ("kind", "state", "due_at"), "kind = 'notification' AND state = 'ready'"),
        )
    ),
)

PA_SIGNATURE = Table(
    "pa_signature",
    METADATA,
    Column("case_id", String, primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("jws", Text, nullable=False),  # detached, over the response of the version
)

DELIVERY_ATTEMPT = Table(
    "delivery_attempt",
    METADATA,
    Column("outbox_id", _NUMBER, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("http_status", Integer),
    Column("latency_ms", Integer, nullable=False),
    Column("request_digest", String, nullable=False),
    Column("response_excerpt", Text, nullable=False),
)

SUBSCRIPTION = Table(
    "subscription",
    METADATA,
    Column("id", String, primary_key=True),
    Column("sender", String, nullable=False),
    Column("organizations", Text, nullable=False),  # JSON list of "system|value"
    Column("endpoint", Text, nullable=False),
    Column("payload", String, nullable=False),  # media type
    Column("header", Text, nullable=False),  # JSON list of header lines to send with each notification
    Column("status", String, nullable=False),  # requested | active | error | off
    Column("error", Text, nullable=False),
    Column("events", Integer, nullable=False),  # number of the last event
    Column("created", BigInteger, nullable=False),
    Column("until", BigInteger),
    Index("ix_subscription_sender", "sender"),
    Index("ix_subscription_status", "status"),
)

SUBSCRIPTION_EVENT = Table(
    "subscription_event",
    METADATA,
    Column("subscription_id", String, primary_key=True),
    Column("event", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("case_id", String, nullable=False),
    Column("n", Integer, nullable=False),
)

AUDIT_EVENT = Table(
    "audit_event",
    METADATA,
    Column("chain", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),  # 1, 2, 3 ... without a gap
    Column("at", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("role", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    Column("prev_hash", String, nullable=False),
    Column("hash", String, nullable=False),
    Index("ix_audit_event_at", "at"),
    Index("ix_audit_event_subject", "subject"),
)

AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("chain", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", _NUMBER, nullable=False),
    Column("hash", String, nullable=False),
)

CASE_EVENT = Table(
    "case_event",
    METADATA,
    Column("seq", _NUMBER, primary_key=True, autoincrement=True),
    Column("case_id", String, nullable=False),
    Column("n", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    Index("ix_case_event_case_id", "case_id"),
    Index("ix_case_event_at", "at"),
)

EXCHANGE = Table(
    "pas_exchange",
    METADATA,
    Column("seq", _NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String, nullable=False),  # submit | inquire | notification
    Column("sender", String, nullable=False),
    Column("http_status", SmallInteger, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("case_id", String, nullable=False),
    Column("detail", Text, nullable=False),  # JSON: the fields of PASMetricData
    Index("ix_pas_exchange_at", "at"),
)

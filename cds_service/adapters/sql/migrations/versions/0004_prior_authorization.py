"""Prior authorization: cases and their versions, what is to be delivered, subscriptions, the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
CHAINS = 8  # of audit events


def upgrade() -> None:
    """Only adds."""
    _cases()
    _deliveries()
    _subscriptions()
    _logs()


def _cases() -> None:
    op.create_table(
        "pa_case",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("tracking_number", sa.String, nullable=False),
        sa.Column("sender", sa.String, nullable=False),
        sa.Column("provider_organization", sa.String, nullable=False),
        sa.Column("ordering_npi", sa.String, nullable=False),
        sa.Column("rendering_npi", sa.String, nullable=False),
        sa.Column("member_id", sa.String, nullable=False),
        sa.Column("patient_key", sa.String, nullable=False),
        sa.Column("program", sa.String, nullable=False),
        sa.Column("benefit", sa.String, nullable=False),
        sa.Column("expedited", sa.SmallInteger, nullable=False),
        sa.Column("has_drug", sa.SmallInteger, nullable=False),
        sa.Column("request_type", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger),
        sa.Column("decided", sa.BigInteger),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("assigned_to", sa.String, nullable=False),
        sa.Column("service_end", sa.BigInteger),
        sa.UniqueConstraint("tracking_number", name="uq_pa_case_tracking_number"),
    )
    op.create_index("ix_pa_case_member_id", "pa_case", ["member_id"])
    op.create_index("ix_pa_case_state_due", "pa_case", ["state", "due"])
    op.create_index("ix_pa_case_received", "pa_case", ["received"])
    op.create_table(
        "pa_version",
        sa.Column("case_id", sa.String, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("request", sa.LargeBinary),
        sa.Column("request_sha256", sa.String, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.Column("response_sha256", sa.String, nullable=False),
        sa.Column("policy_id", sa.String, nullable=False),
        sa.Column("policy_version", sa.String, nullable=False),
        sa.Column("policy_digest", sa.String, nullable=False),
        sa.Column("trace", sa.LargeBinary, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("human", sa.SmallInteger, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["pa_case.id"], name="fk_pa_version_case_id"),
    )
    op.create_table(
        "pa_submission",
        sa.Column("sender", sa.String, primary_key=True),
        sa.Column("bundle_identifier", sa.String, primary_key=True),
        sa.Column("body_sha256", sa.String, nullable=False),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pa_number",
        sa.Column("number", sa.String, primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("case_id", sa.String, primary_key=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
    )


def _deliveries() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("destination", sa.String, nullable=False),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("idem_key", sa.String, nullable=False),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.String),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
        sa.Column("remote_location", sa.Text),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger),
        sa.UniqueConstraint("idem_key", name="uq_outbox_idem_key"),
    )
    op.create_index("ix_outbox_state_due_at", "outbox", ["state", "due_at"])
    op.create_index("ix_outbox_destination_case_id_seq", "outbox", ["destination", "case_id", "seq"])
    op.create_index("ix_outbox_case_id", "outbox", ["case_id"])
    op.create_table(
        "delivery_attempt",
        sa.Column("outbox_id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("http_status", sa.Integer),
        sa.Column("latency_ms", sa.Integer, nullable=False),
        sa.Column("request_digest", sa.String, nullable=False),
        sa.Column("response_excerpt", sa.Text, nullable=False),
    )


def _subscriptions() -> None:
    op.create_table(
        "subscription",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("sender", sa.String, nullable=False),
        sa.Column("organizations", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("payload", sa.String, nullable=False),
        sa.Column("header", sa.Text, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
    )
    op.create_index("ix_subscription_sender", "subscription", ["sender"])
    op.create_index("ix_subscription_status", "subscription", ["status"])
    op.create_table(
        "subscription_event",
        sa.Column("subscription_id", sa.String, primary_key=True),
        sa.Column("event", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
    )


def _logs() -> None:
    op.create_table(
        "audit_event",
        sa.Column("chain", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    )
    op.create_index("ix_audit_event_at", "audit_event", ["at"])
    op.create_index("ix_audit_event_subject", "audit_event", ["subject"])
    op.create_table(
        "audit_head",
        sa.Column("chain", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", _NUMBER, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    )
    op.create_table(
        "case_event",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("ix_case_event_case_id", "case_event", ["case_id"])
    op.create_index("ix_case_event_at", "case_event", ["at"])
    op.create_table(
        "pas_exchange",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("sender", sa.String, nullable=False),
        sa.Column("http_status", sa.SmallInteger, nullable=False),
        sa.Column("milliseconds", sa.Integer, nullable=False),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("ix_pas_exchange_at", "pas_exchange", ["at"])
    heads = sa.table("audit_head", sa.column("chain"), sa.column("seq"), sa.column("hash"))
    op.bulk_insert(heads, [{"chain": chain, "seq": 0, "hash": ""} for chain in range(CHAINS)])

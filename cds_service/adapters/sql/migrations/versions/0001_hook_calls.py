"""Hook calls with their determinations and cards, feedback, authorizations on file, and who read what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# Python releases its interpreter lock in every call to SQLite; with several statements per transaction the file
# would stay locked while a thread waits to go on. So a hook call is one INSERT, and the trigger spreads it.
_HOOK_CALL_VIEW = """
CREATE VIEW hook_call AS
SELECT id, client, service, hook, hook_instance, jti, jti_expires, received, request_digest, policy_digest,
       patient_key, status, outcome, response, x'' AS documents, '' AS places, '' AS cards
FROM invocation
"""

_HOOK_CALL_TRIGGER = """
CREATE TRIGGER hook_call_insert INSTEAD OF INSERT ON hook_call
BEGIN
  INSERT INTO invocation (id, client, service, hook, hook_instance, jti, jti_expires, received, request_digest,
    policy_digest, patient_key, status, outcome, response)
  VALUES (NEW.id, NEW.client, NEW.service, NEW.hook, NEW.hook_instance, NEW.jti, NEW.jti_expires, NEW.received,
    NEW.request_digest, NEW.policy_digest, NEW.patient_key, NEW.status, NEW.outcome, NEW.response);
  INSERT INTO determination (invocation, id, document)
  SELECT last_insert_rowid(), json_extract(value, '$[0]'),
    substr(NEW.documents, json_extract(value, '$[1]'), json_extract(value, '$[2]'))
  FROM json_each(NEW.places);
  INSERT INTO card (invocation, uuid, rule, ack_key)
  SELECT last_insert_rowid(), json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
  FROM json_each(NEW.cards);
END
"""


def upgrade() -> None:
    """From nothing."""
    _hook_calls()
    _others()
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_HOOK_CALL_VIEW)
        op.execute(_HOOK_CALL_TRIGGER)


def _hook_calls() -> None:
    op.create_table(
        "invocation",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("service", sa.String, nullable=False),
        sa.Column("hook", sa.String, nullable=False),
        sa.Column("hook_instance", sa.String, nullable=False),
        sa.Column("jti", sa.String),
        sa.Column("jti_expires", sa.BigInteger),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("request_digest", sa.String, nullable=False),
        sa.Column("policy_digest", sa.String, nullable=False),
        sa.Column("patient_key", sa.String, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
    )
    op.create_index("uq_invocation_client_jti", "invocation", ["client", "jti"], unique=True)
    op.create_index("ix_invocation_replay", "invocation", ["client", "hook_instance", "request_digest"])
    op.create_index("ix_invocation_received", "invocation", ["received"])
    op.create_table(
        "determination",
        sa.Column("invocation", _NUMBER, sa.ForeignKey("invocation.seq"), primary_key=True, autoincrement=False),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_determination_id", "determination", ["id"])
    op.create_table(
        "card",
        sa.Column("invocation", _NUMBER, sa.ForeignKey("invocation.seq"), primary_key=True, autoincrement=False),
        sa.Column("uuid", sa.String, primary_key=True),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("ack_key", sa.String, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_card_uuid", "card", ["uuid"])


def _others() -> None:
    op.create_table(
        "feedback",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("service", sa.String, nullable=False),
        sa.Column("card", sa.String, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("ack_key", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("outcome_at", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("suggestions", sa.Text, nullable=False),
        sa.Column("reason_system", sa.String, nullable=False),
        sa.Column("reason_code", sa.String, nullable=False),
        sa.Column("comment", sa.Text),
    )
    op.create_index("uq_feedback_once", "feedback", ["card", "client", "outcome", "outcome_at"], unique=True)
    op.create_index("ix_feedback_ack_key", "feedback", ["ack_key"])
    op.create_index("ix_feedback_received", "feedback", ["received"])
    op.create_table(
        "authorization_on_file",
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("number", sa.String, primary_key=True),
        sa.Column("member_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("raw", sa.Text, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_authorization_on_file_member_id", "authorization_on_file", ["member_id"])
    op.create_table(
        "access_event",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("reader", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("record", sa.String, nullable=False),
    )
    op.create_index("ix_access_event_at", "access_event", ["at"])

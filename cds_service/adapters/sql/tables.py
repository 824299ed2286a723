"""The tables, as SQLAlchemy sees them. The migrations make them; a test holds the two together.

Instants are whole microseconds since 1970 UTC: they compare alike in every database. Rows of ``invocation`` are
numbered in the order in which they were written (``seq``); what belongs to one hangs on that number.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

HEAD = "0008"  # the newest migration

# Cards that are sent once, see ``cds_hooks.renewals``. Written out: a bound value would not find the index of them.
RENEWALS = text("rule = 'coverage-renew'")

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the type is spelt INTEGER.
NUMBER = BigInteger().with_variant(Integer, "sqlite")

INVOCATION = Table(
    "invocation",
    METADATA,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False),
    Column("client", String, nullable=False),
    Column("service", String, nullable=False),
    Column("hook", String, nullable=False),
    Column("hook_instance", String, nullable=False),
    Column("jti", String),
    Column("jti_expires", BigInteger),  # epoch seconds, as the token says it
    Column("received", BigInteger, nullable=False),
    Column("request_digest", String, nullable=False),
    Column("policy_digest", String, nullable=False),
    Column("patient_key", String, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("outcome", String, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("prefetched", Text),  # key names between blanks; NULL where it was not noted
    # Unique where a jti is there: both databases take NULLs as different from each other.
    Index("uq_invocation_client_jti", "client", "jti", unique=True),
    Index("ix_invocation_replay", "client", "hook_instance", "request_digest"),
    Index("ix_invocation_received", "received"),
)

DETERMINATION = Table(
    "determination",
    METADATA,
    Column("invocation", NUMBER, ForeignKey("invocation.seq"), primary_key=True, autoincrement=False),
    Column("id", String, primary_key=True),
    Column("document", LargeBinary, nullable=False),
    Index("ix_determination_id", "id"),
    sqlite_with_rowid=False,
)

CARD = Table(
    "card",
    METADATA,
    Column("invocation", NUMBER, ForeignKey("invocation.seq"), primary_key=True, autoincrement=False),
    Column("uuid", String, primary_key=True),
    Column("rule", String, nullable=False),
    Column("ack_key", String, nullable=False),
    Index("ix_card_uuid", "uuid"),
    Index("ix_card_renewal", "ack_key", sqlite_where=RENEWALS, postgresql_where=RENEWALS),
    sqlite_with_rowid=False,
)

FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("client", String, nullable=False),
    Column("service", String, nullable=False),
    Column("card", String, nullable=False),
    # Copied from the card, so that counting and the quiet rule outlive the purge of invocations.
    Column("rule", String, nullable=False),
    Column("ack_key", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("outcome_at", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("suggestions", Text, nullable=False),
    Column("reason_system", String, nullable=False),
    Column("reason_code", String, nullable=False),
    Column("comment", Text),  # may hold PHI: purged before everything else
    # A client that sends the same entry again adds nothing.
    Index("uq_feedback_once", "card", "client", "outcome", "outcome_at", unique=True),
    Index("ix_feedback_ack_key", "ack_key"),
    Index("ix_feedback_received", "received"),
)

AUTHORIZATION_ON_FILE = Table(
    "authorization_on_file",
    METADATA,
    Column("source", String, primary_key=True),
    Column("number", String, primary_key=True),
    Column("member_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("document", LargeBinary, nullable=False),  # the Authorization as JSON: what the look-up gives back
    Column("raw", Text, nullable=False),  # the line as it came in
    Column("changed", BigInteger, nullable=False),
    Index("ix_authorization_on_file_member_id", "member_id"),
)

ACCESS_EVENT = Table(
    "access_event",
    METADATA,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("reader", String, nullable=False),
    Column("action", String, nullable=False),
    Column("record", String, nullable=False),
    Index("ix_access_event_at", "at"),
)

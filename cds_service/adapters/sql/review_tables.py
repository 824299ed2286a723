"""Tables of the reviewers' workplace, beside ``tables`` and in the same schema (migration 0005)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from cds_service.adapters.sql.tables import METADATA

REVIEW_SESSION = Table(
    "review_session",
    METADATA,
    Column("id_sha256", String, primary_key=True),  # of the cookie's value: a copy of the table opens no session
    Column("kind", String, nullable=False),  # session | sign_in
    Column("data", Text, nullable=False),  # JSON
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Index("ix_review_session_until", "until"),
    sqlite_with_rowid=False,
)

REVIEW_PERSON = Table(
    "review_person",
    METADATA,
    Column("id", String, primary_key=True),  # the identity provider's
    Column("name", String, nullable=False),  # as of the latest sign-in
    Column("role", String, nullable=False),
    Column("seen", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

REVIEW_PROPOSAL = Table(
    "review_proposal",
    METADATA,
    Column("case_id", String, primary_key=True),
    Column("version_seen", Integer, nullable=False),
    Column("form", Text, nullable=False),  # JSON
    Column("author", Text, nullable=False),  # JSON: id, name, role, npi
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

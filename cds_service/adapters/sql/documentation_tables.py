"""Tables of documentation (DTR) and of its guard, beside ``tables`` and in the same schema (migration 0003)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text

from cds_service.adapters.sql.tables import METADATA, NUMBER

ASSERTION_USED = Table(
    "assertion_used",
    METADATA,
    Column("client", String, primary_key=True),
    Column("jti", String, primary_key=True),
    Column("expires", BigInteger, nullable=False),  # epoch seconds: after it the assertion is refused by its age
    Index("ix_assertion_used_expires", "expires"),
    sqlite_with_rowid=False,
)

FORM_ERROR = Table(
    "form_error",
    METADATA,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("client", String, nullable=False),
    Column("questionnaire", String, nullable=False),  # canonical|version
    Column("severity", String, nullable=False),
    Column("code", String, nullable=False),
    Column("expression", Text, nullable=False),
    Column("diagnostics", Text, nullable=False),
    Index("ix_form_error_at", "at"),
)

FORM_CALL = Table(
    "form_call",
    METADATA,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("client", String, nullable=False),
    Column("operation", String, nullable=False),  # qpackage | nextq | log-errors | expand
    Column("version", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("context", String, nullable=False),  # assertion id, "" where none was named
    Column("questionnaires", Integer, nullable=False),
    Column("items", Integer, nullable=False),
    Column("outcome", String, nullable=False),
    Index("ix_form_call_at", "at"),
)

FORM_RESULT = Table(
    "form_result",
    METADATA,
    Column("context", String, primary_key=True),
    Column("client", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("ix_form_result_at", "at"),
    sqlite_with_rowid=False,
)

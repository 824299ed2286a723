"""What the coverage questionnaire needs: used client assertions, errors of forms, a line per operation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Only adds."""
    op.create_table(
        "assertion_used",
        sa.Column("client", sa.String, primary_key=True),
        sa.Column("jti", sa.String, primary_key=True),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_assertion_used_expires", "assertion_used", ["expires"])
    op.create_table(
        "form_error",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("questionnaire", sa.String, nullable=False),
        sa.Column("severity", sa.String, nullable=False),
        sa.Column("code", sa.String, nullable=False),
        sa.Column("expression", sa.Text, nullable=False),
        sa.Column("diagnostics", sa.Text, nullable=False),
    )
    op.create_index("ix_form_error_at", "form_error", ["at"])
    _calls_and_results()


def _calls_and_results() -> None:
    op.create_table(
        "form_call",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("operation", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("milliseconds", sa.Integer, nullable=False),
        sa.Column("context", sa.String, nullable=False),
        sa.Column("questionnaires", sa.Integer, nullable=False),
        sa.Column("items", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
    )
    op.create_index("ix_form_call_at", "form_call", ["at"])
    op.create_table(
        "form_result",
        sa.Column("context", sa.String, primary_key=True),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_form_result_at", "form_result", ["at"])

"""Signatures over response Bundles, each made when somebody first asks for it and then kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Only adds."""
    op.create_table(
        "pa_signature",
        sa.Column("case_id", sa.String, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("jws", sa.Text, nullable=False),
    )

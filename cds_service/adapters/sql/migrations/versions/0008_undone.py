"""The rows of the outbox that are not finished, by case: whether one is the first of its case is seen in one step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Only adds."""
    undone = sa.text("state IN ('ready', 'leased', 'dead')")
    op.create_index(
        "ix_outbox_undone",
        "outbox",
        ["destination", "case_id", "seq"],
        sqlite_where=undone,
        postgresql_where=undone,
    )

"""Cards that say "renew" once about an authorization: found by their key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Only adds."""
    only = sa.text("rule = 'coverage-renew'")
    op.create_index("ix_card_renewal", "card", ["ack_key"], sqlite_where=only, postgresql_where=only)

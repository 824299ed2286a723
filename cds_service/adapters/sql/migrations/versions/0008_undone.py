"""Indexes of the outbox that hold only what is not finished: a worker finds the next rows whatever the table holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None

_INDEXES = (
    ("ix_outbox_undone", ["destination", "case_id", "seq"], "state IN ('ready', 'leased', 'dead')"),
    ("ix_outbox_unheard", ["destination", "seq"], "kind = 'notification' AND state IN ('ready', 'leased')"),
    ("ix_outbox_payer_due", ["destination", "due_at"], "kind = 'payer' AND state = 'ready'"),
    ("ix_outbox_notice_due", ["kind", "state", "due_at"], "kind = 'notification' AND state = 'ready'"),
)


def upgrade() -> None:
    """Only adds."""
    for name, columns, condition in _INDEXES:
        only = sa.text(condition)
        op.create_index(name, "outbox", columns, sqlite_where=only, postgresql_where=only)

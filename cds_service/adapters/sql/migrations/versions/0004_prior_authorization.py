"""Prior authorization: cases and their versions, what is to be delivered, subscriptions, the audit log."""

from __future__ import annotations

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Only adds."""

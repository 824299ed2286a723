"""Alembic runs this module; ``migrate.upgrade`` gives it the connection."""

from __future__ import annotations

from alembic import context

from cds_service.adapters.sql.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=False,
)
context.run_migrations()

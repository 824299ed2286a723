"""Store for SQLite and PostgreSQL."""

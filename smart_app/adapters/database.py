"""The app's database: connections and the schema with its versions.

Every statement stands for itself (autocommit), and what must not happen twice is one conditional statement; so nothing
here needs a transaction, and SQLite and PostgreSQL behave the same. The schema is small and only grows: each version is
one function of SQLAlchemy's own statements, done once under a lock; a migration tool would need more around it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cds_service.errors import ConfigurationError

BUSY_SECONDS = 5
_LOCK = 0x534D4152  # PostgreSQL's advisory lock of the upgrade: "SMAR"

METADATA = sa.MetaData()
_INSTANT = sa.BigInteger  # microseconds since 1970, UTC

SCHEMA = sa.Table("app_schema", METADATA, sa.Column("version", sa.Integer, primary_key=True))

ATTEMPT = sa.Table(  # an authorization request on its way (SM-16)
    "attempt",
    METADATA,
    sa.Column("state_hash", sa.String(64), primary_key=True),
    sa.Column("binding_hash", sa.String(64), nullable=False),  # of the cookie of the browser that began
    sa.Column("ehr", sa.String(63), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("expires", _INSTANT, nullable=False, index=True),
)

LAUNCH = sa.Table(  # an open launch, or one that has ended and whose forms are still kept
    "launch",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("secret_hash", sa.String(64), nullable=False),  # of its cookie
    sa.Column("ehr", sa.String(63), nullable=False),
    sa.Column("about", sa.String(64), nullable=False, index=True),  # keyed digest of EHR, patient and user
    sa.Column("opened", _INSTANT, nullable=False),
    sa.Column("seen", _INSTANT, nullable=False, index=True),
    sa.Column("ended", _INSTANT),
    sa.Column("end_reason", sa.String(16)),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("tokens", sa.LargeBinary),  # sealed; NULL once the launch has ended
    sa.Column("token_version", sa.Integer, nullable=False),
    sa.Column("refresh_until", _INSTANT),  # the refresh token is taken, and its taker answers before this
)

FORM = sa.Table(  # what a person has entered, sealed
    "form",
    METADATA,
    sa.Column("launch_id", sa.String(64), sa.ForeignKey("launch.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("kind", sa.String(128), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("kept", _INSTANT, nullable=False),
)

SUBMISSION = sa.Table(  # a request for prior authorization: outlives the launch that sent it
    "submission",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("chart", sa.String(64), nullable=False, index=True),  # keyed digest of EHR and patient
    sa.Column("payer", sa.String(63), nullable=False),
    sa.Column("claim", sa.String(64), nullable=False, index=True),  # keyed digest of payer and newest Claim.identifier
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("changed", _INSTANT, nullable=False),
)

PAYER_SUBSCRIPTION = sa.Table(  # under which a payer tells us of decisions
    "payer_subscription",
    METADATA,
    sa.Column("payer", sa.String(63), primary_key=True),
    sa.Column("organization", sa.String(255), primary_key=True),
    sa.Column("id", sa.String(255), nullable=False),  # the payer's; "" while it is being made
    sa.Column("secret_hash", sa.String(64), nullable=False),  # of the secret that its notifications carry
    sa.Column("made", _INSTANT, nullable=False),
)

SUBMISSION_NAME = sa.Table(  # every name by which a payer may speak of a request
    "submission_name",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),  # keyed digest of payer and name
    sa.Column("submission", sa.String(64), primary_key=True),
    sa.Column("ours", sa.Boolean, nullable=False),  # an identifier of ours; else one that the payer's answer used
)

SUBMISSION_TURN = sa.Table(  # whose turn it was to send a request about a chart: two at once are never both sent
    "submission_turn",
    METADATA,
    sa.Column("chart", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("submission", sa.String(64), nullable=False),
)

PAYER_WORD = sa.Table(  # how far a payer's notifications were heard
    "payer_word",
    METADATA,
    sa.Column("payer", sa.String(63), primary_key=True),
    sa.Column("organization", sa.String(255), primary_key=True),
    sa.Column("event", sa.BigInteger, nullable=False),  # number of the newest event up to which nothing is missing
    sa.Column("missed", _INSTANT),  # when it was noticed that something is; NULL: nothing is
)


def _name_submissions(connection: sa.Connection) -> None:
    METADATA.create_all(connection, [SUBMISSION_NAME, SUBMISSION_TURN, PAYER_WORD])
    known = sa.select(SUBMISSION.c.claim, SUBMISSION.c.id, sa.true())
    connection.execute(SUBMISSION_NAME.insert().from_select(["name", "submission", "ours"], known))


# What brings a database from version n to n + 1, from 0 on. A released step never changes; new ones are added.
_STEPS: tuple[Callable[[sa.Connection], None], ...] = (
    lambda connection: METADATA.create_all(connection, [ATTEMPT, LAUNCH, FORM]),
    lambda connection: METADATA.create_all(connection, [SUBMISSION, PAYER_SUBSCRIPTION]),
    _name_submissions,
)
NEWEST = len(_STEPS)


def parse_url(url: str) -> sa.URL:
    """The database of a URL: ``sqlite:///path`` or ``postgresql://user@host/name``; anything else is refused."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        parsed = sa.URL.create("unreadable")
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        return parsed.set(drivername="sqlite+pysqlite")
    raise ConfigurationError("SMART_APP_DATABASE_URL: allowed: sqlite:///PATH, postgresql://USER@HOST/NAME")


def engine_of(url: str, *, pool_size: int = 8) -> sa.Engine:
    """An engine in autocommit. It must be made after a process has forked; nothing is opened yet."""
    parsed = parse_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        Path(str(parsed.database)).absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        parsed,
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=not sqlite,
        poolclass=sa.QueuePool,
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False} if sqlite else {"connect_timeout": 5},
    )
    if sqlite:
        sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")  # what is purged is overwritten, not only unlinked


def upgrade(url: str) -> int:
    """Create the tables, or bring them to this version; safe for several processes at once. Gives the version."""
    engine = engine_of(url, pool_size=1)
    try:
        with engine.connect() as connection:
            _lock(connection)
            SCHEMA.create(connection, checkfirst=True)
            version = version_of(connection)
            for step in _STEPS[version:]:
                step(connection)
                version += 1
                connection.execute(SCHEMA.delete())
                connection.execute(SCHEMA.insert().values(version=version))
            connection.exec_driver_sql("COMMIT")
            return version
    finally:
        engine.dispose()


def _lock(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def version_of(connection: sa.Connection) -> int:
    """The version of the tables that are there; 0: none yet."""
    return connection.execute(sa.select(SCHEMA.c.version)).scalar() or 0

"""What the app keeps between requests: attempts to sign in, open launches with their tokens, forms on their way.

Secrets of browsers are kept as digests, everything about people sealed (SM-25). Each method is one statement, so
several processes may do the same at the same time, and exactly one of them succeeds where it must be one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa

from smart_app.adapters.database import ATTEMPT, FORM, LAUNCH, NEWEST, engine_of, version_of
from smart_app.adapters.sealing import Sealer
from smart_app.errors import FormChanged

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kept(msgspec.Struct, frozen=True):
    """A form as it was kept, with the version to give when it is kept again."""

    blob: bytes
    version: int


class LeftForm(msgspec.Struct, frozen=True):
    """A form that an earlier launch of the same person for the same patient left behind."""

    launch_id: str
    kind: str
    kept: datetime
    blob: bytes


class LaunchRow(msgspec.Struct, frozen=True):
    """One launch as stored. ``context`` is opened, ``tokens`` are None once it has ended."""

    id: str
    secret_hash: str
    ehr: str
    opened: datetime
    seen: datetime
    ended: datetime | None
    end_reason: str
    context: bytes
    tokens: bytes | None
    token_version: int
    refresh_until: datetime | None


def digest(secret: str) -> str:
    """What is kept of a browser's secret. Secrets are long and random, so no salt is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def micros(at: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(value: int) -> datetime:
    """The reverse of ``micros``."""
    return _EPOCH + timedelta(microseconds=value)


class AppStore:
    """The app's memory. Thread-safe; to be made after a process has forked."""

    def __init__(self, url: str, sealer: Sealer, now: Callable[[], datetime]) -> None:
        """Nothing is opened yet."""
        self.engine = engine_of(url)
        self._sealer = sealer
        self._now = now

    def ready(self) -> bool:
        """Whether the database answers and has this version's tables."""
        try:
            with self.engine.connect() as connection:
                return version_of(connection) == NEWEST
        except sa.exc.SQLAlchemyError:
            return False

    def close(self) -> None:
        """End all connections."""
        self.engine.dispose()

    def _do(self, statement: sa.Executable) -> int:
        """How many rows one statement touched."""
        with self.engine.connect() as connection:
            return connection.execute(statement).rowcount

    # -- attempts to sign in (SM-16, SM-17)

    def begin_attempt(self, state: str, binding: str, ehr: str, content: bytes, expires: datetime) -> None:
        """Keep what belongs to one ``state``, for the browser that holds ``binding``."""
        hashed = digest(state)
        sealed = self._sealer.seal(f"attempt/{hashed}", content)
        values = {"state_hash": hashed, "binding_hash": digest(binding), "ehr": ehr, "sealed": sealed}
        self._do(ATTEMPT.insert().values(**values, expires=micros(expires)))

    def look_at_attempt(self, state_hash: str, binding: str, now: datetime) -> bytes | None:
        """The content, which stays; None where this browser has no such attempt."""
        query = sa.select(ATTEMPT.c.sealed).where(*_of_browser(state_hash, binding, now))
        with self.engine.connect() as connection:
            sealed = connection.execute(query).scalar()
        return None if sealed is None else self._sealer.open(f"attempt/{state_hash}", sealed)

    def take_attempt(self, state: str, binding: str, now: datetime) -> bytes | None:
        """The content, which exactly one caller gets; None: unknown, used, expired, or another browser's."""
        hashed = digest(state)
        taking = ATTEMPT.delete().where(*_of_browser(hashed, binding, now)).returning(ATTEMPT.c.sealed)
        with self.engine.connect() as connection:
            sealed = connection.execute(taking).scalar()
        return None if sealed is None else self._sealer.open(f"attempt/{hashed}", sealed)

    def ehr_of_attempt(self, state_hash: str) -> str:
        """Id of the EHR of a pending attempt, "" where there is none; for the frame of an error page."""
        query = sa.select(ATTEMPT.c.ehr).where(ATTEMPT.c.state_hash == state_hash)
        with self.engine.connect() as connection:
            return connection.execute(query).scalar() or ""

    # -- launches

    def open_launch(self, row: LaunchRow, about: tuple[str, ...]) -> None:
        """Keep a new launch with its tokens; ``about`` is what ``left_forms`` finds it by."""
        self._do(
            LAUNCH.insert().values(
                id=row.id,
                secret_hash=row.secret_hash,
                ehr=row.ehr,
                about=self._sealer.digest(*about),
                opened=micros(row.opened),
                seen=micros(row.seen),
                sealed=self._sealer.seal(f"launch/{row.id}", row.context),
                tokens=self._sealer.seal(f"tokens/{row.id}", row.tokens or b""),
                token_version=row.token_version,
            )
        )

    def launch(self, launch_id: str) -> LaunchRow | None:
        """One launch, open or ended."""
        with self.engine.connect() as connection:
            found = connection.execute(LAUNCH.select().where(LAUNCH.c.id == launch_id)).mappings().first()
        if found is None:
            return None
        return LaunchRow(
            id=found["id"],
            secret_hash=found["secret_hash"],
            ehr=found["ehr"],
            opened=instant(found["opened"]),
            seen=instant(found["seen"]),
            ended=None if found["ended"] is None else instant(found["ended"]),
            end_reason=found["end_reason"] or "",
            context=self._sealer.open(f"launch/{launch_id}", found["sealed"]),
            tokens=None if found["tokens"] is None else self._sealer.open(f"tokens/{launch_id}", found["tokens"]),
            token_version=found["token_version"],
            refresh_until=None if found["refresh_until"] is None else instant(found["refresh_until"]),
        )

    def saw_launch(self, launch_id: str, now: datetime) -> None:
        """Somebody uses it; only forward, so that two processes do not undo each other."""
        at = micros(now)
        self._do(LAUNCH.update().where(LAUNCH.c.id == launch_id, LAUNCH.c.seen < at).values(seen=at))

    def end_launch(self, launch_id: str, reason: str, now: datetime) -> bool:
        """End it and drop its tokens; True for the one caller that did it."""
        ending = LAUNCH.update().where(LAUNCH.c.id == launch_id, LAUNCH.c.ended.is_(None))
        return self._do(ending.values(ended=micros(now), end_reason=reason, tokens=None)) == 1

    def idle_launches(self, seen_before: datetime, opened_before: datetime, limit: int) -> tuple[str, ...]:
        """Ids of open launches that nobody has used since, or that are open for too long."""
        over = sa.or_(LAUNCH.c.seen < micros(seen_before), LAUNCH.c.opened < micros(opened_before))
        query = sa.select(LAUNCH.c.id).where(LAUNCH.c.ended.is_(None), over).limit(limit)
        with self.engine.connect() as connection:
            return tuple(connection.execute(query).scalars())

    # -- tokens (SM-43)

    def take_refresh(self, launch_id: str, version: int, until: datetime) -> bool:
        """True for the one caller that may use the refresh token of ``version``, now and never again."""
        free = (LAUNCH.c.token_version == version, LAUNCH.c.refresh_until.is_(None), LAUNCH.c.ended.is_(None))
        taking = LAUNCH.update().where(LAUNCH.c.id == launch_id, *free)
        return self._do(taking.values(refresh_until=micros(until))) == 1

    def replace_tokens(self, launch_id: str, version: int, tokens: bytes) -> bool:
        """Put new tokens in the place of those of ``version``, and free the refresh; False: they are not there."""
        here = (LAUNCH.c.id == launch_id, LAUNCH.c.token_version == version, LAUNCH.c.ended.is_(None))
        sealed = self._sealer.seal(f"tokens/{launch_id}", tokens)
        values = {"tokens": sealed, "token_version": version + 1, "refresh_until": None}
        return self._do(LAUNCH.update().where(*here).values(**values)) == 1

    # -- forms

    def keep_form(self, launch_id: str, kind: str, blob: bytes, version: int) -> int:
        """Keep what was entered, over ``version`` (0: nothing was kept before); gives the new version.

        Raises:
            FormChanged: another version is there.
        """
        values = {
            "version": version + 1,
            "sealed": self._sealer.seal(f"form/{launch_id}/{kind}", blob),
            "kept": micros(self._now()),
        }
        try:
            if version == 0:
                self._do(FORM.insert().values(launch_id=launch_id, kind=kind, **values))
                return 1
            here = (FORM.c.launch_id == launch_id, FORM.c.kind == kind, FORM.c.version == version)
            kept = self._do(FORM.update().where(*here).values(**values)) == 1
        except sa.exc.IntegrityError:
            kept = False
        if not kept:
            raise FormChanged("another version is kept")
        return version + 1

    def form(self, launch_id: str, kind: str) -> Kept | None:
        """What was kept last, None: nothing."""
        here = (FORM.c.launch_id == launch_id, FORM.c.kind == kind)
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(FORM.c.sealed, FORM.c.version).where(*here)).first()
        return None if found is None else Kept(self._sealer.open(f"form/{launch_id}/{kind}", found[0]), found[1])

    def drop_form(self, launch_id: str, kind: str) -> None:
        """Forget it: it has been saved in the EHR, or thrown away."""
        self._do(FORM.delete().where(FORM.c.launch_id == launch_id, FORM.c.kind == kind))

    def left_forms(self, launch_id: str) -> tuple[LeftForm, ...]:
        """Forms that earlier launches of the same person for the same patient left, the newest first (SM-42)."""
        about = sa.select(LAUNCH.c.about).where(LAUNCH.c.id == launch_id).scalar_subquery()
        query = (
            sa.select(FORM.c.launch_id, FORM.c.kind, FORM.c.kept, FORM.c.sealed)
            .join(LAUNCH, LAUNCH.c.id == FORM.c.launch_id)
            .where(LAUNCH.c.about == about, LAUNCH.c.id != launch_id)
            .order_by(FORM.c.kept.desc())
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
        return tuple(
            LeftForm(where, kind, instant(kept), self._sealer.open(f"form/{where}/{kind}", sealed))
            for where, kind, kept, sealed in rows
        )

    # -- housekeeping

    def purge(self, now: datetime, ended_before: datetime) -> tuple[int, int]:
        """Forget attempts that are over, and launches with their forms that ended before; gives both counts."""
        attempts = self._do(ATTEMPT.delete().where(ATTEMPT.c.expires < micros(now)))
        return attempts, self._do(LAUNCH.delete().where(LAUNCH.c.ended < micros(ended_before)))


def _of_browser(state_hash: str, binding: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        ATTEMPT.c.state_hash == state_hash,
        ATTEMPT.c.binding_hash == digest(binding),
        ATTEMPT.c.expires > micros(now),
    )

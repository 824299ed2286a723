"""Sessions of reviewers, kept on the server: the browser holds one random secret, the database its digest.

Nothing else of the service has sessions. A session ends when nobody used it for a while, when it is old, and when the
person signs out or in again (reliability 104); what a form must bring along is bound to it (105).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol

import msgspec
from werkzeug.wrappers import Response

from cds_service.domain.review import Person, Role
from cds_service.review_ports import SessionRecord, Sessions

# A browser takes a __Host- cookie only with Secure, Path=/ and without Domain: no other host can plant one (row 107).
SESSION_COOKIE: Final = "__Host-review"
SIGN_IN_COOKIE: Final = "__Host-review-sign-in"
SIGN_IN_LASTS: Final = timedelta(minutes=10)
_TOUCHED_EVERY: Final = timedelta(seconds=20)


class Clock(Protocol):
    """The wall clock."""

    def now(self) -> datetime:
        """The instant, in UTC."""
        ...


class Session(msgspec.Struct, frozen=True):
    """Somebody at work. ``form_token`` must come back with every form."""

    person: Person
    form_token: str
    until: datetime


class SessionKeeper:
    """Opens, finds and ends sessions."""

    def __init__(
        self,
        sessions: Sessions,
        clock: Clock,
        new_secret: Callable[[], str],
        *,
        idle: timedelta = timedelta(minutes=15),
        longest: timedelta = timedelta(hours=10),
    ) -> None:
        """``new_secret`` gives 256 random bits as URL-safe text; ``idle`` and ``longest`` end a session."""
        self._sessions = sessions
        self._clock = clock
        self._new_secret = new_secret
        self._idle = idle
        self._longest = longest

    def begin_sign_in(self, kept: Mapping[str, str]) -> str:
        """Keep what a sign-in must come back with; the secret for the browser."""
        return self._open("sign_in", kept, SIGN_IN_LASTS)

    def finish_sign_in(self, secret: str) -> Mapping[str, str] | None:
        """What was kept, once; None where there is nothing, or it is too old."""
        record = self._sessions.take(_digest(secret)) if secret else None
        if record is None or record.kind != "sign_in" or record.until <= self._clock.now():
            return None
        return record.data

    def open(self, person: Person, old_secret: str = "") -> str:
        """A new session under a new secret; one that the browser had before is ended."""
        if old_secret:
            self._sessions.take(_digest(old_secret))
        kept = {"id": person.id, "name": person.name, "role": person.role.value, "npi": person.npi}
        return self._open("session", kept, self._longest)

    def find(self, secret: str) -> Session | None:
        """The session of a secret, used again by this; None where there is none or it has ended."""
        if not secret:
            return None
        digest, now = _digest(secret), self._clock.now()
        record = self._sessions.get(digest)
        if record is None or record.kind != "session":
            return None
        if record.until <= now or now - record.seen >= self._idle:
            self._sessions.take(digest)
            return None
        if now - record.seen >= _TOUCHED_EVERY:
            self._sessions.touch(digest, now)
        held = record.data
        person = Person(held["id"], held["name"], Role(held["role"]), held["npi"])
        return Session(person, form_token(secret), record.until)

    def close(self, secret: str) -> None:
        """End a session."""
        if secret:
            self._sessions.take(_digest(secret))

    def _open(self, kind: str, data: Mapping[str, str], lasts: timedelta) -> str:
        secret, now = self._new_secret(), self._clock.now()
        self._sessions.put(
            SessionRecord(id_sha256=_digest(secret), kind=kind, data=data, created=now, seen=now, until=now + lasts)
        )
        return secret


def form_token(secret: str) -> str:
    """What a form of this browser must bring along: it cannot be told without the secret of the cookie."""
    return hmac.new(secret.encode("utf-8", "surrogateescape"), b"review form", sha256).hexdigest()


def token_matches(given: str, secret: str) -> bool:
    """Whether a form came from a page of this browser's own session or sign-in."""
    return bool(secret) and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), form_token(secret).encode())


def give_cookie(answer: Response, name: str, secret: str) -> None:
    """Put a secret into the browser: for this host alone, out of reach of scripts, gone with the browser window.

    Lax and not Strict: the way back from the identity provider is a navigation from another site.
    """
    answer.set_cookie(name, secret, path="/", secure=True, httponly=True, samesite="Lax")


def drop_cookie(answer: Response, name: str) -> None:
    """Take it out again."""
    answer.delete_cookie(name, path="/", secure=True, httponly=True, samesite="Lax")


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()

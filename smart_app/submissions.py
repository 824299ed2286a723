"""Requests for prior authorization as the app remembers them, sealed; they outlive the launch that sent them.

A request is kept before it is sent, so that a crash between the two loses nothing: it is sent again under the same
identifier, and the payer answers with what it answered before.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
import sqlalchemy as sa

from smart_app.database import PAYER_SUBSCRIPTION, SUBMISSION
from smart_app.errors import FormChanged
from smart_app.sealing import Sealer
from smart_app.store import digest, micros


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what came back. ``kind``: submit, update or cancel; ``answer`` None: nothing yet, or trouble."""

    kind: str
    at: datetime
    request: bytes  # the Bundle as it is sent
    answer: bytes | None = None
    answered: datetime | None = None
    trouble: str = ""  # kind of PayerTrouble; "" while it is under way
    said: tuple[str, ...] = ()  # what the payer said to it, for the person


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One request for authorization with all its exchanges, the newest last. ``news``: not yet seen by a person."""

    id: str
    ehr: str
    payer: str
    patient: str
    orders: tuple[str, ...]  # "MedicationRequest/x"
    words: tuple[str, ...]  # the same as people call them
    coverage: str
    by: str  # reference of the person who sent it
    exchanges: tuple[Exchange, ...]
    decision: bytes | None = None  # the newest response Bundle, from an answer, a notification or an inquiry
    decided_by: str = ""  # how it came: answer, notification, inquiry
    decided_at: datetime | None = None
    saved_as: str = ""  # in the EHR, where it took it
    news: bool = False


class Held(msgspec.Struct, frozen=True):
    """A submission with the version to give when it is kept again."""

    submission: Submission
    version: int


_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Submission).decode


class Submissions:
    """Each method is one statement, safe for several processes."""

    def __init__(self, engine: sa.Engine, sealer: Sealer, now: Callable[[], datetime]) -> None:
        """``engine`` is the app store's: one set of connections per process."""
        self._engine = engine
        self._sealer = sealer
        self._now = now

    def keep(self, submission: Submission, claim: str, version: int) -> int:
        """Keep it over ``version`` (0: new); ``claim`` is the identifier of its newest Claim. Gives the new version.

        Raises:
            FormChanged: another version is there.
        """
        values = {
            "chart": self._sealer.digest("chart", submission.ehr, submission.patient),
            "payer": submission.payer,
            "claim": self._sealer.digest("claim", submission.payer, claim),
            "version": version + 1,
            "sealed": self._sealer.seal(f"submission/{submission.id}", _ENCODE(submission)),
            "changed": micros(self._now()),
        }
        here = (SUBMISSION.c.id == submission.id, SUBMISSION.c.version == version)
        with self._engine.connect() as connection:
            if version == 0:
                connection.execute(SUBMISSION.insert().values(id=submission.id, **values))
            elif connection.execute(SUBMISSION.update().where(*here).values(**values)).rowcount != 1:
                raise FormChanged("another version is kept")
        return version + 1

    def one(self, ident: str) -> Held | None:
        """The submission with this id."""
        return next(iter(self._found(SUBMISSION.c.id == ident)), None)

    def of_chart(self, ehr: str, patient: str) -> tuple[Held, ...]:
        """All of one patient at one EHR, the newest first."""
        return self._found(SUBMISSION.c.chart == self._sealer.digest("chart", ehr, patient))

    def of_claim(self, payer: str, claim: str) -> Held | None:
        """The one whose newest Claim has this identifier."""
        return next(iter(self._found(SUBMISSION.c.claim == self._sealer.digest("claim", payer, claim))), None)

    def _found(self, where: sa.ColumnElement[bool]) -> tuple[Held, ...]:
        query = (
            sa.select(SUBMISSION.c.id, SUBMISSION.c.sealed, SUBMISSION.c.version)
            .where(where)
            .order_by(SUBMISSION.c.changed.desc())
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return tuple(
            Held(_DECODE(self._sealer.open(f"submission/{ident}", sealed)), version) for ident, sealed, version in rows
        )

    # -- subscriptions at payers

    def claim_subscription(self, payer: str, organization: str, secret: str) -> bool:
        """True for the one caller that may subscribe now; False: somebody has."""
        row = {"payer": payer, "organization": organization, "id": "", "secret_hash": digest(secret)}
        try:
            with self._engine.connect() as connection:
                connection.execute(PAYER_SUBSCRIPTION.insert().values(**row, made=micros(self._now())))
        except sa.exc.IntegrityError:
            return False
        return True

    def subscribed(self, payer: str, organization: str, ident: str) -> None:
        """The payer gave the subscription this id."""
        here = (PAYER_SUBSCRIPTION.c.payer == payer, PAYER_SUBSCRIPTION.c.organization == organization)
        with self._engine.connect() as connection:
            connection.execute(PAYER_SUBSCRIPTION.update().where(*here).values(id=ident))

    def hears(self, payer: str) -> bool:
        """Whether this payer has said that it will notify the app."""
        query = sa.select(PAYER_SUBSCRIPTION.c.payer).where(
            PAYER_SUBSCRIPTION.c.payer == payer, PAYER_SUBSCRIPTION.c.id != ""
        )
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def unsubscribe(self, payer: str, organization: str) -> None:
        """Forget it: the payer refused, or ended it; the next submission tries again."""
        here = (PAYER_SUBSCRIPTION.c.payer == payer, PAYER_SUBSCRIPTION.c.organization == organization)
        with self._engine.connect() as connection:
            connection.execute(PAYER_SUBSCRIPTION.delete().where(*here))

    def may_notify(self, payer: str, secret: str) -> bool:
        """Whether this secret was given to this payer for its notifications."""
        here = (PAYER_SUBSCRIPTION.c.payer == payer, PAYER_SUBSCRIPTION.c.secret_hash == digest(secret))
        query = sa.select(PAYER_SUBSCRIPTION.c.payer).where(*here)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

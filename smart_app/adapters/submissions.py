"""Requests for prior authorization as the app remembers them, sealed; they outlive the launch that sent them.

A request is kept before it is sent, so that a crash between the two loses nothing: it is sent again under the same
identifier, and the payer answers with what it answered before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa

from smart_app.adapters.database import PAYER_SUBSCRIPTION, PAYER_WORD, SUBMISSION, SUBMISSION_NAME, SUBMISSION_TURN
from smart_app.adapters.sealing import Sealer
from smart_app.adapters.store import digest, micros
from smart_app.errors import FormChanged


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
    event: int = 0  # number of the newest notification that was taken
    event_of: str = ""  # the subscription that it came by


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
            "chart": self._chart(submission.ehr, submission.patient),
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

    def forget(self, ident: str) -> None:
        """Take back one that was never sent."""
        with self._engine.connect() as connection:
            connection.execute(SUBMISSION.delete().where(SUBMISSION.c.id == ident))

    def one(self, ident: str) -> Held | None:
        """The submission with this id."""
        return next(iter(self._found(SUBMISSION.c.id == ident)), None)

    def of_chart(self, ehr: str, patient: str) -> tuple[Held, ...]:
        """All of one patient at one EHR, the newest first."""
        return self._found(SUBMISSION.c.chart == self._chart(ehr, patient))

    def name(self, submission: Submission, names: Iterable[str], *, ours: bool) -> None:
        """The payer may speak of it by these names from now on."""
        for each in names:
            row = {"name": self._name(submission.payer, each), "submission": submission.id, "ours": ours}
            self._insert(SUBMISSION_NAME.insert().values(**row))

    def of_names(self, payer: str, names: Iterable[str]) -> Held | None:
        """The one that these names mean: by an identifier of ours, else by names of the payer that mean no other."""
        digests = [self._name(payer, each) for each in names]
        query = sa.select(SUBMISSION_NAME.c.submission, SUBMISSION_NAME.c.ours).where(
            SUBMISSION_NAME.c.name.in_(digests)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        for kind in ([ident for ident, ours in rows if ours], [ident for ident, _ in rows]):
            if len(set(kind)) == 1:
                return self.one(kind[0])
        return None

    def _name(self, payer: str, name: str) -> str:
        return self._sealer.digest("claim", payer, name)

    def turn(self, ehr: str, patient: str) -> int:
        """How many requests about this chart have begun; to be given to ``take_turn``."""
        query = sa.select(sa.func.max(SUBMISSION_TURN.c.number)).where(
            SUBMISSION_TURN.c.chart == self._chart(ehr, patient)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar() or 0

    def take_turn(self, ehr: str, patient: str, seen: int, submission: str) -> None:
        """Begin a request about this chart. Raises FormChanged where another was begun since ``seen``."""
        row = {"chart": self._chart(ehr, patient), "number": seen + 1, "submission": submission}
        if not self._insert(SUBMISSION_TURN.insert().values(**row)):
            raise FormChanged("another request was begun")

    def _chart(self, ehr: str, patient: str) -> str:
        return self._sealer.digest("chart", ehr, patient)

    def _insert(self, statement: sa.Insert) -> bool:
        """Whether it is new."""
        try:
            with self._engine.connect() as connection:
                connection.execute(statement)
        except sa.exc.IntegrityError:
            return False
        return True

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
        return self._insert(PAYER_SUBSCRIPTION.insert().values(**row, made=micros(self._now())))

    def subscribed(self, payer: str, organization: str, ident: str) -> None:
        """The payer gave the subscription this id."""
        here = (PAYER_SUBSCRIPTION.c.payer == payer, PAYER_SUBSCRIPTION.c.organization == organization)
        with self._engine.connect() as connection:
            connection.execute(PAYER_SUBSCRIPTION.update().where(*here).values(id=ident))

    def subscription(self, payer: str, organization: str) -> str | None:
        """The payer's id of the subscription; "" while it is being made, None where there is none."""
        query = sa.select(PAYER_SUBSCRIPTION.c.id).where(*_row_of(PAYER_SUBSCRIPTION, payer, organization))
        with self._engine.connect() as connection:
            found: str | None = connection.execute(query).scalar()
            return found

    def organizations(self, payer: str) -> tuple[str, ...]:
        """The clinics for which this payer has said that it will notify the app."""
        query = sa.select(PAYER_SUBSCRIPTION.c.organization).where(
            PAYER_SUBSCRIPTION.c.payer == payer, PAYER_SUBSCRIPTION.c.id != ""
        )
        with self._engine.connect() as connection:
            return tuple(connection.execute(query).scalars())

    def unsubscribe(self, payer: str, organization: str) -> None:
        """Forget it: the payer refused, or ended it; the next submission tries again."""
        with self._engine.connect() as connection:
            for table in (PAYER_SUBSCRIPTION, PAYER_WORD):
                connection.execute(table.delete().where(*_row_of(table, payer, organization)))

    def notifier(self, payer: str, secret: str) -> str | None:
        """The clinic for whose subscription this secret was given to this payer; None: nobody's."""
        here = (PAYER_SUBSCRIPTION.c.payer == payer, PAYER_SUBSCRIPTION.c.secret_hash == digest(secret))
        with self._engine.connect() as connection:
            found: str | None = connection.execute(sa.select(PAYER_SUBSCRIPTION.c.organization).where(*here)).scalar()
            return found

    # -- how far its notifications were heard

    def heard(self, payer: str, organization: str) -> int:
        """The number of the event up to which nothing is missing; 0: none came yet."""
        query = sa.select(PAYER_WORD.c.event).where(*_row_of(PAYER_WORD, payer, organization))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar() or 0

    def hear(self, payer: str, organization: str, event: int, *, missed: bool) -> None:
        """Events up to ``event`` were taken; ``missed``: something after it is missing, or came without words."""
        when = micros(self._now()) if missed else None
        self._insert(PAYER_WORD.insert().values(payer=payer, organization=organization, event=0))
        change = PAYER_WORD.update().where(*_row_of(PAYER_WORD, payer, organization), PAYER_WORD.c.event <= event)
        with self._engine.connect() as connection:
            connection.execute(change.values(event=event, missed=when))

    def missed(self, payer: str) -> datetime | None:
        """When it was last noticed that news of this payer are missing; None: nothing is."""
        query = sa.select(sa.func.max(PAYER_WORD.c.missed)).where(PAYER_WORD.c.payer == payer)
        with self._engine.connect() as connection:
            when = connection.execute(query).scalar()
        return None if when is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=when)


def _row_of(table: sa.Table, payer: str, organization: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.payer == payer, table.c.organization == organization)

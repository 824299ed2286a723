"""Delivery: takes what is due out of the outbox, hands it over, and writes down what came of it (D04 to D07, F15-F24).

One ``Lane`` serves one payer endpoint, another one all subscribers, so that a destination that hangs holds up nobody
else. A lane lends a batch of rows, each the first of its case, sends them side by side, and settles whatever is
finished in one transaction. Nothing is remembered that the rows do not say: a worker may end at any instruction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from datetime import timedelta
from typing import Protocol

import msgspec

from cds_service.delivery_ports import Claim, ClaimResponseSender, DeliveryQueue, NotificationSender, Settled
from cds_service.domain.delivery import (
    NOTIFICATION,
    PAYER,
    TO_SUBSCRIBER,
    Delivery,
    Patience,
    Sent,
    next_step,
)
from cds_service.errors import StoreUnavailable
from cds_service.payer_endpoints import PayerEndpoint
from cds_service.ports import Clock

BATCH = 4  # rows lent for each call that may run at the same time
_TIDY_SECONDS = 2.0
# Reasons that say something of the destination as a whole, and not of one message.
_TROUBLE = frozenset({"status_408", "status_425", "status_429", "metadata_refused"})


class Breaker(Protocol):
    """When to leave a destination alone (``adapters.breaker``)."""

    def allows(self, server: str) -> bool:
        """Whether to send now; afterwards ``succeeded`` or ``failed`` is owed."""
        ...

    def succeeded(self, server: str) -> None:
        """It answered."""
        ...

    def failed(self, server: str) -> bool:
        """It did not."""
        ...


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What all lanes of one worker share. ``chance`` gives 0 to 999 at random."""

    queue: DeliveryQueue
    owner: str
    clock: Clock
    lease: timedelta
    chance: Callable[[], int]
    breaker: Breaker
    on_event: Callable[[str], None] = lambda _word: None
    on_settled: Callable[[Settled], None] = lambda _settled: None


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a lane serves, and how. ``send`` makes one try and never raises; ``seconds`` bounds it."""

    kind: str
    name: str  # id of the endpoint; "" for subscribers
    patience: Patience
    parallel: int
    seconds: int
    skip_superseded: bool
    send: Callable[[Delivery], Sent]


def payer_destination(endpoint: PayerEndpoint, sender: ClaimResponseSender) -> Destination:
    """A lane's view of a payer endpoint."""
    return Destination(
        kind=PAYER,
        name=endpoint.id,
        patience=Patience(
            give_up_after=timedelta(hours=endpoint.give_up_hours), safety=timedelta(minutes=endpoint.safety_minutes)
        ),
        parallel=endpoint.parallel,
        seconds=endpoint.seconds,
        skip_superseded=endpoint.superseded == "skip",
        send=lambda delivery: sender.send(endpoint, delivery),
    )


def subscriber_destination(queue: DeliveryQueue, sender: NotificationSender, parallel: int = 4) -> Destination:
    """A lane's view of all subscribers."""

    def send(delivery: Delivery) -> Sent:
        subscription = queue.subscriptions([delivery.destination]).get(delivery.destination)
        if subscription is None:
            return Sent(state="dead", reason="no_such_subscription")
        return sender.send(subscription, delivery)

    return Destination(
        kind=NOTIFICATION,
        name="",
        patience=TO_SUBSCRIBER,
        parallel=parallel,
        seconds=10,
        skip_superseded=False,
        send=send,
    )


class Lane:
    """The loop of one destination. Used by one thread; its calls run in ``pool``."""

    def __init__(self, worker: Worker, destination: Destination, pool: Executor) -> None:
        self._worker = worker
        self._destination = destination
        self._pool = pool
        self._flying: dict[Future[Sent | None], Delivery] = {}
        self._finished: list[Settled] = []
        self.settled = 0  # tries that were written down
        self._tidied = worker.clock.monotonic() - _TIDY_SECONDS
        self._flowing = False
        self._resting = False  # the destination was down when last seen: one row at a time finds out

    def run(self, stopping: threading.Event, pause: float) -> None:
        """Deliver until asked to stop; then finish what is being sent, and give the rest back.

        ``pause``: seconds between looks into an empty outbox. A database that is away is waited for (F20).
        """
        while not stopping.is_set():
            try:
                busy = self.step()
            except StoreUnavailable as error:
                self._worker.on_event(f"delivery_store_{error.reason}")
                busy = False
            if not busy:
                stopping.wait(pause)
        self._end()

    def drain(self) -> int:
        """Deliver what is due now, and come back when nothing is; how many rows were settled (``--once``)."""
        before = self.settled
        while self.step() or self._finished:
            pass
        return self.settled - before

    def step(self) -> bool:
        """Settle, lend, send; whether there was anything to do.

        Raises:
            StoreUnavailable: what is finished is kept in memory and settled the next time.
        """
        self._tidy()
        self._collect()
        self._settle()
        lent = self._lend()
        if self._flying:
            wait(self._flying, timeout=1.0, return_when=FIRST_COMPLETED)
        return lent or bool(self._flying)

    def _tidy(self) -> None:
        now = self._worker.clock.monotonic()
        if now - self._tidied < _TIDY_SECONDS:
            return
        self._tidied = now
        if count := self._worker.queue.tidy(self._worker.clock.now()):
            for _ in range(count):
                self._worker.on_event("delivery_lease_lost")
        if self._destination.skip_superseded:
            self._worker.queue.skip_superseded(self._destination.name, self._worker.clock.now())

    def _lend(self) -> bool:
        """Take rows, if there is room for a batch and the destination is not left alone at the moment."""
        worker, destination = self._worker, self._destination
        room = BATCH * destination.parallel - len(self._flying)
        now = worker.clock.now()
        if room < destination.parallel:
            return False
        # Where the last look found something, there is probably more; an empty outbox is only read, never locked.
        if not self._flowing and not worker.queue.due(destination.kind, destination.name, now):
            return False
        probing = self._resting
        if destination.kind == PAYER and not worker.breaker.allows(destination.name):
            return False
        claim = Claim(
            kind=destination.kind,
            destination=destination.name,
            owner=worker.owner,
            most=1 if probing else room,
            lease=worker.lease,
        )
        lent = worker.queue.claim(claim, now)
        self._flowing = bool(lent)
        for delivery in lent:
            self._flying[self._pool.submit(self._try, delivery)] = delivery
        return bool(lent)

    def _try(self, delivery: Delivery) -> Sent | None:
        """One try in a thread of the pool; None when the lease was lost meanwhile, and somebody else has the row."""
        worker = self._worker
        now = worker.clock.now()
        if delivery.lease_until - now < timedelta(seconds=self._destination.seconds + 1):
            try:
                if not worker.queue.renew(delivery, worker.owner, now + worker.lease):
                    return None
            except StoreUnavailable:
                return None  # the lease runs out by itself
        return self._destination.send(delivery)

    def _collect(self) -> None:
        """Judge what has come back."""
        for future in [each for each in self._flying if each.done()]:
            delivery = self._flying.pop(future)
            sent = future.result()
            if sent is None:
                self._worker.on_event("delivery_lease_lost")
                continue
            self._note(delivery, sent)
            now = self._worker.clock.now()
            step = next_step(delivery, sent, self._destination.patience, now, self._worker.chance())
            self._finished.append(Settled(delivery, sent, step))

    def _note(self, delivery: Delivery, sent: Sent) -> None:
        """Tell the breaker; when a payer endpoint is back after an outage, what waited for it is due at once."""
        if delivery.kind != PAYER:
            return
        breaker, name = self._worker.breaker, self._destination.name
        if _is_trouble(sent):
            if breaker.failed(name):
                self._worker.on_event("delivery_destination_down")
                self._resting = True
            return
        breaker.succeeded(name)
        if self._resting:
            self._resting = False
            self._worker.on_event("delivery_destination_back")
            self._worker.queue.hurry(name, self._worker.clock.now())

    def _settle(self) -> None:
        if not self._finished:
            return
        self._worker.queue.settle(self._finished, self._worker.owner, self._worker.clock.now())
        done, self._finished = self._finished, []
        self.settled += len(done)
        for each in done:
            self._worker.on_settled(each)

    def _end(self) -> None:
        """Wait for what is being sent and write it down; give back what was not begun."""
        unbegun = [delivery for future, delivery in self._flying.items() if future.cancel()]
        for future in [each for each in self._flying if each.cancelled()]:
            del self._flying[future]
        try:
            self._worker.queue.release(unbegun, self._worker.owner, self._worker.clock.now())
            wait(self._flying, timeout=self._destination.seconds + 1)
            self._collect()
            self._settle()
        except StoreUnavailable as error:
            self._worker.on_event(f"delivery_store_{error.reason}")  # the leases run out, and the rows are sent again


def _is_trouble(sent: Sent) -> bool:
    """Whether a try says that the destination as a whole is away, and not that it dislikes one message."""
    if sent.state != "retry":
        return False
    return sent.status is None or sent.status >= 500 or sent.reason in _TROUBLE or sent.reason.startswith("token_")

"""``cds-service deliver`` and ``cds-service outbox``: what is on its way to the payer's systems, and what is stuck."""

from __future__ import annotations

import gc
import getpass
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
import msgspec

from cds_service.errors import ConfigurationError, StoreUnavailable
from cds_service.settings import Settings, from_env

if TYPE_CHECKING:
    from cds_service.adapters.sql.outbox import SqlOutbox
    from cds_service.delivery import DeliveryFiles, DeliverySettings
    from cds_service.delivery_processes import Reports, Supervisor
    from cds_service.domain.prior_auth import AuditEntry
    from cds_service.web.delivery_health import Snapshot

EXIT_REFUSED = 1
EXIT_USAGE = 2
STATES = ("ready", "leased", "done", "dead", "skipped", "discarded")
PROGRESS_SECONDS = 10.0
_ALARM = timedelta(hours=1)  # a row that waits longer is said in every progress line


@click.command()
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option("--once", is_flag=True, help="Deliver what is due now, then end.")
@click.option(
    "--lease-seconds",
    type=click.IntRange(2, 600),
    default=60,
    show_default=True,
    help="So long after a worker died another one takes its rows.",
)
@click.option(
    "--pause",
    type=click.FloatRange(0.01, 60),
    default=0.2,
    show_default=True,
    help="Seconds between looks into an empty outbox.",
)
@click.option("--health", metavar="HOST:PORT", help="Answer /livez, /readyz and /metrics there.")
@click.option("--insecure-dev", is_flag=True, help="Plain http and loopback endpoints; never for real data.")
def deliver(workers: int, once: bool, lease_seconds: int, pause: float, health: str | None, insecure_dev: bool) -> None:
    """Deliver ClaimResponses to the payer's systems, and notices to subscribers, until SIGTERM or Ctrl-C.

    What is being sent then is finished first. Any number of these may run, on any number of machines. One JSON line of
    progress is written to standard error every ten seconds in which something happened.
    """
    from cds_service.delivery import DeliverySettings, DeliveryWorker, read_delivery_files

    settings = from_env()
    if insecure_dev:
        settings = msgspec.structs.replace(settings, insecure_dev=True)
    _need_database(settings)
    how = DeliverySettings(lease_seconds=lease_seconds, pause_seconds=pause)
    files = read_delivery_files(settings, how)
    refuse_unsound(settings)
    if not files.endpoints:
        click.echo(f"cds-service: no payer endpoint in {settings.payer_endpoints_dir}; only notices go out", err=True)
    if once:
        words: list[str] = []
        count = DeliveryWorker(settings, how, files, words.append).drain()
        done = words.count("settled:done")
        click.echo(f"tries {count}, delivered {done}, dead {words.count('settled:dead')}")
        sys.exit(0 if done == count else EXIT_REFUSED)
    _deliver_for_ever(settings, how, files, workers, _address(health))


def _deliver_for_ever(
    settings: Settings, how: DeliverySettings, files: DeliveryFiles, workers: int, health: tuple[str, int] | None
) -> None:
    from cds_service.delivery import DeliveryWorker, open_outbox
    from cds_service.delivery_processes import Reports, Supervisor

    reports = Reports()
    longest = max((endpoint.seconds for endpoint in files.endpoints.values()), default=10)

    def work(stopping: threading.Event) -> None:
        gc.unfreeze()
        DeliveryWorker(settings, how, files, reports.say).run(stopping)

    supervisor = Supervisor(workers, work, drain_seconds=longest + 5)
    gc.freeze()  # what is imported stays shared with the workers
    with open_outbox(settings) as (outbox, _):
        watch = _Watch(supervisor, reports, outbox, workers, lambda: _remember(settings))
        with _health(health, watch.snapshot):
            supervisor.run(watch.look)


class _Watch:
    """Tells what workers report: dead letters and outages at once, sums every ten seconds."""

    def __init__(
        self,
        supervisor: Supervisor,
        reports: Reports,
        outbox: SqlOutbox,
        workers: int,
        remember: Callable[[], None],
    ) -> None:
        from cds_service.adapters.system import SystemClock

        self._supervisor = supervisor
        self._reports = reports
        self._outbox = outbox
        self._workers = workers
        self._remember = remember
        self._clock = SystemClock()
        self._said = self._clock.monotonic()
        self._before: dict[str, int] = {}

    def look(self) -> None:
        """Called twice a second by the supervisor."""
        for word in self._reports.collect():
            if word.startswith("dead:"):
                _, row, reason = word.split(":", 2)
                self._line("dead_letter", row=int(row), reason=reason)
            elif word.startswith("delivery_"):
                self._line(word)
        due = self._clock.monotonic() - self._said >= PROGRESS_SECONDS
        if due or self._supervisor.stopping:
            self._progress()

    def snapshot(self) -> Snapshot:
        """For the health server; asks the database."""
        from cds_service.web.delivery_health import Snapshot

        try:
            waiting = self._outbox.waiting()
        except StoreUnavailable:
            waiting = None
        return Snapshot(
            workers=self._supervisor.alive,
            wanted=self._workers,
            waiting=waiting,
            counts=dict(self._reports.counts),
            now=self._clock.now(),
        )

    def _progress(self) -> None:
        self._said = self._clock.monotonic()
        self._remember()
        counts = {
            word.removeprefix("settled:"): count
            for word, count in self._reports.counts.items()
            if word.startswith("settled:")
        }
        if counts == self._before:
            return
        new = {word: count - self._before.get(word, 0) for word, count in counts.items()}
        self._before = counts
        shot = self.snapshot()
        waiting = sum(each.count for each in shot.waiting or () if each.state != "dead")
        dead = sum(each.count for each in shot.waiting or () if each.state == "dead")
        late = [each.destination for each in shot.waiting or () if shot.now - each.oldest > _ALARM]
        self._line(
            "progress",
            delivered=new.get("done", 0),
            again=new.get("ready", 0),
            waiting=waiting,
            dead=dead,
            late=sorted(set(late)),
        )

    def _line(self, event: str, **facts: object) -> None:
        line = {"at": self._clock.now().isoformat(), "event": event, **facts}
        click.echo(msgspec.json.encode(line).decode(), err=True)


def _remember(settings: Settings) -> None:
    """How far the database is, for the next start; a database that is away changes nothing."""
    from cds_service.adapters.sql import integrity
    from cds_service.adapters.sql.database import Database

    database = Database(settings.database_url, pool_size=1, busy_seconds=2)
    try:
        integrity.remember(settings.watermark, integrity.look(database))
    except (StoreUnavailable, OSError):
        return
    finally:
        database.close()


def _health(address: tuple[str, int] | None, snapshot: Callable[[], Snapshot]) -> AbstractContextManager[Any]:
    if address is None:
        return nullcontext()
    from cds_service.web.delivery_health import HealthServer

    try:
        server = HealthServer(*address, snapshot)
    except OSError:
        raise ConfigurationError(f"cannot listen on {address[0]} port {address[1]}", expression="--health") from None
    server.start()
    return closing(server)


def _address(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigurationError("--health takes HOST:PORT, like 127.0.0.1:8001", expression="--health")
    return host.strip("[]"), int(port)


@click.group()
def outbox() -> None:
    """What is on its way to the payer's systems and to subscribers. Every look and act goes to the audit log."""


@outbox.command("list")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only these. [dead]")
@click.option("--all", "everything", is_flag=True, help="Whatever its state.")
@click.option("--destination", default="", help="Only this endpoint or subscription.")
@click.option("--case", "case_id", default="", help="Only this case.")
@click.option("--most", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
def list_rows(states: tuple[str, ...], everything: bool, destination: str, case_id: str, most: int) -> None:
    """List rows, the oldest first, as tab-separated lines; dead letters unless said otherwise."""
    from cds_service.delivery import open_outbox

    wanted = () if everything else states or ("dead",)
    detail = {"states": " ".join(wanted), "destination": destination, "case": case_id}
    with open_outbox(from_env()) as (_, desk):
        rows = desk.rows(wanted, destination, case_id, most, _entry("list", "outbox", detail))
    click.echo("id\tstate\tdestination\tcase\tversion\tattempts\tstatus\treason\tcreated")
    for row in rows:
        status = "" if row.last_status is None else row.last_status
        click.echo(
            f"{row.id}\t{row.state}\t{row.destination}\t{row.case_id}\t{row.n}\t{row.attempts}\t{status}\t"
            f"{row.last_error}\t{row.created.isoformat()}"
        )


@outbox.command()
@click.argument("ident", metavar="ID", type=click.IntRange(min=1))
@click.option("--payload", is_flag=True, help="The message itself instead; it is about a patient.")
@click.option("--provenance", is_flag=True, help="A signed FHIR Provenance over the message instead.")
def show(ident: int, payload: bool, provenance: bool) -> None:
    """Show one row with all its tries as JSON, or the bytes that are delivered, or a signature over them."""
    from cds_service.delivery import open_outbox, signed_provenance
    from cds_service.domain.delivery import PAYER

    settings = from_env()
    with open_outbox(settings) as (_, desk):
        found = desk.row(ident, _entry("show", f"outbox/{ident}", {"payload": payload}))
    if found is None:
        click.echo(f"there is no row {ident}", err=True)
        sys.exit(EXIT_REFUSED)
    row, content, attempts = found
    if payload:
        sys.stdout.buffer.write(content)
        return
    if provenance and row.kind != PAYER:
        click.echo(
            f"row {ident} is a notice to a subscriber; only what goes to the payer's systems is signed", err=True
        )
        sys.exit(EXIT_REFUSED)
    if provenance:
        click.echo(msgspec.json.format(signed_provenance(settings, row, content), indent=2))
        return
    document = {**msgspec.to_builtins(row), "bytes": len(content), "tries": msgspec.to_builtins(attempts)}
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


@outbox.command()
@click.argument("idents", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))
@click.option("--dead", is_flag=True, help="All dead letters instead of named rows.")
@click.option("--destination", default="", help="With --dead: only of this endpoint or subscription.")
def replay(idents: tuple[int, ...], dead: bool, destination: str) -> None:
    """Try dead, discarded or skipped rows again. A receiver that has one already knows it as a repeat."""
    from cds_service.adapters.system import SystemClock
    from cds_service.delivery import open_outbox

    if bool(idents) == dead:
        raise click.UsageError("name rows, or say --dead")
    with open_outbox(from_env()) as (_, desk):
        if dead:
            listed = _entry("list", "outbox", {"states": "dead", "destination": destination, "case": ""})
            idents = tuple(row.id for row in desk.rows(("dead",), destination, "", 10_000, listed))
        subject = f"outbox/{idents[0]}" if len(idents) == 1 else "outbox"
        named = {"rows": " ".join(map(str, idents[:1000]))}
        count = desk.replay(idents, SystemClock().now(), _entry("replay", subject, named)) if idents else 0
    click.echo(f"replayed {count}")
    sys.exit(0 if count == len(idents) else EXIT_REFUSED)


@outbox.command()
@click.argument("ident", metavar="ID", type=click.IntRange(min=1))
@click.option("--reason", required=True, help="Why it shall never be delivered; kept in the audit log. No PHI.")
def discard(ident: int, reason: str) -> None:
    """Never deliver a row; what comes after it for the same case is free to go."""
    from cds_service.adapters.system import SystemClock
    from cds_service.delivery import open_outbox

    if not reason.strip() or len(reason) > 200:
        raise click.UsageError("--reason takes 1 to 200 characters")
    entry = _entry("discard", f"outbox/{ident}", {"reason": reason})
    with open_outbox(from_env()) as (_, desk):
        discarded = desk.discard(ident, reason, SystemClock().now(), entry)
    if not discarded:
        click.echo(f"row {ident} is not there, is delivered, or is being delivered", err=True)
        sys.exit(EXIT_REFUSED)
    click.echo(f"discarded {ident}")


def _entry(action: str, subject: str, detail: dict[str, Any]) -> AuditEntry:
    """Who runs this command, for the audit log."""
    from cds_service.adapters.system import SystemClock
    from cds_service.domain.prior_auth import AuditEntry

    return AuditEntry(SystemClock().now(), _actor(), "operator", f"outbox_{action}", subject, detail)


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return "unknown"


_NOT_SOUND = {
    "damaged": "the database is damaged; put back a backup",
    "audit_head": "the audit log does not end as it says; `cds-service audit verify` names the record",
    "older_than_remembered": "this database is older than it was, as if a backup had been put back; if that is meant, "
    "`cds-service db accept-restore` numbers on safely",
}


def refuse_unsound(settings: Settings) -> None:
    """Raise ConfigurationError when the database is damaged or older than we remember (F29), else remember it.

    Raises:
        StoreUnavailable: it cannot be asked now.
    """
    from cds_service.adapters.sql import integrity
    from cds_service.adapters.sql.database import Database

    database = Database(settings.database_url, pool_size=1, busy_seconds=10)
    try:
        found = integrity.complaints(database, integrity.remembered(settings.watermark))
        if found:
            raise ConfigurationError("; ".join(_NOT_SOUND[word] for word in found))
        integrity.remember(settings.watermark, integrity.look(database))
    finally:
        database.close()


def accept_restored(settings: Settings) -> None:
    """Go on with an older database, numbering on behind what may have been used since."""
    from cds_service.adapters.sql import integrity
    from cds_service.adapters.sql.database import Database
    from cds_service.adapters.system import SystemClock

    _need_database(settings)
    database = Database(settings.database_url, pool_size=1, busy_seconds=10)
    integrity.accept(database, _actor(), SystemClock().now())
    integrity.remember(settings.watermark, integrity.look(database))
    database.close()


def _need_database(settings: Settings) -> None:
    if settings.in_memory:
        raise ConfigurationError("this command needs a database: set CDS_DATABASE_URL")
    if settings.sqlite_path is not None and not settings.sqlite_path.exists():
        raise StoreUnavailable(f"there is no database {settings.sqlite_path} yet; `cds-service db upgrade` makes it")

"""``cds-service``: serve, evaluate, check and keep house. Each command imports only what it needs."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from cds_service import __version__, delivery_cli, review_cli
from cds_service.errors import CdsServiceError, ConfigurationError, StoreUnavailable
from cds_service.settings import GARBAGE_THRESHOLDS, Settings, from_env

if TYPE_CHECKING:
    from cds_service.ports import Store
    from cds_service.use_cases.decide import Rules

EXIT_REFUSED = 1  # something in the input was refused
EXIT_USAGE = 2  # options or configuration are wrong
EXIT_UNAVAILABLE = 3  # the database or a file system failed
EXIT_NOT_SOUND = 4  # the database is damaged, or an older one than it was (F29)
PROGRESS_EVERY = 1_000


class _Commands(click.Group):
    """Says our own errors in one line instead of a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StoreUnavailable as error:
            click.echo(f"cds-service: {error.diagnostics} (CDS_DATABASE_URL)", err=True)
            ctx.exit(EXIT_UNAVAILABLE)
        except CdsServiceError as error:
            click.echo(error.diagnostics, err=True)
            ctx.exit(EXIT_USAGE)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cds-service")
def main() -> None:
    """Prior authorization of intrathecal drug therapy, decided at the moment of ordering.

    Settings are CDS_* environment variables, see docs/configuration.md. Start with `cds-service serve --help`.
    """


@main.command()
@click.option("--host", help="Address to listen on. [CDS_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. [CDS_PORT, 8000]")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes. [CDS_WORKERS, number of cores]")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads per process. [CDS_THREADS, 8]")
@click.option("--insecure-dev", is_flag=True, help="Plain http and loopback EHRs; never for real data.")
def serve(host: str | None, port: int | None, workers: int | None, threads: int | None, insecure_dev: bool) -> None:
    """Serve the hooks until SIGTERM or Ctrl-C; running calls are answered first.

    The database is brought to this version before the first worker starts.
    """
    given = {"CDS_HOST": host, "CDS_PORT": port, "CDS_WORKERS": workers, "CDS_THREADS": threads}
    for name, value in given.items():
        if value is not None:
            os.environ[name] = str(value)  # the workers read their settings from the environment, like everybody
    if insecure_dev:
        os.environ["CDS_INSECURE_DEV"] = "on"
    settings = from_env()

    from cds_service.serving import refuse_taken_port
    from cds_service.web import gunicorn_server

    refuse_taken_port(settings.host, settings.port, "CDS_")
    with gunicorn_server.shared_metrics():
        from cds_service.app import create_app, read_files, real_adapters

        wait_for_upgrade = _upgrade_apart(settings)
        try:
            files = read_files(settings)
        finally:
            wait_for_upgrade()
        if settings.client_auth and not files.clients:
            click.echo(f"no client is registered in {settings.clients_dir}; every call is refused", err=True)
        lines = gunicorn_server.log_writer
        gunicorn_server.serve(settings, lambda: create_app(settings, real_adapters(settings, files, lines)))


def _upgrade_apart(settings: Settings) -> Callable[[], None]:
    """Migrate in a child process, and give the function that waits for it.

    What a migration imports must not stay in every worker's memory. A database that is down does not stop the start:
    ``/readyz`` says so until it is up (reliability F21).
    """
    if settings.in_memory:
        return lambda: None
    from cds_service.adapters.sql.store import SqlStore  # here, so that child and workers share it

    store = SqlStore(settings.database_url)  # refuses a URL of no database; connects to nothing yet
    is_new = settings.sqlite_path is not None and not settings.sqlite_path.exists()
    if is_new and settings.sqlite_path is not None:
        settings.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        os._exit(_upgraded(None if is_new else store, settings))

    def wait() -> None:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == EXIT_NOT_SOUND:
            sys.exit(EXIT_NOT_SOUND)  # the child has said why
        if status != 0:
            click.echo("cds-service: the database cannot be reached or upgraded now; serving without it", err=True)

    return wait


def _upgraded(store: Store | None, settings: Settings) -> int:
    """Bring the database to this version, unless it is (``store`` None: there is none yet); an exit status."""
    from cds_service.adapters.sql.migrate import migrate
    from cds_service.delivery_cli import refuse_unsound

    try:
        if store is not None:
            store.ping()
    except StoreUnavailable:
        store = None  # down, or of an older version: the migration finds out
    try:
        if store is None:
            migrate(settings.database_url)
        refuse_unsound(settings)
    except StoreUnavailable as error:
        return EXIT_NOT_SOUND if error.reason == "corrupt" else EXIT_UNAVAILABLE
    except ConfigurationError as error:
        click.echo(f"cds-service: {error.diagnostics}", err=True)
        return EXIT_NOT_SOUND
    return 0


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD", help="Date of the evaluation. [today]"
)
@click.option("--config", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Other config folder.")
@click.option("--fetch", is_flag=True, help="Read at the EHR what prefetch lacks, as the hook does.")
def evaluate(files: tuple[str, ...], as_of: Any, config: Path | None, fetch: bool) -> None:
    """Judge order-sign request bodies without a server and print their determination documents.

    FILES hold one request body each; `-` reads one per line from standard input and prints one per line, in order.
    No network is used unless --fetch is given. Exit status 1: some input could not be read; standard error says which.
    """
    settings = from_env()
    judge = _judge(settings, config, as_of.date() if as_of else None, fetch=fetch)
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)  # requests make no cycles to look for
    refused = 0
    pretty = sys.stdout.isatty()
    for place, body in _with_progress(_bodies(files)):
        document, complaint = _judged(judge, body)
        if complaint:
            refused += 1
            click.echo(f"{place}: {complaint}", err=True)
        sys.stdout.buffer.write(msgspec.json.format(document, indent=2) if pretty else document)
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
    sys.exit(EXIT_REFUSED if refused else 0)


def _judge(settings: Settings, config: Path | None, as_of: date | None, *, fetch: bool) -> Callable[[bytes], bytes]:
    from cds_service.adapters.system import SystemClock
    from cds_service.use_cases.decide import evaluate_document

    rules = _rules(settings, config)
    clock = SystemClock()
    day = as_of or clock.now().date()
    if not fetch:
        return lambda body: evaluate_document(body, rules, day)
    from cds_service.app import evaluate_fetching

    fetching = evaluate_fetching(settings, rules, clock)
    return lambda body: fetching(body, day)


def _rules(settings: Settings, config: Path | None) -> Rules:
    from cds_service.adapters.policy_files import load_configuration
    from cds_service.use_cases.decide import Addresses, prepare

    loaded = load_configuration(config or settings.config_dir)
    addresses = Addresses(public_url=settings.public_url)
    return prepare(loaded.guidelines, loaded.vocabulary, loaded.payer, loaded.digest, addresses)


def _judged(judge: Callable[[bytes], bytes], body: bytes | OSError) -> tuple[bytes, str]:
    """The document to print, and what was wrong with the input, if it could not be read."""
    if isinstance(body, OSError):
        complaint = f"the file cannot be read: {body.strerror}"
    else:
        try:
            return judge(body), ""
        except StoreUnavailable:
            raise
        except CdsServiceError as error:
            complaint = f"{error.expression}: {error.diagnostics}" if error.expression else error.diagnostics
    return msgspec.json.encode({"error": complaint}), complaint


def _bodies(files: Iterable[str]) -> Iterator[tuple[str, bytes | OSError]]:
    """Each input's place (file, or line of standard input) and its text."""
    for name in files:
        if name == "-":
            for number, line in enumerate(sys.stdin.buffer, 1):
                yield f"line {number}", line.rstrip(b"\r\n")
            continue
        try:
            yield name, Path(name).read_bytes()
        except OSError as error:
            yield name, error


def _with_progress(inputs: Iterable[tuple[str, bytes | OSError]]) -> Iterator[tuple[str, bytes | OSError]]:
    shown = sys.stderr.isatty() and not sys.stdout.isatty()
    count = 0
    for count, each in enumerate(inputs, 1):
        yield each
        if shown and count % PROGRESS_EVERY == 0:
            click.echo(f"\r{count} requests", err=True, nl=False)
    if shown and count >= PROGRESS_EVERY:
        click.echo(f"\r{count} requests, done", err=True)


@main.command()
@click.option("--config", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Other config folder.")
def discovery(config: Path | None) -> None:
    """Print the discovery document, the same bytes that GET /cds-services answers."""
    click.echo(_rules(from_env(), config).discovery)


@main.command("check-policy")
@click.argument("path", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
def check_policy(path: Path | None) -> None:
    """Check policy and terminology files: every complaint with file and line; PATH is a config folder."""
    from cds_service.adapters.policy_files import check

    folder = path or from_env().config_dir
    complaints = check(folder)
    for complaint in complaints:
        click.echo(str(complaint), err=True)
    if complaints:
        click.echo(f"{len(complaints)} complaint{'s' if len(complaints) > 1 else ''}", err=True)
        sys.exit(EXIT_REFUSED)
    click.echo(f"{folder}: no complaints")


@main.command("check-client")
@click.argument("ident", metavar="ID")
def check_client(ident: str) -> None:
    """Say what is wrong with an EHR's set-up: keys, prefetch keys seen, scopes, system actions."""
    from cds_service import app

    report = app.client_report(from_env(), ident)
    click.echo(report.text)
    sys.exit(0 if report.fine else EXIT_REFUSED)


@main.command("codes")
def codes() -> None:
    """Say which licensed code tables are there, and what the missing ones leave out."""
    from cds_service.adapters.licensed_codes import LISTS, load_licensed_codes

    held = load_licensed_codes(from_env().licensed_codes_dir)
    missing = held.missing()
    for name in LISTS:
        click.echo(f"{name}: missing; {missing[name]}" if name in missing else f"{name}: {len(held.lists[name])} codes")


for _command in (delivery_cli.deliver, delivery_cli.outbox, review_cli.figures, review_cli.audit):
    main.add_command(_command)


@main.group()
def authorizations() -> None:
    """Authorizations on file."""


@authorizations.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--form", type=click.Choice(["csv", "ndjson"]), help="Form of the file. [by its name]")
@click.option("--source", default="import", show_default=True, help="Where the file comes from.")
def import_file(file: IO[bytes], form: str | None, source: str) -> None:
    """Import authorizations: CSV or NDJSON with our columns, or NDJSON of FHIR ClaimResponses.

    Running it again changes nothing. Every mistake of every line is told. Exit status 1: some lines were refused.
    """
    from cds_service.adapters.policy_files import load_configuration
    from cds_service.adapters.system import SystemClock
    from cds_service.use_cases.import_authorizations import import_authorizations

    settings = from_env()
    configuration = load_configuration(settings.config_dir)
    drugs = sorted({drug for guideline in configuration.guidelines for drug in guideline.scope.drugs})
    report = import_authorizations(
        _store(settings),
        file,
        form=form or ("ndjson" if file.name.endswith((".ndjson", ".jsonl")) else "csv"),
        drugs=drugs,
        source=source,
        at=SystemClock().now(),
        vocabulary=configuration.vocabulary,
        progress=lambda count: click.echo(f"\r{count} lines", err=True, nl=False) if sys.stderr.isatty() else None,
    )
    click.echo(report.counts)
    for refusal in report.refused:
        click.echo(": ".join(filter(None, (f"line {refusal.line}", refusal.column, refusal.allowed))), err=True)
    sys.exit(EXIT_REFUSED if report.refused else 0)


@main.group()
def db() -> None:
    """The database."""


@db.command()
def upgrade() -> None:
    """Create the database, or bring it to this version. Safe to run at any time, by several processes at once."""
    from cds_service.adapters.sql.migrate import migrate

    settings = from_env()
    if settings.in_memory:
        raise ConfigurationError("CDS_DATABASE_URL=memory: has nothing to upgrade")
    if settings.sqlite_path is not None:
        settings.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    click.echo(f"schema {migrate(settings.database_url)}")


@db.command("accept-restore")
def accept_restore() -> None:
    """Say that a backup that was put back stands: from now on nothing is numbered as it may have been since."""
    from cds_service.delivery_cli import accept_restored

    accept_restored(from_env())
    click.echo("accepted; subscribers will see a gap in their event numbers")


@main.command()
def purge() -> None:
    """Forget what has been kept long enough (CDS_RETENTION_DAYS, CDS_COMMENT_RETENTION_DAYS)."""
    from cds_service.adapters.system import SystemClock
    from cds_service.use_cases.purge import Retention
    from cds_service.use_cases.purge import purge as forget

    settings = from_env()
    retention = Retention(comment_days=settings.comment_retention_days, record_days=settings.retention_days)
    gone = forget(_store(settings), retention, SystemClock().now())
    click.echo(
        f"removed {gone.comments} comments, {gone.invocations} calls, {gone.feedback} feedback entries, "
        f"{gone.accesses} accesses, {gone.forms} records of forms"
    )


@main.group()
def feedback() -> None:
    """What clinicians did with the cards."""


@feedback.command("report")
@click.option("--days", type=click.IntRange(1, 36_500), default=30, show_default=True, help="How far back.")
def feedback_report(days: int) -> None:
    """Count feedback per rule, outcome and override reason, as tab-separated lines."""
    from cds_service.adapters.system import SystemClock

    counts = _store(from_env()).feedback_report(SystemClock().now() - timedelta(days=days))
    click.echo("rule\toutcome\treason\tcount")
    for each in counts:
        reason = f"{each.reason_system}|{each.reason_code}" if each.reason_code else ""
        click.echo(f"{each.rule or '(unknown card)'}\t{each.outcome}\t{reason}\t{each.count}")


def _store(settings: Settings) -> Store:
    from cds_service.adapters.sql.store import SqlStore

    if settings.in_memory:
        raise ConfigurationError("this command needs a database: set CDS_DATABASE_URL")
    if settings.sqlite_path is not None and not settings.sqlite_path.exists():
        raise StoreUnavailable(f"there is no database {settings.sqlite_path} yet; `cds-service db upgrade` makes it")
    return SqlStore(settings.database_url)


@main.group()
def config() -> None:
    """The settings in force."""


@config.command()
def show() -> None:
    """Print every setting as JSON, without secrets."""
    click.echo(msgspec.json.format(msgspec.json.encode(from_env().public()), indent=2))

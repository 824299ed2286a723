"""``smart-app``: init, serve, check and keep house. Each command imports only what it needs."""

from __future__ import annotations

import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from cds_service.errors import CdsServiceError
from smart_app import __version__
from smart_app.settings import from_env

EXIT_REFUSED = 1  # a check found something wrong
EXIT_USAGE = 2  # options or configuration are wrong
EXIT_UNAVAILABLE = 3  # the database failed


class _Commands(click.Group):
    """Says our own errors in one line instead of a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return super().invoke(ctx)
        except CdsServiceError as error:
            click.echo(error.diagnostics, err=True)
            ctx.exit(EXIT_USAGE)
        except SQLAlchemyError:
            click.echo("smart-app: the database cannot be reached or used (SMART_APP_DATABASE_URL)", err=True)
            ctx.exit(EXIT_UNAVAILABLE)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="smart-app")
def main() -> None:
    """The app inside the EHR: asks the clinician what the chart did not say, and saves the answers.

    Settings are SMART_APP_* environment variables, see docs/smart-app.md. Begin with `smart-app init --help`, then
    `smart-app check` and `smart-app serve`.
    """


_INIT_EXAMPLE = """\b
Example:
smart-app init --ehr-iss https://ehr.example.org/fhir --ehr-client-id coverage-app \\
    --ehr-frame-origin https://ehr.example.org --payer-name "Example Plan" \\
    --payer-dtr-base https://payer.example.org/dtr/2.0.1 --payer-client-id clinic-app"""


@main.command(epilog=_INIT_EXAMPLE)
@click.option("--config", type=click.Path(file_okay=False, path_type=Path), help="[SMART_APP_CONFIG_DIR]")
@click.option("--keys", type=click.Path(file_okay=False, path_type=Path), help="[SMART_APP_KEY_DIR]")
@click.option("--ehr-iss", help="FHIR base URL of an EHR to register.")
@click.option("--ehr-client-id", help="As which that EHR has registered the app.")
@click.option("--ehr-id", default="ehr", show_default=True, help="Name of its file: ehrs/ID.yaml.")
@click.option("--ehr-name", help="As people know it. [the host of --ehr-iss]")
@click.option("--ehr-frame-origin", multiple=True, help="Origin of EHR pages that frame the app; may be repeated.")
@click.option("--ehr-endpoint-host", multiple=True, help="Further host of its endpoints; may be repeated.")
@click.option("--ehr-extra-scope", multiple=True, help="Asked for beside the preset; may be repeated.")
@click.option("--ehr-refresh", type=click.Choice(["none", "online", "offline"]), default="none", show_default=True)
@click.option("--ehr-standalone", is_flag=True, help="The app may be opened without the EHR.")
@click.option("--payer-dtr-base", help="DTR base URL of a payer to register.")
@click.option("--payer-dtr-version", type=click.Choice(["2.0.1", "2.1", "2.2"]), default="2.0.1", show_default=True)
@click.option("--payer-pas-base", default="", help="Its PAS base URL, if it takes requests.")
@click.option("--payer-client-id", help="As which that payer has registered the app.")
@click.option("--payer-id", default="payer", show_default=True, help="Name of its file: payers/ID.yaml.")
@click.option("--payer-name", multiple=True, help="As coverages display it; the first is shown; may be repeated.")
@click.option("--payer-identifier", multiple=True, help="system|value of its Organization; may be repeated.")
@click.option("--allow-local", is_flag=True, help="Plain http and private addresses, for --insecure-dev.")
@click.option("--force", is_flag=True, help="Write registration files that are there already anew.")
def init(config: Path | None, keys: Path | None, force: bool, allow_local: bool, **given: Any) -> None:
    """Make keys (mode 0600), and register an EHR and a payer. Safe to repeat: keys and files that are there stay."""
    from smart_app.adapters import keys as key_files
    from smart_app.adapters import registration

    settings = from_env()
    key_dir, config_dir = keys or settings.key_dir, config or settings.config_dir
    for name in key_files.make_missing(key_dir, lambda: secrets.token_urlsafe(32)):
        click.echo(f"made {key_dir / name}")
    for path, text in registration.files(config_dir, given, allow_local=allow_local):
        if path.exists() and not force:
            click.echo(f"kept {path}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        click.echo(f"wrote {path}")
    click.echo(f"register the app: redirect URI {settings.redirect_uri}, keys {settings.jwks_url}")


@main.command()
@click.option("--host", help="Address to listen on. [SMART_APP_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. [SMART_APP_PORT, 8090]")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes. [SMART_APP_WORKERS, 1]")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads per process. [SMART_APP_THREADS, 8]")
@click.option("--insecure-dev", is_flag=True, help="Plain http, loopback EHRs and plain cookies; never for real data.")
def serve(host: str | None, port: int | None, workers: int | None, threads: int | None, insecure_dev: bool) -> None:
    """Serve the app until SIGTERM or Ctrl-C. The database is brought to this version first."""
    given = {"HOST": host, "PORT": port, "WORKERS": workers, "THREADS": threads}
    named = {f"SMART_APP_{name}": str(value) for name, value in given.items() if value is not None}
    if insecure_dev:
        named["SMART_APP_INSECURE_DEV"] = "on"
    os.environ.update(named)  # the workers read their settings from the environment, like everybody
    settings = from_env()

    from cds_service.serving import refuse_taken_port
    from smart_app.adapters.database import upgrade
    from smart_app.app import check_start, create_app, real_world
    from smart_app.web.gunicorn_server import serve as run

    refuse_taken_port(settings.host, settings.port, "SMART_APP_")
    for warning in check_start(settings):
        click.echo(f"smart-app: {warning}", err=True)
    upgrade(settings.database_url)
    run(settings, lambda: create_app(settings, real_world(settings)))


@main.command()
def check() -> None:
    """Check settings, keys and registrations, ask every EHR and payer about itself, and print a table.

    It knows the app by the settings in force. For what `make run` started, say `. var/demo.env` first. Exit status 1:
    something is wrong; the table says what.
    """
    from smart_app.app import real_world
    from smart_app.check import check_all, table

    settings = from_env()
    findings = check_all(settings, real_world(settings))
    click.echo(table(findings))
    sys.exit(0 if all(each.fine for each in findings) else EXIT_REFUSED)


@main.group()
def keys() -> None:
    """The app's own keys."""


@keys.command()
def rotate() -> None:
    """Make new keys. The last signing pair stays published; restart the app to seal with the new key."""
    from smart_app.adapters import keys as key_files

    key_files.rotate(from_env().key_dir, lambda: secrets.token_urlsafe(32))
    click.echo("new keys are in use; once no EHR or payer keeps the old ones, run `smart-app keys retire`")


@keys.command()
def retire() -> None:
    """Stop publishing every signing pair but the newest."""
    from smart_app.adapters import keys as key_files

    key_files.retire(from_env().key_dir)
    click.echo("only the newest signing pair is published")


@main.group()
def db() -> None:
    """The app's database."""


@db.command()
def upgrade() -> None:
    """Create the database, or bring it to this version. Safe to run at any time, by several processes at once."""
    from smart_app.adapters import database

    click.echo(f"schema {database.upgrade(from_env().database_url)}")


@main.command()
def purge() -> None:
    """End launches that nobody uses, and forget what ended longer ago than SMART_APP_KEEP_DAYS."""
    from smart_app.app import build_parts, real_world

    settings = from_env()
    made = build_parts(settings, real_world(settings))
    idle = made.launches.end_idle()
    now = made.world.now()
    attempts, launches = made.store.purge(now, now - timedelta(days=settings.keep_days))
    click.echo(f"ended {idle} launches; removed {attempts} attempts and {launches} launches with their forms")


@main.command("config")
def show_config() -> None:
    """Print the settings in force; passwords are not shown."""
    for name, value in sorted(from_env().public().items()):
        click.echo(f"{name} = {value}")

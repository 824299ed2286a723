"""``cds-service figures`` and ``cds-service audit``: what a payer publishes, and whether the audit log is whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cds_service.errors import ConfigurationError
from cds_service.settings import from_env

if TYPE_CHECKING:
    from cds_service.adapters.sql.audit import Head
    from cds_service.adapters.sql.database import Database

EXIT_REFUSED = 1


@click.command()
@click.option(
    "--year", type=click.IntRange(2020, 2100), required=True, help="Calendar year of the first decision (UTC)."
)
@click.option(
    "--format", "kind", type=click.Choice(["csv", "json"]), default="csv", show_default=True, help="Table or document."
)
def figures(year: int, kind: str) -> None:
    """The figures that a payer publishes (CMS-0057-F), computed from the log of case events.

    The same log gives the same bytes on any day.
    """
    from cds_service.adapters.sql.reviews import SqlReviews
    from cds_service.use_cases.figures import as_csv, as_json, figures_of_year

    rows = figures_of_year(SqlReviews(_database()), year)
    sys.stdout.buffer.write(as_csv(year, rows).encode() if kind == "csv" else as_json(year, rows))


@click.group()
def audit() -> None:
    """The audit log."""


@audit.command()
@click.option(
    "--heads",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of earlier ends of the chains, as `audit heads` prints them: shows a log that was shortened.",
)
def verify(heads: Path | None) -> None:
    """Read every line and say the first of each chain that is not as it was written. Exit status 1 if there is one."""
    from cds_service.adapters.sql import audit as chains

    report = chains.verify(_database(), _kept(heads))
    for bad in report.bad:
        click.echo(f"chain {bad.chain}, line {bad.seq}: {bad.what}")
    if not report.ok:
        sys.exit(EXIT_REFUSED)
    click.echo(f"{report.events} lines are as they were written")


@audit.command()
def heads() -> None:
    """Print the ends of the chains: chain, number and hash of the last line. Keep them outside of the database."""
    from cds_service.adapters.sql import audit as chains

    for head in chains.verify(_database()).heads:
        click.echo(f"{head.chain} {head.seq} {head.hash}")


def _database() -> Database:
    from cds_service.adapters.sql.database import Database

    settings = from_env()
    if settings.in_memory:
        raise ConfigurationError("CDS_DATABASE_URL=memory: keeps nothing to look at", expression="CDS_DATABASE_URL")
    return Database(settings.database_url, pool_size=1, busy_seconds=10)


def _kept(path: Path | None) -> list[Head]:
    """Heads of a file, a line each; those of empty chains hold no hash and say nothing."""
    from cds_service.adapters.sql.audit import Head

    if path is None:
        return []
    found = []
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if not words or len(words) == 2:
            continue
        if len(words) != 3 or not (words[0].isdecimal() and words[1].isdecimal()):
            raise ConfigurationError(f"{path}, line {number}: allowed is CHAIN NUMBER HASH, as `audit heads` prints")
        found.append(Head(int(words[0]), int(words[1]), words[2]))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} cannot be read") from None

"""Command line of the sandbox EHR."""

from __future__ import annotations

import csv
import socket
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import yaml
from gunicorn.app.base import BaseApplication

from sandbox_ehr.app import Settings, create_app
from sandbox_ehr.keys import load_or_make
from sandbox_ehr.patients import samples
from sandbox_ehr.scopes import LENT
from sandbox_ehr.smart.apps import App, AppFileRefused, Apps, demo_app, read_apps

THREADS = 16  # while one thread waits for the CDS service, that service reads the chart through the others


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return str(uuid.uuid4())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A small EHR with made-up patients, to try a CDS Hooks coverage service with."""


@main.command()
@click.option("--var", type=click.Path(path_type=Path), required=True, help="Directory for keys and generated files.")
@click.option("--base-url", default="http://127.0.0.1:8080", show_default=True, help="How the service reaches it.")
def init(var: Path, base_url: str) -> None:
    """Make keys, the client file for the CDS service, and the sample authorizations.

    Writes DIR/keys (mode 0600), DIR/clients/sandbox.yaml and DIR/authorizations.csv. Safe to repeat: keys stay.
    """
    load_or_make(var / "keys")
    write_client_file(var / "clients" / "sandbox.yaml", base_url.rstrip("/"))
    write_authorizations(var / "authorizations.csv", _now().date())
    click.echo(f"Client file:     {var / 'clients' / 'sandbox.yaml'}")
    click.echo(f"Authorizations:  {var / 'authorizations.csv'}")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--var", type=click.Path(path_type=Path), required=True, help="Directory for keys and the database.")
@click.option("--base-url", default=None, help="How others reach the sandbox; default http://HOST:PORT.")
@click.option("--cds-url", default="http://127.0.0.1:8000", show_default=True, help="Where the CDS service listens.")
@click.option("--cds-base", default=None, help="Public URL that the service knows itself by; default --cds-url.")
@click.option("--app-url", default=None, help="Base of the coverage app; registers it as client intrathecal-app.")
@click.option("--apps", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Directory of app files.")
@click.option("--payer-jwks-url", default="", help="Keys of the payer's service, for the payer's FHIR endpoint.")
@click.option("--open-payer-endpoint", is_flag=True, help="The payer's FHIR endpoint asks for no token.")
@click.option("--faults", is_flag=True, help="Let tests make the payer's FHIR endpoint misbehave.")
def serve(host: str, port: int, base_url: str | None, cds_base: str | None, **options: Any) -> None:
    """Serve the order-entry page, the FHIR API, the authorization server and the keys until interrupted."""
    _refuse_taken(host, port)
    base = (base_url or f"http://{host}:{port}").rstrip("/")
    var: Path = options["var"]
    var.mkdir(parents=True, exist_ok=True)
    load_or_make(var / "keys")
    settings = Settings(
        var=var,
        base_url=base,
        cds_url=options["cds_url"].rstrip("/"),
        cds_base=(cds_base or options["cds_url"]).rstrip("/"),
        apps=_apps(options["app_url"], options["apps"]),
        payer_jwks_url=options["payer_jwks_url"],
        open_payer_endpoint=options["open_payer_endpoint"],
        faults=options["faults"],
    )
    click.echo(f"Sandbox EHR: {base}/   (FHIR: {base}/fhir, asks the payer at {settings.cds_url})")
    _Server(settings, f"{host}:{port}").run()


def _apps(app_url: str | None, directory: Path | None) -> tuple[App, ...]:
    try:
        found = (*((demo_app(app_url),) if app_url else ()), *(read_apps(directory) if directory else ()))
        Apps(found)
    except AppFileRefused as refused:
        raise click.ClickException(str(refused)) from None
    return found


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with one process and threads."""

    def __init__(self, settings: Settings, bind: str) -> None:
        self._settings, self._bind = settings, bind
        super().__init__()

    def load_config(self) -> None:
        plain: dict[str, Any] = {
            "bind": self._bind,
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "loglevel": "warning",
            "graceful_timeout": 10,
            "control_socket_disable": True,
        }
        for name, value in plain.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return create_app(self._settings, _now, _new_id)


def write_client_file(path: Path, base_url: str) -> None:
    """The client profile under which a CDS service knows this sandbox."""
    profile = {
        "id": "sandbox",
        "name": "Sandbox EHR",
        "issuer": base_url,
        "jwks_url": f"{base_url}/jwks.json",
        "algorithms": ["ES384"],
        "fhir_servers": [f"{base_url}/fhir"],
        "scopes": LENT.split(),
        "smart_link": True,
        "allow_private": True,
        "allow_http": True,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# Written by `sandbox-ehr init`.\n" + yaml.safe_dump(profile, sort_keys=False))


def write_authorizations(path: Path, as_of: date) -> None:
    """The authorizations on file of the sample patients, in the payer's import format."""
    rows = [sample.authorization for sample in samples(as_of).values() if sample.authorization]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise click.ClickException(
                f"Port {port} on {host} cannot be used ({error.strerror}); choose --port."
            ) from None

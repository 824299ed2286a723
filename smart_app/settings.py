"""Settings of one deployment of the app. The only reader of its environment; every name is in docs/smart-app.md."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cds_service.environment import (
    Contradiction,
    Reader,
    as_path,
    as_switch,
    as_text,
    as_whole,
    is_loopback,
    one_of,
    read_variables,
    refuse,
    without_password,
)
from cds_service.errors import ConfigurationError

PROFILES = ("development", "production")
_PROJECT = Path(__file__).resolve().parents[1]
LOG_LEVELS = ("debug", "info", "warning", "error")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that may differ between two deployments of the same release. Times are in the unit of the name."""

    profile: str = "development"
    public_url: str = "http://127.0.0.1:8090"  # scheme, host and port by which browsers reach the app
    host: str = "127.0.0.1"
    port: int = 8090
    workers: int = 1
    threads: int = 8
    database_url: str = "sqlite:///var/app.sqlite3"
    config_dir: Path = Path("var/app")  # holds ehrs/*.yaml and payers/*.yaml
    terminology_dir: Path = _PROJECT / "config"  # holds terminology/: what drugs, routes and units are called
    key_dir: Path = Path("var/app-keys")  # signing keys and the keys of what is kept encrypted, mode 0600
    insecure_dev: bool = False
    session_minutes: int = 15  # a launch that nobody touches for so long ends
    session_hours: int = 12  # and every launch ends after so long
    keep_days: int = 30  # an ended launch's unsaved form can still be picked up for so long
    log_level: str = "info"

    @property
    def in_production(self) -> bool:
        """Whether the operator says that real people's data flows."""
        return self.profile == "production"

    @property
    def over_tls(self) -> bool:
        """Whether browsers reach the app over https, so that cookies can be Secure."""
        return self.public_url.startswith("https://")

    @property
    def redirect_uri(self) -> str:
        """What is registered at every EHR, byte for byte."""
        return f"{self.public_url}/callback"

    @property
    def jwks_url(self) -> str:
        """Where EHRs and payers find the app's public keys."""
        return f"{self.public_url}/.well-known/jwks.json"

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, where there is one."""
        kind, _, path = self.database_url.partition(":///")
        return Path(path) if kind.startswith("sqlite") and path else None

    def public(self) -> dict[str, object]:
        """What `smart-app config` prints: every setting, passwords replaced."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["database_url"] = without_password(self.database_url)
        return {name: str(value) if isinstance(value, Path) else value for name, value in shown.items()}


def from_env(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings of the SMART_APP_* variables.

    An unknown SMART_APP_ name is refused: a misspelt setting that silently does nothing is found too late.

    Raises:
        ConfigurationError: everything that is wrong, a line each, naming variable, what was found and what is allowed.
    """
    source = os.environ if environ is None else environ
    values, wrong = read_variables(source, "SMART_APP_", VARIABLES, "docs/smart-app.md")
    values.setdefault("public_url", f"http://127.0.0.1:{values.get('port', Settings().port)}")
    settings = Settings(**values)  # type: ignore[arg-type]  # each reader gives its field's type
    refuse(_contradictions(settings), wrong)
    return settings


def _contradictions(settings: Settings) -> Iterator[Contradiction]:
    public = urlsplit(settings.public_url)
    if public.scheme not in {"http", "https"} or not public.hostname or public.path or public.query or public.fragment:
        yield ("SMART_APP_PUBLIC_URL",), "SMART_APP_PUBLIC_URL must be scheme, host and port, without path"
    elif settings.in_production and not settings.over_tls:
        text = "SMART_APP_PUBLIC_URL must be https when SMART_APP_PROFILE=production"
        yield ("SMART_APP_PUBLIC_URL", "SMART_APP_PROFILE"), text
    if settings.in_production and settings.insecure_dev:
        text = "--insecure-dev is refused when SMART_APP_PROFILE=production"
        yield ("SMART_APP_INSECURE_DEV", "SMART_APP_PROFILE"), text
    if settings.in_production and settings.log_level == "debug":
        text = "SMART_APP_LOG_LEVEL=debug is refused when SMART_APP_PROFILE=production"
        yield ("SMART_APP_LOG_LEVEL", "SMART_APP_PROFILE"), text
    if settings.insecure_dev and not is_loopback(settings.host):
        text = "--insecure-dev binds to loopback only: SMART_APP_HOST must be 127.0.0.1, ::1 or localhost"
        yield ("SMART_APP_HOST", "SMART_APP_INSECURE_DEV"), text


def refuse_plain_http(settings: Settings) -> None:
    """Before serving: browsers send Secure cookies over https only, so plain http is for one's own machine.

    Raises:
        ConfigurationError: the app would be served over http outside --insecure-dev and loopback.
    """
    local = settings.insecure_dev and is_loopback(urlsplit(settings.public_url).hostname or "")
    if not settings.over_tls and not local:
        raise ConfigurationError(
            "SMART_APP_PUBLIC_URL must be https; plain http works on 127.0.0.1 or localhost only, "
            "with SMART_APP_INSECURE_DEV=on or serve --insecure-dev",
            expression="SMART_APP_PUBLIC_URL",
        )


def _url(_name: str, text: str) -> str:
    """As browsers write an origin: small letters, without the scheme's own port."""
    plain = text.rstrip("/").lower()
    own = ":443" if plain.startswith("https://") else ":80"
    return plain.removesuffix(own)


VARIABLES: Mapping[str, tuple[str, Reader]] = {
    "SMART_APP_PROFILE": ("profile", one_of(PROFILES)),
    "SMART_APP_PUBLIC_URL": ("public_url", _url),
    "SMART_APP_HOST": ("host", as_text),
    "SMART_APP_PORT": ("port", as_whole(1, 65535)),
    "SMART_APP_WORKERS": ("workers", as_whole(1, 256)),
    "SMART_APP_THREADS": ("threads", as_whole(1, 256)),
    "SMART_APP_DATABASE_URL": ("database_url", as_text),
    "SMART_APP_CONFIG_DIR": ("config_dir", as_path),
    "SMART_APP_TERMINOLOGY_DIR": ("terminology_dir", as_path),
    "SMART_APP_KEY_DIR": ("key_dir", as_path),
    "SMART_APP_INSECURE_DEV": ("insecure_dev", as_switch),
    "SMART_APP_SESSION_MINUTES": ("session_minutes", as_whole(1, 720)),
    "SMART_APP_SESSION_HOURS": ("session_hours", as_whole(1, 72)),
    "SMART_APP_KEEP_DAYS": ("keep_days", as_whole(1, 3650)),
    "SMART_APP_LOG_LEVEL": ("log_level", one_of(LOG_LEVELS)),
}

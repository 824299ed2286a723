"""Settings of one deployment of the app. The only reader of its environment; every name is in docs/smart-app.md."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cds_service.errors import ConfigurationError, refuse_all

PREFIX = "SMART_APP_"
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
    values: dict[str, object] = {}
    wrong: dict[str, str] = {}
    for name, text in sorted(source.items()):
        if name.startswith(PREFIX) and name not in VARIABLES:
            wrong[name] = _unknown(name)
        elif name in VARIABLES and text != "":
            field, read = VARIABLES[name]
            try:
                values[field] = read(name, text)
            except ConfigurationError as error:
                wrong[name] = error.diagnostics
    values.setdefault("public_url", f"http://127.0.0.1:{values.get('port', Settings().port)}")
    settings = Settings(**values)  # type: ignore[arg-type]  # each reader gives its field's type
    # Of a variable that could not be read it is not known whether it contradicts another.
    contradictions = (each for each in _contradictions(settings) if wrong.keys().isdisjoint(each[0]))
    refuse_all([*wrong.items(), *((names[0], text) for names, text in contradictions)])
    return settings


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, VARIABLES, 1)
    return f"{name} is not a setting; " + (f"did you mean {near[0]}?" if near else "see docs/smart-app.md")


Contradiction = tuple[tuple[str, ...], str]  # the variables concerned, the one to change first, and what is wrong


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
    if settings.insecure_dev and not _is_loopback(settings.host):
        text = "--insecure-dev binds to loopback only: SMART_APP_HOST must be 127.0.0.1, ::1 or localhost"
        yield ("SMART_APP_HOST", "SMART_APP_INSECURE_DEV"), text


def refuse_plain_http(settings: Settings) -> None:
    """Before serving: browsers send Secure cookies over https only, so plain http is for one's own machine.

    Raises:
        ConfigurationError: the app would be served over http outside --insecure-dev and loopback.
    """
    local = settings.insecure_dev and _is_loopback(urlsplit(settings.public_url).hostname or "")
    if not settings.over_tls and not local:
        raise ConfigurationError(
            "SMART_APP_PUBLIC_URL must be https; plain http works on 127.0.0.1 or localhost only, "
            "with SMART_APP_INSECURE_DEV=on or serve --insecure-dev",
            expression="SMART_APP_PUBLIC_URL",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_password(url: str) -> str:
    """A database URL without what must not be shown: password and query."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url.partition("?")[0]
    return f"{parts.scheme}://{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}{parts.path}"


Reader = Callable[[str, str], object]


def _text(_name: str, text: str) -> str:
    return text


def _url(_name: str, text: str) -> str:
    """As browsers write an origin: small letters, without the scheme's own port."""
    plain = text.rstrip("/").lower()
    own = ":443" if plain.startswith("https://") else ":80"
    return plain.removesuffix(own)


def _path(_name: str, text: str) -> Path:
    return Path(text)


def _switch(name: str, text: str) -> bool:
    allowed = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}
    if text.lower() not in allowed:
        raise ConfigurationError(f"{name} is {text!r}; allowed: on, off", expression=name)
    return allowed[text.lower()]


def _whole(least: int, most: int) -> Reader:
    def read(name: str, text: str) -> int:
        if not (re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most):
            raise ConfigurationError(f"{name} is {text!r}; allowed: a whole number {least} to {most}", expression=name)
        return int(text)

    return read


def _one_of(allowed: tuple[str, ...]) -> Reader:
    def read(name: str, text: str) -> str:
        if text not in allowed:
            raise ConfigurationError(f"{name} is {text!r}; allowed: {', '.join(allowed)}", expression=name)
        return text

    return read


VARIABLES: Mapping[str, tuple[str, Reader]] = {
    "SMART_APP_PROFILE": ("profile", _one_of(PROFILES)),
    "SMART_APP_PUBLIC_URL": ("public_url", _url),
    "SMART_APP_HOST": ("host", _text),
    "SMART_APP_PORT": ("port", _whole(1, 65535)),
    "SMART_APP_WORKERS": ("workers", _whole(1, 256)),
    "SMART_APP_THREADS": ("threads", _whole(1, 256)),
    "SMART_APP_DATABASE_URL": ("database_url", _text),
    "SMART_APP_CONFIG_DIR": ("config_dir", _path),
    "SMART_APP_TERMINOLOGY_DIR": ("terminology_dir", _path),
    "SMART_APP_KEY_DIR": ("key_dir", _path),
    "SMART_APP_INSECURE_DEV": ("insecure_dev", _switch),
    "SMART_APP_SESSION_MINUTES": ("session_minutes", _whole(1, 720)),
    "SMART_APP_SESSION_HOURS": ("session_hours", _whole(1, 72)),
    "SMART_APP_KEEP_DAYS": ("keep_days", _whole(1, 3650)),
    "SMART_APP_LOG_LEVEL": ("log_level", _one_of(LOG_LEVELS)),
}

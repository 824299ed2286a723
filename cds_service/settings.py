"""Settings of one deployment. The only reader of the environment; every CDS_ name is in docs/configuration.md."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cds_service.clients import normal_base
from cds_service.environment import (
    Contradiction,
    Reader,
    as_path,
    as_seconds,
    as_switch,
    as_text,
    as_whole,
    is_loopback,
    one_of,
    read_variables,
    refuse,
    without_password,
    words,
)
from cds_service.errors import ConfigurationError

MEMORY = "memory:"
PROFILES = ("development", "production")
ROLES = ("physician", "pharmacist", "nurse", "auditor", "policy_owner")
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
LOG_LEVELS = ("debug", "info", "warning", "error")
# A parsed request is thousands of objects without a cycle, all freed by their counts: looking for cycles among them
# at Python's default of every 700 is work for nothing.
GARBAGE_THRESHOLDS = (50_000, 20, 20)

_PROJECT = Path(__file__).resolve().parents[1]
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that may differ between two deployments of the same release. Times are in the unit of the name."""

    profile: str = "development"
    public_url: str = "http://127.0.0.1:8000"  # what clients call; decides `aud`, never a request header
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    threads: int = 8
    database_url: str = "sqlite:///var/cds.sqlite3"
    config_dir: Path = _PROJECT / "config"
    clients_dir: Path = _PROJECT / "config" / "clients"
    backend_clients_dir: Path = _PROJECT / "config" / "backend_clients"
    payer_endpoints_dir: Path = _PROJECT / "config" / "payer_endpoints"  # where ClaimResponses are delivered
    smart_app_url: str = ""  # where cards send people to; none: cards have no SMART link
    token_key_file: Path = Path("var/token.key")  # signs the tokens that systems call with
    licensed_codes_dir: Path | None = None  # the licensee's own X12, HCPCS and CPT tables; none is shipped
    watermark_file: Path | None = None  # remembers how far the database was; None: see ``watermark``
    key_file: Path = Path("var/patient.key")  # keys the digest by which a patient is recognised, never an id
    readers_file: Path | None = None  # who may read stored determinations: lines "name sha256-of-token"
    metrics_token_sha256: str = ""
    insecure_dev: bool = False
    client_auth: bool = True
    discovery_auth: bool = False
    max_body_bytes: int = 5_000_000
    pas_max_body_bytes: int = 10_485_760  # requests for authorization bring their documents along
    queue_seconds: float = 1.0
    receive_seconds: int = 10
    drain_seconds: int = 20
    retention_days: int = 3650
    comment_retention_days: int = 365
    log_level: str = "info"
    oidc_issuer: str = ""  # where reviewers sign in; none: nobody does, but for the demo's people with insecure_dev
    oidc_client_id: str = ""
    oidc_client_secret_file: Path | None = None  # none: a public client
    oidc_algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "RS384", "ES384")
    oidc_hosts: tuple[str, ...] = ()  # further hosts of the identity provider's endpoints
    oidc_roles_claim: str = "roles"
    oidc_roles: tuple[tuple[str, str], ...] = ()  # (word of the identity provider, role)
    oidc_npi_claim: str = "npi"
    oidc_allow_private: bool = False
    oidc_ca_file: Path | None = None
    review_idle_minutes: int = 15
    review_session_hours: int = 10

    @property
    def in_production(self) -> bool:
        """Whether the operator says that real people's data flows."""
        return self.profile == "production"

    @property
    def in_memory(self) -> bool:
        """Whether nothing is kept: for measuring and tests."""
        return self.database_url == MEMORY

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, where there is one."""
        kind, _, path = self.database_url.partition(":///")
        return Path(path) if kind.startswith("sqlite") and path else None

    @property
    def watermark(self) -> Path:
        """Where it is remembered how far the database was (F29): beside a SQLite file, else one file per database."""
        if self.watermark_file is not None:
            return self.watermark_file
        if self.sqlite_path is not None:
            return self.sqlite_path.with_name(f"{self.sqlite_path.name}.watermark")
        digest = hashlib.sha256(without_password(self.database_url).encode()).hexdigest()[:16]
        return Path(f"var/{digest}.watermark")

    def public(self) -> dict[str, object]:
        """What `cds-service config show` prints: every setting, secrets replaced."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["database_url"] = without_password(self.database_url)
        shown["metrics_token_sha256"] = "set" if self.metrics_token_sha256 else "not set"
        return {name: str(value) if isinstance(value, Path) else value for name, value in shown.items()}


def from_env(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings of the CDS_* variables.

    An unknown CDS_ name is refused: a misspelt setting that silently does nothing is found too late.

    Raises:
        ConfigurationError: everything that is wrong, a line each, naming variable, what was found and what is allowed.
    """
    source = os.environ if environ is None else environ
    values, wrong = read_variables(source, "CDS_", VARIABLES, "docs/configuration.md")
    port = values.get("port", Settings().port)
    values.setdefault("public_url", f"http://127.0.0.1:{port}")
    values.setdefault("workers", os.cpu_count() or 1)
    if config_dir := values.get("config_dir"):
        values.setdefault("clients_dir", Path(str(config_dir)) / "clients")
        values.setdefault("backend_clients_dir", Path(str(config_dir)) / "backend_clients")
        values.setdefault("payer_endpoints_dir", Path(str(config_dir)) / "payer_endpoints")
    settings = Settings(**values)  # type: ignore[arg-type]  # each reader gives its field's type
    refuse(_contradictions(settings), wrong)
    return settings


def for_tests(**changes: object) -> Settings:
    """Settings that touch nothing outside a test: memory store, client authentication on."""
    return checked(msgspec.structs.replace(Settings(database_url=MEMORY), **changes))


def checked(settings: Settings) -> Settings:
    """The same settings; raises ConfigurationError where they contradict each other or the production profile."""
    refuse(_contradictions(settings))
    return settings


def _contradictions(settings: Settings) -> Iterator[Contradiction]:
    yield from _unusable_addresses(settings)
    if settings.in_production and settings.insecure_dev:
        yield ("CDS_INSECURE_DEV", "CDS_PROFILE"), "--insecure-dev is refused when CDS_PROFILE=production"
    if settings.in_production and settings.in_memory:
        yield ("CDS_DATABASE_URL", "CDS_PROFILE"), "CDS_DATABASE_URL=memory: keeps nothing; refused in production"
    if settings.insecure_dev and not is_loopback(settings.host):
        text = "--insecure-dev binds to loopback only: CDS_HOST must be 127.0.0.1, ::1 or localhost"
        yield ("CDS_HOST", "CDS_INSECURE_DEV"), text
    if settings.oidc_issuer and not settings.oidc_client_id:
        yield ("CDS_OIDC_CLIENT_ID",), "CDS_OIDC_CLIENT_ID is needed with CDS_OIDC_ISSUER"
    if not settings.client_auth and not settings.insecure_dev:
        yield ("CDS_CLIENT_AUTH", "CDS_INSECURE_DEV"), "CDS_CLIENT_AUTH=off works with --insecure-dev only"


def _unusable_addresses(settings: Settings) -> Iterator[Contradiction]:
    public, issuer = urlsplit(settings.public_url), urlsplit(settings.oidc_issuer)
    if public.scheme not in {"http", "https"} or not public.hostname or public.query or public.fragment:
        yield ("CDS_PUBLIC_URL",), "CDS_PUBLIC_URL must be an absolute http(s) URL without query"
    elif settings.in_production and public.scheme != "https":
        yield ("CDS_PUBLIC_URL", "CDS_PROFILE"), "CDS_PUBLIC_URL must be https when CDS_PROFILE=production"
    if settings.smart_app_url:  # a card's link leads where the operator says, or nowhere (AP-03)
        normal = normal_base(settings.smart_app_url)
        if normal is None or (settings.in_production and normal[0] != "https"):
            text = "CDS_SMART_APP_URL must be an absolute http(s) URL without query, https in production"
            yield ("CDS_SMART_APP_URL", "CDS_PROFILE"), text
    if settings.oidc_issuer and issuer.scheme not in ({"https", "http"} if settings.insecure_dev else {"https"}):
        yield ("CDS_OIDC_ISSUER", "CDS_INSECURE_DEV"), "CDS_OIDC_ISSUER must be an https URL"


def _url(_name: str, text: str) -> str:
    return text.rstrip("/")


def _roles(name: str, text: str) -> tuple[tuple[str, str], ...]:
    pairs = [entry.rpartition("=") for entry in text.split(";") if entry.strip()]
    for word, _, role in pairs:
        if not word.strip() or role.strip() not in ROLES:
            raise ConfigurationError(f"{name} must be like um-nurses=nurse;um-md=physician", expression=name)
    return tuple((word.strip(), role.strip()) for word, _, role in pairs)


def _digest(name: str, text: str) -> str:
    if not _SHA256.fullmatch(text.lower()):
        raise ConfigurationError(f"{name} must be a SHA-256 in 64 hexadecimal digits", expression=name)
    return text.lower()


VARIABLES: Mapping[str, tuple[str, Reader]] = {
    "CDS_PROFILE": ("profile", one_of(PROFILES)),
    "CDS_PUBLIC_URL": ("public_url", _url),
    "CDS_HOST": ("host", as_text),
    "CDS_PORT": ("port", as_whole(1, 65535)),
    "CDS_WORKERS": ("workers", as_whole(1, 256)),
    "CDS_THREADS": ("threads", as_whole(1, 256)),
    "CDS_DATABASE_URL": ("database_url", as_text),
    "CDS_CONFIG_DIR": ("config_dir", as_path),
    "CDS_CLIENTS_DIR": ("clients_dir", as_path),
    "CDS_BACKEND_CLIENTS_DIR": ("backend_clients_dir", as_path),
    "CDS_PAYER_ENDPOINTS_DIR": ("payer_endpoints_dir", as_path),
    "CDS_SMART_APP_URL": ("smart_app_url", _url),
    "CDS_TOKEN_KEY_FILE": ("token_key_file", as_path),
    "CDS_KEY_FILE": ("key_file", as_path),
    "CDS_WATERMARK_FILE": ("watermark_file", as_path),
    "CDS_LICENSED_CODES_DIR": ("licensed_codes_dir", as_path),
    "CDS_READERS_FILE": ("readers_file", as_path),
    "CDS_METRICS_TOKEN_SHA256": ("metrics_token_sha256", _digest),
    "CDS_INSECURE_DEV": ("insecure_dev", as_switch),
    "CDS_CLIENT_AUTH": ("client_auth", as_switch),
    "CDS_DISCOVERY_AUTH": ("discovery_auth", as_switch),
    "CDS_MAX_BODY_BYTES": ("max_body_bytes", as_whole(1_000, 100_000_000)),
    "CDS_PAS_MAX_BODY_BYTES": ("pas_max_body_bytes", as_whole(1_000, 100_000_000)),
    "CDS_QUEUE_SECONDS": ("queue_seconds", as_seconds),
    "CDS_RECEIVE_SECONDS": ("receive_seconds", as_whole(1, 120)),
    "CDS_DRAIN_SECONDS": ("drain_seconds", as_whole(1, 300)),
    "CDS_RETENTION_DAYS": ("retention_days", as_whole(1, 36_500)),
    "CDS_COMMENT_RETENTION_DAYS": ("comment_retention_days", as_whole(1, 36_500)),
    "CDS_LOG_LEVEL": ("log_level", one_of(LOG_LEVELS)),
    "CDS_OIDC_ISSUER": ("oidc_issuer", as_text),
    "CDS_OIDC_CLIENT_ID": ("oidc_client_id", as_text),
    "CDS_OIDC_CLIENT_SECRET_FILE": ("oidc_client_secret_file", as_path),
    "CDS_OIDC_ALGORITHMS": ("oidc_algorithms", words(SIGNATURES)),
    "CDS_OIDC_HOSTS": ("oidc_hosts", words()),
    "CDS_OIDC_ROLES_CLAIM": ("oidc_roles_claim", as_text),
    "CDS_OIDC_ROLES": ("oidc_roles", _roles),
    "CDS_OIDC_NPI_CLAIM": ("oidc_npi_claim", as_text),
    "CDS_OIDC_ALLOW_PRIVATE": ("oidc_allow_private", as_switch),
    "CDS_OIDC_CA_FILE": ("oidc_ca_file", as_path),
    "CDS_REVIEW_IDLE_MINUTES": ("review_idle_minutes", as_whole(1, 60)),
    "CDS_REVIEW_SESSION_HOURS": ("review_session_hours", as_whole(1, 24)),
}

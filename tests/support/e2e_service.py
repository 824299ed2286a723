"""The whole service in this process: its web, its use cases, a real SQLite store, real tokens; no socket of its own."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from werkzeug.test import Client

from cds_service.adapters.backend_tokens import BackendTokens
from cds_service.adapters.client_auth import ClientAuthenticator
from cds_service.adapters.fhir_http import HttpFhirReader
from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.jwks import GuardedKeyFetch, KeyRing
from cds_service.adapters.policy_files import Configuration, load_configuration
from cds_service.adapters.sql.store import SqlStore
from cds_service.app import Adapters, create_app, load_rules
from cds_service.backend_clients import BackendClient
from cds_service.clients import ClientProfile
from cds_service.ports import Fetched, Grant, Store
from cds_service.settings import Settings, for_tests
from cds_service.use_cases.decide import evaluate_document
from cds_service.web.metrics import Metrics
from tests.support.crd_invariants import URL as COVERAGE_INFORMATION
from tests.support.crd_invariants import broken
from tests.support.e2e_patient import encode, no_nulls_nor_empties
from tests.support.hook_tokens import claims, ec, public, sign
from tests.support.web_twins import KeptLines

BASE = "https://payer.example.org/cds"
READER_TOKEN = "token-of-an-auditor"
CONFIG = Path(__file__).resolve().parents[2] / "config"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
VERSIONS = ("2.0", "2.2")
SYSTEM = "sample-app"  # a registered backend client
SYSTEM_SCOPES = (
    "system/Questionnaire.rs",
    "system/ValueSet.rs",
    "system/Library.rs",
    "system/Claim.cu",
    "system/Subscription.cruds",
    "system/ClaimResponse.cu",
)


@cache
def shipped() -> Configuration:
    """The configuration that ships; reading it takes a while."""
    return load_configuration(CONFIG)


def with_payer(**changes: Any) -> Configuration:
    """The shipped configuration with another choice of the payer's."""
    usual = shipped()
    return msgspec.structs.replace(usual, payer=msgspec.structs.replace(usual.payer, **changes))


class WallClock:
    """A wall clock that stands until it is set, beside the real steady clock."""

    def __init__(self, at: float = NOON) -> None:
        self.at = at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Unasked:
    """A reader that nobody should need."""

    def fetch(self, grant: Grant, queries: Mapping[str, str], deadline: float) -> Mapping[str, Fetched]:
        raise AssertionError(f"asked the EHR for {sorted(queries)}")


class Told:
    """A reader that answers as told and keeps what it was asked."""

    def __init__(self, answer: Callable[[str, str], Fetched]) -> None:
        self.answer = answer
        self.asked: list[Mapping[str, str]] = []

    def fetch(self, grant: Grant, queries: Mapping[str, str], deadline: float) -> Mapping[str, Fetched]:
        self.asked.append(dict(queries))
        return {key: self.answer(key, query) for key, query in queries.items()}


class Answer:
    """One HTTP answer of ours, looked at from outside."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status_code
        self.bytes: bytes = response.get_data()
        self.headers = response.headers

    @property
    def json(self) -> Any:
        return json.loads(self.bytes)

    @property
    def cards(self) -> list[dict[str, Any]]:
        return self.json["cards"]

    @property
    def actions(self) -> list[dict[str, Any]]:
        return self.json.get("systemActions", [])

    def information(self, number: int = 0) -> dict[str, Any]:
        """The coverage-information of one action: part name -> its value, or all values of a part that repeats."""
        held = [each for each in self.actions[number]["resource"]["extension"] if each["url"] == COVERAGE_INFORMATION]
        found: dict[str, Any] = {}
        for part in held[-1]["extension"]:
            values = [value for name, value in part.items() if name.startswith("value")] or [part.get("extension")]
            found[part["url"]] = values[0] if part["url"] not in found else [found[part["url"]], *values]
        return found

    def check(self) -> Answer:
        """What holds for every 200: no null, nothing empty but ``cards``, no broken invariant."""
        assert self.status == 200, self.bytes
        # What the client wrote is given back as it is: only what is ours is looked at.
        ours = {**self.json, "systemActions": [self._information_alone(each) for each in self.actions]}
        if not self.actions:
            del ours["systemActions"]
        assert "systemActions" in self.json or not self.actions
        assert self.json.get("systemActions") != []
        assert not no_nulls_nor_empties(ours)
        assert not [broken(action["resource"]) for action in self.actions if broken(action["resource"])]
        return self

    def _information_alone(self, action: dict[str, Any]) -> dict[str, Any]:
        extensions = action["resource"]["extension"]
        ours = [each for each in extensions if each["url"] == COVERAGE_INFORMATION]
        return {**action, "resource": {"extension": ours}}


class Service:
    """One process of the service. ``post`` sends a call with a fresh token of the client for that CRD version.

    ``reader``: a twin, "real" for reads over sockets, or nothing where nobody may ask the EHR. ``profile`` changes
    both clients' registration.
    """

    def __init__(
        self,
        database: Path,
        *,
        configuration: Configuration | None = None,
        reader: Any = None,
        store: Callable[[Store], Any] = lambda store: store,
        clock: WallClock | None = None,
        settings: Mapping[str, Any] | None = None,
        **profile: Any,
    ) -> None:
        self.database = database
        self.settings: Settings = for_tests(public_url=BASE, **(settings or {}))
        self.configuration = configuration or shipped()
        self.rules = load_rules(self.configuration, self.settings)
        self.clock = clock or WallClock()
        self.key = ec("e2e")
        self.profiles = {version: self._profile(version, profile) for version in VERSIONS}
        self.clients = {each.issuer: each for each in self.profiles.values()}
        self.systems = {
            SYSTEM: BackendClient(
                id=SYSTEM, name="Sample app", jwks={"keys": [public(self.key, "k1")]}, scopes=SYSTEM_SCOPES
            )
        }
        self.metrics = Metrics([each.id for each in self.clients.values()], ["order-sign"], shared=False)
        self.lines = KeptLines()
        self.http = GuardedHttp(insecure_dev=True)
        self.fhir = HttpFhirReader(self.http, self.clock, self.metrics.event)
        self.sql = SqlStore(f"sqlite:///{database}")
        self.store = store(self.sql)
        self.web = self._web(self.fhir if reader == "real" else reader)

    def _profile(self, version: str, changes: Mapping[str, Any]) -> ClientProfile:
        usual: dict[str, Any] = {
            "id": f"ehr-{version}",
            "name": "Example EHR",
            "issuer": f"https://ehr-{version}.example.org",
            "jwks": {"keys": [public(self.key, "k1")]},
            "crd_version": version,
            "fhir_servers": ("https://ehr.example.org/fhir",),
        }
        return ClientProfile(**{**usual, **changes})

    def _web(self, reader: Any) -> Client:
        keys = KeyRing(GuardedKeyFetch(self.http, self.clock), self.clock, self.metrics.event)
        self.systems_door = BackendTokens(
            self.systems,
            KeyRing(GuardedKeyFetch(self.http, self.clock), self.clock),
            self.sql,
            ec("tokens"),
            clock=self.clock,
            new_id=lambda: str(uuid.uuid4()),
            public_url=BASE,
        )
        world = Adapters(
            configuration=self.configuration,
            clients=self.clients,
            authenticator=ClientAuthenticator(self.clients, keys, self.clock, self.metrics.event),
            store=self.store,
            systems=self.systems_door,
            reader=reader if reader is not None else Unasked(),
            clock=self.clock,
            key=b"k" * 32,
            readers={sha256(READER_TOKEN.encode()).hexdigest(): "auditor"},
            metrics=self.metrics,
            writer=self.lines,
        )
        self.application = create_app(self.settings, world)
        return Client(self.application)

    def token(self, path: str = "order-sign", version: str = "2.0", jti: str | None = None, **changes: Any) -> str:
        """A fresh token for one address of ours."""
        usual = {
            "iss": self.profiles[version].issuer,
            "aud": f"{BASE}/cds-services/{path}",
            "iat": int(self.clock.at),
            "exp": int(self.clock.at) + 300,
            "jti": jti or str(uuid.uuid4()),
        }
        return sign(self.key, claims(**{**usual, **changes}))

    def post(
        self, body: Any, version: str = "2.0", *, path: str = "order-sign", jti: str | None = None, **changes: Any
    ) -> Answer:
        """Send a call (bytes as they are); ``changes`` are claims of its token."""
        token = self.token(path, version, jti, **changes)
        return self.send(f"/cds-services/{path}", body, token)

    def send(self, path: str, body: Any, token: str) -> Answer:
        """POST JSON to any path."""
        data = body if isinstance(body, bytes) else encode(body)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with Client(self.application).post(path, data=data, headers=headers) as response:
            return Answer(response)

    def system_assertion(self, **changes: Any) -> str:
        """A fresh assertion of the registered backend client; ``changes`` are claims."""
        now = int(self.clock.at)
        usual = {"iss": SYSTEM, "sub": SYSTEM, "aud": f"{BASE}/oauth/token", "iat": now, "exp": now + 300}
        return sign(self.key, claims(**{**usual, "jti": str(uuid.uuid4()), **changes}))

    def system_token(self, scope: str = " ".join(SYSTEM_SCOPES), **changes: Any) -> str:
        """An access token of the registered backend client, got as it would get it."""
        answer = self.ask_token(
            grant_type="client_credentials",
            scope=scope,
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion=self.system_assertion(**changes),
        )
        assert answer.status == 200, answer.bytes
        token: str = answer.json["access_token"]
        return token

    def ask_token(self, **form: Any) -> Answer:
        """Send a form to the token endpoint."""
        with Client(self.application).post("/oauth/token", data=form) as response:
            return Answer(response)

    def get(self, path: str, token: str = READER_TOKEN) -> Answer:
        """GET as a reader."""
        with self.web.get(path, headers={"Authorization": f"Bearer {token}"}) as response:
            return Answer(response)

    def determined(self, body: Any, fetched: Any = None) -> dict[str, Any]:
        """What `evaluate` says of the same body, on the same day."""
        data = body if isinstance(body, bytes) else encode(body)
        return json.loads(evaluate_document(data, self.rules, self.clock.now().date(), fetched))

    def last(self) -> dict[str, Any]:
        """The log line of the latest call."""
        return msgspec.structs.asdict(self.lines.lines[-1])

    def close(self) -> None:
        self.fhir.close()
        self.http.close()
        self.sql.close()


@contextmanager
def running(database: Path, **settings: Any) -> Iterator[Service]:
    """One process, closed in the end."""
    service = Service(database, **settings)
    try:
        yield service
    finally:
        service.close()

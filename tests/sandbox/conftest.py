"""One sandbox behind a real socket, with a clock that tests may set, and an app that is registered there."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import requests
from flask import Flask
from werkzeug.serving import make_server

from sandbox_ehr.app import Settings, create_app
from sandbox_ehr.smart.apps import App
from sandbox_ehr.smart.launches import Launch
from tests.support.smart_client import ASSERTION_TYPE, SmartClient, query_of
from tests.support.web_server import free_port


class Clock:
    """The real time, moved by ``ahead``."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def seconds(self) -> float:
        return self().timestamp()


class Sandbox:
    """The running sandbox and its parts."""

    def __init__(self, base: str, app: Flask, clock: Clock, client: SmartClient, other: SmartClient) -> None:
        self.base, self.app, self.clock, self.client, self.other = base, app, clock, client, other

    def launch(self, client: SmartClient | None = None, patient: str = "trial-facts-missing", **more) -> str:
        """A launch handle as the EHR makes it."""
        app = self.app.extensions["smart"].apps.get((client or self.client).client_id)
        start = {"client_id": app.client_id, "user": "dr-sample", "patient": patient, "encounter": f"{patient}-1"}
        address = self.app.extensions["smart"].launches.start(app, Launch(**{**start, **more}))
        return query_of(address)["launch"]


def _registered(client: SmartClient) -> App:
    return App(
        client_id=client.client_id,
        name=f"App {client.client_id}",
        launch_url=client.launch_url,
        redirect_uris=(client.redirect_uri,),
        jwks=client.jwks(),
    )


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    clock, port = Clock(), free_port()
    base = f"http://127.0.0.1:{port}"
    client, other = (SmartClient(name, base, clock.seconds) for name in ("app", "other"))
    settings = Settings(
        var=tmp_path_factory.mktemp("sandbox"),
        base_url=base,
        cds_url="http://127.0.0.1:9",
        cds_base="http://127.0.0.1:9",
        apps=(_registered(client), _registered(other)),
    )
    app = create_app(settings, clock, lambda: str(uuid.uuid4()))
    with served(app, port):
        yield Sandbox(base, app, clock, client, other)


@contextmanager
def served(app: Flask, port: int) -> Iterator[None]:
    """The app behind a real socket, a thread for each call."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def sandbox(running: Sandbox) -> Iterator[Sandbox]:
    yield running
    running.clock.ahead = timedelta()


@pytest.fixture
def later(sandbox: Sandbox) -> Callable[[float], None]:
    def move(seconds: float) -> None:
        sandbox.clock.ahead += timedelta(seconds=seconds)

    return move


class PayerEnd:
    """The payer's FHIR endpoint of a sandbox that was started with --faults, and the key of its one client."""

    def __init__(self, base: str, signer: SmartClient) -> None:
        self.base, self.signer = f"{base}/payer-fhir", signer
        self.page = f"{base}/payer"
        self.http = requests.Session()
        self.http.trust_env = False

    def assertion(self, **changes) -> str:
        return self.signer.assertion(**{"aud": f"{self.base}/oauth/token", **changes})

    def token(self, **form) -> requests.Response:
        good = {
            "grant_type": "client_credentials", "scope": "system/ClaimResponse.cruds",
            "client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion(),
        }  # fmt: skip
        body = {name: value for name, value in {**good, **form}.items() if value is not None}
        return self.http.post(f"{self.base}/oauth/token", data=body, timeout=10)

    def call(self, method: str, path: str, **options) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.bearer}", **options.pop("headers", {})}
        return self.http.request(method, f"{self.base}{path}", headers=headers, timeout=10, **options)

    def behave(self, **behaviour) -> None:
        assert self.http.post(f"{self.base}/$faults", json=behaviour, timeout=10).status_code == 200

    def receipts(self) -> dict[str, dict]:
        return {one["id"]: one for one in self.http.get(f"{self.base}/$receipts", timeout=10).json()}


@pytest.fixture(scope="session")
def payer_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PayerEnd]:
    clock, port, keys_port = Clock(), free_port(), free_port()
    base = f"http://127.0.0.1:{port}"
    signer = SmartClient("payer-delivery", base, clock.seconds)
    key_app = Flask("keys")
    key_app.add_url_rule("/jwks.json", view_func=signer.jwks, endpoint="jwks")
    settings = Settings(
        var=tmp_path_factory.mktemp("payer"),
        base_url=base,
        cds_url="http://127.0.0.1:9",
        cds_base="http://127.0.0.1:9",
        payer_jwks_url=f"http://127.0.0.1:{keys_port}/jwks.json",
        faults=True,
    )
    app = create_app(settings, clock, lambda: str(uuid.uuid4()))
    with served(key_app, keys_port), served(app, port):
        end = PayerEnd(base, signer)
        end.bearer = end.token().json()["access_token"]
        yield end


@pytest.fixture
def payer(payer_end: PayerEnd) -> Iterator[PayerEnd]:
    yield payer_end
    payer_end.behave()

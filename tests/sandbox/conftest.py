"""One sandbox behind a real socket, with a clock that tests may set, and an app that is registered there."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from werkzeug.serving import make_server

from sandbox_ehr.app import Settings, create_app
from sandbox_ehr.smart.apps import App
from sandbox_ehr.smart.launches import Launch
from tests.support.smart_client import SmartClient, query_of
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
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Sandbox(base, app, clock, client, other)
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

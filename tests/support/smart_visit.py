"""The app under test with a clock of its own, and a browser's way through a launch."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import requests
import yaml
from flask import Flask
from werkzeug.test import Client, TestResponse

from cds_service.adapters.guarded_http import GuardedHttp
from smart_app.adapters.database import upgrade
from smart_app.adapters.keys import AppKeys
from smart_app.app import create_app
from smart_app.settings import Settings
from smart_app.web.parts import Parts
from smart_app.world import World
from tests.support.smart_ehr import CLIENT, SmartEhr

PUBLIC = "https://app.example.net"


class MovableClock:
    """The wall clock, moved forward by tests; the steady one moves with it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return time.monotonic()

    def forward(self, **span: float) -> None:
        self.ahead += timedelta(**span)


class AppUnderTest:
    """One app with its own database and registrations; ``another_process`` is a second one over the same database."""

    def __init__(self, var: Path, key_dir: Path, keys: AppKeys | None = None, **settings: Any) -> None:
        self.var = var
        self.keys = keys  # read already: reading them is slow
        self.clock = MovableClock()
        usual = {
            "public_url": PUBLIC,
            "database_url": f"sqlite:///{var / 'app.sqlite3'}",
            "config_dir": var / "config",
            "key_dir": key_dir,
            "insecure_dev": True,
        }
        self.settings = Settings(**{**usual, **settings})
        self.http = GuardedHttp(insecure_dev=self.settings.insecure_dev)
        self._flask: Flask | None = None

    def register(self, ehr: SmartEhr, ident: str = "ehr", **changes: Any) -> None:
        """An EHR file; ``changes`` of None take a setting away."""
        profile = {
            "id": ident,
            "name": f"Example {ident}",
            "iss": ehr.iss,
            "client_id": CLIENT,
            "frame_origins": ["https://ehr.example.org"],
            "allow_private": True,
            "allow_http": ehr.tls is None,
        } | changes
        write_yaml(self.settings.config_dir / "ehrs" / f"{ident}.yaml", profile)

    def world(self) -> World:
        return World(
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            sleep=time.sleep,
            new_id=lambda: secrets.token_hex(8),
            new_secret=lambda: secrets.token_urlsafe(32),
            random_bytes=secrets.token_bytes,
            http=self.http,
        )

    @property
    def flask(self) -> Flask:
        if self._flask is None:
            upgrade(self.settings.database_url)
            self._flask = create_app(self.settings, self.world(), self.keys)
        return self._flask

    @property
    def parts(self) -> Parts:
        return self.flask.extensions["smart_app"]

    def another_process(self) -> Flask:
        return create_app(self.settings, self.world(), self.keys)

    def browser(self, framed: bool = False) -> Browser:
        return Browser(self.flask, framed=framed)

    def close(self) -> None:
        if self._flask is not None:
            self.parts.store.close()
        self.http.close()


def write_yaml(path: Path, members: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({k: v for k, v in members.items() if v is not None}))


class Browser:
    """Keeps cookies, follows the app's redirects by hand, and goes to the EHR over the network."""

    def __init__(self, app: Flask, *, framed: bool = False) -> None:
        self.app = app
        self.client = Client(app)
        self.headers = {"Sec-Fetch-Dest": "iframe" if framed else "document"}
        self.authorize_url = ""
        self.callback_url = ""

    def get(self, path: str, **headers: str) -> TestResponse:
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.get(path, base_url=PUBLIC, headers=given, buffered=True)

    def post(self, path: str, data: Mapping[str, str] | None = None, **headers: str) -> TestResponse:
        given = {**self.headers, "Sec-Fetch-Site": "same-origin", **headers}
        return self.client.post(path, base_url=PUBLIC, data=data or {}, headers=given)

    def begin(self, ehr: SmartEhr, launch: str = "launch-1", iss: str = "") -> TestResponse:
        """From the EHR's link to the redirect to the EHR, or to the page that says why not."""
        values = {"iss": iss or ehr.iss, **({"launch": launch} if launch else {})}
        response = self.get(f"/launch?{urlencode(values)}")
        if response.status_code == 303:
            response = self.get(response.location)
        if response.status_code == 303:
            self.authorize_url = response.location
        return response

    def asked(self) -> dict[str, str]:
        """The parameters of the authorization request."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.authorize_url).query).items()}

    def authorize(self, ca_file: str | None = None) -> str:
        """At the EHR; the path of the callback."""
        answer = requests.get(self.authorize_url, allow_redirects=False, timeout=10, verify=ca_file or True)
        assert answer.status_code == 302, answer.text
        parts = urlsplit(answer.headers["Location"])
        self.callback_url = f"{parts.path}?{parts.query}"
        return self.callback_url

    def launch(self, ehr: SmartEhr, launch: str = "launch-1", ca_file: str | None = None) -> TestResponse:
        """The whole way; the answer to the callback, or whatever stopped it before."""
        response = self.begin(ehr, launch)
        return self.get(self.authorize(ca_file)) if response.status_code == 303 else response

    def open(self, ehr: SmartEhr, launch: str = "launch-1", ca_file: str | None = None) -> str:
        """The whole way; the id of the open launch."""
        response = self.launch(ehr, launch, ca_file)
        assert response.status_code == 303, response.text
        assert response.location.endswith("/start")
        return response.location.split("/")[2]

    def cookie(self, launch_id: str) -> str:
        found = self.client.get_cookie(f"__Host-smart-launch-{launch_id}", domain="app.example.net")
        return found.value if found else ""

    def csrf(self, launch_id: str) -> str:
        page = self.get(f"/l/{launch_id}/about").text
        return page.split('name="csrf_token" value="')[1].split('"')[0]


def set_cookies(response: TestResponse) -> dict[str, str]:
    """Name -> whole Set-Cookie line."""
    return {line.split("=", 1)[0]: line for line in response.headers.getlist("Set-Cookie")}


def reason_of(caplog: Any) -> str:
    """The reason word of the last page of trouble."""
    return [each.reason for each in caplog.records if each.msg == "page of trouble"][-1]


def profile_of(app: AppUnderTest, ident: str = "ehr", **changes: Any) -> Any:
    return msgspec.structs.replace(app.parts.registry.ehrs[ident], **changes)

"""Launch handles: what the EHR knows of a launch, kept until the app asks for its authorization."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

import msgspec

from sandbox_ehr.smart.apps import App
from sandbox_ehr.smart.memory import OAuthMemory
from sandbox_ehr.smart.refusals import Refusal

SECONDS = 300
KIND = "launch"


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """Who starts which app for whom. Ids, or ""; ``banner``: whether the app itself must show whose chart it is."""

    client_id: str
    user: str
    patient: str
    encounter: str = ""
    fhir_context: tuple[dict[str, str], ...] = ()
    app_context: str | None = None
    banner: bool = True


class Launches(msgspec.Struct, frozen=True):
    """Makes and redeems launch handles."""

    memory: OAuthMemory
    iss: str  # the FHIR base
    now: Callable[[], datetime]

    def start(self, app: App, launch: Launch) -> str:
        """The address that the browser is sent to: the app's launch URL with ``iss`` and an opaque handle."""
        handle = secrets.token_urlsafe(32)
        body = msgspec.json.encode(launch).decode()
        self.memory.put(KIND, handle, body, now=self.now().timestamp(), seconds=SECONDS)
        joint = "&" if "?" in app.launch_url else "?"
        return f"{app.launch_url}{joint}{urlencode({'iss': self.iss, 'launch': handle})}"

    def redeem(self, app: App, handle: str) -> Launch:
        """The launch of a handle, which works once, within five minutes, for its app. Raises Refusal."""
        now = self.now().timestamp()
        held = self.memory.peek(KIND, handle, now)
        launch = msgspec.json.decode(held.body, type=Launch) if held else None
        if launch is None or launch.client_id != app.client_id:
            raise Refusal("invalid_request", "launch is not a launch of this app.")
        used = self.memory.use(KIND, handle, now)
        if used is None or not used.fresh:
            raise Refusal("invalid_request", "launch was used before, or is older than five minutes.")
        return launch

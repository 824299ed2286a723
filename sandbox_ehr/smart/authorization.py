"""The authorization request, checked to the letter, and the code that answers it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

import msgspec
from werkzeug.datastructures import MultiDict

from sandbox_ehr.scopes import granted
from sandbox_ehr.smart.apps import App, Apps
from sandbox_ehr.smart.launches import Launch
from sandbox_ehr.smart.memory import Grant, OAuthMemory
from sandbox_ehr.smart.refusals import NotRedirectable, Refusal

CODE_SECONDS = 60
CODE = "code"
LONGEST_VALUE = 4_000  # characters
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_NEEDED = ("response_type", "client_id", "redirect_uri", "scope", "state", "aud", "code_challenge")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An authorization request that may be answered."""

    app: App
    redirect_uri: str
    state: str
    scopes: str  # what will be granted
    challenge: str
    launch: str = ""  # handle of an EHR launch
    nonce: str = ""

    @property
    def needs_patient(self) -> bool:
        """Whether somebody has to pick the patient."""
        held = self.scopes.split()
        return not self.launch and any(one.startswith(("launch/", "patient/")) for one in held)


class IssuedCode(msgspec.Struct, frozen=True):
    """What a code stands for."""

    grant: Grant
    redirect_uri: str
    challenge: str


def sender(apps: Apps, query: MultiDict[str, str]) -> tuple[App, str]:
    """App and redirect address. Raises NotRedirectable unless both are registered together, byte for byte."""
    clients, addresses = query.getlist("client_id"), query.getlist("redirect_uri")
    app = apps.get(clients[0]) if len(clients) == 1 else None
    if app is None:
        raise NotRedirectable("This app is not registered here.")
    if len(addresses) != 1 or addresses[0] not in app.redirect_uris:
        raise NotRedirectable("The app asked to be answered at an address that is not registered for it.")
    return app, addresses[0]


def check(app: App, redirect_uri: str, query: MultiDict[str, str], audience: str) -> Request:
    """The request of a known sender. Raises Refusal, which the sender is told."""
    _one_of_each(query)
    if query["response_type"] != "code":
        raise Refusal("unsupported_response_type", "response_type is code.")
    if query["aud"] != audience:
        raise Refusal("invalid_request", "aud is not the FHIR base of this server.")
    if query.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(query["code_challenge"]):
        raise Refusal("invalid_request", "code_challenge with method S256 is needed: 43 base64url characters.")
    asked = query["scope"].split()
    if ("launch" in asked) != ("launch" in query):
        raise Refusal("invalid_request", "scope launch and parameter launch belong together.")
    scopes = granted(query["scope"], app.scopes)
    if not scopes:
        raise Refusal("invalid_scope", "Nothing of the requested scope is open to this app.")
    return Request(
        app=app,
        redirect_uri=redirect_uri,
        state=query["state"],
        scopes=scopes,
        challenge=query["code_challenge"],
        launch=query.get("launch", ""),
        nonce=query.get("nonce", ""),
    )


def _one_of_each(query: MultiDict[str, str]) -> None:
    twice = sorted(name for name in query if len(query.getlist(name)) > 1)
    if twice:
        raise Refusal("invalid_request", "A parameter is given more than once.")
    missing = [name for name in _NEEDED if not query.get(name)]
    if missing:
        raise Refusal("invalid_request", f"Missing: {', '.join(missing)}.")
    if any(len(value) > LONGEST_VALUE for value in query.values()):
        raise Refusal("invalid_request", f"A parameter is longer than {LONGEST_VALUE} characters.")


class Codes(msgspec.Struct, frozen=True):
    """Issues authorization codes."""

    memory: OAuthMemory
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def answer(self, request: Request, launch: Launch) -> str:
        """The address that carries code and state back to the app."""
        grant = Grant(
            id=self.new_id(),
            client_id=request.app.client_id,
            user=launch.user,
            scopes=request.scopes,
            patient=launch.patient,
            encounter=launch.encounter,
            fhir_context=launch.fhir_context,
            app_context=launch.app_context,
            banner=launch.banner,
            nonce=request.nonce,
        )
        code = secrets.token_urlsafe(32)
        body = msgspec.json.encode(IssuedCode(grant, request.redirect_uri, request.challenge)).decode()
        self.memory.put(CODE, code, body, now=self.now().timestamp(), seconds=CODE_SECONDS)
        return back_to(request.redirect_uri, code=code, state=request.state)


def back_to(redirect_uri: str, **values: str) -> str:
    """The redirect address with more parameters; those that it has by registration stay."""
    joint = "&" if "?" in redirect_uri else "?"
    return f"{redirect_uri}{joint}{urlencode({name: value for name, value in values.items() if value})}"

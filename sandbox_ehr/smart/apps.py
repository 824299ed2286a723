"""Apps that are registered at this EHR: who they are, where they may be sent, what they may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import yaml

from sandbox_ehr.smart.client_keys import Client

ALGORITHMS = ("ES384", "RS384")
SCOPES = (
    "launch launch/patient launch/encounter openid fhirUser offline_access online_access "
    "patient/*.rs patient/QuestionnaireResponse.crus "
    "patient/ClaimResponse.crus patient/Task.crus patient/DocumentReference.crus "
    "user/Practitioner.rs user/PractitionerRole.rs user/Organization.rs"
)


class AppFileRefused(ValueError):
    """A registration cannot be used; the text names the file and what is allowed."""


class App(Client, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One app that may be launched."""

    name: str
    launch_url: str  # a card's SMART link must be this, byte for byte
    redirect_uris: tuple[str, ...]
    scopes: str = SCOPES
    identity_algorithm: Literal["RS256", "ES384"] = "RS256"  # of its id_tokens

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins that its pages come from."""
        urls = (self.launch_url, *self.redirect_uris)
        return tuple(dict.fromkeys("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in urls))


class Apps:
    """All registered apps by client id."""

    def __init__(self, apps: tuple[App, ...]) -> None:
        self._by_id = {app.client_id: app for app in apps}
        if len(self._by_id) != len(apps):
            raise AppFileRefused("two apps have the same client_id; allowed: each client_id once")

    def get(self, client_id: str) -> App | None:
        """The app of this client id, or None."""
        return self._by_id.get(client_id)

    def all(self) -> tuple[App, ...]:
        """Every app, in order of registration."""
        return tuple(self._by_id.values())

    def launched_at(self, url: str) -> App | None:
        """The app whose launch URL this is: nothing else is launched, whatever a card says."""
        return next((app for app in self._by_id.values() if app.launch_url == url), None)

    def origins(self) -> tuple[str, ...]:
        """Every origin of every app."""
        return tuple(dict.fromkeys(origin for app in self._by_id.values() for origin in app.origins))


def demo_app(url: str) -> App:
    """The app of this product, where ``url`` is its base."""
    base = url.rstrip("/")
    return App(
        client_id="intrathecal-app",
        name="Coverage questionnaire",
        launch_url=f"{base}/launch",
        redirect_uris=(f"{base}/callback",),
        jwks_url=f"{base}/.well-known/jwks.json",
    )


def read_apps(directory: Path) -> tuple[App, ...]:
    """Every ``*.yaml`` of ``directory``, each one app. Raises AppFileRefused."""
    return tuple(_read(path) for path in sorted(directory.glob("*.yaml")))


def _read(path: Path) -> App:
    try:
        app = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), App)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise AppFileRefused(f"{path.name}: {error}") from None
    urls = (app.launch_url, *app.redirect_uris, *filter(None, (app.jwks_url,)))
    if not all(urlsplit(url).scheme in {"http", "https"} and urlsplit(url).netloc for url in urls):
        raise AppFileRefused(f"{path.name}: launch_url, redirect_uris and jwks_url are absolute http(s) addresses")
    if bool(app.jwks_url) == (app.jwks is not None):
        raise AppFileRefused(f"{path.name}: exactly one of jwks_url and jwks is needed")
    if not set(app.algorithms) <= set(ALGORITHMS) or not app.algorithms:
        raise AppFileRefused(f"{path.name}: algorithms are of {', '.join(ALGORITHMS)}")
    return app

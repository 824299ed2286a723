"""The web application: wiring, and what every answer carries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from flask import Flask, Response, abort, current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from sandbox_ehr import acting, fhir_metadata, form_view, launching, order_entry, payer_system
from sandbox_ehr.cds_client import CdsClient
from sandbox_ehr.fhir_api import outcome
from sandbox_ehr.keys import Keys, load_or_make, public_set
from sandbox_ehr.order_words import day_words, dosage_of, name_of, unit_words
from sandbox_ehr.ordering import Ordering
from sandbox_ehr.patients import everything, samples
from sandbox_ehr.payer_access import CLIENT_ID, Door
from sandbox_ehr.payer_faults import Faults
from sandbox_ehr.payer_inbox import PayerInbox
from sandbox_ehr.smart import endpoints
from sandbox_ehr.smart.apps import App, Apps
from sandbox_ehr.smart.assertions import Assertions
from sandbox_ehr.smart.client_keys import Client, ClientKeys
from sandbox_ehr.smart.memory import OAuthMemory
from sandbox_ehr.smart.server import smart_server
from sandbox_ehr.store import Store
from sandbox_ehr.tokens import Tokens

LARGEST_FORM = 200_000  # bytes
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


class Settings(msgspec.Struct, frozen=True):
    """How this sandbox is run."""

    var: Path  # keys and database
    base_url: str  # how others reach the sandbox
    cds_url: str  # where the CDS service listens
    cds_base: str  # the public base URL that the CDS service knows itself by
    apps: tuple[App, ...] = ()  # what may be launched here
    payer_jwks_url: str = ""  # keys of the payer's service, for the payer's FHIR endpoint
    open_payer_endpoint: bool = False
    faults: bool = False  # tests may make the payer's FHIR endpoint misbehave


def create_app(settings: Settings, now: Callable[[], datetime], new_id: Callable[[], str]) -> Flask:
    """Wire one sandbox. Loads the sample patients as they are on the day of ``now``."""
    app = Flask(__name__)
    app.config.update(BASE_URL=settings.base_url, MAX_CONTENT_LENGTH=LARGEST_FORM, AS_OF=now().date())
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(day=day_words, order_name=name_of, dosage=dosage_of, unit=unit_words)
    keys = load_or_make(settings.var / "keys")
    store = Store(settings.var / "sandbox.sqlite")
    memory, apps = OAuthMemory(settings.var / "oauth.sqlite"), Apps(settings.apps)
    tokens = Tokens(
        key=keys.access,
        issuer=settings.base_url,
        audience=f"{settings.base_url}/fhir",
        now=now,
        new_id=new_id,
        alive=lambda grant: memory.grant(grant, now().timestamp()) is not None,
    )
    cds = CdsClient(
        settings.cds_url, audience=settings.cds_base, issuer=settings.base_url, keys=keys, now=now, new_id=new_id
    )
    patients = samples(app.config["AS_OF"])
    app.extensions.update(
        store=store,
        tokens=tokens,
        samples=patients,
        smart=smart_server(settings.base_url, keys, apps, memory, tokens, now=now, new_id=new_id),
        now=now,
        new_id=new_id,
        app_origins=apps.origins(),
        ordering=Ordering(store=store, client=cds, tokens=tokens, base_url=settings.base_url, now=now, new_id=new_id),
    )
    store.load_samples(everything(app.config["AS_OF"]))
    app.extensions.update(_payer(settings, keys, memory, now, new_id))
    for part in (fhir_metadata, endpoints, acting, order_entry, form_view, launching, payer_system):
        app.register_blueprint(part.blueprint)
    app.add_url_rule("/livez", view_func=lambda: jsonify(status="ok"), endpoint="livez")
    app.add_url_rule("/jwks.json", view_func=lambda: jsonify(public_set(keys)), endpoint="jwks")
    app.register_error_handler(HTTPException, _error_page)
    app.before_request(_own_origin_only)
    app.after_request(_headers)
    return app


def _payer(
    settings: Settings, keys: Keys, memory: OAuthMemory, now: Callable[[], datetime], new_id: Callable[[], str]
) -> dict[str, Any]:
    """The payer's FHIR endpoint: its store, its door, its behaviour."""
    base = f"{settings.base_url}{payer_system.BASE}"
    client = Client(client_id=CLIENT_ID, jwks_url=settings.payer_jwks_url) if settings.payer_jwks_url else None
    assertions = Assertions(f"{base}/oauth/token", ClientKeys(now), memory, now)
    return {
        "payer_inbox": PayerInbox(settings.var / "payer.sqlite", new_id),
        "payer_faults": Faults(),
        "payer_tests": settings.faults,
        "payer_door": Door(
            base=base,
            key=keys.access,
            client=client,
            open=settings.open_payer_endpoint,
            assertions=assertions,
            now=now,
        ),
    }


_SORRY = {
    403: ("Not from here", "Orders are taken from the sandbox's own pages only."),
    404: ("Not found", "There is no such patient, order or page."),
    413: ("Too much", "The form is larger than an order can be."),
}


def _error_page(error: HTTPException) -> tuple[str, int] | Response:
    status = error.code or 500
    if request.path.startswith(("/fhir", payer_system.BASE)):
        return outcome(status, "not-found" if status == 404 else "processing", error.name)
    heading, words = _SORRY.get(status, ("That did not work", "The sandbox could not do this. Please go back."))
    return render_template("error.html", heading=heading, words=words), status


# Called by programs with proof of their own, not by pages with a visitor's cookies.
_BY_PROGRAMS = ("/fhir", "/payer-fhir", "/oauth/token", "/oauth/revoke", "/oauth/introspect")


def _own_origin_only() -> None:
    """No other web site may use a visitor's browser to write orders here."""
    if request.method != "POST" or request.path.startswith(_BY_PROGRAMS):
        return
    own = urlsplit(order_entry.base_url())
    port = f":{own.port}" if own.port else ""
    allowed = {own.netloc, f"localhost{port}", f"127.0.0.1{port}"}
    origin = request.headers.get("Origin", f"//{own.netloc}").partition("//")[2]
    if not {origin, request.host} <= allowed:
        abort(403)


def _headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    response.headers["Content-Security-Policy"] = _policy()
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


def _policy() -> str:
    """Own resources only. A launch ends at the app, so forms may lead there; the app alone is framed."""
    apps = "".join(f" {origin}" for origin in current_app.extensions["app_origins"])
    framed = f"'self'{apps}" if request.endpoint == "launching.embedded" else "'none'"
    # The authorization server's own pages may show inside the EHR's frame, when a launch fails there.
    around = "'self'" if request.path.startswith("/oauth/") else "'none'"
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'self'{apps}; frame-src {framed}; frame-ancestors {around}; base-uri 'none'"
    )

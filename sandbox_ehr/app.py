"""The web application: wiring, and what every answer carries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from flask import Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from sandbox_ehr import fhir_api, order_entry
from sandbox_ehr.cds_client import CdsClient
from sandbox_ehr.keys import load_or_make, public_set
from sandbox_ehr.order_words import day_words, dosage_of, name_of, unit_words
from sandbox_ehr.ordering import Ordering
from sandbox_ehr.patients import samples, staff
from sandbox_ehr.store import Store
from sandbox_ehr.tokens import Tokens

LARGEST_FORM = 200_000  # bytes
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Settings(msgspec.Struct, frozen=True):
    """How this sandbox is run."""

    var: Path  # keys and database
    base_url: str  # how others reach the sandbox
    cds_url: str  # where the CDS service listens
    cds_base: str  # the public base URL that the CDS service knows itself by


def create_app(settings: Settings, now: Callable[[], datetime], new_id: Callable[[], str]) -> Flask:
    """Wire one sandbox. Loads the sample patients as they are on the day of ``now``."""
    app = Flask(__name__)
    app.config.update(BASE_URL=settings.base_url, MAX_CONTENT_LENGTH=LARGEST_FORM, AS_OF=now().date())
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(day=day_words, order_name=name_of, dosage=dosage_of, unit=unit_words)
    keys = load_or_make(settings.var / "keys")
    store = Store(settings.var / "sandbox.sqlite")
    tokens = Tokens(keys.access, settings.base_url, f"{settings.base_url}/fhir", now, new_id)
    client = CdsClient(
        settings.cds_url, audience=settings.cds_base, issuer=settings.base_url, keys=keys, now=now, new_id=new_id
    )
    patients = samples(app.config["AS_OF"])
    app.extensions.update(
        store=store,
        tokens=tokens,
        samples=patients,
        ordering=Ordering(
            store=store, client=client, tokens=tokens, base_url=settings.base_url, now=now, new_id=new_id
        ),
    )
    load_samples(store, app.config["AS_OF"])
    app.register_blueprint(fhir_api.blueprint)
    app.register_blueprint(order_entry.blueprint)
    app.add_url_rule("/livez", view_func=lambda: jsonify(status="ok"), endpoint="livez")
    app.add_url_rule("/jwks.json", view_func=lambda: jsonify(public_set(keys)), endpoint="jwks")
    app.register_error_handler(HTTPException, _error_page)
    app.before_request(_own_origin_only)
    app.after_request(_headers)
    return app


def load_samples(store: Store, as_of: date) -> None:
    """Put the sample patients and the staff into the store."""
    store.load_samples([*staff(), *(one for sample in samples(as_of).values() for one in sample.resources)])


_SORRY = {
    403: ("Not from here", "Orders are taken from the sandbox's own pages only."),
    404: ("Not found", "There is no such patient, order or page."),
    413: ("Too much", "The form is larger than an order can be."),
}


def _error_page(error: HTTPException) -> tuple[str, int] | Response:
    status = error.code or 500
    if request.path.startswith("/fhir"):
        return fhir_api.outcome(status, "not-found" if status == 404 else "processing", error.name)
    heading, words = _SORRY.get(status, ("That did not work", "The sandbox could not do this. Please go back."))
    return render_template("error.html", heading=heading, words=words), status


def _own_origin_only() -> None:
    """No other web site may use a visitor's browser to write orders here."""
    own = urlsplit(order_entry.base_url())
    port = f":{own.port}" if own.port else ""
    allowed = {own.netloc, f"localhost{port}", f"127.0.0.1{port}"}
    origin = request.headers.get("Origin", f"//{own.netloc}").partition("//")[2]
    if request.method == "POST" and not {origin, request.host} <= allowed:
        abort(403)


def _headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response

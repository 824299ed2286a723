"""Launching an app: from a card's SMART link, from a signed order, or to go on with a saved form."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, abort, redirect, render_template, request
from werkzeug.wrappers import Response as Answer

from sandbox_ehr.acting import acting
from sandbox_ehr.card_view import Link
from sandbox_ehr.exchange import Exchange
from sandbox_ehr.parts import the_ordering, the_sample, the_server, the_store
from sandbox_ehr.search import patient_of
from sandbox_ehr.smart.apps import App
from sandbox_ehr.smart.launches import Launch

blueprint = Blueprint("launching", __name__)

# What athenahealth and others leave to an embedded app.
SANDBOX = "allow-scripts allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads"


class Start(msgspec.Struct, frozen=True):
    """Which app is started with what; ``exchange``: the order page that it is started from."""

    app: App
    fhir_context: tuple[dict[str, str], ...]
    app_context: str | None = None
    exchange: Exchange | None = None


def smart_link(link: Link) -> bool:
    """Whether a card's link is shown as a launch: only apps that are registered here are launched."""
    return link.kind == "smart" and the_server().apps.launched_at(link.url) is not None


@blueprint.get("/patients/<patient>/app")
def embedded(patient: str) -> str:
    """The app inside the EHR: the EHR's own banner says whose chart it is."""
    sample, start = the_sample(patient), _start(patient)
    return render_template(
        "app_frame.html",
        sample=sample,
        app=start.app,
        exchange=start.exchange,
        address=_address(patient, start, banner=False),
        sandbox=SANDBOX,
    )


@blueprint.post("/patients/<patient>/app")
def own_window(patient: str) -> Answer:
    """The app in a window of its own, where it has to show the patient itself."""
    the_sample(patient)
    return redirect(_address(patient, _start(patient), banner=True), 303)


def _address(patient: str, start: Start, *, banner: bool) -> str:
    launch = Launch(
        client_id=start.app.client_id,
        user=acting().id,
        patient=patient,
        encounter=the_store().current_encounter(patient),
        fhir_context=start.fhir_context,
        app_context=start.app_context,
        banner=banner,
    )
    return the_server().launches.start(start.app, launch)


def _start(patient: str) -> Start:
    ident = request.values.get("exchange", "")
    if ident:
        return _from_card(patient, ident)
    app = the_server().apps.get(request.values.get("client", ""))
    if app is None:
        abort(404)
    named = {"MedicationRequest": request.values.get("order"), "QuestionnaireResponse": request.values.get("response")}
    context = [_own(patient, kind, ident) for kind, ident in named.items() if ident]
    return Start(app, (*_coverage(patient), *context))


def _from_card(patient: str, ident: str) -> Start:
    exchange = the_ordering().load(patient, ident)
    links = [link for card in exchange.cards() for link in card.links if smart_link(link)] if exchange else []
    chosen = request.values.get("link", "0")
    if exchange is None or not chosen.isdecimal() or int(chosen) >= len(links):
        abort(404)
    link = links[int(chosen)]
    app = the_server().apps.launched_at(link.url)
    assert app is not None
    return Start(app, (*_coverage(patient), *_signed(exchange)), link.app_context, exchange)


def _signed(exchange: Exchange) -> tuple[dict[str, str], ...]:
    """The signed drug order. A draft has no address that an app could read: the card's appContext speaks of it."""
    drug = next((one for one in exchange.orders if one.startswith("MedicationRequest/")), None)
    return ({"reference": drug},) if drug else ()


def _coverage(patient: str) -> tuple[dict[str, str], ...]:
    held = the_store().of_patient(patient, "Coverage")
    return tuple({"reference": f"Coverage/{one['id']}"} for one in held[:1])


def _own(patient: str, kind: str, ident: str) -> dict[str, str]:
    found = the_store().read(kind, ident)
    if found is None or patient_of(found) != patient:
        abort(404)
    return {"reference": f"{kind}/{ident}"}


@blueprint.app_context_processor
def _for_pages() -> dict[str, Any]:
    return {"smart_link": smart_link, "apps": the_server().apps.all()}

"""The pages: sample patients, one patient's chart with the order form, and what became of an order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Blueprint, abort, current_app, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from sandbox_ehr import formulary
from sandbox_ehr.acting import acting
from sandbox_ehr.codes import COMPANIONS, INGREDIENTS, ROUTES
from sandbox_ehr.coverage_words import assertions
from sandbox_ehr.exchange import Exchange
from sandbox_ehr.fhir_json import Resource, loads, pretty
from sandbox_ehr.form_view import saved_form
from sandbox_ehr.order_form import (
    CONCENTRATION_UNITS,
    CRD_VERSIONS,
    DELIVERIES,
    DOSE_UNITS,
    LABELS,
    RATE_UNITS,
    OrderForm,
    Problem,
    problems,
    read_form,
)
from sandbox_ehr.order_words import age, code_of
from sandbox_ehr.parts import the_ordering, the_sample, the_samples, the_store
from sandbox_ehr.patients import everything
from sandbox_ehr.patients.sample import Sample
from sandbox_ehr.prefetch import MODES

blueprint = Blueprint("pages", __name__)

_CHART = (
    "Coverage", "Encounter", "Condition", "MedicationRequest", "Observation", "Procedure", "Device",
    "AllergyIntolerance", "QuestionnaireResponse", "DeviceRequest", "ServiceRequest",
)  # fmt: skip
_NEURAXIAL = frozenset({"72607000", "404820008", "418418000"})
_CHOICES = {
    "formulary": formulary.grouped(),
    "routes": ROUTES,
    "drugs": tuple(INGREDIENTS),
    "concentration_units": CONCENTRATION_UNITS,
    "rate_units": RATE_UNITS,
    "dose_units": DOSE_UNITS,
    "deliveries": DELIVERIES,
    "companions": COMPANIONS,
    "labels": LABELS,
    "prefetch_modes": MODES,
    "crd_versions": CRD_VERSIONS,
}


def base_url() -> str:
    """How others reach the sandbox."""
    return str(current_app.config["BASE_URL"])


def _exchange(patient: str, ident: str) -> Exchange:
    exchange = the_ordering().load(patient, ident)
    if exchange is None:
        abort(404)
    return exchange


@blueprint.get("/")
def patients() -> str:
    """All sample patients, by what they show."""
    groups: dict[str, list[Sample]] = {}
    for sample in the_samples().values():
        groups.setdefault(sample.group, []).append(sample)
    return render_template("patients.html", groups=groups)


@blueprint.get("/patients/<patient>")
def patient_page(patient: str) -> str:
    """The chart with the order form, filled in with the example order."""
    sample = the_sample(patient)
    form = OrderForm() if "blank" in request.args else sample.order
    return _page(sample, _current(sample, form))


@blueprint.post("/patients/<patient>/orders")
def sign(patient: str) -> Answer | tuple[str, int]:
    """Sign: the hook is fired; a form that cannot be signed comes back with what to put right."""
    sample = the_sample(patient)
    form = read_form(request.form)
    wrong = _not_a_prescriber() or problems(form)
    if wrong:
        return _page(sample, form, wrong=wrong), 422
    exchange = the_ordering().sign(patient, form, acting().id)
    return redirect(url_for("pages.order_page", patient=patient, ident=exchange.id), 303)


@blueprint.post("/patients/<patient>/orders/<ident>/again")
def sign_again(patient: str, ident: str) -> Answer | tuple[str, int]:
    """The same order once more, as after a questionnaire was filled in: what the payer says may have changed."""
    exchange = _exchange(patient, ident)
    wrong = _not_a_prescriber()
    if wrong:
        return _page(the_sample(patient), exchange.form, exchange=exchange, wrong=wrong), 422
    following = the_ordering().sign_again(exchange)
    return redirect(url_for("pages.order_page", patient=patient, ident=following.id), 303)


def _not_a_prescriber() -> tuple[Problem, ...]:
    words = "A prescriber signs orders: change who is at the keyboard at the top of the page."
    return () if acting().signs else (Problem("who", words),)


@blueprint.get("/patients/<patient>/orders/<ident>")
def order_page(patient: str, ident: str) -> str:
    """What became of an order: cards, coverage information, and the form again while a warning waits."""
    exchange = _exchange(patient, ident)
    return _page(the_sample(patient), exchange.form, exchange=exchange)


@blueprint.post("/patients/<patient>/orders/<ident>/words")
def say(patient: str, ident: str) -> Answer | tuple[str, int]:
    """A word on one or several cards: dismissed, or overridden with a reason."""
    exchange = _exchange(patient, ident)
    wrong = _not_a_prescriber() if exchange.state == "held" else ()
    if wrong:
        return _page(the_sample(patient), exchange.form, exchange=exchange, wrong=wrong), 422
    known = {card.uuid: card for card in exchange.cards() if card.uuid}
    words: dict[str, tuple[Mapping[str, str] | None, str]] = {}
    for uuid in request.form.getlist("card"):
        if uuid not in known:
            abort(400)
        chosen = request.form.get(f"reason-{uuid}", "")
        reason = next((one for one in known[uuid].reasons if one.code == chosen), None)
        comment = request.form.get(f"comment-{uuid}", "").strip()[:1000]
        words[uuid] = (msgspec.structs.asdict(reason) if reason else None, comment)
        if exchange.state == "held" and known[uuid].reasons and reason is None:
            wrong = (Problem(f"reason-{uuid}", "Choose a reason to sign all the same."),)
            return _page(the_sample(patient), exchange.form, exchange=exchange, wrong=wrong), 422
    the_ordering().say(exchange, words)
    return redirect(url_for("pages.order_page", patient=patient, ident=ident), 303)


@blueprint.post("/patients/<patient>/start-over")
def start_over(patient: str) -> Answer:
    """The patient as on the first day."""
    the_sample(patient)
    store = the_store()
    store.start_over(patient)
    store.load_samples(everything(current_app.config["AS_OF"]))
    return redirect(url_for("pages.patient_page", patient=patient), 303)


@blueprint.post("/patients/<patient>/draft")
def draft(patient: str) -> Answer:
    """The form as FHIR, for the drawer."""
    the_sample(patient)
    form = read_form(request.form)
    if problems(form):
        return jsonify(draft="")
    return jsonify(draft="\n\n".join(pretty(order) for order in the_ordering().drafts(patient, form)))


@blueprint.post("/patients/<patient>/select")
def select(patient: str) -> Answer:
    """Fire order-select while the form is being filled in."""
    the_sample(patient)
    form = read_form(request.form)
    if problems(form):
        return jsonify(status=0, milliseconds=0)
    status, milliseconds = the_ordering().select(patient, form, acting().id)
    return jsonify(status=status, milliseconds=milliseconds)


def _page(sample: Sample, form: OrderForm, *, exchange: Exchange | None = None, wrong: tuple[Problem, ...] = ()) -> str:
    store = the_store()
    chart = {kind: store.of_patient(sample.id, kind) for kind in _CHART}
    person = store.read("Patient", sample.id) or {}
    return render_template(
        "patient.html",
        sample=sample,
        form=form,
        exchange=exchange,
        outcome=_outcome(exchange) if exchange else None,
        wrong=_first_by_field(wrong),
        chart=chart,
        person={**person, "age": age(person["birthDate"], current_app.config["AS_OF"])},
        running=_running(chart["MedicationRequest"]),
        forms=[saved_form(one) for one in chart["QuestionnaireResponse"]],
        history=the_ordering().history(sample.id),
        code_of=code_of,
        **_CHOICES,
    )


def _outcome(exchange: Exchange) -> dict[str, Any]:
    return {
        "cards": exchange.cards(),
        "waiting": {card.uuid for card in exchange.waiting()} if exchange.state == "held" else set(),
        "groups": _grouped(exchange.draft_orders()),
        "response": _pretty(exchange.response),
    }


def _grouped(orders: tuple[Resource, ...]) -> list[dict[str, Any]]:
    """Orders of which the payer says the same stand together."""
    groups: list[dict[str, Any]] = []
    for order in orders:
        said = assertions(order)
        billing = ", ".join(one.billing for one in said if one.billing)
        alike = [msgspec.structs.replace(one, billing="") for one in said]
        group = next((group for group in groups if group["said"] == alike), None)
        if group is None:
            groups.append(group := {"orders": [], "said": alike})
        group["orders"].append((order, billing))
    return groups


def _first_by_field(wrong: tuple[Problem, ...]) -> dict[str, str]:
    named: dict[str, str] = {}
    for problem in wrong:
        named.setdefault(problem.field, problem.text)
    return named


def _pretty(text: str) -> str:
    try:
        return pretty(loads(text))
    except ValueError:
        return text


def _running(orders: list[Resource]) -> list[Resource]:
    """Active neuraxial orders: those that a new one may replace."""
    return [order for order in orders if order.get("status") == "active" and _route_codes(order) & _NEURAXIAL]


def _route_codes(order: Resource) -> set[str]:
    return {
        coding.get("code", "")
        for instruction in order.get("dosageInstruction", [])
        for coding in instruction.get("route", {}).get("coding", [])
    }


def _current(sample: Sample, form: OrderForm) -> OrderForm:
    """The example order replaces what runs now, so that signing it twice is no doubled dose."""
    running = _running(the_store().of_patient(sample.id, "MedicationRequest"))
    newest = max(running, key=lambda order: str(order.get("authoredOn", "")), default=None)
    return msgspec.structs.replace(form, replaces=str(newest["id"]) if newest else "")

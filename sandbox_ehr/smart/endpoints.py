"""The authorization server's HTTP: discovery, authorize with its sign-in page, token, revocation, introspection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, render_template, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as Answer

from sandbox_ehr.parts import the_samples, the_server, the_store
from sandbox_ehr.patients import STAFF
from sandbox_ehr.smart.apps import App
from sandbox_ehr.smart.authorization import Request, back_to, check, sender
from sandbox_ehr.smart.launches import Launch
from sandbox_ehr.smart.refusals import NotRedirectable, Refusal

blueprint = Blueprint("oauth", __name__)

FORM = "application/x-www-form-urlencoded"


@blueprint.get("/fhir/.well-known/smart-configuration")
def smart_configuration() -> Response:
    """SMART discovery; open, as it says nothing of any patient."""
    return jsonify(the_server().configuration())


@blueprint.get("/.well-known/openid-configuration")
def openid_configuration() -> Response:
    """The same for OpenID Connect clients, at the issuer's address."""
    return jsonify(the_server().configuration())


@blueprint.get("/oauth/jwks.json")
def jwks() -> Response:
    """Public keys of id_tokens."""
    return jsonify(the_server().identity.public_set())


@blueprint.get("/oauth/authorize")
def authorize() -> Answer | tuple[str, int]:
    """An EHR launch is answered at once: who and whose chart are known. A standalone launch asks for both."""
    return _answered(_begin)


@blueprint.post("/oauth/authorize")
def sign_in() -> Answer | tuple[str, int]:
    """The sign-in page came back: who, and which patient."""
    return _answered(_signed_in)


def _answered(step: Callable[[Request], Answer | tuple[str, int]]) -> Answer | tuple[str, int]:
    query: MultiDict[str, str] = request.args
    try:
        app, redirect_uri = sender(the_server().apps, query)
    except NotRedirectable as refused:
        return _page(str(refused), 400)
    try:
        return step(check(app, redirect_uri, query, the_server().fhir_base))
    except Refusal as refusal:
        states = query.getlist("state")
        state = states[0] if len(states) == 1 and len(states[0]) <= 4_000 else ""
        return _back(redirect_uri, error=refusal.error, error_description=refusal.text, state=state)


def _begin(asked: Request) -> Answer | tuple[str, int]:
    if asked.launch:
        return _granted(asked, the_server().launches.redeem(asked.app, asked.launch))
    return _ask(asked)


def _signed_in(asked: Request) -> Answer | tuple[str, int]:
    if asked.launch:
        raise Refusal("invalid_request", "An EHR launch needs no sign-in.")
    if "cancel" in request.form:
        raise Refusal("access_denied", "The person at the keyboard did not allow it.")
    user, patient = request.form.get("user", ""), request.form.get("patient", "")
    if user not in STAFF or (asked.needs_patient and patient not in the_samples()):
        return _ask(asked, wrong=True)
    picked = patient if asked.needs_patient else ""
    visit = _visit(picked) if "launch/encounter" in asked.scopes.split() else ""
    return _granted(asked, Launch(client_id=asked.app.client_id, user=user, patient=picked, encounter=visit))


def _granted(asked: Request, launch: Launch) -> Answer:
    return redirect(_with_issuer(the_server().codes.answer(asked, launch)), 302)


def _ask(asked: Request, *, wrong: bool = False) -> tuple[str, int]:
    page = render_template(
        "sign_in.html", app=asked.app, staff=STAFF, samples=the_samples() if asked.needs_patient else {}, wrong=wrong
    )
    return page, 422 if wrong else 200


def _visit(patient: str) -> str:
    return the_store().current_encounter(patient)


def _back(redirect_uri: str, **values: str) -> Answer:
    return redirect(_with_issuer(back_to(redirect_uri, **values)), 302)


def _with_issuer(address: str) -> str:
    """RFC 9207: an app that speaks to several servers can tell which one answered."""
    return back_to(address, iss=the_server().base_url)


def _page(words: str, status: int) -> tuple[str, int]:
    return render_template("error.html", heading="The app could not be started", words=words), status


@blueprint.post("/oauth/token")
def token() -> Response:
    """Codes and refresh tokens become access tokens, for a client that has signed an assertion."""

    def answer(app: App) -> dict[str, Any]:
        match request.form.get("grant_type", ""):
            case "authorization_code":
                return the_server().grants.by_code(app, request.form)
            case "refresh_token":
                return the_server().grants.by_refresh(app, request.form)
            case "":
                raise Refusal("invalid_request", "Missing: grant_type.")
            case _:
                raise Refusal("unsupported_grant_type", "grant_type is authorization_code or refresh_token.")

    return _for_client(answer)


@blueprint.post("/oauth/revoke")
def revoke() -> Response:
    """RFC 7009: ends the grant of a token; an unknown token is no error."""

    def answer(app: App) -> dict[str, Any]:
        the_server().grants.revoke(app, request.form.get("token", ""))
        return {}

    return _for_client(answer)


@blueprint.post("/oauth/introspect")
def introspect() -> Response:
    """RFC 7662, for a client's own access tokens."""
    return _for_client(lambda app: the_server().grants.introspect(app, request.form.get("token", "")))


def _for_client(answer: Callable[[App], dict[str, Any]]) -> Response:
    try:
        response = jsonify(answer(_client()))
    except Refusal as refusal:
        response = jsonify(error=refusal.error, error_description=refusal.text)
        response.status_code = refusal.status
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return response


def _client() -> App:
    """The authenticated client of this request. Raises Refusal."""
    if request.mimetype != FORM:
        raise Refusal("invalid_request", f"The body is {FORM}.")
    if request.args or any(len(request.form.getlist(name)) > 1 for name in request.form):
        raise Refusal("invalid_request", "Parameters stand in the body, each once.")
    if "Authorization" in request.headers:
        raise Refusal("invalid_client", "A client authenticates by its assertion alone.")
    assertions = the_server().assertions
    app = the_server().apps.get(assertions.client_id(request.form))
    if app is None:
        raise Refusal("invalid_client", "This client is not registered here.")
    assertions.verify(app, request.form["client_assertion"])
    return app

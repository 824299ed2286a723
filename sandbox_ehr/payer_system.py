"""The payer's systems, played by the sandbox: a FHIR endpoint that receives ClaimResponses, and a page that shows them.

It is no part of the EHR. It has its own token endpoint (SMART Backend Services), its own store and its own addresses.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from flask import Blueprint, Response, abort, current_app, jsonify, render_template, request

from sandbox_ehr.fhir_json import Resource, dumps, loads, pretty
from sandbox_ehr.parts import the_instant, the_samples
from sandbox_ehr.payer_access import Door
from sandbox_ehr.payer_faults import Behaviour, Fault, Faults, after, before
from sandbox_ehr.payer_inbox import Delivery, Kept, PayerInbox, Several, Writing
from sandbox_ehr.payer_transactions import NotATransaction, carry_out
from sandbox_ehr.payer_words import decision
from sandbox_ehr.smart.refusals import Refusal

blueprint = Blueprint("payer", __name__)

BASE = "/payer-fhir"
TYPES = ("ClaimResponse", "Patient", "Organization", "Coverage", "Practitioner", "PractitionerRole", "Claim", "Bundle")
LARGEST = 5_000_000  # bytes
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_OPEN = frozenset({"payer.metadata", "payer.configuration", "payer.token", "payer.faults", "payer.receipts"})

_PAGES = frozenset({"payer.page", "payer.document"})  # for people: no token, and no fault reaches them


class Unusable(Exception):
    """The call cannot be carried out; an OperationOutcome says why."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


def _inbox() -> PayerInbox:
    inbox: PayerInbox = current_app.extensions["payer_inbox"]
    return inbox


def _door() -> Door:
    door: Door = current_app.extensions["payer_door"]
    return door


def _faults() -> Faults:
    faults: Faults = current_app.extensions["payer_faults"]
    return faults


def _answer(body: Resource, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    response = Response(dumps(body), status, headers, content_type="application/fhir+json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.before_request
def _guard() -> Response | None:
    if request.endpoint in _PAGES or request.endpoint in _OPEN - {"payer.metadata"}:
        return None
    request.max_content_length = LARGEST
    fault = _faults().next()
    request.environ["payer.fault"] = fault
    refused = before(fault) if fault else None
    if refused is not None or request.endpoint in _OPEN:
        return refused
    if not _door().lets_in(request.headers.get("Authorization")):
        return _outcome(401, "login", "An access token of this endpoint is needed.", {"WWW-Authenticate": "Bearer"})
    return None


@blueprint.after_request
def _troubled(response: Response) -> Response:
    fault: Fault | None = request.environ.get("payer.fault")
    return after(fault, response) if fault else response


@blueprint.errorhandler(Unusable)
def _unusable(trouble: Unusable) -> Response:
    return _outcome(trouble.status, trouble.code, str(trouble))


@blueprint.errorhandler(Several)
def _several(_trouble: Several) -> Response:
    return _outcome(412, "multiple-matches", "More than one resource has this identifier.")


@blueprint.get(f"{BASE}/metadata")
def metadata() -> Response:
    """CapabilityStatement: the ways of writing that are offered."""
    offers = _faults().offers
    claims: dict[str, Any] = {
        "interaction": [{"code": code} for code in ("read", "search-type", "create", "update")],
        "versioning": "versioned",
        "updateCreate": "put" in offers,
        "conditionalUpdate": "conditional_update" in offers,
        "conditionalCreate": "conditional_create" in offers,
        "searchParam": [{"name": "identifier", "type": "token"}],
    }
    rest: dict[str, Any] = {"mode": "server", "resource": [{"type": kind, **claims} for kind in TYPES]}
    if "transaction" in offers:
        rest["interaction"] = [{"code": "transaction"}]
    now = the_instant()
    return _answer(
        {
            "resourceType": "CapabilityStatement", "status": "active", "date": now[:10], "kind": "instance",
            "fhirVersion": "4.0.1", "format": ["application/fhir+json"],
            "software": {"name": "Payer's system of record"},
            "implementation": {"description": "Receives ClaimResponses (demonstration)", "url": _door().base},
            "rest": [rest],
        }
    )  # fmt: skip


@blueprint.get(f"{BASE}/.well-known/smart-configuration")
def configuration() -> Response:
    """Backend Services discovery."""
    return jsonify(_door().configuration())


@blueprint.post(f"{BASE}/oauth/token")
def token() -> Response:
    """client_credentials with a signed assertion."""
    try:
        response = jsonify(_door().token(request))
    except Refusal as refusal:
        response = jsonify(error=refusal.error, error_description=refusal.text)
        response.status_code = refusal.status
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.put(f"{BASE}/<kind>/<ident>")
def put(kind: str, ident: str) -> Response:
    """Keep under the sender's id; a repeat changes nothing."""
    body = _body(kind)
    if not _ID.fullmatch(ident) or body.get("id") != ident:
        raise Unusable(400, "invalid", "The resource's id is not the one of the address.")
    if "put" not in _faults().offers and _inbox().read(kind, ident) is None:
        raise Unusable(405, "not-supported", "Ids are given by this server.")
    with _inbox().writing(_delivery("update")) as writing:
        kept = writing.put(kind, ident, body)
    return _kept(kept)


@blueprint.put(f"{BASE}/<kind>")
def put_where(kind: str) -> Response:
    """Conditional update by identifier."""
    _offered("conditional_update")
    body, wanted = _body(kind), _token(request.args.get("identifier"))
    with _inbox().writing(_delivery("conditional update")) as writing:
        kept = _updated(writing, kind, body, wanted)
    return _kept(kept)


def _updated(writing: Writing, kind: str, body: Resource, wanted: str) -> Kept:
    known = writing.named(kind, wanted)
    if len(known) > 1:
        raise Several
    return writing.put(kind, known[0], body) if known else writing.create(kind, body, wanted)


@blueprint.post(f"{BASE}/<kind>")
def post(kind: str) -> Response:
    """Create; with If-None-Exist only what is not there yet."""
    condition = request.headers.get("If-None-Exist")
    if condition is not None:
        _offered("conditional_create")
    if kind == "Bundle":
        _offered("bundle")
    wanted = _token(dict(parse_qsl(condition)).get("identifier")) if condition is not None else None
    body = _body(kind)
    with _inbox().writing(_delivery("create" if wanted is None else "conditional create")) as writing:
        kept = writing.create(kind, body, wanted)
    return _kept(kept)


@blueprint.post(f"{BASE}/", strict_slashes=False)
def transaction() -> Response:
    """A transaction Bundle: all of it or nothing."""
    _offered("transaction")
    body = _body("Bundle")
    try:
        with _inbox().writing(_delivery("transaction")) as writing:
            answer = carry_out(writing, body, TYPES)
    except NotATransaction as trouble:
        raise Unusable(400, "invalid", str(trouble)) from None
    return _answer(answer)


@blueprint.get(f"{BASE}/<kind>/<ident>")
def read(kind: str, ident: str) -> Response:
    """One resource."""
    found = _inbox().read(kind, ident)
    if found is None:
        raise Unusable(404, "not-found", "There is no such resource.")
    return _answer(found, headers={"ETag": f'W/"{found["meta"]["versionId"]}"'})


@blueprint.get(f"{BASE}/<kind>")
def search(kind: str) -> Response:
    """All of a type, or those with an identifier."""
    if set(request.args) - {"identifier", "_count"}:
        raise Unusable(400, "invalid", "The search parameters are identifier and _count.")
    wanted = request.args.get("identifier")
    found = _inbox().search(kind, _token(wanted) if wanted is not None else None)
    entries = [{"fullUrl": f"{_door().base}/{kind}/{one['id']}", "resource": one} for one in found]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(found)}
    return _answer({**bundle, "entry": entries} if entries else bundle)


@blueprint.get("/payer")
def page() -> str:
    """What the payer has received, for people."""
    return render_template(
        "payer.html", decisions=[decision(one, _name_of) for one in _inbox().received("ClaimResponse")]
    )


@blueprint.get("/payer/<ident>.json")
def document(ident: str) -> Response:
    """One ClaimResponse as it is kept, for people."""
    found = _inbox().read("ClaimResponse", ident)
    if found is None:
        abort(404)
    return Response(
        pretty(found), content_type="application/json; charset=utf-8", headers={"Cache-Control": "no-store"}
    )


def _name_of(reference: str) -> str:
    """The name of a patient of this sandbox; "" for anybody else's."""
    ident = reference.removeprefix(f"{current_app.config['BASE_URL']}/fhir/Patient/")
    sample = the_samples().get(ident)
    return sample.name if sample else ""


@blueprint.post(f"{BASE}/$faults")
def faults() -> Response:
    """For tests: how this endpoint behaves from now on."""
    _for_tests()
    try:
        _faults().change(msgspec.json.decode(request.get_data(), type=Behaviour))
    except msgspec.ValidationError as error:
        raise Unusable(400, "invalid", str(error)) from None
    return jsonify(status="changed")


@blueprint.get(f"{BASE}/$receipts")
def receipts() -> Response:
    """For tests: every ClaimResponse with the times that it was received and the version it is at."""
    _for_tests()
    return jsonify(
        [
            {"id": one.resource["id"], "version": one.version, "times": one.times, "last": one.last}
            for one in _inbox().received("ClaimResponse")
        ]
    )


def _for_tests() -> None:
    if not current_app.extensions["payer_tests"]:
        raise Unusable(404, "not-found", "Only where the sandbox was started with --faults.")


def _offered(way: str) -> None:
    if way not in _faults().offers:
        raise Unusable(412 if "conditional" in way else 405, "not-supported", "This server does not offer that.")


def _body(kind: str) -> Resource:
    data = request.get_data()
    claimed = re.fullmatch(r"sha-256=:([A-Za-z0-9+/=]+):", request.headers.get("Content-Digest", "sha-256=::"))
    if request.headers.get("Content-Digest") and (
        claimed is None or claimed[1] != base64.b64encode(hashlib.sha256(data).digest()).decode()
    ):
        raise Unusable(400, "invalid", "The body is not what Content-Digest says.")
    try:
        body = loads(data)
    except (ValueError, RecursionError):
        raise Unusable(400, "structure", "The body is not JSON.") from None
    if kind not in TYPES or not isinstance(body, dict) or body.get("resourceType") != kind:
        raise Unusable(400, "structure", f"The body is not one of {', '.join(TYPES)} as its address says.")
    return body


def _token(value: str | None) -> str:
    if not value or "|" not in value:
        raise Unusable(400, "invalid", "The condition is identifier=system|value.")
    return value


def _kept(kept: Kept) -> Response:
    ident, kind = kept.resource["id"], kept.resource["resourceType"]
    location = f"{_door().base}/{kind}/{ident}/_history/{kept.version}"
    headers = {"ETag": f'W/"{kept.version}"', "Location": location}
    return _answer(kept.resource, 201 if kept.created else 200, headers)


def _delivery(way: str) -> Delivery:
    return Delivery(the_instant(), way, request.headers.get("Idempotency-Key", ""))


def _outcome(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> Response:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return _answer({"resourceType": "OperationOutcome", "issue": [issue]}, status, headers)

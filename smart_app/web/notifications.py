"""Where payers tell of decisions: rest-hook notifications of our subscriptions (P064, P075)."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from cds_service.errors import CdsServiceError
from cds_service.fhir.json import parse
from smart_app.prior_auth import PriorAuth
from smart_app.web.security import no_browser

MAX_BYTES = 20_000_000

blueprint = Blueprint("notifications", __name__)


@blueprint.post("/notifications/<payer>")
@no_browser
def notify(payer: str) -> Response:
    """Take one. 200 also for a handshake and for what is about no request of ours: the payer need not say it again."""
    use_case: PriorAuth = current_app.extensions["prior_auth"]
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not use_case.may_notify(payer, secret.strip()):
        return Response(status=401, headers={"WWW-Authenticate": "Bearer"})
    if request.content_length is None or request.content_length > MAX_BYTES:
        return Response(status=413)
    try:
        bundle = parse(request.get_data(cache=False), max_bytes=MAX_BYTES)
    except CdsServiceError:
        return Response(status=400)
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return Response(status=400)
    use_case.notified(payer, bundle)
    return Response(status=200)

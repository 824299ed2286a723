"""Where payers tell of decisions: rest-hook notifications of our subscriptions (P064, P075)."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

from cds_service.errors import CdsServiceError
from cds_service.fhir.json import parse
from smart_app.errors import FormChanged
from smart_app.prior_auth.conversation import PriorAuth
from smart_app.web.security import no_browser

MAX_BYTES = 20_000_000

blueprint = Blueprint("notifications", __name__)


@blueprint.post("/notifications/<payer>")
@no_browser
def notify(payer: str) -> Response:
    """Take one. 200 also for a handshake and for what is about no request of ours: the payer need not say it again.

    What it left out is fetched once the payer has its answer: some payers do nothing else until then.
    """
    news = _use_case().news
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    organization = news.notifier(payer, secret.strip()) if scheme.lower() == "bearer" else None
    if organization is None:
        return Response(status=401, headers={"WWW-Authenticate": "Bearer"})
    request.max_content_length = MAX_BYTES  # a decision with its documents is larger than any form
    try:
        bundle = parse(request.get_data(cache=False), max_bytes=MAX_BYTES)
    except RequestEntityTooLarge:
        return Response(status=413)
    except CdsServiceError:
        return Response(status=400)
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return Response(status=400)
    answer = Response(status=200)
    newest = news.notified(payer, organization, bundle)
    if newest is not None:
        catch_up = _use_case().catch_up
        answer.call_on_close(lambda: catch_up(payer, organization, newest))
    return answer


@blueprint.errorhandler(FormChanged)
def busy(_error: FormChanged) -> Response:
    """Nothing is lost: the payer says it again."""
    return Response(status=503, headers={"Retry-After": "5"})


def _use_case() -> PriorAuth:
    use_case: PriorAuth = current_app.extensions["prior_auth"]
    return use_case

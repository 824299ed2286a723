"""``/livez``, ``/readyz`` and ``/metrics``: for machines that watch, without PHI."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256

from flask import Blueprint, request
from werkzeug.wrappers import Response

from cds_service.errors import CdsServiceError, NotAuthenticated, NotFound
from cds_service.web.call_note import NOTE
from cds_service.web.metrics import CONTENT_TYPE, Metrics
from cds_service.web.outcomes import api

_ALIVE = b'{"status":"alive"}'
_READY = b'{"status":"ready"}'
_NOT_READY = b'{"status":"not ready","why":"store"}'


def blueprint(ping: Callable[[], None], metrics: Metrics, *, token_sha256: str, metrics_open: bool) -> Blueprint:
    """The routes. ``metrics_open``: metrics are given without a token when none is configured."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    def alive() -> Response:
        """The process answers. Nothing else is asked, so that a dead database does not get workers killed."""
        return api(_ALIVE)

    @routes.get("/readyz")
    def ready() -> Response:
        """Calls can be answered and written down."""
        try:
            ping()
        except CdsServiceError:
            return api(_NOT_READY, 503)
        return api(_READY)

    @routes.get("/metrics")
    def numbers() -> Response:
        """Prometheus text of all workers."""
        request.environ[NOTE].route = "/metrics"
        if token_sha256:
            _check_token(request.headers.get("Authorization", ""), token_sha256)
        elif not metrics_open:
            raise NotFound("metrics need CDS_METRICS_TOKEN_SHA256 in production")
        return Response(metrics.text(), content_type=CONTENT_TYPE)

    return routes


def _check_token(authorization: str, token_sha256: str) -> None:
    scheme, _, token = authorization.partition(" ")
    digest = sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    if scheme.lower() != "bearer" or not hmac.compare_digest(digest, token_sha256):
        raise NotAuthenticated("metrics_token")

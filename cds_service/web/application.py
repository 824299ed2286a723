"""The WSGI application out of its parts. Which parts, is decided in ``cds_service.app``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from wsgiref.types import WSGIApplication

import msgspec
from flask import Blueprint, Flask
from flask.sessions import NullSession, SessionInterface

from cds_service.web import cds_services, determinations, error_handlers, health, pages
from cds_service.web.boundary import Boundary
from cds_service.web.cors import Cors
from cds_service.web.log_lines import LineWriter
from cds_service.web.metrics import Metrics

_NO_SESSION: Final = NullSession()


class _WithoutSessions(SessionInterface):
    """Nobody logs in here; saves the cookie work of every request."""

    def open_session(self, app: Flask, request: Any) -> NullSession:  # noqa: ARG002 - Flask's signature
        return _NO_SESSION

    def is_null_session(self, obj: object) -> bool:  # noqa: ARG002 - Flask's signature
        return True


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the routes need, made by the composition root or by a test."""

    hooks: cds_services.Hooks
    pages: pages.Pages
    store: determinations.DeterminationReads
    ping: Callable[[], None]
    clock: determinations.Now
    readers: Mapping[str, str]
    metrics: Metrics
    metrics_token_sha256: str
    metrics_open: bool
    origins: Sequence[str]
    writer: LineWriter
    request_prefix: str
    queue_seconds: float
    blueprints: Sequence[Blueprint] = ()  # what systems call with a token of ours


def application(parts: Parts) -> WSGIApplication:
    """Everything that answers under one address."""
    app = Flask("cds_service", static_folder=None)
    app.session_interface = _WithoutSessions()
    app.jinja_env.autoescape = True
    error_handlers.register(app)
    app.register_blueprint(cds_services.blueprint(parts.hooks))
    app.register_blueprint(determinations.blueprint(parts.store, parts.clock, parts.readers))
    app.register_blueprint(pages.blueprint(parts.pages))
    app.register_blueprint(
        health.blueprint(
            parts.ping, parts.metrics, token_sha256=parts.metrics_token_sha256, metrics_open=parts.metrics_open
        )
    )
    for routes in parts.blueprints:
        app.register_blueprint(routes)
    routed: WSGIApplication = app.wsgi_app
    return Boundary(
        Cors(routed, parts.origins) if parts.origins else routed,
        writer=parts.writer,
        metrics=parts.metrics,
        request_prefix=parts.request_prefix,
        queue_seconds=parts.queue_seconds,
    )

"""The place where the app is put together."""

from __future__ import annotations

import os
import secrets
import time
from datetime import timedelta

from flask import Flask

from cds_service.adapters.guarded_http import GuardedHttp
from cds_service.adapters.system import SystemClock, new_id
from smart_app.adapters.keys import AppKeys
from smart_app.adapters.outbound import Outbound
from smart_app.adapters.registry_files import load_registry
from smart_app.adapters.store import AppStore
from smart_app.settings import Settings, refuse_plain_http
from smart_app.smart.discovery import Discovery
from smart_app.smart.id_token import IdentityKeys
from smart_app.smart.launching import Launching
from smart_app.smart.open_launches import OpenLaunches
from smart_app.smart.tokens import TokenEndpoint
from smart_app.web import error_pages, forms_setup, launch_pages, prior_auth_setup, request_log, security
from smart_app.web.cookies import Cookies
from smart_app.web.parts import Parts, parts
from smart_app.world import World

__all__ = ["Parts", "World", "create_app", "parts", "real_world"]

LARGEST_FORM = 2_000_000  # bytes of one posted form


def real_world(settings: Settings) -> World:
    """The machine we run on."""
    clock = SystemClock()
    return World(
        now=clock.now,
        monotonic=clock.monotonic,
        sleep=time.sleep,
        new_id=new_id,
        new_secret=lambda: secrets.token_urlsafe(32),
        random_bytes=os.urandom,
        http=GuardedHttp(insecure_dev=settings.insecure_dev),
    )


def build_parts(settings: Settings, world: World, keys: AppKeys | None = None) -> Parts:
    """Read configuration and keys (unless they are given), and join everything. Raises ConfigurationError."""
    refuse_plain_http(settings)
    registry = load_registry(settings.config_dir, insecure_dev=settings.insecure_dev, production=settings.in_production)
    keys = keys or AppKeys(settings.key_dir, world.random_bytes)
    store = AppStore(settings.database_url, keys.sealer, world.now)
    outbound = Outbound(world.http, world.monotonic)
    discovery = Discovery(outbound)
    endpoint = TokenEndpoint(
        outbound=outbound,
        keys=keys.signing,
        jwks_url=settings.jwks_url,
        now=world.now,
        new_secret=world.new_secret,
    )
    launches = OpenLaunches(
        store=store,
        registry=registry,
        discovery=discovery,
        endpoint=endpoint,
        outbound=outbound,
        now=world.now,
        sleep=world.sleep,
        idle=timedelta(minutes=settings.session_minutes),
        longest=timedelta(hours=settings.session_hours),
    )
    launching = Launching(
        registry=registry,
        discovery=discovery,
        endpoint=endpoint,
        identity_keys=IdentityKeys(outbound),
        store=store,
        launches=launches,
        redirect_uri=settings.redirect_uri,
        now=world.now,
        new_secret=world.new_secret,
    )
    cookies = Cookies(over_tls=settings.over_tls)
    return Parts(settings, world, registry, keys, store, outbound, launches, launching, cookies)


def check_start(settings: Settings) -> tuple[str, ...]:
    """Before any worker starts: refuse what cannot be served; gives what is odd, but no hindrance.

    Raises:
        ConfigurationError: as ``build_parts``.
    """
    refuse_plain_http(settings)
    keys = AppKeys(settings.key_dir)
    _ = keys.signing, keys.sealer
    registry = load_registry(settings.config_dir, insecure_dev=settings.insecure_dev, production=settings.in_production)
    missing = (("EHR", "ehrs", registry.ehrs), ("payer", "payers", registry.payers))
    return tuple(
        f"no {what} is registered in {settings.config_dir / place}" for what, place, found in missing if not found
    )


def create_app(settings: Settings, world: World, keys: AppKeys | None = None) -> Flask:
    """The WSGI application of one process, to be called after it has forked.

    Raises:
        ConfigurationError: settings, keys or registered parties cannot be used; it says which and why.
    """
    app = Flask("smart_app", static_folder="web/static", template_folder="web/templates")
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_FORM, MAX_FORM_MEMORY_SIZE=LARGEST_FORM, DEBUG=False)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    made = build_parts(settings, world, keys)
    app.extensions.update(smart_app=made, app_store=made.store)
    request_log.install(app, world.new_id, world.monotonic)
    security.install(app)
    error_pages.install(app)
    app.register_blueprint(launch_pages.blueprint)
    forms_setup.install(app, app.extensions["smart_app"])
    prior_auth_setup.install(app, app.extensions["smart_app"])
    return app

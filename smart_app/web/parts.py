"""What the pages work with."""

from __future__ import annotations

import msgspec
from flask import current_app

from smart_app.adapters.keys import AppKeys
from smart_app.adapters.outbound import Outbound
from smart_app.adapters.store import AppStore
from smart_app.registry import Registry
from smart_app.settings import Settings
from smart_app.smart.launching import Launching
from smart_app.smart.open_launches import OpenLaunches
from smart_app.web.cookies import Cookies
from smart_app.world import World


class Parts(msgspec.Struct, frozen=True):
    """All of it; ``parts`` gives that of the running app."""

    settings: Settings
    world: World
    registry: Registry
    keys: AppKeys
    store: AppStore
    outbound: Outbound
    launches: OpenLaunches
    launching: Launching
    cookies: Cookies


def parts() -> Parts:
    """What the app was put together from."""
    found: Parts = current_app.extensions["smart_app"]
    return found

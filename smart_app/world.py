"""What the app needs of the machine it runs on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from cds_service.adapters.guarded_http import GuardedHttp


class World(msgspec.Struct, frozen=True):
    """What the app needs of the machine; a test gives its own."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    new_id: Callable[[], str]
    new_secret: Callable[[], str]  # 256 bits, base64url
    random_bytes: Callable[[int], bytes]
    http: GuardedHttp

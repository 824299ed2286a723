"""Whether a subscriber's endpoint may be called at all: asked before it is kept, and again at each call (pas D12)."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from urllib.parse import urlsplit

from cds_service.adapters.pinned_connection import Reach, Resolver, allowed_address, system_resolver
from cds_service.backend_clients import BackendCaller

_LONGEST = 2_000
_SECONDS = 2.0


class SubscriberAddresses:
    """The check. Thread-safe; nothing is connected to."""

    def __init__(self, *, insecure_dev: bool = False, resolver: Resolver = system_resolver) -> None:
        """``insecure_dev``: loopback is reachable, for trying things out on one machine."""
        self._insecure_dev = insecure_dev
        self._resolver = resolver
        self._looking = ThreadPoolExecutor(4, thread_name_prefix="subscriber-names")

    def __call__(self, endpoint: str, caller: BackendCaller) -> str:
        """Why not, as a person reads it; "" where it may be called."""
        client = caller.client
        if len(endpoint) > _LONGEST or not endpoint.isascii() or not endpoint.isprintable() or "\\" in endpoint:
            return "it is no URL"
        try:
            parts = urlsplit(endpoint)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return "it is no URL"
        if parts.scheme != "https" and not (parts.scheme == "http" and client.allow_http):
            return "it must be https"
        if not parts.hostname or parts.username is not None or parts.fragment:
            return "it must be a URL with a host, without user and fragment"
        reach = Reach(private=client.allow_private, loopback=self._insecure_dev and client.allow_private)
        addresses = self._addresses(parts.hostname, port)
        if addresses is None:
            return "its name has no address"
        allowed = all(allowed_address(address, reach) for address in addresses)
        return "" if allowed else "its address is not allowed"

    def _addresses(self, host: str, port: int) -> tuple[str, ...] | None:
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            pass
        else:
            return (host,)
        looking = self._looking.submit(self._resolver, host, port)
        try:
            return tuple(looking.result(_SECONDS)) or None
        except (OSError, UnicodeError, LateError):
            return None

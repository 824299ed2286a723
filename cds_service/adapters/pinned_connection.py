"""Connections that go only to addresses that were checked, and that end when their time is over.

A name is resolved once, every address it has is judged, and the socket connects to one of exactly those addresses; TLS
server name and Host header stay the name (reliability 86). What is left of the call's time is put on the socket before
every single read, because a socket timeout alone starts anew with each byte that drips in (finding 10, fault F3).
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import certifi
import msgspec
from requests.adapters import HTTPAdapter
from requests.models import PreparedRequest
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

Resolver = Callable[[str, int], Sequence[str]]
_POOLED_HOSTS = 64
_POOLED_CONNECTIONS = 32
_RESOLVING_THREADS = 8  # getaddrinfo cannot be given a deadline; it is waited for, then left behind
_CONNECT_SECONDS = 1.5
_remaining = threading.local()

# The library's log lines hold whole URLs, and a FHIR search is about a patient.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)


class AddressRefused(OSError):
    """The name leads to an address that this client may not be at."""


class NameNotResolved(OSError):
    """The name has no address, or none in time."""


class Reach(msgspec.Struct, frozen=True):
    """Which addresses connections may go to. Link-local, multicast and unspecified ones are never among them."""

    private: bool = False
    loopback: bool = False
    ca_file: str | None = None  # trusted instead of the public authorities
    client_certificate: tuple[str, str] | None = None  # files of what we show of ourselves, and its key


def allowed_address(address: str, reach: Reach) -> bool:
    """Whether ``address`` (numeric) may be connected to; an IPv4 address inside an IPv6 one is judged as itself."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    if ip.is_loopback:
        return reach.loopback
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return False
    return ip.is_global or (reach.private and (ip.is_private or ip in _SHARED_SPACE))


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SHARED_SPACE = ipaddress.IPv4Network("100.64.0.0/10")


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Every numeric address of a name, in the system's order."""
    return tuple(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


class time_left:  # noqa: N801 - reads as a sentence: ``with time_left(deadline):``
    """All socket work of this thread inside the block ends at ``deadline`` (steady clock of the machine, seconds)."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        _remaining.until = self._deadline

    def __exit__(self, *_: object) -> None:
        _remaining.until = None


def _seconds_left() -> float:
    until: float | None = getattr(_remaining, "until", None)
    left = 0.0 if until is None else until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the call's time is over")
    return left


class _TimedReads(io.RawIOBase):
    """Reads of one socket, each allowed no longer than what is left of the call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_seconds_left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Reading:
    """What ``http.client.HTTPResponse`` wants of a socket: a file to read from."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReads(self._sock))


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Reading(sock), *args, **kwargs)  # type: ignore[arg-type]


class _Pinned(HTTPConnection):
    """Connects to a checked address of its host, never to the name."""

    response_class = _TimedResponse

    def __init__(self, *args: Any, addresses: Callable[[str, int], Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._addresses = addresses

    def _new_conn(self) -> socket.socket:
        failure: OSError | None = None
        for address in self._addresses(self.host, self.port):
            try:
                left = _seconds_left()
                sock = socket.create_connection((address, self.port), min(_CONNECT_SECONDS, left))
            except OSError as error:
                failure = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(left)  # bounds the TLS handshake as a whole
            return sock
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "no address answered in time") from failure
        raise NewConnectionError(self, "no address accepted the connection") from failure


class _PinnedTls(_Pinned, HTTPSConnection):
    """The same, over TLS; the certificate is checked against the name."""


class _PinnedPools(PoolManager):
    """Pools whose connections are pinned."""

    def __init__(self, addresses: Callable[[str, int], Sequence[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._classes = {
            "http": partial(_Pinned, addresses=addresses),
            "https": partial(_PinnedTls, addresses=addresses),
        }

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        pool.ConnectionCls = self._classes[scheme]  # type: ignore[assignment]
        return pool


class PinnedAdapter(HTTPAdapter):
    """The transport of ``requests`` for one reach: own TLS policy, pinned connections, no retries.

    It is used without a ``requests.Session``: so there are no cookies, no redirects, no ``.netrc``, no proxies and no
    CA bundle out of the environment (findings 8 and 9; reliability 87, 89).
    """

    def __init__(self, reach: Reach, resolver: Resolver) -> None:
        self._reach = reach
        self._resolver = resolver
        self._resolving = ThreadPoolExecutor(_RESOLVING_THREADS, thread_name_prefix="resolve")
        self._tls = tls_policy(reach.ca_file, reach.client_certificate)
        super().__init__(pool_connections=_POOLED_HOSTS, pool_maxsize=_POOLED_CONNECTIONS, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **_: Any) -> None:
        """Called by ``HTTPAdapter`` when it is made."""
        self.poolmanager = _PinnedPools(self._checked, num_pools=connections, maxsize=maxsize, block=block)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: object, cert: object = None
    ) -> Any:
        """Always our TLS policy: there is no way to switch verification off (reliability 90)."""
        del verify, cert
        host, _ = super().build_connection_pool_key_attributes(request, verify=True)
        return host, {"ssl_context": self._tls} if host["scheme"] == "https" else {}

    def cert_verify(self, conn: object, url: object, verify: object, cert: object) -> None:
        """Nothing to add: the pool was made with our TLS policy."""

    def _checked(self, host: str, port: int) -> Sequence[str]:
        addresses = self._resolved(host, port)
        if not all(allowed_address(address, self._reach) for address in addresses):
            raise AddressRefused("the name leads to an address that is not allowed")
        return addresses

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        literal = host.strip("[]")
        try:
            ipaddress.ip_address(literal.partition("%")[0])
        except ValueError:
            pass
        else:
            return (literal,)
        looking = self._resolving.submit(self._resolver, host, port)
        try:
            found = looking.result(_seconds_left())
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name can have
            raise NameNotResolved("the name has no address") from error
        if not found:
            raise NameNotResolved("the name has no address")
        return found

    def close(self) -> None:
        """Ends idle connections and look-ups."""
        super().close()
        self._resolving.shutdown(wait=False, cancel_futures=True)


def tls_policy(ca_file: str | None, client_certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later, certificate and name always checked, authorities from ``ca_file`` or else the public ones.

    Built from the bare context, because the convenient ones take a key log file from the environment.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key.
    """
    if ca_file is None and client_certificate is None:
        return _with_public_authorities()
    policy = _bare_policy(ca_file or certifi.where())
    if client_certificate is not None:
        policy.load_cert_chain(*client_certificate)
    return policy


@cache
def _with_public_authorities() -> ssl.SSLContext:
    """Shared by all who trust them: reading the list takes a hundredth of a second, and holding it a megabyte."""
    return _bare_policy(certifi.where())


def _bare_policy(authorities: str) -> ssl.SSLContext:
    policy = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    policy.minimum_version = ssl.TLSVersion.TLSv1_2
    policy.load_verify_locations(cafile=authorities)
    return policy


def header_text(headers: Mapping[str, str], name: str) -> str:
    """A response header in lower case and without parameters, "" when absent."""
    return headers.get(name, "").partition(";")[0].strip().lower()

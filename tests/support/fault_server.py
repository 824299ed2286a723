"""An HTTP server that misbehaves on purpose, over real sockets and, if wanted, real TLS.

    with FaultServer({"/fhir/Patient/1": reply_json({...}), "/slow": hang()}) as server:
        client.get(server.url + "/fhir/Patient/1")
    assert server.targets == ["/fhir/Patient/1"]

A behaviour is a function of the connection and the request; the ones below refuse, hang, drip, reset, truncate,
redirect, inflate, page for ever and answer with any status. ``FaultServer.behave`` changes them while it runs.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import trustme


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass
class Wire:
    """The server's end of one connection."""

    sock: socket.socket
    stopping: threading.Event

    def send(self, data: bytes | memoryview) -> None:
        self.sock.sendall(data)

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the server."""
        if self.stopping.wait(seconds):
            raise ConnectionAbortedError

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds, but not beyond the end of the server."""
        while not condition():
            self.pause(0.01)


Behaviour = Callable[[Wire, Seen], bool]  # True: the connection is kept for the next request


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    """A correct answer."""

    def behave(wire: Wire, _seen: Seen) -> bool:
        wire.send(_head(status, {"Content-Length": str(len(body)), **(headers or {})}))
        for start in range(0, len(body), 65_536):  # no second copy of a large body in the process under test
            wire.send(memoryview(body)[start : start + 65_536])
        return True

    return behave


def reply_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Behaviour:
    """A correct FHIR answer."""
    return reply(status, json.dumps(value).encode(), {"Content-Type": "application/fhir+json", **(headers or {})})


def once(condition: Callable[[], bool], then: Behaviour) -> Behaviour:
    """The same, as soon as ``condition`` holds; asked often, so it must be quick."""

    def behave(wire: Wire, seen: Seen) -> bool:
        wire.wait(condition)
        return then(wire, seen)

    return behave


def together(number: int, then: Behaviour) -> Behaviour:
    """The same, but nobody is answered before so many requests are here at once."""
    lock, here = threading.Lock(), [0]

    def behave(wire: Wire, seen: Seen) -> bool:
        with lock:
            here[0] += 1
        wire.wait(lambda: here[0] >= number)
        return then(wire, seen)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first request meets the first behaviour, and so on; the last one stays."""
    lock, rest = threading.Lock(), list(behaviours)

    def behave(wire: Wire, seen: Seen) -> bool:
        with lock:
            chosen = rest.pop(0) if len(rest) > 1 else rest[0]
        return chosen(wire, seen)

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    """Point elsewhere."""
    return reply(status, b"", {"Location": location})


def hang() -> Behaviour:
    """Accept the request and never answer."""

    def behave(wire: Wire, _seen: Seen) -> bool:
        wire.pause(3600)
        return False

    return behave


def head_only(head: bytes) -> Behaviour:
    """Send ``head`` as it is, then nothing more."""

    def behave(wire: Wire, seen: Seen) -> bool:
        wire.send(head)
        return hang()(wire, seen)

    return behave


def drip(data: bytes, every: float = 0.5) -> Behaviour:
    """Whatever ``data`` is (head included), one byte at a time."""

    def behave(wire: Wire, _seen: Seen) -> bool:
        for octet in data:
            wire.send(bytes((octet,)))
            wire.pause(every)
        return False

    return behave


def drip_body(length: int = 1000, every: float = 0.5) -> Behaviour:
    """A whole head, then the body one byte at a time."""

    def behave(wire: Wire, seen: Seen) -> bool:
        wire.send(_head(200, {"Content-Length": str(length), "Content-Type": "application/fhir+json"}))
        return drip(b" " * length, every)(wire, seen)

    return behave


def reset(after_bytes: bytes = b"") -> Behaviour:
    """Send that much, then tear the connection down hard."""

    def behave(wire: Wire, _seen: Seen) -> bool:
        if after_bytes:
            wire.send(after_bytes)
        with contextlib.suppress(OSError):
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    return behave


def reset_in_body(body: bytes) -> Behaviour:
    """A head that promises twice ``body``, then ``body``, then a hard end."""
    return reset(_head(200, {"Content-Length": str(2 * len(body))}) + body)


def truncated(body: bytes, missing: int = 10) -> Behaviour:
    """A body shorter than its declared length, then an orderly close."""

    def behave(wire: Wire, _seen: Seen) -> bool:
        wire.send(_head(200, {"Content-Length": str(len(body) + missing)}) + body)
        return False

    return behave


def chunked(parts: list[bytes], *, finish: bool = True) -> Behaviour:
    """Chunked transfer; without ``finish`` the last chunk never comes."""

    def behave(wire: Wire, _seen: Seen) -> bool:
        wire.send(_head(200, {"Transfer-Encoding": "chunked"}))
        for part in parts:
            wire.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if finish:
            wire.send(b"0\r\n\r\n")
        return finish

    return behave


def endless(part: bytes = b" " * 65_536, *, gzipped: bool = False) -> Behaviour:
    """A body without end and without declared length."""

    def behave(wire: Wire, _seen: Seen) -> bool:
        wire.send(_head(200, {"Connection": "close", **({"Content-Encoding": "gzip"} if gzipped else {})}))
        while not wire.stopping.is_set():
            wire.send(part)
        return False

    return behave


def gzip_bomb(megabytes: int = 200) -> Behaviour:
    """Few bytes on the wire, very many after decoding."""
    body = gzip.compress(b" " * (1024 * 1024), 9) * megabytes
    return reply(200, body, {"Content-Encoding": "gzip", "Content-Type": "application/fhir+json"})


def page_loop(page: Callable[[int, str], object], base: str = "") -> Behaviour:
    """Every page names a next one; ``page(number, next_url)`` builds the Bundle."""
    lock, count = threading.Lock(), [0]

    def behave(wire: Wire, seen: Seen) -> bool:
        with lock:
            count[0] += 1
            number = count[0]
        host = seen.headers.get("host", "")
        return reply_json(page(number, f"{base or 'https://' + host}{seen.path}?page={number + 1}"))(wire, seen)

    return behave


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class FaultServer:
    """Threaded server on 127.0.0.1 (or ``host``); ``routes`` maps a path, or ``*``, to a behaviour."""

    routes: dict[str, Behaviour]
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.host, 0))
        self._listener.listen(256)
        self._listener.settimeout(0.02)
        self.port: int = self._listener.getsockname()[1]
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    @property
    def url(self) -> str:
        """Scheme, host and port. The certificate is for ``localhost`` and the address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [seen.target for seen in self.seen]

    def behave(self, path: str, behaviour: Behaviour) -> None:
        """From now on."""
        self.routes[path] = behaviour

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else head and body wait for each other
        sock = plain
        try:
            if self.tls is not None:
                plain.settimeout(30)
                sock = self.tls.wrap_socket(plain, server_side=True)
            wire = Wire(sock, self._stopping)
            while (seen := self._read(sock)) is not None:
                self.seen.append(seen)
                sock.settimeout(30)
                behaviour = self.routes.get(seen.path) or self.routes.get("*") or reply(404)
                if not behaviour(wire, seen):
                    break
        except (OSError, ssl.SSLError):
            pass  # the client went away, or refused our certificate
        finally:
            sock.close()
            plain.close()

    def _read(self, sock: socket.socket) -> Seen | None:
        sock.settimeout(0.05)
        data = b""
        while b"\r\n\r\n" not in data:
            try:
                part = sock.recv(65_536)
            except TimeoutError:
                if self._stopping.is_set():
                    return None
                continue
            if not part:
                return None
            data += part
        lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return Seen(method, target, headers)


@dataclass(frozen=True)
class Authority:
    """A private certificate authority and server contexts of it."""

    ca: trustme.CA

    def server(self, *names: str, **kwargs: object) -> ssl.SSLContext:
        """TLS for these names; ``expired`` and the like go to ``trustme``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self.ca.issue_cert(*(names or ("localhost", "127.0.0.1", "::1")), **kwargs)  # type: ignore[arg-type]
        certificate.configure_cert(context)
        return context

    def write(self, path: str) -> str:
        """The authority's certificate as a PEM file, for ``ca_file``."""
        self.ca.cert_pem.write_to_path(path)
        return path


def new_authority() -> Authority:
    """A fresh one; nobody else trusts it."""
    return Authority(trustme.CA())


def closed_port() -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

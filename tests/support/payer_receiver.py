"""A FHIR server of the payer's that takes ClaimResponses, and can be told to misbehave.

It keeps the rules of FHIR that make repeats harmless (update as create, conditional create and update, transactions
with ``ifNoneExist``), and counts what had an effect apart from what merely arrived. Run as a program it serves until
it is ended, and tells what it has at ``/_received``.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Reply = tuple[int, dict[str, str], bytes]
_FHIR = {"Content-Type": "application/fhir+json"}
ALL_WAYS = {"updateCreate": True, "conditionalUpdate": True, "conditionalCreate": True, "transaction": True}


@dataclass(frozen=True)
class Got:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Fault:
    """What happens to one request.

    ``status`` refuses it; ``lost`` acts on it and then says nothing; ``half`` acts and sends half of the answer;
    ``hang`` neither acts nor answers; ``reset`` ends the connection at once.
    """

    kind: str
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """The server's state and its rules, without a socket."""

    def __init__(self, ways: dict[str, bool] | None = None) -> None:
        self.ways = dict(ALL_WAYS if ways is None else ways)
        self.resources: dict[str, bytes] = {}  # "Type/id" -> text
        self.by_identifier: dict[str, list[str]] = {}  # "Type?sys|val" -> "Type/id"
        self.effects: Counter[str] = Counter()  # business identifier -> how often something new came of it
        self.order: list[str] = []  # business identifiers as they took effect
        self.got: list[Got] = []
        self.keep = True  # the requests; a load test has no use for them
        self.count = 0
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.seen_keys: set[str] = set()
        self.notices: list[bytes] = []
        self.tokens: Callable[[bytes], Reply] | None = None
        self.token = ""  # what calls must carry, if anything

    def answer(self, got: Got) -> Reply:
        """Act on one request."""
        path, query = urlsplit(got.target).path, parse_qs(urlsplit(got.target).query)
        if path == "/token" and self.tokens is not None:
            return self.tokens(got.body)
        if path == "/_received":
            return self._summary()
        if path == "/hook":
            self.notices.append(got.body)
            return 200, {}, b""
        if self.token and got.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {}, b""
        if path == "/fhir/metadata":
            return 200, _FHIR, json.dumps(self._capability()).encode()
        parts = path.strip("/").split("/")
        if parts[:1] != ["fhir"]:
            return 404, {}, b""
        return self._fhir(got, parts[1:], query)

    def _fhir(self, got: Got, parts: list[str], query: dict[str, list[str]]) -> Reply:
        match got.method, parts, "identifier" in query:
            case "GET", [kind, ident], _:
                text = self.resources.get(f"{kind}/{ident}")
                return (404, {}, b"") if text is None else (200, _FHIR, text)
            case "GET", [kind], True:
                return self._search(kind, query["identifier"][0])
            case "PUT", [kind, ident], _ if self.ways.get("updateCreate"):
                return self._put(kind, ident, got.body)
            case "PUT", [kind], True if self.ways.get("conditionalUpdate"):
                return self._conditional_put(kind, query["identifier"][0], got.body)
            case "POST", ["Bundle"], _:
                return self._bundle(got)
            case "POST", [kind], _:
                once = got.headers.get("if-none-exist", "") if self.ways.get("conditionalCreate") else ""
                return self._create(kind, got.body, once)
            case "POST", [], _ if self.ways.get("transaction"):
                return self._transaction(got.body)
        return 405, {}, b""

    def _put(self, kind: str, ident: str, body: bytes) -> Reply:
        if json.loads(body).get("id") != ident:
            return 400, {}, b""
        return self._store(kind, ident, body)

    def _conditional_put(self, kind: str, token: str, body: bytes) -> Reply:
        found = self.by_identifier.get(f"{kind}?{token}", [])
        if len(found) > 1:
            return 412, {}, b""
        ident = found[0].partition("/")[2] if found else json.loads(body).get("id") or str(uuid.uuid4())
        return self._store(kind, ident, body)

    def _create(self, kind: str, body: bytes, once: str) -> Reply:
        if once:
            token = parse_qs(once)["identifier"][0]
            found = self.by_identifier.get(f"{kind}?{token}", [])
            if len(found) > 1:
                return 412, {}, b""
            if found:
                return 200, {"Location": found[0]}, b""
        return self._store(kind, str(uuid.uuid4()), body)

    def _transaction(self, body: bytes) -> Reply:
        answers = []
        for entry in json.loads(body)["entry"]:
            text = json.dumps(entry["resource"]).encode()
            kind, _, ident = entry["request"]["url"].partition("/")
            if entry["request"]["method"] == "PUT":
                status, _, _ = self._store(kind, ident, text)
            else:
                status, _, _ = self._create(kind, text, entry["request"].get("ifNoneExist", ""))
            answers.append({"response": {"status": f"{status} Done"}})
        return (
            200,
            _FHIR,
            json.dumps({"resourceType": "Bundle", "type": "transaction-response", "entry": answers}).encode(),
        )

    def _bundle(self, got: Got) -> Reply:
        key = got.headers.get("idempotency-key", "")
        if key not in self.seen_keys:
            self.seen_keys.add(key)
            self._store(
                "ClaimResponse", str(uuid.uuid4()), json.dumps(json.loads(got.body)["entry"][0]["resource"]).encode()
            )
        return 201, {}, b""

    def _store(self, kind: str, ident: str, body: bytes) -> Reply:
        place = f"{kind}/{ident}"
        new = self.resources.get(place) != body
        known = place in self.resources
        name: str | None = None
        self.resources[place] = body
        for each in json.loads(body).get("identifier") or []:
            places = self.by_identifier.setdefault(f"{kind}?{each['system']}|{each['value']}", [])
            if place not in places:
                places.append(place)
            if kind == "ClaimResponse" and new and name is None:
                name = each["value"]  # the first one is its own; others say what it belongs to
                self.effects[name] += 1
                self.order.append(name)
        return (200 if known else 201), {"Location": f"{place}/_history/1"}, b""

    def _search(self, kind: str, token: str) -> Reply:
        entries = [
            {"resource": json.loads(self.resources[place])} for place in self.by_identifier.get(f"{kind}?{token}", [])
        ]
        return 200, _FHIR, json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries}).encode()

    def _capability(self) -> dict[str, Any]:
        codes = ["create", "search-type", "read", "update"]
        resource: dict[str, Any] = {"type": "ClaimResponse", "interaction": [{"code": code} for code in codes]}
        resource |= {
            name: self.ways[name]
            for name in ("updateCreate", "conditionalUpdate", "conditionalCreate")
            if name in self.ways
        }
        rest: dict[str, Any] = {"mode": "server", "resource": [resource]}
        if self.ways.get("transaction"):
            rest["interaction"] = [{"code": "transaction"}]
        return {"resourceType": "CapabilityStatement", "rest": [rest]}

    def _summary(self) -> Reply:
        told = {"effects": self.effects, "order": self.order, "count": self.count, "notices": len(self.notices)}
        return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()


class ReceiverServer:
    """The receiver behind a real socket, in a thread. ``with ReceiverServer() as server: server.url``."""

    def __init__(self, receiver: Receiver | None = None, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.receiver = receiver or Receiver()
        self._tls = tls
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "localhost", self._port, ssl=self._tls)

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05 if self._tls else 0.005)  # closing a socket takes the loop another turn or two

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (got := await _read(reader)) is not None:
                if not await self._respond(got, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort() if self._tls else writer.close()

    async def _respond(self, got: Got, writer: asyncio.StreamWriter) -> bool:
        receiver = self.receiver
        receiver.count += not got.target.startswith("/_")
        if receiver.keep:
            receiver.got.append(got)
        fault = receiver.always
        if fault is None and receiver.faults and not got.target.startswith("/_"):
            fault = receiver.faults.popleft()
        kind = "" if fault is None else fault.kind
        if fault is not None and kind == "status":
            await _send(writer, (fault.status, fault.headers, fault.body))
            return True
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "reset":
            writer.transport.abort()
            return False
        reply = receiver.answer(got)
        if kind == "lost":
            writer.transport.abort()
            return False
        if kind == "half":
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            return False
        await _send(writer, reply)
        return True


async def _read(reader: asyncio.StreamReader) -> Got | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Got(method, target, headers, body)


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> None:
    status, headers, body = reply
    lines = [f"HTTP/1.1 {status} Done", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n").encode("latin-1") + body)
    await writer.drain()


def main() -> None:
    """Serve on the port named by the first argument (0: any); say ``ready PORT``."""
    receiver = Receiver()
    receiver.keep = False
    with ReceiverServer(receiver, port=int(sys.argv[1])) as server:
        sys.stdout.write(f"ready {server.port}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()

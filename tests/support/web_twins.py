"""The web with twins behind it: no socket, no database, answers as told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from werkzeug.test import Client

from cds_service.clients import ClientProfile
from cds_service.errors import NotAuthenticated
from cds_service.ports import Caller
from cds_service.use_cases.hook_answer import HookAnswer
from cds_service.web import cds_services, pages
from cds_service.web.application import Parts, application
from cds_service.web.log_lines import Line
from cds_service.web.metrics import Metrics

BASE = "https://payer.example.org/cds"
READER_TOKEN = "token-of-an-auditor"
GOOD = {"Authorization": "Bearer good"}
JSON = {"Content-Type": "application/json"}
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOOK_INSTANCE = "0d8f5b1e-52a3-4b0e-8d4e-4a2a7c1f9a55"
ASSERTION_FORM = {
    "grant_type": "client_credentials",
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
}
ORDER_SIGN = "/cds-services/order-sign"


class KeptLines:
    """Keeps log lines instead of writing them."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def put(self, line: Line) -> None:
        self.lines.append(line)

    def text(self) -> str:
        return "\n".join(msgspec.json.encode(line).decode() for line in self.lines)


class Doorkeeper:
    """Knows one client by the token ``good``; remembers for which address it was asked."""

    def __init__(self, hooks: tuple[str, ...] = ("order-sign", "order-select")) -> None:
        self.profile = ClientProfile(id="sample-ehr", name="Sample EHR", issuer="https://ehr.example.org", hooks=hooks)
        self.urls: list[str] = []

    def verify(self, authorization_values: tuple[str, ...], url: str) -> Caller:
        self.urls.append(url)
        if authorization_values != ("Bearer good",):
            raise NotAuthenticated("signature")
        return Caller(self.profile, "jti-1", None)


class Told:
    """A use case that answers, or raises, as told; keeps what it was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.started: list[float] = []
        self.behave: Callable[[bytes], HookAnswer] = lambda _body: HookAnswer(
            status=200,
            body=b'{"cards":[]}',
            hook_instance=HOOK_INSTANCE,
            covered=("covered",),
            rules=("coverage.ready",),
            dropped=("other_patient", "refuted", "other_patient"),
        )

    def answer(self, service: str, body: bytes, caller: Caller, url: str, *, started: float) -> HookAnswer:
        del service, caller, url
        self.bodies.append(body)
        self.started.append(started)
        return self.behave(body)


class Documents:
    """Stored determinations by id, and who asked for them."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self.documents = documents
        self.accesses: list[tuple[str, str, str]] = []

    def determination(self, ident: str) -> bytes | None:
        return self.documents.get(ident)

    def note_access(self, reader: str, action: str, record: str, at: datetime) -> None:
        assert at == NOW
        self.accesses.append((reader, action, record))


class FixedNow:
    def now(self) -> datetime:
        return NOW


class Web:
    """One application and its twins. ``call`` sends a request as a client library would."""

    def __init__(self, **changes: Any) -> None:
        self.lines = KeptLines()
        self.door = changes.pop("door", Doorkeeper())
        self.use_case = Told()
        self.feedback: list[tuple[str, bytes]] = []
        self.ready: BaseException | None = None
        self.store = Documents({"assertion-1": b'{"orders":[]}'})
        self.metrics = Metrics(["sample-ehr"], ["order-sign", "order-select", "order-dispatch"], shared=False)
        hooks = cds_services.Hooks(
            base_url=BASE,
            discovery=b'{"services":[]}',
            discovery_digest="0123",
            discovery_auth=changes.pop("discovery_auth", False),
            authenticator=self.door,
            use_cases=dict.fromkeys(("order-sign", "order-select", "order-dispatch"), self.use_case),
            feedback=self._keep_feedback,
            max_body_bytes=changes.pop("max_body_bytes", 1_000),
        )
        values: dict[str, Any] = {
            "hooks": hooks,
            "pages": pages.Pages(
                payer="Sample Payer",
                guidelines=(),
                view=lambda guideline: guideline,
                hooks_document=Path(__file__).resolve().parents[2] / "docs" / "hooks.md",
                today=NOW.date,
            ),
            "store": self.store,
            "ping": self._ping,
            "clock": FixedNow(),
            "readers": {sha256(READER_TOKEN.encode()).hexdigest(): "auditor"},
            "metrics": self.metrics,
            "metrics_token_sha256": "",
            "metrics_open": True,
            "origins": ("https://ehr.example.org",),
            "writer": self.lines,
            "request_prefix": "t",
            "queue_seconds": 1.0,
        }
        self.client = Client(application(Parts(**(values | changes))))

    def call(self, method: str = "POST", path: str = ORDER_SIGN, **named: Any) -> Any:
        headers = named.pop("headers", GOOD | JSON)
        return self.client.open(path, method=method, headers=headers, **named)

    def _keep_feedback(self, service: str, body: bytes, caller: Caller) -> int:
        del caller
        self.feedback.append((service, body))
        return 1

    def _ping(self) -> None:
        if self.ready is not None:
            raise self.ready

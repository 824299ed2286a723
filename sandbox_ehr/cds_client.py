"""The CDS client: discovery, signed calls, feedback. What goes wrong here never stops an order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import requests
from joserfc import jwt
from urllib3.exceptions import HTTPError

from sandbox_ehr.fhir_json import dumps, loads
from sandbox_ehr.keys import ALGORITHM, Keys

TOKEN_SECONDS = 300
TIMEOUT = (2.0, 8.0)  # seconds to connect, and between bytes
PATIENCE = 12.0  # seconds for a whole answer: a service that drips must not hold a prescriber
LARGEST_ANSWER = 4_000_000  # bytes
_REMEMBER_SECONDS = 60.0


class ServiceNotReached(Exception):
    """The CDS service could not be asked, or its answer could not be read. The text is for people."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer of the service: status, body text, the body parsed (None: not JSON), and milliseconds."""

    status: int
    text: str
    body: Any
    milliseconds: int
    jwt_claims: Mapping[str, Any]


class CdsClient:
    """Calls one CDS service as a registered client."""

    def __init__(
        self,
        url: str,
        *,
        audience: str,
        issuer: str,
        keys: Keys,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        """``url``: where the service listens; ``audience``: the public base that it knows itself by."""
        self._url, self._audience, self._issuer = url.rstrip("/"), audience.rstrip("/"), issuer
        self._keys, self._now, self._new_id = keys, now, new_id
        self._services: tuple[float, list[dict[str, Any]]] = (float("-inf"), [])

    def service(self, hook: str) -> Mapping[str, Any] | None:
        """The service offered for ``hook``, or None. Discovery is read again after a minute."""
        when, services = self._services
        if time.monotonic() - when > _REMEMBER_SECONDS:
            services = self._discover()
            self._services = (time.monotonic(), services)
        return next((service for service in services if service.get("hook") == hook), None)

    def call(self, service_id: str, body: Mapping[str, Any]) -> Answer:
        """POST one hook request. Raises ServiceNotReached."""
        return self._send("POST", f"/cds-services/{service_id}", body)

    def feedback(self, service_id: str, entries: list[dict[str, Any]]) -> Answer:
        """POST feedback on cards. Raises ServiceNotReached."""
        return self._send("POST", f"/cds-services/{service_id}/feedback", {"feedback": entries})

    def _discover(self) -> list[dict[str, Any]]:
        answer = self._send("GET", "/cds-services", None)
        services = answer.body.get("services") if isinstance(answer.body, dict) else None
        if answer.status != 200 or not isinstance(services, list):
            raise ServiceNotReached(f"The payer's discovery answered {answer.status}.")
        return [service for service in services if isinstance(service, dict)]

    def _claims(self, path: str) -> dict[str, Any]:
        issued = int(self._now().timestamp())
        return {
            "iss": self._issuer, "aud": self._audience + path, "iat": issued, "exp": issued + TOKEN_SECONDS,
            "jti": self._new_id(),
        }  # fmt: skip

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        claims = self._claims(path)
        header = {
            "alg": ALGORITHM, "typ": "JWT", "kid": self._keys.hooks.kid, "jku": f"{self._issuer}/jwks.json",
        }  # fmt: skip
        token = jwt.encode(header, claims, self._keys.hooks, algorithms=[ALGORITHM])
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = dumps(body).encode()
        started = time.perf_counter()
        try:
            status, text = self._exchange(method, self._url + path, headers, data)
        except (requests.RequestException, HTTPError, OSError):
            raise ServiceNotReached("The payer's service did not answer.") from None
        milliseconds = round((time.perf_counter() - started) * 1000)
        return Answer(status, text, _parsed(text), milliseconds, claims)

    @staticmethod
    def _exchange(method: str, url: str, headers: dict[str, str], data: bytes | None) -> tuple[int, str]:
        with requests.Session() as session:
            session.trust_env = False
            with session.request(
                method, url, headers=headers, data=data, timeout=TIMEOUT, allow_redirects=False, stream=True
            ) as response:
                return response.status_code, _read(response.raw).decode("utf-8", errors="replace")


def _read(raw: Any) -> bytes:
    until, parts, size = time.monotonic() + PATIENCE, [], 0
    while part := raw.read1(65_536, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER or time.monotonic() > until:
            raise ServiceNotReached("The payer's answer is too large or too slow.")
    return b"".join(parts)


def _parsed(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return None

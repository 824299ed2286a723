"""Calls to a payer's DTR and PAS servers: SMART Backend Services, then FHIR (requirements AP-07, AP-22, AP-25, AP-36).

Every trouble is one exception with a word of a closed list, so that a page can say what happened and what to do.
A call is repeated once only where repeating cannot do harm: it was never sent, or it only asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from cds_service.clients import normal_base
from cds_service.errors import CdsServiceError
from cds_service.fhir.concepts import word
from cds_service.fhir.json import parse
from smart_app.adapters.outbound import Answer, Outbound, OutboundFailure, egress_to_payer, host_of
from smart_app.dtr.package import Packages, Resource, messages_of, read_packages
from smart_app.registry import PayerProfile, base_of

MAX_BYTES = 20_000_000
_NEVER_SENT = frozenset({"address_refused", "name_not_resolved", "connect_failed", "tls_failed"})
_EARLY = 30  # a token is not used in the last seconds of its life
_JSON = "application/fhir+json"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Assertion = Callable[[PayerProfile, str], str]
"""(payer, token endpoint) -> a signed client assertion, fresh for each use."""


class PayerTrouble(Exception):
    """No usable answer from a payer.

    ``kind``: ``away`` (not reached, too slow, or a fault of theirs; try later), ``busy`` (they ask us to wait),
    ``refused`` (we are not let in), ``declined`` (they understood and say no: see ``messages``), ``unreadable`` (an
    answer that is no FHIR), ``unknown_outcome`` (sent, but nobody knows whether it arrived; never repeated here).
    """

    def __init__(self, kind: str, messages: tuple[tuple[str, str], ...] = (), status: int = 0) -> None:
        """``messages``: (severity, text) of the payer, for the person alone, never for a log. ``status``: of HTTP."""
        super().__init__(kind)
        self.kind = kind
        self.messages = messages
        self.status = status


class _Token(msgspec.Struct, frozen=True):
    value: str
    until: float


class PayerClient:
    """Thread-safe. Keeps tokens in memory until they end: another process just asks for its own."""

    def __init__(self, outbound: Outbound, assertion: Assertion) -> None:
        self._outbound = outbound
        self._assertion = assertion
        self._tokens: dict[tuple[str, str, tuple[str, ...]], _Token] = {}
        self._endpoints: dict[str, str] = {}
        self._lock = threading.Lock()

    def packages(self, payer: PayerProfile, parameters: Resource) -> Packages:
        """``$questionnaire-package``. A 4xx with an OperationOutcome raises ``declined`` with its texts."""
        path = "Questionnaire/$questionnaire-package"
        return read_packages(self.call(payer, payer.dtr_base, payer.scopes, "POST", path, parameters))

    def next_question(self, payer: PayerProfile, address: str, response: Resource) -> Resource:
        """``$next-question``: the response with the questions that come next.

        ``address`` is the questionnaire's own word: "." or an address under the payer's base; another address is
        refused, because an answer would leave for a place that the payer did not register (SM-48).
        """
        below = "" if address == "." else _below(address, payer.dtr_base)
        if below is None:
            raise PayerTrouble("refused", (("error", _ELSEWHERE),))
        path = f"{below}Questionnaire/$next-question"
        body = self.call(payer, payer.dtr_base, payer.scopes, "POST", path, _question(response))
        found = _response_in(body)
        if found is None:
            raise PayerTrouble("unreadable")
        return found

    def expand(self, payer: PayerProfile, value_set: str, text: str, count: int = 20) -> Resource:
        """``ValueSet/$expand`` with a filter: the ValueSet with its expansion."""
        url, _, version = value_set.partition("|")
        asked = {"url": url, **({"valueSetVersion": version} if version else {}), "filter": text, "count": str(count)}
        path = f"ValueSet/$expand?{urlencode(asked)}"
        body = self.call(payer, payer.dtr_base, payer.scopes, "GET", path, None)
        if not isinstance(body, dict) or body.get("resourceType") != "ValueSet":
            raise PayerTrouble("unreadable")
        return body

    def report_errors(self, payer: PayerProfile, canonical: str, outcome: Resource) -> bool:
        """``$log-questionnaire-errors``; whether the payer took it. Never raises: the person is not to be stopped."""
        parameters = {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "questionnaire", "valueCanonical": canonical},
                {"name": "operationOutcome", "resource": outcome},
            ],
        }
        try:
            self.call(
                payer, payer.dtr_base, payer.scopes, "POST", "Questionnaire/$log-questionnaire-errors", parameters
            )
        except PayerTrouble:
            return False
        return True

    def call(
        self,
        payer: PayerProfile,
        base: str,
        scopes: tuple[str, ...],
        method: str,
        path: str,
        resource: Resource | bytes | None,
        *,
        repeatable: bool = True,
        seconds: float | None = None,
    ) -> Any:
        """One FHIR call with a token for ``scopes``; the parsed body, None for an empty one.

        ``resource`` as bytes is sent as it is. ``repeatable``: the call only asks, or the payer knows a repeat, so it
        may be sent twice. Raises PayerTrouble.
        """
        answer = self._send(payer, base, scopes, method, path, resource, repeatable=repeatable, seconds=seconds)
        return _read(answer)

    def create(
        self, payer: PayerProfile, base: str, scopes: tuple[str, ...], resource: Resource, seconds: float
    ) -> tuple[str, Any]:
        """POST a new resource, never twice: its id at the payer ("" where nothing tells it), and the answer's body."""
        kind = resource["resourceType"]
        answer = self._send(payer, base, scopes, "POST", kind, resource, repeatable=False, seconds=seconds)
        body = _read(answer)
        ident = word(body.get("id")) if isinstance(body, Mapping) and body.get("resourceType") == kind else ""
        places = answer.headers.get("location", "").split("/")
        return ident or (places[places.index(kind) + 1] if kind in places[:-1] else ""), body

    def _send(
        self,
        payer: PayerProfile,
        base: str,
        scopes: tuple[str, ...],
        method: str,
        path: str,
        resource: Resource | bytes | None,
        *,
        repeatable: bool,
        seconds: float | None,
    ) -> Answer:
        deadline = self._outbound.monotonic() + (seconds or payer.call_seconds)
        body = resource if resource is None or isinstance(resource, bytes) else _ENCODE(resource)
        url = f"{base_of(base)}/{path}"
        fresh = False
        for last in (False, True):
            headers = {"Accept": _JSON, "Content-Type": _JSON}
            if not payer.open_api:
                headers["Authorization"] = f"Bearer {self._token(payer, base, scopes, deadline, fresh=fresh)}"
            try:
                answer = self._outbound.send(
                    method, url, egress_to_payer(payer), self._left(deadline), headers, body=body, max_bytes=MAX_BYTES
                )
            except OutboundFailure as failure:
                if not last and (failure.reason in _NEVER_SENT or (repeatable and failure.reason == "disconnected")):
                    continue
                raise _trouble(failure.reason, repeatable=repeatable) from None
            if answer.status == 401 and not last:
                fresh = True
                continue
            if answer.status in {502, 503, 504} and repeatable and not last and not answer.retry_after:
                continue  # who says when to come back is not asked again at once
            return answer
        raise PayerTrouble("refused")

    def _left(self, deadline: float) -> float:
        return max(deadline - self._outbound.monotonic(), 0)

    def _token(self, payer: PayerProfile, base: str, scopes: tuple[str, ...], deadline: float, *, fresh: bool) -> str:
        key = (payer.id, base, scopes)
        with self._lock:
            kept = None if fresh else self._tokens.get(key)
        if kept is not None and self._outbound.monotonic() < kept.until:
            return kept.value
        endpoint = self._token_endpoint(payer, base, deadline)
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(scopes),
            "client_assertion_type": _ASSERTION,
            "client_assertion": self._assertion(payer, endpoint),
        }
        try:
            answer = self._outbound.form(endpoint, egress_to_payer(payer, endpoint), self._left(deadline), form)
        except OutboundFailure as failure:
            raise _trouble(failure.reason, repeatable=True) from None
        token = _token_of(answer, self._outbound.monotonic())
        with self._lock:
            self._tokens[key] = token
        return token.value

    def _token_endpoint(self, payer: PayerProfile, base: str, deadline: float) -> str:
        """The registered one, else the one that the base's discovery names on a host that is the payer's."""
        if payer.token_url:
            return payer.token_url
        with self._lock:
            known = self._endpoints.get(base)
        if known is not None:
            return known
        url = f"{base_of(base)}/.well-known/smart-configuration"
        try:
            answer = self._outbound.json(url, egress_to_payer(payer), self._left(deadline))
        except OutboundFailure as failure:
            raise _trouble(failure.reason, repeatable=True) from None
        body = _read(answer)
        endpoint = word(body.get("token_endpoint")) if isinstance(body, Mapping) else ""
        if normal_base(endpoint) is None or host_of(endpoint) not in {host_of(base), *payer.token_hosts}:
            raise PayerTrouble("refused")
        with self._lock:
            self._endpoints[base] = endpoint
        return endpoint


_ENCODE = msgspec.json.Encoder(decimal_format="number").encode


def _question(response: Resource) -> Resource:
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "questionnaire-response", "resource": response}],
    }


def _response_in(body: Any) -> Resource | None:
    """The QuestionnaireResponse of a ``$next-question`` answer: bare, or a parameter of any name."""
    if not isinstance(body, dict):
        return None
    if body.get("resourceType") == "QuestionnaireResponse":
        return body
    parameters = body.get("parameter")
    for part in parameters if isinstance(parameters, list) else ():
        resource = part.get("resource") if isinstance(part, dict) else None
        if isinstance(resource, dict) and resource.get("resourceType") == "QuestionnaireResponse":
            return resource
    return None


_ELSEWHERE = "The form gets its questions from an address that is not registered for this payer."


def _below(address: str, base: str) -> str | None:
    """Where below ``base`` an adaptive form's address is, as "" or "tenant/"; None where it is anywhere else.

    The address is that of a base or of the operation itself.
    """
    named = base_of(address).removesuffix("/$next-question").removesuffix("/Questionnaire")
    there, here = normal_base(named), normal_base(base)
    if there is None or here is None or there[:3] != here[:3]:
        return None
    if there[3] == here[3]:
        return ""
    return f"{there[3].removeprefix(f'{here[3]}/')}/" if there[3].startswith(f"{here[3]}/") else None


def _token_of(answer: Answer, now: float) -> _Token:
    if answer.status in {400, 401, 403}:
        raise PayerTrouble("refused")
    body = _read(answer)
    value = word(body.get("access_token")) if isinstance(body, Mapping) else ""
    if not value or word(body.get("token_type")).lower() != "bearer":
        raise PayerTrouble("unreadable")
    life = body.get("expires_in")
    seconds = life if isinstance(life, int) and life > 0 else 60
    return _Token(value, now + max(1, seconds - _EARLY))


def _read(answer: Answer) -> Any:
    """The body of a good answer; anything else is trouble of one kind or another."""
    body: Any = None
    if answer.body.strip():
        try:
            body = parse(answer.body, max_bytes=MAX_BYTES)
        except CdsServiceError:
            if answer.status < 300:
                raise PayerTrouble("unreadable") from None
    if answer.status < 300:
        return body
    if answer.status in {401, 403} or 300 <= answer.status < 400:
        raise PayerTrouble("refused", messages_of(body), answer.status)
    if answer.status == 429 or (answer.status == 503 and answer.retry_after):
        raise PayerTrouble("busy", messages_of(body), answer.status)
    away = answer.status >= 500 or answer.status in {408, 425}  # too slow, too early: not about the request
    raise PayerTrouble("away" if away else "declined", messages_of(body), answer.status)


def _trouble(reason: str, *, repeatable: bool) -> PayerTrouble:
    if reason == "not_allowed":
        return PayerTrouble("refused")
    if reason in _NEVER_SENT or repeatable:
        return PayerTrouble("unreadable" if reason in {"too_large", "bad_encoding"} else "away")
    return PayerTrouble("unknown_outcome")

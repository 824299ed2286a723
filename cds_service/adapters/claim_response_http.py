"""Hands ClaimResponses to payer endpoints over FHIR: once in effect, however often it is tried (D02 to D04, D09, D11).

Each way of writing carries something by which the receiver knows a repeat: our resource id, or the business identifier
``case.version``; and always the same ``Idempotency-Key``. Where a server has neither, we look before we write.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import msgspec

from cds_service.adapters.endpoint_capability import MAX_BYTES, Capabilities, UnknownWay
from cds_service.adapters.endpoint_files import certificate
from cds_service.adapters.guarded_http import Answer, Egress, GuardedHttp, OutboundFailure
from cds_service.adapters.retry_after import retry_after
from cds_service.adapters.token_purchase import NoToken, TokenPurchase
from cds_service.domain.delivery import Delivery, Sent
from cds_service.errors import CdsServiceError
from cds_service.fhir.json import parse
from cds_service.fhir.pas.parcel import Parcel, Unsendable, matches, parcel, same_content, transaction
from cds_service.payer_endpoints import (
    BUNDLE,
    CONDITIONAL_CREATE,
    CONDITIONAL_UPDATE,
    PUT,
    SEARCH_THEN_CREATE,
    TRANSACTION,
    PayerEndpoint,
)
from cds_service.ports import Clock, NewId

_FHIR = "application/fhir+json"
_AGAIN = frozenset({401, 408, 425, 429})  # and 5xx
# FHIR's kinds of issue that pass by themselves: ``transient`` and what stands below it. What is compared with them may
# be of any shape, so no set.
_TRANSIENT = ("transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled")
_EXCERPT = 500  # characters
_LONGEST_LOCATION = 500


class _Request(msgspec.Struct, frozen=True):
    method: str
    url: str
    body: bytes
    headers: Mapping[str, str] = {}


class _Try(msgspec.Struct, frozen=True):
    """One try of one parcel: where, how, and until when (steady clock)."""

    endpoint: PayerEndpoint
    egress: Egress
    delivery: Delivery
    parcel: Parcel
    deadline: float


class HttpClaimResponseSender:
    """``delivery_ports.ClaimResponseSender``. Thread-safe."""

    def __init__(self, http: GuardedHttp, tokens: TokenPurchase, clock: Clock, new_id: NewId) -> None:
        """``http`` is the guarded way out; ``tokens`` buys what endpoints with ``backend_services`` ask for."""
        self._http = http
        self._tokens = tokens
        self._clock = clock
        self._new_id = new_id
        self._capabilities = Capabilities(clock.monotonic)

    def send(self, endpoint: PayerEndpoint, delivery: Delivery) -> Sent:
        """See ``delivery_ports.ClaimResponseSender``."""
        started = self._clock.monotonic()
        try:
            told = _Try(endpoint, _egress(endpoint), delivery, parcel(delivery.payload), started + endpoint.seconds)
            sent = self._sent(told)
        except Unsendable as broken:
            sent = Sent(state="dead", reason=broken.reason)
        except OutboundFailure as failure:
            sent = Sent(state="retry", reason=failure.reason)
        except NoToken as failure:
            sent = Sent(state="retry", reason=failure.reason, status=failure.status)
        except UnknownWay as failure:
            sent = Sent(state="retry", reason=failure.reason, status=failure.status)
        return msgspec.structs.replace(sent, latency_ms=int((self._clock.monotonic() - started) * 1000))

    def _sent(self, told: _Try) -> Sent:
        way = self._capabilities.way(told.endpoint, lambda: self._metadata(told))
        if way == SEARCH_THEN_CREATE or (way == BUNDLE and told.delivery.attempts > 1):
            # Nothing of such a request lets the receiver know a repeat by itself, so it is asked first (F16).
            there = self._read_back(told, way)
            if there is None or there.state == "done":
                return there or Sent(state="retry", reason="read_back_failed", method=way)
        request = _request(way, told)
        answer = self._call(told, request)
        sent = _outcome(answer, request, way, self._clock.now())
        # 200 to a conditional create: something with our identifier was there before. Ours, unless an old backup made
        # us use a version number twice (F29): that is found out, never assumed.
        was_there = way == CONDITIONAL_CREATE and answer.status == 200 and sent.state == "done"
        if answer.status in {409, 412} or was_there:
            return self._after_conflict(told, way, sent)
        if sent.state == "dead" and answer.status in {405, 501}:
            self._capabilities.forget(told.endpoint)
        return sent

    def _after_conflict(self, told: _Try, way: str, sent: Sent) -> Sent:
        """The receiver says that something is there already: is it what we sent? (D04)."""
        there = self._read_back(told, way)
        if there is None:
            return msgspec.structs.replace(sent, state="retry", reason="read_back_failed")
        state = "done" if there.state == "done" else "dead"
        reason = "already_there" if state == "done" else "conflict"
        return msgspec.structs.replace(sent, state=state, reason=reason, location=there.location)

    def _read_back(self, told: _Try, way: str) -> Sent | None:
        """``done`` when exactly what we send is there, ``dead`` when it is not; None: it could not be seen."""
        base, identifier = told.endpoint.base_url, _token(told.parcel)
        url = (
            f"{base}/ClaimResponse/{told.parcel.id}" if way == PUT else f"{base}/ClaimResponse?identifier={identifier}"
        )
        answer = self._call(told, _Request("GET", url, b""))
        if answer.status in {404, 410}:
            return Sent(state="dead", reason="absent")
        found = matches(answer.body) if answer.status == 200 else None
        if found is None:
            return None
        if len(found) != 1 or not same_content(told.parcel.resource, found[0]):
            return Sent(state="dead", reason="conflict" if found else "absent")
        digest = sha256(told.parcel.resource).hexdigest()
        place = f"ClaimResponse/{found[0].get('id', '')}"
        return Sent(state="done", reason="already_there", status=200, location=place, method=way, request_digest=digest)

    def _metadata(self, told: _Try) -> bytes:
        answer = self._call(told, _Request("GET", f"{told.endpoint.base_url}/metadata", b""), max_bytes=MAX_BYTES)
        if answer.status != 200:
            raise UnknownWay("metadata_refused", answer.status)
        return answer.body

    def _call(self, told: _Try, request: _Request, *, max_bytes: int = 1_000_000) -> Answer:
        """One call; a token that is refused is bought anew, once (D04)."""
        if told.endpoint.auth != "backend_services":
            return self._once(told, request, {}, max_bytes)
        token = self._tokens.token(told.endpoint, told.deadline)
        answer = self._once(told, request, {"Authorization": f"Bearer {token}"}, max_bytes)
        if answer.status != 401:
            return answer
        token = self._tokens.token(told.endpoint, told.deadline, but=token)
        return self._once(told, request, {"Authorization": f"Bearer {token}"}, max_bytes)

    def _once(self, told: _Try, request: _Request, more: Mapping[str, str], max_bytes: int) -> Answer:
        headers = {"Accept": _FHIR, "X-Request-Id": self._new_id(), **request.headers, **more}
        if request.body:
            headers |= written_headers(request.body, told.delivery.idem_key)
        return self._http.send(
            request.method,
            request.url,
            told.egress,
            told.deadline,
            headers,
            body=request.body or None,
            max_bytes=max_bytes,
        )


def written_headers(body: bytes, idem_key: str, media_type: str = _FHIR) -> dict[str, str]:
    """What every message carries so that the receiver knows it whole, and again (D09, RFC 9530)."""
    digest = b64encode(sha256(body).digest()).decode()
    return {"Content-Type": media_type, "Idempotency-Key": idem_key, "Content-Digest": f"sha-256=:{digest}:"}


def judged(answer: Answer) -> tuple[str, str]:
    """State and reason of an answer (D04): delivered, to be tried again, or never to be taken."""
    status = answer.status
    if 200 <= status < 300:
        return "done", ""
    if status in _AGAIN or status >= 500:
        return "retry", f"status_{status}"
    return "dead", f"status_{status}"


def said(answer: Answer) -> str:
    """The start of what the other side said of its refusal, in one line: kept with the try, never logged."""
    parts = []
    for issue in _issues(answer.body):
        words = (issue.get("code"), issue.get("diagnostics"), _text(issue.get("details")))
        parts.append(" ".join(word for word in words if isinstance(word, str)))
    return "; ".join(parts)[:_EXCERPT]


def _issues(body: bytes) -> list[dict[str, Any]]:
    """The issues of an OperationOutcome; none where the body is something else."""
    if b"OperationOutcome" not in body:
        return []
    try:
        outcome = parse(body, max_bytes=100_000)
    except CdsServiceError:
        return []
    if not isinstance(outcome, dict) or outcome.get("resourceType") != "OperationOutcome":
        return []
    issues = outcome.get("issue")
    return [issue for issue in issues if isinstance(issue, dict)] if isinstance(issues, list) else []


def _told_of_error(body: bytes) -> tuple[str, str]:
    """State and reason of a 2xx by its body: some gateways answer 200 whatever became of the message behind them.

    A FHIR server answers with FHIR or with nothing; a web page is of a sign-in or a gateway that stands before it.
    """
    if body.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "retry", "web_page"
    errors = [issue for issue in _issues(body) if issue.get("severity") in ("error", "fatal")]
    if not errors:
        return "done", ""
    passes = all(issue.get("code") in _TRANSIENT for issue in errors)
    return ("retry", "outcome_transient") if passes else ("dead", "outcome_error")


def _text(details: object) -> object:
    return details.get("text") if isinstance(details, dict) else None


def _egress(endpoint: PayerEndpoint) -> Egress:
    return Egress(
        (endpoint.base_url,),
        (endpoint.base_url,),
        endpoint.allow_private,
        endpoint.allow_http,
        endpoint.ca_file,
        certificate(endpoint),
    )


def _request(way: str, told: _Try) -> _Request:
    base, sent = told.endpoint.base_url, told.parcel
    quiet = {"Prefer": "return=minimal"}
    if way == PUT:
        if not sent.id:
            raise Unsendable("no_resource_id")
        return _Request("PUT", f"{base}/ClaimResponse/{sent.id}", sent.resource, quiet)
    if way == CONDITIONAL_UPDATE:
        return _Request("PUT", f"{base}/ClaimResponse?identifier={_token(sent)}", sent.resource, quiet)
    if way == CONDITIONAL_CREATE:
        once = {"If-None-Exist": f"identifier={_token(sent)}"}
        return _Request("POST", f"{base}/ClaimResponse", sent.resource, quiet | once)
    if way == TRANSACTION:
        return _Request("POST", base, transaction(sent.bundle), quiet)
    if way == BUNDLE:
        return _Request("POST", f"{base}/{told.endpoint.bundle_path}", sent.bundle, quiet)
    return _Request("POST", f"{base}/ClaimResponse", sent.resource, quiet)


def _token(sent: Parcel) -> str:
    return f"{quote(sent.system, safe='')}|{quote(sent.value, safe='')}"


def _outcome(answer: Answer, request: _Request, way: str, now: datetime) -> Sent:
    state, reason = judged(answer)
    if state == "done":
        state, reason = _told_of_error(answer.body)
    if state == "done" and way == TRANSACTION and not _all_taken(answer.body):
        state, reason = "retry", "transaction_incomplete"
    asked = retry_after(answer.retry_after, now) if state == "retry" else None
    return Sent(
        state=state,
        reason=reason,
        status=answer.status,
        retry_after=asked,
        location=answer.headers.get("location", "")[:_LONGEST_LOCATION],
        method=way,
        request_digest=sha256(request.body).hexdigest(),
        excerpt="" if state == "done" else said(answer),
    )


def _all_taken(body: bytes) -> bool:
    """Whether a transaction's answer says of every entry that it was taken; an empty body says nothing else."""
    if not body:
        return True
    try:
        answer: Any = parse(body, max_bytes=1_000_000)
        statuses = [entry["response"]["status"] for entry in answer.get("entry", [])]
    except (CdsServiceError, AttributeError, TypeError, KeyError):
        return False
    return all(isinstance(status, str) and status.startswith("2") for status in statuses)

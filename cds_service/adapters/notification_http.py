"""Hands notices to subscribers by rest-hook (P064, D12, F28): https, checked addresses, no redirect."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from cds_service.adapters.claim_response_http import judged, said, written_headers
from cds_service.adapters.guarded_http import Egress, GuardedHttp, OutboundFailure
from cds_service.adapters.retry_after import retry_after
from cds_service.backend_clients import BackendClient
from cds_service.domain.delivery import Delivery, Sent
from cds_service.ports import Clock, NewId
from cds_service.prior_auth_ports import SubscriptionRecord

_SECONDS = 10  # for one call
# Headers that a subscription may set; the others are ours, or change what the request is.
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"})


class HttpNotificationSender:
    """``delivery_ports.NotificationSender``. Thread-safe."""

    def __init__(self, http: GuardedHttp, clients: Mapping[str, BackendClient], clock: Clock, new_id: NewId) -> None:
        """``clients`` by id: what each may be reached at beyond public https is its registration's to say."""
        self._http = http
        self._clients = clients
        self._clock = clock
        self._new_id = new_id

    def send(self, subscription: SubscriptionRecord, delivery: Delivery) -> Sent:
        """See ``delivery_ports.NotificationSender``."""
        started = self._clock.monotonic()
        client = self._clients.get(subscription.sender)
        if client is None or not client.enabled:
            return Sent(state="dead", reason="subscriber_not_registered")
        sent = self._sent(client, subscription, delivery, started + _SECONDS)
        return msgspec.structs.replace(sent, latency_ms=int((self._clock.monotonic() - started) * 1000))

    def _sent(
        self, client: BackendClient, subscription: SubscriptionRecord, delivery: Delivery, deadline: float
    ) -> Sent:
        url = subscription.endpoint
        egress = Egress((url,), (), client.allow_private, client.allow_http, client.ca_file)
        given = dict(_header(line) for line in subscription.header)
        headers = {name: value for name, value in given.items() if name.lower() not in _OURS and name}
        headers |= {"X-Request-Id": self._new_id()}
        headers |= written_headers(delivery.payload, delivery.idem_key, subscription.payload)
        digest = sha256(delivery.payload).hexdigest()
        try:
            answer = self._http.send("POST", url, egress, deadline, headers, body=delivery.payload, max_bytes=100_000)
        except OutboundFailure as failure:
            final = failure.reason in {"not_allowed", "address_refused"}
            return Sent(state="dead" if final else "retry", reason=failure.reason, request_digest=digest)
        state, reason = judged(answer)
        if answer.status in {400, 403, 404, 409, 422}:
            state = "retry"  # a subscriber's own trouble with one notice must not end its subscription at once (F28)
        return Sent(
            state=state,
            reason=reason,
            status=answer.status,
            retry_after=retry_after(answer.retry_after, self._clock.now()) if state == "retry" else None,
            method="rest_hook",
            request_digest=digest,
            excerpt="" if state == "done" else said(answer),
        )


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()

"""Subscribers to answers: created, changed, shown, ended, and caught up (PAS rows P061-P066; reliability row 117)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from cds_service.backend_clients import BackendCaller
from cds_service.domain.prior_auth import AuditEntry
from cds_service.errors import MalformedRequest, NotFound
from cds_service.fhir.json import parse
from cds_service.fhir.pas.issues import Issue, RequestRefused
from cds_service.fhir.pas.notification import Event, handshake, recovered, status_of
from cds_service.fhir.pas.response import instant
from cds_service.fhir.pas.subscription import WantedNotices, read_subscription, subscription_resource
from cds_service.prior_auth_ports import SubscriptionRecord
from cds_service.use_cases.prior_auth_parts import PriorAuthParts

_ENCODE: Final = msgspec.json.encode
_LARGEST: Final = 100_000  # bytes of a Subscription
_MOST_EVENTS: Final = 50
_MOST_SUBSCRIPTIONS: Final = 20  # of one client

# Why an endpoint may not be called by us, "" where it may; takes the endpoint and the client.
EndpointCheck = Callable[[str, BackendCaller], str]


class SubscribeToAnswers:
    """The use cases around one Subscription. Thread-safe."""

    def __init__(self, parts: PriorAuthParts, check_endpoint: EndpointCheck) -> None:
        self._parts = parts
        self._subscriptions = parts.subscriptions
        self._check_endpoint = check_endpoint
        self._cases = parts.cases
        self._clock = parts.clock
        self._new_id = parts.new_id

    def create(self, body: bytes, version: str, caller: BackendCaller) -> tuple[str, bytes]:
        """(id, Subscription) of a new subscriber: requested, until its endpoint answers the handshake."""
        wanted = self._read(body, caller)
        running = [each for each in self._subscriptions.of_sender(caller.client.id) if each.status != "off"]
        if len(running) >= _MOST_SUBSCRIPTIONS:
            raise RequestRefused(
                [Issue("P061", "too-costly", "this client has too many subscriptions", "Subscription")]
            )
        ident = self._new_id()
        self._put(ident, wanted, version, caller, "subscribe")
        return ident, _ENCODE(subscription_resource(ident, wanted, status="requested"))

    def update(self, ident: str, body: bytes, version: str, caller: BackendCaller) -> bytes:
        """The changed Subscription; its endpoint is asked again. ``off`` ends it. Raises NotFound."""
        self._own(ident, caller)
        wanted = self._read(body, caller)
        if wanted.off:
            self.delete(ident, caller)
            return _ENCODE(subscription_resource(ident, wanted, status="off"))
        self._put(ident, wanted, version, caller, "change-subscription")
        return _ENCODE(subscription_resource(ident, wanted, status="requested"))

    def read(self, ident: str, caller: BackendCaller) -> bytes:
        """One Subscription of this client; raises NotFound."""
        return _ENCODE(_shown(self._own(ident, caller)))

    def search(self, base: str, caller: BackendCaller) -> bytes:
        """All Subscriptions of this client."""
        held = [each for each in self._subscriptions.of_sender(caller.client.id) if each.status != "off"]
        entries = [
            {"fullUrl": f"{base}/Subscription/{each.id}", "resource": _shown(each), "search": {"mode": "match"}}
            for each in held
        ]
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
        return _ENCODE(bundle | ({"entry": entries} if entries else {}))

    def delete(self, ident: str, caller: BackendCaller) -> None:
        """End it; raises NotFound."""
        record = self._own(ident, caller)
        self._subscriptions.delete(record.id, self._audit(record.id, caller, "unsubscribe"))

    def status(self, ident: str, base: str, caller: BackendCaller) -> bytes:
        """``$status``: where it stands, and how many events there were."""
        record = self._own(ident, caller)
        return status_of(base, ident, instant(self._clock.now()), status=record.status, last=record.events)

    def events(self, ident: str, base: str, first: int, last: int, caller: BackendCaller) -> bytes:
        """``$events``: events again, for a subscriber that saw a gap in the numbers (P065); 50 at most."""
        record = self._own(ident, caller)
        last = min(last or record.events, record.events, first + _MOST_EVENTS - 1)
        found = []
        for number, at, case_id, n in self._subscriptions.events_since(ident, first, last):
            version = self._cases.version(case_id, n)
            if version is not None:
                focus = f"{base}/Bundle/{parse(version.response, max_bytes=len(version.response))['id']}"
                found.append(Event(number, instant(at), focus, version.response))
        return recovered(base, ident, instant(self._clock.now()), found, status=record.status, last=record.events)

    def _read(self, body: bytes, caller: BackendCaller) -> WantedNotices:
        raw = parse(body, max_bytes=_LARGEST)
        if not isinstance(raw, dict) or raw.get("resourceType") != "Subscription":
            raise MalformedRequest("the body must be a Subscription", expression="Subscription")
        wanted, found = read_subscription(raw)
        found += self._foreign(wanted, caller)
        if wanted.endpoint and not wanted.off:
            why = self._check_endpoint(wanted.endpoint, caller)
            if why:
                where = "Subscription.channel.endpoint"
                found.append(Issue("D12", "security", f"this endpoint cannot be notified: {why}", where))
        if found:
            raise RequestRefused(found)
        return wanted

    def _foreign(self, wanted: WantedNotices, caller: BackendCaller) -> list[Issue]:
        """P063: nobody subscribes for somebody else's answers."""
        may = caller.client.organizations
        numbers = {each.rsplit("|", 1)[-1] for each in may}
        foreign = [each for each in wanted.organizations if each not in may and ("|" in each or each not in numbers)]
        if not foreign:
            return []
        text = "this client is not registered for an organization of the filter"
        return [Issue("P063", "forbidden", text, "Subscription.criteria.extension")]

    def _own(self, ident: str, caller: BackendCaller) -> SubscriptionRecord:
        record = self._subscriptions.get(ident)
        if record is None or record.sender != caller.client.id:
            raise NotFound("no such Subscription")
        return record

    def _put(self, ident: str, wanted: WantedNotices, version: str, caller: BackendCaller, action: str) -> None:
        now = self._clock.now()
        record = SubscriptionRecord(
            id=ident,
            sender=caller.client.id,
            organizations=wanted.organizations,
            endpoint=wanted.endpoint,
            payload=wanted.payload,
            header=wanted.header,
            status="requested",
            error="",
            events=0,
            created=now,
            until=wanted.until,
        )
        hello = handshake(self._parts.base(version), ident, instant(now))
        self._subscriptions.put(record, hello, self._audit(ident, caller, action), now)

    def _audit(self, ident: str, caller: BackendCaller, action: str) -> AuditEntry:
        return AuditEntry(self._clock.now(), caller.client.id, "client", action, f"subscription/{ident}")


def _shown(record: SubscriptionRecord) -> dict[str, Any]:
    wanted = WantedNotices(record.endpoint, record.payload, record.organizations, record.header, record.until)
    return subscription_resource(record.id, wanted, status=record.status, error=record.error)

"""How the app hears of decisions: a subscription for each payer and clinic, and what its notifications bring (P075).

Nothing is polled. What a notification left out, or what never came, is asked of the payer's ``$events`` once, and only
because a notification said that there is more; where that fails, the page says so and a person asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cds_service.fhir.concepts import word
from smart_app.adapters.payer_client import PayerClient, PayerTrouble
from smart_app.adapters.submissions import Submissions
from smart_app.pas.closure import Resource
from smart_app.pas.matching import bundles_in
from smart_app.pas.notification import Notice, read_notice
from smart_app.pas.subscription import subscription
from smart_app.registry import PayerProfile

ENDED = frozenset({"error", "off"})
_GONE = frozenset({404, 410})
_SECONDS = 5  # for a call that a person waits for beside the one that was meant

Take = Callable[[str, Resource, int, str], bool]
"""(payer, response Bundle, event number, subscription) -> whether it was about a request of ours."""


class PayerNews:
    """Thread-safe. ``take`` keeps one answer."""

    def __init__(
        self, payers: PayerClient, kept: Submissions, take: Take, new_secret: Callable[[], str], public_url: str
    ) -> None:
        self._payers = payers
        self._kept = kept
        self._take = take
        self._new_secret = new_secret
        self._public_url = public_url

    def follow(self, payer: PayerProfile, organization: str) -> None:
        """See that the payer tells of this clinic's decisions; one that has no subscriptions is asked by a person."""
        ident = self._kept.subscription(payer.id, organization)
        if ident and not self._ended(payer, ident):
            return
        if ident:
            self._kept.unsubscribe(payer.id, organization)
        secret = self._new_secret()
        if self._kept.claim_subscription(payer.id, organization, secret):
            self._subscribe(payer, organization, secret)

    def follow_all(self, payer: PayerProfile) -> None:
        """The same for every clinic whose decisions the payer has said it would tell."""
        for organization in self._kept.organizations(payer.id):
            self.follow(payer, organization)

    def _subscribe(self, payer: PayerProfile, organization: str, secret: str) -> None:
        wanted = subscription(f"{self._public_url}/notifications/{payer.id}", organization, secret)
        try:
            ident, body = self._payers.create(payer, payer.pas_base, payer.pas_scopes, wanted, _SECONDS)
        except PayerTrouble:
            ident, body = "", None
        if ident and _status(body) not in ENDED:
            self._kept.subscribed(payer.id, organization, ident)
        else:
            self._kept.unsubscribe(payer.id, organization)

    def _ended(self, payer: PayerProfile, ident: str) -> bool:
        """Whether the payer says that it tells nothing any more; a payer that does not say is believed."""
        path = f"Subscription/{ident}"
        try:
            body = self._payers.call(payer, payer.pas_base, payer.pas_scopes, "GET", path, None, seconds=_SECONDS)
        except PayerTrouble as trouble:
            return trouble.status in _GONE
        return _status(body) in ENDED

    def hears(self, payer: str) -> bool:
        """Whether decisions of this payer come by themselves; else a person has to ask."""
        return bool(self._kept.organizations(payer))

    def missed(self, payer: str) -> datetime | None:
        """When the payer said last that there is news which the app could not get; None: nothing is missing."""
        return self._kept.missed(payer)

    def notifier(self, payer: str, secret: str) -> str | None:
        """The clinic whose notifications carry this secret; None: it is not this payer's."""
        return self._kept.notifier(payer, secret)

    def notified(self, payer: str, organization: str, bundle: Resource) -> int | None:
        """Take a notification; where more is to be fetched by ``catch_up``, the number up to which there is any.

        Raises FormChanged: it must come again.
        """
        notice = read_notice(bundle)
        heard = self._kept.heard(payer, organization)
        self._take_all(payer, organization, notice)
        if notice.status in ENDED:
            self._kept.unsubscribe(payer, organization)
            return None
        behind = notice.wordless or _gap(notice, heard)
        newest = heard if behind else max((heard, *notice.numbers))
        if behind or notice.numbers:
            self._kept.hear(payer, organization, newest, missed=behind)
        return max((heard, notice.newest, *notice.numbers)) if behind else None

    def catch_up(self, payer: PayerProfile, organization: str, newest: int) -> None:
        """Fetch what notifications up to event ``newest`` did not bring (P065). What cannot be had stays missing."""
        ident = self._kept.subscription(payer.id, organization)
        if not ident:
            return
        since = self._kept.heard(payer.id, organization) + 1
        path = f"Subscription/{ident}/$events?eventsSinceNumber={since}&content=full-resource"
        try:
            body = self._payers.call(payer, payer.pas_base, payer.pas_scopes, "GET", path, None)
        except PayerTrouble as trouble:
            if trouble.kind != "declined":  # tried again with the next notification
                return
            body = None
        notice = read_notice(_bundle_of(body))
        self._take_all(payer.id, organization, notice)
        # A payer that cannot say it again is not asked with every event: a person asks.
        short = notice.wordless or not notice.numbers or max(notice.numbers) < newest
        self._kept.hear(payer.id, organization, max((newest, notice.newest, *notice.numbers)), missed=short)

    def _take_all(self, payer: str, organization: str, notice: Notice) -> None:
        ident = self._kept.subscription(payer, organization) or ""
        for number, answer in notice.answers:
            self._take(payer, answer, number, ident)


def _gap(notice: Notice, heard: int) -> bool:
    """Whether events between those that were heard and these never came."""
    missing = bool(notice.numbers) and min(notice.numbers) > heard + 1
    silent = not notice.numbers and notice.kind != "handshake" and notice.newest > heard
    return missing or silent


def _status(body: Any) -> str:
    return word(body.get("status")) if isinstance(body, Mapping) else ""


def _bundle_of(body: Any) -> Resource:
    """The Bundle of an answer to ``$events``: bare, or in Parameters."""
    if isinstance(body, dict) and body.get("resourceType") == "Bundle":
        return body
    return {"entry": [{"resource": each} for each in bundles_in(body)]}

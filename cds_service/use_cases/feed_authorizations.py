"""Authorizations that the payer's own systems send one by one, as FHIR ClaimResponses to the feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cds_service.domain.vocabulary import Vocabulary
from cds_service.errors import MalformedRequest, RuleBroken
from cds_service.fhir.json import parse
from cds_service.fhir.pas.authorization_feed import Unreadable, read_authorizations
from cds_service.ports import Clock, Store

MAX_BYTES = 262_144


class Fed(msgspec.Struct, frozen=True):
    """What became of one ClaimResponse: one of the words of ``put_authorizations`` for each number."""

    outcomes: Sequence[tuple[str, str]]

    @property
    def created(self) -> bool:
        """Whether anything in it was new."""
        return any(word == "added" for _, word in self.outcomes)


class FeedAuthorizations:
    """Takes ClaimResponses from a registered system; the same one again changes nothing."""

    def __init__(self, store: Store, vocabulary: Vocabulary, clock: Clock) -> None:
        self._store = store
        self._vocabulary = vocabulary
        self._clock = clock

    def take(self, body: bytes, client: str, ident: str | None = None) -> Fed:
        """Keep the authorizations of one ClaimResponse; the source is the client, so none can change another's.

        ``ident``: the id in the address it was put to, which the resource must have.

        Raises:
            MalformedRequest: no JSON, no ClaimResponse, or another id than that of the address.
            RuleBroken: no authorization can be read from it; every mistake is named.
            StoreUnavailable: nothing was kept.
        """
        resource = parse(body, max_bytes=MAX_BYTES)
        if not isinstance(resource, dict) or resource.get("resourceType") != "ClaimResponse":
            raise MalformedRequest("the body must be a ClaimResponse", expression="resourceType")
        if ident is not None and resource.get("id") != ident:
            raise MalformedRequest("the id must be that of the address", expression="ClaimResponse.id")
        found = self._read(resource, client)
        now = self._clock.now()
        words = self._store.put_authorizations([(each, body.decode()) for each in found], now)
        self._store.note_access(client, "feed", f"authorizations/{client}", now)
        return Fed(tuple((each.number, word) for each, word in zip(found, words, strict=True)))

    def _read(self, resource: Mapping[str, Any], client: str) -> Any:
        try:
            return read_authorizations(resource, self._vocabulary, client)
        except Unreadable as unreadable:
            told = "; ".join(f"{each.where}: {each.allowed}" for each in unreadable.mistakes)
            raise RuleBroken(told, expression=unreadable.mistakes[0].where) from None

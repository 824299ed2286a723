"""An authorization that ends soon: "renew" is said once about it, and then no more."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import msgspec

from cds_service.cds_hooks.answers import OrderAnswer, Situation
from cds_service.cds_hooks.cards import Card

RENEWAL = "renewal:"  # how these keys begin: they are looked up among the cards that were sent, not among feedback


def said_once(card: Card, answers: Sequence[OrderAnswer], key: bytes, client: str) -> Card:
    """The card with the key under which it is found when it was sent before; unchanged where it says more than that.

    ``key`` is the secret of acknowledgement keys: a stored key tells nothing of the authorization.
    """
    spoken_of = [each for each in answers if each.order in card.orders]
    held = {
        (each.authorization.source, each.authorization.number)
        for each in spoken_of
        if each.authorization is not None and each.situation is Situation.ENDING
    }
    if any(each.situation is not Situation.ENDING for each in spoken_of):
        return card
    text = "\0".join([client, *(part for pair in sorted(held) for part in pair)])
    return msgspec.structs.replace(card, quiet_key=RENEWAL + hmac.digest(key, text.encode(), "sha256").hex())

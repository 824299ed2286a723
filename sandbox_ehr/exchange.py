"""One press of Sign: what was asked, what came back, what became of the order."""

from __future__ import annotations

import msgspec

from sandbox_ehr.card_view import HOLDING, Card, read_cards
from sandbox_ehr.fhir_json import Resource, loads
from sandbox_ehr.order_form import OrderForm

MASK = "(masked)"


class Word(msgspec.Struct, frozen=True):
    """What the prescriber did with a card, and whether the payer was told."""

    outcome: str  # accepted | overridden
    reason: str
    delivered: bool


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """Kept for the page and for developers; tokens are masked before it is made."""

    id: str  # the hookInstance
    patient: str
    started: str
    form: OrderForm
    state: str  # held: a warning waits for a word; signed
    service: str = ""
    drafts: str = "[]"  # JSON, with the payer's system actions applied
    request: str = ""
    claims: str = ""
    status: int = 0
    response: str = ""
    trouble: str = ""
    milliseconds: int = 0
    applied: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()  # references of what was signed
    words: dict[str, Word] = {}  # by card uuid

    def cards(self) -> tuple[Card, ...]:
        """The cards of the answer, most urgent first."""
        if self.status != 200:
            return ()
        try:
            return read_cards(loads(self.response))
        except ValueError:
            return ()

    def draft_orders(self) -> tuple[Resource, ...]:
        """The orders as they stand."""
        return tuple(loads(self.drafts))

    def waiting(self) -> tuple[Card, ...]:
        """Cards that hold the order back until the prescriber has said a word."""
        return tuple(card for card in self.cards() if card.indicator in HOLDING and card.uuid not in self.words)

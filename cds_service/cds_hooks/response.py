"""The body of a hook response (cds-hooks-crd A.6): cards, system actions, nothing empty and nothing null."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from cds_service.cds_hooks.answers import OrderAnswer
from cds_service.cds_hooks.card_texts import CardTexts
from cds_service.cds_hooks.cards import Card, render_card
from cds_service.cds_hooks.drafts import Draft
from cds_service.cds_hooks.system_actions import update_order
from cds_service.domain.digest import sha256_hex
from cds_service.fhir.coverage_information import RESOURCE_TYPES, render_coverage_information

NOTHING = b'{"cards":[]}'
_ASSERTION_SPACE = uuid.UUID("f6c8b1de-6a8f-53c3-8f0f-0f5fd0a5a6c4")
_encode = msgspec.json.Encoder().encode


class HookResponse(msgspec.Struct, frozen=True):
    """What was said: the bytes, the cards in them, and ``covered`` of each system action sent."""

    body: bytes
    cards: tuple[Card, ...] = ()
    covered: tuple[str, ...] = ()


class Assertion(msgspec.Struct, frozen=True):
    """What all answers of one Coverage in one response share (cds-hooks-crd 143, 144)."""

    coverage: str  # reference as sent to the client
    id: str
    as_of: date
    version: str


def assertion_id(policy_digest: str, as_of: date, coverage: str, determination: bytes) -> str:
    """coverage-assertion-id: the same for the same policy, day, Coverage and determination document."""
    head = f"{policy_digest} {as_of.isoformat()} {coverage} ".encode()
    return str(uuid.uuid5(_ASSERTION_SPACE, sha256_hex(head, determination)))


def actions(
    answers: Sequence[OrderAnswer],
    drafts: Mapping[str, Draft],
    assertion: Assertion,
    *,
    accepted: Sequence[str] = tuple(RESOURCE_TYPES),
    fhir_server: str | None = None,
) -> list[tuple[OrderAnswer, dict[str, Any]]]:
    """The system action of each order that has an answer, a text of its own and does not say the same already.

    ``accepted``: resource types on which the client takes system actions.
    """
    made = []
    for said in answers:
        draft = drafts.get(said.order)
        if said.answer is None or draft is None or draft.resource["resourceType"] not in accepted:
            continue
        information = render_coverage_information(
            said.answer,
            coverage=assertion.coverage,
            assertion_id=assertion.id,
            day=assertion.as_of.isoformat(),
            version=assertion.version,
        )
        action = update_order(draft, information, fhir_server)
        if action is not None:
            made.append((said, action))
    return made


def compose(
    cards: Sequence[Card],
    made: Sequence[tuple[OrderAnswer, dict[str, Any]]],
    texts: CardTexts,
    version: str,
    app_context: str | None = None,
) -> HookResponse:
    """Cards (already chosen) and actions as bytes. ``systemActions`` is left out where there is none (45, T2)."""
    if not cards and not made:
        return HookResponse(NOTHING)
    body: dict[str, Any] = {"cards": [render_card(card, texts, version, app_context) for card in cards]}
    if made:
        body["systemActions"] = [action for _, action in made]
    covered = tuple(said.answer.covered.value for said, _ in made if said.answer)
    return HookResponse(_encode(body), tuple(cards), covered)

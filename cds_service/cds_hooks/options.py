"""Configuration options of a hook call: what we advertise and what a client asked for (cds-hooks-crd 117-123)."""

from __future__ import annotations

from typing import Any

import msgspec

COVERAGE_INFO = "coverage-info"
OFF_GUIDELINE = "off-guideline"
UNSOLICITED = "unsolicited-determ"
MAX_CARDS = "max-cards"

# One boolean per topic that a card of ours can have, and the number of cards. ``unsolicited-determ`` is obeyed when
# sent but not advertised: no authorization is ever issued unasked at order-sign.
ADVERTISED: tuple[dict[str, Any], ...] = (
    {
        "code": COVERAGE_INFO,
        "type": "boolean",
        "name": "Coverage Information",
        "description": "Whether the order is covered, needs prior authorization, and what documentation is missing",
        "default": True,
    },
    {
        "code": OFF_GUIDELINE,
        "type": "boolean",
        "name": "Off Guideline",
        "description": "Warning when a daily dose or concentration is above the table of the payer's guideline",
        "default": True,
    },
    {
        "code": MAX_CARDS,
        "type": "integer",
        "name": "Maximum cards",
        "description": "Most cards that one response may hold; of two, the dose warning is kept",
        "default": 2,
    },
)


class Options(msgspec.Struct, frozen=True):
    """What one call asked for. Unknown codes and values of another type leave the default (cds-hooks-crd 121)."""

    coverage_info: bool = True
    off_guideline: bool = True
    unsolicited_determ: bool = True
    max_cards: int = 2


DEFAULT_OPTIONS = Options()


def read_options(configuration: object) -> Options:
    """The ``davinci-crd.configuration`` object of a request; anything else means defaults, never an error."""
    if not isinstance(configuration, dict) or not configuration:
        return DEFAULT_OPTIONS
    cards = configuration.get(MAX_CARDS)
    if not isinstance(cards, int) or isinstance(cards, bool) or cards < 0:
        cards = DEFAULT_OPTIONS.max_cards
    return Options(
        coverage_info=_switch(configuration, COVERAGE_INFO),
        off_guideline=_switch(configuration, OFF_GUIDELINE),
        unsolicited_determ=_switch(configuration, UNSOLICITED),
        max_cards=cards,
    )


def _switch(configuration: dict[str, Any], code: str) -> bool:
    return configuration.get(code) is not False

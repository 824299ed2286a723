"""What is remembered of one assertion, so that its form can be asked for, filled in and judged later.

It is kept beside the determination and is no more than that rests on: per order what it is, what its chart settled with
the evidence, and what stayed open. Patient and member are keyed digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.determination import DoseResult, Program
from cds_service.domain.order import Order
from cds_service.domain.record import Evidence

PREFIX = "documentation~"  # of the id under which a context is stored; no id of a determination can look like it


class Remembered(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fact. ``value`` as text: a choice code, a decimal, or an ISO day.

    ``answered``: an earlier form said so on ``attested_on``; else the chart gives it. ``at_least``: the chart proves so
    much. ``contradicts``: answers that cannot stand beside the chart.
    """

    value: str = ""
    answered: bool = False
    attested_on: date | None = None
    at_least: Fraction | None = None
    contradicts: tuple[str, ...] = ()
    conflict: bool = False
    evidence: tuple[Evidence, ...] = ()

    @property
    def known(self) -> bool:
        """Whether this says anything beside evidence."""
        return bool(self.value) or self.at_least is not None or bool(self.contradicts) or self.conflict


class DocumentedOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """One order under an assertion. ``questionnaire`` is ``url|version``, "" where no form is asked for it."""

    order: Order
    program: Program
    dose: tuple[DoseResult, ...]
    facts: Mapping[str, Remembered]
    missing: tuple[str, ...]
    details: tuple[str, ...]
    questionnaire: str
    authorized: bool = False
    only: tuple[str, ...] = ()  # a reviewer asks for these facts and no others


class DocumentationContext(msgspec.Struct, frozen=True):
    """Everything of one assertion."""

    assertion: str
    as_of: date
    client: str
    coverage: str  # as the client was told
    patient: str  # keyed digest of the patient's id
    member: str  # keyed digest, "" where no member number was seen
    policy_id: str
    policy_version: str
    orders: tuple[DocumentedOrder, ...]


class FormError(msgspec.Struct, frozen=True):
    """What an app said is wrong with a form of ours (PS-26)."""

    questionnaire: str  # canonical|version
    severity: str
    code: str
    expression: str
    diagnostics: str


def _written(value: Any) -> Any:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    raise TypeError(f"a {type(value).__name__} cannot be written")


def _read(kind: Any, value: Any) -> Any:
    if kind is Fraction and isinstance(value, str):
        return Fraction(value)
    raise TypeError(f"{kind} cannot be read")


encode_context = msgspec.json.Encoder(enc_hook=_written).encode
_decoder = msgspec.json.Decoder(DocumentationContext, dec_hook=_read)


def decode_context(document: bytes) -> DocumentationContext:
    """The context that ``encode_context`` wrote."""
    return _decoder.decode(document)

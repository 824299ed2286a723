"""An order in domain form: what is given, where it goes, how much and how often."""

from __future__ import annotations

from datetime import date
from enum import Enum
from fractions import Fraction

import msgspec

from cds_service.domain.record import Code
from cds_service.domain.vocabulary import RouteGroup


class Part(msgspec.Struct, frozen=True):
    """One ingredient of a solution.

    ``name`` is the guideline's word ("morphine") or None for a substance that it does not name;
    ``concentration`` is mg/mL, None when it is not stated or cannot be read (``why`` says which).
    """

    name: str | None
    rxcui: str
    text: str
    codes: tuple[Code, ...]
    active: bool
    concentration: Fraction | None
    steps: tuple[str, ...] = ()
    why: str = ""


class Solution(msgspec.Struct, frozen=True):
    """What is in the syringe or reservoir."""

    parts: tuple[Part, ...]
    text: str
    product: str | None = None  # text of the coded commercial product, None when it is none
    product_neuraxial: bool = False
    identified: bool = True  # False: no code says what the drug is

    def drugs(self) -> tuple[Part, ...]:
        """The active parts: diluents are not among them."""
        return tuple(part for part in self.parts if part.active)


class OrderKind(Enum):
    """Which request resource an order came from."""

    DRUG = "MedicationRequest"
    SERVICE = "ServiceRequest"
    DEVICE = "DeviceRequest"
    OTHER = "other"


class Contribution(msgspec.Struct, frozen=True):
    """What the dosage instructions of one order give of one drug per day.

    ``mg_per_day`` None: cannot be determined. ``lower_bound`` is the part that is known all the same.
    """

    ingredient: str
    mg_per_day: Fraction | None
    lower_bound: Fraction
    steps: tuple[str, ...]


class Order(msgspec.Struct, frozen=True):
    """One order, draft or active. ``route`` None: no route is given; ``route_unclear``: given, but not understood."""

    source: str  # "MedicationRequest/draft-1"
    kind: OrderKind
    status: str
    draft: bool
    codes: tuple[Code, ...]  # of the medication, service or device
    text: str  # what a person calls it
    route: RouteGroup | None
    route_unclear: bool
    route_text: str
    solution: Solution | None
    contributions: tuple[Contribution, ...]
    pump_like: bool  # a rate, or a continuous schedule: plausible for a pump
    dose_form: tuple[Code, ...] = ()
    reasons: tuple[Code, ...] = ()  # reasonCode and the codes of resolved reasonReference
    category: tuple[Code, ...] = ()
    authored: date | None = None
    prior: tuple[str, ...] = ()  # orders that this one replaces
    encounter: str = ""
    requester: str = ""
    patient_bolus: bool = False
    flags: tuple[tuple[str, str], ...] = ()  # (flag code, subject) found while reading: non_ucum_unit, ...
    intent: str = ""
    prohibited: bool = False  # an order not to give it

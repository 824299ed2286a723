"""What one draft order is judged on."""

from __future__ import annotations

import msgspec

from cds_service.domain.determination import DoseAssessment, Program
from cds_service.domain.order import Order
from cds_service.domain.record import Record


class Case(msgspec.Struct, frozen=True):
    """One draft order with everything known around it.

    ``companions`` are all other draft orders of the request. ``authorization_in_force``: an authorization on file
    covers this order, so that facts of the original trial are not asked again. ``patient_known`` False: the order does
    not say whose it is, and ``record`` is empty.
    """

    order: Order
    program: Program
    dose: DoseAssessment
    record: Record
    companions: tuple[Order, ...] = ()
    authorization_in_force: bool = False
    patient_known: bool = True

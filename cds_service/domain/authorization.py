"""An authorization on file: granted by this payer, or come in from outside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec


class Authorization(msgspec.Struct, frozen=True):
    """An authorization on file, ours or one that came in from outside."""

    number: str
    member_id: str
    status: str  # "active" | "pending" | "revoked"
    drugs: tuple[str, ...]  # guideline names; empty: any drug of the guideline
    route: str  # RouteGroup value; "" for any neuraxial
    start: date
    end: date | None
    max_daily: Mapping[str, str]  # drug -> "15 mg/d"; absent: no limit stated
    codes: tuple[str, ...] = ()  # HCPCS or CPT codes of services and devices that it covers
    billing: tuple[str, ...] = ()
    quantity: str = ""
    due: str = ""  # when a pending one is to be answered, ISO instant
    source: str = "import"

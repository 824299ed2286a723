"""An authorization on file: granted by this payer, or come in from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction

import msgspec

from cds_service.domain.determination import DoseResult
from cds_service.domain.order import Order, OrderKind


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
    services_only: bool = False  # it names services and devices by ``codes``, and no drug at all
    stated: str = ""  # as of when its source says so: an ISO instant in UTC to the microsecond; "" where it does not


def what_changes(new: Authorization, before: Authorization | None) -> str:
    """``added``, ``changed``, ``unchanged``, or ``outdated``: what was overtaken must not revive what was revoked."""
    if before is None:
        return "added"
    if new.stated and before.stated and new.stated < before.stated:
        return "outdated"
    terms = [msgspec.structs.replace(each, stated="") for each in (new, before)]
    return "unchanged" if terms[0] == terms[1] else "changed"


class OnFile(msgspec.Struct, frozen=True):
    """What is on file for one order."""

    granted: Authorization | None = None  # in force, and covers the order
    pending: Authorization | None = None  # a request of ours that waits for a decision
    ending: bool = False  # what is granted ends soon, and nothing is on file that follows it


NOTHING_ON_FILE = OnFile()


def look_up(
    authorizations: Sequence[Authorization],
    order: Order,
    dose: Sequence[DoseResult],
    as_of: date,
    *,
    notice_days: int = 0,
) -> OnFile:
    """Find what covers ``order`` among all authorizations of its member; of several, the one that ends last.

    ``dose``: the dose results of the order. A pending request counts only where nothing is granted. ``notice_days``:
    so long before its last day, but never in the first half of its time, a granted one is ``ending``, unless a later or
    a pending one speaks of the same order.
    """
    if not authorizations:
        return NOTHING_ON_FILE
    granted = [each for each in authorizations if each.status == "active" and _covers(each, order, dose, as_of)]
    if granted:
        last = max(granted, key=_ends)
        soon = last.end is not None and _ends_soon(last.start, last.end, as_of, notice_days)
        followed = soon and any(_follows(each, last) and _speaks_of(each, order) for each in authorizations)
        return OnFile(granted=last, ending=soon and not followed)
    pending = [each for each in authorizations if each.status == "pending" and _speaks_of(each, order)]
    return OnFile(pending=max(pending, key=_ends)) if pending else NOTHING_ON_FILE


def _ends_soon(start: date, end: date, as_of: date, notice_days: int) -> bool:
    """A trial's month is as long as the notice: "renew it" on the day after its approval would be noise."""
    left = (end - as_of).days
    return left < notice_days and 2 * left < (end - start).days


def allows(authorization: Authorization, ingredient: str, daily: Fraction | None) -> bool:
    """Whether a daily amount (mg/d) keeps to the authorization; an unreadable limit, or unknown amount, does not."""
    stated = authorization.max_daily.get(ingredient)
    if stated is None:
        return True
    limit = daily_limit(stated)
    return limit is not None and daily is not None and daily <= limit


def daily_limit(stated: str) -> Fraction | None:
    """An amount such as "15 mg/d" in mg/d; None for anything else."""
    number, _, unit = stated.partition(" ")
    if unit != "mg/d":
        return None
    try:
        return Fraction(number)
    except (ValueError, ZeroDivisionError):
        return None


def _covers(authorization: Authorization, order: Order, dose: Sequence[DoseResult], as_of: date) -> bool:
    in_period = authorization.start <= as_of and (authorization.end is None or as_of <= authorization.end)
    if not in_period or not _speaks_of(authorization, order):
        return False
    return all(allows(authorization, each.ingredient, each.daily) for each in dose)


def _speaks_of(authorization: Authorization, order: Order) -> bool:
    """Same drugs and route; a service or device by one of its codes."""
    if order.kind is not OrderKind.DRUG:
        return any(code.code in authorization.codes for code in order.codes)
    if order.solution is None or order.route is None or authorization.services_only:
        return False
    names = [part.name for part in order.solution.drugs()]
    if not names or None in names or authorization.route not in {"", order.route.value}:
        return False
    return not authorization.drugs or set(names) == set(authorization.drugs)


def _follows(authorization: Authorization, last: Authorization) -> bool:
    return authorization.status == "pending" or (
        authorization.status == "active" and authorization.start > last.start and _ends(authorization) > _ends(last)
    )


def _ends(authorization: Authorization) -> date:
    return authorization.end or date.max

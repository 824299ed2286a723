"""The order form as the prescriber filled it in: text as typed, checked only for what an EHR must check."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

import msgspec
from werkzeug.datastructures import MultiDict

from sandbox_ehr.codes import COMPANIONS, INGREDIENTS, ROUTES
from sandbox_ehr.formulary import FORMULARY
from sandbox_ehr.prefetch import MODES

CONCENTRATION_UNITS = ("mg/mL", "ug/mL", "%")
RATE_UNITS = ("mL/d", "mL/h", "mg/d", "mg/h", "ug/d", "ug/h")
DOSE_UNITS = ("mg", "ug", "mL")
DELIVERIES = {"rate": "Continuous", "flex": "Flex schedule", "dose": "Doses"}
CRD_VERSIONS = ("", "2.0", "2.2")
LABELS = {
    "drug": "Drug",
    "route": "Route",
    "ingredient": "Ingredients",
    "amount": "Concentration",
    "volume": "Reservoir volume",
    "rate": "Rate",
    "segment_hours": "Flex schedule",
    "dose": "Dose",
    "times": "Times a day",
    "bolus": "Bolus",
    "bolus_max": "Maximum a day",
    "lockout": "Lockout",
    "reason_code": "Code",
    "start": "Start",
}
OTHER_CODE = "other"
_ICD10 = re.compile(r"[A-Za-z][0-9][0-9A-Za-z](\.?[0-9A-Za-z]{1,4})?")


class Ingredient(msgspec.Struct, frozen=True):
    """One row of the mixture."""

    drug: str
    amount: str = ""
    unit: str = "mg/mL"


class Segment(msgspec.Struct, frozen=True):
    """One part of the day in a flex schedule."""

    hours: str
    rate: str
    unit: str = "mL/h"


class OrderForm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the form, as typed."""

    drug: str = ""
    route: str = "intrathecal"
    ingredients: tuple[Ingredient, ...] = ()
    volume: str = ""
    delivery: str = "rate"
    rate: str = ""
    rate_unit: str = "mL/d"
    segments: tuple[Segment, ...] = ()
    dose: str = ""
    dose_unit: str = "mg"
    times: str = "1"
    once: bool = False
    bolus: str = ""
    bolus_unit: str = "mg"
    bolus_max: str = ""
    lockout: str = ""
    reason: str = ""  # Condition id, "other", or ""
    reason_code: str = ""
    start: str = ""
    replaces: str = ""
    companions: tuple[str, ...] = ()
    prefetch: str = "full"
    crd_version: str = ""


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with one field, in words for the prescriber."""

    field: str
    text: str


def read_form(fields: MultiDict[str, str]) -> OrderForm:
    """The form from its submitted fields; rows that were left empty are dropped."""
    ingredients = zip(
        fields.getlist("ingredient"), fields.getlist("amount"), fields.getlist("amount_unit"), strict=False
    )
    segments = zip(
        fields.getlist("segment_hours"), fields.getlist("segment_rate"), fields.getlist("segment_unit"), strict=False
    )
    plain = {
        name: fields.get(name, "").strip()
        for name in (
            "drug", "route", "volume", "delivery", "rate", "rate_unit", "dose", "dose_unit", "times", "bolus",
            "bolus_unit", "bolus_max", "lockout", "reason", "reason_code", "start", "replaces", "prefetch",
            "crd_version",
        )
    }  # fmt: skip
    return OrderForm(
        **plain,
        once=bool(fields.get("once", "")),
        companions=tuple(fields.getlist("companion")),
        ingredients=tuple(Ingredient(drug, amount.strip(), unit) for drug, amount, unit in ingredients if drug),
        segments=tuple(
            Segment(hours.strip(), rate.strip(), unit)
            for hours, rate, unit in segments
            if hours.strip() or rate.strip()
        ),
    )


def number(text: str) -> Decimal | None:
    """A decimal as typed, digits kept; None where it is none."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and len(text) < 20 and "e" not in text.lower() else None


def problems(form: OrderForm) -> tuple[Problem, ...]:
    """What must be put right before the order can be signed at all. The dose itself is not judged here."""
    return tuple(problem for check in _CHECKS for problem in check(form))


def _choices(form: OrderForm) -> Iterator[Problem]:
    if form.drug not in FORMULARY:
        yield Problem("drug", "Choose a drug.")
    allowed: Mapping[str, tuple[str, Sequence[str]]] = {
        "route": (form.route, ("", *ROUTES)),
        "delivery": (form.delivery, tuple(DELIVERIES)),
        "rate_unit": (form.rate_unit, RATE_UNITS),
        "dose_unit": (form.dose_unit, DOSE_UNITS),
        "bolus_unit": (form.bolus_unit, DOSE_UNITS),
        "prefetch": (form.prefetch, MODES),
        "crd_version": (form.crd_version, CRD_VERSIONS),
    }
    for field, (value, values) in allowed.items():
        if value not in values:
            yield Problem(field, "Choose one of the list.")
    if any(code not in COMPANIONS for code in form.companions):
        yield Problem("companion", "Choose from the list.")


def _numbers(form: OrderForm) -> Iterator[Problem]:
    texts = {"volume": form.volume, "bolus": form.bolus, "bolus_max": form.bolus_max, "lockout": form.lockout}
    if form.delivery == "rate":
        texts["rate"] = form.rate
    if form.delivery == "dose":
        texts |= {"dose": form.dose, "times": form.times}
    for field, text in texts.items():
        if text and number(text) is None:
            yield Problem(field, "Write a number, such as 0.5.")
    for field in ("bolus_max", "times"):
        if texts.get(field) and not texts[field].isdecimal():
            yield Problem(field, "Write a whole number.")


def _delivery(form: OrderForm) -> Iterator[Problem]:
    if form.delivery == "rate" and not form.rate:
        yield Problem("rate", "Write the rate.")
    if form.delivery == "dose" and not form.dose:
        yield Problem("dose", "Write the dose.")
    if form.delivery == "flex":
        if not form.segments:
            yield Problem("segment_hours", "Write at least one part of the day.")
        for segment in form.segments:
            if number(segment.hours) is None or number(segment.rate) is None or segment.unit not in RATE_UNITS:
                yield Problem("segment_hours", "Write hours and rate of each part as numbers.")


def _solution(form: OrderForm) -> Iterator[Problem]:
    item = FORMULARY.get(form.drug)
    if item is None or not item.solution:
        return
    if not form.ingredients:
        yield Problem("ingredient", "A solution needs at least one ingredient.")
    for row in form.ingredients:
        if row.drug not in INGREDIENTS or row.unit not in CONCENTRATION_UNITS:
            yield Problem("ingredient", "Choose drug and unit from the lists.")
        if row.amount and number(row.amount) is None:
            yield Problem("amount", "Write a concentration as a number, such as 20.")


def _reason_and_start(form: OrderForm) -> Iterator[Problem]:
    if form.reason == OTHER_CODE and not _ICD10.fullmatch(form.reason_code):
        yield Problem("reason_code", "Write an ICD-10-CM code, such as G89.3.")
    if form.start:
        try:
            date.fromisoformat(form.start)
        except ValueError:
            yield Problem("start", "Write a date.")


_CHECKS: tuple[Callable[[OrderForm], Iterator[Problem]], ...] = (
    _choices, _numbers, _delivery, _solution, _reason_and_start,
)  # fmt: skip

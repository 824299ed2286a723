"""One FHIR Dosage as an instruction: what it permits per day, and its caps (guideline analysis 4)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from cds_service.domain.dosage import Instruction
from cds_service.domain.quantity import BASE_TEXT, MASS, MASS_RATE, VOLUME, VOLUME_RATE, Amount, amount_text
from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.fhir.quantities import ABSENT, Reading, read_high_end, read_quantity, read_ratio
from cds_service.fhir.timings import Schedule, read_timing

UNUSUAL = "dose_shape_unusual"

_RATES = (MASS_RATE, VOLUME_RATE)
_WRITTEN = {dimension: f" {BASE_TEXT[dimension]}" for dimension in _RATES}
_PER_DAY = {MASS: MASS_RATE, VOLUME: VOLUME_RATE}
_NOT_A_RATE = "not an amount per time"
_NOT_A_DOSE = "neither a mass nor a volume"


def read_instruction(dosage: Any, vocabulary: Vocabulary, route: RouteGroup | None) -> Instruction:
    """Read one element of ``dosageInstruction``; what cannot be read is unknown, never an error. Text is not parsed."""
    if type(dosage) is not dict:
        return Instruction(None, None, None, ("not readable",), (UNUSUAL,), route)
    stated = dosage.get("doseAndRate")
    entries = stated if type(stated) is list else []
    schedule = read_timing(dosage.get("timing"), vocabulary)
    cap, cap_steps, flags = _cap(dosage, vocabulary)
    most = dosage.get("maxDosePerAdministration")
    found = [_Entry(entry, schedule, most, vocabulary) for entry in entries] or [_Entry({}, schedule, most, vocabulary)]
    daily, steps = (found[0].daily, found[0].steps) if len(found) == 1 else _alternatives(found)
    flags += tuple(flag for entry in found for flag in entry.flags)
    if len(found) > 1 or (schedule.unusual and entries):
        flags += (UNUSUAL,)
    sequence = dosage.get("sequence")
    return Instruction(
        sequence if type(sequence) is int else None,
        daily,
        cap,
        steps + cap_steps,
        flags,
        route,
        dosage.get("asNeededBoolean") is True or "asNeededCodeableConcept" in dosage,
        any(entry.rate for entry in found),
    )


def _alternatives(found: list[_Entry]) -> tuple[Amount | None, tuple[str, ...]]:
    """Several doseAndRate express one dose in several ways (ordered, calculated): known only if they agree."""
    readable = [entry for entry in found if entry.daily is not None]
    if readable and len({(entry.daily.value, entry.daily.dimension) for entry in readable if entry.daily}) == 1:
        return readable[0].daily, readable[0].steps
    return None, ("several doses or rates are stated that do not agree",)


def _cap(dosage: dict[str, Any], vocabulary: Vocabulary) -> tuple[Amount | None, tuple[str, ...], tuple[str, ...]]:
    """The maximum per period as an amount per day. A cap that cannot be read limits nothing."""
    stated = dosage.get("maxDosePerPeriod")
    if stated is None:
        return None, (), ()
    reading = read_ratio(stated, vocabulary.unit_aliases)
    if reading.amount is None or reading.amount.dimension not in _RATES:
        why = reading.why or _NOT_A_RATE
        return None, (f"maximum per period: {why}",), (*reading.flags, UNUSUAL)
    amount = _per_day(reading.amount)
    return amount, (f"maximum {_worked(reading.amount)}",), reading.flags


def _per_day(amount: Amount) -> Amount:
    """The same rate, written per day."""
    if amount.text.endswith(_WRITTEN[amount.dimension]):
        return amount
    return Amount(amount.value, amount.dimension, amount_text(amount.value, amount.dimension))


def _worked(amount: Amount) -> str:
    """``0.025 mL/h = 0.6 mL/d``; the bare amount where it already is in mg or mL per day."""
    plain = amount_text(amount.value, amount.dimension)
    return plain if amount.text == plain else f"{amount.text} = {plain}"


class _Entry:
    """One element of doseAndRate under the instruction's schedule."""

    __slots__ = ("daily", "flags", "rate", "steps")

    def __init__(self, entry: Any, schedule: Schedule, most: Any, vocabulary: Vocabulary) -> None:
        self.daily: Amount | None = None
        self.steps: tuple[str, ...] = ()
        self.flags: tuple[str, ...] = ()
        if type(entry) is not dict:
            entry = {}
        rate, dose = _rate(entry, vocabulary), _dose(entry, vocabulary)
        self.rate = rate is not None
        if rate is not None:
            self._by_rate(rate, schedule)
            if dose is not None:
                self.flags += (UNUSUAL,)
        elif dose is not None and dose.amount is not None and dose.amount.dimension in _RATES:
            self.rate = True  # a rate in the place of a dose
            self._by_rate(dose, schedule)
            self.flags += (UNUSUAL,)
        else:
            self._by_dose(dose, schedule, most, vocabulary)

    def _by_rate(self, rate: Reading, schedule: Schedule) -> None:
        self.flags = rate.flags
        amount = rate.amount
        if amount is None or amount.dimension not in _RATES:
            self.steps = (f"rate: {rate.why or _NOT_A_RATE}",)
        elif schedule.length is not None or schedule.length_broken:
            self._by_segment(amount, schedule)
        else:
            self.daily = _per_day(amount)
            if self.daily is not amount:
                self.steps = (_worked(amount),)

    def _by_segment(self, rate: Amount, schedule: Schedule) -> None:
        """Rate x time per occurrence x occurrences per day; one that is not repeated runs at most all day."""
        length, per_day = schedule.length, schedule.per_day
        if length is None or (per_day is None and schedule.stated):
            self.steps = ("rate: its timing cannot be read",)
            return
        share = min(length, Fraction(1)) if per_day is None or schedule.single else length * per_day
        if share > 1:
            self.flags += (UNUSUAL,)  # more than 24 h in a day
        value = rate.value * share
        text = amount_text(value, rate.dimension)
        self.daily = Amount(value, rate.dimension, text)
        self.steps = (f"{rate.text} x {schedule.length_text} x {schedule.text or 'once'} = {text}",)

    def _by_dose(self, dose: Reading | None, schedule: Schedule, most: Any, vocabulary: Vocabulary) -> None:
        reading = dose or ABSENT
        cap = read_quantity(most, vocabulary.unit_aliases)
        self.flags = reading.flags + cap.flags
        amount = reading.amount
        if cap.amount is not None and cap.amount.dimension in _PER_DAY and (dose is None or _above(amount, cap.amount)):
            amount = cap.amount  # "up to 1 mg each time"
        if amount is None or amount.dimension not in _PER_DAY:
            self.steps = (f"dose: {reading.why or _NOT_A_DOSE}",)
        elif schedule.per_day is None:
            self.steps = (f"{amount.text}: how often is not stated",)
        else:
            value, dimension = amount.value * schedule.per_day, _PER_DAY[amount.dimension]
            text = amount_text(value, dimension)
            self.daily = Amount(value, dimension, text)
            self.steps = (f"{amount.text} x {schedule.text} = {text}",)


def _above(amount: Amount | None, cap: Amount) -> bool:
    return amount is not None and amount.dimension == cap.dimension and amount.value > cap.value


def _rate(entry: dict[str, Any], vocabulary: Vocabulary) -> Reading | None:
    """The rate of one doseAndRate, None when none is stated."""
    if "rateQuantity" in entry:
        return read_quantity(entry["rateQuantity"], vocabulary.unit_aliases)
    if "rateRatio" in entry:
        return read_ratio(entry["rateRatio"], vocabulary.unit_aliases)
    if "rateRange" in entry:
        return read_high_end(entry["rateRange"], vocabulary.unit_aliases)
    return None


def _dose(entry: dict[str, Any], vocabulary: Vocabulary) -> Reading | None:
    """The dose of one doseAndRate, None when none is stated."""
    if "doseQuantity" in entry:
        return read_quantity(entry["doseQuantity"], vocabulary.unit_aliases)
    if "doseRange" in entry:
        return read_high_end(entry["doseRange"], vocabulary.unit_aliases)
    return None

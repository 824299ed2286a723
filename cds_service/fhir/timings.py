"""FHIR Timing as occurrences per day and time per occurrence (guideline analysis 4).

Where a schedule leaves a choice, the busiest day that it permits is meant: frequencyMax, durationMax, the shorter
period, a day named by dayOfWeek. Bounds say from when to when; they do not lower the amount of a day within them.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import msgspec

from cds_service.domain.quantity import TIME, decimal_text, unit_of
from cds_service.domain.vocabulary import Vocabulary
from cds_service.fhir.quantities import number

# Events of the day that happen once in it. Meals as such (C, AC, PC) are not among them: their number is not stated.
_ONCE_A_DAY = frozenset(
    [
        "MORN",
        "MORN.early",
        "MORN.late",
        "NOON",
        "AFT",
        "AFT.early",
        "AFT.late",
        "EVE",
        "EVE.early",
        "EVE.late",
        "NIGHT",
        "PHS",
        "HS",
        "WAKE",
        "CM",
        "CD",
        "CV",
        "ACM",
        "ACD",
        "ACV",
        "PCM",
        "PCD",
        "PCV",
    ]
)
_ONE = Fraction(1)


class Schedule(msgspec.Struct, frozen=True):
    """``per_day``: occurrences in a day, None when not stated or not readable. ``length``: days per occurrence.

    ``stated``: anything is said of how often. ``single``: it happens one single time. ``length_broken``: a duration
    is stated that cannot be read. ``unusual``: two statements of how often disagree, the greater one is taken.
    """

    per_day: Fraction | None = None
    length: Fraction | None = None
    text: str = ""
    length_text: str = ""
    stated: bool = False
    single: bool = False
    length_broken: bool = False
    unusual: bool = False


NONE = Schedule()
_BROKEN = Schedule(stated=True, length_broken=True)
_UNREADABLE = Fraction(-1)  # stated, but not readable: never a count


def read_timing(timing: Any, vocabulary: Vocabulary) -> Schedule:
    """The schedule of one dosage instruction; ``NONE`` when there is no Timing."""
    if timing is None:
        return NONE
    if type(timing) is not dict:
        return _BROKEN
    repeat = timing.get("repeat", {})
    if type(repeat) is not dict:
        return _BROKEN
    per_day, stated, unusual = _per_day(timing, repeat, vocabulary)
    length, length_text, length_broken = _length(repeat)
    count = _greater(repeat, "count")
    if ("count" in repeat or "countMax" in repeat) and (count is None or count < 1 or (count > 1 and not stated)):
        return Schedule(None, length, "", length_text, stated=True, length_broken=length_broken)
    if count == 1:  # a single occurrence falls into one day, whatever else is said
        return Schedule(
            _ONE, length, "1 in its day", length_text, stated=True, single=True, length_broken=length_broken
        )
    text = _often(per_day)
    if count is not None and per_day is not None and count < per_day:
        per_day, text = count, f"{decimal_text(count)} in a day"
    return Schedule(per_day, length, text, length_text, stated=stated, length_broken=length_broken, unusual=unusual)


def _per_day(
    timing: dict[str, Any], repeat: dict[str, Any], vocabulary: Vocabulary
) -> tuple[Fraction | None, bool, bool]:
    """Occurrences in a day, whether anything is said of them, and whether two statements disagree."""
    said = [one for one in (_events(timing.get("event")), *_repeated(repeat)) if one is not None]
    code = _code(timing.get("code"), vocabulary)
    if code is not None and (code > 0 or not said):
        said.append(code)
    if not said or min(said) <= 0:
        return None, bool(said), False
    return max(said), True, min(said) != max(said)


def _repeated(repeat: dict[str, Any]) -> tuple[Fraction | None, ...]:
    """Occurrences per day as stated by frequency and period, and by times and events of the day."""
    frequent, period = _frequency(repeat)
    times, events, days = repeat.get("timeOfDay"), repeat.get("when"), repeat.get("dayOfWeek")
    daily: Fraction | None = None
    if type(times) is list and times:
        daily = Fraction(len(times))
    elif type(events) is list and events:
        daily = Fraction(len(events)) if _ONCE_A_DAY.issuperset(map(str, events)) else _UNREADABLE
    elif type(days) is list and days and frequent is None:
        daily = _ONE
    if frequent is None:
        return (daily,)
    if daily is not None and (period != 1 or daily is _UNREADABLE):
        daily = None  # "once a week, at 08:00": the frequency counts, the time only says when
    return (frequent, daily)


def _frequency(repeat: dict[str, Any]) -> tuple[Fraction | None, Fraction | None]:
    """frequency(Max) / period in days, and the period."""
    if not any(key in repeat for key in ("frequency", "frequencyMax", "period", "periodMax")):
        return None, None
    times = _greater(repeat, "frequency")
    if times is None and not ("frequency" in repeat or "frequencyMax" in repeat):
        times = _ONE  # "every 6 h": once in each period
    period, unit = number(repeat.get("period")), _time(repeat.get("periodUnit"))
    if times is None or period is None or unit is None or times <= 0 or period <= 0:
        return _UNREADABLE, None
    period *= unit
    return times / period, period


def _greater(repeat: dict[str, Any], name: str) -> Fraction | None:
    """``nameMax`` where stated, else ``name``; never less than ``name``. None if either cannot be read."""
    low, high = repeat.get(name), repeat.get(f"{name}Max")
    found = [number(value) for value in (low, high) if value is not None]
    readable = [value for value in found if value is not None]
    return max(readable) if readable and len(readable) == len(found) else None


def _length(repeat: dict[str, Any]) -> tuple[Fraction | None, str, bool]:
    """Days per occurrence, its text, and whether a stated duration cannot be read."""
    if "duration" not in repeat and "durationMax" not in repeat:
        return None, "", False
    value, unit = _greater(repeat, "duration"), _time(repeat.get("durationUnit"))
    if value is None or unit is None or value <= 0:
        return None, "", True
    return value * unit, f"{decimal_text(value)} {repeat['durationUnit']}", False


def _code(concept: Any, vocabulary: Vocabulary) -> Fraction | None:
    """Occurrences per day of a timing code such as BID; a code or text that is not known is stated, not readable."""
    if type(concept) is not dict or not concept:
        return None
    codings = concept.get("coding")
    for coding in codings if type(codings) is list else ():
        code = coding.get("code") if type(coding) is dict else None
        if type(code) is str:
            found = vocabulary.timing_codes.get(code) or vocabulary.timing_codes.get(code.upper())
            if found is not None:
                return found[0] / found[1]
    return _UNREADABLE


def _events(events: Any) -> Fraction | None:
    """Of dated events, the number on the busiest day."""
    if type(events) is not list or not events:
        return None
    if not all(type(event) is str and len(event) >= 10 for event in events):
        return _UNREADABLE
    return Fraction(max(Counter(event[:10] for event in events).values()))


def _time(code: Any) -> Fraction | None:
    """Days in a unit of time."""
    unit = unit_of(code) if type(code) is str else None
    return unit.factor if unit is not None and unit.dimension == TIME else None


def _often(per_day: Fraction | None) -> str:
    if per_day is None:
        return ""
    if per_day.numerator == 1 and per_day.denominator > 1:
        return f"1 per {per_day.denominator} d"
    return f"{decimal_text(per_day)} per d"

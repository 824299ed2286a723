"""From dosage instructions to what each drug amounts to in a day (guideline analysis 4).

An instruction gives a volume or a mass per day; the solution turns volumes into drugs. Whatever cannot be read
stays unknown, and the part that is known is kept beside it as a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from cds_service.domain.order import Contribution, Part
from cds_service.domain.quantity import MASS_RATE, Amount, above, decimal_text
from cds_service.domain.vocabulary import RouteGroup

_NOTHING = Fraction(0)


class Instruction(msgspec.Struct, frozen=True):
    """One dosage instruction.

    ``daily`` and ``cap`` are masses or volumes per day; ``daily`` is the most that the instruction permits, None
    when that cannot be determined. ``sequence`` None: it runs alongside every step.
    """

    sequence: int | None
    daily: Amount | None
    cap: Amount | None
    steps: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    route: RouteGroup | None = None
    as_needed: bool = False
    rate: bool = False


class Drug(msgspec.Struct, frozen=True):
    """An active ingredient of a solution; ``alone``: it is the only one, so that a mass can only mean it."""

    name: str
    concentration: Fraction | None  # mg/mL
    alone: bool


class _Share(msgspec.Struct, frozen=True):
    """What one instruction gives of one drug, mg/d."""

    value: Fraction | None
    steps: tuple[str, ...]


def drugs_of(parts: Sequence[Part]) -> tuple[Drug, ...]:
    """The named active ingredients of a solution, each once: the same drug listed twice is one drug in the syringe."""
    active = [part for part in parts if part.active]
    if len(active) == 1:
        part = active[0]
        return (Drug(part.name, part.concentration, alone=True),) if part.name is not None else ()
    names = dict.fromkeys(part.name for part in active)
    alone = len(names) == 1
    return tuple(Drug(name, _together(active, name), alone) for name in names if name is not None)


def _together(parts: Sequence[Part], name: str) -> Fraction | None:
    total = _NOTHING
    for part in parts:
        if part.name == name:
            if part.concentration is None:
                return None
            total += part.concentration
    return total


def contribution(drug: Drug, instructions: Sequence[Instruction]) -> Contribution:
    """What ``instructions`` together give of ``drug`` in a day.

    Same or no sequence: summed. Different sequences: consecutive steps, of which the highest counts; an instruction
    without sequence is added to each.
    """
    if not instructions:
        return Contribution(drug.name, None, _NOTHING, ("no dosage instruction",))
    if len(instructions) == 1:
        share = _share(drug, instructions[0])
        return Contribution(drug.name, share.value, share.value or _NOTHING, share.steps)
    shares = [(instruction.sequence, _share(drug, instruction)) for instruction in instructions]
    steps = [step for _, share in shares for step in share.steps]
    always = [share.value for sequence, share in shares if sequence is None]
    numbers = sorted({sequence for sequence, _ in shares if sequence is not None})
    if len(numbers) <= 1:
        value, known = _sum([share.value for _, share in shares], steps)
        return Contribution(drug.name, value, known, tuple(steps))
    return _highest(drug.name, shares, always, steps)


def _highest(
    name: str, shares: Sequence[tuple[int | None, _Share]], always: list[Fraction | None], steps: list[str]
) -> Contribution:
    """The highest of consecutive steps; unknown as soon as one step is, for that one might be the highest."""
    best, best_number, complete = Fraction(-1), 0, True
    for number in sorted({sequence for sequence, _ in shares if sequence is not None}):
        lines: list[str] = []
        value, known = _sum([share.value for sequence, share in shares if sequence == number] + always, lines)
        steps.extend(f"step {number}: {line}" for line in lines)
        complete = complete and value is not None
        if known > best:
            best, best_number = known, number
    if best > 0:
        steps.append(f"step {best_number} is the highest{'' if complete else ' that is known'}: {_mg(best)}")
    return Contribution(name, best if complete else None, best, tuple(steps))


def _sum(values: Sequence[Fraction | None], steps: list[str]) -> tuple[Fraction | None, Fraction]:
    """The sum if all is known, and the sum of what is known; says how in ``steps``."""
    known = [value for value in values if value is not None]
    total = sum(known, _NOTHING)
    if len(known) > 1:
        steps.append(" + ".join(map(_mg, known)) + f" = {_mg(total)}")
    return (total if len(known) == len(values) else None), total


def _share(drug: Drug, instruction: Instruction) -> _Share:
    """min(computed, cap); the one of them that can be determined where the other cannot."""
    steps = list(instruction.steps)
    computed = None if instruction.daily is None else _in_mg(drug, instruction.daily, steps)
    if instruction.cap is None:
        return _Share(computed, tuple(steps))
    cap = _in_mg(drug, instruction.cap, steps)
    if cap is not None and (computed is None or above(computed, cap)):
        steps.append(f"at most {_mg(cap)}")
        return _Share(cap, tuple(steps))
    return _Share(computed, tuple(steps))


def _in_mg(drug: Drug, amount: Amount, steps: list[str]) -> Fraction | None:
    """A daily mass or volume as mg/d of ``drug``."""
    if amount.dimension == MASS_RATE:
        if not drug.alone:
            steps.append(f"{amount.text}: it is not said of which drug of the mixture")
            return None
        steps.append(amount.text)
        return amount.value
    if drug.concentration is None:
        steps.append(f"{amount.text} x unknown concentration")
        return None
    mass = amount.value * drug.concentration
    steps.append(f"{amount.text} x {decimal_text(drug.concentration)} mg/mL = {_mg(mass)}")
    return mass


def _mg(value: Fraction) -> str:
    return f"{decimal_text(value)} mg/d"

"""The form by which a reviewer decides: from its fields to a ``HumanDecision``, and what is wrong with it in words.

Fields of line 2 end with ``-2``. ``despite`` says why a criterion that appears met is not: it goes out with the reason.
Nothing that the browser sends decides who acts: that is the session's person.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Final

import msgspec

from cds_service.domain.prior_auth import (
    ADVERSE,
    Authorized,
    Case,
    CaseLine,
    HumanDecision,
    LineDecision,
    Reason,
    ReviewAction,
    Reviewer,
)
from cds_service.domain.review import Person

MAX_TEXT: Final = 4_000
ASK = "ask"  # of field ``what``: more is asked for; otherwise the lines are decided
_AMOUNT = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,9})?")
_FACT = re.compile(r"[a-z0-9_]{1,80}")
_CHOICES = {action.value: action for action in ReviewAction if action is not ReviewAction.CANCELLED}


class FormTrouble(msgspec.Struct, frozen=True):
    """Something that is missing or cannot be read: the field's name and a sentence."""

    field: str
    text: str


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """The decision, or what keeps it from being one."""

    decision: HumanDecision | None
    troubles: tuple[FormTrouble, ...] = ()
    adverse: bool = False


def read_decision(
    form: Mapping[str, str],
    wanted: tuple[str, ...],
    case: Case,
    person: Person,
    seconder: Person | None = None,
    met: Mapping[int, Collection[str]] = {},
) -> Filled:
    """Read the fields. ``wanted``: the facts that were ticked. Who decides is ``person``, whatever the form says.

    ``met``: the criteria that appear met for each line; only of those is it asked why they are not.
    """
    troubles: list[FormTrouble] = []
    version = form.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        troubles.append(FormTrouble("version", "the form is not complete; load the case again"))
    note = _text(form, "note", troubles)
    facts: tuple[str, ...] = ()
    items: tuple[LineDecision, ...] = ()
    if form.get("what") == ASK:
        facts = tuple(name for name in wanted if _FACT.fullmatch(name))
        if not facts:
            troubles.append(FormTrouble("facts", "choose at least one question"))
    else:
        items = tuple(
            decided
            for line in case.summary.lines
            if (decided := _line(form, line, met.get(line.sequence, ()), troubles)) is not None
        )
        if not items and not troubles:
            troubles.append(FormTrouble("what", "decide at least one line"))
    if troubles:
        return Filled(decision=None, troubles=tuple(troubles))
    decision = HumanDecision(
        case_id=case.id,
        version_seen=int(version),
        reviewer=reviewer_of(person),
        items=items,
        note=note,
        wanted_facts=facts,
        seconded_by=reviewer_of(seconder) if seconder else None,
    )
    return Filled(decision=decision, adverse=is_adverse(decision))


def reviewer_of(person: Person) -> Reviewer:
    """The person as the one who signs."""
    return Reviewer(person.id, person.name, person.role.value, person.npi)


def is_adverse(decision: HumanDecision) -> bool:
    """Whether a line gets less than was asked for: the signature of a physician is wanted."""
    return any(item.action in ADVERSE for item in decision.items)


def _line(
    form: Mapping[str, str], line: CaseLine, met: Collection[str], troubles: list[FormTrouble]
) -> LineDecision | None:
    action = _CHOICES.get(form.get(f"action-{line.sequence}", ""))
    if action is None or action is ReviewAction.PENDED or line.cancelled:
        return None
    return LineDecision(
        sequence=line.sequence,
        action=action,
        reason=_reason(form, line, action, met, troubles),
        authorized=_authorized(form, line, action, troubles),
    )


def _reason(
    form: Mapping[str, str], line: CaseLine, action: ReviewAction, met: Collection[str], troubles: list[FormTrouble]
) -> Reason | None:
    if action is ReviewAction.APPROVED:
        return None
    ending = f"-{line.sequence}"
    text = _text(form, f"reason{ending}", troubles)
    criterion, provision = form.get(f"criterion{ending}", "")[:40], _text(form, f"provision{ending}", troubles)
    if not text:
        troubles.append(FormTrouble(f"reason{ending}", f"line {line.sequence}: say why, in a sentence"))
    if not criterion and not provision:
        said = "choose the criterion, or name the provision or the prescriber's agreement, that it rests on"
        troubles.append(FormTrouble(f"criterion{ending}", f"line {line.sequence}: {said}"))
    despite = _text(form, f"despite{ending}", troubles) if criterion in met else ""
    text = f"{text} {despite}" if text and despite else text
    return Reason(text=text, code=form.get(f"code{ending}", "").strip()[:20], criterion=criterion, provision=provision)


def _authorized(
    form: Mapping[str, str], line: CaseLine, action: ReviewAction, troubles: list[FormTrouble]
) -> Authorized | None:
    if action is ReviewAction.NOT_CERTIFIED:
        return None
    ending = f"-{line.sequence}"
    start, end = _day(form, f"start{ending}", troubles), _day(form, f"end{ending}", troubles)
    daily = {}
    for drug in line.drugs if action is ReviewAction.MODIFIED else ():
        amount = form.get(f"daily-{drug}{ending}", "").strip()
        if amount and not _AMOUNT.fullmatch(amount):
            troubles.append(FormTrouble(f"daily-{drug}{ending}", f"line {line.sequence}: write mg per day like 12.5"))
        elif amount:
            daily[drug] = amount
    if start is None or end is None or end < start:
        troubles.append(FormTrouble(f"end{ending}", f"line {line.sequence}: give the first and the last day, in order"))
        return None
    taper = _text(form, f"taper{ending}", troubles)
    return Authorized(start=start, end=end, daily=daily, taper=taper)


def _day(form: Mapping[str, str], field: str, troubles: list[FormTrouble]) -> date | None:
    written = form.get(field, "").strip()
    if not written:
        return None
    try:
        return date.fromisoformat(written)
    except ValueError:
        troubles.append(FormTrouble(field, "write a day like 2026-03-01"))
        return None


def _text(form: Mapping[str, str], field: str, troubles: list[FormTrouble]) -> str:
    """What was typed; too long is said, never cut."""
    typed = plain_text(form.get(field, "").strip())
    if len(typed) > MAX_TEXT:
        troubles.append(FormTrouble(field, f"at most {MAX_TEXT} characters"))
        return ""
    return typed


def plain_text(text: str) -> str:
    """Without what is not seen: control characters, and marks that turn the direction of a line."""
    return "".join(letter for letter in text.replace("\r\n", "\n") if letter.isprintable() or letter == "\n")

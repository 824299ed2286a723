"""Pain before and after the trial, from the answers of the form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from cds_service.fhir.dates import day
from cds_service.pictures.pain_plot import PainPoint, pain_plot
from cds_service.pictures.svg import Picture
from smart_app.sdc.filling import Filling

BEFORE, AFTER, TRIAL_DATE = "intraspinal_trial_pain_baseline", "intraspinal_trial_pain_after", "intraspinal_trial_date"


def pain_picture(filling: Filling) -> Picture | None:
    """The two scores and the relief between them; None until both are answered."""
    scores = {name: _score(filling, name) for name in (BEFORE, AFTER)}
    if any(score is None for score in scores.values()):
        return None
    points = [_point(filling, BEFORE, "before"), _point(filling, AFTER, "after")]
    return pain_plot([point for point in points if point is not None], trial=_day(filling))


def _point(filling: Filling, name: str, moment: Literal["before", "after"]) -> PainPoint | None:
    score = _score(filling, name)
    if score is None:
        return None
    answer = _state(filling, name).answers[0]
    note = answer.notes[0] if answer.notes else None
    return PainPoint(
        when=day(note.date) if note is not None else None,
        score=score,
        moment=moment,
        told_by="chart" if answer.origin.is_auto else "attestation",
        evidence=note.source if note is not None else "",
    )


def _score(filling: Filling, name: str) -> Fraction | None:
    value = _value(filling, name, ("valueDecimal", "valueInteger"))
    return Fraction(value) if isinstance(value, int | Decimal) else None


def _day(filling: Filling) -> date | None:
    return day(_value(filling, TRIAL_DATE, ("valueDate", "valueDateTime")))


def _value(filling: Filling, name: str, kinds: tuple[str, ...]) -> Any:
    for answer in _state(filling, name).answers:
        for kind in kinds:
            if kind in answer.value:
                return answer.value[kind]
    return None


def _state(filling: Filling, name: str) -> Any:
    """The item wherever in the form it stands: link ids are unique."""
    found: Mapping[str, Any] = {key: state for key, state in filling.states.items() if key.rpartition("/")[2] == name}
    return next(iter(found.values()), filling.state(name))

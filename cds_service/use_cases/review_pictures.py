"""The drawings of one case: from a stored determination and what the request shows, to what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, Final, cast

from cds_service.domain.record import Record, Score, Therapy
from cds_service.domain.vocabulary import Vocabulary
from cds_service.pictures.dose_bars import DoseBar, Verdict, dose_bars
from cds_service.pictures.pain_plot import PainPoint, pain_plot
from cds_service.pictures.svg import Picture
from cds_service.pictures.therapy_timeline import Course, therapy_timeline
from cds_service.policy.model import Guideline
from cds_service.policy.therapy import RUNNING

PAIN: Final = "pain_scores"  # value set
TRIAL_DATE: Final = "intraspinal_trial_date"
BASELINE, AFTER = "intraspinal_trial_pain_baseline", "intraspinal_trial_pain_after"
EXAMPLE_PERCENT: Final = Fraction(50)  # the guideline's example, said so on the page
_KINDS: Final = {
    "MedicationRequest": "ordered",
    "MedicationStatement": "stated",
    "MedicationDispense": "dispensed",
    "MedicationAdministration": "given",
}


def dose_picture(results: Sequence[Mapping[str, Any]], guideline: Guideline | None) -> Picture:
    """Daily amount and concentration of each ingredient; ``results`` as in the determination document."""
    cites = {drug: row.citation for drug, row in guideline.dose_table.rows.items()} if guideline else {}
    bars = []
    for result in results:
        name = str(result["ingredient"])
        for what, part in (("daily dose", "daily"), ("concentration", "concentration")):
            amount, limit = result[part], result[f"{part}_limit"]
            bars.append(
                DoseBar(
                    label=f"{name.capitalize()}, {what}",
                    verdict=cast("Verdict", result[f"{part}_verdict"]),
                    amount=_exact(amount),
                    amount_text=_text(amount),
                    limit=_exact(limit),
                    limit_text=_text(limit),
                    steps=tuple(result["steps"]) if part == "daily" else (),
                    cite=cites.get(name, "") if limit else "",
                )
            )
    return dose_bars(bars)


def timeline_picture(record: Record, requested: frozenset[str], as_of: date) -> Picture:
    """Therapies and procedures of the request's chart; what is now asked for is left out."""
    shown = [each for each in record.therapies if each.source not in requested and not each.proposal]
    courses = [_course(each) for each in shown]
    courses += [
        Course(label=each.text or "procedure", kind="procedure", start=each.when, end=each.when, evidence=each.source)
        for each in record.procedures
        if each.done
    ]
    courses.sort(key=lambda course: course.start or course.end or date.max)
    trial = _answer(record, TRIAL_DATE)
    marks = ((trial, "trial"),) if isinstance(trial, date) else ()
    return therapy_timeline(courses, as_of, marks)


def pain_picture(record: Record, vocabulary: Vocabulary) -> Picture:
    """Pain scores of the chart before and after the trial; the attested pair where the chart shows no such pair."""
    trial = _answer(record, TRIAL_DATE)
    day = trial if isinstance(trial, date) else None
    held = vocabulary.value_sets.get(PAIN)
    codes = held.codes if held else frozenset()
    points = [_point(score, day) for score in record.scores if codes.intersection(score.codes)]
    if {"before", "after"} - {point.moment for point in points}:
        points += _attested(record)
    return pain_plot(points, EXAMPLE_PERCENT, day)


def _course(therapy: Therapy) -> Course:
    how = "as needed" if therapy.as_needed else therapy.schedule
    return Course(
        label=f"{therapy.text}{f', {how}' if how else ''}",
        kind=_KINDS.get(therapy.kind, therapy.kind),
        start=therapy.start,
        end=therapy.stop,
        ongoing=therapy.stop is None and therapy.status in RUNNING,
        as_needed=therapy.as_needed,
        evidence=therapy.source,
    )


def _point(score: Score, trial: date | None) -> PainPoint:
    moment = "" if trial is None else "before" if score.when < trial else "after"
    return PainPoint(
        when=score.when,
        score=score.value,
        moment=cast("Any", moment),
        evidence=score.source,
    )


def _attested(record: Record) -> list[PainPoint]:
    points = []
    for fact, moment in ((BASELINE, "before"), (AFTER, "after")):
        value = _answer(record, fact)
        if isinstance(value, Fraction):
            points.append(
                PainPoint(
                    when=None, score=value, moment=cast("Any", moment), told_by="attestation", evidence="questionnaire"
                )
            )
    return points


def _answer(record: Record, fact: str) -> object:
    """The newest answer to a question, finished form or not: it is shown, not judged."""
    found = [answer for answer in record.answers if answer.fact == fact]
    return max(found, key=lambda answer: answer.attested_on or date.min).value if found else None


def _exact(amount: Mapping[str, str] | None) -> Fraction | None:
    return None if amount is None else Fraction(amount["value"])


def _text(amount: Mapping[str, str] | None) -> str:
    return "" if amount is None else f"{amount['value']} {amount['unit']}"

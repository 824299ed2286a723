"""Systemic opioids over time: the actual prescriptions, those as needed told apart, and what lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from cds_service.domain.record import Therapy
from cds_service.domain.vocabulary import RouteGroup, Vocabulary
from cds_service.fhir.chart import Read, build_chart
from cds_service.fhir.therapies import TRANSDERMAL, read_therapies
from cds_service.pictures.svg import Picture
from cds_service.pictures.therapy_timeline import Course, therapy_timeline

SEARCHES = ("MedicationRequest", "MedicationStatement")
_OPIOIDS = "systemic_opioids"
_NEURAXIAL = frozenset({RouteGroup.INTRATHECAL, RouteGroup.EPIDURAL, RouteGroup.INTRASPINAL})
_NEVER_TAKEN = frozenset({"draft", "cancelled", "entered-in-error", "declined", "unknown"})
_RUNNING = frozenset({"active", "intended", "in-progress"})
_MOST_ROWS = 12


def opioids(
    patient_id: str, fhir_server: str, reads: Sequence[tuple[str, Read]], vocabulary: Vocabulary
) -> tuple[Therapy, ...]:
    """Prescriptions and statements of systemic opioids, oldest first, at most the latest twelve.

    ``reads``: (type, what the EHR gave). Only what is this patient's is used; the gate is the payer's own.
    """
    chart = build_chart(
        patient_id=patient_id,
        fhir_server=fhir_server,
        drafts=(),
        prefetch={},
        fetched={f"{kind}-{place}": read for place, (kind, read) in enumerate(reads)},
        wanted={f"{kind}-{place}": kind for place, (kind, _) in enumerate(reads)},
    )
    dropped: list[tuple[str, str]] = []
    found = [each for each in read_therapies(chart, dropped) if _counts(each, vocabulary)]
    found.sort(key=lambda each: (each.start or each.stop or date.min, each.source))
    return tuple(found[-_MOST_ROWS:])


def opioid_picture(therapies: Sequence[Therapy], as_of: date) -> Picture | None:
    """The timeline; None without a prescription."""
    if not therapies:
        return None
    courses = [_course(each) for each in therapies]
    return therapy_timeline(courses, as_of, title="Systemic opioids in the chart")


def _counts(therapy: Therapy, vocabulary: Vocabulary) -> bool:
    if therapy.proposal or therapy.status in _NEVER_TAKEN or _OPIOIDS not in vocabulary.value_sets:
        return False
    groups = {vocabulary.routes.get(code) for code in therapy.routes}
    groups |= {vocabulary.route_words.get(code.code) for code in therapy.routes if not code.system}
    return vocabulary.holds(_OPIOIDS, therapy.codes) is not None and not groups & _NEURAXIAL


def _course(therapy: Therapy) -> Course:
    schedule = "as needed" if therapy.as_needed else therapy.schedule or "schedule not stated"
    ongoing = therapy.stop is None and therapy.status in _RUNNING
    return Course(
        label=f"{therapy.text or 'Opioid'}, {schedule}",
        kind=_kind(therapy),
        start=therapy.start,
        end=therapy.stop,
        ongoing=ongoing,
        evidence=therapy.source,
        as_needed=therapy.as_needed,
    )


def _kind(therapy: Therapy) -> str:
    if therapy.as_needed:
        return "as needed"
    return "fixed schedule" if therapy.scheduled or TRANSDERMAL in therapy.routes else "schedule not stated"

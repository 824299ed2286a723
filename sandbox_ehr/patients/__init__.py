"""Sample patients: made up, one for each thing that the payer may say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from sandbox_ehr.fhir_json import Resource
from sandbox_ehr.patients import doses, permanent, plans, quiet, trial
from sandbox_ehr.patients.sample import Sample
from sandbox_ehr.patients.staff import STAFF, staff

__all__ = ["STAFF", "everything", "samples", "staff"]

_ALL: tuple[Callable[[date], Sample], ...] = (
    trial.ready, trial.facts_missing, trial.gaps, trial.too_short, trial.conflict, trial.stale, trial.epidural,
    trial.route_missing,
    permanent.ready, permanent.facts_missing, permanent.mixture, permanent.refill, permanent.authorized,
    permanent.pending,
    doses.above_table, doses.concentration, doses.unit_error,
    plans.fep, plans.sao, plans.medicare, plans.ended, plans.other_payer,
    quiet.labour, quiet.oral, quiet.methotrexate,
)  # fmt: skip


def samples(as_of: date) -> dict[str, Sample]:
    """All sample patients as they are on one day, by id."""
    made = [make(as_of) for make in _ALL]
    return {sample.id: sample for sample in made}


def everything(as_of: date) -> list[Resource]:
    """What a fresh sandbox holds: the staff, and every sample patient's chart."""
    return [*staff(), *(one for sample in samples(as_of).values() for one in sample.resources)]

"""Which drawings stand where in a form: the dose beside the whole, the others beside their questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.fhir.concepts import dicts, word
from cds_service.pictures.svg import Picture
from smart_app.dtr.dose_limits import Limits, read_limits
from smart_app.forms.coverage_form import Opened
from smart_app.forms.parts import FormParts
from smart_app.forms.what_if import Resolve, assessment_of
from smart_app.pictures.dose import dose_picture
from smart_app.pictures.pain import AFTER, pain_picture
from smart_app.pictures.timeline import opioid_picture

# Questions that a drawing helps with; the first of them that is shown gets it.
_TIMELINE_AT = ("noninvasive_trial_weeks", "systemic_opioid_fixed_schedule", "systemic_opioid_included")


class Pictures(msgspec.Struct, frozen=True):
    """The drawings of one form. ``beside``: link id of a question -> its drawing."""

    dose: Picture | None
    beside: Mapping[str, Picture]
    what_if: bool


def pictures_of(parts: FormParts, opened: Opened) -> Pictures:
    """Those that there is something to draw for."""
    limits = limits_of(parts, opened)
    dose = None
    if limits is not None:
        for order in drug_orders(opened):
            dose = dose_picture(assessment_of(order, resolver(opened), limits), limits)
            if dose is not None:
                break
    beside: dict[str, Picture] = {}
    timeline = opioid_picture(opened.chart.therapies, parts.now().date())
    place = next((name for name in _TIMELINE_AT if name in opened.form.by_link), "")
    if timeline is not None and place:
        beside[place] = timeline
    pain = pain_picture(opened.file.filling)
    if pain is not None and AFTER in opened.form.by_link:
        beside[AFTER] = pain
    return Pictures(dose, beside, limits is not None)


def limits_of(parts: FormParts, opened: Opened) -> Limits | None:
    """The payer's dose table, where the questionnaire publishes one."""
    return read_limits(opened.package.questionnaire, parts.vocabulary)


def drug_orders(opened: Opened) -> list[dict[str, Any]]:
    """The orders of this form that are prescriptions and could be read."""
    return [each for each in opened.chart.orders.values() if each.get("resourceType") == "MedicationRequest"]


def resolver(opened: Opened) -> Resolve:
    """Finds what an order refers to: inside it, or among what was read with it."""

    def resolve(reference: Any, container: Any) -> Mapping[str, Any] | None:
        text = word(reference.get("reference")) if isinstance(reference, Mapping) else ""
        inside = container.get("contained") if isinstance(container, Mapping) else None
        for one in dicts(inside):
            if text == f"#{one.get('id')}":
                return one
        return opened.chart.related.get(text)

    return resolve

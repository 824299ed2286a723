"""Sample patients: complete, plainly made up, and current on any day."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from sandbox_ehr.fhir_json import dumps
from sandbox_ehr.order_form import problems
from sandbox_ehr.patients import samples
from sandbox_ehr.search import TYPES, patient_of

DAYS = (date(2026, 3, 2), date(2028, 2, 29))


@pytest.mark.parametrize("as_of", DAYS)
def test_every_example_order_can_be_signed(as_of):
    for sample in samples(as_of).values():
        assert problems(sample.order) == (), sample.id


def test_there_are_enough_and_each_says_what_it_shows():
    made = samples(DAYS[0])
    assert len(made) >= 14
    assert len({sample.shows for sample in made.values()}) == len(made)
    assert all(len(sample.shows) <= 110 for sample in made.values())


def test_everybody_is_plainly_made_up():
    for sample in samples(DAYS[0]).values():
        assert sample.name.split()[-1] in {"Example", "Sample"}
        (patient,) = (one for one in sample.resources if one["resourceType"] == "Patient")
        assert f"{patient['name'][0]['given'][0]} {patient['name'][0]['family']}" == sample.name


def test_resources_belong_to_their_patient_and_have_unique_ids():
    seen = set()
    for sample in samples(DAYS[0]).values():
        for resource in sample.resources:
            assert resource["resourceType"] in TYPES
            assert patient_of(resource) == sample.id
            key = (resource["resourceType"], resource["id"])
            assert key not in seen
            seen.add(key)


@pytest.mark.parametrize("sample", samples(DAYS[0]).values(), ids=lambda sample: sample.id)
def test_references_lead_somewhere(sample):
    held = {f"{one['resourceType']}/{one['id']}" for one in sample.resources} | {"Practitioner/dr-sample"}

    def references(value):
        if isinstance(value, dict):
            if isinstance(value.get("reference"), str) and not value["reference"].startswith("#"):
                yield value["reference"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    assert set(references(json.loads(dumps(sample.resources)))) <= held
    for ident in filter(None, (sample.order.reason, sample.order.replaces)):
        assert any(one["id"] == ident for one in sample.resources)


def test_charts_stay_current_whatever_the_day():
    """The same chart two years later: only dates move, and they move by the same number of days."""
    early, late = (samples(day)["permanent-ready"] for day in DAYS)
    shift = DAYS[1] - DAYS[0]
    first, second = (
        next(one for one in sample.resources if one["resourceType"] == "QuestionnaireResponse")
        for sample in (early, late)
    )
    assert date.fromisoformat(second["authored"][:10]) - date.fromisoformat(first["authored"][:10]) == shift
    assert DAYS[0] - date.fromisoformat(first["authored"][:10]) <= timedelta(days=90)

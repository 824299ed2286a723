"""What stands beside an answer as that on which it rests."""

from __future__ import annotations

from typing import Any

import pytest

from smart_app.forms.words import kind_words
from smart_app.sdc.evidence import MOST_NOTES, notes

PERSON = {"name": [{"family": "Sample", "given": ["Alex"]}], "birthDate": "1970-01-01"}


@pytest.mark.parametrize(
    ("resource", "line"),
    [
        # Of people nothing is repeated in the evidence, which is saved with the form.
        ({"resourceType": "Practitioner", "id": "p", **PERSON}, "Clinician: as registered"),
        ({"resourceType": "PractitionerRole", "id": "p"}, "Clinician: as registered"),
        ({"resourceType": "Patient", "id": "p", **PERSON}, "Patient record: as registered"),
        ({"resourceType": "Organization", "id": "p", "name": "Sandbox Pain Clinic"}, "Organization: as registered"),
        # A pain score with its number; a problem with its clinical status.
        (
            {
                "resourceType": "Observation",
                "id": "o",
                "status": "final",
                "code": {"text": "Pain severity"},
                "valueInteger": 7,
            },
            "Observation: Pain severity, 7, final",
        ),
        (
            {
                "resourceType": "Condition",
                "id": "c",
                "code": {"text": "Chronic pain"},
                "clinicalStatus": {"text": "active"},
            },
            "Problem: Chronic pain, active",
        ),
    ],
)
def test_evidence_says_of_which_kind_it_is_and_what_it_shows(resource: dict[str, Any], line: str) -> None:
    (note,) = notes([resource])
    assert f"{kind_words(note.source)}: {note.shows}" == line


def test_many_pieces_of_evidence_are_counted() -> None:
    found = notes({"resourceType": "Observation", "id": str(number)} for number in range(MOST_NOTES + 3))
    assert (len(found), found[-1].shows) == (MOST_NOTES + 1, "and 3 more")

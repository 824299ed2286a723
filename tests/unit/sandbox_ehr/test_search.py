"""Search parameters on plain resources."""

from __future__ import annotations

import pytest

from sandbox_ehr.search import SearchRefused, matches

PAIN = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "72514-3"}]},
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2026-02-10T08:00:00Z",
}
ANSWERS = {
    "resourceType": "QuestionnaireResponse",
    "id": "q1",
    "questionnaire": "https://cds.example.org/fhir/Questionnaire/x|1",
    "status": "completed",
    "authored": "2026-02-10",
}


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ([("code", "http://loinc.org|72514-3")], True),
        ([("code", "72514-3")], True),
        ([("code", "http://loinc.org|")], True),  # any code of the system
        ([("code", "http://snomed.info/sct|72514-3")], False),
        ([("code", "38208-5,72514-3")], True),  # comma: OR
        ([("code", "72514-3"), ("status", "final")], True),  # repeated: AND
        ([("code", "72514-3"), ("status", "preliminary")], False),
        ([("date", "ge2026-02-10")], True),
        ([("date", "gt2026-02-10")], False),
        ([("date", "le2026-02-10")], True),
        ([("date", "lt2026-02-10")], False),
        ([("date", "2026-02")], True),
        ([("date", "ne2026-02-10")], False),
        ([("patient", "p")], True),
        ([("subject", "Patient/p")], True),
        ([("patient", "pp")], False),
        ([("_id", "o1"), ("_count", "5")], True),
    ],
)
def test_observation_search(query, hit):
    assert bool(matches("Observation", [PAIN], query)) is hit


def test_a_canonical_matches_whatever_its_version():
    assert matches("QuestionnaireResponse", [ANSWERS], [("questionnaire", ANSWERS["questionnaire"].split("|")[0])])


def test_an_unknown_parameter_is_refused_with_what_is_allowed():
    with pytest.raises(SearchRefused, match=r"allowed: _id, .*code"):
        matches("Observation", [PAIN], [("colour", "red")])

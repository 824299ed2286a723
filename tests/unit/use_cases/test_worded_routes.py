"""A chart medication whose route is only written out counts as one whose route is coded (guideline I.2)."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from cds_service.app import load_rules
from cds_service.settings import for_tests
from cds_service.use_cases.decide import evaluate_document
from tests.support.e2e_patient import AS_OF, RXNORM, SNOMED, SUBJECT, TRIAL, call, chart, encode
from tests.support.e2e_service import shipped

RULES = load_rules(shipped(), for_tests())
# The clinician says that opioids failed in an adequate dose; how long, and on which schedule, the chart must show.
ANSWERS = {**TRIAL, "noninvasive_trial_outcome": "failure", "systemic_opioid_adequate_dose": "yes"}


def thirteen_weeks(route: dict[str, Any] | None) -> dict[str, Any]:
    """Morphine twice a day from November to February."""
    dosage: dict[str, Any] = {"timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}}
    return {
        "resourceType": "MedicationStatement",
        "id": "ms-1",
        "status": "completed",
        "subject": SUBJECT,
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "7052"}], "text": "morphine ER"},
        "effectivePeriod": {"start": "2025-11-01", "end": "2026-02-01"},
        "dosage": [dosage if route is None else {**dosage, "route": route}],
    }


LOCAL = {"system": "urn:oid:2.999.1", "code": "15"}
ROWS = [
    ("coded", {"coding": [{"system": SNOMED, "code": "26643006"}]}, "met"),
    ("one word", {"text": "Oral"}, "met"),
    ("in full", {"text": " oral  ROUTE"}, "met"),
    ("the site's own code, with its display", {"coding": [{**LOCAL, "display": "Oral"}]}, "met"),
    ("the site's own code, with a text", {"coding": [LOCAL], "text": "By mouth"}, "met"),
    ("no systemic route: a pump's morphine is no trial of oral opioids", {"text": "Intrathecal"}, "unknown"),
    ("words within other words are not guessed at", {"text": "oral or intrathecal"}, "unknown"),
    ("words nobody knows", {"text": "see note"}, "unknown"),
    ("a code and words that disagree", {"coding": [{**LOCAL, "code": "PO"}], "text": "Intrathecal"}, "unknown"),
    ("no route: morphine may have been neuraxial", None, "unknown"),
]


@pytest.mark.parametrize(("route", "status"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_trial_by_a_route_in_words(route: dict[str, Any] | None, status: str) -> None:
    body = encode(call(held=chart(ANSWERS, medicationStatements=[thirteen_weeks(route)])))
    document = json.loads(evaluate_document(body, RULES, date.fromisoformat(AS_OF)))
    assert document["orders"][0]["criteria"]["I.2"]["status"] == status

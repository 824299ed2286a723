"""OperationOutcome: one per refusal, valid FHIR, and only what our own errors say (cds-hooks-crd 62, 109-115)."""

from __future__ import annotations

import pytest

from cds_service.fhir.models import complaints
from cds_service.fhir.operation_outcome import operation_outcome


def test_crd_62_severity_code_text_and_place() -> None:
    outcome = operation_outcome([("required", "Coverage was not readable", "prefetch.coverage")])
    assert outcome == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "required",
                "diagnostics": "Coverage was not readable",
                "expression": ["prefetch.coverage"],
            }
        ],
    }
    assert complaints(outcome) == ()


def test_no_element_is_empty() -> None:
    assert "expression" not in operation_outcome([("login", "client authentication failed", "")])["issue"][0]


def test_an_outcome_without_issue_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="issue"):
        operation_outcome([])


@pytest.mark.parametrize(
    ("resource", "complaint"),
    [
        ({"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]}, "issue.0"),
        ({"resourceType": "Coverage", "secret": "x"}, "secret: extra_forbidden"),
        ({"resourceType": "Nothing"}, "resourceType: not a type of FHIR R4B"),
        ({}, "resourceType: not a type of FHIR R4B"),
    ],
)
def test_models_complain_by_place_and_kind_alone(resource: dict[str, object], complaint: str) -> None:
    assert any(each.startswith(complaint) for each in complaints(resource))

"""FHIR access of the running sandbox: without a valid token nothing of any patient is told."""

from __future__ import annotations

import pytest
import requests

PATIENT = "trial-ready"


@pytest.mark.parametrize(
    "path",
    [
        f"Patient/{PATIENT}",
        f"Condition?patient={PATIENT}",
        f"MedicationRequest?patient={PATIENT}",
        f"QuestionnaireResponse?subject=Patient/{PATIENT}",
    ],
)
@pytest.mark.parametrize("authorization", [None, "Bearer x", "Basic Zm9vOmJhcg==", "Bearer eyJhbGciOiJub25lIn0.e30."])
def test_refused_without_a_valid_token(demo, path, authorization) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = requests.get(f"{demo.ehr}/fhir/{path}", headers=headers, timeout=5)
    assert answer.status_code == 401
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_keys_and_capabilities_are_public_and_hold_no_secret(demo) -> None:
    keys = requests.get(f"{demo.ehr}/jwks.json", timeout=5).json()["keys"]
    assert all("d" not in key for key in keys)
    assert requests.get(f"{demo.ehr}/fhir/metadata", timeout=5).json()["resourceType"] == "CapabilityStatement"

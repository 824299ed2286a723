"""References in one normal form; what a sender could abuse is none (reliability rows 69, 70, 76-78)."""

from __future__ import annotations

import pytest

from cds_service.fhir.references import contained, host_of, normal

HOST = "ehr.example.org"

ROWS = [
    ("relative", "Patient/1", "Patient/1"),
    ("bad_input_69_versioned", "Patient/1/_history/4", "Patient/1"),
    ("bad_input_69_absolute", "https://ehr.example.org/fhir/Patient/1", "Patient/1"),
    ("bad_input_69_absolute_versioned", "https://ehr.example.org/fhir/Patient/1/_history/2", "Patient/1"),
    ("crd_43_other_path_of_the_same_host", "http://ehr.example.org/r4/Patient/1", "Patient/1"),
    ("default_port_and_case", "https://EHR.example.org:443/fhir/Patient/1", "Patient/1"),
    ("bad_input_70_other_host", "https://evil.example/fhir/Patient/1", "https://evil.example/fhir/Patient/1"),
    ("other_host_versioned", "https://evil.example/Patient/1/_history/1", "https://evil.example/Patient/1"),
    ("other_port", "https://ehr.example.org:444/Patient/1", "https://ehr.example.org:444/Patient/1"),
    ("urn_uuid", "urn:uuid:0CE27236-CF79-5680-A12D-99351E7144B4", "urn:uuid:0ce27236-cf79-5680-a12d-99351e7144b4"),
    ("contained", "#med", "#med"),
    (
        "bad_input_56_long_id",
        "MedicationRequest/" + "a.B-9" * 38 + "abcd",
        "MedicationRequest/" + "a.B-9" * 38 + "abcd",
    ),
    ("underscore", "Patient/a_b", "Patient/a_b"),
    ("bad_input_78_traversal", "../../admin", None),
    ("bad_input_78_encoded", "Patient/..%2f", None),
    ("bad_input_78_dots", "Patient/..", None),
    ("bad_input_78_query", "Patient/1?_include=*", None),
    ("bad_input_78_script", "javascript:alert(1)", None),
    ("bad_input_78_absolute_traversal", "https://ehr.example.org/fhir/../Patient/1", None),
    ("bad_input_78_absolute_encoded", "https://ehr.example.org/%2e%2e/Patient/1", None),
    ("bad_input_78_absolute_query", "https://ehr.example.org/fhir/Patient/1?x=1", None),
    ("bad_input_78_fragment", "https://ehr.example.org/fhir/Patient/1#x", None),
    ("user_in_url", "https://ehr.example.org@evil.example/Patient/1", None),
    ("bad_port", "https://ehr.example.org:x/Patient/1", None),
    ("no_path", "https://ehr.example.org", None),
    ("lower_case_type", "patient/1", None),
    ("file", "file:///etc/passwd", None),
    ("empty", "", None),
    ("newline", "Patient/1\n", None),
    ("not_text", 7, None),
    ("absent", None, None),
]


@pytest.mark.parametrize(("reference", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_normal_form(reference: object, expected: str | None) -> None:
    assert normal(reference, HOST) == expected


def test_without_a_known_host_an_absolute_reference_stays_absolute() -> None:
    assert normal("https://ehr.example.org/fhir/Patient/1", None) == "https://ehr.example.org/fhir/Patient/1"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://ehr.example.org/fhir", "ehr.example.org"),
        ("https://ehr.example.org:8443/fhir", "ehr.example.org:8443"),
        ("http://ehr.example.org:80", "ehr.example.org"),
        ("ftp://ehr.example.org", None),
        ("https://user@ehr.example.org", None),
        ("https://", None),
        ("https://[::1", None),
        (None, None),
        (7, None),
    ],
)
def test_host(url: object, host: str | None) -> None:
    assert host_of(url) == host


def test_bad_input_76_contained_resource_by_its_name() -> None:
    inner = {"resourceType": "Medication", "id": "med"}
    assert contained("#med", {"contained": [None, inner]}) is inner
    assert contained("#other", {"contained": [inner]}) is None
    assert contained("#med", {"contained": "no list"}) is None
    assert contained("#med", None) is None

"""A request is one patient's: orders, Coverage and forms of somebody else count for nothing, in whatever wrapping."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.pas_bundles import BASE, COMPLETE, EXT, X12, concept, request, update_of
from tests.support.pas_service import Pas, actions, notes

ELSEWHERE = "https://elsewhere.example.org/fhir/"
URN = "urn:uuid:00000000-0000-4000-8000-00000000000"
NUMBER = {"system": "https://payer.example.org/members", "value": "M0000001"}
THEIRS = f"{ELSEWHERE}QuestionnaireResponse/qr-"
OTHER = {
    "resourceType": "Patient",
    "id": "pat-1",
    "name": [{"family": "Else"}],
    "identifier": [NUMBER | {"value": "X"}],
}
TWIN = OTHER | {"identifier": [NUMBER]}


def wrapped(form_url: str, subject: str, *more: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A request whose form comes as DTR's Bundle of one, with ``more`` entries (fullUrl, resource) inside it."""
    bundle = request()
    form = next(each for each in bundle["entry"] if each["resource"]["resourceType"] == "QuestionnaireResponse")
    bundle["entry"].remove(form)
    answers = form["resource"] | {"subject": {"reference": subject}}
    inside = [{"fullUrl": url, "resource": resource} for url, resource in ((form_url, answers), *more)]
    held = {"resourceType": "Bundle", "id": "forms", "type": "collection", "entry": inside}
    bundle["entry"].append({"fullUrl": f"{BASE}Bundle/forms", "resource": held})
    bundle["entry"][0]["resource"]["supportingInfo"][0]["valueReference"] = {"reference": "Bundle/forms"}
    return bundle


FORMS: list[tuple[str, tuple[Any, ...], str]] = [
    ("of the same server", (f"{BASE}QuestionnaireResponse/qr-1", "Patient/pat-1"), "A1"),
    ("by the patient's whole address", (f"{URN}1", f"{BASE}Patient/pat-1"), "A1"),
    ("by type and id where no server is named", (f"{URN}1", "Patient/pat-1"), "A1"),
    ("a copy of the patient with the same number", (f"{URN}1", f"{URN}2", (f"{URN}2", TWIN)), "A1"),
    ("another server's patient with the same id", (f"{THEIRS}1", "Patient/pat-1"), "A4"),
    ("the same by whole address", (f"{URN}1", f"{ELSEWHERE}Patient/pat-1"), "A4"),
    ("another person with the same id inside", (f"{URN}1", "Patient/pat-1", (f"{URN}2", OTHER)), "A4"),
    ("another server's person inside", (f"{THEIRS}1", "Patient/pat-1", (f"{ELSEWHERE}Patient/pat-1", OTHER)), "A4"),
    ("a contained person", (f"{URN}1", "#pat-1"), "A4"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "action"), [pytest.param(*rest, id=name) for name, *rest in FORMS])
def test_a_form_counts_for_the_person_that_it_is_about(made: tuple[Any, ...], action: str, pas: Pas) -> None:
    assert actions(pas.submit(wrapped(*made))) == {1: action}


@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
@pytest.mark.parametrize(
    ("place", "element", "rule"),
    [(6, "subject", "P026"), (2, "beneficiary", "P022")],  # the order; the Coverage
)
def test_P095_an_order_or_coverage_of_another_patient_is_refused_by_its_place(
    place: int, element: str, rule: str, version: str, pas: Pas
) -> None:
    other = {"resourceType": "Patient", "id": "pat-2", "identifier": [{"system": "x", "value": "2"}]}
    bundle = request(more=[other])
    bundle["entry"][place]["resource"][element] = {"reference": "Patient/pat-2"}
    answer = pas.submit(bundle, version)
    told = [(each["diagnostics"], each["expression"]) for each in answer.json["issue"]]
    assert (answer.status, told) == (422, [(rule, [f"Bundle.entry[{place}].resource.{element}"])])


@pytest.mark.parametrize("cancels", [False, True])
def test_P080_P084_an_update_is_about_the_member_of_the_request_that_it_changes(cancels: bool, pas: Pas) -> None:
    first = request()
    assert actions(pas.submit(first)) == {1: "A1"}
    certification = {"url": f"{EXT}certificationType", "valueCodeableConcept": concept(f"{X12}1322", "3")}
    claim = {"extension": [certification]} if cancels else {}
    for number, change in enumerate(({"identifier": [NUMBER | {"value": "M9"}]}, {"birthDate": "1999-01-01"})):
        changed = update_of(first, identifier=f"U{number}", claim=claim)
        changed["entry"][1]["resource"] |= change
        if "identifier" in change:
            changed["entry"][2]["resource"]["identifier"][0]["value"] = "M9"
        answer = pas.submit(changed)
        told = [(each["diagnostics"], each["expression"]) for each in answer.json["issue"]]
        rule = "P084" if cancels else "P080"
        assert (answer.status, told) == (422, [(rule, ["Bundle.entry[0].resource.patient"])])
    assert [case.version for case in pas.cases.cases_of_member("M0000001")] == [1]


def test_a_form_that_a_nurse_signed_waits_for_a_person(pas: Pas) -> None:
    answer = pas.submit(request(values=COMPLETE | {"attestation_name": "Cora Lake, RN"}))
    assert actions(answer) == {1: "A4"}
    assert "not signed by a prescriber" in notes(answer)

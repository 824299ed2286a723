"""What a machine approves bills what was ordered: its codes, its units, and each service once (decisions 6, P092)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.pas_bundles import (
    COMPLETE,
    CPT,
    EXT,
    HCPCS,
    SNOMED,
    TRIAL_DONE,
    X12,
    concept,
    item,
    morphine,
    request,
    service_request,
)
from tests.support.pas_service import Pas, actions, claim_response, notes

NDC = "http://hl7.org/fhir/sid/ndc"
PERMANENT = COMPLETE | TRIAL_DONE | {"request_type": "permanent"}
CODE_END = [{"url": f"{EXT}productOrServiceCodeEnd", "valueCodeableConcept": concept(HCPCS, "J2278")}]
J2274, J2278 = {"system": HCPCS, "code": "J2274"}, {"system": HCPCS, "code": "J2278"}
IMPLANT = {"system": CPT, "code": "62362"}
FUSION = IMPLANT | {"code": "22633"}

CODES: list[tuple[str, dict[str, Any], str]] = [
    ("the drug's own code", {}, "A1"),
    ("the other spelling of the list", {"system": HCPCS.replace("http:", "https:")}, "A1"),
    ("an unclassified code names no drug", {"code": "J7999"}, "A1"),
    ("a type of service names no drug", {"code": "1", "system": f"{X12}1365"}, "A1"),
    ("another drug's code", {"code": "J2278"}, "A4"),
    ("another drug's code in small letters", {"code": "j2278"}, "A4"),
    ("a code of a drug that is not known here", {"code": "J9035"}, "A4"),
    ("the code of an implantation", {"code": "62362", "system": CPT}, "A4"),
    ("the code of a pump", {"code": "E0783"}, "A4"),
    ("a product code that is not known here", {"code": "00409113402", "system": NDC}, "A4"),
    ("two codes of one list", {"productOrService": {"coding": [J2274, J2278]}}, "A4"),
    ("a second code of another list", {"productOrService": {"coding": [J2274, IMPLANT]}}, "A4"),
    ("a range that ends with another drug", {"extension": CODE_END}, "A4"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "action"), [pytest.param(*rest, id=name) for name, *rest in CODES])
@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
def test_a_drug_is_approved_under_a_code_that_is_known_to_name_it(
    changes: dict[str, Any], action: str, version: str, pas: Pas
) -> None:
    answer = pas.submit(request(items=[item(**changes)]), version)
    assert actions(answer) == {1: action}
    assert ("the billing code does not name" in notes(answer)) == (action == "A4")


SERVICES: list[tuple[str, dict[str, Any], list[dict[str, str]], str]] = [
    ("the ordered code", {"code": "62362"}, [IMPLANT], "A1"),
    ("another code of the list", {"code": "22633"}, [IMPLANT], "A4"),
    ("the ordered code and another one", {"productOrService": {"coding": [IMPLANT, FUSION]}}, [IMPLANT], "A4"),
    ("a code that nothing connects with the order", {"code": "22633"}, [{"system": SNOMED, "code": "123"}], "A4"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "codings", "action"), [pytest.param(*rest, id=name) for name, *rest in SERVICES])
def test_a_service_is_approved_under_the_code_that_was_ordered(
    changes: dict[str, Any], codings: list[dict[str, str]], action: str, pas: Pas
) -> None:
    line = item(**({"system": CPT, "order": "ServiceRequest/pump-1"} | changes))
    answer = pas.submit(
        request(values=PERMANENT, items=[line], more=[service_request("pump-1", {"coding": list(codings)})])
    )
    assert actions(answer) == {1: action}


QUANTITIES: list[tuple[str, dict[str, Any], str]] = [
    ("as many as 5 mg on 31 days take", {"value": 16}, "A1"),
    ("in X12's word for units", {"value": 15, "system": f"{X12}673", "code": "UN"}, "A1"),
    ("one more", {"value": 17}, "A4"),
    ("in another measure", {"value": 10, "unit": "vial"}, "A4"),
]
NO_QUANTITY: list[tuple[str, Any]] = [
    ("nothing", {"value": 0}),
    ("less than nothing", {"value": -5}),
    ("text", {"value": "15"}),
    ("null", {"value": None}),
    ("at least", {"value": 1, "comparator": ">="}),
    ("no object", 15),
]


@pytest.mark.parametrize(("quantity", "action"), [pytest.param(*rest, id=name) for name, *rest in QUANTITIES])
@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
def test_units_are_approved_up_to_what_dose_and_period_come_to(
    quantity: dict[str, Any], action: str, version: str, pas: Pas
) -> None:
    assert actions(pas.submit(request(items=[item(quantity=quantity)]), version)) == {1: action}


@pytest.mark.parametrize("quantity", [pytest.param(each, id=name) for name, each in NO_QUANTITY])
def test_P031_what_is_no_number_above_zero_is_refused_and_never_approved(quantity: Any, pas: Pas) -> None:
    bundle = request(items=[item(quantity=quantity)])
    refused = pas.submit(bundle)
    assert refused.status == 422
    assert {each["diagnostics"] for each in refused.json["issue"]} == {"P031"}
    assert actions(pas.submit(bundle, "2.0.1")) == {1: "A4"}  # 2.0.1 has no such rule: a person looks


def test_units_that_cannot_be_counted_wait_for_a_person(pas: Pas) -> None:
    assert actions(pas.submit(request(items=[item(code="J3490", quantity={"value": 1_000_000})]))) == {1: "A4"}
    two_pumps = item(code="62362", system=CPT, order=None, quantity={"value": 2})
    assert actions(pas.submit(request(number=2, values=PERMANENT, items=[two_pumps]))) == {1: "A4"}


def test_P092_two_lines_of_one_request_for_the_same_service_are_not_both_approved(pas: Pas) -> None:
    same = pas.submit(request(items=[item(1), item(2)]))
    assert actions(same) == {1: "A1", 2: "A4"}
    assert "line 1 of this request asks for the same service already" in notes(same)
    twin = copy.deepcopy(morphine()) | {"id": "order-2"}
    lines = [item(1), item(2, order="MedicationRequest/order-2")]
    assert actions(pas.submit(request(number=2, items=lines, more=[twin]))) == {1: "A1", 2: "A4"}


def test_P092_a_mixture_with_an_authorized_drug_is_not_silently_authorized_again(pas: Pas) -> None:
    assert actions(pas.submit(request())) == {1: "A1"}
    parts = [
        {"itemCodeableConcept": concept("http://www.nlm.nih.gov/research/umls/rxnorm", code), "isActive": True,
         "strength": {"numerator": {"value": value, "system": "http://unitsofmeasure.org", "code": "mg"},
                      "denominator": {"value": 1, "system": "http://unitsofmeasure.org", "code": "mL"}}}
        for code, value in (("7052", 10), ("2599", 0.5))
    ]  # fmt: skip
    bag = {"resourceType": "Medication", "id": "bag", "ingredient": parts}
    order = morphine("0.5", contained=[bag], medicationReference={"reference": "#bag"})
    order.pop("medicationCodeableConcept")
    values = COMPLETE | {"compounded": "yes"}
    answer = pas.submit(request(order=order, values=values, items=[item(code="J3490")], identifier="second"))
    assert actions(answer) == {1: "A4"}
    assert "authorized already" in notes(answer)


@pytest.mark.parametrize("version", ["2.0.1", "2.2"])
def test_P083_a_line_that_comes_cancelled_in_a_first_request_gets_nothing(version: str, pas: Pas) -> None:
    answer = pas.submit(request(items=[item(1, certification="3")]), version)
    assert actions(answer) == {1: "C"}
    assert "preAuthRef" not in claim_response(answer.json)
    assert pas.rows("SELECT * FROM authorization_on_file") == []

"""An order whose words and codes name different drugs, strengths or amounts: a conflict, whichever of them is right."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cds_service.domain.order import Order
from cds_service.fhir.orders import read_order
from tests.support.e2e_service import shipped

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
MORPHINE_10, MORPHINE_25, HYDROMORPHONE_10 = "1731998", "1731522", "1724338"
MORPHINE, HYDROMORPHONE, OXYCODONE, BUPIVACAINE, ROPIVACAINE = "7052", "3423", "7804", "1815", "35780"


def coded(*codes: str, text: str = "", displays: tuple[str, ...] = ()) -> dict[str, Any]:
    shown = [*displays, *[""] * (len(codes) - len(displays))]
    coding = [
        {"system": RXNORM, "code": code, **({"display": display} if display else {})}
        for code, display in zip(codes, shown, strict=True)
    ]
    return {"coding": coding, **({"text": text} if text else {})}


def part(code: str, strength: int = 10, **words: Any) -> dict[str, Any]:
    unit = "http://unitsofmeasure.org"
    return {
        "itemCodeableConcept": coded(code, **words),
        "strength": {
            "numerator": {"value": strength, "system": unit, "code": "mg"},
            "denominator": {"value": 1, "system": unit, "code": "mL"},
        },
    }


def mixed(*parts: dict[str, Any], display: str = "", **medication: Any) -> dict[str, Any]:
    bag = {"resourceType": "Medication", "id": "bag", "ingredient": list(parts), **medication}
    reference = {"reference": "#bag", **({"display": display} if display else {})}
    return {"contained": [bag], "medicationReference": reference}


def ordered(**order: Any) -> Order:
    route = {"coding": [{"system": "http://snomed.info/sct", "code": "72607000"}]}
    rate = {"rateQuantity": {"value": Decimal("0.5"), "system": "http://unitsofmeasure.org", "code": "mL/d"}}
    dosage = {"route": route, "doseAndRate": [rate], **order.pop("dosage", {})}
    resource = {"resourceType": "MedicationRequest", "status": "active", "intent": "order"}
    resource["dosageInstruction"] = [dosage, *order.pop("more", ())]
    resource |= order

    def resolve(reference: Any, container: Any) -> Any:
        name = reference["reference"][1:]
        return next((each for each in container.get("contained", ()) if each["id"] == name), None)

    return read_order(resource, resolve, shipped().vocabulary, draft=True, source="MedicationRequest/x")


def product(*codes: str, **words: Any) -> dict[str, Any]:
    return {"medicationCodeableConcept": coded(*codes, **words)}


# What is ordered, and the drug that the conflict is told of ("" where all agree).
ROWS: list[tuple[str, dict[str, Any], str]] = [
    # Look-alike names are the classic mix-up: hydromorphone is several times as strong as morphine.
    ("text of another drug", product(MORPHINE_10, text="hydromorphone 10 mg/mL"), "morphine"),
    ("display of another drug", product(MORPHINE_10, displays=("Dilaudid 10 mg/mL injection",)), "morphine"),
    ("text of a drug of no guideline", product(MORPHINE_10, text="meperidine 10 mg/mL"), "morphine"),
    ("text with a second drug", product(MORPHINE_10, text="Morphine 10 mg/mL / bupivacaine"), "morphine"),
    ("its own brand", product(MORPHINE_10, text="INFUMORPH PF 10 mg/mL"), ""),
    ("words of no drug", product(MORPHINE_10, text="pump refill, preservative-free"), ""),
    ("a code of another drug", product(MORPHINE_10, HYDROMORPHONE), "morphine"),
    ("a product of another drug", product(MORPHINE_10, HYDROMORPHONE_10), "morphine"),
    ("a code of a drug that is never given there", product(MORPHINE_10, OXYCODONE), "morphine"),
    ("the code of its ingredient", product(MORPHINE_10, MORPHINE), ""),
    ("the code of its ingredient first", product(MORPHINE, MORPHINE_10), ""),
    ("a code that nothing is known of", product(MORPHINE_10, "1111111"), ""),
    # 0.5 mL/d is 5 mg/d of the one and 12.5 mg/d of the other.
    ("two products of one drug in two strengths", product(MORPHINE_10, MORPHINE_25), "morphine"),
    ("text of another strength", product(MORPHINE_10, text="morphine 25 mg/mL"), "morphine"),
    ("text of a strength in micrograms", product(MORPHINE_10, text="morphine 10,000 mcg/mL"), ""),
    ("text of a total in its volume", product(MORPHINE_10, text="Morphine 200 mg/20 mL"), ""),
    ("text of another total in its volume", product(MORPHINE_10, text="Morphine 500 mg per 20 mL"), "morphine"),
    ("a mixture by its names", mixed(part(MORPHINE), part(BUPIVACAINE, 5), code={"text": "morphine/bupivacaine"}), ""),
    ("a mixture with a third name", mixed(part(MORPHINE), code={"text": "morphine, clonidine"}), "morphine"),
    ("an ingredient of another name", mixed(part(MORPHINE, text="hydromorphone")), "morphine"),
    ("a mixture under a product of another drug", mixed(part(MORPHINE), code=coded(HYDROMORPHONE_10)), "morphine"),
    ("a mixture shown as another", mixed(part(MORPHINE), display="hydromorphone pump"), "morphine"),
    ("a mixture of a named drug and another", mixed(part(MORPHINE), part(ROPIVACAINE, 5, text="ropivacaine"),
     code={"text": "morphine 10 mg/mL, ropivacaine"}), ""),
    ("medication given twice", product(MORPHINE_10) | mixed(part(HYDROMORPHONE)), "morphine"),
    ("an amount in words as computed", product(MORPHINE_10) | {"dosage": {"text": "5 mg/day by pump"}}, ""),
    ("a smaller amount of before", product(MORPHINE_10) | {"note": [{"text": "was 2 mg per day in May"}]}, ""),
    # The dosage says 5 mg/d, the pharmacist reads 20.
    ("a larger amount in words", product(MORPHINE_10) | {"dosage": {"text": "20 mg/day by pump"}}, "morphine"),
    ("a larger amount by the hour", product(MORPHINE_10) | {"dosage": {"text": "1 mg/h"}}, "morphine"),
    ("a larger amount every few hours", product(MORPHINE_10) | {"dosage": {"text": "1 mg every 4 hours"}}, "morphine"),
    ("as much every day", product(MORPHINE_10) | {"dosage": {"text": "5 mg every 24 hours"}}, ""),
    ("a larger volume in words", product(MORPHINE_10) | {"dosage": {"text": "2 mL/day"}}, "morphine"),
    ("as large a volume by the hour", product(MORPHINE_10) | {"dosage": {"text": "0.02 mL/hr"}}, ""),
    # Ten times as much goes into a vein as into the spine.
    ("words of another route", product(MORPHINE_10) | {"dosage": {"text": "inject intravenously"}}, "morphine"),
    ("words of both routes", product(MORPHINE_10) | {"dosage": {"text": "intrathecal, not IV"}}, ""),
    ("words of a route of before", product(MORPHINE_10) | {"dosage": {"text": "replaces oral morphine"}}, ""),
    ("a route with words of another", product(MORPHINE_10) | {"dosage": {"route": {"coding": [{"system":
     "http://snomed.info/sct", "code": "72607000"}], "text": "intravenous"}}}, "morphine"),
    ("a larger amount to come", product(MORPHINE_10) | {"note": [{"text": "titrate to 20 mg daily"}]}, "morphine"),
    ("a larger amount for the patient", product(MORPHINE_10) | {"dosage": {"patientInstruction": "20 mg a day"}},
     "morphine"),
    ("a larger amount beside", product(MORPHINE_10)
     | {"dosage": {"additionalInstruction": [{"text": "up to 8000 mcg every 24 h"}]}}, "morphine"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "drug"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_codes_and_words_of_an_order_agree(given: dict[str, Any], drug: str) -> None:
    flags = [flag for flag in ordered(**given).flags if flag[0] == "conflict"]
    assert list(dict.fromkeys(flags)) == ([("conflict", drug)] if drug else [])


def test_of_two_strengths_none_is_taken() -> None:
    (given,) = ordered(**product(MORPHINE_10, MORPHINE_25)).contributions
    assert given.mg_per_day is None


def test_words_alone_name_no_drug() -> None:
    read = ordered(medicationCodeableConcept={"text": "morphine 10 mg/mL"})
    assert [each.name for each in read.solution.parts] == [None]  # type: ignore[union-attr]
    assert read.flags == ()


def most(value: int, code: str = "mL") -> dict[str, Any]:
    unit = "http://unitsofmeasure.org"
    numerator = {"value": value, "system": unit, "code": code}
    return {"maxDosePerPeriod": {"numerator": numerator, "denominator": {"value": 2, "system": unit, "code": "d"}}}


IV = {
    "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
    "doseAndRate": [{"doseQuantity": {"value": 100, "system": "http://unitsofmeasure.org", "code": "mg"}}],
}
# 0.5 mL/d run steadily; what stands beside that, and whether it leaves room for another reading.
SHAPES: list[tuple[str, dict[str, Any], bool]] = [
    ("a maximum of as much", {"dosage": most(1)}, False),
    ("a maximum of more: which of them runs?", {"dosage": most(4)}, True),
    ("a maximum of as many milligrams", {"dosage": most(10, "mg")}, False),
    ("a maximum of fewer milligrams", {"dosage": most(4, "mg")}, True),
    ("a maximum of more, with boluses", {"dosage": most(4) | {"asNeededBoolean": True}}, False),
    ("an instruction for a vein", {"more": [IV]}, True),
]


@pytest.mark.parametrize(("given", "unusual"), [row[1:] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_a_dose_that_can_be_read_in_two_ways_is_unusual(given: dict[str, Any], *, unusual: bool) -> None:
    assert (("dose_shape_unusual", "morphine") in ordered(**product(MORPHINE_10), **given).flags) is unusual

"""A small vocabulary and the guideline's dose table, written out for tests of the dose engine."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from cds_service.domain.determination import DoseAssessment
from cds_service.domain.dosing import assess
from cds_service.domain.limits import DoseTable, Limit
from cds_service.domain.order import Order
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import Ingredient, PresentedStrength, Product, RouteGroup, ValueSet, Vocabulary
from cds_service.fhir.orders import read_order

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"

RXCUI = {
    "baclofen": "1292",
    "bupivacaine": "1815",
    "clonidine": "2599",
    "fentanyl": "4337",
    "hydromorphone": "3423",
    "morphine": "7052",
    "sufentanil": "56795",
    "ziconotide": "68503",
}
ROUTES = {
    "intrathecal": "72607000",
    "epidural": "404820008",
    "caudal": "417070009",
    "intraspinal": "418418000",
    "intravenous": "47625008",
    "oral": "26643006",
}
GROUPS = {
    "intrathecal": RouteGroup.INTRATHECAL,
    "epidural": RouteGroup.EPIDURAL,
    "caudal": RouteGroup.EPIDURAL,
    "intraspinal": RouteGroup.INTRASPINAL,
    "intravenous": RouteGroup.SYSTEMIC,
    "oral": RouteGroup.SYSTEMIC,
}
TEN = Fraction(10)


def _limit(daily: str | None, concentration: str | None, *, concentration_factor: Fraction | None = TEN) -> Limit:
    return Limit(
        Fraction(daily) if daily else None,
        Fraction(concentration) if concentration else None,
        TEN,
        concentration_factor,
        "Dosage/Administration",
    )


TABLE = DoseTable(
    {
        "baclofen": _limit("2", "2"),
        "bupivacaine": _limit("30", "38"),
        "clonidine": _limit("1.5", "2"),
        "fentanyl": _limit(None, "0.05", concentration_factor=None),
        "hydromorphone": _limit("10", "30"),
        "morphine": _limit("15", "30"),
    },
    frozenset({RouteGroup.INTRATHECAL}),
    Fraction(1000),
)

VOCABULARY = Vocabulary(
    routes={Code(SNOMED, code): GROUPS[name] for name, code in ROUTES.items()},
    route_words=dict(GROUPS) | {f"{name} route": group for name, group in GROUPS.items()},
    ingredients={Code(RXNORM, code): Ingredient(name, code, ()) for name, code in RXCUI.items()},
    products={
        Code(RXNORM, "1731998"): Product(
            "20 mL morphine sulfate 10 mg/mL injection [Infumorph]",
            (PresentedStrength("morphine", Fraction(10)),),
            neuraxial=True,
            volume_ml=Fraction(20),
        )
    },
    unit_aliases={
        "mcg": "ug",
        "mcg/mL": "ug/mL",
        "mcg/day": "ug/d",
        "mg/day": "mg/d",
        "mL/day": "mL/d",
        "mL/hr": "mL/h",
        "ml": "mL",
        "MG": "mg",
        "cc": "mL",
        "mg/24 hr": "mg/(24.h)",
        "day": "d",
        "hr": "h",
    },
    value_sets={"diluents": ValueSet("diluents", "Diluents", frozenset({Code(RXNORM, "9863")}))},
    timing_codes={
        "QD": (Fraction(1), Fraction(1)),
        "BID": (Fraction(2), Fraction(1)),
        "TID": (Fraction(3), Fraction(1)),
        "QID": (Fraction(4), Fraction(1)),
        "QOD": (Fraction(1), Fraction(2)),
        "Q6H": (Fraction(4), Fraction(1)),
    },
)


def parsed(value: Any) -> Any:
    """The same JSON as the service reads it: decimals exact, digit for digit."""
    if isinstance(value, dict):
        return {key: parsed(member) for key, member in value.items()}
    if isinstance(value, list):
        return [parsed(member) for member in value]
    return Decimal(repr(value)) if isinstance(value, float) else value


def load_cases() -> list[dict[str, Any]]:
    """The worked cases of the guideline analysis."""
    text = (Path(__file__).parents[1] / "data" / "dose_worked_cases.json").read_text(encoding="utf-8")
    return json.loads(text, parse_float=Decimal)["cases"]


def q(value: Any, unit: str) -> dict[str, Any]:
    """A Quantity coded in UCUM."""
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def ratio(above: tuple[Any, str], below: tuple[Any, str]) -> dict[str, Any]:
    return {"numerator": q(*above), "denominator": q(*below)}


def drug(name: str, strength: Any = None, **more: Any) -> dict[str, Any]:
    """One ingredient; ``strength`` a number of mg/mL, a Ratio, or None."""
    if strength is not None and not isinstance(strength, dict):
        strength = ratio((strength, "mg"), (1, "mL"))
    concept = {"coding": [{"system": RXNORM, "code": RXCUI.get(name, "9863"), "display": name}]}
    item = {"itemCodeableConcept": concept, "isActive": True, **more}
    return item if strength is None else {**item, "strength": strength}


def rate(value: Any, unit: str, **more: Any) -> dict[str, Any]:
    return {"doseAndRate": [{"rateQuantity": q(value, unit)}], **more}


def request(
    ingredients: list[dict[str, Any]],
    instructions: list[Any],
    *,
    route: str | None = "intrathecal",
    name: str = "draft-1",
    status: str = "draft",
    amount: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """A MedicationRequest with a contained compounded Medication."""
    medication: dict[str, Any] = {"resourceType": "Medication", "id": "mix", "ingredient": ingredients}
    if amount is not None:
        medication["amount"] = amount
    coded = {"coding": [{"system": SNOMED, "code": ROUTES[route]}]} if route else None
    placed = [
        {**one, "route": coded} if coded and isinstance(one, dict) and "route" not in one else one
        for one in instructions
    ]
    return {
        "resourceType": "MedicationRequest",
        "id": name,
        "status": status,
        "intent": "order",
        "contained": [medication],
        "medicationReference": {"reference": "#mix"},
        "dosageInstruction": placed,
        **more,
    }


def resolve(reference: Any, container: Any) -> Any:
    """Contained resources only."""
    name = str(reference.get("reference", ""))
    for held in container.get("contained", []):
        if name == f"#{held.get('id')}":
            return held
    return None


def order(resource: dict[str, Any], *, draft: bool = True, vocabulary: Vocabulary = VOCABULARY) -> Order:
    """The order that our reader makes of ``resource``."""
    source = f"{resource['resourceType']}/{resource['id']}"
    return read_order(parsed(resource), resolve, vocabulary, draft=draft, source=source)


def judged(resource: dict[str, Any], *alongside: dict[str, Any]) -> DoseAssessment:
    """``resource`` as a draft beside active orders of the chart."""
    return assess(order(resource), [order(one, draft=False) for one in alongside], TABLE)

"""Code systems and the few codes that the sandbox writes into its resources.

Sources: guideline analysis 3.1 to 3.5 (RxNorm ingredients and products, SNOMED CT routes, LOINC, ICD-10-CM, HCPCS);
methotrexate's RxNorm number from the public CPIC drug table. CPT numbers stand without descriptions.
"""

from __future__ import annotations

from typing import Any

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
HCPCS = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
CPT = "http://www.ama-assn.org/go/cpt"
UCUM = "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

INGREDIENTS = {
    "baclofen": "1292",
    "bupivacaine": "1815",
    "clonidine": "2599",
    "fentanyl": "4337",
    "hydromorphone": "3423",
    "morphine": "7052",
    "sufentanil": "56795",
    "ziconotide": "68503",
    "methotrexate": "6851",
}

ROUTES = {
    "intrathecal": ("72607000", "Intrathecal"),
    "epidural": ("404820008", "Epidural"),
    "intraspinal": ("418418000", "Intraspinal (not said which)"),
    "oral": ("26643006", "Oral"),
    "intravenous": ("47625008", "Intravenous"),
    "transdermal": ("45890007", "Transdermal"),
}

# Services and devices that go with a pump or a trial: (kind of order, code system, number, words for the form).
COMPANIONS = {
    "E0783": ("DeviceRequest", HCPCS, "Programmable implantable infusion pump"),
    "E0785": ("DeviceRequest", HCPCS, "Intraspinal catheter for an implantable pump, replacement"),
    "C2626": ("DeviceRequest", HCPCS, "Non-programmable temporary infusion pump"),
    "A4220": ("DeviceRequest", HCPCS, "Refill kit for an implantable pump"),
    "62350": ("ServiceRequest", CPT, ""),
    "62362": ("ServiceRequest", CPT, ""),
}


def concept(system: str, code: str, text: str = "") -> dict[str, Any]:
    """A CodeableConcept with one coding."""
    coding = {"system": system, "code": code}
    if text:
        coding["display"] = text
    return {"coding": [coding], **({"text": text} if text else {})}


def quantity(value: Any, unit: str) -> dict[str, Any]:
    """A Quantity in UCUM."""
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}

"""One mutant of a good PAS request for every rule of the gate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.support import pas_bundles
from tests.support.pas_bundles import HCPCS, PAS, X12, concept, item, request

Change = Callable[[dict[str, Any]], Any]


def good() -> dict[str, Any]:
    """A request that uses every element the gate looks at."""
    document = {
        "resourceType": "DocumentReference",
        "id": "doc-1",
        "status": "current",
        "subject": {"reference": "Patient/pat-1"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "bm90ZQ=="}}],
    }
    bundle = request(more=[document])
    claim = bundle["entry"][0]["resource"]
    second = copy.deepcopy(claim["supportingInfo"][0])
    claim["supportingInfo"].append(second | {"sequence": 2, "valueReference": {"reference": "DocumentReference/doc-1"}})
    claim["item"][0]["quantity"] = {"value": 10, "unit": "units"}
    return bundle


def claim_of(bundle: dict[str, Any]) -> dict[str, Any]:
    return bundle["entry"][0]["resource"]


def resource(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == kind)


def at(change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda bundle: change(claim_of(bundle))


def drop(*path: Any) -> Change:
    def change(bundle: dict[str, Any]) -> None:
        held: Any = bundle
        for step in path[:-1]:
            held = held[step]
        del held[path[-1]]

    return change


def put(value: Any, *path: Any) -> Change:
    def change(bundle: dict[str, Any]) -> None:
        held: Any = bundle
        for step in path[:-1]:
            held = held[step]
        held[path[-1]] = value

    return change


def of(kind: str, change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda bundle: change(resource(bundle, kind))


CLAIM = ("entry", 0, "resource")
ITEM = (*CLAIM, "item", 0)
# rule, where it is told, how the good Bundle is broken, versions that have the rule
MUTANTS: list[tuple[str, str, Change, tuple[str, ...]]] = [
    ("P010", "Bundle.type", put("batch", "type"), ("2.0.1", "2.2")),
    ("P010", "Bundle.identifier", drop("identifier"), ("2.0.1", "2.2")),
    ("P010", "Bundle.identifier", drop("identifier", "system"), ("2.0.1", "2.2")),
    ("P010", "Bundle.identifier", put(" ", "identifier", "value"), ("2.0.1", "2.2")),
    ("P010", "Bundle.timestamp", drop("timestamp"), ("2.0.1", "2.2")),
    ("P010", "Bundle.timestamp", put("2026-03-02", "timestamp"), ("2.0.1", "2.2")),  # a day is no instant
    ("P010", "Bundle.entry", put([], "entry"), ("2.0.1", "2.2")),
    ("P010", "Bundle.entry[3].fullUrl", drop("entry", 3, "fullUrl"), ("2.0.1", "2.2")),
    ("P010", "Bundle.entry[3].resource", drop("entry", 3, "resource"), ("2.0.1", "2.2")),
    ("P010", "Bundle.entry[2].request", put({"method": "PUT", "url": "x"}, "entry", 2, "request"), ("2.0.1", "2.2")),
    ("P010", "Bundle.entry[2].search", put({"mode": "match"}, "entry", 2, "search"), ("2.0.1", "2.2")),
    ("P011", "Bundle.entry[0].resource", lambda b: b["entry"].insert(0, b["entry"].pop(1)), ("2.0.1", "2.2")),
    ("P011", "Bundle.entry", lambda b: b["entry"].append(_second_claim(b)), ("2.0.1", "2.2")),
    ("P012", "Bundle.entry[5].fullUrl", put("ftp://x/Practitioner/1", "entry", 5, "fullUrl"), ("2.0.1", "2.2")),
    # version 1 and version 7 UUIDs
    (
        "P012",
        "Bundle.entry[8].fullUrl",
        put("urn:uuid:6fa459ea-ee8a-1ca4-894e-db77e160355e", "entry", 8, "fullUrl"),
        ("2.2",),
    ),
    (
        "P012",
        "Bundle.entry[8].fullUrl",
        put("urn:uuid:0190163d-8694-739b-aea5-966c26f8ad91", "entry", 8, "fullUrl"),
        ("2.2",),
    ),
    (
        "P012",
        "Bundle.entry[9].fullUrl",
        lambda b: b["entry"][9].update(fullUrl=b["entry"][8]["fullUrl"]),
        ("2.0.1", "2.2"),
    ),
    (
        "P013",
        "Bundle.entry[0].resource.insurer",
        put("Organization/nobody", *CLAIM, "insurer", "reference"),
        ("2.0.1", "2.2"),
    ),
    (
        "P013",
        "Bundle.entry[0].resource.item[0].extension[2].valueReference",
        lambda b: b["entry"].pop(6),
        ("2.0.1", "2.2"),
    ),
    (
        "P013",
        "Bundle.entry[2].resource.payor[0]",
        put("Organization/gone", "entry", 2, "resource", "payor", 0, "reference"),
        ("2.0.1", "2.2"),
    ),
    (
        "P013",
        "Bundle.entry[6].resource.requester",
        of("MedicationRequest", lambda r: r.update(requester={"reference": "Practitioner/9"})),
        ("2.2",),
    ),
    # a contained resource is no entry: it cannot be told apart, nor echoed under its fullUrl
    *(
        ("P022", f"Bundle.entry[0].resource.{name}", put("#inside", *CLAIM, name, "reference"), ("2.0.1", "2.2"))
        for name in ("patient", "insurer", "provider")
    ),
    (
        "P022",
        "Bundle.entry[0].resource.insurance[0].coverage",
        put("#inside", *CLAIM, "insurance", 0, "coverage", "reference"),
        ("2.0.1", "2.2"),
    ),
    # what is no text is no system: told, and nothing breaks
    (
        "P025",
        "Bundle.entry[0].resource.item[0].productOrService",
        put([{}], *ITEM, "productOrService", "coding", 0, "system"),
        ("2.0.1", "2.2"),
    ),
    (
        "P027",
        "Bundle.entry[0].resource.diagnosis[0].diagnosis",
        put([{}], *CLAIM, "diagnosis", 0, "diagnosisCodeableConcept", "coding", 0, "system"),
        ("2.0.1", "2.2"),
    ),
    # whose an order is must be certain: a number alone, or what is contained, may be somebody else's
    *(
        ("P026", "Bundle.entry[6].resource.subject", put(subject, "entry", 6, "resource", "subject"), ("2.0.1", "2.2"))
        for subject in ({"identifier": {"system": "urn:mrn", "value": "1"}}, {"reference": "#inside"})
    ),
    # beyond FHIR's positiveInt, which no store need hold
    *(
        (
            rule,
            f"Bundle.entry[0].resource.{name}[0].sequence",
            put(2**31, *CLAIM, name, 0, "sequence"),
            ("2.0.1", "2.2"),
        )
        for rule, name in (("P024", "item"), ("P028", "supportingInfo"))
    ),
    (
        "P017",
        "Bundle.entry[0].resource.modifierExtension[0]",
        put([{"url": "https://x.example.org/not", "valueBoolean": True}], *CLAIM, "modifierExtension"),
        ("2.0.1", "2.2"),
    ),
    (
        "P017",
        "Bundle.entry[1].resource.name[0].modifierExtension[0]",
        put(
            [{"url": f"{PAS}/StructureDefinition/modifierextension-infoCancelled", "valueBoolean": True}],
            "entry",
            1,
            "resource",
            "name",
            0,
            "modifierExtension",
        ),
        ("2.2",),
    ),
    ("P020", "Bundle.entry[0].resource.status", put("cancelled", *CLAIM, "status"), ("2.0.1", "2.2")),
    ("P020", "Bundle.entry[0].resource.use", put("claim", *CLAIM, "use"), ("2.0.1", "2.2")),
    (
        "P020",
        "Bundle.entry[0].resource.type",
        put(concept("http://terminology.hl7.org/CodeSystem/claim-type", "vision"), *CLAIM, "type"),
        ("2.0.1", "2.2"),
    ),
    ("P021", "Bundle.entry[0].resource.identifier", drop(*CLAIM, "identifier"), ("2.0.1", "2.2")),
    ("P021", "Bundle.entry[0].resource.identifier[0]", drop(*CLAIM, "identifier", 0, "system"), ("2.0.1", "2.2")),
    (
        "P021",
        "Bundle.entry[0].resource.identifier",
        at(lambda c: c["identifier"].extend(c["identifier"] * 2)),
        ("2.2",),
    ),
    ("P022", "Bundle.entry[0].resource.insurer", drop(*CLAIM, "insurer"), ("2.0.1", "2.2")),
    ("P022", "Bundle.entry[0].resource.provider", drop(*CLAIM, "provider"), ("2.0.1", "2.2")),
    (
        "P022",
        "Bundle.entry[0].resource.patient",
        put("Organization/clinic-1", *CLAIM, "patient", "reference"),
        ("2.0.1", "2.2"),
    ),
    (
        "P022",
        "Bundle.entry[0].resource.insurer",
        put("Patient/pat-1", *CLAIM, "insurer", "reference"),
        ("2.0.1", "2.2"),
    ),
    (
        "P022",
        "Bundle.entry[0].resource.insurance",
        of("Claim", lambda r: r["insurance"][0].update(focal=False)),
        ("2.0.1", "2.2"),
    ),
    (
        "P022",
        "Bundle.entry[0].resource.insurance[0].coverage",
        put("Patient/pat-1", *CLAIM, "insurance", 0, "coverage", "reference"),
        ("2.0.1", "2.2"),
    ),
    ("P023", "Bundle.entry[0].resource.related", put([], *CLAIM, "related"), ("2.0.1", "2.2")),
    ("P024", "Bundle.entry[0].resource.item", put([], *CLAIM, "item"), ("2.0.1", "2.2")),
    (
        "P024",
        "Bundle.entry[0].resource.item[0].extension",
        lambda b: claim_of(b)["item"][0]["extension"].pop(0),
        ("2.2",),
    ),
    (
        "P024",
        "Bundle.entry[0].resource.item[0].extension",
        lambda b: claim_of(b)["item"][0]["extension"].pop(1),
        ("2.2",),
    ),
    ("P024", "Bundle.entry[0].resource.item[0].category", drop(*ITEM, "category"), ("2.0.1", "2.2")),
    ("P024", "Bundle.entry[0].resource.item[0].location", drop(*ITEM, "locationCodeableConcept"), ("2.2",)),
    (
        "P024",
        "Bundle.entry[0].resource.item[1].sequence",
        at(lambda c: c["item"].append(item(1, order=None))),
        ("2.0.1", "2.2"),
    ),
    (
        "P025",
        "Bundle.entry[0].resource.item[0].productOrService",
        put(concept(pas_bundles.RXNORM, "7052"), *ITEM, "productOrService"),
        ("2.0.1", "2.2"),
    ),
    (
        "P025",
        "Bundle.entry[0].resource.item[0].productOrService",
        put(concept(HCPCS, " "), *ITEM, "productOrService"),
        ("2.0.1", "2.2"),
    ),
    (
        "P025",
        "Bundle.entry[0].resource.item[0].productOrService",
        put(
            concept("http://terminology.hl7.org/CodeSystem/data-absent-reason", "not-applicable"),
            *ITEM,
            "productOrService",
        ),
        ("2.2",),
    ),
    (
        "P026",
        "Bundle.entry[6].resource.status",
        of("MedicationRequest", lambda r: r.update(status="draft")),
        ("2.0.1", "2.2"),
    ),
    (
        "P026",
        "Bundle.entry[6].resource.intent",
        of("MedicationRequest", lambda r: r.update(intent="plan")),
        ("2.0.1", "2.2"),
    ),
    (
        "P026",
        "Bundle.entry[0].resource.item[0].extension",
        lambda b: claim_of(b)["item"][0]["extension"][2]["valueReference"].update(reference="Condition/cond-1"),
        ("2.0.1", "2.2"),
    ),
    (
        "P027",
        "Bundle.entry[0].resource.diagnosis[0].diagnosis",
        put(concept(pas_bundles.SNOMED, "82423001"), *CLAIM, "diagnosis", 0, "diagnosisCodeableConcept"),
        ("2.0.1", "2.2"),
    ),
    (
        "P028",
        "Bundle.entry[0].resource.supportingInfo[1].sequence",
        put(1, *CLAIM, "supportingInfo", 1, "sequence"),
        ("2.0.1", "2.2"),
    ),
    (
        "P028",
        "Bundle.entry[0].resource.supportingInfo[0].extension",
        drop(*CLAIM, "supportingInfo", 0, "extension"),
        ("2.2",),
    ),
    (
        "P028",
        "Bundle.entry[0].resource.supportingInfo[0].value",
        drop(*CLAIM, "supportingInfo", 0, "valueReference"),
        ("2.2",),
    ),
    (
        "P029",
        "Bundle.entry[10].resource.content[0].attachment.data",
        of("DocumentReference", lambda r: r["content"][0]["attachment"].pop("data")),
        ("2.2",),
    ),
    (
        "P029",
        "Bundle.entry[10].resource.content[0].attachment.url",
        of("DocumentReference", lambda r: r["content"][0]["attachment"].update(url="https://x.example.org/d")),
        ("2.2",),
    ),
    (
        "P031",
        "Bundle.entry[0].resource.item[0].quantity.code",
        put({"value": 1, "system": "http://unitsofmeasure.org", "code": "mg"}, *ITEM, "quantity"),
        ("2.2",),
    ),
    ("P031", "Bundle.entry[0].resource.item[0].quantity.value", put({"unit": "units"}, *ITEM, "quantity"), ("2.2",)),
    (
        "P032",
        "Bundle.entry[6].resource.dosageInstruction[0].timing",
        of("MedicationRequest", lambda r: r["dosageInstruction"][0].update(timing={"repeat": {"frequency": 1}})),
        ("2.2",),
    ),
    ("P033", "Bundle.entry[2].resource.identifier", of("Coverage", lambda r: r.pop("identifier")), ("2.2",)),
    ("P033", "Bundle.entry[2].resource.subscriber", of("Coverage", lambda r: r.pop("relationship")), ("2.2",)),
    (
        "P035",
        "Bundle.entry[0].resource.item[0].extension",
        lambda b: claim_of(b)["item"][0]["extension"][1].update(valueCodeableConcept=concept(f"{X12}1322", "1")),
        ("2.0.1", "2.2"),
    ),
]


def _second_claim(bundle: dict[str, Any]) -> dict[str, Any]:
    other = copy.deepcopy(bundle["entry"][0])
    other["resource"]["id"] = "claim-9"
    return other | {"fullUrl": f"{pas_bundles.BASE}Claim/claim-9"}

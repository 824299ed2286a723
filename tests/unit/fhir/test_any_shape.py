"""No shape of JSON trips the readers: they read, or refuse with an error of ours (reliability 1.3, every row)."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cds_service.domain.payer import Payer
from cds_service.errors import CdsServiceError
from cds_service.fhir.chart import build_chart
from cds_service.fhir.coverage import choose, know, read_coverages
from cds_service.fhir.record import read_record
from tests.unit.fhir.charts import RXNORM, SERVER, SNOMED, SUBJECT, WANTED, concept, condition, order, searchset

PAYER = know(Payer(("Sample Blue",), (("urn:x", "1"),), ("payer",), "Sample Blue", {}))
TIMED = {
    "timing": {
        "repeat": {
            "frequency": 2,
            "period": 1,
            "periodUnit": "d",
            "boundsPeriod": {"start": "2026-01", "end": "2026-02"},
        },
        "code": concept("x", "BID"),
    },
    "route": concept(SNOMED, "26643006"),
    "doseAndRate": [{"rateQuantity": {"value": 1, "unit": "mL/h"}}],
    "asNeededBoolean": False,
}
MEDICATION = {
    "resourceType": "Medication",
    "id": "m",
    "code": concept(RXNORM, "7052"),
    "ingredient": [{"itemCodeableConcept": concept(RXNORM, "7052")}, {"itemReference": {"reference": "#m"}}],
}
DRUG = {"medicationReference": {"reference": "#m"}, "contained": [MEDICATION]}
RESOURCES: list[dict[str, Any]] = [
    condition(clinicalStatus=concept("x", "active"), onsetPeriod={"start": "2020"},
              verificationStatus=concept("x", "y")),
    order("m1", status="stopped", dosageInstruction=[TIMED], statusReason=concept("x", "y"), requester={"display": "A"},
          dispenseRequest={"expectedSupplyDuration": {"value": 30, "code": "d"}}, priorPrescription=SUBJECT,
          extension=[{"url": "x", "valueDateTime": "2026"}], **DRUG),
    {"resourceType": "MedicationStatement", "id": "s", "subject": SUBJECT, "status": "active", "dosage": [TIMED],
     "effectivePeriod": {"start": "2026"}, "statusReason": [concept("x", "y")], **DRUG},
    {"resourceType": "MedicationDispense", "id": "d", "subject": SUBJECT, "status": "completed",
     "daysSupply": {"value": 3}, "whenHandedOver": "2026-01-01", "authorizingPrescription": [SUBJECT],
     "dosageInstruction": [TIMED]},
    {"resourceType": "MedicationAdministration", "id": "a", "subject": SUBJECT, "dosage": TIMED,
     "effectiveDateTime": "2026-01-01"},
    {"resourceType": "Observation", "id": "o", "subject": SUBJECT, "status": "final", "code": concept("x", "y"),
     "valueQuantity": {"value": 8, "code": "1"}, "effectiveDateTime": "2026-01-01",
     "component": [{"code": concept("x", "y"), "valueInteger": 3}]},
    {"resourceType": "Procedure", "id": "p", "subject": SUBJECT, "status": "completed", "code": concept("x", "y"),
     "performedPeriod": {"start": "2026-01-01"}, "outcome": {"text": "good"}},
    {"resourceType": "Device", "id": "v", "patient": SUBJECT, "type": concept("x", "y"), "deviceName": [{"name": "x"}]},
    {"resourceType": "DeviceUseStatement", "id": "u", "subject": SUBJECT, "device": {"reference": "Device/v"},
     "status": "active", "timingPeriod": {"start": "2026-01-01"}},
    {"resourceType": "AllergyIntolerance", "id": "i", "patient": SUBJECT, "code": concept("x", "y"), "type": "allergy",
     "reaction": [{"substance": concept("x", "y")}], "clinicalStatus": concept("x", "active")},
    {"resourceType": "ServiceRequest", "id": "r", "subject": SUBJECT, "status": "active", "code": concept("x", "y")},
    {"resourceType": "DeviceRequest", "id": "q", "subject": SUBJECT, "codeReference": {"reference": "Device/v"}},
    {"resourceType": "Encounter", "id": "e", "subject": SUBJECT, "class": {"code": "AMB"}, "type": [concept("x", "y")],
     "period": {"start": "2026-01-01"}},
    {"resourceType": "QuestionnaireResponse", "id": "qr", "questionnaire": "q|1", "status": "completed",
     "subject": SUBJECT, "author": {"reference": "Practitioner/a"}, "authored": "2026-01-01",
     "extension": [{"url": "x"}],
     "item": [{"linkId": "f", "answer": [{"valueCoding": {"code": "yes"}, "item": [{"linkId": "g"}]}]}]},
    {"resourceType": "Coverage", "id": "c", "beneficiary": SUBJECT, "status": "active", "order": 1,
     "subscriberId": "W1",
     "period": {"start": "2026-01-01"}, "payor": [{"reference": "#org", "identifier": {"system": "x", "value": "1"}}],
     "contained": [{"resourceType": "Organization", "id": "org", "name": "x", "alias": ["y"], "identifier": [{}]}],
     "class": [{"value": "x", "name": "y"}], "type": concept("x", "y"), "identifier": [{"type": concept("x", "MB")}]},
    {"resourceType": "Patient", "id": "p1", "birthDate": "1961-03-14"},
]  # fmt: skip
REQUEST: dict[str, Any] = {
    "drafts": [order("d1", insurance=[{"reference": "Coverage/c"}], encounter={"reference": "Encounter/e"}, **DRUG)],
    "prefetch": {
        key: searchset(*[r for r in RESOURCES if r["resourceType"] == kind], link=[{"relation": "self"}], total=1)
        for key, kind in WANTED.items()
    },
}
STRANGE: list[Any] = [
    None, True, 0, -1, 10**40, "", "x", "2026", "Patient/p1", "#m", [], [None], ["x"], [[]], {}, [{}], {"coding": [{}]},
]  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, child in inner for place in [(*path, key), *_places(child, (*path, key))]]


PLACES = [path for path in _places(REQUEST) if len(path) > (1 if path[0] == "prefetch" else 2)]


def _read(request: dict[str, Any]) -> None:
    drafts = [(draft, "") for draft in request["drafts"]]
    chart = build_chart(
        patient_id="p1", fhir_server=SERVER, drafts=drafts, prefetch=request["prefetch"], fetched={}, wanted=WANTED
    )
    read_record(chart, questionnaire="q", signature_required=True)
    choose(chart, read_coverages(chart, PAYER, date(2026, 3, 2)), request["drafts"][0])


def test_the_request_is_read_whole() -> None:
    _read(REQUEST)


def _read_or_refuse(request: dict[str, Any]) -> None:
    try:
        _read(request)
    except CdsServiceError:
        return  # refused in our own words: the gate saw another patient


def _put(request: dict[str, Any], path: tuple[Any, ...], strange: Any) -> None:
    holder: Any = request
    try:
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = strange
    except (TypeError, KeyError, IndexError):
        return  # an earlier change took this place away


def test_any_one_element_may_be_anything() -> None:
    for path in PLACES:
        request = copy.deepcopy(REQUEST)
        for strange in STRANGE:
            _put(request, path, strange)
            _read_or_refuse(request)


@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(STRANGE)), min_size=2, max_size=5))
def test_any_few_elements_may_be_anything(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    request = copy.deepcopy(REQUEST)
    for path, strange in changes:
        _put(request, path, strange)
    _read_or_refuse(request)

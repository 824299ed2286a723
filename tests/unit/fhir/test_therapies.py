"""Medications as therapies: what was taken, from when to when, on which schedule (guideline I.2)."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cds_service.domain.record import Code, Therapy
from cds_service.fhir.therapies import read_therapies
from tests.unit.fhir.charts import RXNORM, SNOMED, SUBJECT, chart_of, concept, order

DAILY = {"frequency": 2, "period": 1, "periodUnit": "d"}
ORAL = concept(SNOMED, "26643006", "Oral route")


def one(resource: dict[str, Any], *others: dict[str, Any]) -> Therapy:
    dropped: list[tuple[str, str]] = []
    found = read_therapies(chart_of(resource, *others), dropped)
    assert not dropped
    return found[0]


def request(**elements: Any) -> dict[str, Any]:
    return order("m1", **{"status": "active", "authoredOn": "2026-01-01", **elements})


def resource(kind: str, **elements: Any) -> dict[str, Any]:
    drug = {"medicationCodeableConcept": concept(RXNORM, "7052", "morphine")}
    return {"resourceType": kind, "id": "t1", "subject": SUBJECT, "status": "completed", **drug, **elements}


def dosage(**elements: Any) -> list[dict[str, Any]]:
    return [{"route": ORAL, **elements}]


def timed(**repeat: Any) -> list[dict[str, Any]]:
    return dosage(timing={"repeat": repeat})


SCHEDULES = [
    # (clinical comment, dosage instructions, schedule in words, as needed)
    ("twice daily", timed(**DAILY), "twice a day", False),
    ("three times a day", timed(frequency=3, period=1, periodUnit="d"), "3 times a day", False),
    ("every 12 hours", timed(frequency=1, period=12, periodUnit="h"), "every 12 h", False),
    ("patch every 3 days", timed(frequency=1, period=3, periodUnit="d"), "every 3 days", False),
    ("period without frequency is once", timed(period=1, periodUnit="d"), "once a day", False),
    ("at fixed hours", timed(timeOfDay=["08:00:00", "20:00:00"]), "08:00:00, 20:00:00", False),
    ("at bedtime", timed(when=["HS"]), "HS", False),
    ("coded BID", dosage(timing={"code": concept("x", "BID")}), "BID", False),
    ("a site's own words may hide a PRN", dosage(timing={"code": {"text": "every 4 h prn"}}), "", False),
    ("a site's own code", dosage(timing={"code": concept("urn:site", "Q4HPRN")}), "", False),
    ("continuous infusion", dosage(doseAndRate=[{"rateQuantity": {"value": 1, "unit": "mL/h"}}]), "continuous", False),
    ("transdermal system", [{"route": concept(SNOMED, "45890007")}], "transdermal system", False),
    ("as needed", [{**timed(**DAILY)[0], "asNeededBoolean": True}], "", True),
    ("as needed for a reason", [{**timed(**DAILY)[0], "asNeededCodeableConcept": {"text": "pain"}}], "", True),
    ("fixed dose with a rescue dose", [*timed(**DAILY), {"asNeededBoolean": True}], "twice a day", False),
    ("text only is never parsed", dosage(text="1 tablet twice a day"), "", False),
    ("bounds alone are no schedule", timed(boundsPeriod={"start": "2026-01-01"}), "", False),
    ("nothing stated", [], "", False),
    ("wrong shapes", [7, {"timing": "BID", "route": [], "doseAndRate": 3}], "", False),
]


@pytest.mark.parametrize(
    ("instructions", "words", "as_needed"), [r[1:] for r in SCHEDULES], ids=[r[0] for r in SCHEDULES]
)
def test_schedule(instructions: list[Any], words: str, *, as_needed: bool) -> None:
    therapy = one(request(dosageInstruction=instructions))
    assert (therapy.schedule, therapy.scheduled, therapy.as_needed) == (words, bool(words), as_needed)


PERIOD = {"boundsPeriod": {"start": "2026-01-05", "end": "2026-02-16"}}
INTERVALS = [
    ("bounds win over authoredOn", request(dosageInstruction=timed(**PERIOD)), "2026-01-05", "2026-02-16"),
    ("authoredOn, running", request(), "2026-01-01", None),
    (
        "bounds of a duration",
        request(dosageInstruction=timed(boundsDuration={"value": 42, "code": "d"})),
        "2026-01-01",
        "2026-02-12",
    ),
    (
        "several instructions span the longest",
        request(dosageInstruction=timed(**PERIOD) + timed(boundsPeriod={"start": "2026-02-01", "end": "2026-03-01"})),
        "2026-01-05",
        "2026-03-01",
    ),
    (
        "one open instruction leaves the end open",
        request(dosageInstruction=timed(**PERIOD) + timed(boundsPeriod={"start": "2026-02-01"})),
        "2026-01-05",
        None,
    ),
    ("stopped, nobody wrote when", request(status="stopped"), "2026-01-01", None),
    (
        "stopped on the day that its status changed",
        request(
            status="stopped",
            extension=[
                {
                    "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-MedicationRequest.statusChanged",
                    "valueDateTime": "2026-02-20T10:00:00Z",
                }
            ],
        ),
        "2026-01-01",
        "2026-02-20",
    ),
    (
        "completed: its supply was used up",
        request(status="completed", dispenseRequest={"expectedSupplyDuration": {"value": 30, "code": "d"}}),
        "2026-01-01",
        "2026-01-31",
    ),
    (
        "active: a supply is no end",
        request(dispenseRequest={"expectedSupplyDuration": {"value": 30, "code": "d"}}),
        "2026-01-01",
        None,
    ),
    (
        "statement with a period",
        resource("MedicationStatement", effectivePeriod={"start": "2025-11", "end": "2026-01"}),
        "2025-11-01",
        "2026-01-31",
    ),
    (
        "statement of a day",
        resource("MedicationStatement", status="active", effectiveDateTime="2025-11-03"),
        "2025-11-03",
        None,
    ),
    (
        "statement whose dosage has the bounds",
        resource("MedicationStatement", dosage=timed(**PERIOD)),
        "2026-01-05",
        "2026-02-16",
    ),
    (
        "dispense: days of supply from hand-over",
        resource("MedicationDispense", whenHandedOver="2026-01-01T09:00:00Z", daysSupply={"value": 42, "code": "d"}),
        "2026-01-01",
        "2026-02-12",
    ),
    (
        "dispense without supply",
        resource("MedicationDispense", whenHandedOver="2026-01-01", whenPrepared="2025-12-30"),
        "2026-01-01",
        None,
    ),
    (
        "one administration",
        resource("MedicationAdministration", effectiveDateTime="2026-01-01T09:00:00Z"),
        "2026-01-01",
        "2026-01-01",
    ),
    (
        "an infusion",
        resource("MedicationAdministration", effectivePeriod={"start": "2026-01-01", "end": "2026-01-03"}),
        "2026-01-01",
        "2026-01-03",
    ),
    ("nothing dated", resource("MedicationStatement"), None, None),
    ("no date at all", resource("MedicationDispense", whenHandedOver="yesterday"), None, None),
]


@pytest.mark.parametrize(("entry", "start", "stop"), [r[1:] for r in INTERVALS], ids=[r[0] for r in INTERVALS])
def test_interval(entry: dict[str, Any], start: str | None, stop: str | None) -> None:
    therapy = one(entry)
    assert therapy.start == (date.fromisoformat(start) if start else None)
    assert therapy.stop == (date.fromisoformat(stop) if stop else None)


LOCAL = concept("urn:site", "15", "By mouth")


@pytest.mark.parametrize(
    ("route", "kept"),
    [
        (ORAL, (Code(SNOMED, "26643006"),)),  # a code of SNOMED CT says it all
        ({"text": " Oral \n ROUTE"}, (Code("", "oral route"),)),
        (LOCAL, (Code("urn:site", "15"), Code("", "by mouth"))),  # the site's own code tells only the site
        ({**LOCAL, "text": "Oral"}, (Code("urn:site", "15"), Code("", "oral"))),
        ({"text": ""}, ()),
        ({"text": 7}, ()),
        (["Oral"], ()),
    ],
)
def test_a_route_in_words_is_kept_as_words(route: Any, kept: tuple[Code, ...]) -> None:
    assert one(request(dosageInstruction=[{"route": route}])).routes == kept


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (request(doNotPerform=True), "do_not_perform"),
        (resource("MedicationStatement", status="not-taken"), "not_taken"),
        (resource("MedicationDispense", status="cancelled"), "not_dispensed"),
        (resource("MedicationDispense", status="preparation"), "not_dispensed"),
        (resource("MedicationAdministration", status="not-done"), "not_done"),
    ],
)
def test_what_was_never_taken_is_left_out_with_its_reason(entry: dict[str, Any], reason: str) -> None:
    dropped: list[tuple[str, str]] = []
    assert read_therapies(chart_of(entry), dropped) == ()
    assert dropped == [(entry["resourceType"], reason)]


@pytest.mark.parametrize(
    ("entry", "proposal"),
    [
        (request(), False),
        (request(intent="plan"), True),
        (request(intent="proposal"), True),
        (request(intent="option"), True),
        (resource("MedicationStatement", status="intended"), True),
    ],
)
def test_wishes_are_marked(entry: dict[str, Any], *, proposal: bool) -> None:
    assert one(entry).proposal is proposal


MIXTURE = {
    "resourceType": "Medication",
    "id": "mix",
    "code": {"text": "pump mixture"},
    "ingredient": [
        {"itemCodeableConcept": concept(RXNORM, "7052")},
        {"itemReference": {"reference": "#bupi"}},
        {"itemReference": {"reference": "#mix"}},  # itself, again
    ],
}
BUPIVACAINE = {"resourceType": "Medication", "id": "bupi", "code": concept(RXNORM, "1815")}


def test_bad_input_76_77_codes_of_product_and_ingredients() -> None:
    entry = request(contained=[MIXTURE, BUPIVACAINE], medicationReference={"reference": "#mix"})
    del entry["medicationCodeableConcept"]
    therapy = one(entry)
    assert therapy.codes == (Code(RXNORM, "7052"), Code(RXNORM, "1815"))
    assert therapy.text == "pump mixture"


def test_bad_input_77_a_chain_of_fifty_medications_ends() -> None:
    chain = [
        {
            "resourceType": "Medication",
            "id": f"m{n}",
            "code": concept(RXNORM, str(n)),
            "ingredient": [{"itemReference": {"reference": f"#m{n + 1}"}}],
        }
        for n in range(50)
    ]
    entry = request(contained=chain, medicationReference={"reference": "#m0"})
    del entry["medicationCodeableConcept"]
    assert [code.code for code in one(entry).codes] == ["0", "1", "2", "3", "4", "5"]


def test_a_medication_that_cannot_be_found_keeps_its_name() -> None:
    entry = request(medicationReference={"reference": "Medication/none", "display": "morphine ER"})
    del entry["medicationCodeableConcept"]
    assert (one(entry).codes, one(entry).text) == ((), "morphine ER")


def test_reasons_author_and_prior_order() -> None:
    therapy = one(
        request(
            status="stopped",
            statusReason=concept(SNOMED, "58848006", "Lack of drug action"),
            requester={"reference": "Practitioner/a", "display": "Dr. Example"},
            priorPrescription={"reference": "MedicationRequest/m0/_history/2"},
        )
    )
    assert (therapy.stop_reason, therapy.stop_codes) == ("Lack of drug action", (Code(SNOMED, "58848006"),))
    assert (therapy.author, therapy.prior) == ("Dr. Example", ("MedicationRequest/m0",))
    stated = one(resource("MedicationStatement", statusReason=[{"text": "nausea"}, {"text": "no relief"}]))
    assert stated.stop_reason == "nausea, no relief"


def test_drafts_are_no_therapies() -> None:
    assert read_therapies(chart_of(drafts=[order()]), []) == ()

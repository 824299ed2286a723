"""A contradiction that order-sign saw does not go away by leaving that part of the chart out of the request."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cds_service.domain.determination import Program
from cds_service.domain.documentation import DocumentationContext, DocumentedOrder, Remembered, encode_context
from cds_service.fhir.coverage_information import URL
from cds_service.fhir.json import parse
from cds_service.fhir.pas.bundle import read_bundle
from cds_service.fhir.pas.request import read_request
from cds_service.use_cases.decide import Addresses, prepare
from cds_service.use_cases.documented import patient_digest
from cds_service.use_cases.judge_request import assess
from cds_service.use_cases.order_sign_memory import contexts_of
from tests.support.e2e_service import shipped
from tests.support.hook_calls import order
from tests.support.pas_bundles import COMPLETE, encoded, item, morphine, request

KEY = b"k" * 32
ASSERTION = "2665931e-88c0-58c1-9802-95703c707f08"
INFECTION = {"implant_contraindications_eliminated": Remembered(contradicts=("yes",))}


def remembered(facts: dict[str, Remembered], patient: str = "pat-1") -> bytes:
    """The context of one order with what its chart showed."""
    documented = DocumentedOrder(order(), Program.STANDARD, (), facts, (), (), "")
    digest = patient_digest(KEY, patient)
    return encode_context(
        DocumentationContext(
            ASSERTION, date(2026, 3, 2), "ehr", "Coverage/1", digest, "", "09-J1000-31", "1", (documented,)
        )
    )


def signed() -> Any:
    """A complete request whose order carries the payer's answer."""
    told = {"url": URL, "extension": [{"url": "coverage-assertion-id", "valueString": ASSERTION}]}
    made = morphine()
    return request(values=COMPLETE, order=made | {"extension": [*made.get("extension", []), told]}, items=[item()])


@pytest.mark.parametrize(
    ("document", "agrees"),
    [
        (remembered(INFECTION), False),  # an infection was in the chart, and the form says that there is none
        (remembered({"implant_contraindications_eliminated": Remembered(contradicts=("no",))}), True),
        (remembered({}), True),  # nothing spoke against anything
        (remembered(INFECTION, patient="pat-2"), True),  # another patient's context is none of this one's
        (b"{}", True),  # kept by another release, unreadable: what is in the request decides
        (None, True),  # an assertion of somebody else's
    ],
)
def test_a_form_that_says_what_the_chart_spoke_against_waits_for_a_person(document: bytes | None, agrees: bool) -> None:
    kept = {f"documentation~{ASSERTION}": document}
    made = read_request(read_bundle(parse(encoded(signed()), max_bytes=1_000_000)), "2.2")
    found = contexts_of(made, kept.get, KEY)
    held = shipped()
    rules = prepare(held.guidelines, held.vocabulary, held.payer, held.digest, Addresses())
    (line,) = assess(rules, held.prior_auth, made, date(2026, 3, 2), contexts=found).lines
    assert line.conditions["chart_agrees"] is agrees
    assert line.approvable is agrees

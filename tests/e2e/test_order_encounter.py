"""An order that says in which encounter it was written, in a call that does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.e2e_ehr import ehr_of, lent
from tests.support.e2e_patient import call, chart, encounter, order
from tests.support.e2e_service import Service


@pytest.mark.parametrize(("place", "asked"), [("EMER", False), ("AMB", True)])
def test_the_encounter_that_only_the_order_names_tells_acute_care(
    start: Callable[..., Service], place: str, *, asked: bool
) -> None:
    """Analgesia in the emergency department is nothing of ours, also where the call names no encounter."""
    held = chart(encounter=[encounter(place)], conditions=[], questionnaireResponses=[])
    body = call(order(reasonCode=[]), held={**held, "encounter": []})
    del body["prefetch"]["encounter"], body["context"]["encounterId"]
    with ehr_of(held) as server:
        service = start(reader="real", fhir_servers=(f"{server.url}/fhir",), allow_http=True)
        answered = service.post({**body, **lent(server)}).check()
    assert server.targets == ["/fhir/Encounter/enc-e2e"]
    assert bool(answered.actions) is asked

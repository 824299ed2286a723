"""What is sent after the request: answers that were asked for, and a cancellation; what a payer makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from smart_app.pas.closure import references
from tests.support.foreign_pas import LOST, PAS, ForeignPas, http, line, told, wanting
from tests.support.form_visit import ORDER
from tests.support.pas_visit import FORM, PasVisit
from tests.support.smart_ehr import SmartEhr

NURSE = {"resourceType": "Practitioner", "id": "nurse-1", "name": [{"text": "N. Nurse"}]}
SECOND = {
    **FORM,
    "id": "form-2",
    "questionnaire": "https://payer.example.net/Questionnaire/more|1",
    "author": {"reference": "Practitioner/nurse-1"},
    "encounter": {"reference": "Encounter/enc-gone"},
}
ELSEWHERE = {
    **FORM,
    "id": "form-3",
    "questionnaire": "https://payer.example.net/Questionnaire/other|1",
    "extension": [
        {**FORM["extension"][0], "valueReference": {"reference": each}}
        for each in ("MedicationRequest/another", "Coverage/cov-1")
    ],
}


def pend(payer: ForeignPas, *entries: dict[str, Any]) -> None:
    payer.answer = lambda request: {
        **(made := payer.response(request, line(1, "A4", reference="PEND-1"))),
        "entry": [*made["entry"], *entries],
    }


@pytest.fixture
def asked(visit: PasVisit, payer: ForeignPas) -> PasVisit:
    """A request that waits for a second form."""
    pend(payer, wanting("ctx-1", "When did the trial begin?"))
    visit.submit()
    return visit


def unresolved(bundle: dict[str, Any]) -> list[str]:
    """References that do not lead to exactly one entry (P013)."""
    held = [entry["fullUrl"] for entry in bundle["entry"]]
    wrong = []
    for entry in bundle["entry"]:
        for reference in references(entry["resource"]):
            base = entry["fullUrl"].rsplit("/", 2)[0]
            if held.count(reference if ":" in reference else f"{base}/{reference}") != 1:
                wrong.append(reference)
    return wrong


def test_P080_P081_answers_go_with_the_earlier_claim_and_nothing_of_other_orders(
    asked: PasVisit, payer: ForeignPas, ehr: SmartEhr
) -> None:
    assert "no form that the payer does not have yet" in asked.do("answers")
    ehr.resources |= {f"{each['resourceType']}/{each['id']}": each for each in (SECOND, ELSEWHERE, NURSE)}
    payer.answer = lambda request: payer.response(request, line(1, "A1", "PA-1"), created="2026-11-21")
    assert "PA-1" in asked.do("answers")
    first, second = payer.bodies()
    claim, earlier = second["entry"][0]["resource"], second["entry"][1]
    assert claim["related"][0]["claim"]["reference"] == earlier["fullUrl"] == first["entry"][0]["fullUrl"]
    assert [each["sequence"] for each in claim["supportingInfo"]] == [1, 2]
    assert claim["supportingInfo"][0] == first["entry"][0]["resource"]["supportingInfo"][0]
    assert claim["item"][0]["informationSequence"] == [1, 2]
    sent = {each["fullUrl"].removeprefix(f"{ehr.iss}/"): each["resource"] for each in second["entry"]}
    assert {"QuestionnaireResponse/form-2", "Practitioner/nurse-1"} <= set(sent)
    assert "QuestionnaireResponse/form-3" not in sent  # about another order
    assert unresolved(second) == []


def test_P080_a_form_that_was_signed_anew_goes_in_its_place(asked: PasVisit, payer: ForeignPas, ehr: SmartEhr) -> None:
    newer = {**FORM, "meta": {"versionId": "2"}, "status": "amended", "authored": "2026-11-21T08:00:00Z"}
    ehr.resources["QuestionnaireResponse/form-1"] = newer
    asked.do("answers")
    claim = payer.bodies()[-1]["entry"][0]["resource"]
    (document,) = claim["supportingInfo"]
    assert {"url": f"{PAS}extension-infoChanged", "valueCode": "changed"} in document["extension"]
    assert claim["item"][0]["informationSequence"] == [1]
    forms = [e["resource"] for e in payer.bodies()[-1]["entry"] if "form-1" in e["fullUrl"]]
    assert [each["status"] for each in forms] == ["amended"]
    assert "no form that the payer does not have yet" in asked.do("answers")


def test_P080_a_request_that_was_sent_without_a_form_can_be_given_one(
    visit: PasVisit, payer: ForeignPas, ehr: SmartEhr
) -> None:
    form = ehr.resources.pop("QuestionnaireResponse/form-1")
    pend(payer, wanting("ctx-1"))
    visit.submit()
    ehr.resources["QuestionnaireResponse/form-1"] = form
    payer.answer = lambda request: payer.response(request, line(1, "A1", "PA-1"))
    assert "PA-1" in visit.do("answers")
    assert visit.status == 200
    assert payer.bodies()[-1]["entry"][0]["resource"]["item"][0]["informationSequence"] == [1]


REFUSALS = {
    "by an outcome": lambda _p, _r: http(422, told("Updates are not taken")),
    "by a response": lambda p, r: p.response(r, outcome="error", error=[{"code": {"text": "Updates are not taken"}}]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_P085_P086_a_change_that_is_not_taken_leaves_the_decision_and_the_next_begins_from_what_was(
    asked: PasVisit, payer: ForeignPas, ehr: SmartEhr, name: str
) -> None:
    ehr.resources["QuestionnaireResponse/form-2"] = SECOND
    payer.answer = lambda request: REFUSALS[name](payer, request)
    words = asked.do("answers")
    assert "did not take the message with your answers" in words
    assert "Updates are not taken" in words
    assert "The request stands as it did before" in words
    assert "is still looking at it" in words
    assert "PEND-1" in words
    assert "More answers sent" in words
    assert ", not taken" in words
    payer.answer = lambda request: payer.response(request, line(1, "C"))
    assert "The request was taken back" in asked.do("cancel", sure="yes")
    first, _, last = payer.bodies()
    assert last["entry"][0]["resource"]["related"][0]["claim"]["reference"] == first["entry"][0]["fullUrl"]


def test_P090_what_has_no_answer_is_sent_again_before_anything_else(
    asked: PasVisit, payer: ForeignPas, ehr: SmartEhr
) -> None:
    ehr.resources["QuestionnaireResponse/form-2"] = SECOND
    payer.answer = lambda _request: LOST
    words = asked.do("answers")
    assert "The message with your answers is kept" in words
    assert "No answer yet" in words
    assert "PEND-1" in words
    assert "Cancel the request" not in words
    calls = len(payer.bodies())
    assert "this is how it stands now" in asked.do("cancel", sure="yes")  # from a page that was open before
    assert "this is how it stands now" in asked.do("answers")
    assert len(payer.bodies()) == calls
    payer.answer = lambda request: payer.response(request, line(1, "A1", "PA-1"), created="2026-11-21")
    assert "PA-1" in asked.do("again")
    assert [len(set(bodies)) for bodies in payer.repeats.values()] == [1, 1]


CANCELLED = {
    "each line": lambda p, r: p.response(r, line(1, "C")),
    "as a whole": lambda p, r: p.response(r, item=..., adjudication=line(0, "C")["adjudication"]),
    "without a line": lambda p, r: p.response(r, item=...),
}


@pytest.mark.parametrize("name", CANCELLED)
def test_P084_a_cancellation_is_told_however_it_is_answered(asked: PasVisit, payer: ForeignPas, name: str) -> None:
    assert "Cancel the request?" in asked.do("cancel")
    assert len(payer.bodies()) == 1  # asked first
    payer.answer = lambda request: CANCELLED[name](payer, request)
    words = asked.do("cancel", sure="yes")
    assert "The request was taken back" in words
    assert "Cancellation sent" in words
    assert "Cancel the request" not in words
    asked.get(asked.start)
    assert "A second one would be a second case" not in asked.words
    claim = payer.bodies()[-1]["entry"][0]["resource"]
    assert claim["item"][0]["modifierExtension"][0]["valueBoolean"] is True


def test_a_payer_that_is_registered_no_longer_is_told_of(asked: PasVisit, payer: ForeignPas) -> None:
    (asked.app.settings.config_dir / "payers" / "foreign.yaml").unlink()
    other = asked.app.another_process()
    asked.browser.client.application = other
    assert "PEND-1" in asked.look()
    for action in ("check", "cancel"):
        assert "This payer is not registered here" in asked.do(action, sure="yes"), action
    assert "Cancellation sent" not in asked.look()
    other.extensions["smart_app"].store.close()
    assert len(payer.bodies()) == 1
    assert ORDER in str(payer.bodies()[0])

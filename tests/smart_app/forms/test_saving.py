"""Saving to the EHR, finding it changed there, taking it along, handing over: nothing that was entered is lost."""

from __future__ import annotations

import json
from typing import Any

from smart_app.dtr.wire import references_of
from tests.smart_app.forms.test_filling import WEEKS, WHY
from tests.support.foreign_payer import ForeignPayer, package, questionnaire
from tests.support.form_visit import FormVisit, answers_of
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_ehr import outcome as ehr_outcome
from tests.support.smart_visit import AppUnderTest


def test_AP21_created_once_then_updated_under_if_match(visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr) -> None:
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    for text in ("one", "two", "three"):
        visit.press("save", {"a:why": text})
    sent = [each for each in ehr.seen if each.method in {"POST", "PUT"} and "/fhir/" in each.path]
    assert [(each.method, each.headers.get("If-Match")) for each in sent] == [
        ("POST", None),
        ("PUT", 'W/"1"'),
        ("PUT", 'W/"2"'),
    ]
    identifier = json.loads(sent[0].body)["identifier"]["value"]
    assert sent[0].headers["If-None-Exist"] == f"identifier=urn:ietf:rfc:3986|{identifier}"


def test_AP21_changed_elsewhere_shows_both_and_the_person_chooses(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    visit.press("save", {"a:why": "mine"})
    name = f"QuestionnaireResponse/{visit.saved['id']}"
    form = visit.path

    def elsewhere(text: str, version: str) -> None:
        item = {"linkId": "why", "answer": [{"valueString": text}]}
        author = {"reference": "Practitioner/x", "display": "Nora Nurse"}
        ehr.resources[name] = {**ehr.resources[name], "item": [item], "meta": {"versionId": version}, "author": author}

    elsewhere("theirs", "7")
    visit.press("save", {"a:why": "mine again"})
    assert "This form was changed elsewhere" in visit.page
    assert "Nora Nurse" in visit.page
    assert "mine again" in visit.page
    assert "theirs" in visit.page
    assert ehr.resources[name]["item"][0]["answer"][0]["valueString"] == "theirs"  # nothing was overwritten
    visit.post(visit.path, {"keep": "mine"})
    assert answers_of(ehr.resources[name])["why"][0]["valueString"] == "mine again"
    elsewhere("theirs once more", "20")
    visit.get(form)
    visit.press("save", {"a:why": "not wanted"})
    visit.post(visit.path, {"keep": "theirs"})
    assert 'value="theirs once more"' in visit.page
    visit.press("save", {"a:why": "after that"})
    assert answers_of(ehr.resources[name])["why"][0]["valueString"] == "after that"


def test_AP21_a_save_whose_answer_was_lost_is_not_a_conflict_with_oneself(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    visit.press("save", {"a:why": "one"})
    path = f"/fhir/QuestionnaireResponse/{visit.saved['id']}"

    def saved_but_silent(request: Any) -> Any:
        ehr._write(request, path.removeprefix("/fhir/"), json.loads(request.get_data()))
        return ehr_outcome(503, "gone")(request)

    ehr.answers[f"PUT {path}"] = saved_but_silent
    visit.press("save", {"a:why": "two"})
    assert visit.status == 502
    assert "not certain that the draft was saved" in visit.page
    del ehr.answers[f"PUT {path}"]
    visit.press("save")
    assert "Draft saved in the chart." in visit.page


def test_AP21_an_ehr_that_refuses_leaves_the_answers_and_a_download(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    ehr.answers["POST /fhir/QuestionnaireResponse"] = ehr_outcome(422, "no such profile")
    visit.press("save", {"a:why": "kept"})
    assert visit.status == 502
    assert "no such profile" in visit.page
    assert 'value="kept"' in visit.page
    answer = visit.browser.get(f"/l/{visit.launch_id}/form/1/download")
    assert answers_of(answer.json)["why"][0]["valueString"] == "kept"


def test_AP21_where_the_ehr_only_shows_the_form_is_completed_here_and_downloaded(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    ehr.granted = lambda scope: (
        " ".join(each for each in scope.split() if ".c" not in each and "*" not in each) + " patient/*.rs"
    )
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    assert "Download only." in visit.page
    visit.press("save", {"a:why": "kept"})
    visit.press("sign")
    assert "This EHR does not take the form" in visit.page
    done = visit.browser.get(f"/l/{visit.launch_id}/form/1/download").json
    assert done["status"] == "completed"
    assert visit.responses() == []


def test_AP32_the_signed_form_can_be_taken_along_with_all_that_it_refers_to(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    address = f"/l/{visit.launch_id}/form/1/hand-off"
    assert visit.browser.get(address).location.endswith("/form/1")  # not before it is signed
    visit.press("save", {"a:why": "kept"})
    visit.press("sign")
    assert address in visit.page
    taken = visit.browser.get(address)
    assert taken.headers["Content-Disposition"] == 'attachment; filename="coverage-form-with-references.json"'
    kinds = [entry["resource"]["resourceType"] for entry in taken.json["entry"]]
    assert kinds[0] == "QuestionnaireResponse"
    assert taken.json["entry"][0]["resource"]["status"] == "completed"
    assert {"Patient", "Coverage", "MedicationRequest"} <= set(kinds[1:])
    assert len(set(kinds)) == len(kinds)
    named = {entry["fullUrl"].partition("/fhir/")[2] for entry in taken.json["entry"]}
    assert set(references_of(taken.json["entry"][0]["resource"])) <= named


def test_AP21_another_window_was_quicker_and_nothing_is_lost_silently(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    stale = visit.page
    visit.press("save", {"a:why": "from the first window"})
    visit.page = stale
    visit.press("save", {"a:why": "from the second window"})
    assert visit.status == 409
    assert "This form was changed in another window" in visit.page
    assert "from the second window" in visit.page
    assert answers_of(visit.saved)["why"][0]["valueString"] == "from the first window"


def test_AP17_what_was_entered_and_never_saved_is_offered_at_the_next_launch(
    app: AppUnderTest, ehr: SmartEhr, payer: ForeignPayer
) -> None:
    payer.packages = [package(questionnaire(WHY))]
    first = FormVisit(app, ehr, payer)
    first.open()
    first.press("check", {"a:why": "entered, not saved"})
    for choice, expected in (("take-left", True), ("leave-left", False)):
        again = FormVisit(app, ehr, payer)
        assert "Go on where you stopped?" in again.open()
        assert "entered, not saved" not in again.page
        again.post(again.path, {"do": choice})
        assert ('value="entered, not saved"' in again.page) is expected
        assert "Go on where you stopped?" not in again.page
    assert "Go on where you stopped?" not in FormVisit(app, ehr, payer).open()
    # another person's answers are never offered
    other = FormVisit(app, ehr, payer)
    other.open()
    other.press("check", {"a:why": "by the doctor"})
    as_nurse(ehr)
    assert "Go on where you stopped?" not in FormVisit(app, ehr, payer).open()


def as_nurse(ehr: SmartEhr) -> None:
    nurse = {"system": "http://terminology.hl7.org/CodeSystem/practitioner-role", "code": "nurse", "display": "Nurse"}
    ehr.resources["Practitioner/nurse-1"] = {
        "resourceType": "Practitioner", "id": "nurse-1", "name": [{"text": "Nora Nurse"}],
    }  # fmt: skip
    ehr.resources["PractitionerRole/r1"] = {
        "resourceType": "PractitionerRole", "id": "r1", "practitioner": {"reference": "Practitioner/nurse-1"},
        "code": [{"coding": [nurse]}],
    }  # fmt: skip
    ehr.id_claims |= {"fhirUser": f"{ehr.iss}/Practitioner/nurse-1", "sub": "user-2"}


def test_AP17_a_nurse_hands_over_and_the_prescriber_signs(
    app: AppUnderTest, ehr: SmartEhr, payer: ForeignPayer
) -> None:
    payer.packages = [package(questionnaire(WHY, WEEKS, {**WHY, "linkId": "attestation_name", "text": "Name"}))]
    as_nurse(ehr)
    nurse = FormVisit(app, ehr, payer)
    page = nurse.open()
    assert "Sign and save" not in page
    nurse.press("hand-over", {"a:why": "by the nurse"})
    assert "Saved for the prescriber" in nurse.page
    nurse.press("sign")  # even when she makes the request by hand
    assert nurse.status == 422
    assert nurse.saved["status"] == "in-progress"

    ehr.id_claims.clear()
    del ehr.resources["PractitionerRole/r1"]
    doctor = FormVisit(app, ehr, payer)
    page = doctor.open()
    assert 'value="by the nurse"' in page
    doctor.press("check", {"a:weeks": "7"})
    doctor.press("sign")
    assert doctor.saved["status"] == "completed"
    assert doctor.saved["author"]["reference"] == "Practitioner/doc-1"
    held = answers_of(doctor.saved)
    assert held["attestation_name"][0]["valueString"] == "Dr. Sam Sample"
    by_nurse = json.dumps(held["why"][0]["extension"])
    assert "Practitioner/nurse-1" in by_nurse
    assert '"nurse"' in by_nurse  # AP-29: in her role
    assert "Practitioner/doc-1" in json.dumps(held["weeks"][0]["extension"])

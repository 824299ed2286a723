"""From a launch to a form: what is asked of EHR and payer, and what is shown when something is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.foreign_payer import ForeignPayer, outcome, package, questionnaire
from tests.support.form_visit import ORDER, FormVisit
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_ehr import outcome as ehr_outcome
from tests.support.smart_visit import AppUnderTest, write_yaml

WHY = {"linkId": "why", "type": "string", "text": "Why this drug?", "required": True}
FORM = questionnaire(WHY)
CANONICAL = f"{FORM['url']}|3"


def asked(payer: ForeignPayer) -> dict[str, list[Any]]:
    """The parameters of the last package request, by name."""
    found: dict[str, list[Any]] = {}
    for part in payer.asked[-1]["parameter"]:
        value = part.get("resource") or part.get("valueCanonical") or part.get("valueString") or part["valueDateTime"]
        found.setdefault(part["name"], []).append(value)
    return found


def test_AP06_identity_and_patient_are_asked_for(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(FORM)]
    visit.open()
    scopes = visit.browser.asked()["scope"].split()
    assert {"openid", "fhirUser", "launch"} <= set(scopes)
    assert any(scope.startswith("patient/") for scope in scopes)


def test_AP07_the_payer_gets_coverage_and_order_whole(visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr) -> None:
    payer.packages = [package(FORM)]
    page = visit.open()
    assert "Why this drug?" in page
    assert "Foreign Mutual asks this" in page
    assert asked(payer)["coverage"][0]["id"] == "cov-1"
    assert asked(payer)["order"][0] == json.loads(json.dumps(ehr.resources[ORDER]))
    assert "changedsince" not in asked(payer)


def test_AP01_an_unsaved_draft_is_asked_for_by_context(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(FORM)]
    context = {
        "questionnaire": [CANONICAL],
        "context": "as-1",
        "order": "MedicationRequest/draft-9",
        "coverage": "Coverage/cov-1",
    }
    page = visit.open(app_context=context, fhirContext=...)
    assert "the order that you are writing" in page
    assert asked(payer)["context"] == ["as-1"]
    assert asked(payer)["questionnaire"] == [CANONICAL]
    assert "order" not in asked(payer)
    visit.press("save")
    linked = [each["valueReference"] for each in visit.saved["extension"] if "valueReference" in each]
    assert {
        "type": "MedicationRequest",
        "identifier": {"value": "draft-9"},
        "display": "order not signed yet",
    } in linked


def test_AP02_the_published_crd_servers_query_string_opens_the_form(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(FORM)]
    visit.open(app_context=f"questionnaire={CANONICAL}&order=order-1&coverage=Coverage/cov-1", fhirContext=...)
    assert asked(payer)["order"][0]["id"] == "order-1"  # a bare id was found among the kinds of orders


def test_AP04_without_coverage_in_the_launch_the_order_says_it_else_the_chart(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(FORM)]
    ehr.resources["Coverage/cov-2"] = {**ehr.resources["Coverage/cov-1"], "id": "cov-2"}
    ehr.resources[ORDER] = {**ehr.resources[ORDER], "insurance": [{"reference": "Coverage/cov-2"}]}
    visit.open(fhirContext=[{"reference": ORDER}])
    assert asked(payer)["coverage"][0]["id"] == "cov-2"


def test_AP04_of_several_coverages_the_person_picks(visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr) -> None:
    payer.packages = [package(FORM)]
    ehr.resources["Coverage/cov-2"] = {**ehr.resources["Coverage/cov-1"], "id": "cov-2"}
    page = visit.open(fhirContext=[{"reference": ORDER}])
    assert "Which coverage is meant?" in page
    page = visit.post(f"/l/{visit.launch_id}/pick", {"order": ORDER, "coverage": "Coverage/cov-2"})
    assert "Why this drug?" in page
    assert asked(payer)["coverage"][0]["id"] == "cov-2"


def test_AP01_nothing_said_lets_the_person_choose_an_order(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(FORM)]
    page = visit.open(fhirContext=[])
    assert "What would you like to document?" in page
    assert "morphine 20 mg/mL, 2026-11-20" in page
    assert payer.asked == []
    page = visit.post(f"/l/{visit.launch_id}/pick", {"order": ORDER})
    assert "Why this drug?" in page


def test_AP01_nothing_said_and_nothing_there_says_what_to_do(visit: FormVisit, ehr: SmartEhr) -> None:
    del ehr.resources[ORDER]
    page = visit.open(fhirContext=[])
    assert "There is no order to document yet" in page


def draft(ident: str = "qr-1", **changes: Any) -> dict[str, Any]:
    url = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
    return {
        "resourceType": "QuestionnaireResponse",
        "id": ident,
        "meta": {"versionId": "4", "lastUpdated": "2026-11-24T08:00:00Z"},
        "status": "in-progress",
        "questionnaire": CANONICAL,
        "subject": {"reference": "Patient/pat-1"},
        "authored": "2026-11-24T08:00:00Z",
        "author": {"reference": "Practitioner/nurse-1", "display": "Nora Nurse"},
        "extension": [
            {"url": url, "valueReference": {"reference": "Coverage/cov-1"}},
            {"url": url, "valueReference": {"reference": ORDER}},
        ],
        "item": [{"linkId": "why", "answer": [{"valueString": "Begun by the nurse"}]}],
    } | changes


def test_AP05_a_saved_draft_is_resumed_and_updated_not_doubled(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(FORM)]
    ehr.resources["QuestionnaireResponse/qr-1"] = draft()
    page = visit.open(fhirContext=[])  # nothing is said: the one draft is what is wanted
    assert 'value="Begun by the nurse"' in page
    visit.press("save", {"a:why": "Gone on with"})
    assert visit.saved["id"] == "qr-1"
    assert visit.saved["meta"]["versionId"] == "5"
    assert visit.saved["item"][0]["answer"][0]["valueString"] == "Gone on with"


def test_AP07_on_resuming_the_payer_is_asked_what_has_changed_since(
    app: AppUnderTest, ehr: SmartEhr, payer: ForeignPayer
) -> None:
    payer.packages = [package(FORM)]
    first = FormVisit(app, ehr, payer)
    first.open()  # the form is known to this process from now on
    ehr.resources["QuestionnaireResponse/qr-1"] = draft()
    payer.packages = []  # nothing has changed
    again = FormVisit(app, ehr, payer)
    page = again.open(fhirContext=[{"reference": "QuestionnaireResponse/qr-1"}])
    assert asked(payer)["changedsince"] == ["2026-11-24T08:00:00Z"]
    assert 'value="Begun by the nurse"' in page


def test_AP05_a_draft_that_is_carried_on_keeps_its_signed_order(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(FORM)]
    ehr.resources["QuestionnaireResponse/qr-1"] = draft()
    page = visit.open(fhirContext=[{"reference": "QuestionnaireResponse/qr-1"}])  # it alone names the order
    assert "about coverage of morphine 20 mg/mL" in page
    visit.press("save", {"a:why": "Gone on with"})
    linked = [each["valueReference"] for each in visit.saved["extension"] if each["url"].endswith("qr-context")]
    assert {"reference": ORDER} in linked
    assert not any("identifier" in each for each in linked)  # not "order not signed yet"


def test_AP08_an_assertion_that_the_payer_keeps_no_context_for_does_not_close_the_form(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    """An order that was ready to submit, or authorized, carries such a one; the order alone is asked about then."""
    payer.packages = [package(FORM)]
    payer.contexts = {"another"}
    page = visit.open(
        app_context={"order": ORDER, "coverage": "Coverage/cov-1", "context": "an-assertion"}, fhirContext=...
    )
    assert "Why this drug?" in page
    assert [[part["name"] for part in each["parameter"]].count("context") for each in payer.asked] == [1, 0]


def test_AP30_what_a_reviewer_asks_for_opens_although_the_form_was_open_before(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    """The same questionnaire under another context is another form: its draft leaves open what is asked for."""
    payer.packages = [package(FORM)]
    visit.open()
    payer.packages = [package(questionnaire({**WHY, "text": "Why, asks the reviewer?"}))]
    more = {"context": "T-1.2", "coverage": "Coverage/cov-1", "order": ORDER}
    assert "Why, asks the reviewer?" in visit.post(f"/l/{visit.launch_id}/more", more)
    assert "Why this drug?" in visit.get(f"/l/{visit.launch_id}/form/1")
    visit.post(f"/l/{visit.launch_id}/more", more)  # pressed again: not a third form
    assert "Why, asks the reviewer?" in visit.get(f"/l/{visit.launch_id}/form/2")
    visit.get(f"/l/{visit.launch_id}/form/3")
    assert visit.status == 404


def test_AP10_a_completed_response_never_fills_a_new_form(visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr) -> None:
    payer.packages = [package(FORM)]
    ehr.resources["QuestionnaireResponse/qr-1"] = draft(status="completed")
    page = visit.open()
    assert "Begun by the nurse" not in page
    visit.press("save", {"a:why": "Anew"})
    assert len(visit.responses()) == 2


def test_AP08_no_package_is_a_friendly_page_with_the_payers_words(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.outcomes = [outcome("Nothing to document for <b>this</b> member.")]
    page = visit.open()
    assert visit.status == 200
    assert "No questions to answer" in page
    assert "Nothing to document for &lt;b&gt;this&lt;/b&gt; member." in page
    assert f'href="/l/{visit.launch_id}/prior-auth"' in page  # no form, and yet there may be something to ask for


def test_AP09_an_expired_form_is_not_opened_its_drafts_are_stopped_and_the_payer_chooses_anew(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    old = questionnaire(WHY, effectivePeriod={"end": "2020-01-01"})
    new = questionnaire({**WHY, "text": "Why, in the new form?"}, name="new-form")

    def by_call(body: dict[str, Any]) -> list[dict[str, Any]]:
        named = any(part["name"] == "questionnaire" for part in body["parameter"])
        return [package(old if named else new)]

    payer.by_call = by_call
    ehr.resources["QuestionnaireResponse/qr-1"] = draft()
    page = visit.open(
        app_context={"questionnaire": CANONICAL, "order": ORDER, "coverage": "Coverage/cov-1"}, fhirContext=...
    )
    assert "Why, in the new form?" in page
    assert "no longer in use at the payer" in page
    assert ehr.resources["QuestionnaireResponse/qr-1"]["status"] == "stopped"
    assert payer.errors == []  # it was asked for by its canonical: the payer need not be told


def test_AP09_a_payer_that_sends_an_expired_form_by_itself_is_told(visit: FormVisit, payer: ForeignPayer) -> None:
    payer.packages = [package(questionnaire(WHY, effectivePeriod={"end": "2020-01-01"}))]
    page = visit.open()
    assert "form is out of date" in page
    (report,) = payer.errors
    assert report["parameter"][0]["valueCanonical"] == CANONICAL


FAULTS = [
    (503, None, "The payer did not answer", 502),
    (500, None, "The payer did not answer", 502),
    (403, None, "The payer did not accept the request", 502),
    (422, outcome("This coverage is not known here.", "error"), "This coverage is not known here.", 502),
]


@pytest.mark.parametrize(("fault", "body", "words", "status"), FAULTS)
def test_AP34_a_payer_in_trouble_is_a_page_that_says_what_to_do(
    visit: FormVisit, payer: ForeignPayer, fault: int, body: Any, words: str, status: int
) -> None:
    payer.fault, payer.fault_body = fault, body
    page = visit.open()
    assert words in page
    assert visit.status == status
    assert "What to do" in page
    # and once the payer is back, the same page works
    payer.fault, payer.packages = 0, [package(FORM)]
    assert "Why this drug?" in visit.get(f"/l/{visit.launch_id}/")


def test_AP34_a_payer_that_nobody_registered_is_named_as_such(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    ehr.resources["Coverage/cov-1"] = {**ehr.resources["Coverage/cov-1"], "payor": [{"display": "Somebody Else"}]}
    assert "This payer is not registered here" in visit.open()
    assert payer.asked == []


@pytest.mark.parametrize("shape", ["PackageBundle", "packagebundle", "return", "bundle"])
def test_AP34_a_foreign_package_of_every_shape_opens(visit: FormVisit, payer: ForeignPayer, shape: str) -> None:
    payer.shape, payer.packages = shape, [package(FORM)]
    assert "Why this drug?" in visit.open()


def test_AP34_another_patients_order_is_never_used(visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr) -> None:
    ehr.resources[ORDER] = {**ehr.resources[ORDER], "subject": {"reference": "Patient/somebody-else"}}
    payer.packages = [package(FORM)]
    assert "This form is about another patient" in visit.open()
    assert payer.asked == []


def test_AP26_what_the_ehr_does_not_show_is_told_and_never_stops(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    ehr.answers["GET /fhir/MedicationStatement"] = ehr_outcome(403, "not for you")
    ehr.answers["GET /fhir/PractitionerRole"] = ehr_outcome(500, "broken")
    payer.packages = [package(FORM)]
    page = visit.open()
    assert "The EHR does not let this app read the medication list." in page
    assert "Why this drug?" in page


def test_AP33_supported_payers_as_json_and_as_a_list(app: AppUnderTest) -> None:
    browser = app.browser()
    plain = browser.get("/supported-payers", Accept="application/json")
    assert plain.json == {"payers": [{"id": "FM-1", "name": "Foreign Mutual"}]}
    fhir = browser.get("/supported-payers", Accept="application/fhir+json")
    assert fhir.mimetype == "application/fhir+json"
    assert fhir.json["resourceType"] == "List"
    assert fhir.json["entry"][0]["item"]["identifier"] == {"system": "urn:example:payers", "value": "FM-1"}


def test_AP34_two_payers_are_told_apart_by_identifier(app: AppUnderTest, ehr: SmartEhr, payer: ForeignPayer) -> None:
    twin = payer.profile(id="twin", identifiers=["urn:example:payers|FM-2"], dtr_base="https://twin.example.net/dtr")
    write_yaml(app.settings.config_dir / "payers" / "twin.yaml", twin)
    payer.packages = [package(FORM)]
    assert "Why this drug?" in FormVisit(app, ehr, payer).open()

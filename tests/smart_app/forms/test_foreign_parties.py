"""EHRs and payers that do things in other ways than ours, all of them allowed or seen: each row met a defect."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from tests.support.foreign_payer import ForeignPayer, outcome, package, questionnaire
from tests.support.form_visit import ORDER, FormVisit, answers_of
from tests.support.smart_ehr import SmartEhr, plain
from tests.support.smart_ehr import outcome as ehr_outcome
from tests.support.smart_visit import AppUnderTest, write_yaml

ADAPTIVE = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-questionnaireAdaptive"
QR_CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
WHY = {"linkId": "why", "type": "string", "text": "Why this drug?", "required": True}
EXPIRED = questionnaire(WHY, effectivePeriod={"end": "2024-12"})


def expired(payer: ForeignPayer) -> None:
    payer.packages = [package(EXPIRED)]


def error_without_status(payer: ForeignPayer) -> None:
    payer.outcomes = [outcome("The member left the plan.", "error")]


def bundle_without_form(payer: ForeignPayer) -> None:
    payer.packages = [{"resourceType": "Bundle", "type": "collection", "entry": []}]


def accepted_without_body(payer: ForeignPayer) -> None:
    payer.fault, payer.fault_body = 202, {"resourceType": "Task", "status": "requested"}


def canonical_unknown(payer: ForeignPayer) -> None:
    payer.outcomes = [outcome("There is no such form.", "warning")]


NO_FORM = [
    (expired, "The payer&#39;s form is out of date"),
    (error_without_status, "The member left the plan."),
    (bundle_without_form, "The payer&#39;s answer could not be read"),
    (accepted_without_body, "The payer&#39;s answer could not be read"),
]


@pytest.mark.parametrize(("answer", "words"), NO_FORM)
def test_AP08_no_form_is_never_taken_for_no_questions(
    visit: FormVisit, payer: ForeignPayer, answer: Any, words: str
) -> None:
    answer(payer)
    page = visit.open()
    assert words in page
    assert visit.status == 502
    assert "No questions to answer" not in page


def test_AP08_a_form_that_the_payer_does_not_have_is_not_taken_for_no_questions(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    """It says so by a warning alone: then it is asked for the order, and believed only when it warns of nothing."""
    asked = {"questionnaire": ["https://payer.example.net/Questionnaire/gone|1"], "order": ORDER}
    canonical_unknown(payer)
    page = visit.open(asked)
    assert "There is no such form." in page
    assert "No questions to answer" not in page
    names = [[part["name"] for part in body["parameter"]] for body in payer.asked]
    assert ["questionnaire" in each for each in names] == [True, False]
    payer.by_call = lambda body: [] if "questionnaire" in {p["name"] for p in body["parameter"]} else [package(form)]
    form = questionnaire(WHY)
    assert "Why this drug?" in visit.open(asked)


def test_AP11_a_form_without_questions_is_no_form_to_sign(visit: FormVisit, payer: ForeignPayer) -> None:
    """As the guide's own example for adaptive forms has it, which does not say that it is adaptive."""
    empty = questionnaire()
    del empty["item"]
    payer.packages = [package(empty)]
    assert "The questionnaire has no questions." in visit.open()


def test_AP22_two_questionnaires_in_one_bundle_are_two_forms(visit: FormVisit, payer: ForeignPayer) -> None:
    first, second = questionnaire(WHY), questionnaire(WHY, name="second", title="Second form")
    payer.packages = [package(first, second)]
    page = visit.open()
    assert "Foreign form" in page
    assert "Second form" in page


def test_AP22_an_adaptive_form_that_brings_its_first_questions_shows_them(
    visit: FormVisit, payer: ForeignPayer
) -> None:
    """As in the guide's own example, which has no address either."""
    standard = "https://payer.example.net/Questionnaire/standard|1"
    form = questionnaire(WHY, extension=[{"url": ADAPTIVE, "valueBoolean": True}], derivedFrom=[standard])
    del form["url"]
    payer.packages = [package(form)]
    payer.next_answer = lambda response: {**response, "status": "completed"}
    assert "Why this drug?" in visit.open()
    assert payer.next_calls == []
    visit.press("check", {"a:why": "because"})
    assert "The payer has no further questions." in visit.press("next")
    sent = payer.next_calls[0]["parameter"][0]["resource"]
    assert sent["contained"][0]["item"] == [WHY]
    assert sent["contained"][0]["derivedFrom"] == [standard]
    assert "url" not in sent["contained"][0]
    assert sent["item"][0]["answer"][0]["valueString"] == "because"


def test_PS17_a_form_without_address_is_refused_with_its_reason(visit: FormVisit, payer: ForeignPayer) -> None:
    form = questionnaire(WHY)
    del form["url"]
    payer.packages = [package(form)]
    assert "The questionnaire has no address (url)." in visit.open()


def test_AP21_a_signature_that_the_ehr_refuses_leaves_the_answers_and_a_download(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    ehr.answers["POST /fhir/QuestionnaireResponse"] = ehr_outcome(422, "no such profile")
    page = visit.press("sign", {"a:why": "kept"})
    assert "no such profile" in page
    assert visit.status == 502
    assert 'value="kept"' in page
    assert visit.browser.get(f"/l/{visit.launch_id}/form/1/download").json["status"] == "completed"


@pytest.mark.parametrize("versioned", [True, False])  # whether the Location names the version
@pytest.mark.parametrize("status", [200, 204])
def test_AP21_an_ehr_that_saves_in_silence_is_still_updated_under_if_match(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr, status: int, *, versioned: bool
) -> None:
    """It answers with neither body nor ETag."""

    def post(request: Request) -> Response:
        place = ehr._write(request, "QuestionnaireResponse", request.get_json()).headers["Location"]
        return Response(status=201, headers={"Location": place if versioned else place.partition("/_history")[0]})

    def put(request: Request) -> Response:
        kept = ehr._write(request, request.path.removeprefix("/fhir/"), request.get_json()).status_code == 200
        return Response(status=status if kept else 412)

    payer.packages = [package(questionnaire(WHY))]
    ehr.answers["POST /fhir/QuestionnaireResponse"] = post
    visit.open()
    visit.press("save", {"a:why": "one"})
    name = next(each for each in ehr.resources if each.startswith("QuestionnaireResponse/"))
    ehr.answers[f"PUT /fhir/{name}"] = put
    for text in ("two", "three"):
        assert "Draft saved in the chart." in visit.press("save", {"a:why": text})
    assert [each.headers.get("If-Match") for each in ehr.seen if each.method == "PUT"] == ['W/"1"', 'W/"2"']
    assert len(visit.responses()) == 1


def test_AP21_an_ehr_that_does_not_say_where_it_saved_gets_no_second_draft(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    def post(request: Request) -> Response:
        ehr._write(request, "QuestionnaireResponse", request.get_json())
        return Response(status=201)

    payer.packages = [package(questionnaire(WHY))]
    ehr.answers["POST /fhir/QuestionnaireResponse"] = post
    visit.open()
    visit.press("save", {"a:why": "one"})
    visit.press("save", {"a:why": "two"})
    assert answers_of(visit.saved)["why"][0]["valueString"] == "two"


@pytest.mark.parametrize("status", [404, 405, 501])
def test_AP21_where_the_ehr_changes_nothing_that_was_saved_the_signed_form_is_a_new_one(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr, status: int
) -> None:
    """A draft is not made again and again; what is signed has to get into the chart."""
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    visit.press("save", {"a:why": "one"})
    first = visit.saved
    ehr.answers[f"PUT /fhir/QuestionnaireResponse/{first['id']}"] = ehr_outcome(status, "no updates")
    visit.press("save", {"a:why": "two"})
    assert visit.status == 502
    assert visit.saved == first
    visit.press("sign")
    (signed,) = [each for each in visit.responses() if each["status"] == "completed"]
    assert answers_of(signed)["why"][0]["valueString"] == "two"
    assert signed["identifier"] != first["identifier"]


def test_AP21_a_draft_that_is_gone_from_the_chart_is_made_anew(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    visit.press("save", {"a:why": "one"})
    name = f"QuestionnaireResponse/{visit.saved['id']}"
    del ehr.resources[name]
    for method in ("GET", "PUT"):
        ehr.answers[f"{method} /fhir/{name}"] = ehr_outcome(410, "deleted")
    assert "Draft saved in the chart." in visit.press("save", {"a:why": "two"})
    assert answers_of(visit.saved)["why"][0]["valueString"] == "two"


@pytest.mark.parametrize(("refused", "status"), [("_sort", 400), ("_include", 400), ("_sort", 422), ("_sort", 501)])
def test_AP05_an_ehr_that_does_not_sort_or_include_still_shows_drafts_and_prescriptions(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr, refused: str, status: int
) -> None:
    payer.packages = [package(questionnaire(WHY))]

    def strict(request: Request) -> Response:
        kind = request.path.rpartition("/")[2]
        if refused in request.args:
            return ehr_outcome(status, "unknown parameter")(request)
        held = [{"resource": each} for each in ehr.resources.values() if each["resourceType"] == kind]
        return plain({"resourceType": "Bundle", "type": "searchset", "entry": held})(request)

    for kind in ("QuestionnaireResponse", "MedicationRequest", "MedicationStatement"):
        ehr.answers[f"GET /fhir/{kind}"] = strict
    visit.open()
    visit.press("save", {"a:why": "from the first visit"})
    page = visit.open()
    assert "from the first visit" in page
    assert "could not give the prescriptions" not in page


def test_AP05_what_the_ehr_includes_unasked_is_no_draft(visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr) -> None:
    """An Encounter can be in progress too."""
    mine = {"subject": {"reference": "Patient/pat-1"}}
    encounter = {"resourceType": "Encounter", "id": "e", "status": "in-progress", **mine}
    entry = [{"resource": encounter, "search": {"mode": "include"}}]
    found = plain({"resourceType": "Bundle", "type": "searchset", "entry": entry})
    ehr.answers["GET /fhir/QuestionnaireResponse"] = found
    payer.packages = [package(questionnaire(WHY))]
    page = visit.open(fhirContext=[])
    assert "Begin for an order" in page
    assert "go on with" not in page.casefold()


def test_AP01_orders_to_choose_from_are_called_by_their_medication(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr
) -> None:
    order = {**ehr.resources[ORDER], "medicationReference": {"reference": "Medication/m"}}
    del order["contained"]
    ehr.resources |= {
        ORDER: order,
        "Medication/m": {"resourceType": "Medication", "id": "m", "code": {"text": "zicon"}},
    }
    payer.packages = [package(questionnaire(WHY))]
    assert "zicon, 2026-11-20" in visit.open(fhirContext=[])
    assert "about coverage of zicon." in visit.open()


REVIEW = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewAction"


def claim_response(request: dict[str, Any], code: str = "", **members: Any) -> dict[str, Any]:
    """A response; without ``code`` it decides on no line."""
    action = {"coding": [{"system": "https://codesystem.x12.org/005010/306", "code": code}]}
    review = {"url": REVIEW, "extension": [{"url": f"{REVIEW}Code", "valueCodeableConcept": action}]}
    told = {"identifier": request["entry"][0]["resource"]["identifier"][0]}
    item = [{"itemSequence": 1, "adjudication": [{"extension": [review]}]}] if code else []
    return {"resourceType": "ClaimResponse", "outcome": "complete", "request": told, "item": item, **members}


@pytest.fixture
def clinic(app: AppUnderTest, payer: ForeignPayer, ehr: SmartEhr) -> FormVisit:
    """A visit with a signed form, at a payer that takes requests; what the EHR's search for coverages shows is cut."""
    write_yaml(app.settings.config_dir / "payers" / "foreign.yaml", payer.profile(pas_base=payer.base))
    app.register(ehr, organization_name="Clinic", organization_npi="1999999984")
    ehr.answers["GET /fhir/Coverage"] = plain({"resourceType": "Bundle", "type": "searchset", "entry": []})
    visit = FormVisit(app, ehr, payer)
    payer.packages = [package(questionnaire(WHY))]
    visit.open()
    visit.press("sign", {"a:why": "because"})
    return visit


def submit(visit: FormVisit) -> str:
    page = visit.get(f"/l/{visit.launch_id}/prior-auth")
    assert "morphine 20 mg/mL" in page
    fields = {"order": ORDER, f"code-{ORDER}": "J2274", "form": f"QuestionnaireResponse/{visit.saved['id']}"}
    return visit.post(f"/l/{visit.launch_id}/prior-auth", {**fields, "benefit": "medical", "urgency": "standard"})


def test_P075_a_payer_without_subscriptions_is_asked_by_a_person(clinic: FormVisit, payer: ForeignPayer) -> None:
    payer.claims = lambda operation, request: (
        claim_response(request, outcome="queued") if operation == "submit" else claim_response(request, "A1")
    )
    page = submit(clinic)
    assert "Being reviewed" in page
    assert "press “Ask the payer now”" in page
    assert "appears on this page by itself" not in page
    assert "approved the request" in clinic.post(f"{clinic.path}/check")


def test_the_signed_form_says_that_its_request_was_sent(clinic: FormVisit, payer: ForeignPayer) -> None:
    summary = f"/l/{clinic.launch_id}/form/1/summary"
    assert ">Submit</a>" in clinic.get(summary)
    payer.claims = lambda _, request: claim_response(request, "A1")
    submit(clinic)
    request, page = clinic.path, clinic.get(summary)
    assert f'was sent: <a href="{request}">Approved</a>' in page
    assert ">Submit</a>" not in page


def test_P059_a_request_that_was_sent_back_may_be_made_again(clinic: FormVisit, payer: ForeignPayer) -> None:
    payer.claims = lambda _, request: claim_response(request, error=[{"code": {"text": "Invalid date of birth"}}])
    page = submit(clinic)
    assert "Sent back by the payer" in page
    assert "Invalid date of birth" in page
    assert "a second case" not in clinic.get(f"/l/{clinic.launch_id}/prior-auth")
    payer.claims = lambda _, request: claim_response(request, "A1")
    assert "approved the request" in submit(clinic)


def test_P050_nobody_is_said_to_have_looked_where_the_payer_does_not_say_so(
    clinic: FormVisit, payer: ForeignPayer
) -> None:
    payer.claims = lambda _, request: claim_response(request, "A3")
    page = submit(clinic)
    assert "Foreign Mutual did not approve it." in page
    assert "A reviewer at" not in page


HIDDEN = [  # what the EHR refuses, and what the page then says
    ("GET /fhir/MedicationRequest/order-1", "The order could not be read"),
    ("GET /fhir/Coverage", "The EHR does not show the coverage"),
    ("GET /fhir/Organization/payer", "The EHR does not show who the payer is"),
]


@pytest.mark.parametrize(("path", "words"), HIDDEN)
def test_SM42_what_the_ehr_does_not_show_is_never_called_missing(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr, path: str, words: str
) -> None:
    ehr.answers[path] = ehr_outcome(403, "not for you")
    if "Organization" in path:
        ehr.resources["Coverage/cov-1"] = {
            **ehr.resources["Coverage/cov-1"],
            "payor": [{"reference": "Organization/payer"}],
        }
    named = [] if path == "GET /fhir/Coverage" else [{"reference": "Coverage/cov-1"}]
    page = visit.open(fhirContext=[{"reference": ORDER}, *named])
    assert words in page
    assert visit.status == 409
    assert payer.asked == []


@pytest.mark.parametrize(
    ("writer", "expected"),
    [({"author": {"reference": "Practitioner/other"}}, "Practitioner/other"), ({}, "Practitioner/doc-1")],
)
def test_AP15_an_answer_of_another_app_without_origin_is_saved_with_an_author(
    visit: FormVisit, payer: ForeignPayer, ehr: SmartEhr, writer: dict[str, Any], expected: str
) -> None:
    """dtrx-1: the writer of the draft, else who sends it on."""
    form = questionnaire(WHY)
    ehr.resources["QuestionnaireResponse/theirs"] = {
        "resourceType": "QuestionnaireResponse",
        "id": "theirs",
        "meta": {"versionId": "1"},
        "status": "in-progress",
        "questionnaire": f"{form['url']}|3",
        "subject": {"reference": "Patient/pat-1"},
        "extension": [{"url": QR_CONTEXT, "valueReference": {"reference": ORDER}}],
        "item": [{"linkId": "why", "answer": [{"valueString": "theirs"}]}],
        **writer,
    }
    payer.packages = [package(form)]
    visit.open()
    visit.press("save")
    (answer,) = answers_of(ehr.resources["QuestionnaireResponse/theirs"])["why"]
    parts = {part["url"]: part for part in answer["extension"][0]["extension"]}
    assert parts["source"]["valueCode"] == "manual"
    assert parts["author"]["extension"][0]["valueReference"]["reference"] == expected

"""What a foreign PAS server answers to a request, and what the person reads then: what the payer said, and no more."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.foreign_pas import LOST, PAS, REVIEW_ACTIONS, ForeignPas, http, line, told, wanting
from tests.support.form_visit import ORDER
from tests.support.pas_visit import FORM, PasVisit
from tests.support.smart_ehr import SmartEhr

Made = Callable[[ForeignPas, dict[str, Any]], Any]
PERIOD = {"url": f"{PAS}extension-itemPreAuthPeriod", "valuePeriod": {"start": "2026-12-01"}}
DETAIL = {
    "url": f"{PAS}extension-itemAuthorizedDetail",
    "extension": [
        {"url": "quantity", "valueQuantity": {"value": 3, "unit": "vials"}},
        {"url": "productOrServiceCode", "valueCodeableConcept": {"text": "morphine 10 mg"}},
    ],
}
BOTH = {"itemSequence": [1], "productOrService": {"coding": [{"code": "J2274"}]}, "quantity": {"value": 7}}
ADDED = {"productOrService": {"coding": [{"code": "J2274"}]}, "adjudication": line(0, "A1", "PA-N")["adjudication"]}


def whole(code: str) -> dict[str, Any]:
    """A response that decides on no line but on the whole."""
    return {"item": ..., "adjudication": line(1, code)["adjudication"]}


def spoilt(payer: ForeignPas, request: dict[str, Any]) -> dict[str, Any]:
    """Elements of other kinds than FHIR's, beside a decision that can be read."""
    item = line(1, "A1", "PA-3", noteNumber=1, extension=[{**PERIOD, "valuePeriod": "soon"}])
    return payer.response(
        request,
        item,
        addItem=[{"itemSequence": 5, "quantity": "x"}],
        processNote=[{"number": {}, "text": "note"}],
        error=7,
    )


# name: answer, what the page says, what it must not say
ANSWERS: dict[str, tuple[Made, tuple[str, ...], tuple[str, ...]]] = {
    "A1": (
        lambda p, r: p.response(r, line(1, "A1", "PA-1", extension=[PERIOD])),
        ("approved the request", "PA-1", "2026-12-01 (no end is stated)"),
        ("further notice", "Ask the payer now", "Decided by"),
    ),
    "A1, the number in preAuthRef alone": (
        lambda p, r: p.response(r, line(1, "A1"), preAuthRef="REF-9", preAuthPeriod={"end": "2027-01-31"}),
        ("approved the request", "Authorization REF-9", "to 2027-01-31"),
        (),
    ),
    "A1 without number": (lambda p, r: p.response(r, line(1, "A1")), ("approved the request",), ("Authorization",)),
    "A2 with its detail on the line": (
        lambda p, r: p.response(r, line(1, "A2", "PA-2", extension=[DETAIL])),
        ("approved something other than was asked for", "morphine 10 mg: 3 vials"),
        (),
    ),
    "A6 with an added line": (
        lambda p, r: p.response(r, line(1, "A6"), addItem=[BOTH | line(1, "A6", "PA-6") | {"itemSequence": [1]}]),
        ("approved something other", "PA-6", "J2274: 7 units"),
        (),
    ),
    "a line that the payer added, for none of ours": (
        lambda p, r: p.response(r, line(1, "A1"), addItem=[ADDED]),
        ("J2274 (added by the payer): Approved", "PA-N"),
        (),
    ),
    "A3 with a note that no line points to": (
        lambda p, r: p.response(r, line(1, "A3"), processNote=[{"text": "Six weeks are needed."}]),
        ("did not approve it", "Six weeks are needed.", "talk to a reviewer or appeal"),
        ("A reviewer at", "payer's letter"),
    ),
    "A4": (
        lambda p, r: p.response(r, line(1, "A4", reference="PEND-1"), outcome="queued"),
        ("is still looking at it", "PEND-1", "press “Ask the payer now”", "Cancel the request"),
        ("by itself, and", "approved"),
    ),
    "CT": (
        lambda p, r: p.response(r, line(1, "CT")),
        ("asks to be contacted", "wants to be contacted before it decides. Call it", "Ask the payer now"),
        ("approved the request",),
    ),
    "C": (lambda p, r: p.response(r, line(1, "C")), ("The request was taken back",), ("Cancel the request",)),
    "a word that nobody here knows": (
        lambda p, r: p.response(r, line(1, "ZZ")),
        ("code ZZ", "with a word that this app does not know", "That is no approval"),
        ("approved the request",),
    ),
    "a review action for the request as a whole": (
        lambda p, r: p.response(r, **whole("A1")),
        ("The request as a whole: Approved",),
        (),
    ),
    "complete, and nothing in it": (
        lambda p, r: p.response(r),
        ("answered, but without a decision. That is no approval",),
        ("approved the request",),
    ),
    "partial, and nothing in it": (
        lambda p, r: p.response(r, outcome="partial"),
        ("is still looking at it",),
        ("approved",),
    ),
    "an item without a review action": (
        lambda p, r: p.response(r, {"itemSequence": 1, "adjudication": []}),
        ("No decision in this answer", "without a decision"),
        ("approved the request",),
    ),
    "error, without errors": (
        lambda p, r: p.response(r, outcome="error", disposition="Member not found."),
        ("Sent back by the payer", "names no error", "Member not found.", "make the request again"),
        (),
    ),
    "errors beside items that decide nothing": (
        lambda p, r: p.response(r, {"itemSequence": 1}, outcome="error", error=[{"code": {"text": "No such member"}}]),
        ("Sent back by the payer", "No such member"),
        ("Cancel the request",),
    ),
    "extra entries, and a remark": (
        lambda p, r: {
            **(made := p.response(r, line(1, "A1"))),
            "entry": [{"resource": r["entry"][0]["resource"]}, *made["entry"], {"resource": told("Call 555-0100.")}],
        },
        ("approved the request", "Call 555-0100."),
        (),
    ),
    "no names, no bundle, a claim of the payer's own": (
        lambda p, r: p.response(r, line(1, "A1", "PA-8"), request={"reference": "Claim/77"})["entry"][0]["resource"],
        ("approved the request", "PA-8"),
        (),
    ),
    "other kinds than FHIR's": (spoilt, ("morphine 20 mg/mL: Approved", "PA-3", "note"), ("Approved Service",)),
    "a reason in words": (
        lambda p, r: p.response(
            r,
            {
                "itemSequence": 1,
                "adjudication": [
                    {
                        "extension": [
                            {
                                "url": f"{PAS}extension-reviewAction",
                                "extension": [
                                    {"url": "reasonCode", "valueCodeableConcept": {"text": "Trial too short"}},
                                    {
                                        "url": f"{PAS}extension-reviewActionCode",
                                        "valueCodeableConcept": {"coding": [{"system": REVIEW_ACTIONS, "code": "A3"}]},
                                    },
                                ],
                            }
                        ]
                    }
                ],
            },
        ),
        ("Trial too short",),
        (),
    ),
}


@pytest.mark.parametrize("payer", ["2.0.1", "2.2.1"], indirect=True)
def test_P040_P050_the_page_says_what_the_payer_said_and_no_more(visit: PasVisit, payer: ForeignPas) -> None:
    for name, (made, says, never) in ANSWERS.items():
        payer.answer = lambda request, made=made: made(payer, request)
        words = visit.submit()
        assert visit.status == 200, name
        assert [each for each in says if each not in words] == [], f"{name}: {words}"
        assert [each for each in never if each in words] == [], f"{name}: {words}"
        assert "What you can do" in words, name


def test_P047_lines_are_told_apart_and_one_that_is_left_out_is_not_called_approved(
    visit: PasVisit, payer: ForeignPas, ehr: SmartEhr
) -> None:
    pump = {
        "resourceType": "DeviceRequest",
        "id": "pump",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/pat-1"},
        "authoredOn": "2026-11-20T09:00:00Z",
        "codeCodeableConcept": {"text": "Pump"},
    }
    ehr.resources["DeviceRequest/pump"] = pump
    visit.launch("DeviceRequest/pump")
    cases: list[tuple[list[dict[str, Any]], dict[str, Any], tuple[str, ...]]] = [
        ([line(1, "A1", "PA-1"), line(2, "A3")], {}, ("decided on each line by itself", "not approved you may talk")),
        ([line(2, "A1", "PA-2")], {}, ("Decided line by line", "No decision in this answer")),
        ([line(1, "A1", "PA-3")], {"outcome": "partial"}, ("is still looking at it", "PA-3", "Being reviewed")),
        ([line(1, "C"), line(2, "A1")], {}, ("decided on each line by itself", "Cancelled", "Approved")),
    ]
    for items, members, says in cases:
        payer.answer = lambda request, items=items, members=members: payer.response(request, *items, **members)
        words = visit.submit()
        assert len(payer.bodies()[-1]["entry"][0]["resource"]["item"]) == 2
        assert [each for each in says if each not in words] == [], words
        assert "Foreign Mutual approved the request" not in words
        assert "Foreign Mutual did not approve it" not in words


# what the payer does, what the page says, whether the same may be sent again from there
TROUBLES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "400": (http(400, told("Claim.item: code missing")), ("did not take the request", "Claim.item: code missing")),
    "422 without a reason": (http(422), ("did not take the request", "It gave no reason", "make the request again")),
    "409": (http(409, told("This identifier was used")), ("did not take the request", "This identifier was used")),
    "403": (http(403, told("No contract")), ("did not let the app in", "No contract", "tell the app's operator")),
    "429": (http(429, told("Too many"), retry_after="20"), ("The payer asks to wait", "Too many", "few minutes")),
    "503 with a time": (http(503, told("Maintenance"), retry_after="60"), ("The payer asks to wait", "Maintenance")),
    "500": (http(500, told("Oops")), ("did not answer", "Oops", "had a fault of its own", "The request is kept")),
    "408": (http(408), ("did not answer", "The request is kept")),
    "HTML": (http(200, "<html>Sign in</html>"), ("could not be read", "tell the app's operator")),
    "HTML of a proxy": (http(502, "<html>Bad gateway</html>"), ("did not answer",)),
    "an outcome with 200": (told("Wrong member number"), ("could not be read", "Wrong member number")),
    "no body": (http(202), ("could not be read",)),
    "half a body": (http(200, '{"resourceType": "Bundle", "entry": [{"reso'), ("could not be read",)),
    "lost after it was taken": (LOST, ("did not answer", "The request is kept")),
}


def test_P090_P093_every_trouble_has_its_words_and_the_same_bytes_go_again(visit: PasVisit, payer: ForeignPas) -> None:
    for name, (answer, says) in TROUBLES.items():
        payer.answer = lambda _request, answer=answer: answer
        words = visit.submit()
        assert [each for each in says if each not in words] == [], f"{name}: {words}"
        assert "approved" not in words, name
        assert "Cancel the request" not in words, name  # nobody knows that there is one
        assert "Send again" in words, name
        payer.answer = lambda request: payer.response(request, line(1, "A1", "PA-1"))
        assert "approved the request" in visit.do("again"), name
        assert "No answer yet" not in visit.words, name
        visit.do("again")  # from another page: it has its answer
    assert len(payer.repeats) == len(TROUBLES)
    assert [len(set(bodies)) for bodies in payer.repeats.values()] == [1] * len(TROUBLES)
    calls = {name: len(bodies) for name, bodies in zip(TROUBLES, payer.repeats.values(), strict=True)}
    assert calls["500"] == 2
    assert calls["lost after it was taken"] == 3  # once more by itself, once by the person
    assert calls["503 with a time"] == 2  # not at once: the payer asked to wait


def test_P093_what_was_never_taken_may_be_asked_for_again_and_is_not_called_answered(
    visit: PasVisit, payer: ForeignPas
) -> None:
    payer.answer = lambda _request: http(400, told("No such code"))
    visit.submit()
    visit.get(visit.start)
    assert "Not taken by the payer" in visit.words
    assert "A second one would be a second case" not in visit.words
    payer.answer = lambda _request: LOST
    visit.submit()
    visit.get(visit.start)
    assert "a request was sent already: No answer yet" in visit.words


def test_P090_a_slow_payer_is_given_up_and_the_app_may_be_started_anew_before_it_goes_again(
    visit: PasVisit, payer: ForeignPas
) -> None:
    late = threading.Event()

    def slow(request: dict[str, Any]) -> dict[str, Any]:
        late.wait(10)
        return payer.response(request, line(1, "A4"))

    payer.answer = slow
    words = visit.submit()
    late.set()
    assert "did not answer" in words
    other = visit.app.another_process()
    visit.browser.client.application = other
    payer.answer = lambda request: payer.response(request, line(1, "A1", "PA-1"))
    assert "PA-1" in visit.do("again")
    other.extensions["smart_app"].store.close()
    (bodies,) = payer.repeats.values()
    assert len(bodies) == 2
    assert len(set(bodies)) == 1


def test_P100_a_token_that_ends_in_the_middle_is_replaced_and_the_bytes_stay(
    visit: PasVisit, payer: ForeignPas
) -> None:
    def once(request: dict[str, Any]) -> Any:
        if len(payer.sent) == 1:
            payer.tokens.clear()
            return http(401, told("expired"))
        return payer.response(request, line(1, "A1", "PA-1"))

    payer.answer = once
    assert "PA-1" in visit.submit()
    (bodies,) = payer.repeats.values()
    assert len(set(bodies)) == 1


def test_SM42_a_permission_of_the_ehr_that_ends_while_the_payer_answers_loses_nothing(
    visit: PasVisit, payer: ForeignPas, ehr: SmartEhr
) -> None:
    ehr.granted = lambda scope: f"{scope} patient/ClaimResponse.cu"
    visit.token = ""
    visit.launch()

    def and_end(request: dict[str, Any]) -> dict[str, Any]:
        ehr.refused_tokens |= set(ehr.access)
        return payer.response(request, line(1, "A1", "PA-1"))

    payer.answer = and_end
    fields = visit.begin()
    assert "PA-1" in visit.submit(fields)  # nothing of the EHR is needed to tell it
    ehr.refused_tokens.clear()
    visit.token = ""
    visit.launch()
    visit.get(visit.start)
    assert "morphine 20 mg/mL Approved" in visit.words
    assert len(payer.bodies()) == 1


def test_two_presses_and_two_browsers_at_once_make_one_request(visit: PasVisit, payer: ForeignPas) -> None:
    other = PasVisit(visit.app, visit.ehr, payer)
    other.launch()
    fields, theirs = visit.begin(), other.begin()
    both = threading.Barrier(2)
    payer.answer = lambda request: payer.response(request, line(1, "A1", "PA-1"))

    def send(who: PasVisit, what: Mapping[str, Any]) -> None:
        both.wait(10)
        who.submit(dict(what))

    pressing = [threading.Thread(target=send, args=each) for each in ((visit, fields), (other, theirs))]
    for each in pressing:
        each.start()
    for each in pressing:
        each.join()
    again = visit.submit(fields)
    assert len(payer.bodies()) == 1
    assert "a request was sent already" in again
    assert "Nothing was sent twice" in again
    assert {visit.request, other.request} == {visit.request, visit.request.replace(visit.launch_id, other.launch_id)}


def test_an_order_that_changed_since_the_page_was_opened_is_not_sent_unseen(
    visit: PasVisit, payer: ForeignPas, ehr: SmartEhr
) -> None:
    payer.answer = lambda request: payer.response(request, line(1, "A1"))
    fields = visit.begin()
    ehr.resources[ORDER] = {**ehr.resources[ORDER], "dosageInstruction": [{"text": "ten times as much"}]}
    assert "An order was changed in the EHR since this page was opened" in visit.submit(fields)
    assert visit.status == 422
    fields = visit.begin()
    ehr.resources[ORDER] = {**ehr.resources[ORDER], "status": "cancelled"}
    assert "is not signed any more" in visit.submit(fields)
    assert payer.bodies() == []


def test_an_answer_about_another_person_is_no_answer(visit: PasVisit, payer: ForeignPas) -> None:
    def another(request: dict[str, Any]) -> dict[str, Any]:
        made = payer.response(request, line(1, "A1", "PA-X"), patient={"reference": "Patient/9"})
        patient = {"resourceType": "Patient", "id": "9", "birthDate": "1990-01-01"}
        made["entry"].append({"fullUrl": f"{payer.base}/Patient/9", "resource": patient})
        return made

    payer.answer = another
    words = visit.submit()
    assert "could not be read" in words
    assert "PA-X" not in words


def test_a_decision_is_saved_in_the_ehr_once_and_a_newer_one_beside_it(
    visit: PasVisit, payer: ForeignPas, ehr: SmartEhr
) -> None:
    """Though the payer names none, or gives every decision of a case the same identifier."""
    ehr.granted = lambda scope: f"{scope} patient/ClaimResponse.cu"
    visit.token = ""
    visit.launch()
    payer.answer = lambda request: payer.response(request, line(1, "A3"))
    visit.submit()
    visit.look()
    payer.inquiry = lambda request: payer.found(payer.response(request, line(1, "A1"), created="2026-11-22"))
    visit.do("check")
    visit.do("check")
    saved = [each for each in ehr.seen if (each.method, each.path) == ("POST", "/fhir/ClaimResponse")]
    assert len(saved) == 2
    assert len({each.headers["If-None-Exist"] for each in saved}) == 2
    assert all(each.headers["If-None-Exist"].startswith("identifier=urn:ietf:rfc:3986|urn:uuid:") for each in saved)
    assert json.loads(saved[0].body)["patient"] == {"reference": "Patient/pat-1"}


def test_P052_what_the_payer_wants_is_told_with_the_way_to_give_it(visit: PasVisit, payer: ForeignPas) -> None:
    task = {
        "resourceType": "Task",
        "status": "requested",
        "input": [
            {"type": {"coding": [{"code": "payer-url"}]}, "valueUrl": "https://payer.example.net"},
            {"type": {"coding": [{"code": "questionnaire-context"}]}, "valueString": "ctx-7"},
            {
                "type": {"coding": [{"code": "attachments-needed"}]},
                "valueCodeableConcept": {"coding": [{"system": "http://loinc.org", "code": "28570-0"}]},
            },
        ],
    }
    modifier = {
        "url": f"{PAS}extension-contentModifier",
        "valueCodeableConcept": {"coding": [{"system": "http://loinc.org", "code": "18804-5"}]},
    }
    document = [{"contentString": "18776-5", "extension": [modifier]}]
    cases: list[tuple[list[dict[str, Any]], tuple[str, ...], tuple[str, ...]]] = [
        ([wanting("ctx-1", "When did the trial begin?")], ("When did the trial begin?", "Answer these questions"), ()),
        ([wanting("", payload=[])], ("It does not say in which form", "Send the answers"), ()),
        (
            [wanting("ctx-1", payload=document)],
            ("LOINC 18776-5", "This app sends forms alone"),
            ("18804-5", "Send the a"),
        ),
        ([wanting("ctx-1", status="completed")], (), ("The payer asks for more",)),
        ([{"resource": task}], ("LOINC 28570-0", "Answer these questions"), ()),
    ]
    for entries, says, never in cases:
        payer.answer = lambda request, entries=entries: {
            **(made := payer.response(request, line(1, "A4"))),
            "entry": [*made["entry"], *entries],
        }
        words = visit.submit()
        assert [each for each in says if each not in words] == [], words
        assert [each for each in never if each in words] == [], words
    assert 'name="context" value="ctx-7"' in visit.page
    assert FORM["id"] in str(payer.bodies()[-1])

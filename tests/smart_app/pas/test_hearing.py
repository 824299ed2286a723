"""How the app hears of a decision that was not in the answer: subscriptions, notifications, an inquiry by hand."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.support.foreign_pas import TOPIC, ForeignPas, http, line, notification, told, wanting
from tests.support.pas_visit import PasVisit
from tests.support.smart_ehr import SmartEhr

BY_ITSELF = "the decision appears on this page by itself"
BY_HAND = "press “Ask the payer now”"


def subscribed(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "id": "sub-1", "status": "active"}


@pytest.fixture
def pended(visit: PasVisit, payer: ForeignPas) -> PasVisit:
    """A request that waits, at a payer that will tell of its decision."""
    payer.subscribing = subscribed
    payer.reading = lambda _ident: {"resourceType": "Subscription", "status": "active"}
    case = [{"value": "case-1"}]
    payer.answer = lambda request: payer.response(request, line(1, "A4", reference="PEND-1"), identifier=case)
    assert BY_ITSELF in visit.submit()
    return visit


def decided(visit: PasVisit, code: str, number: str = "", *, day: str = "2026-11-21", **members: Any) -> dict[str, Any]:
    """The payer's decision on what was submitted last."""
    return visit.payer.response(visit.payer.bodies()[-1], line(1, code, number), created=day, **members)


@pytest.mark.parametrize("payer", ["2.0.1", "2.2.1"], indirect=True)
def test_P075_the_app_subscribes_for_what_waits_and_never_polls(visit: PasVisit, payer: ForeignPas) -> None:
    payer.subscribing = subscribed
    payer.reading = lambda _ident: {"resourceType": "Subscription", "status": "active"}
    payer.answer = lambda request: payer.response(request, line(1, "A4"))
    visit.submit()
    first, second = [path for path, _ in payer.sent]
    assert (first, second) == ("Subscription", "Claim/$submit")  # before: nothing can be decided unheard
    (wanted,) = payer.subscriptions
    assert (wanted["criteria"], wanted["channel"]["type"]) == (TOPIC, "rest-hook")
    assert wanted["_criteria"]["extension"][0]["valueString"] == "org-identifier=1999999984"
    assert wanted["channel"]["endpoint"] == "https://app.example.net/notifications/foreign"
    assert wanted["channel"]["_payload"]["extension"][0]["valueCode"] == "full-resource"
    before = visit.state()
    for _ in range(20):  # the page that waits asks the app alone
        assert visit.state() == before
    assert BY_ITSELF in visit.look()
    assert len(payer.sent) == 2
    assert visit.hear(notification((1, decided(visit, "A1", "PA-1")))) == 200
    assert visit.state() != before
    words = visit.look()
    assert "approved the request" in words
    assert "PA-1" in words
    assert [path for path, _ in payer.sent if "inquire" in path or "events" in path] == []
    visit.submit()
    assert len(payer.subscriptions) == 1  # one for the clinic, whatever it sends


def test_P075_a_decision_that_comes_before_the_answer_is_kept_with_it(visit: PasVisit, payer: ForeignPas) -> None:
    """Some payers tell their subscribers before they answer."""
    payer.subscribing = subscribed

    def both(request: dict[str, Any]) -> dict[str, Any]:
        final = payer.response(request, line(1, "A1", "PA-1"), created="2026-11-21")
        status: list[int] = []
        sending = threading.Thread(target=lambda: status.append(visit.hear(notification((1, final)))))
        sending.start()
        sending.join()
        assert status == [200]
        return payer.response(request, line(1, "A4"))

    payer.answer = both
    words = visit.submit()
    assert "approved the request" in words
    assert "No answer yet" not in words
    assert "Request sent" in words
    assert ", answered" in words


def test_P075_a_decision_settles_a_request_whose_answer_was_lost(visit: PasVisit, payer: ForeignPas) -> None:
    payer.subscribing = subscribed
    payer.answer = lambda _request: http(500)
    assert "No answer yet" in visit.submit()
    visit.hear(notification((1, decided(visit, "A1", "PA-1"))))
    words = visit.look()
    assert "approved the request" in words
    assert "No answer yet" not in words
    assert "Send again" not in words


REFUSALS = {
    "none": None,
    "refused": lambda _request: http(403, told("no")),
    "in error": lambda request: {**request, "id": "sub-1", "status": "error"},
    "nonsense": lambda _request: http(200, "<html>"),
    "without an id": lambda _request: http(201),
}


def test_P075_where_no_subscription_comes_about_a_person_is_told_to_ask(visit: PasVisit, payer: ForeignPas) -> None:
    payer.answer = lambda request: payer.response(request, line(1, "A4"))
    for name, answer in REFUSALS.items():
        payer.subscribing = answer
        words = visit.submit()
        assert BY_HAND in words, name
        assert BY_ITSELF not in words, name
    payer.subscribing = lambda _request: http(201, location=f"{payer.base}/Subscription/sub-9/_history/1")
    assert BY_ITSELF in visit.submit()  # tried again each time; an answer without a body is one


@pytest.mark.parametrize("ended", [http(404), {"resourceType": "Subscription", "status": "error"}])
def test_P064_a_subscription_that_has_ended_is_made_anew_when_a_person_asks(
    pended: PasVisit, payer: ForeignPas, ended: Any
) -> None:
    old = payer.secret.partition(": ")[2]
    payer.reading = lambda _ident: ended
    payer.inquiry = lambda request: payer.found(decided(pended, "A4", day="2026-11-20T10:00:00+00:00"))
    pended.do("check")
    assert len(payer.subscriptions) == 2
    assert pended.hear(notification((1, decided(pended, "A1"))), old) == 401
    assert pended.hear(notification((1, decided(pended, "A1")))) == 200
    payer.subscribing = None
    payer.answer = lambda request: payer.response(request, line(1, "A4"))
    assert BY_HAND in pended.submit()


def test_P064_a_payer_that_says_that_it_stops_is_believed(pended: PasVisit) -> None:
    assert pended.hear(notification(kind="query-status", status="error")) == 200
    assert BY_HAND in pended.look()


def test_P065_repeats_and_what_comes_late_change_nothing(pended: PasVisit) -> None:
    approved = decided(pended, "A1", "PA-1", day="2026-11-22")
    pended.hear(notification((1, decided(pended, "A4")), (2, approved)))
    seen = pended.look()
    assert "PA-1" in seen
    state = pended.state()
    for late in (
        (2, approved),
        (2, {**approved, "timestamp": "2026-12-24T00:00:00Z"}),  # put together anew, and says the same
        (1, decided(pended, "A4", day="2026-11-23")),  # by its number
        (3, decided(pended, "A3", day="2026-11-21")),  # by its day
    ):
        assert pended.hear(notification(late)) == 200
    assert pended.look() == seen
    assert pended.state()["state"] == state["state"]


def test_P064_several_events_of_one_notification_are_all_taken(pended: PasVisit, payer: ForeignPas) -> None:
    """Also where the responses stand in it without Bundles of their own, the later first."""
    first, first_sent = pended.request, payer.bodies()[-1]
    pended.submit()
    two = [
        (2, decided(pended, "A3")["entry"][0]["resource"]),
        (1, payer.response(first_sent, line(1, "A1", "PA-1"), created="2026-11-21")["entry"][0]["resource"]),
    ]
    assert pended.hear(notification(*two)) == 200
    assert "did not approve it" in pended.look()
    pended.request = first
    assert "PA-1" in pended.look()


def test_P065_a_gap_is_filled_by_events_and_else_said(pended: PasVisit, payer: ForeignPas) -> None:
    asked: list[dict[str, str]] = []
    missed = decided(pended, "A1", "PA-1")

    def events(query: Any) -> Any:
        asked.append(dict(query))
        return notification((1, missed), (2, payer.response(stranger(missed), line(1, "A3"))), kind="query-event")

    payer.events = events
    other = payer.response(stranger(missed), line(1, "A3"))
    assert pended.hear(notification((2, other))) == 200
    assert asked == [{"eventsSinceNumber": "1", "content": "full-resource"}]
    assert "PA-1" in pended.look()
    assert pended.hear(notification((3, other))) == 200
    assert len(asked) == 1  # nothing is missing any more
    payer.events = None
    pended.submit()
    assert pended.hear(notification((5, other))) == 200
    assert "has sent word that something changed" in pended.look()
    calls = len(payer.sent)
    assert pended.hear(notification((6, other))) == 200
    assert len(payer.sent) == calls  # a payer that cannot say it again is not asked each time


def stranger(bundle: dict[str, Any]) -> dict[str, Any]:
    """A request of somebody else's."""
    patient = bundle["entry"][0]["resource"]["patient"]
    claim = {"identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:of-another-clinic"}], "patient": patient}
    return {"identifier": {"value": "x"}, "entry": [{"resource": claim}]}


WORDLESS = {
    "empty": lambda number: notification((number, None)),
    "id-only, without a number": lambda number: notification(newest=number),
    "without any number": lambda _number: notification(),
    "a heartbeat after a loss": lambda number: notification(kind="heartbeat", newest=number),
}


@pytest.mark.parametrize("name", WORDLESS)
def test_P064_what_comes_without_words_is_fetched_or_a_person_is_told_to_ask(
    pended: PasVisit, payer: ForeignPas, name: str
) -> None:
    before = pended.state()
    assert pended.hear(WORDLESS[name](1)) == 200
    assert pended.state() != before
    assert "has sent word that something changed, but not what. Press “Ask the payer now”" in pended.look()
    payer.inquiry = lambda request: payer.found(decided(pended, "A1", "PA-1"))
    assert "PA-1" in pended.do("check")
    assert "has sent word" not in pended.words
    payer.events = lambda _query: notification((2, decided(pended, "A3", day="2026-11-22")), kind="query-event")
    pended.hear(WORDLESS[name](2))
    assert "did not approve it" in pended.look()


def test_P064_handshakes_and_heartbeats_are_answered_and_change_nothing(pended: PasVisit, payer: ForeignPas) -> None:
    before, calls = pended.state(), len(payer.sent)
    assert pended.hear(notification(kind="handshake")) == 200
    assert pended.hear(notification(kind="heartbeat")) == 200
    assert pended.state() == before
    assert len(payer.sent) == calls


def test_P064_forged_and_foreign_notifications_change_nothing(pended: PasVisit, payer: ForeignPas) -> None:
    before = pended.state()
    approved = notification((1, decided(pended, "A1", "PA-1")))
    for secret in ("", "Bearer ", "Bearer guessed", payer.secret.partition(": ")[2].replace("Bearer", "Basic")):
        assert pended.hear(approved, secret) == 401
    assert pended.hear(approved, payer="other") == 401
    born = decided(pended, "A1", "PA-1", patient={"reference": "Patient/9"})
    patient = {"resourceType": "Patient", "id": "9", "birthDate": "1990-01-01"}
    born["entry"].append({"fullUrl": "https://payer.example.net/Patient/9", "resource": patient})
    mixed_up = payer.response(stranger(born), line(1, "A1", "PA-2"), identifier=[{"value": "case-1"}])
    for each in (born, mixed_up, payer.response(stranger(born), line(1, "A1"), request="x")):
        assert pended.hear(notification((1, each))) == 200
    assert pended.state()["state"] == before["state"] == "pended"
    for body, status in ((b"{", 400), (b'{"resourceType": "Patient"}', 400), (b"[]", 400), (b'{"a":' * 99, 400)):
        assert pended.hear(body) == status
    assert pended.state()["state"] == "pended"


def test_P064_a_large_notification_is_taken_and_one_beyond_reason_refused(pended: PasVisit) -> None:
    approved = notification((1, decided(pended, "A1", "PA-1")))
    document = {"resourceType": "DocumentReference", "description": "x" * 3_000_000}
    approved["entry"][1]["resource"]["entry"].append({"resource": document})
    assert pended.hear(approved) == 200
    assert "PA-1" in pended.look()
    assert pended.hear(b" " * 20_000_001) == 413


def test_P064_a_payer_that_knows_the_request_by_its_own_numbers_is_understood(
    visit: PasVisit, payer: ForeignPas
) -> None:
    """It names our Claim by an address of its own, or none at all; after a new start of the app too."""
    payer.subscribing = subscribed
    theirs = {"reference": f"{payer.base}/Claim/77"}
    payer.answer = lambda request: payer.response(
        request, line(1, "A4", reference="P-1"), request=theirs, identifier=[{"value": "case-7"}]
    )
    visit.submit()
    restarted = visit.app.another_process()
    visit.browser.client.application = visit.browser.app = restarted
    request = payer.bodies()[-1]
    named: list[dict[str, Any]] = [
        {"request": theirs},
        {"request": ..., "identifier": [{"value": "case-7"}]},
        {"request": {"reference": "Claim/78"}, "item": [line(1, "A1", "PA-3", reference="P-1")]},
    ]
    for number, names in enumerate(named, 1):
        final = {"item": [line(1, "A1", f"PA-{number}")], "created": f"2026-11-2{number}"} | names
        visit.hear(notification((number, payer.response(request, **final))))
        assert f"PA-{number}" in visit.look()
    restarted.extensions["smart_app"].store.close()


def test_P075_an_inquiry_finds_this_request_among_others_and_keeps_what_it_does_not_tell(
    visit: PasVisit, payer: ForeignPas
) -> None:
    payer.answer = lambda request: {
        **(made := payer.response(request, line(1, "A4", reference="PEND-1"))),
        "entry": [*made["entry"], wanting("ctx-1", "Two more answers")],
    }
    visit.submit()
    foreign = payer.response(stranger(decided(visit, "A1")), line(1, "A3"), created="2026-11-25")
    payer.inquiry = lambda request: payer.found(foreign, decided(visit, "A4"))
    for version in ("2.0.1", "2.2.1"):
        payer.version = version
        words = visit.do("check")
        assert "is still looking at it" in words
        assert "Two more answers" in words  # an inquiry's answer has no CommunicationRequest
    asked = payer.bodies("Claim/$inquire")[-1]["entry"][0]["resource"]
    assert asked["item"][0]["extension"][0]["valueString"] == "PEND-1"
    payer.inquiry = lambda request: payer.found(foreign, decided(visit, "A1", "PA-1", day="2026-11-22"))
    assert "this is its newest answer" in visit.do("check")
    assert "PA-1" in visit.words


CHECKS = {
    "nothing found": ({"resourceType": "Parameters"}, "names no request like this one. That is no decision"),
    "suppressed": (
        {"resourceType": "Bundle", "entry": [{"resource": told("Call 555-0100 about this one")}]},
        "Call 555-0100 about this one",
    ),
    "the same": (..., "nothing has changed"),
    "400": (http(400, told("Member number missing")), "did not take the question"),
    "403": (http(403), "did not let the app in"),
    "429": (http(429), "asks to wait"),
    "500": (http(500), "could not be reached"),
    "HTML": (http(200, "<html>"), "could not be read"),
    "an outcome with 200": (told("Come back at noon"), "Come back at noon"),
}


def test_P075_whatever_an_inquiry_brings_is_told_and_the_decision_stays(visit: PasVisit, payer: ForeignPas) -> None:
    payer.answer = lambda request: payer.response(request, line(1, "A4", reference="PEND-1"))
    visit.submit()
    for name, (answer, says) in CHECKS.items():
        same = payer.response(payer.bodies()[-1], line(1, "A4", reference="PEND-1"))
        payer.inquiry = lambda _request, answer=answer, same=same: payer.found(same) if answer is ... else answer
        words = visit.do("check")
        assert says in words, f"{name}: {words}"
        assert "PEND-1" in words, name
        assert "is still looking at it" in words, name
    assert "Member number missing" not in visit.look()
    other = decided(visit, "A1", "PA-X", patient={"reference": "Patient/9"})
    other["entry"].append({"resource": {"resourceType": "Patient", "id": "9", "birthDate": "1990-01-01"}})
    payer.inquiry = lambda _request: payer.found(other)
    assert "names no request like this one" in visit.do("check")


def test_SM42_news_are_read_in_a_later_launch_by_another_person(
    pended: PasVisit, payer: ForeignPas, ehr: SmartEhr
) -> None:
    pended.hear(notification((1, decided(pended, "A1", "PA-1"))))
    other = PasVisit(pended.app, ehr, payer)
    other.launch()
    other.get(other.start)
    assert "Approved (new)" in other.words
    other.request = pended.request.replace(pended.launch_id, other.launch_id)
    assert "PA-1" in other.look()
    other.get(other.start)
    assert "(new)" not in other.words
    ehr.context |= {"patient": "pat-2"}
    ehr.resources["Patient/pat-2"] = {**ehr.resources["Patient/pat-1"], "id": "pat-2"}
    stranger_visit = PasVisit(pended.app, ehr, payer)
    stranger_visit.launch()
    stranger_visit.request = pended.request.replace(pended.launch_id, stranger_visit.launch_id)
    assert "There is no such page" in stranger_visit.look()
    assert json.loads(payer.sent[-1][1])["resourceType"] == "Bundle"

"""The review desk with the real use cases behind it: who may do what, deciding, two signers, races, the audit log."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa

from cds_service.adapters.sql import audit
from cds_service.adapters.sql.prior_auth_tables import AUDIT_EVENT
from cds_service.domain.payer import ReviewRules
from cds_service.domain.prior_auth import Authorized, Case, CaseState, LineDecision, ReviewAction
from cds_service.domain.review import Right, Role, acting_role, rights_of
from tests.support import pas_bundles
from tests.support.review_desk import Browser, Desk, decide, put_case

NURSE, PHARMACIST, PHYSICIAN, SECOND = "demo-nurse", "demo-pharmacist", "demo-physician", "demo-physician-2"
AUDITOR, OWNER = "demo-auditor", "demo-policy-owner"
EVERYBODY = (NURSE, PHARMACIST, PHYSICIAN, AUDITOR, OWNER)
REASON = "No trial is documented; a note of the trial with scores would change the answer."
_numbers = count(1000)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("review"))
    yield made
    made.close()


@pytest.fixture
def case(desk: Desk) -> Case:
    return put_case(desk, next(_numbers))


@pytest.fixture(scope="module")
def browsers(desk: Desk) -> dict[str, Browser]:
    app = desk.app()
    return {person: Browser(app, person) for person in EVERYBODY}


def approve(case: Case) -> dict[str, Any]:
    return {"version": case.version, "action-1": "A1", "start-1": "2026-03-02", "end-1": "2026-04-01"}


def refuse(case: Case, **fields: Any) -> dict[str, Any]:
    return {"version": case.version, "action-1": "A3", "reason-1": REASON, "criterion-1": "I.1", **fields}


def modify(case: Case, **fields: Any) -> dict[str, Any]:
    less = {"action-1": "A6", "daily-morphine-1": "4", "provision-1": "prescriber agreement"}
    return {**approve(case), **less, "reason-1": "The prescriber agreed to a lower dose by telephone.", **fields}


def ask(case: Case, *facts: str) -> dict[str, Any]:
    return {"version": case.version, "what": "ask", "facts": list(facts or ["life_expectancy_ge_3_months"])}


def actions(desk: Desk, case: Case) -> list[str]:
    now = desk.cases.case(case.id)
    assert now is not None
    return [line.action.value for line in now.summary.lines]


def seen(browser: Browser, case: Case) -> str:
    return browser.get(f"/review/cases/{case.id}").get_data(as_text=True)


# The table of roles and acts: 200 a page, 303 done, 403 refused.
ROLES: dict[str, tuple[int, int, int, int, int]] = {
    #                        nurse pharmacist physician auditor owner
    "GET /review": (200, 200, 200, 200, 303),  # who sees no patient is sent to the figures
    "GET /review/cases/{id}": (200, 200, 200, 200, 403),
    "GET /review/cases/{id}/response": (200, 200, 200, 200, 403),
    "GET /review/figures": (200, 200, 200, 200, 200),
    "GET /review/figures.csv": (200, 200, 200, 200, 200),
    "GET /review/audit": (403, 403, 403, 200, 403),
    "POST /review/audit/verify": (403, 403, 403, 200, 403),
    "POST /review/cases/{id}/take": (303, 303, 303, 403, 403),
    "POST /review/cases/{id}/release": (303, 303, 303, 403, 403),
    "draft approve": (200, 200, 200, 403, 403),
    "draft refuse": (200, 200, 200, 403, 403),
    "send approve": (303, 303, 303, 403, 403),
    "send ask": (303, 303, 303, 403, 403),
    "send refuse": (403, 403, 303, 403, 403),
    "send modify": (403, 403, 303, 403, 403),
    "propose refuse": (303, 303, 403, 403, 403),  # a physician signs, and proposes only where two must sign
}
FORMS = {"approve": approve, "refuse": refuse, "modify": modify, "ask": ask}


@pytest.mark.parametrize("act", ROLES)
@pytest.mark.parametrize("person", EVERYBODY)
def test_who_may_do_what(desk: Desk, browsers: dict[str, Browser], case: Case, person: str, act: str) -> None:
    expected = ROLES[act][EVERYBODY.index(person)]
    browser = browsers[person]
    browser.get("/review/figures")
    before = case.version
    verb, _, what = act.partition(" ")
    if verb == "GET":
        status = browser.get(what.format(id=case.id)).status_code
    elif verb == "POST":
        status = browser.post(what.format(id=case.id)).status_code
    elif verb == "draft":
        status = browser.post(f"/review/cases/{case.id}/draft", FORMS[what](case)).status_code
    else:
        form = FORMS[what](case) | {"act": verb}
        status = browser.post(f"/review/cases/{case.id}/decide", form).status_code
    assert status == expected
    changed = desk.cases.case(case.id).version > before  # type: ignore[union-attr]
    assert changed is (verb == "send" and expected == 303), "what is refused changes nothing"


def test_no_route_of_the_desk_is_open_to_whom_it_is_not_for(
    desk: Desk, browsers: dict[str, Browser], case: Case
) -> None:
    """Every route that there is: none without a session; those of a case read by no policy owner, acted on by few."""
    rules = [
        (method, rule.rule)
        for rule in desk.app().url_map.iter_rules()
        for method in sorted((rule.methods or set()) & {"GET", "POST"})
        if rule.rule.startswith("/review") and "/sign-" not in rule.rule and "static" not in rule.rule
    ]
    assert len(rules) > 15
    nobody = Browser(desk.app())
    for method, rule in rules:
        path = rule.replace("<case_id>", case.id)
        path = re.sub(r"<[^>]+>", "1", path)
        answer = nobody.get(path) if method == "GET" else nobody.post(path, token="x")
        assert answer.status_code == (303 if method == "GET" else 403), (method, rule)
        assert ("/review/sign-in" in answer.headers.get("Location", "")) is (method == "GET"), rule
        for person in (AUDITOR, OWNER) if "<case_id>" in rule else ():
            browser = browsers[person]
            browser.get("/review/figures")
            answer = browser.get(path) if method == "GET" else browser.post(path)
            if person == OWNER or method == "POST":
                assert answer.status_code == 403, (person, method, rule)
    assert desk.cases.case(case.id).version == case.version  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("role", "signers", "signs"),
    [
        (Role.PHYSICIAN, ("physician",), True),
        (Role.PHARMACIST, ("physician",), False),
        (Role.PHARMACIST, ("physician", "pharmacist"), True),
        (Role.PHYSICIAN, ("pharmacist",), False),
        (Role.NURSE, ("physician", "pharmacist", "nurse"), False),  # whatever is configured
        (Role.AUDITOR, ("physician", "auditor"), False),
        (Role.POLICY_OWNER, ("policy_owner",), False),
    ],
)
def test_only_whom_the_payer_names_signs_an_adverse_decision(role: Role, signers: tuple[str, ...], signs: bool) -> None:
    assert (Right.SIGN_ADVERSE in rights_of(role, ReviewRules(adverse_signers=signers))) is signs


def test_of_several_roles_the_reviewers_one_is_acted_in() -> None:
    assert acting_role(frozenset({Role.AUDITOR, Role.NURSE})) is Role.NURSE
    assert acting_role(frozenset()) is None


def test_what_is_shown_before_is_what_is_sent(desk: Desk, browsers: dict[str, Browser], case: Case) -> None:
    browser = browsers[PHYSICIAN]
    seen(browser, case)
    page = browser.post(f"/review/cases/{case.id}/draft", modify(case)).get_data(as_text=True)
    assert "approved with a change" in page
    assert "Sign and send this answer" in page
    assert actions(desk, case) == ["A4"], "a draft writes nothing"
    browser.post(f"/review/cases/{case.id}/decide", modify(case) | {"act": "send"})
    version = desk.cases.version(case.id, 2)
    assert version is not None
    assert (version.actor, version.human, version.kind) == (PHYSICIAN, True, "decision")
    response = json.loads(version.response)["entry"][0]["resource"]
    codes = [
        part["valueCodeableConcept"]["coding"][0]["code"]
        for item in (*response["item"], *response["addItem"])
        for adjudication in item["adjudication"]
        for extension in adjudication["extension"]
        for part in extension["extension"]
        if part["url"].endswith("reviewActionCode")
    ]
    assert codes == ["A6", "A1"]
    line = desk.cases.case(case.id).summary.lines[0]  # type: ignore[union-attr]
    assert line.authorized == Authorized(date(2026, 3, 2), date(2026, 4, 1), {"morphine": "4"})


def test_asking_for_more_names_just_the_chosen_facts(desk: Desk, browsers: dict[str, Browser], case: Case) -> None:
    browser = browsers[NURSE]
    seen(browser, case)
    wanted = ("life_expectancy_ge_3_months", "noninvasive_trial_weeks")
    page = browser.post(f"/review/cases/{case.id}/draft", ask(case, *wanted)).get_data(as_text=True)
    assert "How many weeks did the trial of noninvasive pain control last?" in page
    assert browser.post(f"/review/cases/{case.id}/decide", ask(case, *wanted) | {"act": "send"}).status_code == 303
    now = desk.cases.case(case.id)
    assert now is not None
    assert (now.state, now.summary.wanted) == (CaseState.PENDED, wanted)
    assert now.summary.context, "the form has a context of its own"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"action-1": ""}, "Decide at least one line"),
        ({"reason-1": ""}, "say why"),
        ({"reason-1": "too short"}, "specific reason"),
        ({"criterion-1": ""}, "choose the criterion"),
        ({"criterion-1": "dose table"}, "informational"),
        ({"reason-1": "x" * 5_000}, "at most 4000 characters"),
        ({"version": ""}, "load the case again"),
        ({"version": "-1"}, "load the case again"),
        ({"version": "٣"}, "load the case again"),
        ({"action-1": "A6", "daily-morphine-1": "4", "start-1": "", "end-1": ""}, "first and the last day"),
        ({"action-1": "A6", "daily-morphine-1": "4", "start-1": "2026-05-01", "end-1": "2026-04-01"}, "in order"),
        ({"action-1": "A6", "daily-morphine-1": "4", "start-1": "tomorrow", "end-1": "2026-04-01"}, "2026-03-01"),
        ({"action-1": "A6", "daily-morphine-1": "1e9", "start-1": "2026-03-01", "end-1": "2026-04-01"}, "mg per day"),
        ({"what": "ask"}, "at least one question"),
        ({"what": "ask", "facts": "no_such_fact"}, "not a question of the guideline"),
    ],
)
def test_what_is_incomplete_is_said_at_the_form_and_kept(
    browsers: dict[str, Browser], case: Case, changes: dict[str, Any], complaint: str
) -> None:
    browser = browsers[PHYSICIAN]
    seen(browser, case)
    answer = browser.post(f"/review/cases/{case.id}/draft", refuse(case) | changes)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert complaint.lower() in page.partition('id="troubles"')[2].partition("</div>")[0].lower()
    kept = {name: value for name, value in (refuse(case) | changes).items() if name == "reason-1"}
    assert kept["reason-1"] in page


def test_less_than_the_running_dose_needs_a_taper(desk: Desk, browsers: dict[str, Browser]) -> None:
    running = pas_bundles.morphine("0.5") | {"id": "running-1", "status": "active", "authoredOn": "2026-01-10"}
    order = pas_bundles.morphine("0.6", priorPrescription={"reference": "MedicationRequest/running-1"})
    case = put_case(desk, next(_numbers), order=order, more=[running])
    assert case.summary.lines[0].current_daily == {"morphine": "5"}
    browser = browsers[PHYSICIAN]
    seen(browser, case)
    page = browser.post(f"/review/cases/{case.id}/draft", modify(case)).get_data(as_text=True)
    assert "taper" in page.partition('id="troubles"')[2].partition("</div>")[0]
    tapered = modify(case, **{"taper-1": "By 0.5 mg a week, under observation."})
    assert browser.post(f"/review/cases/{case.id}/draft", tapered).status_code == 200


def test_somebody_else_decided_first(desk: Desk, browsers: dict[str, Browser], case: Case) -> None:
    browser = browsers[PHYSICIAN]
    seen(browser, case)
    granted = Authorized(date(2026, 3, 2), date(2026, 4, 1))
    decide(desk, case, LineDecision(sequence=1, action=ReviewAction.APPROVED, authorized=granted))
    for step, act in (("draft", ""), ("decide", "send")):
        answer = browser.post(f"/review/cases/{case.id}/{step}", refuse(case) | {"act": act}, token=browser.token())
        page = answer.get_data(as_text=True)
        assert answer.status_code == 409
        assert "Nothing of yours was sent" in page
        assert "stands at version 2" in page
        browser.get("/review")
    assert actions(desk, case) == ["A1"]


def test_of_many_decisions_at_once_one_is_written(desk: Desk, case: Case) -> None:
    app = desk.app()
    racers = [Browser(app, person) for person in (NURSE, PHARMACIST, PHYSICIAN, SECOND) * 2]
    for racer in racers:
        seen(racer, case)
    gate, statuses = threading.Barrier(len(racers)), []

    def race(racer: Browser) -> None:
        gate.wait(20)
        answer = racer.post(f"/review/cases/{case.id}/decide", approve(case) | {"act": "send"})
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(statuses) == [303] + [409] * (len(racers) - 1)
    assert [each.n for each in desk.cases.versions(case.id)] == [1, 2]
    assert audit.verify(desk.database).ok


def test_a_nurse_proposes_and_a_physician_signs(desk: Desk, browsers: dict[str, Browser], case: Case) -> None:
    nurse, physician = browsers[NURSE], browsers[PHYSICIAN]
    seen(nurse, case)
    page = nurse.post(f"/review/cases/{case.id}/draft", refuse(case)).get_data(as_text=True)
    assert "signed by a physician" in page
    assert "Propose it" in page
    nurse.post(f"/review/cases/{case.id}/decide", refuse(case) | {"act": "propose"})
    assert "It waits for a physician" in seen(nurse, case)
    assert "Look at it and sign" in seen(physician, case)
    form = {**refuse(case), "proposed": "yes", "reason-1": "something else that the browser made up, at length"}
    draft = physician.post(f"/review/cases/{case.id}/draft", form).get_data(as_text=True)
    assert REASON.split(";", maxsplit=1)[0] in draft
    at = desk.reads.proposal(case.id).at.isoformat()  # type: ignore[union-attr]
    physician.post(f"/review/cases/{case.id}/decide", form | {"act": "send", "proposal_at": at})
    now = desk.cases.case(case.id)
    assert now is not None
    assert now.summary.lines[0].reasons[0].text == REASON, "the proposal is signed, not what came with the form"
    assert desk.cases.version(case.id, 2).actor == PHYSICIAN  # type: ignore[union-attr]
    assert desk.reads.proposal(case.id) is None


def test_two_signers_where_the_payer_wants_two(desk: Desk, case: Case) -> None:
    app = desk.app(second_reviewer=True)
    first, second, nurse = Browser(app, PHYSICIAN), Browser(app, SECOND), Browser(app, NURSE)
    seen(first, case)
    assert first.post(f"/review/cases/{case.id}/decide", refuse(case) | {"act": "send"}).status_code == 403
    seen(first, case)
    assert first.post(f"/review/cases/{case.id}/decide", refuse(case) | {"act": "propose"}).status_code == 303
    at = desk.reads.proposal(case.id).at.isoformat()  # type: ignore[union-attr]
    signing = refuse(case) | {"act": "send", "proposed": "yes", "proposal_at": at}
    seen(first, case)
    own = first.post(f"/review/cases/{case.id}/draft", signing).get_data(as_text=True)
    assert "another signer must look at it" in own
    for person in (first, nurse):  # not the same eyes twice, and not those that may not sign
        seen(person, case)
        assert person.post(f"/review/cases/{case.id}/decide", signing).status_code == 403
    seen(second, case)
    assert second.post(f"/review/cases/{case.id}/decide", signing | {"proposal_at": "earlier"}).status_code == 409
    seen(second, case)
    assert second.post(f"/review/cases/{case.id}/decide", signing).status_code == 303
    assert actions(desk, case) == ["A3"]
    written = [each for each in desk.reads.audit_of(f"case/{case.id}") if each.detail.get("seconded_by")]
    assert [(each.actor, each.detail["seconded_by"]) for each in written] == [(PHYSICIAN, SECOND)]


def test_a_letter_says_what_was_decided_why_and_how_to_appeal(
    desk: Desk, browsers: dict[str, Browser], case: Case
) -> None:
    browser = browsers[PHYSICIAN]
    assert browser.get(f"/review/cases/{case.id}/letter").status_code == 404, "there is none before a decision"
    seen(browser, case)
    browser.post(f"/review/cases/{case.id}/decide", refuse(case) | {"act": "send"})
    letter = browser.get(f"/review/cases/{case.id}/letter").get_data(as_text=True)
    assert REASON.split(";", maxsplit=1)[0] in letter
    assert "Criterion I.1 of 09-J1000-31" in letter
    assert "You may appeal this decision" in letter
    assert "denied" not in letter.lower()


def test_an_approval_needs_no_words_of_appeal(desk: Desk, browsers: dict[str, Browser], case: Case) -> None:
    browser = browsers[NURSE]
    seen(browser, case)
    browser.post(f"/review/cases/{case.id}/decide", approve(case) | {"act": "send"})
    letter = browser.get(f"/review/cases/{case.id}/letter").get_data(as_text=True)
    assert "Valid from 2026-03-02 to 2026-04-01" in letter
    assert "appeal" not in letter.lower()


def test_bad_input_120_every_view_and_act_is_in_the_audit_log(
    desk: Desk, browsers: dict[str, Browser], case: Case
) -> None:
    browser = browsers[NURSE]
    seen(browser, case)
    for path in ("take", "release", "take"):
        seen(browser, case)
        browser.post(f"/review/cases/{case.id}/{path}")
    browser.get(f"/review/cases/{case.id}/response")
    seen(browser, case)
    browser.post(f"/review/cases/{case.id}/decide", approve(case) | {"act": "send"})
    browser.get(f"/review/cases/{case.id}/letter")
    done = [(each.actor, each.role, each.action) for each in desk.reads.audit_of(f"case/{case.id}")]
    mine = [action for actor, role, action in done if (actor, role) == (NURSE, "nurse")]
    assert [each for each in mine if each != "view"] == [
        "take", "release", "take", "read_response", "decide", "read_letter"
    ]  # fmt: skip
    assert mine.count("view") == 5
    assert done[0][:2] == ("sample-app", "client")


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda row: sa.update(AUDIT_EVENT).where(*row).values(actor="nobody"), "changed"),
        (lambda row: sa.update(AUDIT_EVENT).where(*row).values(detail='{"lines":"1:A1"}'), "changed"),
        (lambda row: sa.delete(AUDIT_EVENT).where(*row), "missing"),
    ],
)
def test_bad_input_120_the_auditors_page_names_the_first_bad_record(tmp_path: Any, harm: Any, what: str) -> None:
    desk = Desk(tmp_path)
    for number in range(3):
        put_case(desk, number + 1)
    auditor = Browser(desk.app(), AUDITOR)
    auditor.get("/review/audit")
    assert "Intact." in auditor.post("/review/audit/verify").get_data(as_text=True)
    chain, seq = desk.database.read(
        lambda session: session.execute(sa.select(AUDIT_EVENT.c.chain, AUDIT_EVENT.c.seq).limit(1)).one()
    )
    row = (AUDIT_EVENT.c.chain == chain, AUDIT_EVENT.c.seq == seq)
    desk.database.session(lambda session: session.execute(harm(row)))
    page = auditor.post("/review/audit/verify").get_data(as_text=True)
    assert f"chain {chain}, line {seq}: {what}" in page
    desk.close()


def test_the_queue_is_filtered_ordered_and_paged(tmp_path: Any) -> None:
    desk = Desk(tmp_path)
    urgent = {"priority": pas_bundles.concept("http://terminology.hl7.org/CodeSystem/processpriority", "stat")}
    late = put_case(desk, 1, ago=timedelta(days=8))
    soon = put_case(desk, 2, ago=timedelta(days=2.7), claim=urgent)
    plain = [put_case(desk, number, ago=timedelta(hours=1)) for number in range(3, 30)]
    browser = Browser(desk.app(), NURSE)

    def listed(query: str = "") -> list[str]:
        page = browser.get(f"/review{query}").get_data(as_text=True)
        return [part.partition('"')[0] for part in page.split('href="/review/cases/')[1:]]

    first, second = listed(), listed("?page=2")
    assert first[:2] == [late.id, soon.id]
    assert (len(first), len(second)) == (25, 4)
    assert {*first, *second} == {late.id, soon.id, *(case.id for case in plain)}
    assert listed("?urgency=expedited") == [soon.id]
    assert listed(f"?number={plain[0].tracking_number}") == [plain[0].id]
    assert listed("?drug=baclofen") == []
    assert len(listed("?drug=morphine&reason=I.1")) == 25
    assert listed("?reason=II.1") == []
    assert listed("?program=sao") == []
    browser.get("/review")
    browser.post(f"/review/cases/{soon.id}/take", {"back": "queue"})
    assert listed("?assigned=mine") == [soon.id]
    assert soon.id not in listed("?assigned=unassigned")
    text = browser.get("/review").get_data(as_text=True)
    assert "overdue by 24 h" in text
    assert "urgent: due in" in text
    assert listed("?page=99") == second
    assert listed("?state=decided") == []
    assert browser.get("/review?page=x&state=y&urgency=z&assigned=w").status_code == 200
    desk.close()


def test_figures_of_the_real_log(tmp_path: Any) -> None:
    desk = Desk(tmp_path)
    put_case(desk, 1, values=pas_bundles.COMPLETE)  # by the engine, at once
    app = desk.app()
    physician = Browser(app, PHYSICIAN)
    for number, form in ((2, approve), (3, refuse), (4, modify)):
        case = put_case(desk, number, ago=timedelta(hours=number))
        seen(physician, case)
        physician.post(f"/review/cases/{case.id}/decide", form(case) | {"act": "send"})
    document = physician.get("/review/figures.json?year=2026").get_json()
    overall = document["groups"][0]
    counted = {name: overall[name] for name in ("decided", "approved", "modified", "not_certified", "without_a_person")}
    assert counted == {"decided": 4, "approved": 2, "modified": 1, "not_certified": 1, "without_a_person": 1}
    assert overall["mean_seconds"] == "8100.000"  # (0 + 2 + 3 + 4) / 4 hours
    assert overall["median_seconds"] == "9000.000"
    page = physician.get("/review/figures?year=2026").get_data(as_text=True)
    assert "2 (50.00 %)" in page
    assert physician.get("/review/figures?year=2019").status_code == 200
    desk.close()

"""What the page of a case tells a reviewer: all of it once, in plain words, and documents that open safely."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import msgspec
import pytest

from cds_service.domain.prior_auth import Case, CaseState
from cds_service.fhir.pas.answer_reading import read_answer
from cds_service.use_cases.extend_prior_auth import ExtendPriorAuth
from cds_service.use_cases.prior_auth_parts import PriorAuthParts
from tests.support import pas_bundles
from tests.support.review_desk import UNSETTLED, Browser, Desk, history, put_case

NURSE, PHYSICIAN, AUDITOR, OWNER = "demo-nurse", "demo-physician", "demo-auditor", "demo-policy-owner"
SUBJECT = {"reference": "Patient/pat-1"}
NUMBERS = count(2100)
PAGE = b"<html><script>alert(document.cookie)</script></html>"
FILES = [
    ("Trial visit", "text/plain", b"Pain 8 before, 3.5 after."),
    ("Consult", "application/pdf", b"%PDF-1.4\n..."),
    ("Photo", "image/png", b"\x89PNG\r\n\x1a\n...."),
    ("<b>Portal</b> page", "text/html", PAGE),
    ("Not what it says", "application/pdf", PAGE),
]


def ordered(kind: str, ident: str, text: str, system: str, code: str) -> dict[str, Any]:
    coded = "codeCodeableConcept" if kind == "DeviceRequest" else "code"
    return {
        "resourceType": kind,
        "id": ident,
        "status": "active",
        "intent": "order",
        coded: pas_bundles.concept(system, code, text=text),
        "subject": SUBJECT,
        "authoredOn": pas_bundles.DAY,
        "requester": {"reference": "Practitioner/prac-1"},
    }


def documents() -> list[dict[str, Any]]:
    return [
        {
            "resourceType": "DocumentReference",
            "id": f"doc-{place}",
            "status": "current",
            "type": {"text": "Progress note"},
            "subject": SUBJECT,
            "date": "2026-02-20T10:00:00Z",
            "author": [{"reference": "Practitioner/prac-1"}],
            "content": [{"attachment": {"contentType": kind, "title": title, "data": b64encode(content).decode()}}],
        }
        for place, (title, kind, content) in enumerate(FILES)
    ]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("case"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def nurse(desk: Desk) -> Browser:
    return Browser(desk.app(), NURSE)


@pytest.fixture(scope="module")
def case(desk: Desk) -> Case:
    """A drug above the table, a refill, a procedure and a pump, with documents; one answer is open."""
    orders = [
        ordered("ServiceRequest", "refill", "Refilling of the pump", pas_bundles.CPT, "95990"),
        ordered("ServiceRequest", "procedure", "Implantation of the pump", pas_bundles.CPT, "62362"),
        ordered("DeviceRequest", "pump", "Programmable pump", pas_bundles.HCPCS, "E0783"),
    ]
    items = [
        pas_bundles.item(),
        pas_bundles.item(2, code="95990", system=pas_bundles.CPT, order="ServiceRequest/refill"),
        pas_bundles.item(3, code="62362", system=pas_bundles.CPT, order="ServiceRequest/procedure"),
        pas_bundles.item(4, code="E0783", order="DeviceRequest/pump"),
    ]
    more = [*history(), *orders, *documents()]
    return put_case(desk, 2001, items=items, more=more, order=pas_bundles.morphine("1.8"))


@pytest.fixture
def page(nurse: Browser, case: Case) -> str:
    return nurse.get(f"/review/cases/{case.id}").get_data(as_text=True)


def section(page: str, name: str) -> str:
    return page.partition(f'<h2 id="{name}">')[2].partition("</section>")[0]


def test_a_criterion_of_several_lines_is_shown_once_and_only_what_is_open_is_open(page: str) -> None:
    criteria = section(page, "criteria")
    for text in ("Life expectancy is 3 months or more", "Medical contraindications to an implanted device"):
        assert criteria.count(f"</strong> {text}") == 1
    unfolded = [part for part in criteria.split("<li id=")[1:] if "<details open>" in part]
    assert [part.partition(">")[0] for part in unfolded] == ['"criterion-I.1"']
    assert "The diagnosis comes from the problem list" in criteria
    assert re.search(
        r"Daily dose above the guideline&#39;s table \(morphine\) <small class=\"inline\">line 1<", criteria
    )
    assert page.count('<a class="tag plain" href="#criterion-I.1">I.1</a>') == 4, "each line leads to what it waits for"


def test_no_word_of_the_inside_is_shown(page: str) -> None:
    seen = re.sub(r"<(code|style|script)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\bstem\b|in-progress|_met\b|not_met|lines wait|MedicationRequest/|\bA[134]\b", seen)
    assert "Indication" in seen
    assert "finished" in section(page, "documents")


def test_the_documents_are_listed_with_type_date_and_author(page: str, case: Case) -> None:
    rows = section(page, "documents").partition("<h3>Documents</h3>")[2].split("<tr>")[2:]
    assert len(rows) == len(FILES)
    for row in rows:
        assert all(word in row for word in ("Progress note", "2026-02-20", "Ada Field"))
    assert "&lt;b&gt;Portal&lt;/b&gt;" in rows[3]
    assert [re.search(r">(Open|Download)<", row)[1] for row in rows] == ["Open", "Open", "Open", "Download", "Open"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("place", "media_type", "shown"),
    [
        (0, "text/plain; charset=utf-8", "inline"),
        (1, "application/pdf", "inline"),
        (2, "image/png", "inline"),
        (3, "application/octet-stream", "attachment"),  # a page is never one of ours
        (4, "application/octet-stream", "attachment"),  # nor is what only says that it is none
    ],
)
def test_bad_input_109_a_document_can_only_be_looked_at(
    nurse: Browser, case: Case, place: int, media_type: str, shown: str
) -> None:
    answer = nurse.get(f"/review/cases/{case.id}/versions/1/documents/{place}/0")
    assert answer.status_code == 200
    assert answer.data == FILES[place][2]
    headers = answer.headers
    assert headers["Content-Type"] == media_type
    assert headers["Content-Disposition"].startswith(f"{shown}; filename=")
    policy = headers.getlist("Content-Security-Policy")
    assert len(policy) == 1
    assert {"default-src 'none'", "sandbox"} <= {part.strip() for part in policy[0].split(";")}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_bad_input_120_opening_a_document_is_in_the_audit_log_and_in_the_history(
    desk: Desk, nurse: Browser, case: Case
) -> None:
    nurse.get(f"/review/cases/{case.id}/versions/1/documents/1/0")
    last = desk.reads.audit_of(f"case/{case.id}")[-1]
    assert (last.actor, last.action) == (NURSE, "read_document")
    assert last.detail == {"version": 1, "document": "DocumentReference/doc-1", "part": 0}
    assert "opened a document" in nurse.get(f"/review/cases/{case.id}").get_data(as_text=True)


@pytest.mark.parametrize(
    "rest", ["1/documents/5/0", "1/documents/0/1", "2/documents/0/0", "1/documents/-1/0", "9" * 30 + "/documents/0/0"]
)
def test_a_document_that_is_not_there_is_no_page_and_no_event(
    desk: Desk, nurse: Browser, case: Case, rest: str
) -> None:
    before = len(desk.reads.audit_of(f"case/{case.id}"))
    assert nurse.get(f"/review/cases/{case.id}/versions/{rest}").status_code == 404
    assert len(desk.reads.audit_of(f"case/{case.id}")) == before


def test_a_drawing_of_nothing_is_a_sentence(desk: Desk, nurse: Browser) -> None:
    case = put_case(desk, 2010, more=[])
    course = section(nurse.get(f"/review/cases/{case.id}").get_data(as_text=True), "course")
    assert "<p>No pain score is on record.</p>" in course
    assert course.count("<svg") == 1, "the therapies alone"


def test_who_sees_no_case_sees_no_document(desk: Desk, case: Case) -> None:
    path = f"/review/cases/{case.id}/versions/1/documents/0/0"
    assert Browser(desk.app(), OWNER).get(path).status_code == 403
    assert Browser(desk.app()).get(path).status_code == 303


def test_the_note_is_part_of_what_is_shown_before_it_is_sent(desk: Desk, nurse: Browser) -> None:
    case = put_case(desk, 2003)
    nurse.get(f"/review/cases/{case.id}")
    note = "Please call me about the date of the trial <i>before</i> Friday."
    form = {"version": 1, "action-1": "A1", "start-1": "2026-03-02", "end-1": "2026-04-01", "note": note}
    page = nurse.post(f"/review/cases/{case.id}/draft", form).get_data(as_text=True)
    shown = page.partition("Note on the whole request")[2].partition("<details>")[0]
    assert "date of the trial &lt;i&gt;before&lt;/i&gt; Friday" in shown


def test_a_decided_case_says_who_decided_which_line(desk: Desk, nurse: Browser) -> None:
    items = [pas_bundles.item(), pas_bundles.item(2, code="E0783", order="DeviceRequest/pump")]
    pump = ordered("DeviceRequest", "pump", "Programmable pump", pas_bundles.HCPCS, "E0783")
    case = put_case(desk, 2004, items=items, more=[pump])
    physician = Browser(desk.app(), PHYSICIAN)
    for browser, version, line in ((nurse, 1, 1), (physician, 2, 2)):
        browser.get(f"/review/cases/{case.id}")
        form = {"version": version, f"action-{line}": "A1", f"start-{line}": "2026-03-02", f"end-{line}": "2026-04-01"}
        browser.post(f"/review/cases/{case.id}/decide", form | {"act": "send"})
    page = nurse.get(f"/review/cases/{case.id}").get_data(as_text=True)
    head = page.partition('<div class="case-head">')[2].partition("</dl>")[0]
    assert "nobody" not in head
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", head.partition("Decided by")[2]))
    assert said.strip() == "Robin Hale line 1 Ada Quill line 2"


def test_what_the_engine_approved_is_said_to_be_its_own(desk: Desk, nurse: Browser) -> None:
    case = put_case(desk, 2005, values=pas_bundles.COMPLETE)
    page = nurse.get(f"/review/cases/{case.id}").get_data(as_text=True)
    assert "<dt>Decided by</dt><dd><bdi>the engine, without a person</bdi>" in page
    assert "line 1 approved</strong>, <bdi>the engine, without a person</bdi>" in page


WHY = "The note of the trial is on its way from the other hospital."


@pytest.fixture
def medicaid(desk: Desk) -> Case:
    """A pump alone, of a member whose plan allows an extension."""
    return put_case(desk, next(NUMBERS), **plan_and_pump())


def plan_and_pump(plan: str = "Medicaid", **changes: Any) -> dict[str, Any]:
    pump = ordered("DeviceRequest", "pump", "Programmable pump", pas_bundles.HCPCS, "E0783")
    number = next(NUMBERS)
    return {
        "items": [pas_bundles.item(code="E0783", order="DeviceRequest/pump")],
        "order": pump,
        "coverage": {"class": [{"type": {"text": "plan"}, "value": plan}]},
        "identifier": f"X{number}",
        **changes,
    }


BOTH = [
    pas_bundles.item(code="E0783", order="DeviceRequest/pump"),
    pas_bundles.item(2, order="MedicationRequest/drug"),
]


def extend(browser: Browser, case: Case, **changes: Any) -> Any:
    browser.get(f"/review/cases/{case.id}")
    return browser.post(f"/review/cases/{case.id}/extend", {"version": case.version, "extension": WHY} | changes)


def test_C01_the_time_is_extended_once_with_a_reason_that_the_requester_reads(
    desk: Desk, nurse: Browser, medicaid: Case
) -> None:
    page = nurse.get(f"/review/cases/{medicaid.id}").get_data(as_text=True)
    assert 'until <time datetime="2026-03-15T12:00:00+00:00"' in page
    assert extend(nurse, medicaid).status_code == 303
    now = desk.cases.case(medicaid.id)
    assert now is not None
    assert (now.state, now.due) == (CaseState.PENDED, medicaid.received + timedelta(days=14))
    version = desk.cases.version(medicaid.id, 2)
    assert version is not None
    assert WHY in read_answer(version.response).disposition
    assert (version.kind, version.human, version.actor) == ("extension", False, NURSE)
    event = desk.reads.events_of(medicaid.id)[-2]
    assert (event.kind, event.actor, event.detail["reason"]) == ("extended", NURSE, WHY)
    entry = desk.reads.audit_of(f"case/{medicaid.id}")[-1]
    assert (entry.actor, entry.role, entry.action) == (NURSE, "nurse", "extend")
    assert WHY not in str(entry.detail), "the audit log holds no clinical content"
    page = nurse.get(f"/review/cases/{medicaid.id}").get_data(as_text=True)
    assert "the time was extended" in page
    assert f"time extended: {WHY[:-1]}</strong>, <bdi>Robin Hale</bdi>" in page
    assert "More time for this case" not in page
    assert "Decision letter" not in page, "nothing is decided"
    again = extend(nurse, now)
    assert again.status_code == 422
    assert "cannot be extended" in again.get_data(as_text=True)


@pytest.mark.parametrize(
    ("changes", "ago"),
    [
        ({"plan": "CHIP"}, 1),
        ({"plan": ""}, 1),
        (
            {
                "claim": {
                    "priority": pas_bundles.concept("http://terminology.hl7.org/CodeSystem/processpriority", "stat")
                }
            },
            1,
        ),
        ({}, 8),  # the time is over
        ({"items": [pas_bundles.item()], "order": pas_bundles.morphine()}, 0),  # a drug: 24 hours, without extension
        ({"items": BOTH, "more": [pas_bundles.morphine() | {"id": "drug"}]}, 0),
    ],
    ids=["another plan", "no plan", "urgent", "over", "a drug", "a drug beside"],
)
def test_C01_what_the_table_does_not_extend_stays(
    desk: Desk, nurse: Browser, changes: dict[str, Any], ago: int
) -> None:
    case = put_case(desk, next(NUMBERS), ago=timedelta(days=ago), **plan_and_pump(**changes))
    assert "More time for this case" not in nurse.get(f"/review/cases/{case.id}").get_data(as_text=True)
    assert extend(nurse, case).status_code == 422
    assert desk.cases.case(case.id).due == case.due  # type: ignore[union-attr]


@pytest.mark.parametrize("reason", ["", "waiting", "x" * 1_001])
def test_C01_no_extension_without_a_sentence(desk: Desk, nurse: Browser, medicaid: Case, reason: str) -> None:
    answer = extend(nurse, medicaid, extension=reason)
    assert answer.status_code == 422
    assert "say in a sentence why" in answer.get_data(as_text=True).lower()
    assert desk.cases.case(medicaid.id) == medicaid


def test_C01_who_may_not_work_on_cases_extends_none_and_nobody_extends_what_moved_on(
    desk: Desk, nurse: Browser, medicaid: Case
) -> None:
    auditor = Browser(desk.app(), AUDITOR)
    assert "More time" not in auditor.get(f"/review/cases/{medicaid.id}").get_data(as_text=True)
    assert extend(auditor, medicaid).status_code == 403
    assert extend(nurse, medicaid, version=7).status_code == 409
    assert desk.cases.case(medicaid.id) == medicaid


def test_C01_an_update_of_an_extended_request_keeps_its_time(desk: Desk, nurse: Browser) -> None:
    made = plan_and_pump()
    case = put_case(desk, 2199, **made)
    extend(nurse, case)
    first = pas_bundles.request(number=2199, values=UNSETTLED, **made)
    changed = desk.submit(pas_bundles.update_of(first, identifier="X2199-U"))
    assert changed.id == case.id
    assert (changed.due, changed.summary.extended) == (case.received + timedelta(days=14), True)
    assert extend(nurse, changed).status_code == 422, "once is once"
    assert ExtendPriorAuth(longer(desk)).until(changed) is None, "even if the payer allows more by now"
    assert ExtendPriorAuth(longer(desk)).until(case) == case.received + timedelta(days=30)


def longer(desk: Desk) -> PriorAuthParts:
    """The payer's table with more time for everything."""
    parts = desk.parts()
    clocks = tuple(msgspec.structs.replace(each, extended_hours=30 * 24) for each in parts.pas.clocks)
    return msgspec.structs.replace(parts, pas=msgspec.structs.replace(parts.pas, clocks=clocks))


MET = "I.3"  # the engine shows it as met
REASON = "No trial is documented; a note of the trial with scores would change the answer."
DESPITE = "The infection of 12 February is not over."


def refusal(criterion: str, **more: str) -> dict[str, Any]:
    return {"version": 1, "action-1": "A3", "reason-1": REASON, "criterion-1": criterion, **more}


def test_not_certified_on_a_criterion_that_appears_met_is_warned_about_and_not_blocked(desk: Desk) -> None:
    case = put_case(desk, 2006)
    physician = Browser(desk.app(), PHYSICIAN)
    page = physician.get(f"/review/cases/{case.id}").get_data(as_text=True)
    assert re.search(rf'<option value="{MET}" class="met">.*\(appears met\)</option>', page)
    draft = physician.post(f"/review/cases/{case.id}/draft", refusal(MET)).get_data(as_text=True)
    warning = draft.partition('id="against-1"')[2].partition("</div>")[0]
    assert "rests on a criterion that appears met" in warning
    assert "Contraindications to an implant eliminated: Yes" in warning, "with what it rests on"
    assert 'name="despite-1"' in warning
    assert f'name="reason-1" value="{REASON}"' in warning, "nothing that was typed is lost"
    assert "Sign and send this answer" in draft
    assert physician.post(f"/review/cases/{case.id}/decide", refusal(MET) | {"act": "send"}).status_code == 303
    decided = [each for each in desk.reads.audit_of(f"case/{case.id}") if each.action == "decide"]
    assert decided[-1].detail["against_met"] == f"1:{MET}"


def test_the_sentence_why_goes_out_with_the_reason(desk: Desk) -> None:
    case = put_case(desk, 2007)
    physician = Browser(desk.app(), PHYSICIAN)
    physician.get(f"/review/cases/{case.id}")
    form = refusal(MET, **{"despite-1": DESPITE})
    draft = physician.post(f"/review/cases/{case.id}/draft", form).get_data(as_text=True)
    assert f"{REASON} {DESPITE}" in draft.partition('aria-label="The answer')[2]
    assert "<textarea" not in draft
    physician.post(f"/review/cases/{case.id}/decide", form | {"act": "send"})
    line = desk.cases.case(case.id).summary.lines[0]  # type: ignore[union-attr]
    assert line.reasons[0].text == f"{REASON} {DESPITE}"


def test_on_a_criterion_that_is_open_nothing_is_warned_about(desk: Desk) -> None:
    case = put_case(desk, 2008)
    physician = Browser(desk.app(), PHYSICIAN)
    physician.get(f"/review/cases/{case.id}")
    form = refusal("I.1", **{"despite-1": DESPITE})
    draft = physician.post(f"/review/cases/{case.id}/draft", form).get_data(as_text=True)
    assert "appears met" not in draft
    assert DESPITE not in draft.partition('aria-label="The answer')[2].partition("<form")[0], (
        "it was asked of another criterion"
    )
    physician.post(f"/review/cases/{case.id}/decide", form | {"act": "send"})
    decided = [each for each in desk.reads.audit_of(f"case/{case.id}") if each.action == "decide"]
    assert "against_met" not in decided[-1].detail


def test_the_warning_stays_with_a_proposal(desk: Desk) -> None:
    case = put_case(desk, 2009)
    app = desk.app()
    nurse, physician = Browser(app, NURSE), Browser(app, PHYSICIAN)
    nurse.get(f"/review/cases/{case.id}")
    nurse.post(f"/review/cases/{case.id}/decide", refusal(MET) | {"act": "propose"})
    physician.get(f"/review/cases/{case.id}")
    draft = physician.post(f"/review/cases/{case.id}/draft", {"proposed": "yes"}).get_data(as_text=True)
    assert "rests on a criterion that appears met" in draft
    assert "The proposal does not say why" in draft

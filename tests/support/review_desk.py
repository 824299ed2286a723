"""The reviewers' workplace in this process: real pages, use cases and SQLite store; synthetic cases and people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask
from werkzeug.test import Client, TestResponse

from cds_service.adapters.sql.cases import SqlCaseStore
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.migrate import migrate
from cds_service.adapters.sql.reviews import SqlReviews
from cds_service.app import load_rules
from cds_service.domain.prior_auth import (
    AuditEntry,
    Authorized,
    Case,
    CaseEvent,
    CaseLine,
    CaseState,
    CaseSummary,
    HumanDecision,
    LineKind,
    Reason,
    ReviewAction,
    Version,
)
from cds_service.errors import Conflict
from cds_service.prior_auth_ports import CaseChange
from cds_service.settings import Settings
from cds_service.use_cases.decide import evaluate_document
from cds_service.web.call_note import NOTE, REQUEST_ID, CallNote
from cds_service.web.pages import Pages
from cds_service.web.pages import blueprint as public_pages
from cds_service.workplace import review_pages
from tests.support import e2e_patient
from tests.support.e2e_service import WallClock, shipped

BASE = "https://payer.example.org"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
OURS = {"Origin": BASE}
_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')
_PERSON = "https://cds.example.org/fhir/StructureDefinition/"


class PlainSettler:
    """Writes a decision down as a version, with the optimistic lock of the real one, and a small response."""

    def __init__(self, cases: SqlCaseStore, clock: WallClock) -> None:
        self._cases = cases
        self._clock = clock

    def draft(self, decision: HumanDecision) -> bytes:
        case = self._cases.case(decision.case_id)
        assert case is not None
        if case.version != decision.version_seen or case.state is not CaseState.PENDED:
            raise Conflict("the case has moved on")
        return small_response(decision)

    def settle(self, decision: HumanDecision) -> Version:
        response = self.draft(decision)
        case = self._cases.case(decision.case_id)
        before = self._cases.version(decision.case_id, decision.version_seen)
        assert case is not None
        assert before is not None
        now = self._clock.now()
        actions = {item.sequence: item for item in decision.items}
        lines = tuple(
            msgspec.structs.replace(
                line,
                action=actions[line.sequence].action,
                reasons=(actions[line.sequence].reason or Reason("as asked for"),),
                authorized=actions[line.sequence].authorized,
                by_person=True,
            )
            if line.sequence in actions
            else line
            for line in case.summary.lines
        )
        state = CaseState.DECIDED if decision.items else CaseState.PENDED
        summary = msgspec.structs.replace(
            case.summary, lines=lines, wanted=decision.wanted_facts, note=decision.note or case.summary.note
        )
        n = case.version + 1
        changed = msgspec.structs.replace(
            case, state=state, summary=summary, version=n, decided=now if decision.items else None
        )
        version = msgspec.structs.replace(
            before,
            n=n,
            kind="decision",
            at=now,
            request=None,
            response=response,
            response_sha256=sha256(response).hexdigest(),
            actor=decision.reviewer.id,
            human=True,
        )
        committed = self._cases.commit(
            CaseChange(
                case=changed,
                expected=case.version,
                version=version,
                audit=(AuditEntry(now, decision.reviewer.id, decision.reviewer.role, "decide", f"case/{case.id}"),),
                events=tuple(
                    CaseEvent(
                        now,
                        "line_decided",
                        decision.reviewer.id,
                        {
                            "sequence": item.sequence,
                            "kind": "drug",
                            "drug": True,
                            "action": item.action.value,
                            "machine": False,
                        },
                    )
                    for item in decision.items
                ),
            )
        )
        if committed.state != "done":
            raise Conflict("the case has moved on")
        return version


def small_response(decision: HumanDecision) -> bytes:
    """A response Bundle of the shape that the pages read."""
    items = []
    for number, item in enumerate(decision.items, 1):
        code = {"coding": [{"system": "https://codesystem.x12.org/005010/306", "code": item.action.value}]}
        review = {
            "url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewAction",
            "extension": [
                {
                    "url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewActionCode",
                    "valueCodeableConcept": code,
                }
            ],
        }
        items.append({"itemSequence": item.sequence, "noteNumber": [number], "adjudication": [{"extension": [review]}]})
    notes = [
        {"number": number, "text": item.reason.text if item.reason else "as asked for"}
        for number, item in enumerate(decision.items, 1)
    ]
    response = {"resourceType": "ClaimResponse", "outcome": "complete", "item": items, "processNote": notes}
    return json.dumps({"resourceType": "Bundle", "entry": [{"resource": response}]}).encode()


class Desk:
    """The workplace and its store."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        url = f"sqlite:///{folder / 'review.sqlite3'}"
        migrate(url)
        self.clock = WallClock(NOW.timestamp())
        self.settings = Settings(database_url=url, public_url=BASE, insecure_dev=True)
        self.settings = msgspec.structs.replace(self.settings, **changes)
        self.database = Database(url, pool_size=4, busy_seconds=2.0)
        self.cases = SqlCaseStore(self.database)
        self.reads = SqlReviews(self.database)
        self.settler = PlainSettler(self.cases, self.clock)
        self.payer = shipped().payer

    def app(self, **review: Any) -> Flask:
        """The pages alone, without what stands around the service's web; ``review`` changes the payer's rules."""
        configuration = shipped()
        rules = msgspec.structs.replace(configuration.payer.review, **review)
        payer = msgspec.structs.replace(configuration.payer, review=rules)
        configuration = msgspec.structs.replace(configuration, payer=payer)
        app = Flask("review_desk", static_folder=None)
        app.register_blueprint(review_pages(self.settings, configuration, self.database, self.settler, self.clock))
        public = Pages(
            payer="",
            guidelines=configuration.guidelines,
            view=lambda _: None,
            hooks_document=Path(),
            today=lambda: NOW.date(),
        )
        app.register_blueprint(public_pages(public))

        @app.before_request
        def note_the_call() -> None:
            from flask import request  # noqa: PLC0415 - needs the application context alone

            request.environ.setdefault(NOTE, CallNote())
            request.environ.setdefault(REQUEST_ID, "test-1")

        return app

    def close(self) -> None:
        self.database.close()


class Browser:
    """One browser profile of one person."""

    def __init__(self, app: Flask, person: str = "") -> None:
        self.client = Client(app)
        self.last: TestResponse | None = None
        if person:
            self.sign_in(person)

    def get(self, path: str) -> TestResponse:
        self.last = self.client.get(path, base_url=BASE)
        return self.last

    def post(
        self, path: str, form: Mapping[str, Any] | None = None, headers: Mapping[str, str] = OURS, token: str | None = None
    ) -> TestResponse:
        """Post a form with the token of the page seen last, or with the one given."""
        given = self.token() if token is None else token
        self.last = self.client.post(
            path, base_url=BASE, data={"form_token": given, **(form or {})}, headers=dict(headers)
        )
        return self.last

    def token(self) -> str:
        found = _TOKEN.search(self.last.get_data(as_text=True)) if self.last is not None else None
        if found is None:
            found = _TOKEN.search(self.get("/review/figures").get_data(as_text=True))
        assert found is not None, "no page with a form was seen"
        return found[1]

    def sign_in(self, person: str) -> TestResponse:
        self.get("/review/sign-in")
        answer = self.post("/review/sign-in/demo", {"person": person})
        assert answer.status_code == 303, answer.get_data(as_text=True)
        self.last = None
        return answer

    def cookie(self, name: str) -> str:
        held = self.client.get_cookie(name, domain="payer.example.org")
        return held.value if held else ""


def put_case(desk: Desk, ident: str, **changes: Any) -> Case:
    """A pended case of one morphine line, with the determination and the request that lead to it."""
    received = changes.pop("received", NOW - timedelta(days=1))
    rate = changes.pop("rate", "0.5")
    answers = changes.pop("answers", e2e_patient.TRIAL)
    summary_changes = changes.pop("summary", {})
    more = changes.pop("resources", ())
    held = e2e_patient.chart(answers)
    body = e2e_patient.encode(e2e_patient.call(e2e_patient.order(rate), held=held))
    rules = load_rules(shipped(), Settings(public_url=BASE))
    determination = json.loads(evaluate_document(body, rules, received.date()))
    daily = str(Fraction(rate) * 2)
    line = CaseLine(
        sequence=1,
        kind=LineKind.DRUG,
        system="https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
        code="J2274",
        text="Morphine 2 mg/mL, intrathecal",
        order="MedicationRequest/draft-e2e",
        drugs=("morphine",),
        route="intrathecal",
        daily={"morphine": daily if "/" not in daily else "1"},
        action=ReviewAction.PENDED,
        reference=f"R-{ident}",
        reasons=(Reason("The pain score after the trial is not on file.", criterion="I.2"),),
    )
    summary = CaseSummary(
        patient_name="Ezra Example",
        birth_date="1961-04-05",
        requester="Dana Sample, MD",
        lines=(line,),
        diagnoses=("G89.28",),
    )
    case = Case(
        id=ident,
        tracking_number=f"T-{ident}",
        sender="sample-app",
        provider_organization="http://hl7.org/fhir/sid/us-npi|1999999943",
        ordering_npi="1999999935",
        rendering_npi="1999999935",
        member_id="M-1",
        patient_key="k",
        program="standard",
        benefit="medical",
        expedited=False,
        has_drug=True,
        request_type="trial",
        state=CaseState.PENDED,
        summary=msgspec.structs.replace(summary, **summary_changes),
        received=received,
        due=received + timedelta(days=7),
        decided=None,
        version=1,
    )
    case = msgspec.structs.replace(case, **changes)
    trace = {
        "determination": determination,
        "lines": [{"sequence": 1, "conditions": [{"condition": "criteria_met", "holds": False}]}],
        "wanted": [],
    }
    request = e2e_patient.encode(
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": each} for kind in held.values() for each in kind]
            + [{"resource": each} for each in (*history(), *more)],
        }
    )
    version = Version(
        case_id=ident,
        n=1,
        kind="submit",
        at=received,
        request=request,
        request_sha256=sha256(request).hexdigest(),
        response=b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"ClaimResponse"}}]}',
        response_sha256="0" * 64,
        policy_id=determination["policy"]["id"],
        policy_version=determination["policy"]["version"],
        policy_digest=determination["policy"]["digest"],
        trace=msgspec.json.encode(trace),
        actor="sample-app",
        human=False,
    )
    events = (
        CaseEvent(
            received,
            "received",
            "sample-app",
            {
                "expedited": case.expedited,
                "program": case.program,
                "benefit": case.benefit,
                "has_drug": True,
                "request_type": case.request_type,
                "lines": 1,
            },
        ),
        CaseEvent(received, "pended", "engine", {"lines": 1}),
    )
    audit = (AuditEntry(received, "sample-app", "client", "submit", f"case/{ident}"),)
    committed = desk.cases.commit(CaseChange(case=case, expected=0, version=version, audit=audit, events=events))
    assert committed.state == "done"
    return case


def history() -> list[dict[str, Any]]:
    """What was tried before: two medications, physical therapy, and pain scores."""
    subject = e2e_patient.SUBJECT

    def medication(ident: str, text: str, start: str, end: str | None) -> dict[str, Any]:
        period = {"start": start} | ({"end": end} if end else {})
        return {
            "resourceType": "MedicationStatement",
            "id": ident,
            "status": "completed" if end else "active",
            "subject": subject,
            "medicationCodeableConcept": {"text": text},
            "effectivePeriod": period,
            "dosage": [{"timing": {"code": {"text": "twice a day"}}}],
        }

    def score(ident: str, day: str, value: str) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "id": ident,
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "72514-3"}], "text": "Pain severity"},
            "subject": subject,
            "effectiveDateTime": day,
            "valueQuantity": {"value": Decimal(value), "unit": "{score}"},
        }

    return [
        medication("gaba", "Gabapentin 300 mg", "2025-07-01", "2025-10-01"),
        medication("mor", "Morphine ER 15 mg", "2025-10-15", None),
        {
            "resourceType": "Procedure",
            "id": "pt",
            "status": "completed",
            "code": {"text": "Physical therapy"},
            "subject": subject,
            "performedDateTime": "2025-11-20",
        },
        score("p1", "2026-01-10", "8"),
        score("p2", "2026-02-14", "3.5"),
    ]


def authorized() -> Authorized:
    return Authorized(start=date(2026, 3, 2), end=date(2026, 4, 1), daily={"morphine": "0.8"})

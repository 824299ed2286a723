"""The reviewers' workplace in this process: real pages, use cases and SQLite store; synthetic cases and people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask, request
from werkzeug.test import Client, TestResponse

from cds_service.adapters.policy_files import Configuration
from cds_service.adapters.sql.cases import SqlCaseStore
from cds_service.adapters.sql.database import Database
from cds_service.adapters.sql.migrate import migrate
from cds_service.adapters.sql.reviews import SqlReviews
from cds_service.adapters.sql.subscriptions import SqlSubscriptions
from cds_service.adapters.system import new_id
from cds_service.app import load_rules
from cds_service.backend_clients import BackendCaller, BackendClient
from cds_service.domain.payer import ReviewRules
from cds_service.domain.prior_auth import Case, HumanDecision, LineDecision, Reviewer
from cds_service.settings import Settings
from cds_service.use_cases.decide import Rules
from cds_service.use_cases.prior_auth_parts import PriorAuthParts
from cds_service.use_cases.settle_prior_auth import SettlePriorAuth
from cds_service.use_cases.submit_prior_auth import SubmitPriorAuth
from cds_service.web.call_note import NOTE, REQUEST_ID, CallNote
from cds_service.web.pages import Pages
from cds_service.web.pages import blueprint as public_pages
from cds_service.workplace import review_pages
from tests.support import pas_bundles
from tests.support.e2e_service import WallClock, shipped

BASE = "https://payer.example.org"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
OURS = {"Origin": BASE}
_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')
SENDER = BackendCaller(
    BackendClient(
        id="sample-app",
        name="Sample app",
        jwks={"keys": []},
        scopes=("system/Claim.cu",),
        organizations=("http://hl7.org/fhir/sid/us-npi|1000000004",),
    ),
    ("system/Claim.cu",),
)
# What a pended request looks like: one answer is missing, or the dose is above the table.
UNSETTLED: dict[str, Any] = {**pas_bundles.COMPLETE, "life_expectancy_ge_3_months": "cannot_determine"}


class Desk:
    """The workplace, its store, and the real use cases that fill it and decide."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        url = f"sqlite:///{folder / 'review.sqlite3'}"
        migrate(url)
        self.clock = WallClock(NOW.timestamp())
        self.settings = msgspec.structs.replace(
            Settings(database_url=url, public_url=BASE, insecure_dev=True), **changes
        )
        self.database = Database(url, pool_size=4, busy_seconds=2.0)
        self.cases = SqlCaseStore(self.database)
        self.reads = SqlReviews(self.database)

    def app(self, **review: Any) -> Flask:
        """The pages alone, without what stands around the service's web; ``review`` changes the payer's rules."""
        configuration = _with_review(**review)
        app = Flask("review_desk", static_folder=None)
        app.register_blueprint(review_pages(self.settings, configuration, self.database, self.parts(**review)))
        public = Pages(
            payer="",
            guidelines=configuration.guidelines,
            view=lambda _: None,
            hooks_document=Path(),
            today=NOW.date,
        )
        app.register_blueprint(public_pages(public))

        @app.before_request
        def note_the_call() -> None:
            request.environ.setdefault(NOTE, CallNote())
            request.environ.setdefault(REQUEST_ID, "test-1")

        return app

    def settler(self, **review: Any) -> SettlePriorAuth:
        return SettlePriorAuth(self.parts(**review))

    def submit(self, bundle: Mapping[str, Any]) -> Case:
        """Send a request as a provider would; the case as it stands."""
        body = pas_bundles.encoded(bundle)
        submitting = SubmitPriorAuth(self.parts())
        answer = submitting.submit(body, "2.2", SENDER, started=self.clock.monotonic())
        case = self.cases.case(answer.case_id)
        assert case is not None
        return case

    def parts(self, **review: Any) -> PriorAuthParts:
        """What the use cases need; ``review`` changes the payer's rules."""
        configuration = _with_review(**review)
        return PriorAuthParts(
            rules=_rules(configuration, self.settings.public_url),
            pas=configuration.prior_auth,
            cases=self.cases,
            on_file=lambda _member: (),
            subscriptions=SqlSubscriptions(self.database),
            clock=self.clock,
            new_id=new_id,
            key=b"k" * 32,
            destinations=lambda _program: (),
            public_url=BASE,
        )

    def close(self) -> None:
        self.database.close()


_prepared: dict[ReviewRules, Rules] = {}  # preparing the rules takes longer than a request


def _rules(configuration: Configuration, public_url: str) -> Rules:
    review = configuration.payer.review
    if review not in _prepared:
        _prepared[review] = load_rules(configuration, Settings(public_url=public_url))
    return _prepared[review]


def _with_review(**review: Any) -> Configuration:
    configuration = shipped()
    rules = msgspec.structs.replace(configuration.payer.review, **review)
    return msgspec.structs.replace(configuration, payer=msgspec.structs.replace(configuration.payer, review=rules))


def put_case(desk: Desk, number: int, *, ago: timedelta = timedelta(days=1), **changes: Any) -> Case:
    """A pended request that came in ``ago``; ``changes`` as for ``pas_bundles.request``."""
    at = desk.clock.at
    desk.clock.at = at - ago.total_seconds()
    day = desk.clock.now().date().isoformat()
    try:
        usual: dict[str, Any] = {"values": UNSETTLED, "more": history(), "authored": day}
        return desk.submit(pas_bundles.request(number=number, **{**usual, **changes}))
    finally:
        desk.clock.at = at


def decide(desk: Desk, case: Case, *items: LineDecision, person: str = "dr-other") -> None:
    """Another reviewer decides, past the pages."""
    reviewer = Reviewer(person, "Another Reviewer", "physician", "1999999927")
    desk.settler().settle(HumanDecision(case_id=case.id, version_seen=case.version, reviewer=reviewer, items=items))


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
        self,
        path: str,
        form: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] = OURS,
        token: str | None = None,
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


def history() -> Sequence[dict[str, Any]]:
    """What was tried before: two medications, physical therapy, and pain scores."""
    subject = {"reference": "Patient/pat-1"}

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
            "valueQuantity": {"value": pas_bundles.Number(value), "unit": "{score}"},
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

"""A person's way through the pages of a prior authorization: submit, look, ask, answer, cancel."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from tests.support.foreign_pas import ForeignPas
from tests.support.form_visit import ORDER, FormVisit
from tests.support.smart_visit import PUBLIC

QR_CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
FORM: dict[str, Any] = {
    "resourceType": "QuestionnaireResponse",
    "id": "form-1",
    "meta": {"versionId": "1"},
    "status": "completed",
    "questionnaire": "https://payer.example.net/Questionnaire/foreign-form|3",
    "subject": {"reference": "Patient/pat-1"},
    "author": {"reference": "Practitioner/doc-1"},
    "authored": "2026-11-20T09:30:00Z",
    "extension": [{"url": QR_CONTEXT, "valueReference": {"reference": ORDER}}],
    "item": [{"linkId": "why", "answer": [{"valueString": "because"}]}],
}


class PasVisit(FormVisit):
    """One browser in one launch at a payer that takes requests."""

    payer: ForeignPas

    def launch(self, *more: str) -> None:
        """Open the app for the order, and for ``more`` orders."""
        names = [ORDER, *more, "Coverage/cov-1"]
        self.ehr.context |= {"fhirContext": [{"reference": each} for each in names]}
        self.launch_id = self.browser.open(self.ehr)
        self.token = self.csrf()
        self.request = ""

    def csrf(self) -> str:
        held: str | None = getattr(self, "token", None)
        return held or super().csrf()

    @property
    def start(self) -> str:
        return f"/l/{self.launch_id}/prior-auth"

    def begin(self) -> dict[str, Any]:
        """The page that offers to send, and what its form would send."""
        page = self.get(self.start)
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page))
        orders = re.findall(r'name="order" value="([^"]+)" checked', page)
        forms = re.findall(r'name="form" value="([^"]+)" checked', page)
        codes = {f"code-{each}": "J2274" for each in orders}
        return {**hidden, **codes, "order": orders, "form": forms, "benefit": "medical", "urgency": "standard"}

    def submit(self, fields: dict[str, Any] | None = None) -> str:
        """Send, and be led to the request's page, as words."""
        self.post(self.start, fields or self.begin())
        self.request = self.path.partition("?")[0] if self.path != self.start else ""
        return self.words

    def do(self, action: str, **fields: str) -> str:
        """Press a button of the request's page: again, check, answers, cancel."""
        self.post(f"{self.request}/{action}", fields)
        return self.words

    def look(self) -> str:
        """The request's page, opened again."""
        self.get(self.request)
        return self.words

    @property
    def words(self) -> str:
        """The main part of the page as a person reads it."""
        main = self.page.partition("<main")[2] or self.page
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)))

    def state(self) -> dict[str, Any]:
        """What the waiting page asks every few seconds."""
        found: dict[str, Any] = self.browser.get(f"{self.request}/state").json
        return found

    def hear(self, bundle: Any, secret: str | None = None, payer: str = "foreign", **headers: str) -> int:
        """The payer's notification; its status."""
        given = {"Authorization": self.payer.secret.partition(": ")[2] if secret is None else secret, **headers}
        body = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
        answer = self.browser.app.test_client().post(
            f"/notifications/{payer}", base_url=PUBLIC, data=body, headers=given, buffered=True
        )
        answer.close()
        return answer.status_code

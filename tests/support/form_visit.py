"""A person's way through the form pages: open, fill in what the page offers, press a button, look."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from typing import Any, ClassVar

from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import TestResponse, encode_multipart

from tests.support.foreign_payer import ForeignPayer
from tests.support.smart_ehr import SmartEhr
from tests.support.smart_visit import PUBLIC, AppUnderTest

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ORDER = "MedicationRequest/order-1"


def chart_of() -> dict[str, dict[str, Any]]:
    """The rest of the strict EHR's chart: coverage, order, visit."""
    subject = {"reference": "Patient/pat-1"}
    held: list[dict[str, Any]] = [
        {"resourceType": "Encounter", "id": "enc-1", "status": "in-progress", "subject": subject},
        {
            "resourceType": "Coverage",
            "id": "cov-1",
            "status": "active",
            "beneficiary": subject,
            "payor": [{"display": "Foreign  mutual", "identifier": {"system": "urn:example:payers", "value": "FM-1"}}],
        },
        {
            "resourceType": "MedicationRequest",
            "id": "order-1",
            "meta": {"versionId": "1"},
            "status": "active",
            "intent": "order",
            "subject": subject,
            "authoredOn": "2026-11-20T09:00:00Z",
            "requester": {"reference": "Practitioner/doc-1"},
            "medicationReference": {"reference": "#mix"},
            "contained": [_MIX],
            "dosageInstruction": [
                {
                    "route": {"coding": [{"system": "http://snomed.info/sct", "code": "72607000"}]},
                    "doseAndRate": [{"rateQuantity": _quantity("0.5", "mL/d")}],
                }
            ],
        },
    ]
    return {f"{each['resourceType']}/{each['id']}": each for each in held}


def _quantity(value: str, unit: str) -> dict[str, Any]:
    return {"value": float(value), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


_MIX = {
    "resourceType": "Medication",
    "id": "mix",
    "code": {"text": "morphine 20 mg/mL"},
    "ingredient": [
        {
            "itemCodeableConcept": {"coding": [{"system": RXNORM, "code": "7052"}], "text": "morphine"},
            "isActive": True,
            "strength": {"numerator": _quantity("20", "mg"), "denominator": _quantity("1", "mL")},
        }
    ],
}


class Compiled(BytecodeCache):
    """Templates compiled once for all apps of a test run: only faster."""

    held: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.held:
            bucket.bytecode_from_string(self.held[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.held[bucket.key] = bucket.bytecode_to_string()


class FormVisit:
    """One browser in one launch. ``fields`` are those of the page's form as a browser would send them."""

    def __init__(self, app: AppUnderTest, ehr: SmartEhr, payer: ForeignPayer) -> None:
        self.app, self.ehr, self.payer = app, ehr, payer
        app.flask.jinja_env.bytecode_cache = Compiled()
        self.browser = app.browser()
        self.launch_id = ""
        self.path = ""
        self.page = ""
        self.status = 0

    def open(self, app_context: Any = None, **context: Any) -> str:
        """Launch and follow redirects to the first page."""
        if app_context is not None:
            text = app_context if isinstance(app_context, str) else json.dumps(app_context)
            context["appContext"] = text
        if context.get("fhirContext") is None and app_context is None:
            context.setdefault("fhirContext", [{"reference": ORDER}, {"reference": "Coverage/cov-1"}])
        self.ehr.context |= context
        self.launch_id = self.browser.open(self.ehr)
        return self.get(f"/l/{self.launch_id}/")

    def get(self, path: str) -> str:
        return self._follow(self.browser.get(path), path)

    def press(
        self, do: str, fields: dict[str, Any] | None = None, files: dict[str, Any] | None = None, **more: str
    ) -> str:
        """Send the page's form with ``fields`` changed; a list gives a field several values."""
        sent = self.fields()
        for name, value in (fields or {}).items():
            sent.setlist(name, value if isinstance(value, list) else [value])
        sent["do"] = do
        for name, (content, file_name, kind) in (files or {}).items():
            sent.add(name, FileStorage(io.BytesIO(content), file_name, content_type=kind))  # type: ignore[arg-type]
        path = self.path.partition("?")[0]
        boundary, body = encode_multipart(sent)
        answer = self.browser.client.post(
            path,
            base_url=PUBLIC,
            data=body,
            headers={"Sec-Fetch-Site": "same-origin", **more},
            content_type=f'multipart/form-data; boundary="{boundary}"',
        )
        return self._follow(answer, path)

    def post(self, path: str, data: dict[str, Any] | None = None, **headers: str) -> str:
        given = {"csrf_token": self.csrf(), **(data or {})}
        answer = self.browser.client.post(
            path, base_url=PUBLIC, data=given, headers={"Sec-Fetch-Site": "same-origin", **headers}
        )
        return self._follow(answer, path)

    def csrf(self) -> str:
        return self.browser.csrf(self.launch_id)

    def fields(self) -> MultiDict[str, str]:
        """What a browser would send of the page's main form, without buttons."""
        reader = _Fields()
        reader.feed(self.page)
        return reader.fields

    def text(self) -> str:
        """The page as words."""
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.page))

    def responses(self) -> list[dict[str, Any]]:
        """What is saved in the EHR."""
        return [each for each in self.ehr.resources.values() if each["resourceType"] == "QuestionnaireResponse"]

    @property
    def saved(self) -> dict[str, Any]:
        found = self.responses()
        assert len(found) == 1, f"{len(found)} responses in the EHR"
        return found[0]

    def _follow(self, answer: TestResponse, path: str) -> str:
        for _ in range(5):
            if answer.status_code != 303:
                break
            path = answer.location.replace(PUBLIC, "").partition("#")[0]
            answer = self.browser.get(path)
        self.path, self.page, self.status = path, answer.get_data(as_text=True), answer.status_code
        return self.page


class _Fields(HTMLParser):
    """Successful controls of the form ``coverage-form``."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: MultiDict[str, str] = MultiDict()
        self._inside = False
        self._area: str | None = None
        self._select: str | None = None
        self._chosen: str | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = held.get("id") == "coverage-form"
        if not self._inside or "disabled" in held or not held.get("name"):
            if tag == "option" and self._select and (self._chosen is None or "selected" in held):
                self._chosen = held.get("value", "")  # nothing selected: a browser takes the first
            return
        if tag == "input":
            kind = held.get("type", "text")
            if kind in {"checkbox", "radio"} and "checked" not in held:
                return
            if kind not in {"file", "submit", "button"}:
                self.fields.add(held["name"], held.get("value", ""))
        elif tag == "textarea":
            self._area, self._text = held["name"], ""
        elif tag == "select":
            self._select, self._chosen = held["name"], None

    def handle_data(self, data: str) -> None:
        if self._area:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area:
            self.fields.add(self._area, self._text)
            self._area = None
        elif tag == "select":
            if self._select and self._chosen is not None:
                self.fields.add(self._select, self._chosen)
            self._select = None
        elif tag == "form":
            self._inside = False


def answers_of(response: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Link id -> answers, of all levels."""
    found: dict[str, list[dict[str, Any]]] = {}

    def walk(items: list[dict[str, Any]]) -> None:
        for item in items:
            if item.get("answer"):
                found.setdefault(item["linkId"], []).extend(item["answer"])
            walk(item.get("item", []))
            for answer in item.get("answer", []):
                walk(answer.get("item", []))

    walk(response.get("item", []))
    return found


def origin_of(answer: dict[str, Any]) -> str:
    """The word of an answer's information-origin."""
    for extension in answer.get("extension", []):
        if extension["url"].endswith("/information-origin"):
            return next(part["valueCode"] for part in extension["extension"] if part["url"] == "source")
    return ""

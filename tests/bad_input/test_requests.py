"""Rows 45-58, 63, 64 and 81 through the whole service: each refusal has its status, and never an echo or a 5xx."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.sql.migrate import migrate
from tests.support.e2e_service import Answer, Service, running

CANARY = "CanaryFamily"
EXAMPLE = json.loads((Path(__file__).resolve().parents[2] / "docs" / "examples" / "order-sign.json").read_text("utf-8"))
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    database = tmp_path_factory.mktemp("store") / "cds.sqlite3"
    migrate(f"sqlite:///{database}")
    with running(database) as started:
        yield started


def body(change: Change = lambda _body: None) -> dict[str, Any]:
    made = copy.deepcopy(EXAMPLE)
    made["prefetch"]["patient"]["name"][0]["family"] = CANARY
    change(made)
    return made


def text(change: Change = lambda _body: None) -> str:
    return json.dumps(body(change))


def within(answer: Answer, service: Service, statuses: set[int]) -> None:
    """What every row asserts."""
    assert answer.status in statuses, answer.bytes[:500]
    if answer.status != 200:
        assert answer.json["resourceType"] == "OperationOutcome"
        assert answer.json["issue"][0]["diagnostics"]
        assert CANARY.encode() not in answer.bytes
    assert CANARY not in service.lines.text()


def post(service: Service, data: bytes | str) -> Answer:
    return service.post(data.encode() if isinstance(data, str) else data)


def test_the_request_that_the_rows_change_is_answered(service: Service) -> None:
    answer = post(service, text())
    assert answer.status == 200
    assert answer.actions


def nested(depth: int) -> str:
    return text().replace('"cards"', "").replace("{", '{"x":' + "[" * depth + "]" * depth + ",", 1)


UNPARSEABLE = {
    "45 depth 65": nested(65),
    "45 depth 1500": nested(1_500),
    "45 depth 1000000": nested(1_000_000),
    "45 only brackets": "[" * 1_000_000,
    "46 patientId twice": text().replace('"patientId"', '"patientId":"other","patientId"', 1),
    "46 twice inside FHIR": text().replace('"status": "draft"', '"status":"draft","status":"active"', 1),
    "47 NaN": text().replace("0.75", "NaN"),
    "47 Infinity": text().replace("0.75", "-Infinity"),
    "47 1e999": text().replace("0.75", "1e999"),
    "47 integer of 5000 digits": text().replace("0.75", "7" * 5_000),
    "48 lone surrogate": text().replace(CANARY, CANARY + "\\ud800"),
    "48 NUL": text().replace(CANARY, CANARY + "\\u0000"),
    "48 BOM": "\ufeff" + text(),
    "49 array": "[" + text() + "]",
    "49 string": '"order-sign"',
    "49 null": "null",
    "49 number": "7",
    "49 empty": "",
    "49 trailing bytes": text() + "{}",
    "49 trailing comma": text()[:-1] + ",}",
}


@pytest.mark.parametrize("data", UNPARSEABLE.values(), ids=UNPARSEABLE)
def test_bad_input_45_to_49_unparseable_is_400(service: Service, data: str) -> None:
    within(post(service, data), service, {400})


@pytest.mark.parametrize(
    "encoded", [text().encode("utf-16"), text().encode()[:-40] + b"\xff\xfe" + text().encode()[-40:]]
)
def test_bad_input_48_other_encodings_are_400(service: Service, encoded: bytes) -> None:
    within(post(service, encoded), service, {400})


def test_bad_input_45_depth_of_real_resources_is_read(service: Service) -> None:
    within(post(service, nested(30)), service, {200})


def test_bad_input_50_unknown_elements_are_ignored(service: Service) -> None:
    def change(made: dict[str, Any]) -> None:
        made["__proto__"] = {"constructor": {"x": 1}}
        made["constructor"] = "x"
        made["extension"] = {"com.example.unknown": [1, 2]}
        made["context"]["somethingNew"] = {"a": []}
        order = made["context"]["draftOrders"]["entry"][0]["resource"]
        order["extension"] = [{"url": "https://ehr.example.org/unknown", "valueBase64Binary": "AAAA"}]
        order["_status"] = {"extension": [{"url": "x", "valueString": "y"}]}

    plain, extended = post(service, text()), post(service, text(change))
    within(extended, service, {200})
    assert len(extended.actions) == len(plain.actions)


def put(path: str, value: Any) -> Change:
    """Set, or with ``...`` remove, one element."""

    def change(made: Any) -> None:
        *way, last = path.split(".")
        for step in way:
            made = made[int(step)] if step.isdigit() else made[step]
        if value is ...:
            del made[last]
        else:
            made[last] = value

    return change


ENTRY = "context.draftOrders.entry"
AUTHORIZATION = {
    "access_token": "t",
    "token_type": "Bearer",
    "expires_in": 300,
    "scope": "patient/*.rs",
    "subject": "s",
}


def lent(**changes: Any) -> Change:
    def change(made: dict[str, Any]) -> None:
        made["fhirServer"] = "https://ehr.example.org/fhir"
        made["fhirAuthorization"] = AUTHORIZATION | changes

    return change


def without_server(made: dict[str, Any]) -> None:
    made["fhirAuthorization"] = dict(AUTHORIZATION)


REFUSED: dict[str, tuple[Change, int]] = {
    "51 hook missing": (put("hook", ...), 400),
    "51 hook of another service": (put("hook", "order-select"), 400),
    "51 hook a list": (put("hook", ["order-sign"]), 400),
    "52 hookInstance missing": (put("hookInstance", ...), 400),
    "52 hookInstance no UUID": (put("hookInstance", CANARY), 400),
    "52 hookInstance of 1 MB": (put("hookInstance", "a" * 1_000_000), 400),
    "53 context missing": (put("context", ...), 400),
    "53 context null": (put("context", None), 400),
    "53 context a list": (put("context", []), 400),
    "53 userId a number": (put("context.userId", 7), 400),
    "53 userId without type": (put("context.userId", CANARY), 400),
    "53 patientId missing": (put("context.patientId", ...), 400),
    "53 patientId with a path": (put("context.patientId", "../../admin"), 400),
    "54 draftOrders missing": (put("context.draftOrders", ...), 400),
    "54 draftOrders no Bundle": (put("context.draftOrders", {"resourceType": "Patient"}), 400),
    "55 null entry": (put(ENTRY, [None]), 400),
    "55 entry without resource": (put(ENTRY, [{"fullUrl": "urn:uuid:0d8f5b1e-52a3-4b0e-8d4e-4a2a7c1f9a55"}]), 400),
    "57 fhirAuthorization without fhirServer": (without_server, 400),
    "57 token_type": (lent(token_type="mac"), 400),
    "58 line feed in the token": (lent(access_token="a\r\nX-Evil: 1"), 400),
    "58 non-ASCII token": (lent(access_token="t\u00f6ken"), 400),
    "65 another patient in prefetch": (put("prefetch.patient.id", "stranger"), 400),
    "66 an order of another patient": (put(f"{ENTRY}.0.resource.subject.reference", "Patient/stranger"), 400),
    "67 a Coverage of another patient": (
        put("prefetch.coverage.entry.0.resource.beneficiary.reference", "Patient/stranger"),
        400,
    ),
    "72 a token of another patient": (lent(patient="stranger"), 400),
}


@pytest.mark.parametrize(("change", "status"), REFUSED.values(), ids=REFUSED)
def test_bad_input_51_to_58_and_65_to_72_refused(service: Service, change: Change, status: int) -> None:
    within(post(service, text(change)), service, {status})


def test_bad_input_54_missing_orders_name_the_element_and_the_probable_cause(service: Service) -> None:
    outcome = post(service, text(put("context.draftOrders", ...))).json["issue"][0]
    assert "draftOrders" in outcome["diagnostics"] + "".join(outcome.get("expression", []))
    assert "unsigned orders" in outcome["diagnostics"]  # what the EHR calls the missing permission


def test_bad_input_52_upper_case_uuid_without_version_bits_is_accepted(service: Service) -> None:
    within(post(service, text(put("hookInstance", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"))), service, {200})


def test_bad_input_55_empty_bundle_and_too_many_entries(service: Service) -> None:
    empty = post(service, text(put(ENTRY, [])))
    within(empty, service, {200})
    assert empty.json == {"cards": []}
    many = body()["context"]["draftOrders"]["entry"] * 5_000
    small = [{"resource": {"resourceType": "MedicationRequest", "id": f"d{number}"}} for number, _ in enumerate(many)]
    within(post(service, text(put(ENTRY, small))), service, {413})


def test_bad_input_56_order_id_of_194_characters_with_dots(service: Service) -> None:
    ident = ("e" * 63 + ".") * 3 + "e2"
    assert len(ident) == 194
    answer = post(service, text(put(f"{ENTRY}.0.resource.id", ident)))
    within(answer, service, {200})
    assert [action["resource"]["id"] for action in answer.actions] == [ident]


@pytest.mark.parametrize("seconds", [0, -5, "300"])
def test_bad_input_57_expired_token_is_no_token(service: Service, seconds: object) -> None:
    # The reader of this service fails the test when it is asked anything.
    within(post(service, text(lent(expires_in=seconds))), service, {200})


def test_bad_input_64_feedback(service: Service) -> None:
    entry = {
        "card": "0d8f5b1e-52a3-4b0e-8d4e-4a2a7c1f9a55",
        "outcome": "overridden",
        "outcomeTimestamp": "2026-03-02T12:00:00Z",
        "overrideReasons": [{"reason": {"code": "other", "system": "x"}, "userComment": f"<b>{CANARY}</b>"}],
    }
    path = "order-sign/feedback"
    within(service.post({"feedback": [entry]}, path=path), service, {200})  # unknown card, plural spelling, HTML
    singular = {**entry, "overrideReason": entry["overrideReasons"][0]}
    del singular["overrideReasons"]
    within(service.post({"feedback": [singular]}, path=path), service, {200})
    within(service.post({"feedback": [{**entry, "outcome": CANARY}]}, path=path), service, {400})
    within(service.post({"feedback": [entry] * 10_000}, path=path), service, {200, 400, 413})
    within(service.post({}, path=path), service, {400})


@pytest.mark.parametrize("where", ["text", "attachment"])
def test_bad_input_81_large_narrative_and_attachments_are_skipped_quickly(service: Service, where: str) -> None:
    def change(made: dict[str, Any]) -> None:
        patient = made["prefetch"]["patient"]
        if where == "text":
            patient["text"] = {"status": "generated", "div": "<div>" + "x" * 3_000_000 + "</div>"}
        else:
            patient["photo"] = [{"contentType": "image/png", "data": "A" * 4_000_000}]

    within(post(service, text(change)), service, {200})

"""How a response is written for each DTR version, signed, and handed off."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from smart_app.dtr.signature import canonical_bytes, signed
from smart_app.dtr.urls import SIGNATURE
from smart_app.dtr.wire import Links, ResponseState, hand_off, header, payers_own_of, references_of
from smart_app.sdc.filling import Author

DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition"
WHO = Author("Practitioner/doc-1", "Dr. Sam Sample")
NOW = datetime(2026, 11, 25, 10, 30, 15, tzinfo=UTC)
LINKS = Links(patient="Patient/p", coverage="Coverage/c", orders=("MedicationRequest/m",), encounter="Encounter/e")
STATE = ResponseState(canonical="https://p.example.net/Questionnaire/a|3", status="completed", ident="r1")


def links_of(made: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (each["url"].rpartition("/")[2], each["valueReference"].get("reference", "logical"))
        for each in made["extension"]
        if "valueReference" in each
    ]


@pytest.mark.parametrize(
    ("version", "links", "system"),
    [
        ("2.0.1", [("qr-context", "Coverage/c"), ("qr-context", "MedicationRequest/m")], "temp"),
        ("2.1", [("qr-context", "Coverage/c"), ("qr-context", "MedicationRequest/m")], "temp"),
        ("2.2", [("qr-coverage", "Coverage/c"), ("qr-context", "MedicationRequest/m")], "coverage-information-codes"),
    ],
)
def test_AP23_order_and_coverage_are_linked_as_each_version_wants(version: str, links: Any, system: str) -> None:
    made = header(version, LINKS, WHO, NOW, STATE)
    assert links_of(made) == links
    uses = [
        each["valueCodeableConcept"]["coding"][0] for each in made["extension"] if each["url"].endswith("/intendedUse")
    ]
    assert [use["code"] for use in uses] == ["withpa", "retain-doc"]
    assert {use["system"] for use in uses} == {f"http://hl7.org/fhir/us/davinci-crd/CodeSystem/{system}"}
    assert made["author"] == {"reference": "Practitioner/doc-1", "display": "Dr. Sam Sample"}
    assert (made["authored"], made["status"], made["id"]) == ("2026-11-25T10:30:15+00:00", "completed", "r1")
    assert made["questionnaire"] == "https://p.example.net/Questionnaire/a|3"


def test_AP23_an_order_that_is_not_signed_is_named_and_never_dangles() -> None:
    made = header("2.2", Links(patient="Patient/p", unsigned=("MedicationRequest/draft-1",)), WHO, NOW, STATE)
    context = next(each for each in made["extension"] if each["url"] == f"{DTR}/qr-context")
    assert context["valueReference"] == {
        "type": "MedicationRequest",
        "identifier": {"value": "draft-1"},
        "display": "order not signed yet",
    }


def test_AP23_an_encounter_stands_for_the_order_where_there_is_none() -> None:
    made = header("2.2", Links(patient="Patient/p", coverage="Coverage/c", encounter="Encounter/e"), WHO, NOW, STATE)
    assert ("qr-context", "Encounter/e") in links_of(made)


def told(assertion: str) -> dict[str, Any]:
    url = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
    return {"url": url, "extension": [{"url": "coverage-assertion-id", "valueString": assertion}]}


@pytest.mark.parametrize(("version", "count"), [("2.0.1", 0), ("2.1", 1), ("2.2", 1)])
def test_AP30_coverage_information_is_on_the_response_from_2_1_on(version: str, count: int) -> None:
    state = ResponseState(canonical="x", status="completed", coverage_information=(told("as-1"),))
    made = header(version, LINKS, WHO, NOW, state)
    assert len([each for each in made["extension"] if each["url"].endswith("ext-coverage-information")]) == count


def test_AP22_an_adaptive_response_carries_its_questionnaire_and_what_the_payer_put_there() -> None:
    own = {"url": "https://payer.example.net/ext/session", "valueString": "s-1"}
    draft = {"extension": [own, {"url": f"{DTR}/qr-context", "valueReference": {"reference": "Coverage/c"}}, told("x")]}
    assert payers_own_of(draft) == (own,)
    state = ResponseState(
        canonical="x", status="in-progress", questionnaire={"resourceType": "Questionnaire"}, payers_own=(own,)
    )
    made = header("2.2", LINKS, WHO, NOW, state)
    assert made["questionnaire"] == "#questionnaire"
    assert made["contained"] == [{"resourceType": "Questionnaire", "id": "questionnaire"}]
    assert made["meta"]["profile"] == [f"{DTR}/dtr-questionnaireresponse-adapt"]
    assert own in made["extension"]


def test_AP32_the_hand_off_holds_the_response_first_and_what_it_refers_to_once() -> None:
    response = {"resourceType": "QuestionnaireResponse", "id": "r1", "subject": {"reference": "Patient/p"}}
    patient = {"resourceType": "Patient", "id": "p"}
    made = hand_off(response, [patient, patient], "https://ehr.example.org/fhir/")
    assert made["type"] == "collection"
    assert made["meta"]["profile"] == [f"{DTR}/DTR-QRBundle"]
    assert [entry["fullUrl"] for entry in made["entry"]] == [
        "https://ehr.example.org/fhir/QuestionnaireResponse/r1",
        "https://ehr.example.org/fhir/Patient/p",
    ]


def test_AP32_references_are_found_at_every_depth_and_only_those_of_the_ehr() -> None:
    response = {
        "subject": {"reference": "Patient/p"},
        "item": [
            {"answer": [{"valueReference": {"reference": "Condition/x"}}, {"valueReference": {"reference": "#in"}}]}
        ],
        "source": {"reference": "https://elsewhere.example.com/Patient/9"},
        "author": {"reference": "Patient/p"},
    }
    assert references_of(response) == ("Patient/p", "Condition/x")


KEY = ECKey.generate_key("P-384", {"kid": "k1", "alg": "ES384"})


def detached(payload: bytes) -> str:
    head, _, signature = jws.serialize_compact({"alg": "ES384"}, payload, KEY, algorithms=["ES384"]).split(".")
    return f"{head}..{signature}"


def test_AP28_a_signature_covers_the_content_and_survives_what_a_server_changes() -> None:
    response = {
        "resourceType": "QuestionnaireResponse",
        "id": "r1",
        "status": "completed",
        "extension": [told("as-1")],
        "item": [{"linkId": "a", "answer": [{"valueDecimal": Decimal("1.20")}]}],
    }
    made = signed(response, WHO, NOW, detached)
    signature = next(each["valueSignature"] for each in made["extension"] if each["url"] == SIGNATURE)
    assert signature["who"]["reference"] == "Practitioner/doc-1"
    assert signature["when"] == "2026-11-25T10:30:15+00:00"
    # What a server may do: set meta and narrative. A verifier takes signatures, meta and text away.
    stored = {**made, "meta": {"versionId": "7"}, "text": {"status": "generated"}}
    head, _, tail = base64.b64decode(signature["data"]).decode().split(".")
    payload = base64.urlsafe_b64encode(canonical_bytes(stored)).rstrip(b"=").decode()
    checked = jws.deserialize_compact(f"{head}.{payload}.{tail}", KEY, algorithms=["ES384"])
    assert json.loads(checked.payload)["item"][0]["answer"] == [{"valueDecimal": 1.2}]
    # What nobody may do: change an answer.
    changed = {**stored, "item": [{"linkId": "a", "answer": [{"valueDecimal": Decimal("1.3")}]}]}
    payload = base64.urlsafe_b64encode(canonical_bytes(changed)).rstrip(b"=").decode()
    with pytest.raises(Exception, match="bad_signature"):
        jws.deserialize_compact(f"{head}.{payload}.{tail}", KEY, algorithms=["ES384"])


def test_AP28_signing_again_replaces_the_signature() -> None:
    once = signed({"resourceType": "QuestionnaireResponse", "id": "r1"}, WHO, NOW, detached)
    twice = signed(once, WHO, NOW, detached)
    assert len([each for each in twice["extension"] if each["url"] == SIGNATURE]) == 1
    assert canonical_bytes(once) == canonical_bytes(twice)

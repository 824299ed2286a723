"""HL7's own example requests, sent as they are, and with an intrathecal order put in their orders' place.

They have known flaws and hold no neuraxial order: what counts is that each gets the status that its flaw deserves, and
that one order is all that is missing for a full determination.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.policy_files import Configuration, load_configuration
from cds_service.ports import Fetched
from tests.support import e2e_patient as patient
from tests.support.e2e_service import CONFIG, VERSIONS, Answer, Service, Told

PAYER = "Acme Health Plan"
SERVER = "http://example.org/some-payer/fhir/crd"
HOOK_INSTANCE = "0ce27236-cf79-5680-a12d-99351e7144b4"
SCOPES = "Patient and Observation only: Coverage may not be asked for"
UNSENT = "orders that are neither prefetched nor lent"
ORDER_ID = "intrathecal-1"

# file, service called, (status, actions, reason) in 2.0 and in 2.2
EXAMPLES = [
    ("cdshooks-library-order-sign-context-r4.json", "order-sign", (412, 0, "prefetch.coverage"), "a context alone"),
    ("cdshooks-library-order-select-context-r4.json", "order-select", (200, 0, "quiet"), "a context alone"),
    ("ig221-CRDServiceRequest.json", "order-sign", (200, 0, "quiet"), "mammography and oxygen: not our subject"),
    ("ig221-CRDServiceRequest2.json", "order-dispatch", (412, 0, "context.dispatchedOrders"), UNSENT),
    ("ig221-CRDServiceRequest3.json", "order-sign", (412, 0, "prefetch.coverage"), SCOPES),
    ("ig221-CRDServiceRequest4.json", "order-sign", (400, 0, "hook"), "appointment-book: not a hook of ours"),
    ("ig221-CRDServiceRequest4.json", "appointment-book", (404, 0, ""), "appointment-book: not a service of ours"),
]  # fmt: skip
# Examples of hooks that carry orders; order-select says nothing whatever the order is.
WITH_ORDERS = [
    "cdshooks-library-order-sign-context-r4.json",
    "ig221-CRDServiceRequest.json",
    "ig221-CRDServiceRequest2.json",
    "ig221-CRDServiceRequest3.json",
]
JUDGEMENTS = [
    "request_type",
    "severe_chronic_intractable_pain",
    "life_expectancy_ge_3_months",
    "noninvasive_trial_outcome",
    "noninvasive_trial_weeks",
    "systemic_opioid_included",
    "systemic_opioid_fixed_schedule",
    "systemic_opioid_adequate_dose",
    "implant_contraindications_eliminated",
]


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """The shipped configuration, with the examples' payer in one line of payer.yaml."""
    folder = tmp_path_factory.mktemp("acme") / "config"
    shutil.copytree(CONFIG, folder)
    payer = folder / "payer.yaml"
    text = payer.read_text("utf-8")
    assert "names: [Florida Blue]\n" in text
    payer.write_text(text.replace("names: [Florida Blue]\n", f"names: [{PAYER}]\n"), "utf-8")
    return load_configuration(folder)


@pytest.fixture
def ehr() -> Told:
    """The examples' EHR, which has nothing to add."""
    return Told(lambda _key, _query: Fetched("complete"))


@pytest.fixture
def service(start: Callable[..., Service], acme: Configuration, ehr: Told) -> Service:
    """A service for the examples' payer, whose client has registered the examples' FHIR server."""
    return start(configuration=acme, reader=ehr, fhir_servers=(SERVER,), allow_http=True)


def example(shared_dir: Path, name: str, hook: str) -> dict[str, Any]:
    """The example; a body that is only a context is made a call of."""
    body: dict[str, Any] = json.loads((shared_dir / "samples" / "crd" / name).read_text("utf-8"))
    return body if "hook" in body else {"hook": hook, "hookInstance": HOOK_INSTANCE, **body}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "hook", "expected", "why"), EXAMPLES, ids=[f"{row[0]} {row[1]}" for row in EXAMPLES])
def test_what_it_must_show_4_each_published_example(
    service: Service, shared_dir: Path, version: str, name: str, hook: str, expected: tuple[int, int, str], why: str
) -> None:
    answer = service.post(example(shared_dir, name, hook), version, path=hook)
    status, actions, reason = expected
    assert (answer.status, len(answer.actions)) == (status, actions), why
    if status == 200:
        assert (answer.bytes, service.last()["outcome"]) == (b'{"cards":[]}', reason)
    else:
        assert answer.json["resourceType"] == "OperationOutcome"
        assert answer.json["issue"][0].get("expression", [""]) == [reason]


def with_intrathecal_order(shared_dir: Path, name: str) -> dict[str, Any]:
    """The example with our order in place of its own, its subject spelled as the example spells it.

    An example without any Coverage gets one of the same patient: it says itself that without one there is no answer.
    """
    body = example(shared_dir, name, "order-sign")
    context = body["context"]
    if "draftOrders" in context:
        first = context["draftOrders"]["entry"][0]["resource"]
        subject = {"reference": (first.get("subject") or first["patient"])["reference"]}
    else:
        subject = {"reference": context["fulfillmentTasks"][0]["for"]["reference"]}
    ours = patient.order(id=ORDER_ID, subject=subject)
    if "encounterId" in context:
        ours["encounter"] = {"reference": f"Encounter/{context['encounterId']}"}
    else:
        del ours["encounter"]
    prefetch = body.setdefault("prefetch", {})
    if "draftOrders" in context:
        context["draftOrders"]["entry"] = [{"resource": ours}]
    else:
        context["dispatchedOrders"] = [f"MedicationRequest/{ORDER_ID}"]
        context.pop("fulfillmentTasks")
        prefetch["medications"] = patient.searchset(ours)
        body["extension"]["davinci-crd.configuration"].pop(
            "coverage-info"
        )  # the example wants none; here it is the point
    held = patient.coverage("COV1", payer=PAYER, beneficiary={"reference": f"Patient/{context['patientId']}"})
    prefetch.setdefault("coverage", patient.searchset(held))
    return body


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", WITH_ORDERS)
def test_what_it_must_show_4_an_intrathecal_order_in_their_place_is_fully_determined(
    service: Service, shared_dir: Path, ehr: Told, version: str, name: str
) -> None:
    body = with_intrathecal_order(shared_dir, name)
    requested = body.get("extension", {}).get("davinci-crd.requestedVersion", version)
    answer = service.post(body, version, path=body["hook"]).check()
    check_coverage_information(answer)
    check_order_unchanged(answer, body)
    document = service.sql.determination(answer.information()["coverage-assertion-id"])
    assert document is not None
    check_determination(json.loads(document)["orders"][0])
    topics = {card["source"]["topic"]["system"].rpartition("/")[2] for card in answer.cards}
    assert topics == ({"temp"} if requested == "2.0" else {"cdshooks-card-type"})
    # The token lends Patient and Observation: nothing else is asked for, payer and orders included.
    asked = {query.partition("/")[0].partition("?")[0] for round_ in ehr.asked for query in round_.values()}
    assert asked <= {"Patient", "Observation"}


def check_determination(judged: dict[str, Any]) -> None:
    """Every criterion of section I with its status; dose, tier and diagnosis beside them."""
    assert (judged["order"], judged["in_scope"], judged["program"]) == (
        f"MedicationRequest/{ORDER_ID}",
        True,
        "standard",
    )
    assert {key: each["status"] for key, each in judged["criteria"].items()} == {
        "stem": "unknown",
        "I.1": "unknown",
        "I.2": "unknown",
        "I.3": "unknown",
    }
    assert judged["missing_facts"] == JUDGEMENTS
    assert (judged["decision"], judged["sections"]) == ("insufficient_information", {"I": "unknown"})
    dose = judged["dose"][0]
    assert (dose["ingredient"], dose["daily"]["value"], dose["concentration"]["value"]) == ("morphine", "1", "2")
    assert (dose["daily_verdict"], dose["concentration_verdict"]) == ("within", "within")
    assert (judged["tier"]["tier"], judged["icd"]) == ("first", {"status": "supported", "codes": ["G89.28"]})
    assert "incomplete_data" in {flag["code"] for flag in judged["flags"]}  # none of them sends the whole prefetch


def check_coverage_information(answer: Answer) -> None:
    """Facts are missing: documentation by the form, for the prior authorization, with the reason."""
    assert len(answer.actions) == 1
    found = answer.information()
    assert found["coverage"] == {"reference": "Coverage/COV1"}
    assert (found["covered"], found["pa-needed"]) == ("covered", "auth-needed")
    assert (found["doc-needed"], found["doc-purpose"]) == ("clinical", "withpa")
    assert found["questionnaire"] == patient.QUESTIONNAIRE
    assert "9 facts" in found["reason"]["text"]
    assert found["date"] == patient.AS_OF
    assert [card["indicator"] for card in answer.cards] == ["info"]


def check_order_unchanged(answer: Answer, body: dict[str, Any]) -> None:
    """The order comes back as it was, but for one extension."""
    if "draftOrders" in body["context"]:
        sent = body["context"]["draftOrders"]["entry"][0]["resource"]
    else:
        sent = body["prefetch"]["medications"]["entry"][0]["resource"]
    assert patient.encode(sent)[:-1] + b',"extension":[' in answer.bytes
    assert answer.actions[0]["type"] == "update"

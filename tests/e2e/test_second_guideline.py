"""A made-up guideline for other drugs, routes, limits and durations runs through hook and CLI with files alone."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cds_service.adapters.policy_files import load_configuration
from cds_service.cli import main
from cds_service.errors import StoreUnavailable
from tests.support import e2e_patient as patient
from tests.support.e2e_patient import answered, call, chart, condition, coverage, encode, order
from tests.support.e2e_service import VERSIONS, Service
from tests.support.policy_cases import SECOND, second

Start = Callable[..., Service]
CANONICAL = "https://cds.example.org/fhir/Questionnaire/99-E0001-01"
ANSWERS = "https://cds.example.org/fhir/CodeSystem/coverage-answers-second"
START = {"request_kind": "start", "older_not_possible": "yes", "has_tuberculosis": "no"}
# Words of the guideline that ships: none of them may turn up in an answer by another one.
FOREIGN_WORDS = ("09-J1000-31", "J3490", "ntrathecal", "pidural", "280.14", "Florida", "morphine", "P1M")


def tablets(rate: str = "2", **changes: Any) -> dict[str, Any]:
    """Examplinib 4 mg/mL by mouth, 2 mL (8 mg) a day; its table says 10 mg and its rule 12 mg."""
    made = order(rate, reasonCode=[{"coding": [{"system": patient.ICD10, "code": "M99.01"}]}])
    made["contained"] = [patient.medication("4", drug="9900002")]
    made["dosageInstruction"] = [patient.dosage(rate, route="26643006")]
    return {**made, **changes}


def form(answers: dict[str, str]) -> dict[str, Any]:
    """The other guideline's form."""
    filled = answered(answers, questionnaire=f"{CANONICAL}|2025-07-01")
    for item in filled["item"]:
        item["answer"][0]["valueCoding"]["system"] = ANSWERS
    return filled


def grown(answers: dict[str, str] | None = None, **changes: Any) -> patient.Chart:
    """A grown patient with the disease, insured with the other payer."""
    usual = {
        "patient": [{"resourceType": "Patient", "id": patient.PATIENT, "birthDate": "1980-01-01"}],
        "coverage": [coverage(payer="Sample Mutual")],
        "conditions": [condition("M99.01")],
        "questionnaireResponses": [form(START if answers is None else answers)],
    }
    return chart(**{**usual, **changes})


@pytest.fixture
def service(start: Start) -> Service:
    """A service whose configuration is the made-up one."""
    return start(configuration=second())


@pytest.mark.parametrize("version", VERSIONS)
def test_issue_2_section_1_ready_by_another_guideline(service: Service, version: str) -> None:
    body = call(tablets(), held=grown())
    answer = service.post(body, version).check()
    found = answer.information()
    assert (found["covered"], found["pa-needed"]) == ("covered", "auth-needed")
    assert "doc-needed" not in found
    assert "guideline 99-E0001-01 appear to be met" in found["reason"]["text"]
    assert "- Examplinib\n" in answer.cards[0]["detail"]  # what its table says of the regimen
    assert "Billing" not in answer.cards[0]["detail"]  # it lists no codes
    assert not [word for word in FOREIGN_WORDS if word in answer.bytes.decode()]
    judged = service.determined(body)["orders"][0]
    assert {key: each["status"] for key, each in judged["criteria"].items()} == dict.fromkeys(
        ("A.age", "A.disease", "A.before", "A.safe", "A.dose"), "met"
    )
    assert (judged["decision"], judged["approval_duration"], judged["request_type"]) == ("meets", "P26W", "start")
    assert judged["dose"][0]["daily_limit"] == {"value": "10", "unit": "mg/d"}


@pytest.mark.parametrize("version", VERSIONS)
def test_issue_2_section_1_its_own_facts_are_asked_for(service: Service, version: str) -> None:
    answer = service.post(call(tablets(), held=grown({"request_kind": "start"})), version).check()
    found = answer.information()
    assert found["questionnaire"] == f"{CANONICAL}|2025-07-01"
    assert "A.before" in found["reason"]["text"]
    assert not [word for word in FOREIGN_WORDS if word in answer.bytes.decode()]


def test_issue_2_section_1_its_own_limits_are_watched(service: Service) -> None:
    """13 mg a day: above its table (10), and its rule of 12 is a criterion."""
    body = call(tablets("3.25"), held=grown())
    answer = service.post(body).check()
    assert answer.cards[0]["indicator"] == "warning"
    assert "13 mg/d" in answer.cards[0]["summary"]
    assert service.determined(body)["orders"][0]["criteria"]["A.dose"]["status"] == "not_met"


def test_reliability_68_a_strangers_birth_date_is_nobodys_age(service: Service) -> None:
    """Another Patient comes along as an include: the age of the one who is treated stays unknown."""
    body = call(tablets(), held=grown())
    del body["prefetch"]["patient"]
    stranger = {"resourceType": "Patient", "id": "stranger", "birthDate": "1980-01-01"}
    body["prefetch"]["conditions"]["entry"].append({"resource": stranger, "search": {"mode": "include"}})
    assert service.determined(body)["orders"][0]["criteria"]["A.age"]["status"] == "unknown"
    assert service.post(body).check().information()["covered"] == "covered"


@pytest.mark.parametrize(
    "draft",
    [order(), tablets(dosageInstruction=[patient.dosage(route="72607000")])],
    ids=["a pump drug", "its drug by another route"],
)
def test_issue_2_section_1_what_the_first_guideline_is_about_is_not_its_subject(
    service: Service, draft: dict[str, Any]
) -> None:
    assert service.post(call(draft, held=grown())).bytes == b'{"cards":[]}'


def test_issue_2_section_1_the_payer_is_its_own(service: Service) -> None:
    held = grown(coverage=[coverage(payer="Florida Blue")])
    assert service.post(call(tablets(), held=held)).bytes == b'{"cards":[]}'


def test_issue_2_section_1_trouble_of_ours_is_said_of_its_orders(start: Start) -> None:
    """Which orders may concern us is data too: here a drug by mouth, not one into the spine."""
    service = start(configuration=second(), store=_Down)
    technical = service.post(call(tablets(), held=grown()), "2.2").check()
    assert technical.information()["covered"] == "indeterminate"
    assert service.post(call(order(), held=grown()), "2.2").bytes == b'{"cards":[]}'


class _Down:
    """A store that is down."""

    def __init__(self, store: Any) -> None:
        self.ping = store.ping

    def __getattr__(self, name: str) -> Any:
        def down(*_: Any, **__: Any) -> Any:
            raise StoreUnavailable("made up")

        return down


def test_issue_2_section_1_discovery_asks_for_its_observations(service: Service) -> None:
    discovered = service.get("/cds-services").json
    assert "http://loinc.org|99999-1" in discovered["services"][0]["prefetch"]["observations"]
    assert "72514-3" not in json.dumps(discovered)


def test_issue_2_section_1_its_public_page_is_there(service: Service) -> None:
    page = service.get("/policies/99-E0001-01")
    assert page.status == 200
    text = page.bytes.decode()
    assert "Took the older therapy for 90 days or cannot take it" in text
    assert "09-J1000-31" not in text
    assert service.get("/policies/09-J1000-31").status == 404


def test_issue_2_section_1_through_the_command_line(service: Service, tmp_path: Path) -> None:
    """Only a folder is named; the document is the one that the hook keeps."""
    body = call(tablets(), held=grown())
    path = tmp_path / "call.json"
    path.write_bytes(encode(body))
    stored = service.post(body).check().information()["coverage-assertion-id"]
    run = CliRunner().invoke(main, ["evaluate", "--config", str(SECOND), "--as-of", patient.AS_OF, str(path)])
    assert run.exit_code == 0, run.output
    assert json.loads(run.output) == service.get(f"/determinations/{stored}").json
    assert CliRunner().invoke(main, ["check-policy", str(SECOND)]).exit_code == 0
    listed = CliRunner().invoke(main, ["discovery", "--config", str(SECOND)])
    assert listed.output.strip().encode() == service.get("/cds-services").bytes


def test_issue_2_section_1_a_changed_limit_is_a_changed_answer(start: Start, tmp_path: Path, service: Service) -> None:
    """The policy's owner raises the table from 10 to 14 mg in the file: no programmer, another digest."""
    folder = tmp_path / "config"
    shutil.copytree(SECOND, folder)
    table = folder / "policies" / "99-E0001-01" / "dosing.yaml"
    text = table.read_text("utf-8")
    changed = text.replace("daily: 10 mg}", "daily: 14 mg}").replace("    daily: 10\n", "    daily: 14\n")
    assert changed != text
    table.write_text(changed, "utf-8")
    body = call(tablets("2.75"), held=grown())
    before = service.post(body)
    after = start(configuration=load_configuration(folder)).post(copy.deepcopy(body) | {"extension": {}})
    assert [card["indicator"] for card in before.cards] == ["warning", "info"]
    assert [card["indicator"] for card in after.check().cards] == ["info"]
    idents = [each.information()["coverage-assertion-id"] for each in (before, after)]
    digests = [service.get(f"/determinations/{ident}").json["policy"]["digest"] for ident in idents]
    assert len(set(digests)) == 2

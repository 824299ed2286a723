"""However an ICD-10-CM code is written, we write it in upper case and with its dot (contract: determination)."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from cds_service.app import load_rules
from cds_service.settings import for_tests
from cds_service.use_cases.decide import Rules, evaluate_document
from tests.support.e2e_patient import AS_OF, ICD10, TRIAL, call, chart, condition, encode, order
from tests.support.e2e_service import shipped


def judged(rules: Rules, reason: str, problem: str) -> dict[str, Any]:
    made = order(reasonCode=[{"coding": [{"system": ICD10, "code": reason}]}])
    answers = {**TRIAL, "severe_chronic_intractable_pain": ""}
    body = encode(call(made, held=chart(answers, conditions=[condition(problem)])))
    document = json.loads(evaluate_document(body, rules, date.fromisoformat(AS_OF)))
    found: dict[str, Any] = document["orders"][0]
    return found


def printed_without_dots() -> Rules:
    """The guideline, had it printed its codes without dots and in small letters."""
    usual = shipped()
    first = usual.guidelines[0]
    icd = tuple(msgspec.structs.replace(each, code=each.code.replace(".", "").lower()) for each in first.icd)
    bare = {each.code.upper(): each for each in icd}
    plan = msgspec.structs.replace(first.plan, icd=bare)
    guideline = msgspec.structs.replace(first, icd=icd, plan=plan)
    return load_rules(msgspec.structs.replace(usual, guidelines=(guideline,)), for_tests())


SHIPPED = load_rules(shipped(), for_tests())


@pytest.mark.parametrize("written", ["G89.29", "G8929", "g89.29", "g8929"])
def test_a_code_that_is_not_listed_is_flagged_with_its_dot(written: str) -> None:
    assert {"code": "icd_not_listed", "subject": "G89.29"} in judged(SHIPPED, written, "Z00.0")["flags"]


@pytest.mark.parametrize("written", ["I10", "i10"])
def test_three_characters_have_no_dot(written: str) -> None:
    assert {"code": "icd_not_listed", "subject": "I10"} in judged(SHIPPED, written, "Z00.0")["flags"]


@pytest.mark.parametrize("rules", [SHIPPED, printed_without_dots()], ids=["as shipped", "printed without dots"])
@pytest.mark.parametrize("written", ["G89.28", "G8928", "g8928"])
def test_a_listed_code_is_given_with_its_dot(rules: Rules, written: str) -> None:
    found = judged(rules, written, "Z00.0")
    assert found["icd"] == {"status": "supported", "codes": ["G89.28"]}


@pytest.mark.parametrize("written", ["D68.9", "D689", "d689"])
def test_evidence_names_a_problem_without_text_by_its_code_with_the_dot(written: str) -> None:
    text = json.dumps(judged(SHIPPED, "G89.28", written))
    assert "D68.9, active" in text
    assert "D689" not in text.upper().replace("D68.9", "")

"""What ships is what the guideline prints: each number, code and sentence against the printed text."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from cds_service.domain.determination import Program
from cds_service.domain.record import Code
from cds_service.domain.vocabulary import ICD10CM, RouteGroup
from cds_service.policy.model import Fact
from cds_service.policy.page import page
from tests.support.policy_cases import CONFIG, SYSTEMS, read, shipped, simple

GUIDELINE = shipped().guidelines[0]
VOCABULARY = shipped().vocabulary


@pytest.fixture(scope="module")
def printed(shared_dir: Path) -> str:
    """The printed text."""
    return (shared_dir / "guideline" / "09-J1000-31.txt").read_text("utf-8")


def test_the_table_is_printed_so(printed: str) -> None:
    for row in GUIDELINE.dose_rows:
        cells = (row.printed_name, row.printed_vials, row.printed_concentration, row.printed_daily)
        assert "\t".join(cells) in printed


@pytest.mark.parametrize(
    ("drug", "daily", "concentration"),
    [
        ("baclofen", "2", "2"),
        ("bupivacaine", "30", "38"),
        ("clonidine", "1.5", "2"),
        ("fentanyl", None, "0.05"),
        ("hydromorphone", "10", "30"),
        ("morphine", "15", "30"),
    ],
)
def test_the_limits_in_mg(drug: str, daily: str | None, concentration: str) -> None:
    row = GUIDELINE.dose_table.rows[drug]
    assert row.daily == (None if daily is None else Fraction(daily))
    assert row.concentration == Fraction(concentration)


def test_no_limit_is_invented() -> None:
    assert set(GUIDELINE.dose_table.rows) == {row.drug for row in GUIDELINE.dose_rows}
    assert "sufentanil" not in GUIDELINE.dose_table.rows
    assert "ziconotide" not in GUIDELINE.dose_table.rows
    assert GUIDELINE.dose_table.routes == {RouteGroup.INTRATHECAL}
    assert GUIDELINE.dose_table.rows["fentanyl"].concentration_error_factor is None


def test_the_numbers_of_a_row_follow_from_its_print() -> None:
    scale = {"µg": Fraction(1, 1000), "mg": Fraction(1), "%": Fraction(10)}
    for row in GUIDELINE.dose_rows:
        vials = [
            Fraction(number) * scale[unit] for number, unit in re.findall(r"([\d.]+)\s*(µg|mg|%)", row.printed_vials)
        ]
        assert sorted(vials) == sorted(row.vials)


def test_all_icd_codes_as_printed(printed: str) -> None:
    lines = [f"{each.code}\t{each.text}" for each in GUIDELINE.icd]
    assert len(lines) == 25
    assert all(line in printed for line in lines)
    assert {each.system for each in GUIDELINE.icd} == {ICD10CM}


def test_all_hcpcs_codes_as_printed(printed: str) -> None:
    lines = [f"{each.code}\t{each.text}" for each in GUIDELINE.hcpcs]
    assert len(lines) == 13
    assert all(line in printed for line in lines)


def test_quoted_sentences_stand_in_the_print(printed: str) -> None:
    plain = _plain(printed)
    quoted = [each for each in GUIDELINE.statements if each.quoted]
    assert len(quoted) == 6
    for each in quoted:
        assert _plain(each.text) in plain, each.id


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9*]+", " ", text.replace("**Ghafoor, VL et al**", "Ghafoor, VL et al").lower())


def test_durations_and_revisions() -> None:
    assert [section.approval_duration for section in GUIDELINE.sections.values()] == ["P1M", "P1Y"]
    assert len(GUIDELINE.revisions) == 11
    assert GUIDELINE.revisions[-1].date == GUIDELINE.effective
    assert set(GUIDELINE.programs) == {Program.FEP, Program.SAO, Program.MEDICARE_ADVANTAGE}


def test_j0475_stays_as_printed_and_is_annotated() -> None:
    code = next(each for each in GUIDELINE.hcpcs if each.code == "J0475")
    assert code.text == "Injection, bupivacaine, 10 mg"
    assert code.national == "Injection, baclofen, 10 mg"
    assert any(each.flag == "code_conflict" for each in GUIDELINE.annotations)


@pytest.mark.parametrize(
    ("name", "rxcui"),
    [
        ("baclofen", "1292"),
        ("bupivacaine", "1815"),
        ("clonidine", "2599"),
        ("fentanyl", "4337"),
        ("hydromorphone", "3423"),
        ("morphine", "7052"),
        ("sufentanil", "56795"),
        ("ziconotide", "68503"),
    ],
)
def test_ingredients_by_name_and_code(name: str, rxcui: str) -> None:
    assert VOCABULARY.ingredients[Code(SYSTEMS["rxnorm"], rxcui)].name == name


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("coagulopathy", ["icd10:D65", "icd10:d6832", "icd10:D66", "snomed:64779008"]),
        ("systemic_infection", ["icd10:A41.9", "icd10:A40.0", "icd10:R78.81"]),
        ("limited_prognosis", ["snomed:385763009", "icd10:Z51.5"]),
        ("anticoagulant_use", ["icd10:Z79.01", "rxnorm:11289"]),
        ("systemic_opioids", ["rxnorm:7804", "rxnorm:1049502", "rxnorm:245134"]),
    ],
)
def test_value_sets_hold_their_codes(name: str, codes: list[str]) -> None:
    for text in codes:
        system, _, code = text.partition(":")
        sets = GUIDELINE.plan.codes.sets_of((Code(SYSTEMS[system], code),))
        assert name in sets, text
        assert VOCABULARY.holds(name, (Code(SYSTEMS[system], code),)) is not None


def test_a_diagnosis_of_another_family_is_in_no_set() -> None:
    assert GUIDELINE.plan.codes.sets_of((Code(ICD10CM, "D64.9"), Code("urn:other", "D68.9"))) == ()


def test_hcpcs_by_either_address_is_the_same_code() -> None:
    for system in VOCABULARY.systems["hcpcs"]:
        assert "generic_pump_codes" in GUIDELINE.plan.codes.sets_of((Code(system, "E0783"),))


def test_every_value_carries_its_citation_and_day() -> None:
    cited = [
        GUIDELINE.scope,
        *GUIDELINE.criteria.values(),
        *GUIDELINE.sections.values(),
        *GUIDELINE.facts.values(),
        *GUIDELINE.icd,
        *GUIDELINE.hcpcs,
        *GUIDELINE.dose_rows,
        *GUIDELINE.regimens,
        *GUIDELINE.annotations,
        *GUIDELINE.statements,
        *GUIDELINE.programs.values(),
        *GUIDELINE.request_types.values(),
    ]
    assert all(each.cite and each.since <= GUIDELINE.effective for each in cited)


CONTRACT = {
    "request_type": ("trial", "permanent", "refill_or_renewal"),
    "noninvasive_trial_outcome": (
        "failure", "intolerance", "contraindication", "adequate_relief", "not_tried", "cannot_determine",
    ),
    "intraspinal_trial_drug_class": ("opioid", "non_opioid", "cannot_determine"),
    **dict.fromkeys(
        (
            "severe_chronic_intractable_pain", "life_expectancy_ge_3_months", "implant_contraindications_eliminated",
            "systemic_opioid_included", "systemic_opioid_fixed_schedule", "systemic_opioid_adequate_dose",
            "intraspinal_trial_done", "intraspinal_trial_tolerated", "intraspinal_trial_pain_relief_acceptable",
            "intraspinal_trial_function_improved", "pain_related_to_spasticity", "predominantly_neuropathic",
            "compounded", "preservative_free_confirmed",
        ),
        ("yes", "no", "cannot_determine"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRACT)
def test_contract_questionnaire_choices(name: str) -> None:
    assert tuple(option.code for option in GUIDELINE.facts[name].options) == CONTRACT[name]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("noninvasive_trial_weeks", "decimal"),
        ("intraspinal_trial_pain_baseline", "decimal"),
        ("intraspinal_trial_pain_after", "decimal"),
        ("intraspinal_trial_date", "date"),
        ("attestation_date", "date"),
        ("clinical_rationale", "group"),
        ("daily_dose", "group"),
        ("concentration", "group"),
        ("route_confirmed", "choice"),
    ],
)
def test_contract_questionnaire_kinds(name: str, kind: str) -> None:
    assert GUIDELINE.facts[name].kind == kind


def test_contract_questionnaire_rationale() -> None:
    reason, text = GUIDELINE.facts["clinical_rationale"].items
    assert isinstance(reason, Fact)
    assert (reason.name, text.name) == ("clinical_rationale_reason", "clinical_rationale_text")
    assert [option.code for option in reason.options] == [
        "verified_chronic_regimen",
        "failed_lower_dose",
        "product_stability",
        "data_error",
        "other",
    ]


def test_every_unverified_code_of_the_analysis_is_marked_or_absent() -> None:
    unverified = {"62360", "62322", "62323", "62324", "62325", "62326", "62327", "9863", "38214-3", "38221-8", "ISPI"}
    for path in sorted((CONFIG / "terminology").rglob("*.yaml")):
        node = read(path.read_text("utf-8"), path.name, [])
        assert node is not None
        for entry in _entries(simple(node)):
            if unverified & set(entry["codes"]):
                assert entry.get("unverified") == "true", (path.name, entry)
                assert set(entry["codes"]) <= unverified | {"62322"}


def _entries(value: object) -> list[dict[str, list[str]]]:
    if isinstance(value, list):
        return [entry for item in value for entry in _entries(item)]
    if isinstance(value, dict):
        own = (
            [value] if isinstance(value.get("codes"), list) and all(isinstance(c, str) for c in value["codes"]) else []
        )
        return own + [entry for item in value.values() for entry in _entries(item)]
    return []


def test_the_page_shows_the_whole_guideline() -> None:
    view = page(GUIDELINE)
    assert view.stem is not None
    assert [each.duration for each in view.sections] == ["1 month", "1 year"]
    assert [criterion.id for each in view.sections for criterion in each.criteria] == [
        "I.1",
        "I.2",
        "I.3",
        "II.1",
        "II.2",
    ]
    assert view.undosed == ("sufentanil", "ziconotide")
    outcome, failed = view.sections[0].criteria[1].explain.parts
    assert outcome.text.endswith("Not tolerated or Contraindicated")
    assert [part.text for part in failed.parts][1] == "Length of the noninvasive trial: at least 6 weeks"

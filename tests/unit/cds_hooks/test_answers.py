"""The table of situations, row by row (decisions 4), for CRD 2.0 and 2.2."""

from datetime import date

import msgspec
import pytest

from cds_service.cds_hooks.answers import ROWS, Situation, coverage_usable, prior_authorization_rule, technical_answer
from cds_service.domain.authorization import OnFile
from cds_service.domain.coverage_answer import Covered, DocNeeded, DocPurpose, InfoNeeded, PaNeeded, ReasonCode
from cds_service.domain.determination import CriterionResult, Decision, Program
from cds_service.domain.payer import ProgramRules
from cds_service.domain.truth import Truth
from cds_service.errors import CoverageNotUsable, PrefetchMissing
from cds_service.fhir.coverage import CoverageChoice
from tests.support.hook_calls import (
    AUTHORIZATION,
    DRAFT,
    NOT_MET,
    OURS,
    PAYER,
    QUESTIONNAIRE,
    UNKNOWN,
    answered,
    dose,
    flags,
    judged,
    missing,
)

replace = msgspec.structs.replace
ABOVE = {"dose": (dose("16"),)}
FORM = (DocNeeded.CLINICAL, (DocPurpose.WITH_PA,), (QUESTIONNAIRE,))
NO_FORM = (None, (), ())
OTH = (InfoNeeded.OTHER,)
COVERED, CONDITIONAL = Covered.COVERED, Covered.CONDITIONAL


def with_payer(**changes):
    return replace(PAYER, **changes)


@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize(
    ("situation", "determination", "context", "covered", "pa_needed", "form", "info"),
    [
        pytest.param(
            Situation.INACTIVE,
            judged(),
            {"coverage": replace(OURS, active=False)},
            Covered.NOT_COVERED,
            None,
            NO_FORM,
            (),
            id="coverage ended",
        ),
        pytest.param(
            Situation.REDIRECT,
            judged(program=Program.FEP, decision=Decision.REDIRECT_FEP),
            {},
            CONDITIONAL,
            PaNeeded.CONDITIONAL,
            NO_FORM,
            OTH,
            id="federal employee",
        ),
        pytest.param(
            Situation.REDIRECT,
            judged(program=Program.SAO, decision=Decision.REDIRECT_SAO),
            {},
            CONDITIONAL,
            PaNeeded.CONDITIONAL,
            NO_FORM,
            OTH,
            id="state account",
        ),
        pytest.param(
            Situation.MEDICARE,
            missing(program=Program.MEDICARE_ADVANTAGE, decision=Decision.REFER_MEDICARE_POLICY),
            {},
            CONDITIONAL,
            PaNeeded.CONDITIONAL,
            FORM,
            OTH,
            id="medicare, nothing settled",
        ),
        pytest.param(
            Situation.MEDICARE,
            judged(program=Program.MEDICARE_ADVANTAGE, decision=Decision.REFER_MEDICARE_POLICY),
            {"payer": with_payer(medicare_pa="auth-needed")},
            CONDITIONAL,
            PaNeeded.AUTH_NEEDED,
            FORM,
            OTH,
            id="medicare, the payer asks for authorization",
        ),
        pytest.param(
            Situation.AUTHORIZED,
            missing(),
            {"on_file": OnFile(granted=AUTHORIZATION)},
            COVERED,
            PaNeeded.SATISFIED,
            NO_FORM,
            (),
            id="authorization in force, whatever the chart shows",
        ),
        pytest.param(
            Situation.PENDING,
            missing(),
            {"on_file": OnFile(pending=replace(AUTHORIZATION, status="pending", due="2026-03-05"))},
            COVERED,
            PaNeeded.AUTH_NEEDED,
            NO_FORM,
            (),
            id="request pending",
        ),
        pytest.param(
            Situation.CANNOT_TELL,
            judged(in_scope=None, flags=flags("route_missing")),
            {},
            CONDITIONAL,
            PaNeeded.CONDITIONAL,
            NO_FORM,
            OTH,
            id="route missing",
        ),
        pytest.param(
            Situation.CANNOT_TELL,
            judged(program=Program.UNKNOWN),
            {"coverage": replace(OURS, state="unknown", program=Program.UNKNOWN)},
            CONDITIONAL,
            PaNeeded.CONDITIONAL,
            NO_FORM,
            OTH,
            id="payer cannot be told",
        ),
        pytest.param(
            Situation.CANNOT_TELL,
            judged(),
            {
                "payer": with_payer(pa_required_by_plan={"GRP-1": "unknown"}),
                "coverage": replace(OURS, plans=("GRP-1",)),
            },
            CONDITIONAL,
            PaNeeded.CONDITIONAL,
            NO_FORM,
            OTH,
            id="nobody settled it for the plan",
        ),
        pytest.param(
            Situation.READY, judged(), {}, COVERED, PaNeeded.AUTH_NEEDED, NO_FORM, (), id="met, nothing to capture"
        ),
        pytest.param(
            Situation.MISSING_FACTS, missing(), {}, COVERED, PaNeeded.AUTH_NEEDED, FORM, (), id="facts missing"
        ),
        pytest.param(
            Situation.MISSING_FACTS,
            missing(**ABOVE),
            {},
            COVERED,
            PaNeeded.AUTH_NEEDED,
            FORM,
            (),
            id="facts missing comes before dose",
        ),
        pytest.param(
            Situation.RATIONALE,
            judged(**ABOVE),
            {},
            COVERED,
            PaNeeded.AUTH_NEEDED,
            FORM,
            (),
            id="dose above the table, no rationale",
        ),
        pytest.param(
            Situation.RATIONALE,
            judged(dose=(dose("12", "31"),)),
            {},
            COVERED,
            PaNeeded.AUTH_NEEDED,
            FORM,
            (),
            id="concentration above the table, no rationale",
        ),
        pytest.param(
            Situation.RATIONALE,
            judged(criteria={"I.1": NOT_MET}, sections={"I": Truth.NOT_MET}, decision=Decision.DOES_NOT_MEET),
            {},
            COVERED,
            PaNeeded.AUTH_NEEDED,
            FORM,
            (),
            id="criterion not met, no rationale",
        ),
        pytest.param(
            Situation.RATIONALE,
            judged(criteria={"stem": NOT_MET}, decision=Decision.NOT_APPLICABLE),
            {},
            COVERED,
            PaNeeded.AUTH_NEEDED,
            FORM,
            (),
            id="spasticity without pain",
        ),
        pytest.param(
            Situation.REVIEWER,
            judged(**ABOVE, rationale_on_file=True),
            {},
            COVERED,
            PaNeeded.AUTH_NEEDED,
            NO_FORM,
            (),
            id="dose above, rationale on file",
        ),
        pytest.param(
            Situation.REVIEWER,
            judged(decision=Decision.INSUFFICIENT_INFORMATION, flags=flags("renewal_criteria_not_stated")),
            {},
            COVERED,
            PaNeeded.AUTH_NEEDED,
            NO_FORM,
            (),
            id="renewal: a person decides",
        ),
        pytest.param(
            Situation.NO_AUTH,
            missing(),
            {"payer": with_payer(programs={Program.STANDARD: ProgramRules(Program.STANDARD, pa_required="no")})},
            COVERED,
            PaNeeded.NO_AUTH,
            NO_FORM,
            (),
            id="the plan needs no authorization",
        ),
        pytest.param(
            Situation.OUTSIDE_SAID,
            judged(in_scope=False),
            {"payer": with_payer(outside_guideline="conditional")},
            CONDITIONAL,
            PaNeeded.CONDITIONAL,
            NO_FORM,
            OTH,
            id="outside, and the payer wants a word",
        ),
    ],
)
def test_crd_099_100_the_table(version, situation, determination, context, covered, pa_needed, form, info):
    said = answered(determination, version=version, **context)
    assert said.situation is situation
    found = said.answer
    assert (found.covered, found.pa_needed) == (covered, pa_needed)
    assert (found.doc_needed, found.doc_purpose, found.questionnaires) == form
    assert found.info_needed == info


@pytest.mark.parametrize(
    "determination",
    [
        pytest.param(judged(in_scope=False), id="a tablet"),
        pytest.param(judged(in_scope=False, flags=flags("acute_care_setting")), id="labour"),
    ],
)
def test_outside_the_guideline_nothing_is_said(determination):
    assert answered(determination).answer is None


def test_acute_care_stays_silent_even_where_the_payer_speaks_of_other_orders():
    labour = judged(in_scope=False, flags=flags("acute_care_setting"))
    assert answered(labour, payer=with_payer(outside_guideline="conditional")).answer is None


def test_crd_149_inactive_coverage_has_the_code_of_2_2():
    reason = answered(judged(), coverage=replace(OURS, active=False)).answer.reasons[0]
    assert reason.code is ReasonCode.NO_ACTIVE_COVERAGE
    assert reason.text


def test_crd_146_154_an_authorization_is_reported_with_its_limits():
    found = answered(judged(), on_file=OnFile(granted=AUTHORIZATION)).answer
    assert found.satisfied_pa_id == "PA-1"
    assert found.expiry == date(2026, 12, 31)
    assert [detail.code.value for detail in found.details] == ["allowed-period", "allowed-quantity", "allowed-quantity"]
    assert [code.code for code in found.billing] == ["J3490"]


def test_an_authorization_with_a_limit_that_cannot_be_read_shows_it_as_it_is():
    odd = replace(AUTHORIZATION, max_daily={"morphine": "a lot"}, quantity="")
    assert answered(judged(), on_file=OnFile(granted=odd)).answer.details[1].value == "a lot"


def test_redirects_name_whose_guideline_applies():
    found = answered(judged(program=Program.FEP)).answer
    assert found.details[0].value == "Follow FEP guidelines."
    assert "Follow FEP guidelines." in found.reasons[0].text
    plain = answered(judged(program=Program.SAO), payer=with_payer(programs={})).answer
    assert plain.details[0].value == "Ask the payer whose guideline applies."


def test_crd_135_147_every_answer_with_documents_says_why():
    for determination in (missing(), judged(**ABOVE), missing(program=Program.MEDICARE_ADVANTAGE)):
        assert answered(determination).answer.reasons[0].text


def test_dose_reason_names_value_and_limit():
    text = answered(judged(dose=(dose("16", "31"),))).answer.reasons[0].text
    assert "Morphine 16 mg/d is above the guideline table's 15 mg/d" in text
    assert "morphine 31 mg/mL is above the guideline table's 30 mg/mL" in text


def test_missing_facts_reason_names_criteria_and_a_failed_read():
    text = answered(missing(flags=flags("incomplete_data"))).answer.reasons[0].text
    assert "I.1" in text
    assert "1 fact " in text
    assert "was not available" in text
    assert "was not available" not in answered(missing()).answer.reasons[0].text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (
            answered(judged()),
            (
                "Prior authorization is needed. The criteria of guideline 09-J1000-31 appear to be met; "
                "the request can be submitted."
            ),
        ),
        (
            answered(missing(criteria={"I.1": UNKNOWN, "I.2": UNKNOWN}, missing_facts=("a", "b", "c"))),
            (
                "Prior authorization is needed. The chart does not settle 3 facts that guideline 09-J1000-31 asks for "
                "(criteria I.1, I.2)."
            ),
        ),
        (
            answered(judged(**ABOVE, criteria={"stem": NOT_MET, "I.1": NOT_MET})),
            (
                "Prior authorization is needed. It takes a clinical rationale for the dose and 2 criteria. "
                "Morphine 16 mg/d is above the guideline table's 15 mg/d; not shown by what was found: the indication, "
                "I.1 of guideline 09-J1000-31."
            ),
        ),
        (
            answered(judged(decision=Decision.INSUFFICIENT_INFORMATION, flags=flags("renewal_criteria_not_stated"))),
            (
                "Prior authorization is needed. The request can be submitted; a reviewer decides. "
                "Renewal criteria are not stated in the guideline."
            ),
        ),
        (
            answered(judged(program=Program.MEDICARE_ADVANTAGE)),
            "Medicare Advantage: NCD 280.14 applies. A person decides; guideline 09-J1000-31 is shown as information.",
        ),
        (
            answered(judged(in_scope=None, flags=flags("route_missing"))),
            "Coverage cannot be told yet. The route of administration is not stated; give it on the order.",
        ),
    ],
)
def test_the_reason_says_which_part_it_explains(said, text):
    assert said.answer.reasons[0].text == text


@pytest.mark.parametrize(
    ("due", "shown"),
    [
        ("2026-03-05T17:00:00Z", "2026-03-05 17:00 UTC"),
        ("2026-03-05T17:00:00.5-05:00", "2026-03-05 17:00 UTC-05:00"),
        ("2026-03-05", "2026-03-05"),
        ("next week", "next week"),
    ],
)
def test_when_a_decision_is_due_in_words(due, shown):
    waiting = OnFile(pending=replace(AUTHORIZATION, status="pending", due=due))
    assert answered(judged(), on_file=waiting).answer.reasons[0].text.endswith(f"A decision is due by {shown}.")


@pytest.mark.parametrize(
    "determination", [missing(), judged(**ABOVE), judged(criteria={"stem": NOT_MET}), judged(), missing(in_scope=None)]
)
def test_no_answer_speaks_of_denial(determination):
    text = " ".join(reason.text for reason in answered(determination).answer.reasons).lower()
    assert "denied" not in text
    assert "does not meet" not in text


@pytest.mark.parametrize(
    ("determination", "failed", "hidden"),
    [
        pytest.param(judged(in_scope=None), {"Medication"}, True, id="the drug could not be read"),
        pytest.param(judged(in_scope=None), {"Condition"}, False, id="a problem list does not hide a drug"),
        pytest.param(judged(program=Program.UNKNOWN), {"Organization"}, True, id="the payer could not be read"),
        pytest.param(missing(), {"Condition", "Observation"}, False, id="only criteria are unknown: facts missing"),
    ],
)
def test_crd_148_technical_only_where_a_read_hides_what_decides(determination, failed, hidden):
    said = answered(determination, failed=frozenset(failed))
    assert (said.situation is Situation.TECHNICAL) == hidden


def test_crd_107_148_technical_answer_by_version():
    new = technical_answer([DRAFT], "2.2")[0].answer
    assert (new.covered, new.pa_needed) == (Covered.INDETERMINATE, PaNeeded.INDETERMINATE)
    assert new.reasons[0].code is ReasonCode.TECHNICAL
    assert new.doc_needed is None
    old = technical_answer([DRAFT], "2.0")[0].answer
    assert (old.covered, old.pa_needed, old.info_needed) == (CONDITIONAL, PaNeeded.CONDITIONAL, OTH)
    assert old.reasons[0].text


def choice(state, reference="Coverage/cov-1"):
    return CoverageChoice(state=state, program=Program.UNKNOWN, reference=reference, active=True)


def test_crd_040_113_coverage_neither_sent_nor_readable():
    for version in ("2.0", "2.2"):
        with pytest.raises(PrefetchMissing) as refused:
            coverage_usable(choice("not_readable", ""), version)
        assert refused.value.expression == "prefetch.coverage"


@pytest.mark.parametrize("state", ["none", "foreign", "ambiguous"])
def test_crd_112_150_no_coverage_of_ours_by_version(state):
    with pytest.raises(CoverageNotUsable):
        coverage_usable(choice(state), "2.2")
    assert coverage_usable(choice(state), "2.0") is False


@pytest.mark.parametrize("state", ["ours", "unknown"])
def test_crd_114_a_coverage_with_a_reference_is_answered(state):
    assert coverage_usable(choice(state), "2.2")


def test_the_plan_is_settled_before_the_program():
    payer = with_payer(
        pa_required_by_plan={"GRP-2": "no"},
        programs={Program.STANDARD: ProgramRules(Program.STANDARD, pa_required="unknown")},
    )
    assert prior_authorization_rule(payer, Program.STANDARD, ("GRP-1", "GRP-2")) == "no"
    assert prior_authorization_rule(payer, Program.STANDARD, ()) == "unknown"
    assert prior_authorization_rule(PAYER, Program.STANDARD, ()) == "yes"


def test_every_situation_but_the_failure_of_our_own_has_its_row():
    assert {situation for _, situation in ROWS} == set(Situation)


def test_crd_137_every_row_answers_in_both_versions():
    """Whatever combination of facts: there is a row, and its answer can be built."""
    built = 0
    for scope in (True, False, None):
        for program in Program:
            for criteria in ({"I.1": NOT_MET}, {"I.1": UNKNOWN}, {"I.1": CriterionResult(Truth.MET)}, {}):
                for facts in ((), ("life_expectancy_ge_3_months",)):
                    for results in ((), (dose("16"),), (dose(None, None),)):
                        determination = judged(
                            in_scope=scope, program=program, criteria=criteria, missing_facts=facts, dose=results
                        )
                        for version in ("2.0", "2.2"):
                            said = answered(determination, version=version)
                            assert (said.answer is None) == (said.situation is Situation.OUTSIDE)
                            built += 1
    assert built > 500
